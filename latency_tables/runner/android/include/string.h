#pragma once
#include <stddef.h>
int strcmp(const char *, const char *);
size_t strlen(const char *);
char *strerror(int);
void *memset(void *, int, size_t);
void *memcpy(void *, const void *, size_t);
