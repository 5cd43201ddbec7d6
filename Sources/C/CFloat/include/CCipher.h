#pragma once
#include <stdbool.h>
#include <stdint.h>

// AES, carry-less multiplication and SHA on vectors: SDM Vol. 2, AESENC and its kin, PCLMULQDQ, SHA1RNDS4 and its kin.
// Each is the host's own instruction where the host has it, and otherwise a computation with the same result; those are
// here by names of their own, so that they can be compared.

typedef uint8_t x86_block __attribute__((vector_size(16)));

x86_block x86_aesenc(x86_block state, x86_block key);
x86_block x86_aesenclast(x86_block state, x86_block key);
x86_block x86_aesdec(x86_block state, x86_block key);
x86_block x86_aesdeclast(x86_block state, x86_block key);
x86_block x86_aesimc(x86_block key);
x86_block x86_aeskeygenassist(x86_block key, uint8_t constant);
x86_block x86_pclmulqdq(x86_block a, x86_block b, uint8_t choice);
x86_block x86_sha1rnds4(x86_block a, x86_block b, uint8_t function);
x86_block x86_sha1nexte(x86_block a, x86_block b);
x86_block x86_sha1msg1(x86_block a, x86_block b);
x86_block x86_sha1msg2(x86_block a, x86_block b);
x86_block x86_sha256rnds2(x86_block a, x86_block b, x86_block words);
x86_block x86_sha256msg1(x86_block a, x86_block b);
x86_block x86_sha256msg2(x86_block a, x86_block b);

/// Whether those of the host's instructions are used that there are: they are, unless a test wants to compare.
void x86_use_host_ciphers(bool use);
