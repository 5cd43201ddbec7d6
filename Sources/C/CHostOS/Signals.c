#define _GNU_SOURCE
#include "CHostOS.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static int ends[2] = {-1, -1};

static void on_signal(int number) {
  int code = errno;
  unsigned char byte = (unsigned char)number;
  // A full pipe holds thousands of signals nobody has looked at; one more says nothing new.
  (void)!write(ends[1], &byte, 1);
  errno = code;
}

int roost_signals_pipe(void) {
  if (ends[0] < 0 && pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
  return ends[0];
}

int roost_signals_catch(int number) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  return sigaction(number, &action, NULL);
}
