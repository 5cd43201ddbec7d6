#define _GNU_SOURCE
#include "CHostOS.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif
#ifndef RWF_DSYNC
#define RWF_DSYNC 0x00000002
#endif

#define AGAIN(call)                         \
  ({                                        \
    __typeof__(call) result;                \
    do result = (call);                     \
    while (result < 0 && errno == EINTR);   \
    result;                                 \
  })

int roost_storage_open(const char *path, int options) {
  int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;  // a pipe's name must not keep us waiting
  flags |= options & ROOST_OPEN_WRITABLE ? O_RDWR : O_RDONLY;
  if (options & ROOST_OPEN_DIRECT) flags |= O_DIRECT;
  if (options & ROOST_OPEN_NEW) flags |= O_CREAT | O_EXCL;
  int handle = AGAIN(open(path, flags, 0644));
  if (handle >= 0) fcntl(handle, F_SETFL, fcntl(handle, F_GETFL) & ~O_NONBLOCK);
  return handle;
}

// Drops `done` bytes from the front of the list, and the parts that are empty then.
static void advance(struct iovec **parts, size_t *count, size_t done) {
  while (*count && done >= (*parts)->iov_len) {
    done -= (*parts)->iov_len;
    (*parts)++, (*count)--;
  }
  if (done) {
    (*parts)->iov_base = (char *)(*parts)->iov_base + done;
    (*parts)->iov_len -= done;
  }
}

static int batch(size_t count) { return count < IOV_MAX ? (int)count : IOV_MAX; }

ssize_t roost_storage_read(int handle, struct iovec *parts, size_t count, uint64_t offset, int options) {
  int flags = options & ROOST_TRANSFER_AT_ONCE ? RWF_NOWAIT : 0;
  size_t total = 0;
  advance(&parts, &count, 0);
  while (count) {
    ssize_t done = flags ? AGAIN(preadv2(handle, parts, batch(count), (off_t)(offset + total), flags))
                   : count == 1 ? AGAIN(pread(handle, parts->iov_base, parts->iov_len, (off_t)(offset + total)))
                                : AGAIN(preadv(handle, parts, batch(count), (off_t)(offset + total)));
    if (done < 0) return -1;
    total += (size_t)done;
    // A direct read that ends inside a sector has met the end of the file; reading on would be refused.
    if (done == 0 || (options & ROOST_TRANSFER_DIRECT && total % 512 != 0)) break;
    advance(&parts, &count, (size_t)done);
  }
  return (ssize_t)total;
}

ssize_t roost_storage_write(int handle, struct iovec *parts, size_t count, uint64_t offset, int options) {
  int flags = (options & ROOST_TRANSFER_AT_ONCE ? RWF_NOWAIT : 0) |
              (options & ROOST_TRANSFER_DURABLE ? RWF_DSYNC : 0);
  size_t total = 0;
  advance(&parts, &count, 0);
  while (count) {
    ssize_t done = flags ? AGAIN(pwritev2(handle, parts, batch(count), (off_t)(offset + total), flags))
                   : count == 1 ? AGAIN(pwrite(handle, parts->iov_base, parts->iov_len, (off_t)(offset + total)))
                                : AGAIN(pwritev(handle, parts, batch(count), (off_t)(offset + total)));
    if (done <= 0) {
      if (done == 0) errno = EIO;  // a device that took nothing would do so for ever
      return -1;
    }
    total += (size_t)done;
    advance(&parts, &count, (size_t)done);
  }
  return (ssize_t)total;
}

int roost_storage_flush(int handle) { return AGAIN(fdatasync(handle)); }

int roost_storage_punch(int handle, uint64_t offset, uint64_t count) {
  return AGAIN(fallocate(handle, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)count));
}

int roost_storage_zero(int handle, uint64_t offset, uint64_t count) {
  return AGAIN(fallocate(handle, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)count));
}

int roost_storage_reserve(int handle, uint64_t offset, uint64_t count) {
  return AGAIN(fallocate(handle, 0, (off_t)offset, (off_t)count));
}

int roost_storage_device_discard(int handle, uint64_t offset, uint64_t count) {
  uint64_t range[2] = {offset, count};
  return AGAIN(ioctl(handle, BLKDISCARD, range));
}

int roost_storage_device_zero(int handle, uint64_t offset, uint64_t count) {
  uint64_t range[2] = {offset, count};
  return AGAIN(ioctl(handle, BLKZEROOUT, range));
}

int roost_storage_device_shape(int handle, uint64_t *size, uint32_t *logical, uint32_t *physical) {
  int sector = 0;
  unsigned int block = 0;
  if (ioctl(handle, BLKGETSIZE64, size) < 0 || ioctl(handle, BLKSSZGET, &sector) < 0 ||
      ioctl(handle, BLKPBSZGET, &block) < 0)
    return -1;
  *logical = (uint32_t)sector, *physical = block;
  return 0;
}

// statx(2) as the kernel lays it out from 6.1 on; the C library's own may be older.
struct direct_statx {
  uint32_t mask;
  uint8_t between[0x98 - 4];
  uint32_t memory_alignment, offset_alignment;
  uint8_t rest[0x100 - 0xa0];
};
_Static_assert(offsetof(struct direct_statx, memory_alignment) == 0x98, "stx_dio_mem_align");
_Static_assert(sizeof(struct direct_statx) == 0x100, "struct statx");

void roost_storage_direct_alignment(int handle, uint32_t *memory, uint32_t *offset) {
  const unsigned int wanted = 0x2000;  // STATX_DIOALIGN
  struct direct_statx information = {0};
  *memory = *offset = 0;
  if (syscall(SYS_statx, handle, "", AT_EMPTY_PATH, wanted, &information) < 0) return;
  if (information.mask & wanted) {
    *memory = information.memory_alignment, *offset = information.offset_alignment;
  }
}

int64_t roost_storage_seek_data(int handle, uint64_t offset) {
  return lseek(handle, (off_t)offset, SEEK_DATA);
}

int64_t roost_storage_seek_hole(int handle, uint64_t offset) {
  return lseek(handle, (off_t)offset, SEEK_HOLE);
}

static struct flock lock_of(uint64_t byte, int kind) {
  return (struct flock){
      .l_type = kind == ROOST_LOCK_NONE ? F_UNLCK : kind == ROOST_LOCK_SHARED ? F_RDLCK : F_WRLCK,
      .l_whence = SEEK_SET,
      .l_start = (off_t)byte,
      .l_len = 1,
  };
}

int roost_storage_lock(int handle, uint64_t byte, int kind) {
  struct flock lock = lock_of(byte, kind);
  return AGAIN(fcntl(handle, F_OFD_SETLK, &lock));
}

int roost_storage_would_block(int handle, uint64_t byte, int kind) {
  struct flock lock = lock_of(byte, kind);
  if (AGAIN(fcntl(handle, F_OFD_GETLK, &lock)) < 0) return -1;
  return lock.l_type != F_UNLCK;
}
