#pragma once
#include <stddef.h>
void *calloc(size_t, size_t);
void *realloc(void *, size_t);
void free(void *);
long strtol(const char *, char **, int);
int setenv(const char *, const char *, int);
