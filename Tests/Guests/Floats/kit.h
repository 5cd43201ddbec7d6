// What the units share: the system calls they need, lines of text, and numbers that look random. There is no C library in
// the program, so that it does by itself all that it shows.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// MARK: - System calls

static inline long call(long number, long a, long b, long c, long d, long e) {
  register long fourth __asm__("r10") = d, fifth __asm__("r8") = e;
  __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth) : "rcx", "r11", "memory");
  return number;
}

_Noreturn void leave(int status);

// MARK: - Text

void text(const char *words);
/// A number in so many hexadecimal digits.
void hex(uint64_t value, unsigned digits);
/// Bytes in hexadecimal, the highest first.
void bytes(const void *start, unsigned count);
void line(void);

// MARK: - Numbers

/// The same in every run.
uint64_t chance(void);
void begin_chance(uint64_t seed);

/// FNV-1a, to hold many results against each other in one line.
typedef uint64_t hash;
static const hash hash_start = 0xcbf29ce484222325;
hash hashed(hash before, const void *start, unsigned count);

/// An instruction to try: a routine that carries it out on a state, what the assembler calls it, and what the unit wants to
/// know about it. The assembly files make lists of them.
struct trial {
  void (*run)(void *state);
  const char *name;
  uint64_t kind, mask;
};

void *memset(void *start, int value, size_t count);
void *memcpy(void *start, const void *from, size_t count);

// MARK: - The units

/// Whether a unit is to tell each result, and not only their hash: for looking at differences.
extern bool tells_all;
void x87(void);
void sse(void);
void avx(void);
// With AVX, if `wide`.
void exceptions(bool wide);
void switches(bool wide);
