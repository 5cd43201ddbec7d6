#define _GNU_SOURCE
#include "CHostOS.h"
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

int roost_futex_wait(void *word, uint32_t value, const struct timespec *deadline) {
  long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, deadline, NULL,
                        FUTEX_BITSET_MATCH_ANY);
  return result == 0 ? 0 : errno;
}

void roost_futex_wake(void *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

void roost_thread_set_name(const char *name) { pthread_setname_np(pthread_self(), name); }
