#define _GNU_SOURCE
#include "CKVM.h"

#if defined(__linux__)
#include <signal.h>

static void nothing(int number) { (void)number; }

int kvm_install_kick_signal(void) {
  int number = SIGRTMIN + 4;
  // SA_RESTART, so that a device's system call that the signal happens to meet goes on. KVM_RUN answers
  // EINTR in spite of it.
  struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  return sigaction(number, &action, NULL) == 0 ? number : -errno;
}
#endif
