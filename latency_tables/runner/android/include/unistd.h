#pragma once
#define STDOUT_FILENO 1
#define STDERR_FILENO 2
int dup(int);
int dup2(int, int);
void _exit(int) __attribute__((noreturn));
