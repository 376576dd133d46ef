#include "machine.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lines.h"

static int64_t read_clock(clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time)) fail(NO_MODEL, "cannot read clock %d: %s", (int)clock, strerror(errno));
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t now_ns(void) { return read_clock(CLOCK_MONOTONIC_RAW); }

int64_t clock_step_ns(void) {
  int64_t smallest = INT64_MAX;
  for (int reading = 0; reading < 1000; reading++) {
    const int64_t start = now_ns();
    int64_t next = start;
    while (next == start) next = now_ns();
    if (next - start < smallest) smallest = next - start;
  }
  return smallest;
}

int64_t processor_ns(bool all_threads) {
  return read_clock(all_threads ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_THREAD_CPUTIME_ID);
}

void pin(const cpu_set_t *cpus) {
  if (sched_setaffinity(0, sizeof *cpus, cpus))
    fail(NO_MODEL, "cannot run on the cores asked for: %s", strerror(errno));
}

cpu_set_t usable_cpus(void) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (sched_getaffinity(0, sizeof cpus, &cpus)) fail(NO_MODEL, "cannot ask for the usable cores: %s", strerror(errno));
  return cpus;
}
