#define _GNU_SOURCE
#include "CHostOS.h"
#include <setjmp.h>
#include <signal.h>
#include <string.h>

// The copy in progress on this thread, if any: where its faults are caught.
struct guard {
  sigjmp_buf recovery;
  uintptr_t a_low, a_high, b_low, b_high;
};
static _Thread_local struct guard *volatile current;
static struct sigaction previous_segv, previous_bus;

static void on_fault(int number, siginfo_t *info, void *context) {
  struct guard *guard = current;
  uintptr_t address = (uintptr_t)info->si_addr;
  if (number == SIGBUS && info->si_code > 0 && roost_mappings_take_fault(address)) return;
  if (guard && ((address >= guard->a_low && address < guard->a_high) ||
                (address >= guard->b_low && address < guard->b_high))) {
    current = NULL;
    siglongjmp(guard->recovery, 1);
  }
  // Not ours: whoever was there before decides, in the default case by ending the process.
  roost_terminal_restore();
  struct sigaction *previous = number == SIGBUS ? &previous_bus : &previous_segv;
  if (previous->sa_flags & SA_SIGINFO) {
    previous->sa_sigaction(number, info, context);
  } else if (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN) {
    previous->sa_handler(number);
  } else {
    signal(number, SIG_DFL);
    if (info->si_code <= 0) raise(number);  // sent by somebody: no instruction would repeat it
  }
}

void roost_install_fault_guard(void) {
  static int installed;
  if (__atomic_exchange_n(&installed, 1, __ATOMIC_ACQ_REL)) return;
  struct sigaction action = {0};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  // Read first, for the fault that is raised before the second call has told it.
  sigaction(SIGSEGV, NULL, &previous_segv);
  sigaction(SIGBUS, NULL, &previous_bus);
  sigaction(SIGSEGV, &action, &previous_segv);
  sigaction(SIGBUS, &action, &previous_bus);
}

int roost_copy(void *destination, const void *source, size_t count) {
  struct guard guard;
  guard.a_low = (uintptr_t)destination, guard.a_high = guard.a_low + count;
  guard.b_low = (uintptr_t)source, guard.b_high = guard.b_low + count;
  if (sigsetjmp(guard.recovery, 0)) return -1;
  current = &guard;
  __asm__ volatile("" ::: "memory");
  memmove(destination, source, count);
  __asm__ volatile("" ::: "memory");
  current = NULL;
  return 0;
}

int roost_fill(void *destination, uint8_t value, size_t count) {
  struct guard guard;
  guard.a_low = (uintptr_t)destination, guard.a_high = guard.a_low + count;
  guard.b_low = guard.b_high = 0;
  if (sigsetjmp(guard.recovery, 0)) return -1;
  current = &guard;
  __asm__ volatile("" ::: "memory");
  memset(destination, value, count);
  __asm__ volatile("" ::: "memory");
  current = NULL;
  return 0;
}
