/* The command line. */
#pragma once
#include <sched.h>
#include <stdbool.h>

enum mode { HELLO, ROUNDS, OUTPUTS };

struct arguments {
  enum mode mode;
  const char *library; /* ONNX Runtime */
  const char *models;  /* text file, one path per line; NULL with --hello */
  const char *outputs; /* folder, with --outputs */
  int threads;
  int first_round, end_round; /* with --rounds: first_round to end_round - 1 */
  bool pinned;
  cpu_set_t cpus; /* if pinned */
};

/* Fails with one line that names the argument which is wrong or missing. */
struct arguments parse_arguments(int count, char **values);
