#pragma once
#include <stdbool.h>
#include <stdint.h>

// F2XM1, FYL2X, FPTAN, FPATAN, FYL2XP1, FSINCOS, FSIN and FCOS on the host's own FPU, where it has one.

/// A number as it lies in a register of the FPU.
typedef struct {
  uint64_t significand;
  uint16_t sign_exponent;
} x86_extended;

/// What a function leaves: its result; behind it, where there are two, the one that it pushes; the status word.
typedef struct {
  x86_extended result, pushed;
  uint16_t status;
} x86_function;

/// Whether the host has the functions.
extern const bool x86_has_functions;

/// The function of opcode D9 F0 + `number` of ST(0), and of ST(1), by the rounding, the precision and the masks of
/// `control`. Of an exception that is not masked, its result is what the manual has for it.
x86_function x86_transcendental(uint8_t number, x86_extended x, x86_extended y, uint16_t control);
