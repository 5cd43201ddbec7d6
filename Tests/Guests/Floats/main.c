// Carries out the x87, SSE and AVX instructions on many operands and prints what comes of it. Whatever processor runs it, a
// line that differs from another processor's is a mistake of one of them.
//
//   floats x87|sse|avx|exceptions|wide-exceptions|switches|wide-switches [all]
#include "kit.h"

static bool is(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

_Noreturn __attribute__((used)) static void start(long *stack) {
  long count = stack[0];
  const char **words = (const char **)stack + 1;
  const char *unit = count > 1 ? words[1] : "";
  tells_all = count > 2 && is(words[2], "all");
  if (is(unit, "x87")) x87();
  else if (is(unit, "sse")) sse();
  else if (is(unit, "avx")) avx();
  else if (is(unit, "exceptions")) exceptions(false);
  else if (is(unit, "wide-exceptions")) exceptions(true);
  else if (is(unit, "switches")) switches(false);
  else if (is(unit, "wide-switches")) switches(true);
  else leave(64);
  text("end");
  line();
  leave(0);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call start");
