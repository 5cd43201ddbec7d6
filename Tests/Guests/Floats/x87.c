// x87 instructions on numbers of every kind, by every rounding and precision.
#include "kit.h"

/// What FRSTOR loads and FNSAVE stores: SDM Vol. 1 Figure 8-9.
struct image {
  uint32_t control, status, tags, instruction, selector, data, data_selector;
  uint8_t registers[8][10];
} __attribute__((packed));

/// What x87.S works on.
struct machine {
  struct image image;
  uint32_t unused;
  uint8_t memory[16];
  uint64_t flags, accumulator;
};
_Static_assert(offsetof(struct machine, memory) == 112 && offsetof(struct machine, accumulator) == 136, "as x87.S has it");

extern const struct trial __start_x87_trials[], __stop_x87_trials[];

enum { NONE, SINGLE, DOUBLE, INTEGER, DECIMAL, EXTENDED };

struct number {
  uint64_t significand;
  uint16_t sign_exponent;
};

/// Zeroes, ordinary numbers, ends of ranges, denormals, infinities, NaNs, and what the processor does not support.
static const struct number numbers[] = {
    {0, 0},                                         // 0
    {0x8000000000000000, 0x3fff},                   // 1
    {0x8000000000000000, 0x4000},                   // 2
    {0x8000000000000000, 0x3ffe},                   // 1/2
    {0xc000000000000000, 0x3fff},                   // 1.5
    {0xa000000000000000, 0x4000},                   // 2.5
    {0xaaaaaaaaaaaaaaab, 0x3ffd},                   // 1/3
    {0xc90fdaa22168c235, 0x4000},                   // pi
    {0xc90fdaa22168c235, 0x3ffe},                   // pi/4
    {0xb504f333f9de6484, 0x3ffe},                   // the root of 1/2
    {0xffff000000000000, 0x400d},                   // 32767.5
    {0xffffffff00000000, 0x401d},                   // 2^31 - 1/2
    {0x8000000000000000, 0x403e},                   // 2^63
    {0xffffffffffffffff, 0x403d},                   // 2^63 - 1/2
    {0xde0b6b3a763fffff, 0x403a},                   // nearly 10^18
    {0x8000000000000000, 0x3fbe},                   // 2^-65
    {0xffffff0000000000, 0x407e},                   // the largest single
    {0x8000000000000000, 0x3f81},                   // the smallest normal single
    {0x8000000000000000, 0x3f6a},                   // the smallest single
    {0xfffffffffffff800, 0x43fe},                   // the largest double
    {0x8000000000000000, 0x3c01},                   // the smallest normal double
    {0x8000000000000000, 0x3bcd},                   // the smallest double
    {0xffffffffffffffff, 0x7ffe},                   // the largest
    {0x8000000000000000, 0x0001},                   // the smallest normal
    {0x7fffffffffffffff, 0},                        // the largest denormal
    {1, 0},                                         // the smallest
    {0x8000000000000001, 0},                        // a pseudo-denormal
    {0x8000000000000000, 0x7fff},                   // infinity
    {0xc000000000000000, 0x7fff},                   // a quiet NaN
    {0xdeadbeef00000000, 0x7fff},                   // another
    {0x8000000000000001, 0x7fff},                   // a signaling NaN
    {0, 0x7fff},                                    // a pseudo-infinity
    {0x4000000000000000, 0x7fff},                   // a pseudo-NaN
    {0x4000000000000000, 0x4000},                   // an unnormal
};

static struct number pick(void) {
  uint64_t choice = chance();
  struct number number;
  if (choice & 3) {
    number = numbers[(choice >> 8) % (sizeof numbers / sizeof numbers[0])];
  } else {
    // Of ordinary size, or of any.
    number.significand = chance() | 1ull << 63;
    number.sign_exponent = choice & 4 ? 0x3fff - 40 + (choice >> 8) % 80 : choice >> 8 & 0x7fff;
  }
  number.sign_exponent |= choice >> 40 << 15;
  return number;
}

static void put(uint8_t *place, struct number number) {
  memcpy(place, &number.significand, 8);
  memcpy(place + 8, &number.sign_exponent, 2);
}

/// A shorter number with the sign, the exponent and the first bits of a longer one, as well as they fit.
static uint64_t shortened(struct number number, unsigned fraction, unsigned exponent) {
  int32_t bias = (1 << (exponent - 1)) - 1, top = (1 << exponent) - 1;
  int32_t scale = (number.sign_exponent & 0x7fff) - 0x3fff + bias;
  uint64_t sign = (uint64_t)(number.sign_exponent >> 15) << (fraction + exponent);
  uint64_t rest = number.significand << 1 >> (64 - fraction);
  if ((number.sign_exponent & 0x7fff) == 0x7fff) return sign | (uint64_t)top << fraction | rest;
  return sign | (uint64_t)(scale < 0 ? 0 : scale >= top ? top - 1 : scale) << fraction | rest;
}

static void set_memory(uint8_t *memory, uint64_t kind) {
  struct number number = pick();
  uint64_t value = chance();
  memset(memory, 0x5a, 16);
  switch (kind) {
  case SINGLE: value = shortened(number, 23, 8); break;
  case DOUBLE: value = shortened(number, 52, 11); break;
  case INTEGER: value = value & 1 ? value : (uint64_t)((int64_t)value >> (value >> 8 & 63)); break;
  case DECIMAL:
    for (unsigned digit = 0; digit < 16; digit++) {
      uint64_t place = (uint64_t)0xf << 4 * digit;
      if ((value & place) > (uint64_t)9 << 4 * digit) value &= ~place;
    }
    number.sign_exponent = (number.sign_exponent & 0x8000) | 0x97;
    break;
  case EXTENDED: value = number.significand; break;
  }
  memcpy(memory, &value, 8);
  memcpy(memory + 8, &number.sign_exponent, 2);
}

static void prepare(struct machine *machine, uint64_t kind, unsigned control) {
  struct image *image = &machine->image;
  memset(machine, 0, sizeof *machine);
  uint64_t choice = chance();
  unsigned top = choice & 7;
  // Two registers are in use, or some number of them.
  unsigned used = choice & 0xf8 ? 2 : choice >> 8 & 0xf;
  image->control = control;
  image->status = top << 11;
  image->tags = 0xffff;
  for (unsigned index = 0; index < 8; index++) {
    put(image->registers[index], pick());
    if (index < used) image->tags &= ~(3u << 2 * (top + index & 7));
  }
  set_memory(machine->memory, kind);
  machine->flags = 0x202 | (choice >> 16 & 0x8d5);
  machine->accumulator = choice;
}

static void tell(const char *what, const struct machine *machine, uint64_t mask) {
  text(what);
  hex(machine->image.control & 0xffff, 4);
  text(" ");
  hex(machine->image.status & mask, 4);
  text(" ");
  hex(machine->image.tags & 0xffff, 4);
  for (unsigned index = 0; index < 8; index++) {
    text(" ");
    bytes(machine->image.registers[index], 10);
  }
  text(" memory ");
  bytes(machine->memory, 10);
  text(" flags ");
  hex(machine->flags & 0x8d5, 3);
  line();
}

/// What the manual defines of a state. The pointers to the last instruction and its operand are not looked at: processors
/// differ in when they note them.
static hash noted(hash before, const struct machine *machine, uint64_t mask) {
  uint16_t words[] = {machine->image.control, machine->image.status & mask, machine->image.tags, machine->flags & 0x8d5};
  before = hashed(before, words, sizeof words);
  before = hashed(before, machine->image.registers, sizeof machine->image.registers);
  return hashed(before, machine->memory, sizeof machine->memory);
}

void x87(void) {
  static const uint16_t precisions[] = {0x000, 0x200, 0x300};
  for (const struct trial *trial = __start_x87_trials; trial < __stop_x87_trials; trial++) {
    hash results = hash_start;
    uint16_t raised = 0;
    begin_chance(trial - __start_x87_trials);
    for (unsigned count = 0; count < 6000; count++) {
      struct machine machine;
      prepare(&machine, trial->kind, 0x7f | precisions[count % 3] | (count / 3 & 3) << 10);
      if (tells_all) tell("  before ", &machine, 0xffff);
      trial->run(&machine);
      if (tells_all) tell("  after  ", &machine, trial->mask);
      raised |= machine.image.status & 0x7f;
      results = noted(results, &machine, trial->mask);
    }
    hex(results, 16);
    text(" ");
    hex(raised, 2);
    text(" ");
    text(trial->name);
    line();
  }
}
