#define _GNU_SOURCE
#include "Directories.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ANSWER(call)                     \
  do {                                   \
    __typeof__(call) result = (call);    \
    return result < 0 ? -errno : result; \
  } while (0)

// As above for calls that a signal may end early.
#define ANSWER_AGAIN(call)                     \
  do {                                         \
    __typeof__(call) result;                   \
    do                                         \
      result = (call);                         \
    while (result < 0 && errno == EINTR);      \
    return result < 0 ? -errno : result;       \
  } while (0)

// The name of a descriptor in /proc/self/fd, or its whole path.
struct number { char text[32]; };
static struct number name_of(int descriptor) {
  struct number number;
  snprintf(number.text, sizeof number.text, "%d", descriptor);
  return number;
}
static struct number path_of(int descriptor) {
  struct number number;
  snprintf(number.text, sizeof number.text, "/proc/self/fd/%d", descriptor);
  return number;
}

int roost_dir_open_root(const char *path) { ANSWER(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)); }

int roost_dir_open_proc(void) {
  int proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (proc < 0) return -errno;
  struct statfs system;
  if (fstatfs(proc, &system) < 0 || system.f_type != PROC_SUPER_MAGIC) {
    close(proc);
    return -ENOSYS;
  }
  return proc;
}

// One component, never a link: with openat2 the kernel also refuses what a wrong name could do. A host without it
// (before Linux 5.6, or a filter of system calls) has the same from openat, for a name without slashes.
static int open_beneath(int directory, const uint8_t *name, uint64_t flags, uint64_t mode) {
  struct open_how how = {
      .flags = flags | O_CLOEXEC | O_NOFOLLOW,
      .mode = mode,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
  };
  long result;
  do
    result = syscall(SYS_openat2, directory, name, &how, sizeof how);
  while (result < 0 && errno == EINTR);
  if (result < 0 && errno == ENOSYS)
    result = openat(directory, (const char *)name, (int)how.flags, (mode_t)mode);
  return result < 0 ? -errno : (int)result;
}

int roost_dir_look_up(int directory, const uint8_t *name) { return open_beneath(directory, name, O_PATH, 0); }

int roost_dir_create(int directory, const uint8_t *name, int flags, uint32_t mode) {
  return open_beneath(directory, name, (uint64_t)(unsigned)flags | O_CREAT | O_EXCL, mode);
}

int roost_dir_reopen(int proc, int node, int flags) {
  ANSWER_AGAIN(openat(proc, name_of(node).text, flags | O_CLOEXEC));
}

int roost_dir_open_list(int node) { ANSWER(openat(node, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

int roost_dir_attributes(int node, struct roost_attributes *a) {
  struct statx x;
  if (statx(node, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &x) < 0) return -errno;
  *a = (struct roost_attributes){
      .device = (uint64_t)x.stx_dev_major << 32 | x.stx_dev_minor,
      .inode = x.stx_ino,
      .size = x.stx_size,
      .blocks = x.stx_blocks,
      .accessed = x.stx_atime.tv_sec,
      .modified = x.stx_mtime.tv_sec,
      .changed = x.stx_ctime.tv_sec,
      .born = x.stx_mask & STATX_BTIME ? x.stx_btime.tv_sec : 0,
      .accessed_nanoseconds = x.stx_atime.tv_nsec,
      .modified_nanoseconds = x.stx_mtime.tv_nsec,
      .changed_nanoseconds = x.stx_ctime.tv_nsec,
      .born_nanoseconds = x.stx_mask & STATX_BTIME ? x.stx_btime.tv_nsec : 0,
      .mode = x.stx_mode,
      .links = x.stx_nlink,
      .user = x.stx_uid,
      .group = x.stx_gid,
      .block_size = x.stx_blksize,
      .special_major = x.stx_rdev_major,
      .special_minor = x.stx_rdev_minor,
  };
  return 0;
}

int roost_dir_file_system(int node, struct roost_file_system *system) {
  struct statfs s;
  if (fstatfs(node, &s) < 0) return -errno;
  *system = (struct roost_file_system){
      .type = (uint64_t)s.f_type,
      .block_size = (uint64_t)s.f_bsize,
      .fragment_size = (uint64_t)(s.f_frsize ? s.f_frsize : s.f_bsize),
      .blocks = s.f_blocks,
      .free_blocks = s.f_bfree,
      .available_blocks = s.f_bavail,
      .files = s.f_files,
      .free_files = s.f_ffree,
      .name_length = (uint64_t)s.f_namelen,
  };
  memcpy(&system->identity, &s.f_fsid, sizeof system->identity);
  return 0;
}

int roost_dir_set_mode(int proc, int node, uint32_t mode) { ANSWER(fchmodat(proc, name_of(node).text, mode, 0)); }

int roost_dir_set_owner(int node, uint32_t user, uint32_t group) {
  ANSWER(fchownat(node, "", user, group, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

static struct timespec moment(int64_t seconds, int64_t nanoseconds) {
  long part = nanoseconds == -1 ? UTIME_NOW : nanoseconds == -2 ? UTIME_OMIT : (long)nanoseconds;
  return (struct timespec){.tv_sec = seconds, .tv_nsec = part};
}

int roost_dir_set_times(int proc, int node, int64_t accessed, int64_t accessed_nanoseconds, int64_t modified,
                        int64_t modified_nanoseconds) {
  struct timespec times[2] = {moment(accessed, accessed_nanoseconds), moment(modified, modified_nanoseconds)};
  ANSWER(utimensat(proc, name_of(node).text, times, 0));
}

int roost_dir_access(int proc, int node, int mask) {
  ANSWER(faccessat(proc, name_of(node).text, mask, AT_EACCESS));
}

long roost_dir_read_link(int node, uint8_t *target, size_t room) {
  ANSWER(readlinkat(node, "", (char *)target, room));
}

long roost_dir_path(int proc, int node, uint8_t *path, size_t room) {
  ANSWER(readlinkat(proc, name_of(node).text, (char *)path, room));
}

int roost_dir_make_directory(int directory, const uint8_t *name, uint32_t mode) {
  ANSWER(mkdirat(directory, (const char *)name, mode));
}

int roost_dir_make_node(int directory, const uint8_t *name, uint32_t mode) {
  if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode)) return -EPERM;
  ANSWER(mknodat(directory, (const char *)name, mode, 0));
}

int roost_dir_make_symbolic_link(int directory, const uint8_t *name, const uint8_t *target) {
  ANSWER(symlinkat((const char *)target, directory, (const char *)name));
}

int roost_dir_link(int proc, int node, int directory, const uint8_t *name) {
  ANSWER(linkat(proc, name_of(node).text, directory, (const char *)name, AT_SYMLINK_FOLLOW));
}

int roost_dir_unlink(int directory, const uint8_t *name, int is_directory) {
  ANSWER(unlinkat(directory, (const char *)name, is_directory ? AT_REMOVEDIR : 0));
}

int roost_dir_rename(int from, const uint8_t *old_name, int to, const uint8_t *new_name, uint32_t flags) {
  ANSWER((int)syscall(SYS_renameat2, from, old_name, to, new_name, flags));
}

long roost_dir_attribute(int node, const uint8_t *name, uint8_t *value, size_t room) {
  ANSWER(getxattr(path_of(node).text, (const char *)name, value, room));
}

long roost_dir_attribute_names(int node, uint8_t *names, size_t room) {
  ANSWER(listxattr(path_of(node).text, (char *)names, room));
}

int roost_dir_set_attribute(int node, const uint8_t *name, const uint8_t *value, size_t size, int flags) {
  ANSWER(setxattr(path_of(node).text, (const char *)name, value, size, flags));
}

int roost_dir_remove_attribute(int node, const uint8_t *name) {
  ANSWER(removexattr(path_of(node).text, (const char *)name));
}

long roost_dir_read(int file, uint8_t *bytes, size_t count, int64_t offset) {
  ANSWER_AGAIN(pread(file, bytes, count, offset));
}

long roost_dir_write(int file, const uint8_t *bytes, size_t count, int64_t offset) {
  ANSWER_AGAIN(pwrite(file, bytes, count, offset));
}

int roost_dir_truncate(int file, int64_t size) { ANSWER_AGAIN(ftruncate(file, size)); }

int roost_dir_sync(int file, int only_data) { ANSWER(only_data ? fdatasync(file) : fsync(file)); }

int64_t roost_dir_seek(int file, int64_t offset, int whence) { ANSWER(lseek(file, offset, whence)); }

int roost_dir_allocate(int file, int mode, int64_t offset, int64_t length) {
  ANSWER_AGAIN(fallocate(file, mode, offset, length));
}

long roost_dir_copy(int from, int64_t from_offset, int to, int64_t to_offset, size_t count) {
  off64_t source = from_offset, target = to_offset;
  ANSWER_AGAIN(copy_file_range(from, &source, to, &target, count, 0));
}

static struct flock flock_of(const struct roost_region *region) {
  return (struct flock){
      .l_type = region->kind == 0 ? F_RDLCK : region->kind == 1 ? F_WRLCK : F_UNLCK,
      .l_whence = SEEK_SET,
      .l_start = region->start,
      .l_len = region->length,
  };
}

int roost_dir_lock(int file, const struct roost_region *region) {
  struct flock lock = flock_of(region);
  ANSWER(fcntl(file, F_OFD_SETLK, &lock));
}

int roost_dir_find_lock(int file, struct roost_region *region) {
  struct flock lock = flock_of(region);
  if (fcntl(file, F_OFD_GETLK, &lock) < 0) return -errno;
  region->kind = lock.l_type == F_RDLCK ? 0 : lock.l_type == F_WRLCK ? 1 : 2;
  if (region->kind != 2) {
    region->start = lock.l_start;
    region->length = lock.l_len;
    region->process = lock.l_pid;
  }
  return 0;
}

long roost_dir_list(int directory, uint8_t *entries, size_t room) {
  ANSWER(syscall(SYS_getdents64, directory, entries, room));
}

int roost_descriptors_limit(uint64_t *soft, uint64_t *hard) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  *soft = limit.rlim_cur;
  *hard = limit.rlim_max;
  return 0;
}

int roost_descriptors_set_limit(uint64_t soft) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  limit.rlim_cur = soft;
  ANSWER(setrlimit(RLIMIT_NOFILE, &limit));
}
