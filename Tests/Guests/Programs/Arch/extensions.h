// Instructions that came after the first x86-64, each on operands in memory: SDM Vol. 2.
#pragma once
#include "arch.h"

// MARK: x86-64-v2

/// CMPXCHG16B; answers ZF, and leaves at `expected` what RDX:RAX hold then.
INSTRUCTION uint8_t compare_exchange_pair(uint64_t a, uint64_t expected, uint64_t low, uint64_t high) {
  uint8_t done;
  uint64_t old_low = load64(expected), old_high = load64(expected + 8);
  __asm__ volatile("cmpxchg16b (%3); sete %0" : "=q"(done), "+a"(old_low), "+d"(old_high) : "r"(a), "b"(low), "c"(high) : "memory", "cc");
  store64(expected, old_low);
  store64(expected + 8, old_high);
  return done;
}
INSTRUCTION uint64_t count_bits(uint64_t v) { __asm__("popcnt %0, %0" : "+r"(v) : : "cc"); return v; }
INSTRUCTION uint32_t crc32_byte(uint32_t crc, uint8_t v) { __asm__("crc32b %1, %0" : "+r"(crc) : "q"(v)); return crc; }
/// PCMPISTRI, unsigned bytes, equal each, least significant index: where two texts first agree.
INSTRUCTION uint32_t find_equal(uint64_t a, uint64_t b) {
  uint32_t index;
  __asm__ volatile("movdqu (%1), %%xmm0; pcmpistri $8, (%2), %%xmm0" : "=c"(index) : "r"(a), "r"(b) : "xmm0", "memory", "cc");
  return index;
}

#define BINARY_PAIR(name, instruction) \
  INSTRUCTION void name(uint64_t to, uint64_t a, uint64_t b) { \
    __asm__ volatile("movdqu (%1), %%xmm0; movdqu (%2), %%xmm1; " instruction "; movdqu %%xmm0, (%0)" \
                     ::"r"(to), "r"(a), "r"(b) : "xmm0", "xmm1", "memory"); \
  }
BINARY_PAIR(shuffle_bytes, "pshufb %%xmm1, %%xmm0")
BINARY_PAIR(multiply_doublewords, "pmulld %%xmm1, %%xmm0")
BINARY_PAIR(compare_quadwords, "pcmpgtq %%xmm1, %%xmm0")
BINARY_PAIR(round_down, "roundpd $1, %%xmm1, %%xmm0")

// MARK: State

INSTRUCTION void fxsave(uint64_t a) { __asm__ volatile("fxsave64 (%0)" ::"r"(a) : "memory"); }
INSTRUCTION void fxrstor(uint64_t a) { __asm__ volatile("fxrstor64 (%0)" ::"r"(a) : "memory"); }
INSTRUCTION void xsave(uint64_t a, uint64_t mask) { __asm__ volatile("xsave64 (%0)" ::"r"(a), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)) : "memory"); }
INSTRUCTION void xrstor(uint64_t a, uint64_t mask) { __asm__ volatile("xrstor64 (%0)" ::"r"(a), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)) : "memory"); }
INSTRUCTION uint64_t xgetbv(uint32_t n) { uint32_t l, h; __asm__ volatile("xgetbv" : "=a"(l), "=d"(h) : "c"(n)); return (uint64_t)h << 32 | l; }
INSTRUCTION void xsetbv(uint32_t n, uint64_t v) { __asm__ volatile("xsetbv" ::"a"((uint32_t)v), "d"((uint32_t)(v >> 32)), "c"(n) : "memory"); }

/// Saves x87 and SSE state at `area` by FXSAVE around a change of XMM7 and the control words; then `area` + 512 is what
/// XMM7 and MXCSR are after FXRSTOR.
INSTRUCTION void fxsave_round_trip(uint64_t area, uint64_t value) {
  __asm__ volatile(
      "movq %1, %%xmm7; fninit; fldpi; fxsave64 (%0); pxor %%xmm7, %%xmm7; fninit; fxrstor64 (%0);"
      "movdqu %%xmm7, 512(%0); fstpt 528(%0); stmxcsr 544(%0)" ::"r"(area), "r"(value) : "xmm7", "memory");
}
/// The same by XSAVE and XRSTOR, with a whole YMM7, and XRSTOR from an area whose XSTATE_BV is then zero.
INSTRUCTION void xsave_round_trip(uint64_t area, uint64_t value, uint64_t mask) {
  __asm__ volatile(
      "vmovdqu (%1), %%ymm7; mov %2, %%eax; xor %%edx, %%edx; xsave64 (%0); vpxor %%ymm7, %%ymm7, %%ymm7;"
      "xrstor64 (%0); vmovdqu %%ymm7, 1024(%0); movq 512(%0), %%rcx; movq %%rcx, 1088(%0); movq $0, 512(%0);"
      "xrstor64 (%0); vmovdqu %%ymm7, 1056(%0); vzeroupper" ::"r"(area), "r"(value), "r"((uint32_t)mask)
      : "rax", "rcx", "rdx", "xmm7", "memory");
}

// MARK: x86-64-v3: 32-byte operands

#define BINARY_VECTOR(name, instruction) \
  INSTRUCTION void name(uint64_t to, uint64_t a, uint64_t b) { \
    __asm__ volatile("vmovdqu (%0), %%ymm0; vmovdqu (%1), %%ymm1; vmovdqu (%2), %%ymm2; " instruction \
                     "; vmovdqu %%ymm0, (%0); vzeroupper" ::"r"(to), "r"(a), "r"(b) : "xmm0", "xmm1", "xmm2", "memory"); \
  }
BINARY_VECTOR(vector_add_floats, "vaddps %%ymm2, %%ymm1, %%ymm0")
BINARY_VECTOR(vector_swap_halves, "vperm2f128 $0x01, %%ymm2, %%ymm1, %%ymm0")
BINARY_VECTOR(vector_add_low, "vaddpd %%xmm2, %%xmm1, %%xmm0")
BINARY_VECTOR(vector_add_quadwords, "vpaddq %%ymm2, %%ymm1, %%ymm0")
BINARY_VECTOR(vector_reverse_quadwords, "vpermq $0x1b, %%ymm1, %%ymm0")
BINARY_VECTOR(vector_shift_each, "vpsllvq %%ymm2, %%ymm1, %%ymm0")
BINARY_VECTOR(vector_multiply_add, "vfmadd231pd %%ymm2, %%ymm1, %%ymm0")
/// VPGATHERDQ: quadwords of `table` at the doublewords at `indices`.
INSTRUCTION void vector_gather(uint64_t to, uint64_t table, uint64_t indices) {
  __asm__ volatile("vmovdqu (%2), %%xmm1; vpcmpeqd %%ymm2, %%ymm2, %%ymm2; vpgatherdq %%ymm2, (%1,%%xmm1,8), %%ymm0;"
                   "vmovdqu %%ymm0, (%0); vzeroupper" ::"r"(to), "r"(table), "r"(indices) : "xmm0", "xmm1", "xmm2", "memory");
}
INSTRUCTION uint64_t deposit_bits(uint64_t v, uint64_t mask) { __asm__("pdep %1, %0, %0" : "+r"(v) : "r"(mask)); return v; }
INSTRUCTION uint64_t extract_bits(uint64_t v, uint64_t mask) { __asm__("pext %1, %0, %0" : "+r"(v) : "r"(mask)); return v; }
INSTRUCTION uint64_t and_not(uint64_t a, uint64_t b) { uint64_t v; __asm__("andn %2, %1, %0" : "=r"(v) : "r"(a), "r"(b) : "cc"); return v; }

// MARK: A checksum

/// Goes on with a sequence of numbers: each is added to one of 512 words at `table`, and to the sum in XMM0, which is
/// kept at `sum` between calls.
INSTRUCTION uint64_t checksum_steps(uint64_t x, uint64_t table, uint64_t sum, uint64_t count) {
  __asm__ volatile(
      "movdqu (%2), %%xmm0; 1: imulq %4, %0; addq %5, %0; movq %0, %%rdx; shrq $55, %%rdx; addq %0, (%1,%%rdx,8);"
      "movq %0, %%xmm1; paddq %%xmm1, %%xmm0; decq %3; jnz 1b; movdqu %%xmm0, (%2)"
      : "+r"(x), "+r"(table), "+r"(sum), "+r"(count) : "r"(6364136223846793005ull), "r"(1442695040888963407ull)
      : "rdx", "xmm0", "xmm1", "memory", "cc");
  return x;
}
