/* Runs ONNX models on the device it is started on, and says what they cost or answer there.
 *
 *   fairnas-runner --library PATH --models LIST [--threads N] [--cpus 4,5,6] (--rounds FROM:TO | --outputs DIR)
 *   fairnas-runner --library PATH [--threads N] [--cpus 4,5,6] --hello
 *
 * LIST holds one model path per line; models are named by their place, from 0. Standard output, one JSON object a line:
 *   {"hello":1,"ort":"1.32.0","threads":1,"warm_runs":4,"clock_ns":30,"cpus":[0]} always the first
 *   {"model":0,"round":3,"cold_ns":812345,"warm_ns":790000,"cpu_ns":789000}       --rounds: per round and model
 *   {"output":0,"values":4096}                                                    --outputs: DIR/0.f32 is written
 *   {"done":N}                                                                    always the last: N lines of results
 *   {"error":"...","model":3}                                                     instead, with exit code 1
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "lines.h"
#include "machine.h"
#include "models.h"

enum {
  MOST_VALUES = 4096, /* of an output; as in probe.py */
  LONGEST_PATH = 4096,
  WARM_RUNS = 4, /* as in device.py */
  WARM_NS = 4000000,
};

static void say_hello(const char *version, int threads) {
  const cpu_set_t cpus = usable_cpus();
  char list[CPU_SETSIZE * 5 + 1] = "";
  size_t length = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET((size_t)cpu, &cpus))
      length += (size_t)snprintf(list + length, sizeof list - length, length ? ",%d" : "%d", cpu);
  say("{\"hello\":1,\"ort\":\"%s\",\"threads\":%d,\"warm_runs\":%d,\"clock_ns\":%lld,\"cpus\":[%s]}", version, threads,
      WARM_RUNS, (long long)clock_step_ns(), list);
}

/* Loads all models of the list; gives how many. */
static int load_all(const char *list, struct model ***models) {
  FILE *file = fopen(list, "r");
  if (!file) fail(NO_MODEL, "cannot read %s: %s", list, strerror(errno));
  char *path = NULL;
  size_t capacity = 0;
  ssize_t length;
  int count = 0;
  *models = NULL;
  while ((length = getline(&path, &capacity, file)) > 0) {
    if (path[length - 1] == '\n') path[length - 1] = '\0';
    stop_if_unheard();
    *models = realloc(*models, (size_t)(count + 1) * sizeof **models);
    if (!*models) fail(NO_MODEL, "out of memory");
    (*models)[count] = model_load(path, count);
    count++;
  }
  free(path);
  fclose(file);
  return count;
}

static int64_t timed_run(struct model *model) {
  const int64_t start = now_ns();
  model_run(model);
  return now_ns() - start;
}

/* The shortest of some runs in a row, and the time of the processor in it: weights that fit the caches are not all there
   after one run. */
static int64_t warm_run(struct model *model, bool all_threads, int64_t *processor) {
  int64_t shortest = INT64_MAX, total = 0;
  for (int run = 0; run < WARM_RUNS && total < WARM_NS; run++) {
    const int64_t processor_start = processor_ns(all_threads);
    const int64_t taken = timed_run(model);
    const int64_t worked = processor_ns(all_threads) - processor_start;
    total += taken;
    if (taken < shortest) {
      shortest = taken;
      *processor = worked;
    }
  }
  return shortest;
}

/* All models in turn in each round, so that a disturbance spreads over all of them. The first run finds the caches full
   of the other models, those after it find its own weights there. */
static int measure(struct model **models, int count, const struct arguments *arguments) {
  int samples = 0;
  for (int round = arguments->first_round; round < arguments->end_round; round++) {
    for (int place = 0; place < count; place++) {
      stop_if_unheard();
      const int64_t cold = timed_run(models[place]);
      int64_t processor = 0;
      const int64_t warm = warm_run(models[place], arguments->threads > 1, &processor);
      say("{\"model\":%d,\"round\":%d,\"cold_ns\":%lld,\"warm_ns\":%lld,\"cpu_ns\":%lld}", place, round,
          (long long)cold, (long long)warm, (long long)processor);
      samples++;
    }
  }
  return samples;
}

/* Every k-th value of the first output, with the smallest k that leaves at most MOST_VALUES (`probe_values`). */
static void write_output(struct model *model, int place, const char *folder) {
  char path[LONGEST_PATH];
  if (snprintf(path, sizeof path, "%s/%d.f32", folder, place) >= (int)sizeof path)
    fail(NO_MODEL, "%s: too long", folder);
  size_t count, written = 0;
  const float *values = model_first_output(model, &count);
  const size_t step = count > MOST_VALUES ? (count + MOST_VALUES - 1) / MOST_VALUES : 1;
  FILE *file = fopen(path, "wb");
  if (!file) fail(NO_MODEL, "cannot write %s: %s", path, strerror(errno));
  for (size_t value = 0; value < count; value += step) written += fwrite(&values[value], sizeof *values, 1, file);
  if (fclose(file) || written != (count + step - 1) / step)
    fail(NO_MODEL, "cannot write %s: %s", path, strerror(errno));
  say("{\"output\":%d,\"values\":%zu}", place, written);
}

int main(int count, char **values) {
  lines_open();
  const struct arguments arguments = parse_arguments(count, values);
  /* Before the runtime starts threads: they inherit the cores. */
  if (arguments.pinned) pin(&arguments.cpus);
  say_hello(runtime_open(arguments.library, arguments.threads), arguments.threads);

  struct model **models = NULL;
  const int model_count = arguments.mode == HELLO ? 0 : load_all(arguments.models, &models);
  int results = 0;
  if (arguments.mode == ROUNDS) results = measure(models, model_count, &arguments);
  if (arguments.mode == OUTPUTS)
    for (; results < model_count; results++) write_output(models[results], results, arguments.outputs);
  say("{\"done\":%d}", results);
  /* Without taking the runtime down: the system frees everything at once. */
  _exit(0);
}
