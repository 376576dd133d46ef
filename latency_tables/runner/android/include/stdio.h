#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <sys/types.h>
#define EOF (-1)
typedef struct __sFILE FILE;
FILE *fopen(const char *, const char *);
FILE *fdopen(int, const char *);
int fileno(FILE *);
int fclose(FILE *);
int fflush(FILE *);
int fputc(int, FILE *);
int fputs(const char *, FILE *);
size_t fwrite(const void *, size_t, size_t, FILE *);
ssize_t getline(char **, size_t *, FILE *);
int fprintf(FILE *, const char *, ...) __attribute__((format(printf, 2, 3)));
int vfprintf(FILE *, const char *, va_list);
int snprintf(char *, size_t, const char *, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *, size_t, const char *, va_list);
