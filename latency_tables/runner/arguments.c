#include "arguments.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lines.h"

/* Reads a number and moves behind it. */
static int number(const char *option, const char *whole, const char **text, long least, long most) {
  char *end;
  const long value = strtol(*text, &end, 10);
  if (end == *text || value < least || value > most)
    fail(NO_MODEL, "%s %s: expected a number from %ld to %ld at '%s'", option, whole, least, most, *text);
  *text = end;
  return (int)value;
}

static void expect(const char *option, const char *whole, const char **text, char wanted) {
  if (**text != wanted) fail(NO_MODEL, "%s %s: cannot read '%s'", option, whole, *text);
  if (wanted) ++*text;
}

static cpu_set_t cpu_list(const char *option, const char *whole) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  const char *text = whole;
  CPU_SET((size_t)number(option, whole, &text, 0, CPU_SETSIZE - 1), &cpus);
  while (*text) {
    expect(option, whole, &text, ',');
    CPU_SET((size_t)number(option, whole, &text, 0, CPU_SETSIZE - 1), &cpus);
  }
  return cpus;
}

struct arguments parse_arguments(int count, char **values) {
  struct arguments result = {.threads = 1};
  int modes = 0;
  for (int place = 1; place < count; place++) {
    const char *option = values[place];
    if (!strcmp(option, "--hello")) {
      result.mode = HELLO, modes++;
      continue;
    }
    const char *value = ++place < count ? values[place] : NULL;
    if (!value) fail(NO_MODEL, "%s: unknown, or its value is missing", option);
    const char *text = value;
    if (!strcmp(option, "--library")) {
      result.library = value;
    } else if (!strcmp(option, "--models")) {
      result.models = value;
    } else if (!strcmp(option, "--threads")) {
      result.threads = number(option, value, &text, 1, 1024);
      expect(option, value, &text, '\0');
    } else if (!strcmp(option, "--cpus")) {
      result.cpus = cpu_list(option, value);
      result.pinned = true;
    } else if (!strcmp(option, "--rounds")) {
      result.mode = ROUNDS, modes++;
      result.first_round = number(option, value, &text, 0, INT_MAX);
      expect(option, value, &text, ':');
      result.end_round = number(option, value, &text, result.first_round, INT_MAX);
      expect(option, value, &text, '\0');
    } else if (!strcmp(option, "--outputs")) {
      result.mode = OUTPUTS, modes++;
      result.outputs = value;
    } else {
      fail(NO_MODEL, "%s: unknown option", option);
    }
  }
  if (modes != 1) fail(NO_MODEL, "expected one of --hello, --rounds FROM:TO and --outputs DIR");
  if (!result.library) fail(NO_MODEL, "--library is missing");
  if (!result.models && result.mode != HELLO) fail(NO_MODEL, "--models is missing");
  return result;
}
