// What the compilers assume to be there, and the tables of the processor.
#include "arch.h"
#include <stddef.h>

// MARK: Memory functions

void *memcpy(void *to, const void *from, size_t n) { copy_bytes((uint64_t)to, (uint64_t)from, n); return to; }
void *memset(void *to, int v, size_t n) { fill_bytes((uint64_t)to, (uint8_t)v, n); return to; }
void *memmove(void *to, const void *from, size_t n) {
  char *t = to; const char *f = from;
  if (t <= f || t >= f + n) return memcpy(to, from, n);
  while (n--) t[n] = f[n];
  return to;
}

static char heap[64 * 1024];
static size_t heap_used;
int posix_memalign(void **result, size_t alignment, size_t size) {
  size_t start = (heap_used + alignment - 1) & ~(alignment - 1);
  if (start + size > sizeof heap) return 12;
  heap_used = start + size;
  *result = heap + start;
  return 0;
}
void free(void *p) { (void)p; }

// MARK: Descriptor tables

struct gate { uint16_t low, selector; uint8_t ist, type; uint16_t middle; uint32_t high, reserved; };
static struct gate idt[256];
struct __attribute__((packed)) pointer { uint16_t limit; void *base; };
struct pointer idt_pointer = { sizeof idt - 1, idt };
struct __attribute__((packed)) tss {
  uint32_t reserved0; uint64_t rsp[3], reserved1, ist[7], reserved2; uint16_t reserved3, io_map_base;
  uint8_t io_map[8193];
};
static struct tss tss;
static char stacks[8][16384] __attribute__((aligned(16)));
extern uint64_t gdt[];
extern char vector_stubs[], attempt_resume[];
extern uint64_t attempt_stack;

void set_gate(uint8_t vector, uint8_t type, uint8_t ist) {
  uint64_t a = (uint64_t)vector_stubs + 16 * vector;
  idt[vector] = (struct gate){ (uint16_t)a, 0x08, ist, type, (uint16_t)(a >> 16), (uint32_t)(a >> 32), 0 };
}

uint64_t interrupt_stack_top(uint8_t ist) { return (uint64_t)stacks[ist] + sizeof stacks[0]; }

void permit_port(uint16_t port, uint8_t permitted) {
  if (permitted) tss.io_map[port / 8] &= ~(1 << port % 8); else tss.io_map[port / 8] |= 1 << port % 8;
}

void prepare_processor(void) {
  for (int v = 0; v < 256; v++) set_gate(v, 0x8e, 0);
  __asm__ volatile("lidt %0" ::"m"(idt_pointer));
  tss.rsp[0] = interrupt_stack_top(0);
  for (int i = 0; i < 7; i++) tss.ist[i] = interrupt_stack_top(i + 1);
  tss.io_map_base = offsetof(struct tss, io_map);
  memset(tss.io_map, 0xff, sizeof tss.io_map);
  uint64_t base = (uint64_t)&tss, limit = sizeof tss - 1;
  gdt[6] = limit | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
  gdt[7] = base >> 32;
  __asm__ volatile("ltr %w0" ::"r"(0x30));
}

void load_empty_idt(void) {
  struct pointer none = { 0, 0 };
  __asm__ volatile("lidt %0" ::"m"(none));
}

// MARK: Interrupts and attempts

static interrupt_handler handlers[256];
static struct fault fault;
extern struct system_call system_call;
void unexpected_interrupt(struct frame *frame);

void set_handler(uint8_t vector, interrupt_handler handler) { handlers[vector] = handler; }
void clear_handler(uint8_t vector) { handlers[vector] = 0; }

struct fault last_fault(void) { return fault; }
void forget_fault(void) { fault.happened = 0; }
struct system_call last_system_call(void) { return system_call; }

void interrupt(struct frame *frame) {
  if (handlers[frame->vector]) { handlers[frame->vector](frame); return; }
  if (!attempt_stack) { unexpected_interrupt(frame); return; }
  fault = (struct fault){ 1, frame->vector, frame->error, read_cr2(), *frame };
  frame->rip = (uint64_t)attempt_resume;
  frame->rsp = attempt_stack;
  frame->cs = 0x08;
  frame->ss = 0x10;
  frame->rflags = 2;
}
