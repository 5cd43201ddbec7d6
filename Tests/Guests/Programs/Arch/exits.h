// What leaves the guest, over and over: loops of three instructions, and the ticks that each takes.
#pragma once
#include "arch.h"

#define TIMED(name, parameter, instruction, ...) \
  INSTRUCTION uint64_t name(parameter, uint32_t value, uint64_t count) { \
    uint64_t start = read_tsc(); \
    __asm__ volatile("1: " instruction "; decq %0; jnz 1b" : "+r"(count), "+a"(value) : __VA_ARGS__ : "memory", "cc"); \
    return read_tsc() - start; \
  }
TIMED(time_nothing, uint16_t port, "movl %%eax, %%eax", "d"(port))
TIMED(time_out8, uint16_t port, "outb %%al, %%dx", "d"(port))
TIMED(time_out16, uint16_t port, "outw %%ax, %%dx", "d"(port))
TIMED(time_out32, uint16_t port, "outl %%eax, %%dx", "d"(port))
TIMED(time_in8, uint16_t port, "inb %%dx, %%al", "d"(port))
TIMED(time_load32, uint64_t a, "movl (%2), %%eax", "b"(a))
TIMED(time_store8, uint64_t a, "movb %%al, (%2)", "b"(a))
TIMED(time_store32, uint64_t a, "movl %%eax, (%2)", "b"(a))
