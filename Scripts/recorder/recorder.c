// Records all that a program does to one file, with the bytes, and all that it prints: for replay-cuts.py.
//
// Preloaded before the C library (LD_PRELOAD), so that it sees the calls that the host would. Each call is noted when it
// begins and when it has ended. What is written is copied first, and the copy is noted and written: a guest that changes
// its buffers meanwhile changes neither. The host's rings (io_uring) would pass by it: it says that there are none.
//
//   ROOST_RECORDER_FILE    the file
//   ROOST_RECORDER_LOG     where the record goes: struct entry, then `length` bytes if it is a write or an output
//   ROOST_RECORDER_DELAY   microseconds that a sync keeps its caller waiting, at most, when the host is done; by chance
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { WRITE = 1, SYNC, LENGTH, PUNCH, ZERO, OUTPUT, RESERVE, ENDED };

struct entry {
  uint32_t kind;
  int32_t result;    // of ENDED: what the call answered, or minus the error; of WRITE: the flags of pwritev2
  uint64_t call;     // joins a call and its end
  uint64_t offset, length;
};

#ifndef RWF_DSYNC
#define RWF_DSYNC 2
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t calls;
static int log_handle = -1;
static unsigned delay;
static struct stat file, output;

#define REAL(name) ((__typeof__(&name))real(&name##_real, #name))
static void *real(void **place, const char *name) {
  if (!*place) *place = dlsym(RTLD_NEXT, name);
  return *place;
}
static void *write_real, *writev_real, *pwrite_real, *pwritev_real, *pwritev2_real, *fdatasync_real, *fsync_real,
    *ftruncate_real, *fallocate_real, *syscall_real;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("ROOST_RECORDER_FILE"), *log = getenv("ROOST_RECORDER_LOG");
  const char *wait = getenv("ROOST_RECORDER_DELAY");
  if (!path || !log || stat(path, &file) < 0 || fstat(1, &output) < 0) return;
  log_handle = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  if (wait) delay = (unsigned)atoi(wait);
  unsetenv("LD_PRELOAD");  // what it starts is not recorded
}

static int is(const struct stat *wanted, int handle) {
  struct stat found;
  return log_handle >= 0 && fstat(handle, &found) == 0 && found.st_dev == wanted->st_dev && found.st_ino == wanted->st_ino;
}

static void put(const void *bytes, size_t count) {
  while (count) {
    ssize_t done = REAL(write)(log_handle, bytes, count);
    if (done <= 0) abort();  // half a record proves nothing
    bytes = (const char *)bytes + done, count -= (size_t)done;
  }
}

static uint64_t note(enum kind kind, int32_t result, uint64_t call, uint64_t offset, uint64_t length, const void *bytes) {
  pthread_mutex_lock(&lock);
  if (!call) call = ++calls;
  struct entry entry = {.kind = kind, .result = result, .call = call, .offset = offset, .length = length};
  put(&entry, sizeof entry);
  if (bytes) put(bytes, length);
  pthread_mutex_unlock(&lock);
  return call;
}

static void ended(uint64_t call, int64_t result) {
  int error = errno;
  note(ENDED, result < 0 ? -error : result > INT32_MAX ? INT32_MAX : (int32_t)result, call, 0, 0, NULL);
  errno = error;
}

// --- Writing ---

static ssize_t record(int handle, const struct iovec *parts, int count, off_t offset, int flags) {
  size_t length = 0, done = 0;
  for (int index = 0; index < count; index++) length += parts[index].iov_len;
  void *copy = NULL;
  if (posix_memalign(&copy, 4096, length ? length : 1)) abort();
  for (int index = 0; index < count; index++) {
    memcpy((char *)copy + done, parts[index].iov_base, parts[index].iov_len);
    done += parts[index].iov_len;
  }
  uint64_t call = note(WRITE, flags, 0, (uint64_t)offset, length, copy);
  struct iovec whole = {copy, length};
  ssize_t result = flags ? REAL(pwritev2)(handle, &whole, 1, offset, flags) : REAL(pwrite)(handle, copy, length, offset);
  ended(call, result);
  free(copy);
  return result;
}

ssize_t pwrite(int handle, const void *bytes, size_t count, off_t offset) {
  struct iovec whole = {(void *)bytes, count};
  return is(&file, handle) ? record(handle, &whole, 1, offset, 0) : REAL(pwrite)(handle, bytes, count, offset);
}

ssize_t pwritev(int handle, const struct iovec *parts, int count, off_t offset) {
  return is(&file, handle) ? record(handle, parts, count, offset, 0) : REAL(pwritev)(handle, parts, count, offset);
}

ssize_t pwritev2(int handle, const struct iovec *parts, int count, off_t offset, int flags) {
  return is(&file, handle) ? record(handle, parts, count, offset, flags)
                           : REAL(pwritev2)(handle, parts, count, offset, flags);
}

ssize_t write(int handle, const void *bytes, size_t count) {
  if (is(&file, handle)) abort();  // an image is written at places
  if (is(&output, handle)) note(OUTPUT, 0, 0, 0, count, bytes);
  return REAL(write)(handle, bytes, count);
}

ssize_t writev(int handle, const struct iovec *parts, int count) {
  if (is(&file, handle)) abort();
  if (is(&output, handle))
    for (int index = 0; index < count; index++) note(OUTPUT, 0, 0, 0, parts[index].iov_len, parts[index].iov_base);
  return REAL(writev)(handle, parts, count);
}

// --- Calls without a function of their own ---

long syscall(long number, ...) {
  if (number == SYS_io_uring_setup && log_handle >= 0) {
    errno = ENOSYS;
    return -1;
  }
  long word[6];
  va_list list;
  va_start(list, number);
  for (int index = 0; index < 6; index++) word[index] = va_arg(list, long);
  va_end(list);
  return REAL(syscall)(number, word[0], word[1], word[2], word[3], word[4], word[5]);
}

// --- What else becomes of a file ---

static int record_sync(int handle, int (*sync)(int)) {
  if (!is(&file, handle)) return sync(handle);
  uint64_t call = note(SYNC, 0, 0, 0, 0, NULL);
  int result = sync(handle), error = errno;
  // Whoever is told before this has waited is told too early.
  if (delay) usleep((unsigned)(call * 2654435761u >> 8) % delay);
  errno = error;
  ended(call, result);
  return result;
}

int fdatasync(int handle) { return record_sync(handle, REAL(fdatasync)); }
int fsync(int handle) { return record_sync(handle, REAL(fsync)); }

int ftruncate(int handle, off_t length) {
  if (!is(&file, handle)) return REAL(ftruncate)(handle, length);
  uint64_t call = note(LENGTH, 0, 0, 0, (uint64_t)length, NULL);
  int result = REAL(ftruncate)(handle, length);
  ended(call, result);
  return result;
}

int fallocate(int handle, int mode, off_t offset, off_t length) {
  if (!is(&file, handle)) return REAL(fallocate)(handle, mode, offset, length);
  enum kind kind = mode & FALLOC_FL_PUNCH_HOLE ? PUNCH : mode & FALLOC_FL_ZERO_RANGE ? ZERO : RESERVE;
  uint64_t call = note(kind, 0, 0, (uint64_t)offset, (uint64_t)length, NULL);
  int result = REAL(fallocate)(handle, mode, offset, length);
  ended(call, result);
  return result;
}
