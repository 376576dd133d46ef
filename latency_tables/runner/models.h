/* ONNX models, loaded and ready to run again and again, through ONNX Runtime on the CPU. */
#pragma once
#include <stddef.h>

struct model;

/* Loads the library and starts it with its collector switched off; gives its version. Once per program. */
const char *runtime_open(const char *library, int threads);

/* Loads a model, fills its inputs with the probe (see probe.py) and runs it once, so that all its memory is there.
   Fails if it does not load or run, or if an input is not float32 of a fixed shape. `place` names it in errors. */
struct model *model_load(const char *path, int place);

/* Runs it once, on the same inputs and into the same outputs. */
void model_run(struct model *model);

/* The values of its first output, after the last run; fails if they are not float32. */
const float *model_first_output(struct model *model, size_t *count);
