#define _GNU_SOURCE
#include "PositionalFile.h"
#include <fcntl.h>

const int roost_o_direct = O_DIRECT;

ssize_t roost_preadv_nowait(int file, const struct iovec *vectors, int count, off_t offset) {
  return preadv2(file, vectors, count, offset, RWF_NOWAIT);
}

int roost_punch(int file, off_t start, off_t count) {
  return fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, count);
}
