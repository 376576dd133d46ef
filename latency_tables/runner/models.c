#include "models.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#include "include/onnxruntime_c_api.h"
#include "lines.h"

/* The first version of the table of functions that has all we call: newer libraries still give it. */
enum { API_VERSION = 3 };

struct model {
  int place;
  OrtSession *session;
  size_t input_count, output_count;
  const char **input_names, **output_names;
  const OrtValue **inputs;
  OrtValue **outputs; /* made by the first run, written again by the later ones */
};

static const OrtApi *ort;
static OrtEnv *environment;
static OrtSessionOptions *options;
static OrtAllocator *allocator;

static void check(OrtStatus *status, int place) {
  if (status) fail(place, "%s", ort->GetErrorMessage(status));
}

static void *allocate(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (!memory) fail(NO_MODEL, "out of memory");
  return memory;
}

const char *runtime_open(const char *library, int threads) {
  /* The library reads this when it is loaded. */
  setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  void *handle = dlopen(library, RTLD_NOW);
  if (!handle) fail(NO_MODEL, "cannot load ONNX Runtime: %s", dlerror());
  const OrtApiBase *(*base)(void) = (const OrtApiBase *(*)(void))dlsym(handle, "OrtGetApiBase");
  if (!base) fail(NO_MODEL, "%s is not ONNX Runtime", library);
  const char *version = base()->GetVersionString();
  ort = base()->GetApi(API_VERSION);
  if (!ort) fail(NO_MODEL, "ONNX Runtime %s is too old", version);
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "fairnas", &environment), NO_MODEL);
  check(ort->DisableTelemetryEvents(environment), NO_MODEL);
  check(ort->CreateSessionOptions(&options), NO_MODEL);
  check(ort->SetIntraOpNumThreads(options, threads), NO_MODEL);
  check(ort->SetSessionExecutionMode(options, ORT_SEQUENTIAL), NO_MODEL);
  check(ort->GetAllocatorWithDefaultOptions(&allocator), NO_MODEL);
  return version;
}

/* Bit by bit what `probe_input` of probe.py gives: each step is exact in float32. */
static void fill_with_probe(float *values, size_t count) {
  for (size_t place = 0; place < count; place++) {
    const uint32_t hashed = (uint32_t)place * UINT32_C(2654435761) >> 8;
    values[place] = (float)hashed / 8388608.0f - 1.0f;
  }
}

static size_t float_count(const OrtTensorTypeAndShapeInfo *info, const char *what, const char *name, int place) {
  ONNXTensorElementDataType type;
  size_t count;
  check(ort->GetTensorElementType(info, &type), place);
  if (type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
    fail(place, "%s '%s' is not float32: only float32 is measured", what, name);
  check(ort->GetTensorShapeElementCount(info, &count), place);
  return count;
}

static OrtValue *probe_input(const struct model *model, size_t input) {
  const char *name = model->input_names[input];
  const int place = model->place;
  OrtTypeInfo *type;
  const OrtTensorTypeAndShapeInfo *info;
  check(ort->SessionGetInputTypeInfo(model->session, input, &type), place);
  check(ort->CastTypeInfoToTensorInfo(type, &info), place);
  if (!info) fail(place, "input '%s' is not a tensor", name);

  size_t rank;
  check(ort->GetDimensionsCount(info, &rank), place);
  int64_t *shape = allocate(rank, sizeof *shape);
  check(ort->GetDimensions(info, shape, rank), place);
  for (size_t axis = 0; axis < rank; axis++)
    if (shape[axis] < 1) fail(place, "input '%s' has no fixed shape", name);

  OrtValue *value;
  float *values;
  check(ort->CreateTensorAsOrtValue(allocator, shape, rank, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &value), place);
  check(ort->GetTensorMutableData(value, (void **)&values), place);
  fill_with_probe(values, float_count(info, "input", name, place));
  free(shape);
  ort->ReleaseTypeInfo(type);
  return value;
}

struct model *model_load(const char *path, int place) {
  struct model *model = allocate(1, sizeof *model);
  model->place = place;
  check(ort->CreateSession(environment, path, options, &model->session), place);

  check(ort->SessionGetInputCount(model->session, &model->input_count), place);
  model->input_names = allocate(model->input_count, sizeof *model->input_names);
  model->inputs = allocate(model->input_count, sizeof *model->inputs);
  for (size_t input = 0; input < model->input_count; input++) {
    check(ort->SessionGetInputName(model->session, input, allocator, (char **)&model->input_names[input]), place);
    model->inputs[input] = probe_input(model, input);
  }

  check(ort->SessionGetOutputCount(model->session, &model->output_count), place);
  model->output_names = allocate(model->output_count, sizeof *model->output_names);
  model->outputs = allocate(model->output_count, sizeof *model->outputs);
  for (size_t output = 0; output < model->output_count; output++)
    check(ort->SessionGetOutputName(model->session, output, allocator, (char **)&model->output_names[output]), place);

  model_run(model);
  return model;
}

void model_run(struct model *model) {
  check(ort->Run(model->session, NULL, model->input_names, model->inputs, model->input_count, model->output_names,
                 model->output_count, model->outputs),
        model->place);
}

const float *model_first_output(struct model *model, size_t *count) {
  OrtTensorTypeAndShapeInfo *info;
  float *values;
  check(ort->GetTensorTypeAndShape(model->outputs[0], &info), model->place);
  *count = float_count(info, "output", model->output_names[0], model->place);
  ort->ReleaseTensorTypeAndShapeInfo(info);
  check(ort->GetTensorMutableData(model->outputs[0], (void **)&values), model->place);
  return values;
}
