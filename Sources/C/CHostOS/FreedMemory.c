#include "CHostOS.h"
#if defined(__GLIBC__)
#include <malloc.h>

void roost_release_freed_memory(void) { malloc_trim(0); }
#else
void roost_release_freed_memory(void) {}
#endif
