#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

// Files that hold disks. Unless said otherwise: 0 for success, or -1 with `errno` set; interrupted calls
// are made again.

enum {
  ROOST_OPEN_WRITABLE = 1,
  /// Past the host's page cache.
  ROOST_OPEN_DIRECT = 2,
  /// A new file, which must not exist.
  ROOST_OPEN_NEW = 4,
};

/// Opens a file; answers its handle, or -1.
int roost_storage_open(const char *path, int options);

enum {
  /// Fail with EAGAIN, or stop short, rather than wait; EOPNOTSUPP: the file system cannot tell.
  ROOST_TRANSFER_AT_ONCE = 1,
  /// A write that has reached stable storage when the call returns.
  ROOST_TRANSFER_DURABLE = 2,
  /// The handle is a direct one.
  ROOST_TRANSFER_DIRECT = 4,
};

/// Reads until the parts are full or the file ends; answers how many bytes came, or -1. The list of parts is
/// used up.
ssize_t roost_storage_read(int handle, struct iovec *parts, size_t count, uint64_t offset, int options);

/// Writes all parts; answers how many bytes went, or -1. The list of parts is used up.
ssize_t roost_storage_write(int handle, struct iovec *parts, size_t count, uint64_t offset, int options);

/// Makes what was written durable, with what is needed to read it back: fdatasync(2).
int roost_storage_flush(int handle);

/// Gives a range's storage back; it reads as zeroes.
int roost_storage_punch(int handle, uint64_t offset, uint64_t count);
/// Makes a range read as zeroes and keeps, or sets aside, storage for it.
int roost_storage_zero(int handle, uint64_t offset, uint64_t count);
/// Sets storage aside for a range, without changing what it holds; the file grows to hold it.
int roost_storage_reserve(int handle, uint64_t offset, uint64_t count);

/// The same for block devices.
int roost_storage_device_discard(int handle, uint64_t offset, uint64_t count);
int roost_storage_device_zero(int handle, uint64_t offset, uint64_t count);
/// A block device's size in bytes, and of what sizes it reads and writes.
int roost_storage_device_shape(int handle, uint64_t *size, uint32_t *logical, uint32_t *physical);

/// What direct transfers' addresses and offsets must be multiples of; zeroes where the host cannot say.
void roost_storage_direct_alignment(int handle, uint32_t *memory, uint32_t *offset);

/// The first data or the first hole at or after an offset; -1 with ENXIO: there is none.
int64_t roost_storage_seek_data(int handle, uint64_t offset);
int64_t roost_storage_seek_hole(int handle, uint64_t offset);

enum { ROOST_LOCK_NONE = 0, ROOST_LOCK_SHARED = 1, ROOST_LOCK_EXCLUSIVE = 2 };

/// Takes or gives back an open file description's lock on one byte. EAGAIN: somebody else's is in the way.
int roost_storage_lock(int handle, uint64_t byte, int kind);

/// Whether a lock of that kind would meet another's: 1, 0, or -1.
int roost_storage_would_block(int handle, uint64_t byte, int kind);
