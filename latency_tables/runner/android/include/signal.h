#pragma once
#define SIGPIPE 13
typedef void (*signal_handler)(int);
#define SIG_DFL ((signal_handler)0)
signal_handler signal(int, signal_handler);
