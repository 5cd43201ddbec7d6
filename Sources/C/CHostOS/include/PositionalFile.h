#pragma once
#include <sys/types.h>
#include <sys/uio.h>

/// The flag of `open` that passes the page cache by.
extern const int roost_o_direct;

/// Reads what needs no waiting; -1 with `errno` set to EAGAIN if something would.
ssize_t roost_preadv_nowait(int file, const struct iovec *vectors, int count, off_t offset);

/// Gives the storage of a range back. Returns 0, or -1 with `errno` set.
int roost_punch(int file, off_t start, off_t count);
