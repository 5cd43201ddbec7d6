#pragma once
#include <stddef.h>
#include <stdint.h>

/// Copies `count` bytes of which either side may be guest memory. Returns 0, or -1 if the host could
/// not supply a page (a file behind the mapping shrank); part of the bytes may then have been copied.
int roost_copy(void *destination, const void *source, size_t count);

/// Fills guest memory; same answer as `roost_copy`.
int roost_fill(void *destination, uint8_t value, size_t count);

/// Installs the SIGSEGV and SIGBUS handlers that `roost_copy` relies on. Idempotent.
void roost_install_fault_guard(void);
