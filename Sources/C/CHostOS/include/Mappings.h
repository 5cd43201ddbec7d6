#pragma once
#include <stddef.h>
#include <stdint.h>

// Files mapped into memory that outlive what becomes of the file. Where the host cannot supply a page any more, because
// the file has shrunk or its storage has failed, whoever touches the page finds zeroes in its place from then on, and
// the mapping is torn: what was or will be in such pages is lost. The file is not changed by that.

enum roost_mapping_kind {
  /// Writes go to the file.
  ROOST_MAPPING_SHARED,
  /// There are no writes.
  ROOST_MAPPING_READ_ONLY,
  /// Writes stay in memory.
  ROOST_MAPPING_PRIVATE,
};

/// Maps the first `count` bytes, whole pages, of an open file. Answers the mapping's number, or -1 with `errno` set
/// (ENFILE: there are as many as there can be). The file stays open for as long as it is mapped.
int roost_mapping_make(int handle, size_t count, enum roost_mapping_kind kind);

void *roost_mapping_base(int mapping);

/// Ends a mapping that nobody uses any more.
void roost_mapping_end(int mapping);

int roost_mapping_is_torn(int mapping);

/// Puts zeroes in the place of all pages beyond the end that the file has now, without being asked by a fault. Answers
/// whether there were any.
int roost_mapping_mend(int mapping);

/// For the handler of SIGBUS: puts zeroes in the place of the page at an address in a mapping. Answers whether the
/// access may be tried again.
int roost_mappings_take_fault(uintptr_t address);
