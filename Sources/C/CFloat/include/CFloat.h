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
