#pragma once
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

// SSE's floating-point instructions as functions: results, NaNs, rounding and exception flags are those
// of SDM Vol. 1 chapters 10 and 11, given that the host's MXCSR holds the guest's modes.
//
// On an x86 host each function is the instruction itself, which needs a host of x86-64-v2. A compiler
// may not do it in C: it takes a + b for b + a, and knows of one rounding mode only. On other hosts the
// results are the same while the guest rounds to nearest and keeps denormals; flags stay clear.

typedef float x86_floats __attribute__((vector_size(16)));
typedef double x86_doubles __attribute__((vector_size(16)));
typedef int32_t x86_integers __attribute__((vector_size(16)));

#if defined(__x86_64__)
#define X86_NATIVE 1
#else
#define X86_NATIVE 0
#endif

// MARK: - MXCSR

/// What MXCSR is set to while host code runs: its value after reset.
enum { X86_MXCSR_RESET = 0x1f80 };

static inline uint32_t x86_read_mxcsr(void) {
#if X86_NATIVE
  uint32_t value;
  __asm__ volatile("stmxcsr %0" : "=m"(value));
  return value;
#else
  return X86_MXCSR_RESET;
#endif
}

static inline void x86_write_mxcsr(uint32_t value) {
#if X86_NATIVE
  __asm__ volatile("ldmxcsr %0" : : "m"(value));
#endif
}

/// A trial carries out operations with the exceptions unmasked that are unmasked in `mxcsr`, to see what they raise. What a
/// result must be to overflow or underflow, and whether it is then inexact, is another matter where those are not masked
/// (SDM Vol. 1 §4.9.1.4, §4.9.1.5), and the host's processor alone knows for every operation. It tells by SIGFPE; the trial
/// goes on with all masked.
void x86_begin_trial(uint32_t mxcsr);
/// Ends it, and leaves `mxcsr` to go on with.
void x86_end_trial(uint32_t mxcsr);
/// The flags that this thread's trials have raised since it was asked.
uint32_t x86_take_raised(void);

// MARK: - NaNs: SDM Vol. 1 Table 4-7 "Rules for Handling NaNs"

/// The result `r` of an operation on `x` and `y`, or the NaN that it must be.
#define X86_ANSWER(x, y, r)                                                                       \
  ({                                                                                              \
    __typeof__(x) result = (r);                                                                   \
    result == result ? result : x != x ? x + x : y != y ? y + y : -(__typeof__(x))NAN;            \
  })

// MARK: - Two operands

/// An instruction on `lanes` pairs of elements `x` and `y`; further lanes of the first operand stay.
#if X86_NATIVE
#define X86_BINARY(name, type, lanes, expression)                                                 \
  static inline type x86_##name(type a, type b) {                                                 \
    __asm__ volatile(#name " %1, %0" : "+x"(a) : "x"(b));                                         \
    return a;                                                                                     \
  }
#define X86_COMPARE X86_BINARY
#else
#define X86_BINARY(name, type, lanes, expression)                                                 \
  static inline type x86_##name(type a, type b) {                                                 \
    for (int i = 0; i < lanes; i++) {                                                             \
      __typeof__(a[0]) x = a[i], y = b[i];                                                        \
      a[i] = expression;                                                                          \
    }                                                                                             \
    return a;                                                                                     \
  }
#define X86_COMPARE(name, type, lanes, expression)                                                \
  static inline type x86_##name(type a, type b) {                                                 \
    __typeof__(a == b) mask = (__typeof__(a == b))a;                                              \
    for (int i = 0; i < lanes; i++) {                                                             \
      __typeof__(a[0]) x = a[i], y = b[i];                                                        \
      mask[i] = (expression) ? -1 : 0;                                                            \
    }                                                                                             \
    return (type)mask;                                                                            \
  }
#endif

#define X86_EACH(macro, name, expression)                                                         \
  macro(name##ps, x86_floats, 4, expression) macro(name##pd, x86_doubles, 2, expression)          \
  macro(name##ss, x86_floats, 1, expression) macro(name##sd, x86_doubles, 1, expression)

X86_EACH(X86_BINARY, add, X86_ANSWER(x, y, x + y))
X86_EACH(X86_BINARY, sub, X86_ANSWER(x, y, x - y))
X86_EACH(X86_BINARY, mul, X86_ANSWER(x, y, x *y))
X86_EACH(X86_BINARY, div, X86_ANSWER(x, y, x / y))
X86_EACH(X86_BINARY, min, x < y ? x : y)
X86_EACH(X86_BINARY, max, x > y ? x : y)
X86_EACH(X86_BINARY, sqrt, X86_ANSWER(y, y, __builtin_sqrt(y)))
X86_EACH(X86_COMPARE, cmpeq, x == y)
X86_EACH(X86_COMPARE, cmplt, x < y)
X86_EACH(X86_COMPARE, cmple, x <= y)
X86_EACH(X86_COMPARE, cmpunord, x != x || y != y)
X86_EACH(X86_COMPARE, cmpneq, x != y)
X86_EACH(X86_COMPARE, cmpnlt, !(x < y))
X86_EACH(X86_COMPARE, cmpnle, !(x <= y))
X86_EACH(X86_COMPARE, cmpord, x == x && y == y)

// The approximations have a relative error below 1.5 * 2^-12; which one is the processor's own affair.
X86_BINARY(rcpps, x86_floats, 4, X86_ANSWER(y, y, 1 / y))
X86_BINARY(rcpss, x86_floats, 1, X86_ANSWER(y, y, 1 / y))
X86_BINARY(rsqrtps, x86_floats, 4, X86_ANSWER(y, y, 1 / __builtin_sqrtf(y)))
X86_BINARY(rsqrtss, x86_floats, 1, X86_ANSWER(y, y, 1 / __builtin_sqrtf(y)))

/// The predicates of VCMPPS and its kin: SDM Vol. 2, Table 3-1. Each is made of those that SSE has too: bits of
/// `relations` choose less, equal, greater, unordered; bit 4 says that quiet NaNs are invalid operands.
#define X86_PREDICATES                                                                            \
  {                                                                                               \
    0x02, 0x11, 0x13, 0x08, 0x0d, 0x1e, 0x1c, 0x07, 0x0a, 0x19, 0x1b, 0x00, 0x05, 0x16, 0x14, 0x0f, \
    0x12, 0x01, 0x03, 0x18, 0x1d, 0x0e, 0x0c, 0x17, 0x1a, 0x09, 0x0b, 0x10, 0x15, 0x06, 0x04, 0x1f, \
  }
#define X86_COMPARE_ANY(form, type, keeps)                                                        \
  static inline type x86_compare##form(type a, type b, uint8_t predicate) {                       \
    static const uint8_t predicates[32] = X86_PREDICATES;                                         \
    typedef __typeof__(a == b) mask;                                                              \
    uint8_t relations = predicates[predicate & 31];                                               \
    mask unordered = (mask)x86_cmpunord##form(a, b);                                              \
    if (relations & 16) x86_cmplt##form(a, b);                                                    \
    mask equal = (mask)x86_cmpeq##form(a, b);                                                     \
    /* Without the NaNs, which would be invalid. */                                               \
    mask less = (mask)x86_cmplt##form((type)((mask)a & ~unordered), (type)((mask)b & ~unordered)); \
    less &= ~unordered;                                                                           \
    mask greater = ~(less | equal | unordered);                                                   \
    mask result = (relations & 1 ? less : 0) | (relations & 2 ? equal : 0) |                      \
                  (relations & 4 ? greater : 0) | (relations & 8 ? unordered : 0);                \
    if (keeps)                                                                                    \
      for (unsigned i = 1; i < sizeof(a) / sizeof(a[0]); i++) result[i] = ((mask)a)[i];           \
    return (type)result;                                                                          \
  }
X86_COMPARE_ANY(ps, x86_floats, 0)
X86_COMPARE_ANY(pd, x86_doubles, 0)
X86_COMPARE_ANY(ss, x86_floats, 1)
X86_COMPARE_ANY(sd, x86_doubles, 1)

// MARK: - Neighbouring lanes (SSE3)

#if X86_NATIVE
#define X86_PAIRS(name, type, first, second, low, high) X86_BINARY(name, type, 0, 0)
#else
/// Puts `low` of x[first] and x[second] into a lane, and `high` of those after them into the next.
#define X86_PAIRS(name, type, first, second, low, high)                                           \
  static inline type x86_##name(type a, type b) {                                                 \
    enum { lanes = sizeof(a) / sizeof(a[0]) };                                                    \
    type result;                                                                                  \
    for (int i = 0; i < lanes; i++) {                                                             \
      __typeof__(a[0]) x = first, y = second;                                                     \
      result[i] = i % 2 ? X86_ANSWER(x, y, high) : X86_ANSWER(x, y, low);                         \
    }                                                                                             \
    return result;                                                                                \
  }
#endif
#define X86_SOURCE(i) (i < lanes / 2 ? a : b)
#define X86_LEFT X86_SOURCE(i)[2 * i % lanes]
#define X86_RIGHT X86_SOURCE(i)[2 * i % lanes + 1]

X86_PAIRS(haddps, x86_floats, X86_LEFT, X86_RIGHT, x + y, x + y)
X86_PAIRS(haddpd, x86_doubles, X86_LEFT, X86_RIGHT, x + y, x + y)
X86_PAIRS(hsubps, x86_floats, X86_LEFT, X86_RIGHT, x - y, x - y)
X86_PAIRS(hsubpd, x86_doubles, X86_LEFT, X86_RIGHT, x - y, x - y)
X86_PAIRS(addsubps, x86_floats, a[i], b[i], x - y, x + y)
X86_PAIRS(addsubpd, x86_doubles, a[i], b[i], x - y, x + y)

// MARK: - Comparisons into flags

#if X86_NATIVE
#define X86_COMPARE_FLAGS(name, type)                                                             \
  static inline uint64_t x86_##name(type a, type b) {                                             \
    bool zero, parity, carry;                                                                     \
    __asm__ volatile(#name " %4, %3"                                                              \
                     : "=@ccz"(zero), "=@ccp"(parity), "=@ccc"(carry)                             \
                     : "x"(a), "x"(b));                                                           \
    return (uint64_t)zero << 6 | (uint64_t)parity << 2 | (uint64_t)carry;                         \
  }
#else
#define X86_COMPARE_FLAGS(name, type)                                                             \
  static inline uint64_t x86_##name(type a, type b) {                                             \
    return a[0] < b[0] ? 0x01 : a[0] > b[0] ? 0 : a[0] == b[0] ? 0x40 : 0x45;                     \
  }
#endif
/// ZF, PF and CF at their places in RFLAGS.
X86_COMPARE_FLAGS(ucomiss, x86_floats)
X86_COMPARE_FLAGS(ucomisd, x86_doubles)
X86_COMPARE_FLAGS(comiss, x86_floats)
X86_COMPARE_FLAGS(comisd, x86_doubles)

// MARK: - Conversions

/// A conversion of the source's low lanes; others of the result are zero.
#if X86_NATIVE
#define X86_CONVERT(name, to, from, lanes, expression)                                            \
  static inline to x86_##name(from b) {                                                           \
    to result;                                                                                    \
    __asm__ volatile(#name " %1, %0" : "=x"(result) : "x"(b));                                    \
    return result;                                                                                \
  }
/// A conversion to or from a general register.
#define X86_TO_INTEGER(name, suffix, to, from, expression)                                        \
  static inline to x86_##name##_##to(from b) {                                                    \
    to result;                                                                                    \
    __asm__ volatile(#name #suffix " %1, %0" : "=r"(result) : "x"(b));                            \
    return result;                                                                                \
  }
#define X86_FROM_INTEGER(name, suffix, to, from)                                                  \
  static inline to x86_##name##_##from(to a, from b) {                                            \
    __asm__ volatile(#name #suffix " %1, %0" : "+x"(a) : "r"(b));                                 \
    return a;                                                                                     \
  }
#else
#define X86_CONVERT(name, to, from, lanes, expression)                                            \
  static inline to x86_##name(from b) {                                                           \
    to result = {0};                                                                              \
    for (int i = 0; i < lanes; i++) {                                                             \
      __typeof__(b[0]) y = b[i];                                                                  \
      result[i] = expression;                                                                     \
    }                                                                                             \
    return result;                                                                                \
  }
#define X86_TO_INTEGER(name, suffix, to, from, expression)                                        \
  static inline to x86_##name##_##to(from b) {                                                    \
    __typeof__(b[0]) y = b[0];                                                                    \
    return expression;                                                                            \
  }
#define X86_FROM_INTEGER(name, suffix, to, from)                                                  \
  static inline to x86_##name##_##from(to a, from b) {                                            \
    a[0] = b;                                                                                     \
    return a;                                                                                     \
  }
#endif

/// A rounded value as an integer, or the "integer indefinite" value if it is none of the type.
#define X86_INTEGER(type, lowest, value)                                                          \
  ({                                                                                              \
    double v = (value);                                                                           \
    v >= (double)lowest && v < -(double)lowest ? (type)v : (type)lowest;                          \
  })
#define X86_INT32(value) X86_INTEGER(int32_t, INT32_MIN, value)
#define X86_INT64(value) X86_INTEGER(int64_t, INT64_MIN, value)

X86_CONVERT(cvtdq2ps, x86_floats, x86_integers, 4, y)
X86_CONVERT(cvtdq2pd, x86_doubles, x86_integers, 2, y)
X86_CONVERT(cvtps2dq, x86_integers, x86_floats, 4, X86_INT32(__builtin_rint(y)))
X86_CONVERT(cvttps2dq, x86_integers, x86_floats, 4, X86_INT32(__builtin_trunc(y)))
X86_CONVERT(cvtpd2dq, x86_integers, x86_doubles, 2, X86_INT32(__builtin_rint(y)))
X86_CONVERT(cvttpd2dq, x86_integers, x86_doubles, 2, X86_INT32(__builtin_trunc(y)))
X86_CONVERT(cvtps2pd, x86_doubles, x86_floats, 2, y)
X86_CONVERT(cvtpd2ps, x86_floats, x86_doubles, 2, y)

X86_TO_INTEGER(cvtss2si, l, int32_t, x86_floats, X86_INT32(__builtin_rint(y)))
X86_TO_INTEGER(cvtss2si, q, int64_t, x86_floats, X86_INT64(__builtin_rint(y)))
X86_TO_INTEGER(cvtsd2si, l, int32_t, x86_doubles, X86_INT32(__builtin_rint(y)))
X86_TO_INTEGER(cvtsd2si, q, int64_t, x86_doubles, X86_INT64(__builtin_rint(y)))
X86_TO_INTEGER(cvttss2si, l, int32_t, x86_floats, X86_INT32(__builtin_trunc(y)))
X86_TO_INTEGER(cvttss2si, q, int64_t, x86_floats, X86_INT64(__builtin_trunc(y)))
X86_TO_INTEGER(cvttsd2si, l, int32_t, x86_doubles, X86_INT32(__builtin_trunc(y)))
X86_TO_INTEGER(cvttsd2si, q, int64_t, x86_doubles, X86_INT64(__builtin_trunc(y)))

X86_FROM_INTEGER(cvtsi2ss, l, x86_floats, int32_t)
X86_FROM_INTEGER(cvtsi2ss, q, x86_floats, int64_t)
X86_FROM_INTEGER(cvtsi2sd, l, x86_doubles, int32_t)
X86_FROM_INTEGER(cvtsi2sd, q, x86_doubles, int64_t)

static inline x86_floats x86_cvtsd2ss(x86_floats a, x86_doubles b) {
#if X86_NATIVE
  __asm__ volatile("cvtsd2ss %1, %0" : "+x"(a) : "x"(b));
#else
  a[0] = (float)b[0];
#endif
  return a;
}

static inline x86_doubles x86_cvtss2sd(x86_doubles a, x86_floats b) {
#if X86_NATIVE
  __asm__ volatile("cvtss2sd %1, %0" : "+x"(a) : "x"(b));
#else
  a[0] = (double)b[0];
#endif
  return a;
}

// MARK: - Rounding to an integral value (SSE4.1)

/// The rounding of ROUNDPS and its kin: SDM Vol. 2, ROUNDPD, "Rounding Modes and Encoding of
/// Rounding Control (RC) Field". Bit 2 of the immediate chooses MXCSR's mode, bit 3 keeps the precision flag.
#if X86_NATIVE
#define X86_ROUND_CASE(name, immediate)                                                           \
  case immediate:                                                                                 \
    __asm__ volatile(#name " $" #immediate ", %1, %0" : "+x"(a) : "x"(b));                        \
    break;
#define X86_ROUND(name, type, lanes)                                                              \
  static inline type x86_##name(type a, type b, uint8_t immediate) {                              \
    switch (immediate & 0xf) {                                                                    \
      X86_ROUND_CASE(name, 0) X86_ROUND_CASE(name, 1) X86_ROUND_CASE(name, 2)                     \
      X86_ROUND_CASE(name, 3) X86_ROUND_CASE(name, 8) X86_ROUND_CASE(name, 9)                     \
      X86_ROUND_CASE(name, 10) X86_ROUND_CASE(name, 11)                                           \
      case 4 ... 7: __asm__ volatile(#name " $4, %1, %0" : "+x"(a) : "x"(b)); break;              \
      default: __asm__ volatile(#name " $12, %1, %0" : "+x"(a) : "x"(b)); break;                  \
    }                                                                                             \
    return a;                                                                                     \
  }
#else
#define X86_ROUND(name, type, lanes)                                                              \
  static inline type x86_##name(type a, type b, uint8_t immediate) {                              \
    for (int i = 0; i < lanes; i++) {                                                             \
      double y = b[i];                                                                            \
      switch (immediate & 4 ? 0 : immediate & 3) {                                                \
        case 0: a[i] = __builtin_rint(y); break;                                                  \
        case 1: a[i] = __builtin_floor(y); break;                                                 \
        case 2: a[i] = __builtin_ceil(y); break;                                                  \
        default: a[i] = __builtin_trunc(y); break;                                                \
      }                                                                                           \
    }                                                                                             \
    return a;                                                                                     \
  }
#endif
X86_ROUND(roundps, x86_floats, 4)
X86_ROUND(roundpd, x86_doubles, 2)
X86_ROUND(roundss, x86_floats, 1)
X86_ROUND(roundsd, x86_doubles, 1)

// MARK: - Fused multiplication and addition (FMA), half precision (F16C)

/// Whether the host has the instructions. A host of x86-64-v2 has not, and C stands in as it does on other hosts,
/// but for rounding, which is right in every mode.
extern bool x86_has_fma;
extern bool x86_has_f16c;

/// One element of x * y + z, with one rounding; a NaN is the first operand's that is one.
float x86_fused_float(float x, float y, float z);
double x86_fused_double(double x, double y, double z);

/// `first` and `other` are the signs of z in even and odd lanes, `product` that of x * y.
#if X86_NATIVE
#define X86_FUSED_NATIVE(name)                                                                    \
  if (__builtin_expect(x86_has_fma, 1)) {                                                         \
    __asm__ volatile("v" #name " %2, %1, %0" : "+x"(y) : "x"(x), "x"(z));                         \
    return y;                                                                                     \
  }
#else
#define X86_FUSED_NATIVE(name)
#endif
#define X86_FUSED(name, instruction, type, element, lanes, product, first, other)                 \
  static inline type x86_##name(type x, type y, type z) {                                         \
    X86_FUSED_NATIVE(instruction)                                                                 \
    for (int i = 0; i < lanes; i++) {                                                             \
      __typeof__(x[0]) term = z[i];                                                               \
      y[i] = x86_fused_##element(product x[i], y[i], i % 2 ? other term : first term);            \
    }                                                                                             \
    return y;                                                                                     \
  }
#define X86_FUSED_PACKED(name, product, first, other)                                             \
  X86_FUSED(name##ps, name##213ps, x86_floats, float, 4, product, first, other)                   \
  X86_FUSED(name##pd, name##213pd, x86_doubles, double, 2, product, first, other)
#define X86_FUSED_ALL(name, product, sign)                                                        \
  X86_FUSED_PACKED(name, product, sign, sign)                                                     \
  X86_FUSED(name##ss, name##213ss, x86_floats, float, 1, product, sign, sign)                     \
  X86_FUSED(name##sd, name##213sd, x86_doubles, double, 1, product, sign, sign)

X86_FUSED_ALL(fmadd, , )
X86_FUSED_ALL(fmsub, , -)
X86_FUSED_ALL(fnmadd, -, )
X86_FUSED_ALL(fnmsub, -, -)
X86_FUSED_PACKED(fmaddsub, , -, )
X86_FUSED_PACKED(fmsubadd, , , -)

typedef uint16_t x86_words __attribute__((vector_size(16)));

/// One element of half precision as single, and back with a rounding as in X86_ROUND.
float x86_half_to_float(uint16_t value);
uint16_t x86_float_to_half(float value, uint8_t rounding);

/// VCVTPH2PS of the lower four elements.
static inline x86_floats x86_cvtph2ps(x86_words b) {
#if X86_NATIVE
  if (__builtin_expect(x86_has_f16c, 1)) {
    x86_floats native;
    __asm__ volatile("vcvtph2ps %1, %0" : "=x"(native) : "x"(b));
    return native;
  }
#endif
  x86_floats result;
  for (int i = 0; i < 4; i++) result[i] = x86_half_to_float(b[i]);
  return result;
}

#if X86_NATIVE
#define X86_TO_HALF(immediate)                                                                    \
  case immediate:                                                                                 \
    __asm__ volatile("vcvtps2ph $" #immediate ", %1, %0" : "=x"(result) : "x"(b));                \
    return result;
#endif
/// VCVTPS2PH, into the lower four elements.
static inline x86_words x86_cvtps2ph(x86_floats b, uint8_t immediate) {
  x86_words result = {0};
#if X86_NATIVE
  if (__builtin_expect(x86_has_f16c, 1)) switch (immediate & 7) {
      X86_TO_HALF(0) X86_TO_HALF(1) X86_TO_HALF(2) X86_TO_HALF(3)
      default: __asm__ volatile("vcvtps2ph $4, %1, %0" : "=x"(result) : "x"(b)); return result;
    }
#endif
  for (int i = 0; i < 4; i++) result[i] = x86_float_to_half(b[i], immediate);
  return result;
}

#include "CCipher.h"
#include "CTranscendental.h"
