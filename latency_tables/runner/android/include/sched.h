#pragma once
#include <stddef.h>
#include <string.h>
#define CPU_SETSIZE 1024
typedef struct {
  unsigned long bits[CPU_SETSIZE / 64];
} cpu_set_t;
#define CPU_ZERO(set) memset((set), 0, sizeof *(set))
#define CPU_SET(cpu, set) ((set)->bits[(cpu) / 64] |= 1ul << ((cpu) % 64))
#define CPU_ISSET(cpu, set) ((set)->bits[(cpu) / 64] >> ((cpu) % 64) & 1)
int sched_setaffinity(int, size_t, const cpu_set_t *);
int sched_getaffinity(int, size_t, cpu_set_t *);
