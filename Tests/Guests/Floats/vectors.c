// MMX, SSE and AVX instructions on numbers of every kind, in every mode that MXCSR has.
#include "kit.h"

/// What sse.S and avx.S work on.
struct vectors {
  uint64_t wide[4][4];
  uint64_t narrow[2];
  uint64_t accumulator, count, data, flags;
  uint32_t control, initial_control;
  uint64_t unused;
  uint64_t memory[8];
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct vectors, control) == 176 && offsetof(struct vectors, memory) == 192, "as sse.S has it");

extern const struct trial __start_sse_trials[], __stop_sse_trials[], __start_avx_trials[], __stop_avx_trials[];

static const uint32_t singles[] = {
    0x00000000, 0x3f800000, 0x3f000000, 0x3fc00000, 0x40200000, 0x3eaaaaab, 0x40490fdb, 0x3f7fffff, 0x46fffe00, 0x4effffff,
    0x4f000000, 0x5f000000, 0x7f7fffff, 0x00800000, 0x007fffff, 0x00000001, 0x33800000, 0x7f800000, 0x7fc00000, 0x7fedcba9,
    0x7f800001, 0x477fe000, 0x38800000, 0x33000001,
};
static const uint64_t doubles[] = {
    0x0000000000000000, 0x3ff0000000000000, 0x3fe0000000000000, 0x3ff8000000000000, 0x4004000000000000, 0x3fd5555555555555,
    0x400921fb54442d18, 0x3fefffffffffffff, 0x41dfffffffc00000, 0x41dfffffffe00000, 0x43e0000000000000, 0x7fefffffffffffff,
    0x0010000000000000, 0x000fffffffffffff, 0x0000000000000001, 0x3ca0000000000000, 0x7ff0000000000000, 0x7ff8000000000000,
    0x7ffedcba98765432, 0x7ff0000000000001, 0x47efffffe0000000, 0x47effffff0000000, 0x3810000000000000, 0x3690000000000001,
};

static uint64_t pick_double(void) {
  uint64_t choice = chance();
  uint64_t sign = choice << 63;
  if (choice & 2) return sign | doubles[(choice >> 8) % (sizeof doubles / sizeof doubles[0])];
  uint64_t number = chance();
  if (choice & 4) return number;
  return sign | (uint64_t)(0x3ff - 20 + (choice >> 8) % 40) << 52 | number >> 12;
}

static uint64_t pick_single(void) {
  uint64_t choice = chance();
  uint32_t sign = choice << 31;
  if (choice & 2) return sign | singles[(choice >> 8) % (sizeof singles / sizeof singles[0])];
  uint32_t number = chance();
  if (choice & 4) return number;
  return sign | (uint32_t)(0x7f - 20 + (choice >> 8) % 40) << 23 | number >> 9;
}

/// Two singles, a double, or bytes, of which some are zero.
static uint64_t pick(unsigned count) {
  switch (count & 3) {
  case 0: return pick_single() | pick_single() << 32;
  case 1: return pick_double();
  default: {
    uint64_t number = chance();
    for (unsigned byte = 0; byte < 8; byte++) {
      if (number >> 60 == byte) number &= ~((uint64_t)0xff << 8 * byte);
    }
    return number;
  }
  }
}

static void prepare(struct vectors *state, unsigned count, uint64_t kind) {
  memset(state, 0, sizeof *state);
  for (unsigned index = 0; index < 16; index++) state->wide[index / 4][index % 4] = pick(count);
  for (unsigned index = 0; index < 8; index++) state->memory[index] = pick(count);
  state->narrow[0] = pick(count);
  state->narrow[1] = pick(count);
  state->accumulator = chance();
  state->count = chance();
  state->data = chance();
  if (kind == 1) {
    // The lengths of strings, which have few different letters.
    state->accumulator = (int64_t)state->accumulator >> 60;
    state->data = (int64_t)state->data >> 60;
    for (unsigned index = 0; index < 8; index++) state->wide[index / 4][index % 4] &= 0x0307030103070301;
  }
  state->flags = 0x202 | (chance() & 0x8d5);
  // All exceptions masked; in turn each rounding, denormals as zero or not, tiny results flushed or not.
  state->control = 0x1f80 | (count >> 2 & 3) << 13 | (count >> 4 & 1) << 15 | (count >> 5 & 1) << 6;
  state->initial_control = 0x1f80;
}

static void tell(const char *what, const struct vectors *state) {
  text(what);
  for (unsigned index = 0; index < 4; index++) {
    bytes(state->wide[index], 32);
    text(" ");
  }
  bytes(state->narrow, 16);
  text(" ");
  hex(state->accumulator, 16);
  text(" ");
  hex(state->count, 16);
  text(" flags ");
  hex(state->flags & 0x8d5, 3);
  text(" mxcsr ");
  hex(state->control, 4);
  text(" memory ");
  bytes(state->memory, 64);
  line();
}

static void try(const struct trial *first, const struct trial *end) {
  for (const struct trial *trial = first; trial < end; trial++) {
    hash results = hash_start;
    uint32_t raised = 0;
    begin_chance(trial - first);
    for (unsigned count = 0; count < 1024; count++) {
      struct vectors state;
      prepare(&state, count, trial->kind);
      if (tells_all) tell("  before ", &state);
      trial->run(&state);
      if (tells_all) tell("  after  ", &state);
      state.flags &= 0x8d5;
      raised |= state.control & 0x3f;
      results = hashed(results, &state, sizeof state);
    }
    hex(results, 16);
    text(" ");
    hex(raised, 2);
    text(" ");
    text(trial->name);
    line();
  }
}

void sse(void) { try(__start_sse_trials, __stop_sse_trials); }
void avx(void) { try(__start_avx_trials, __stop_avx_trials); }
