#pragma once
#include "Directories.h"
#include "CodeMapping.h"
#include "Mappings.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include "Storage.h"
#include "TransferRing.h"

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

/// How many of the host's processors this process may run on; 1 if that is not known.
int roost_processor_count(void);
/// Makes a pipe, to be read from at the first handle and written to at the second; closed in programs that are started. -1
/// with `errno` set on failure.
int roost_pipe(int handles[2]);
/// The reading end of the pipe that takes the numbers of caught signals; -1 with `errno` set on failure.
int roost_signals_pipe(void);

/// Catches a signal from now on. Returns 0, or -1 with `errno` set.
int roost_signals_catch(int number);

/// Names the calling thread; at most 15 bytes.
void roost_thread_set_name(const char *name);

/// The next client of a listening socket, non-blocking; -1 with `errno` set if there is none.
int roost_accept(int socket);

/// An Internet address and port in the host's byte order; a version 4 address is the low 32 bits of `low`.
struct roost_endpoint {
  uint64_t high, low;
  uint16_t port;
  uint8_t is_v6;
};
enum roost_socket_kind { ROOST_STREAM, ROOST_DATAGRAM, ROOST_ECHO };

/// A new socket that does not block; -1 with `errno` set on failure. An echo socket is an unprivileged ping socket.
int roost_inet_socket(int is_v6, enum roost_socket_kind kind);
/// These answer 0, or -1 with `errno` set.
int roost_inet_connect(int socket, const struct roost_endpoint *to);
int roost_inet_bind(int socket, const struct roost_endpoint *at);
int roost_inet_local(int socket, struct roost_endpoint *local);
/// The next client of a listening socket and where it is; -1 with `errno` set if there is none.
int roost_inet_accept(int socket, struct roost_endpoint *from);
/// Like recvfrom(2) and sendto(2), without blocking.
long roost_inet_receive(int socket, void *bytes, size_t count, struct roost_endpoint *from);
long roost_inet_send(int socket, const void *bytes, size_t count, const struct roost_endpoint *to);
/// Like sendmsg(2), without blocking and without a signal.
long roost_inet_send_pieces(int socket, const struct iovec *pieces, int count);
/// The error that a socket met on its own, and forgets by being asked; 0 if none.
int roost_inet_error(int socket);
/// Closing the socket from now on resets its connection.
void roost_inet_abort_on_close(int socket);
/// The longest packet that the path of a connected socket takes; 0 if that is not known.
int roost_inet_path_limit(int socket, int is_v6);
/// Whether an address belongs to one of the host's loopback interfaces.
int roost_inet_is_on_loopback(const struct roost_endpoint *address);
/// Raises the number of handles that the process may have to what the host allows at most.
void roost_raise_handle_limit(void);
/// Has the allocator keep what it was given back, up to some megabytes, instead of handing it to the kernel, which
/// would have to clear it again for the next frames.
void roost_keep_freed_memory(void);

/// The ones' complement sum of the bytes as 16-bit words in network order (RFC 1071), not yet complemented. The last
/// of an odd number of bytes is the upper half of a word.
uint16_t roost_internet_sum(const void *bytes, size_t count);

/// Gives memory that was freed back to the host, where the host's library keeps it.
void roost_release_freed_memory(void);
