#define _GNU_SOURCE
#include "include/TransferRing.h"
#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct roost_ring {
  int handle;
  unsigned entries, in_line;
  // The kernel moves the head of the submission queue and the tail of the completion queue.
  unsigned *submission_head, *submission_tail, submission_mask;
  unsigned *completion_head, *completion_tail, completion_mask, *completion_flags;
  struct io_uring_sqe *submissions;
  struct io_uring_cqe *completions;
  void *queues;
  size_t queues_size, submissions_size;
};

roost_ring *roost_ring_open(unsigned entries, int event) {
  struct io_uring_params parameters;
  memset(&parameters, 0, sizeof parameters);
  int handle = (int)syscall(SYS_io_uring_setup, entries, &parameters);
  if (handle < 0) return NULL;
  roost_ring *ring = calloc(1, sizeof *ring);
  if (!ring) {
    close(handle);
    errno = ENOMEM;
    return NULL;
  }
  ring->handle = handle;
  ring->queues = MAP_FAILED;
  ring->submissions = MAP_FAILED;
  const unsigned needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE;
  if ((parameters.features & needed) != needed) {
    errno = ENOSYS;
    goto failed;
  }
  size_t first = parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned);
  size_t second = parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe);
  ring->queues_size = first > second ? first : second;
  ring->queues = mmap(
      NULL, ring->queues_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, handle, IORING_OFF_SQ_RING);
  if (ring->queues == MAP_FAILED) goto failed;
  ring->submissions_size = parameters.sq_entries * sizeof(struct io_uring_sqe);
  ring->submissions = mmap(
      NULL, ring->submissions_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, handle, IORING_OFF_SQES);
  if (ring->submissions == MAP_FAILED) goto failed;
  if (syscall(SYS_io_uring_register, handle, IORING_REGISTER_EVENTFD, &event, 1) < 0) goto failed;

  char *queues = ring->queues;
  ring->entries = parameters.sq_entries;
  ring->submission_head = (unsigned *)(queues + parameters.sq_off.head);
  ring->submission_tail = (unsigned *)(queues + parameters.sq_off.tail);
  ring->submission_mask = *(unsigned *)(queues + parameters.sq_off.ring_mask);
  ring->completion_head = (unsigned *)(queues + parameters.cq_off.head);
  ring->completion_tail = (unsigned *)(queues + parameters.cq_off.tail);
  ring->completion_flags = (unsigned *)(queues + parameters.cq_off.flags);
  ring->completion_mask = *(unsigned *)(queues + parameters.cq_off.ring_mask);
  ring->completions = (struct io_uring_cqe *)(queues + parameters.cq_off.cqes);
  // Each place in the line stands for the entry of the same number, always.
  unsigned *order = (unsigned *)(queues + parameters.sq_off.array);
  for (unsigned index = 0; index < parameters.sq_entries; index++) order[index] = index;
  return ring;

failed: {
  int error = errno;
  roost_ring_close(ring);
  errno = error;
  return NULL;
}
}

void roost_ring_close(roost_ring *ring) {
  if (ring->submissions != MAP_FAILED) munmap(ring->submissions, ring->submissions_size);
  if (ring->queues != MAP_FAILED) munmap(ring->queues, ring->queues_size);
  close(ring->handle);
  free(ring);
}

int roost_ring_add(
    roost_ring *ring, int handle, int is_write, const struct iovec *parts, unsigned count, uint64_t offset,
    uint64_t tag) {
  if (ring->in_line == ring->entries) return -1;
  unsigned tail = *ring->submission_tail + ring->in_line;
  struct io_uring_sqe *entry = &ring->submissions[tail & ring->submission_mask];
  memset(entry, 0, sizeof *entry);
  entry->fd = handle;
  entry->off = offset;
  entry->user_data = tag;
  if (count == 1 && parts[0].iov_len <= INT32_MAX) {
    entry->opcode = is_write ? IORING_OP_WRITE : IORING_OP_READ;
    entry->addr = (uint64_t)(uintptr_t)parts[0].iov_base;
    entry->len = (unsigned)parts[0].iov_len;
  } else {
    entry->opcode = is_write ? IORING_OP_WRITEV : IORING_OP_READV;
    entry->addr = (uint64_t)(uintptr_t)parts;
    entry->len = count;
  }
  ring->in_line++;
  return 0;
}

unsigned roost_ring_submit(roost_ring *ring) {
  if (ring->in_line == 0) return 0;
  unsigned tail = *ring->submission_tail + ring->in_line;
  __atomic_store_n(ring->submission_tail, tail, __ATOMIC_RELEASE);
  long taken;
  while (ring->in_line > 0) {
    do taken = syscall(SYS_io_uring_enter, ring->handle, ring->in_line, 0, IORING_ENTER_GETEVENTS, NULL, 0);
    while (taken < 0 && errno == EINTR);
    if (taken <= 0) break;
    ring->in_line -= (unsigned)taken;
  }
  unsigned left = ring->in_line;
  // Nobody but a call reads the line, so what was not taken can be taken back.
  if (left > 0) __atomic_store_n(ring->submission_tail, tail - left, __ATOMIC_RELEASE);
  ring->in_line = 0;
  return left;
}

void roost_ring_set_ringing(roost_ring *ring, int rings) {
  // A full barrier: who looks for ended transfers next misses none of which nobody will be told.
  __atomic_store_n(ring->completion_flags, rings ? 0 : IORING_CQ_EVENTFD_DISABLED, __ATOMIC_SEQ_CST);
}

int roost_ring_take(roost_ring *ring, uint64_t *tag, int32_t *result) {
  unsigned head = *ring->completion_head;
  if (head == __atomic_load_n(ring->completion_tail, __ATOMIC_ACQUIRE)) return 0;
  struct io_uring_cqe *entry = &ring->completions[head & ring->completion_mask];
  *tag = entry->user_data;
  *result = entry->res;
  __atomic_store_n(ring->completion_head, head + 1, __ATOMIC_RELEASE);
  return 1;
}
