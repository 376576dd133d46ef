#pragma once
#define POLLERR 0x08
#define POLLHUP 0x10
#define POLLNVAL 0x20
struct pollfd {
  int fd;
  short events, revents;
};
int poll(struct pollfd *, unsigned, int);
