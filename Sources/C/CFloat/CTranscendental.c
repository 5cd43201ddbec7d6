#include "CTranscendental.h"

#if defined(__x86_64__)
const bool x86_has_functions = true;

/// No instruction that waits for exceptions lies between the function and FNCLEX, so none is reported to the host. FNINIT
/// leaves the FPU as the host's programs expect it: empty, all exceptions masked.
#define X86_FUNCTION(instruction)                                                                 \
  __asm__ volatile("fninit; fldt %[y]; fldt %[x]; fldcw %[control]; " instruction "; "            \
                   "fnstsw %[status]; fnclex; fldcw %[masked]; "                                  \
                   "fstpt %[top]; fstpt %[next]; fninit"                                          \
                   : [status] "=m"(after.status), [top] "=m"(top), [next] "=m"(next)              \
                   : [x] "m"(x), [y] "m"(y), [control] "m"(control), [masked] "m"(masked)         \
                   : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)")

x86_function x86_transcendental(uint8_t number, x86_extended x, x86_extended y, uint16_t control) {
  static const uint16_t masked = 0x37f;
  x86_extended top, next;
  x86_function after = {0};
  bool pushes = number == 0x2 || number == 0xb;
  switch (number) {
  case 0x0: X86_FUNCTION("f2xm1"); break;
  case 0x1: X86_FUNCTION("fyl2x"); break;
  case 0x2: X86_FUNCTION("fptan"); break;
  case 0x3: X86_FUNCTION("fpatan"); break;
  case 0x9: X86_FUNCTION("fyl2xp1"); break;
  case 0xb: X86_FUNCTION("fsincos"); break;
  case 0xe: X86_FUNCTION("fsin"); break;
  default: X86_FUNCTION("fcos"); break;
  }
  after.result = pushes ? next : top;
  after.pushed = top;
  return after;
}
#else
const bool x86_has_functions = false;

x86_function x86_transcendental(uint8_t number, x86_extended x, x86_extended y, uint16_t control) {
  return (x86_function){.result = x};
}
#endif
