#include "lines.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static FILE *output;

void lines_open(void) {
  /* Whoever starts us may have switched this signal off, and we would go on into a closed pipe. */
  signal(SIGPIPE, SIG_DFL);
  const int own = dup(STDOUT_FILENO);
  output = own < 0 ? NULL : fdopen(own, "w");
  if (!output) _exit(1);
  dup2(STDERR_FILENO, STDOUT_FILENO);
}

static void send_off(void) {
  if (fputc('\n', output) == EOF || fflush(output) == EOF) _exit(1);
}

void say(const char *format, ...) {
  va_list values;
  va_start(values, format);
  vfprintf(output, format, values);
  va_end(values);
  send_off();
}

static void put_json_string(const char *text) {
  fputc('"', output);
  for (; *text; text++) {
    const unsigned char byte = (unsigned char)*text;
    if (byte == '"' || byte == '\\') {
      fprintf(output, "\\%c", byte);
    } else if (byte < ' ') {
      fputc(' ', output);
    } else {
      fputc(byte, output);
    }
  }
  fputc('"', output);
}

void fail(int model, const char *format, ...) {
  char message[2048];
  va_list values;
  va_start(values, format);
  vsnprintf(message, sizeof message, format, values);
  va_end(values);
  fputs("{\"error\":", output);
  put_json_string(message);
  if (model != NO_MODEL) fprintf(output, ",\"model\":%d", model);
  fputc('}', output);
  send_off();
  _exit(1);
}

void stop_if_unheard(void) {
  struct pollfd listener = {.fd = fileno(output)};
  if (poll(&listener, 1, 0) > 0 && listener.revents & (POLLERR | POLLHUP | POLLNVAL)) _exit(1);
}
