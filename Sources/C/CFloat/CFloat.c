#include "CFloat.h"

#if X86_NATIVE
#include <cpuid.h>

bool x86_has_fma, x86_has_f16c;

__attribute__((constructor)) static void look_at_host(void) {
  unsigned a, b, c = 0, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX)) return;
  unsigned enabled, upper;
  __asm__("xgetbv" : "=a"(enabled), "=d"(upper) : "c"(0));
  if ((enabled & 6) != 6) return;
  x86_has_fma = c & bit_FMA;
  x86_has_f16c = c & bit_F16C;
}
#else
bool x86_has_fma = false, x86_has_f16c = false;
#endif

// MARK: - Trials

/// What this thread's trials have raised.
static _Thread_local uint32_t trial_flags;

#if X86_NATIVE && defined(__linux__)
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

/// Whether the thread is in a trial, and the flags with which its first exception was reported.
static _Thread_local volatile bool is_trying;
static _Thread_local volatile uint32_t reported;
static struct sigaction others;

static void note_exception(int number, siginfo_t *info, void *context) {
  struct _libc_fpstate *floats = ((ucontext_t *)context)->uc_mcontext.fpregs;
  uint32_t flags = floats->mxcsr & 0x3f;
  if (is_trying && flags & ~(floats->mxcsr >> 7)) {
    if (!reported) reported = flags;
    floats->mxcsr |= 0x1f80;
  } else if (others.sa_flags & SA_SIGINFO) {
    // It is no trial's: whoever listened before hears of it, and trials go on being listened to.
    others.sa_sigaction(number, info, context);
  } else if (others.sa_handler != SIG_DFL && others.sa_handler != SIG_IGN) {
    others.sa_handler(number);
  } else {
    // Nobody listened: the process ends, by the instruction's second try or, where somebody sent it, by being sent again.
    signal(number, SIG_DFL);
    if (info->si_code <= 0) raise(number);
  }
}

static void listen_for_exceptions(void) {
  struct sigaction action = {.sa_sigaction = note_exception, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
  sigaction(SIGFPE, &action, &others);
}

void x86_begin_trial(uint32_t mxcsr) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, listen_for_exceptions);
  reported = 0;
  is_trying = true;
  x86_write_mxcsr(mxcsr & ~0x3f);
}

void x86_end_trial(uint32_t mxcsr) {
  trial_flags |= reported ? reported : x86_read_mxcsr() & 0x3f;
  x86_write_mxcsr(mxcsr);
  is_trying = false;
}
#else
void x86_begin_trial(uint32_t mxcsr) { x86_write_mxcsr(mxcsr | 0x1f80); }

void x86_end_trial(uint32_t mxcsr) {
  trial_flags |= x86_read_mxcsr() & 0x3f;
  x86_write_mxcsr(mxcsr);
}
#endif

uint32_t x86_take_raised(void) {
  uint32_t flags = trial_flags;
  trial_flags = 0;
  return flags;
}

// MARK: - Where the host has no FMA

#define X86_FUSED_ELEMENT(type, fused)                                                            \
  type x86_fused_##type(type x, type y, type z) {                                                 \
    type result = fused(x, y, z);                                                                 \
    if (result == result) return result;                                                          \
    return x != x ? x + x : y != y ? y + y : z != z ? z + z : -(type)NAN;                         \
  }
X86_FUSED_ELEMENT(float, fmaf)
X86_FUSED_ELEMENT(double, fma)

// MARK: - Where the host has no F16C

typedef union {
  float value;
  uint32_t bits;
} single;

float x86_half_to_float(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16;
  uint32_t exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
  single result;
  if (exponent == 0x1f) {
    result.bits = 0x7f800000 | fraction << 13 | (fraction ? 0x400000 : 0);
  } else if (exponent != 0) {
    result.bits = (exponent + 112) << 23 | fraction << 13;
  } else {
    result.value = (float)fraction * 0x1p-24f;
  }
  result.bits |= sign;
  return result.value;
}

/// The rounding that an immediate or, with bit 2, MXCSR chooses: to nearest, down, up, toward zero.
static unsigned rounding_mode(uint8_t immediate) {
  return immediate & 4 ? x86_read_mxcsr() >> 13 & 3 : immediate & 3;
}

uint16_t x86_float_to_half(float value, uint8_t immediate) {
  single input = {.value = value};
  uint32_t sign = input.bits >> 16 & 0x8000, magnitude = input.bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | (magnitude >> 13 & 0x3ff);
  if (magnitude == 0x7f800000) return sign | 0x7c00;
  uint32_t exponent = magnitude >> 23;
  uint64_t fraction = magnitude & 0x7fffff;
  if (exponent != 0) fraction |= 0x800000;
  // The bits that do not fit: 13 of a normal result, more of a denormal one.
  unsigned lost = exponent >= 113 ? 13 : 126 - exponent < 40 ? 126 - exponent : 40;
  uint64_t kept = fraction >> lost, rest = fraction & ((1ull << lost) - 1), half = 1ull << (lost - 1);
  unsigned mode = rounding_mode(immediate);
  bool up = mode == 0   ? rest > half || (rest == half && kept & 1)
            : mode == 1 ? rest && sign
            : mode == 2 ? rest && !sign
                        : false;
  uint64_t result = kept + up + (exponent >= 113 ? (uint64_t)(exponent - 113) << 10 : 0);
  if (result < 0x7c00) return sign | result;
  // Too large: infinity, or the largest number if rounding leads away from that.
  bool toInfinity = mode == 0 || (mode == 1 && sign) || (mode == 2 && !sign);
  return sign | (toInfinity ? 0x7c00 : 0x7bff);
}
