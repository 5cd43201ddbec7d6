#pragma once
#include <stdint.h>
#include <sys/uio.h>

// Reads and writes that the kernel takes many at a time, and answers later: io_uring(7). One caller at a time.

typedef struct roost_ring roost_ring;

/// Makes a ring for up to `entries` transfers at once, which adds to the counter of `event` (eventfd(2)) when some have
/// ended; NULL with `errno` set, ENOSYS also if the kernel's are too old.
roost_ring *roost_ring_open(unsigned entries, int event);
void roost_ring_close(roost_ring *ring);

/// Puts a transfer in line. The parts stay where they are until it was submitted, and what they name until it has
/// ended. Answers 0, or -1 if the line is full.
int roost_ring_add(
    roost_ring *ring, int handle, int is_write, const struct iovec *parts, unsigned count, uint64_t offset,
    uint64_t tag);

/// Hands over what is in line; answers how many of the last ones the kernel would not take. They are in line no more.
unsigned roost_ring_submit(roost_ring *ring);

/// Whether the ring adds to its event's counter when transfers end; at first it does.
void roost_ring_set_ringing(roost_ring *ring, int rings);

/// Takes one that has ended, with the bytes moved or a negative error number; answers 0 if there is none.
int roost_ring_take(roost_ring *ring, uint64_t *tag, int32_t *result);
