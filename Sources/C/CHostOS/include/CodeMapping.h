#pragma once
#include <stddef.h>

/// Maps the same memory twice, of `count` bytes: once to be written and once to be executed, so that no page is ever both.
/// It is supplied when it is touched.
///
/// Returns 0, or -1 with `errno` set.
int roost_code_mapping(size_t count, void *_Nullable *_Nonnull writable, void *_Nullable *_Nonnull executable);
