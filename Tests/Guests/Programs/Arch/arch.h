// What Swift has no words for: single instructions, and the tables the processor reads.
#pragma once
#include <stdint.h>

#define INSTRUCTION static inline __attribute__((always_inline))

// MARK: Ports

INSTRUCTION uint8_t in8(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
INSTRUCTION uint16_t in16(uint16_t port) { uint16_t v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port)); return v; }
INSTRUCTION uint32_t in32(uint16_t port) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }
INSTRUCTION void out8(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port)); }
INSTRUCTION void out16(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port)); }
INSTRUCTION void out32(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port)); }

// MARK: Memory, each access exactly one instruction

INSTRUCTION uint8_t load8(uint64_t a) { uint8_t v; __asm__ volatile("movb (%1), %0" : "=q"(v) : "r"(a) : "memory"); return v; }
INSTRUCTION uint16_t load16(uint64_t a) { uint16_t v; __asm__ volatile("movw (%1), %0" : "=r"(v) : "r"(a) : "memory"); return v; }
INSTRUCTION uint32_t load32(uint64_t a) { uint32_t v; __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(a) : "memory"); return v; }
INSTRUCTION uint64_t load64(uint64_t a) { uint64_t v; __asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(a) : "memory"); return v; }
INSTRUCTION void store8(uint64_t a, uint8_t v) { __asm__ volatile("movb %0, (%1)" ::"q"(v), "r"(a) : "memory"); }
INSTRUCTION void store16(uint64_t a, uint16_t v) { __asm__ volatile("movw %0, (%1)" ::"r"(v), "r"(a) : "memory"); }
INSTRUCTION void store32(uint64_t a, uint32_t v) { __asm__ volatile("movl %0, (%1)" ::"r"(v), "r"(a) : "memory"); }
INSTRUCTION void store64(uint64_t a, uint64_t v) { __asm__ volatile("movq %0, (%1)" ::"r"(v), "r"(a) : "memory"); }
INSTRUCTION void fill_bytes(uint64_t a, uint8_t v, uint64_t n) { __asm__ volatile("rep stosb" : "+D"(a), "+c"(n) : "a"(v) : "memory"); }
INSTRUCTION void copy_bytes(uint64_t to, uint64_t from, uint64_t n) { __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); }

// MARK: Atomic operations

INSTRUCTION uint64_t locked_exchange_add(uint64_t a, uint64_t v) { __asm__ volatile("lock xaddq %0, (%1)" : "+r"(v) : "r"(a) : "memory", "cc"); return v; }
INSTRUCTION void locked_increment(uint64_t a) { __asm__ volatile("lock incq (%0)" ::"r"(a) : "memory", "cc"); }
INSTRUCTION void locked_increment32(uint64_t a) { __asm__ volatile("lock incl (%0)" ::"r"(a) : "memory", "cc"); }
INSTRUCTION void locked_increment8(uint64_t a) { __asm__ volatile("lock incb (%0)" ::"r"(a) : "memory", "cc"); }
INSTRUCTION void locked_add(uint64_t a, uint64_t v) { __asm__ volatile("lock addq %0, (%1)" ::"r"(v), "r"(a) : "memory", "cc"); }
INSTRUCTION uint64_t exchange(uint64_t a, uint64_t v) { __asm__ volatile("xchgq %0, (%1)" : "+r"(v) : "r"(a) : "memory"); return v; }
INSTRUCTION uint8_t locked_compare_exchange(uint64_t a, uint64_t expected, uint64_t desired) {
  uint8_t done;
  __asm__ volatile("lock cmpxchgq %3, (%2); sete %0" : "=q"(done), "+a"(expected) : "r"(a), "r"(desired) : "memory", "cc");
  return done;
}
/// Adds 1 to both halves of the 16 bytes at `a`, as one operation.
INSTRUCTION void locked_increment_pair(uint64_t a) {
  uint64_t low = load64(a), high = load64(a + 8);
  __asm__ volatile("1: movq %%rax, %%rbx; movq %%rdx, %%rcx; incq %%rbx; incq %%rcx; lock cmpxchg16b (%2); jnz 1b"
                   : "+a"(low), "+d"(high) : "r"(a) : "rbx", "rcx", "memory", "cc");
}
INSTRUCTION uint8_t locked_bit_set(uint64_t a, uint64_t bit) { uint8_t old; __asm__ volatile("lock btsq %2, (%1); setc %0" : "=q"(old) : "r"(a), "r"(bit) : "memory", "cc"); return old; }
INSTRUCTION void memory_fence(void) { __asm__ volatile("mfence" ::: "memory"); }
INSTRUCTION void spin_pause(void) { __asm__ volatile("pause" ::: "memory"); }

// MARK: The processor's own registers

#define CONTROL_REGISTER(n) \
  INSTRUCTION uint64_t read_cr##n(void) { uint64_t v; __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v) :: "memory"); return v; } \
  INSTRUCTION void write_cr##n(uint64_t v) { __asm__ volatile("mov %0, %%cr" #n :: "r"(v) : "memory"); }
CONTROL_REGISTER(0)
CONTROL_REGISTER(2)
CONTROL_REGISTER(3)
CONTROL_REGISTER(4)
CONTROL_REGISTER(8)
INSTRUCTION uint64_t read_dr6(void) { uint64_t v; __asm__ volatile("mov %%dr6, %0" : "=r"(v)); return v; }
INSTRUCTION void write_dr6(uint64_t v) { __asm__ volatile("mov %0, %%dr6" ::"r"(v)); }
INSTRUCTION uint64_t read_msr(uint32_t n) { uint32_t l, h; __asm__ volatile("rdmsr" : "=a"(l), "=d"(h) : "c"(n) : "memory"); return (uint64_t)h << 32 | l; }
INSTRUCTION void write_msr(uint32_t n, uint64_t v) { __asm__ volatile("wrmsr" ::"a"((uint32_t)v), "d"((uint32_t)(v >> 32)), "c"(n) : "memory"); }
struct cpuid { uint32_t eax, ebx, ecx, edx; };
INSTRUCTION struct cpuid cpuid(uint32_t leaf, uint32_t sub) {
  struct cpuid r;
  __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(sub) : "memory");
  return r;
}
INSTRUCTION uint64_t read_tsc(void) { uint32_t l, h; __asm__ volatile("lfence; rdtsc" : "=a"(l), "=d"(h) :: "memory"); return (uint64_t)h << 32 | l; }
INSTRUCTION uint64_t read_flags(void) { uint64_t v; __asm__ volatile("pushfq; popq %0" : "=r"(v) :: "memory"); return v; }
INSTRUCTION void invalidate_page(uint64_t a) { __asm__ volatile("invlpg (%0)" ::"r"(a) : "memory"); }

// MARK: Interrupts

INSTRUCTION void interrupts_on(void) { __asm__ volatile("sti" ::: "memory"); }
INSTRUCTION void interrupts_off(void) { __asm__ volatile("cli" ::: "memory"); }
/// STI whose shadow covers only CLI: no interrupt may come between.
INSTRUCTION void interrupts_shadowed(void) { __asm__ volatile("sti; cli" ::: "memory"); }
/// Lets pending interrupts in for one instruction.
INSTRUCTION void interrupts_window(void) { __asm__ volatile("sti; nop; nop; cli" ::: "memory"); }
/// Sleeps until an interrupt; STI's shadow keeps one from slipping in before HLT.
INSTRUCTION void wait_for_interrupt(void) { __asm__ volatile("sti; hlt; cli" ::: "memory"); }
INSTRUCTION void halt_until_nmi(void) { __asm__ volatile("cli; hlt" ::: "memory"); }

/// What the stubs leave on the stack.
struct frame {
  uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
  uint64_t vector, error, rip, cs, rflags, rsp, ss;
};
typedef void (*interrupt_handler)(struct frame *frame);
void set_handler(uint8_t vector, interrupt_handler handler);
void clear_handler(uint8_t vector);
void set_gate(uint8_t vector, uint8_t type_and_attributes, uint8_t ist);
void load_empty_idt(void);
void prepare_processor(void);
uint64_t interrupt_stack_top(uint8_t ist);
/// The TSS's I/O permission bitmap: 1 forbids.
void permit_port(uint16_t port, uint8_t permitted);

/// INT C8h.
INSTRUCTION void raise_c8(void) { __asm__ volatile("int $0xc8" ::: "memory"); }
/// UD2, two bytes long.
INSTRUCTION void invalid(void) { __asm__ volatile("ud2" ::: "memory"); }

// MARK: Attempts: code that may end in an exception

struct fault { uint64_t happened, vector, error, address; struct frame frame; };
void attempt(void (*code)(uint64_t), uint64_t argument);
struct fault last_fault(void);
void forget_fault(void);
INSTRUCTION void attempt_at(uint64_t code, uint64_t argument) { attempt((void (*)(uint64_t))code, argument); }
INSTRUCTION uint64_t call_code(uint64_t code, uint64_t argument) { return ((uint64_t(*)(uint64_t))code)(argument); }

/// A row of the table in Boot/faults.S.
struct fault_case { uint64_t name, code, at, vector, error, tcg_departs; };
extern const struct fault_case fault_cases_start[], fault_cases_end[];
INSTRUCTION uint64_t fault_case_count(void) { return (uint64_t)(fault_cases_end - fault_cases_start); }
INSTRUCTION struct fault_case fault_case(uint64_t i) { return fault_cases_start[i]; }

// MARK: Ring 3

void enter_user(uint64_t rip, uint64_t rsp, uint64_t rflags, uint64_t cs, uint64_t rdi);
struct system_call { uint64_t rcx, r11, rflags, cs, ss, count; };
struct system_call last_system_call(void);

// MARK: Addresses that the linker knows

#define ADDRESS(name) extern char name[]; INSTRUCTION uint64_t address_of_##name(void) { return (uint64_t)name; }
ADDRESS(image_end)
ADDRESS(user_start)
ADDRESS(user_end)
ADDRESS(startup_code)
ADDRESS(startup_code_end)
ADDRESS(system_call_entry)
ADDRESS(interrupt_on_bad_stack)
ADDRESS(user_interrupt)
ADDRESS(user_interrupt_reserved)
ADDRESS(user_clear_interrupts)
ADDRESS(user_halt)
ADDRESS(user_read_control)
ADDRESS(user_read_msr)
ADDRESS(user_read_tsc)
ADDRESS(user_input)
ADDRESS(user_load)
ADDRESS(user_store)
ADDRESS(user_jump)
ADDRESS(user_system_call)
ADDRESS(user_system_call_end)
ADDRESS(user_double)
ADDRESS(user_set_flags)
ADDRESS(user_step)
ADDRESS(user_step_end)
ADDRESS(user_count)
ADDRESS(user_compatibility)

_Noreturn static inline void stop_forever(void) { for (;;) __asm__ volatile("cli; hlt" ::: "memory"); }
