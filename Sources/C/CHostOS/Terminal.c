#define _GNU_SOURCE
#include "CHostOS.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

// What the terminal was like, and whether it must become so again. Read by signal handlers.
static struct termios found;
static volatile int terminal = -1;
static int is_raw;

static const int crashes[] = {SIGILL, SIGTRAP, SIGABRT, SIGFPE};
static struct sigaction previous[sizeof crashes / sizeof *crashes];

// Restores the terminal, then leaves the crash to whoever was there before.
static void on_crash(int number, siginfo_t *info, void *context) {
  roost_terminal_restore();
  for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) {
    if (crashes[i] != number) continue;
    if (previous[i].sa_flags & SA_SIGINFO) {
      previous[i].sa_sigaction(number, info, context);
    } else if (previous[i].sa_handler != SIG_DFL && previous[i].sa_handler != SIG_IGN) {
      previous[i].sa_handler(number);
    } else {
      // The instruction is tried again, or `abort` goes on, and the process ends as it would have; a
      // signal that somebody sent must be sent again for that.
      signal(number, SIG_DFL);
      if (info->si_code <= 0) raise(number);
    }
  }
}

static void guard_against_crashes(void) {
  static int installed;
  if (__atomic_exchange_n(&installed, 1, __ATOMIC_ACQ_REL)) return;
  atexit(roost_terminal_restore);
  // SIGSEGV and SIGBUS are the fault guard's, which restores the terminal when the fault is not its own.
  roost_install_fault_guard();
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) {
    sigaction(crashes[i], &action, &previous[i]);
  }
}

int roost_terminal_enter_raw(int handle) {
  struct termios wanted;
  if (__atomic_load_n(&is_raw, __ATOMIC_ACQUIRE)) {
    wanted = found;
  } else {
    if (tcgetattr(handle, &wanted) != 0) return -1;
    found = wanted;
    terminal = handle;
    guard_against_crashes();
  }
  cfmakeraw(&wanted);
  __atomic_store_n(&is_raw, 1, __ATOMIC_RELEASE);
  if (tcsetattr(handle, TCSADRAIN, &wanted) == 0) return 0;
  int code = errno;
  roost_terminal_restore();
  errno = code;
  return -1;
}

int roost_terminal_is_raw(void) { return __atomic_load_n(&is_raw, __ATOMIC_ACQUIRE); }

void roost_terminal_restore(void) {
  if (!__atomic_exchange_n(&is_raw, 0, __ATOMIC_ACQ_REL)) return;
  int code = errno;
  // A process in the background may be stopped for touching the terminal; restoring matters more.
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTTOU);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  tcsetattr(terminal, TCSANOW, &found);
  sigprocmask(SIG_SETMASK, &before, NULL);
  errno = code;
}
