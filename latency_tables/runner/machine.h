/* The machine's clocks and cores. */
#pragma once
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds of a clock that nothing sets or slews. */
int64_t now_ns(void);

/* Smallest step of that clock that can be seen. */
int64_t clock_step_ns(void);

/* Processor time spent so far, of this thread or of all threads. */
int64_t processor_ns(bool all_threads);

/* Keeps this thread, and those that it will start, on these cores; fails if the machine refuses. */
void pin(const cpu_set_t *cpus);

/* The cores this thread may use. */
cpu_set_t usable_cpus(void);
