#define _GNU_SOURCE
#include "CodeMapping.h"
#include <sys/mman.h>
#include <unistd.h>

int roost_code_mapping(size_t count, void **writable, void **executable) {
  int handle = memfd_create("code", MFD_CLOEXEC);
  if (handle < 0) return -1;
  *writable = *executable = MAP_FAILED;
  if (ftruncate(handle, (off_t)count) == 0) {
    *writable = mmap(NULL, count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, handle, 0);
    *executable = mmap(NULL, count, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, handle, 0);
  }
  close(handle);
  if (*writable != MAP_FAILED && *executable != MAP_FAILED) {
    madvise(*writable, count, MADV_DONTDUMP);
    madvise(*executable, count, MADV_DONTDUMP);
    return 0;
  }
  if (*writable != MAP_FAILED) munmap(*writable, count);
  if (*executable != MAP_FAILED) munmap(*executable, count);
  return -1;
}
