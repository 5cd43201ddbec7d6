#pragma once
#include "Directories.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>

/// Copies `count` bytes of which either side may be guest memory. Returns 0, or -1 if the host could
/// not supply a page (a file behind the mapping shrank); part of the bytes may then have been copied.
int roost_copy(void *destination, const void *source, size_t count);

/// Fills guest memory; same answer as `roost_copy`.
int roost_fill(void *destination, uint8_t value, size_t count);

/// Installs the SIGSEGV and SIGBUS handlers that `roost_copy` relies on. Idempotent.
void roost_install_fault_guard(void);

/// Sleeps while the 32-bit `word` is `value`, until `deadline` of CLOCK_MONOTONIC (`NULL`: for ever).
/// Returns 0 or an error number; may return early.
int roost_futex_wait(void *word, uint32_t value, const struct timespec *deadline);

/// Wakes one thread that sleeps on `word`.
void roost_futex_wake(void *word);

/// Puts the terminal into raw mode, to be restored by `roost_terminal_restore`, at exit, or at a crash.
/// Returns 0, or -1 with `errno` set. Calling it again applies raw mode once more.
int roost_terminal_enter_raw(int handle);

/// Whether the terminal is in raw mode through us.
int roost_terminal_is_raw(void);

/// Puts the terminal back as it was found. Idempotent; may be called by signal handlers.
void roost_terminal_restore(void);

/// The reading end of the pipe that takes the numbers of caught signals; -1 with `errno` set on failure.
int roost_signals_pipe(void);

/// Catches a signal from now on. Returns 0, or -1 with `errno` set.
int roost_signals_catch(int number);

/// Names the calling thread; at most 15 bytes.
void roost_thread_set_name(const char *name);

/// The next client of a listening socket, non-blocking; -1 with `errno` set if there is none.
int roost_accept(int socket);
