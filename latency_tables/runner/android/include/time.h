#pragma once
#define CLOCK_PROCESS_CPUTIME_ID 2
#define CLOCK_THREAD_CPUTIME_ID 3
#define CLOCK_MONOTONIC_RAW 4
typedef int clockid_t;
struct timespec {
  long tv_sec, tv_nsec;
};
int clock_gettime(clockid_t, struct timespec *);
