// Exceptions that are not masked: what the handler of the signal is told of them, and whether what it changes in the interrupted
// registers is there when it returns.
#include "kit.h"

enum { SIGACTION = 13, SIGNAL_RETURN = 15, SIGFPE = 8, SIGSEGV = 11, SIGILL = 4, SIGBUS = 7 };
enum { SA_SIGINFO = 4, SA_RESTORER = 0x04000000 };

/// What faults.S works on.
struct fault {
  uint64_t x[2], y[2];
  uint8_t memory[16];
  uint16_t control;
  uint32_t modes;
  uint64_t base, accumulator, scratch;
  uint64_t unused[6];
  uint8_t after[512];
} __attribute__((aligned(64)));
_Static_assert(
    offsetof(struct fault, modes) == 52 && offsetof(struct fault, scratch) == 72 && offsetof(struct fault, after) == 128,
    "as faults.S has it");

/// One of its lists.
struct fault_trial {
  void (*run)(struct fault *);
  const char *name;
  uint64_t at, x87, sse, x[2], y[2];
};
extern const struct fault_trial __start_faults[], __stop_faults[], __start_wide_faults[], __stop_wide_faults[];

/// What FXSAVE64 stores: SDM Vol. 1 Table 10-2. The kernel keeps a signal's in the same form.
struct floats {
  uint16_t control, status, tags, opcode;
  uint64_t instruction, data;
  uint32_t modes, modes_mask;
  uint8_t stack[8][16], vectors[16][16];
};

/// What Linux hands to a handler, as far as it is used.
struct interrupted {
  uint64_t before[5];
  uint64_t r8_to_r15[8], rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, flags, selectors, code, vector, mask, cr2;
  struct floats *floats;
};
struct told {
  int32_t signal, error, code, pad;
  uint64_t address;
};

static struct fault fault;
static const struct fault_trial *trial;

static void tell(const char *what, uint64_t value, unsigned digits) {
  text(what);
  hex(value, digits);
}

static void tell_floats(const struct floats *floats) {
  tell(" control ", floats->control, 4);
  // C0, C2 and C3 are undefined after most instructions.
  tell(" status ", floats->status & 0xbaff, 4);
  tell(" tags ", floats->tags, 2);
  tell(" mxcsr ", floats->modes, 4);
  for (unsigned index = 0; index < 3; index++) {
    text(index == 0 ? " stack " : " ");
    bytes(floats->stack[index], 10);
  }
  for (unsigned index = 0; index < 4; index++) {
    text(index == 0 ? " xmm " : " ");
    bytes(floats->vectors[index], 16);
  }
  text(" ");
  bytes(floats->vectors[15], 16);
  line();
}

static void handle(int signal, struct told *told, struct interrupted *state) {
  struct floats *floats = state->floats;
  tell("  signal ", signal, 2);
  tell(" code ", told->code, 2);
  if (signal == SIGFPE) tell(" address +", told->address - trial->at, 2);
  tell(" rip +", state->rip - trial->at, 2);
  tell(" vector ", state->vector, 2);
  tell(" error ", state->code, 2);
  if (state->vector == 16) {
    tell(" opcode ", floats->opcode, 3);
    tell(" of +", floats->instruction - trial->at, 2);
  }
  tell_floats(floats);

  if (signal != SIGFPE && state->vector != 13) leave(1);
  floats->status &= ~0x80ff;
  floats->control |= 0x3f;
  floats->modes = (floats->modes & ~0x3f) | 0x1f80;
  memset(floats->stack[1], 0x77, 10);
  memset(floats->vectors[15], 0x99, 16);
  state->rbx = 0x5678;
  state->rcx = 3;
  fault.scratch = 0x9fc0;
}

__asm__("signal_return: mov $15, %eax\n syscall");
extern void signal_return(void);

static void listen(int signal) {
  struct {
    void *handler;
    uint64_t flags;
    void *restorer;
    uint64_t mask;
  } action = {handle, SA_SIGINFO | SA_RESTORER, signal_return, 0};
  call(SIGACTION, signal, (long)&action, 0, sizeof action.mask, 0);
}

static void run(const struct fault_trial *first, const struct fault_trial *end) {
  for (trial = first; trial < end; trial++) {
    text(trial->name);
    line();
    memset(&fault, 0x5a, sizeof fault);
    memcpy(fault.x, trial->x, sizeof fault.x);
    memcpy(fault.y, trial->y, sizeof fault.y);
    fault.control = 0x37f & ~trial->x87;
    fault.modes = 0x1f80 & ~(trial->sse << 7);
    trial->run(&fault);
    text("  goes on with");
    tell(" rbx ", fault.base, 4);
    tell(" rax ", fault.accumulator & 0xffff, 4);
    text(" memory ");
    bytes(fault.memory, 10);
    tell_floats((struct floats *)fault.after);
  }
}

void exceptions(bool wide) {
  listen(SIGFPE);
  listen(SIGSEGV);
  listen(SIGILL);
  listen(SIGBUS);
  if (wide) run(__start_wide_faults, __stop_wide_faults);
  else run(__start_faults, __stop_faults);
}
