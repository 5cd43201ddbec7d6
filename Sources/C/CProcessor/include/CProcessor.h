#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct x86_cpu;

/// One operand-carrying step of threaded code; a guest instruction is one or several of them.
///
/// Registers are named by their byte offset in `struct x86_cpu`, so that AH, a temporary and a segment
/// base are operands like any other.
struct x86_op {
  void (*_Nonnull run)(struct x86_cpu *_Nonnull cpu, const struct x86_op *_Nonnull op);
  /// Immediate operand, constant, or the address of the op that a jump leads to.
  uint64_t immediate;
  int32_t displacement;
  uint8_t destination, source, base, index;
  /// Left shift of the index; which segment's base is added; a number that only the handler knows.
  uint8_t scale, segment, detail, flags;
  /// Offsets of this instruction and of the one after it in the page that holds its first byte.
  uint16_t offset, next;
};

/// A cached translation of one page, for one privilege level. Tags are the linear page; where accesses are not to be
/// fast ones a tag is the page with `X86_TLB_SLOW` flipped, which no address that leads to this entry can have.
struct x86_tlb_entry {
  uint64_t read_tag, write_tag;
  /// Where in the host the page starts.
  uint64_t host;
  /// The physical page, with `X86_TLB_…` bits below it.
  uint64_t physical;
};

/// What a translator keeps of the op that lies `X86_OP_CAPACITY` ops before it.
struct x86_native {
  /// Host code that goes on from here with the guest's registers in the host's and its status flags in
  /// `saved_flags`; zero where no jump was seen yet.
  uint64_t entry;
  /// What the op's `run` was before host code took its place.
  void (*_Nullable handler)(struct x86_cpu *_Nonnull cpu, const struct x86_op *_Nonnull op);
  /// How often the interpreter has jumped to it.
  uint32_t visits;
  /// Where host code is compared: how many visits are left until it is the next time, and how often it was.
  uint32_t countdown;
  uint64_t comparisons;
};

/// Where code at a linear address is kept decoded.
struct x86_jump_entry {
  uint64_t rip;
  uint64_t key;
  const struct x86_op *_Nullable op;
  uint64_t unused;
};

enum {
  // As many as there are pages in 64 MiB. Flushing costs as many as were filled.
  X86_TLB_ENTRIES = 1 << 14,
  X86_JUMP_ENTRIES = 4096,
  // The highest of the page number's low bits: a page that differs in it has another entry.
  X86_TLB_SLOW = X86_TLB_ENTRIES << 11,
  X86_OP_CAPACITY = 1 << 20,

  // Host code finds these at fixed distances from `struct x86_cpu`; before it lies a stack, for signals that
  // arrive while host code runs.
  X86_STACK_BYTES = 1 << 16,
  X86_TLB_DISTANCE = 4096,  // of the supervisor; that of the user is behind it
  X86_JUMPS_DISTANCE = X86_TLB_DISTANCE + 2 * X86_TLB_ENTRIES * 32,
  X86_CPU_BYTES = X86_JUMPS_DISTANCE + X86_JUMP_ENTRIES * 32,

  X86_VECTOR_UPPER = 20,

  X86_TLB_WRITABLE = 1,   // the page tables let this privilege level write
  X86_TLB_GLOBAL = 2,
  X86_TLB_LARGE = 4,      // part of a page larger than 4 KiB
  X86_TLB_DEVICE = 8,     // no memory there
  X86_TLB_USER = 16,      // of the user, and the supervisor is to ask for it at every access
  X86_TLB_VALID = 32,     // the entry holds a translation
  X86_TLB_LISTED = 64,    // a list of entries to be flushed names it, and the same for global pages
  X86_TLB_LISTED_GLOBAL = 128,
  X86_TLB_KEY_SHIFT = 8,  // four bits: the protection key by which PKRU was asked, else zero
};

/// A processor at work. The first 256 bytes are what ops name by offset.
struct x86_cpu {
  uint64_t registers[16];
  /// Scratch for the steps of one instruction.
  uint64_t temporary[4];
  /// Always zero: the base or index that an address does not have, the base of a flat segment.
  uint64_t zero;
  /// Linear address of the page whose code runs: RIP-relative addresses and jumps start here.
  uint64_t page_base;
  /// ES, CS, SS, DS, FS, GS.
  uint64_t segment_base[6];
  /// The status flags, lazily: see Flags.swift.
  uint64_t flag_result, flag_carry, flag_delta;
  /// RFLAGS without the status flags.
  uint64_t system_flags;

  struct x86_tlb_entry *_Nonnull tlb;
  struct x86_jump_entry *_Nonnull jumps;
  /// What a jump entry's key must be: for pages of this address space, and for global ones.
  uint64_t code_key, code_key_global;
  /// The same for pages of which the code segment holds a part only; zero until one is looked up.
  uint64_t code_key_bounded;
  /// Outside 64-bit mode: the first offset in the code segment, and how many from there on, that lie in pages of
  /// which the segment holds all.
  uint64_t code_whole_first, code_whole_count;
  /// Where the bytes of a segment end that may be read, and written, without more checks: offsets, zero where
  /// every access is to be checked. Index 0 stands for no segment; the others are those of `segment_base`, plus
  /// two, so that a slot names both.
  uint64_t segment_read_end[8], segment_write_end[8];
  /// What these ends were computed for: see Segments+Bounds.swift.
  uint32_t segment_rules;
  /// Whether code is 32-bit protected mode's, and ES, CS, SS and DS hold all 4 GiB from address zero on.
  uint32_t has_flat_segments;

  /// Valid whenever threaded code is not running; while it runs, an op knows its own address.
  uint64_t rip;
  /// Non-zero: leave threaded code at the next jump. Written by any thread.
  _Atomic uint32_t attention;
  /// Why threaded code was left.
  uint32_t exit;
  uint32_t exception_vector;
  uint32_t exception_has_code;
  uint64_t exception_code;

  /// The destination of a read-modify-write between its two halves.
  uint64_t rmw_host, rmw_linear;
  /// Result of a slow load.
  uint64_t slow_value[2];

  uint64_t address_mask;      // of linear addresses: 64-bit mode all ones, else 32 bits
  uint64_t stack_mask;        // of the stack pointer: by SS.B outside 64-bit mode
  uint64_t segment_limit[6];
  /// The bases of ES, CS, SS and DS as they were loaded; 64-bit mode has zeros in `segment_base`.
  uint64_t segment_kept_base[4];
  uint32_t segment_attributes[6];
  uint16_t segment_selector[6];
  uint16_t ldtr_selector, tr_selector;
  uint32_t ldtr_attributes, tr_attributes;
  uint64_t ldtr_base, tr_base;
  uint32_t ldtr_limit, tr_limit;
  uint64_t gdtr_base, idtr_base;
  uint32_t gdtr_limit, idtr_limit;
  uint32_t privilege;         // CPL
  uint32_t code_mode;         // 0: 16-bit, 1: 32-bit, 2: 64-bit

  uint64_t cr0, cr2, cr3, cr4, efer, xcr0;
  uint64_t debug[8];
  uint64_t kernel_gs_base, star, lstar, cstar, syscall_mask;
  uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
  uint64_t pat, tsc_aux, misc_enable;

  uint32_t mxcsr;
  uint32_t interrupt_shadow;
  uint32_t pkru;
  uint64_t x87[32];
  /// XMM0 to XMM15, then four scratch registers; then, in the same order, the upper halves of the YMM
  /// registers: that of register n is `vector[X86_VECTOR_UPPER + n]`.
  uint64_t vector[2 * X86_VECTOR_UPPER][2] __attribute__((aligned(16)));

  /// The Swift object that owns all this.
  void *_Nonnull owner;

  // What host code keeps while it runs: see SameISA.
  /// The stack of whoever entered it.
  uint64_t host_stack;
  /// Where decoded code starts.
  const struct x86_op *_Nullable ops;
  /// Status flags between two pieces of host code: what LAHF leaves in AH above what SETO leaves in AL.
  uint16_t saved_flags;
  /// Non-zero while every access to memory has to be asked for.
  uint32_t is_blind;
  /// Non-zero while the guest's vector registers are in the host's.
  uint32_t has_vectors;
  /// Non-zero while the guest's x87 registers are in the host's.
  uint32_t has_x87;
  /// After so many jumps to it code is hot.
  uint32_t hot_visits;
  /// Scratch of one instruction.
  uint64_t held[4];
  /// Where the host's FPU puts the guest's x87 registers, and what it takes the rest from: an image of FXSAVE.
  uint8_t x87_image[512] __attribute__((aligned(16)));
};

enum {
  /// Where `attention` lies.
  X86_ATTENTION = offsetof(struct x86_cpu, attention),
  /// From the slot of a segment's base to the end of what may be read and written of it.
  X86_SEGMENT_READ_END = offsetof(struct x86_cpu, segment_read_end) - offsetof(struct x86_cpu, zero),
  X86_SEGMENT_WRITE_END = offsetof(struct x86_cpu, segment_write_end) - offsetof(struct x86_cpu, zero),
};

static inline uint32_t x86_attention(const struct x86_cpu *_Nonnull cpu) {
  return atomic_load_explicit(&cpu->attention, memory_order_relaxed);
}
static inline void x86_attention_set(struct x86_cpu *_Nonnull cpu, uint32_t bits) {
  atomic_fetch_or_explicit(&cpu->attention, bits, memory_order_seq_cst);
}
static inline void x86_attention_clear(struct x86_cpu *_Nonnull cpu, uint32_t bits) {
  atomic_fetch_and_explicit(&cpu->attention, ~bits, memory_order_seq_cst);
}
static inline uint32_t x86_attention_take(struct x86_cpu *_Nonnull cpu) {
  return atomic_exchange_explicit(&cpu->attention, 0, memory_order_seq_cst);
}

// Atomic updates of guest memory. Addresses need not be aligned on x86 hosts.
#define X86_ATOMICS(type, name)                                                                   \
  static inline bool x86_cas_##name(void *_Nonnull p, type *_Nonnull expected, type desired) {                      \
    return __atomic_compare_exchange_n((type *)p, expected, desired, 0, __ATOMIC_SEQ_CST,         \
                                       __ATOMIC_SEQ_CST);                                         \
  }                                                                                               \
  static inline type x86_exchange_##name(void *_Nonnull p, type value) {                                   \
    return __atomic_exchange_n((type *)p, value, __ATOMIC_SEQ_CST);                               \
  }
X86_ATOMICS(uint8_t, 8)
X86_ATOMICS(uint16_t, 16)
X86_ATOMICS(uint32_t, 32)
X86_ATOMICS(uint64_t, 64)

static inline void x86_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/// CMPXCHG16B on a 16-byte aligned host address; old and expected as two words.
bool x86_cas_128(void *_Nonnull p, uint64_t *_Nonnull expected, const uint64_t *_Nonnull desired);

/// A hint that the caller spins.
static inline void x86_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// 64 random bits of the host's.
uint64_t x86_random(void);

/// CPUID of the host: EAX, EBX, ECX, EDX. `false` where the host is no x86-64.
bool x86_host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t *_Nonnull registers);
/// XCR0 of the host, or zero where it has none.
uint64_t x86_host_xcr0(void);
