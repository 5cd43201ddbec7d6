// Threads that compute in all registers there are, each with its own modes, while the kernel switches between them: when their
// time is over, and when they ask for it.
#include "kit.h"

enum { CLONE = 56, EXIT = 60, WAIT = 61 };
enum { CLONE_VM = 0x100, CLONE_FILES = 0x400, SIGCHLD = 17 };
enum { THREADS = 6, ROUNDS = 60000 };

/// What switches.S works on.
struct thread {
  /// As FXSAVE64 has them: SDM Vol. 1 Table 10-2.
  struct {
    uint16_t control, status, tags, opcode;
    uint64_t instruction, data;
    uint32_t modes, modes_mask;
    uint8_t stack[8][16], vectors[16][16], unused[96];
  } floats;
  /// The upper halves of the YMM registers.
  uint8_t upper[16][16];
  uint64_t rounds, patience, wide, unused;
  float factors[8], ones[8];
  uint8_t stack[4096];
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct thread, upper) == 512 && offsetof(struct thread, ones) == 832, "as switches.S has it");

extern void compute(struct thread *);
static struct thread threads[THREADS];

static void prepare(struct thread *thread, unsigned number, bool wide) {
  static const uint16_t precisions[] = {0x300, 0x200, 0x000};
  begin_chance(number);
  thread->floats.control = 0x7f | precisions[number % 3] | (number & 3) << 10;
  thread->floats.tags = 0xff;
  thread->floats.modes = 0x1f80 | (number + 1 & 3) << 13 | (number & 1) << 15;
  for (unsigned index = 0; index < 8; index++) {
    uint64_t significand = chance() | 1ull << 63;
    uint16_t exponent = 0x3ffe - (chance() & 7);
    memcpy(thread->floats.stack[index], &significand, 8);
    memcpy(thread->floats.stack[index] + 8, &exponent, 2);
  }
  for (unsigned index = 0; index < 128; index++) {
    uint32_t single = 0x3f000000 | (chance() & 0x807fffff);
    memcpy((index < 64 ? thread->floats.vectors[0] : thread->upper[0]) + 4 * (index & 63), &single, 4);
  }
  thread->rounds = ROUNDS;
  // Every other one never gives its processor up.
  thread->patience = number & 1 ? ~0ull : 0x3f;
  thread->wide = wide;
  for (unsigned index = 0; index < 8; index++) {
    thread->factors[index] = -1.8f;
    thread->ones[index] = 1;
  }
}

/// Begins a thread, which ends with `compute`.
static void begin(struct thread *thread) {
  register long fourth __asm__("r10") = 0, fifth __asm__("r8") = 0;
  register struct thread *argument __asm__("r12") = thread;
  long result = CLONE;
  __asm__ volatile(
      "syscall\n test %%rax, %%rax\n jnz 1f\n"
      "mov %%r12, %%rdi\n call compute\n mov %[exit], %%eax\n xor %%edi, %%edi\n syscall\n"
      "1:"
      : "+a"(result)
      : "D"(CLONE_VM | CLONE_FILES | SIGCHLD), "S"(thread->stack + sizeof thread->stack), "d"(0), "r"(fourth), "r"(fifth),
        "r"(argument), [exit] "i"(EXIT)
      : "rcx", "r11", "memory");
  if (result < 0) leave(1);
}

void switches(bool wide) {
  for (unsigned number = 0; number < THREADS; number++) prepare(&threads[number], number, wide);
  for (unsigned number = 0; number < THREADS; number++) begin(&threads[number]);
  for (unsigned number = 0; number < THREADS; number++) {
    if (call(WAIT, -1, 0, 0, 0, 0) < 0) leave(1);
  }
  for (unsigned number = 0; number < THREADS; number++) {
    struct thread *thread = &threads[number];
    text("control ");
    hex(thread->floats.control, 4);
    text(" status ");
    hex(thread->floats.status & 0xbaff, 4);
    text(" mxcsr ");
    hex(thread->floats.modes, 4);
    text(" stack ");
    bytes(thread->floats.stack[0], 10);
    hash results = hashed(hash_start, thread->floats.stack, sizeof thread->floats.stack);
    results = hashed(results, thread->floats.vectors, sizeof thread->floats.vectors);
    if (wide) results = hashed(results, thread->upper, sizeof thread->upper);
    text(" all ");
    hex(results, 16);
    line();
  }
}
