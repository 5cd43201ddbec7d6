#include "CProcessor.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

_Static_assert(offsetof(struct x86_cpu, flag_result) <= 256, "ops name these by one byte");
_Static_assert(sizeof(struct x86_op) == 32, "ops are half a cache line");
_Static_assert(sizeof(struct x86_tlb_entry) == 32, "two entries a cache line");
_Static_assert(sizeof(struct x86_native) == sizeof(struct x86_op), "found by a fixed distance");
_Static_assert(sizeof(struct x86_jump_entry) == 32, "found by a shift");
_Static_assert(sizeof(struct x86_cpu) <= X86_TLB_DISTANCE, "the TLB lies behind it");

bool x86_cas_128(void *_Nonnull p, uint64_t *_Nonnull expected, const uint64_t *_Nonnull desired) {
#if defined(__x86_64__)
  bool equal;
  __asm__ volatile("lock cmpxchg16b %1"
                   : "=@ccz"(equal), "+m"(*(unsigned __int128 *)p), "+a"(expected[0]),
                     "+d"(expected[1])
                   : "b"(desired[0]), "c"(desired[1])
                   : "memory");
  return equal;
#else
  unsigned __int128 old = (unsigned __int128)expected[1] << 64 | expected[0];
  unsigned __int128 new = (unsigned __int128)desired[1] << 64 | desired[0];
  bool equal = __atomic_compare_exchange_n((unsigned __int128 *)p, &old, new, 0, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
  expected[0] = (uint64_t)old, expected[1] = (uint64_t)(old >> 64);
  return equal;
#endif
}

uint64_t x86_random(void) {
  uint64_t value;
  // So few bytes come whole, or not at all while the host's pool is not ready yet.
  while (getrandom(&value, sizeof value, 0) != sizeof value)
    if (errno != EINTR) abort();
  return value;
}

#if defined(__x86_64__)
#include <cpuid.h>

bool x86_host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t *_Nonnull registers) {
  for (int i = 0; i < 4; i++) registers[i] = 0;
  if (leaf <= __get_cpuid_max(leaf & 0x80000000u, NULL))
    __cpuid_count(leaf, subleaf, registers[0], registers[1], registers[2], registers[3]);
  return true;
}

uint64_t x86_host_xcr0(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
  __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return (uint64_t)d << 32 | a;
}
#else
bool x86_host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t *_Nonnull registers) { return false; }
uint64_t x86_host_xcr0(void) { return 0; }
#endif
