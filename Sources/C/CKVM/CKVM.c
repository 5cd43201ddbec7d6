#define _GNU_SOURCE
#include "CKVM.h"

#if defined(__linux__)
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

int kvm_make_event(void) {
  int handle = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return handle < 0 ? -errno : handle;
}

int kvm_accept_kicks(int signal_number) {
  // Whoever started the thread may have blocked all signals, as libdispatch does.
  sigset_t kick;
  sigemptyset(&kick);
  sigaddset(&kick, signal_number);
  pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
  return (int)syscall(SYS_gettid);
}

void kvm_kick_thread(int thread, int signal_number) {
  syscall(SYS_tgkill, getpid(), thread, signal_number);
}

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
