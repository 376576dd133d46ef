/* What the runner says: one JSON object per line on standard output, sent off at once. */
#pragma once

enum { NO_MODEL = -1 };

/* Keeps standard output for our lines alone: what libraries print goes to standard error from here on. */
void lines_open(void);

/* Says one line; the format has no line end. Ends the program if nobody listens any more. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says {"error":...}, naming the model (its place in the list) if there is one, and ends the program with 1. */
void fail(int model, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

/* Ends the program if nobody listens any more: nothing shall keep a phone busy that was unplugged. */
void stop_if_unheard(void);
