#define _GNU_SOURCE
#include "Mappings.h"
#include "CHostOS.h"
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

// What the handler of SIGBUS looks at on any thread, at any time: a table that never moves.
enum { FREE, BUSY, LIVE };
static struct mapping {
  atomic_int state;
  // Set before it is live, and not changed before it is free.
  uintptr_t low, high;
  int handle, protection;
  // Held while pages are replaced, so that two threads do not do it to one another's.
  atomic_flag lock;
  // From here on all pages have been replaced; `high`: none.
  uintptr_t lost_from;
  atomic_int torn;
} mappings[64];

enum { PAGE = 4096 };

static void *map(int handle, size_t count, enum roost_mapping_kind kind) {
  int protection = kind == ROOST_MAPPING_READ_ONLY ? PROT_READ : PROT_READ | PROT_WRITE;
  int flags = kind == ROOST_MAPPING_PRIVATE ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED;
  return mmap(NULL, count, protection, flags, handle, 0);
}

int roost_mapping_make(int handle, size_t count, enum roost_mapping_kind kind) {
  roost_install_fault_guard();
  for (int index = 0; index < (int)(sizeof mappings / sizeof *mappings); index++) {
    struct mapping *mapping = &mappings[index];
    int expected = FREE;
    if (!atomic_compare_exchange_strong(&mapping->state, &expected, BUSY)) continue;
    void *base = map(handle, count, kind);
    if (base == MAP_FAILED) {
      atomic_store(&mapping->state, FREE);
      return -1;
    }
    madvise(base, count, MADV_DONTDUMP);
    mapping->low = (uintptr_t)base;
    mapping->high = mapping->lost_from = mapping->low + count;
    mapping->handle = handle;
    mapping->protection = kind == ROOST_MAPPING_READ_ONLY ? PROT_READ : PROT_READ | PROT_WRITE;
    atomic_flag_clear(&mapping->lock);
    atomic_store(&mapping->torn, 0);
    atomic_store(&mapping->state, LIVE);
    return index;
  }
  errno = ENFILE;
  return -1;
}

void *roost_mapping_base(int mapping) { return (void *)mappings[mapping].low; }

void roost_mapping_end(int mapping) {
  atomic_store(&mappings[mapping].state, BUSY);
  munmap((void *)mappings[mapping].low, mappings[mapping].high - mappings[mapping].low);
  atomic_store(&mappings[mapping].state, FREE);
}

int roost_mapping_is_torn(int mapping) { return atomic_load(&mappings[mapping].torn); }

static int replace(struct mapping *mapping, uintptr_t from, uintptr_t to) {
  void *base = mmap((void *)from, to - from, mapping->protection,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return 0;
  atomic_store(&mapping->torn, 1);
  return 1;
}

// Replaces what lies beyond the file's end; answers whether there was something.
static int replace_tail(struct mapping *mapping) {
  struct stat information;
  if (fstat(mapping->handle, &information) != 0 || !S_ISREG(information.st_mode)) return 0;
  uint64_t size = ((uint64_t)information.st_size + PAGE - 1) / PAGE * PAGE;
  if (size >= mapping->lost_from - mapping->low) return 0;
  uintptr_t end = mapping->low + size;
  if (!replace(mapping, end, mapping->lost_from)) return 0;
  mapping->lost_from = end;
  return 1;
}

static void take(struct mapping *mapping) {
  while (atomic_flag_test_and_set_explicit(&mapping->lock, memory_order_acquire)) {}
}
static void leave(struct mapping *mapping) {
  atomic_flag_clear_explicit(&mapping->lock, memory_order_release);
}

int roost_mapping_mend(int mapping) {
  take(&mappings[mapping]);
  int replaced = replace_tail(&mappings[mapping]);
  leave(&mappings[mapping]);
  return replaced;
}

int roost_mappings_take_fault(uintptr_t address) {
  for (size_t index = 0; index < sizeof mappings / sizeof *mappings; index++) {
    struct mapping *mapping = &mappings[index];
    if (atomic_load(&mapping->state) != LIVE || address < mapping->low || address >= mapping->high) continue;
    int code = errno;
    uintptr_t page = address & ~(uintptr_t)(PAGE - 1);
    take(mapping);
    // Another thread may have replaced the page meanwhile; else it lies beyond the end, or its storage has failed.
    if (page < mapping->lost_from) replace_tail(mapping);
    int done = page >= mapping->lost_from || replace(mapping, page, page + PAGE);
    leave(mapping);
    errno = code;
    return done;
  }
  return 0;
}
