#include "CCipher.h"
#include "CFloat.h"
#include <string.h>

static bool x86_has_aes, x86_has_pclmulqdq, x86_has_sha;

#if X86_NATIVE
#include <cpuid.h>
#include <immintrin.h>

void x86_use_host_ciphers(bool use) {
  unsigned a, b, c, d;
  x86_has_aes = x86_has_pclmulqdq = x86_has_sha = false;
  if (!use) return;
  if (__get_cpuid(1, &a, &b, &c, &d)) {
    x86_has_aes = c & bit_AES;
    x86_has_pclmulqdq = c & bit_PCLMUL;
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) x86_has_sha = b >> 29 & 1;
}

__attribute__((constructor)) static void look_at_host(void) { x86_use_host_ciphers(true); }

/// Leaves with the host's instruction, if there is one.
#define HOST(flag, isa, name, expression)                                                         \
  if (x86_has_##flag) return host_##name expression;
#define HOST_FUNCTION(isa, name, parameters, expression)                                          \
  __attribute__((target(isa))) static x86_block host_##name parameters { return (x86_block)(expression); }
#define V(x) ((__m128i)(x))
#else
void x86_use_host_ciphers(bool use) {}

#define HOST(flag, isa, name, expression)
#define HOST_FUNCTION(isa, name, parameters, expression)
#endif

// MARK: - AES: FIPS 197

static uint8_t forward[256], backward[256];

static uint8_t twice(uint8_t x) { return x << 1 ^ (x >> 7 ? 0x1b : 0); }

static uint8_t multiply(uint8_t x, uint8_t y) {
  uint8_t product = 0;
  for (; y; y >>= 1, x = twice(x))
    if (y & 1) product ^= x;
  return product;
}

/// FIPS 197 §5.1.1: the inverse in the field, then an affine transformation.
__attribute__((constructor)) static void make_boxes(void) {
  for (int x = 0; x < 256; x++) {
    uint8_t inverse = 0;
    // The 254th power.
    if (x) {
      inverse = 1;
      for (int i = 0; i < 254; i++) inverse = multiply(inverse, (uint8_t)x);
    }
    uint8_t box = inverse;
    for (int i = 1; i < 5; i++) box ^= (uint8_t)(inverse << i | inverse >> (8 - i));
    forward[x] = box ^ 0x63;
    backward[box ^ 0x63] = (uint8_t)x;
  }
}

/// SubBytes and ShiftRows, or their inverses. Column c, row r is byte 4c + r.
static x86_block substitute(x86_block s, bool encrypts) {
  x86_block r;
  for (int i = 0; i < 16; i++) {
    int row = i & 3, from = encrypts ? i + 4 * row : i - 4 * row;
    r[i] = (encrypts ? forward : backward)[s[from & 15]];
  }
  return r;
}

static x86_block mix(x86_block s, const uint8_t factors[4]) {
  x86_block r;
  for (int i = 0; i < 16; i++) {
    uint8_t sum = 0;
    for (int k = 0; k < 4; k++) sum ^= multiply(s[(i & 12) + k], factors[(k - i) & 3]);
    r[i] = sum;
  }
  return r;
}

static const uint8_t mixing[4] = {2, 3, 1, 1}, unmixing[4] = {14, 11, 13, 9};

HOST_FUNCTION("aes", aesenc, (x86_block a, x86_block b), _mm_aesenc_si128(V(a), V(b)))
HOST_FUNCTION("aes", aesenclast, (x86_block a, x86_block b), _mm_aesenclast_si128(V(a), V(b)))
HOST_FUNCTION("aes", aesdec, (x86_block a, x86_block b), _mm_aesdec_si128(V(a), V(b)))
HOST_FUNCTION("aes", aesdeclast, (x86_block a, x86_block b), _mm_aesdeclast_si128(V(a), V(b)))
HOST_FUNCTION("aes", aesimc, (x86_block a), _mm_aesimc_si128(V(a)))
// Without the constant, which the instruction has as an immediate.
HOST_FUNCTION("aes", aeskeygenassist, (x86_block a), _mm_aeskeygenassist_si128(V(a), 0))

x86_block x86_aesenc(x86_block state, x86_block key) {
  HOST(aes, "aes", aesenc, (state, key))
  return mix(substitute(state, true), mixing) ^ key;
}

x86_block x86_aesenclast(x86_block state, x86_block key) {
  HOST(aes, "aes", aesenclast, (state, key))
  return substitute(state, true) ^ key;
}

x86_block x86_aesdec(x86_block state, x86_block key) {
  HOST(aes, "aes", aesdec, (state, key))
  return mix(substitute(state, false), unmixing) ^ key;
}

x86_block x86_aesdeclast(x86_block state, x86_block key) {
  HOST(aes, "aes", aesdeclast, (state, key))
  return substitute(state, false) ^ key;
}

x86_block x86_aesimc(x86_block key) {
  HOST(aes, "aes", aesimc, (key))
  return mix(key, unmixing);
}

static x86_block assist(x86_block key) {
  HOST(aes, "aes", aeskeygenassist, (key))
  x86_block r;
  for (int i = 0; i < 16; i++) {
    // Words 0 and 1 are of word 1, words 2 and 3 of word 3; the odd ones are rotated by a byte.
    int word = i & 8 ? 12 : 4, byte = i & 4 ? (i + 1) & 3 : i & 3;
    r[i] = forward[key[word + byte]];
  }
  return r;
}

x86_block x86_aeskeygenassist(x86_block key, uint8_t constant) {
  x86_block r = assist(key);
  r[4] ^= constant;
  r[12] ^= constant;
  return r;
}

// MARK: - Carry-less multiplication

HOST_FUNCTION("pclmul", pclmulqdq, (x86_block a, x86_block b), _mm_clmulepi64_si128(V(a), V(b), 0))

x86_block x86_pclmulqdq(x86_block a, x86_block b, uint8_t choice) {
  uint64_t x[2], y[2], product[2] = {0, 0};
  memcpy(x, &a, 16);
  memcpy(y, &b, 16);
  x[0] = x[choice & 1], y[0] = y[choice >> 4 & 1];
  memcpy(&a, x, 16);
  memcpy(&b, y, 16);
  HOST(pclmulqdq, "pclmul", pclmulqdq, (a, b))
  for (int i = 0; i < 64; i++) {
    if (!(y[0] >> i & 1)) continue;
    product[0] ^= x[0] << i;
    if (i) product[1] ^= x[0] >> (64 - i);
  }
  memcpy(&a, product, 16);
  return a;
}

// MARK: - SHA: FIPS 180-4; words are numbered from the highest, as there

typedef struct {
  uint32_t w[4];
} words;

static words split(x86_block x) {
  words r;
  uint32_t low[4];
  memcpy(low, &x, 16);
  for (int i = 0; i < 4; i++) r.w[i] = low[3 - i];
  return r;
}

static x86_block join(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  uint32_t low[4] = {d, c, b, a};
  x86_block r;
  memcpy(&r, low, 16);
  return r;
}

static uint32_t left(uint32_t x, int n) { return x << n | x >> (32 - n); }
static uint32_t right(uint32_t x, int n) { return left(x, 32 - n); }

HOST_FUNCTION("sha", sha1nexte, (x86_block a, x86_block b), _mm_sha1nexte_epu32(V(a), V(b)))
HOST_FUNCTION("sha", sha1msg1, (x86_block a, x86_block b), _mm_sha1msg1_epu32(V(a), V(b)))
HOST_FUNCTION("sha", sha1msg2, (x86_block a, x86_block b), _mm_sha1msg2_epu32(V(a), V(b)))
HOST_FUNCTION("sha", sha256msg1, (x86_block a, x86_block b), _mm_sha256msg1_epu32(V(a), V(b)))
HOST_FUNCTION("sha", sha256msg2, (x86_block a, x86_block b), _mm_sha256msg2_epu32(V(a), V(b)))
HOST_FUNCTION(
    "sha", sha256rnds2, (x86_block a, x86_block b, x86_block k), _mm_sha256rnds2_epu32(V(a), V(b), V(k)))
HOST_FUNCTION(
    "sha", sha1rnds4, (x86_block a, x86_block b, uint8_t f),
    f == 0 ? _mm_sha1rnds4_epu32(V(a), V(b), 0) : f == 1 ? _mm_sha1rnds4_epu32(V(a), V(b), 1)
    : f == 2 ? _mm_sha1rnds4_epu32(V(a), V(b), 2) : _mm_sha1rnds4_epu32(V(a), V(b), 3))

x86_block x86_sha1rnds4(x86_block a, x86_block b, uint8_t function) {
  function &= 3;
  HOST(sha, "sha", sha1rnds4, (a, b, function))
  static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
  words s = split(a), m = split(b);
  uint32_t A = s.w[0], B = s.w[1], C = s.w[2], D = s.w[3], E = 0;
  for (int i = 0; i < 4; i++) {
    uint32_t f = function == 0   ? (B & C) ^ (~B & D)
                 : function == 2 ? (B & C) ^ (B & D) ^ (C & D)
                                 : B ^ C ^ D;
    uint32_t next = f + left(A, 5) + m.w[i] + E + constants[function];
    E = D, D = C, C = left(B, 30), B = A, A = next;
  }
  return join(A, B, C, D);
}

x86_block x86_sha1nexte(x86_block a, x86_block b) {
  HOST(sha, "sha", sha1nexte, (a, b))
  words m = split(b);
  return join(m.w[0] + left(split(a).w[0], 30), m.w[1], m.w[2], m.w[3]);
}

x86_block x86_sha1msg1(x86_block a, x86_block b) {
  HOST(sha, "sha", sha1msg1, (a, b))
  words x = split(a), y = split(b);
  return join(x.w[2] ^ x.w[0], x.w[3] ^ x.w[1], y.w[0] ^ x.w[2], y.w[1] ^ x.w[3]);
}

x86_block x86_sha1msg2(x86_block a, x86_block b) {
  HOST(sha, "sha", sha1msg2, (a, b))
  words x = split(a), y = split(b);
  uint32_t w16 = left(x.w[0] ^ y.w[1], 1), w17 = left(x.w[1] ^ y.w[2], 1);
  uint32_t w18 = left(x.w[2] ^ y.w[3], 1), w19 = left(x.w[3] ^ w16, 1);
  return join(w16, w17, w18, w19);
}

x86_block x86_sha256rnds2(x86_block a, x86_block b, x86_block schedule) {
  HOST(sha, "sha", sha256rnds2, (a, b, schedule))
  words x = split(a), y = split(b), k = split(schedule);
  uint32_t A = y.w[0], B = y.w[1], C = x.w[0], D = x.w[1];
  uint32_t E = y.w[2], F = y.w[3], G = x.w[2], H = x.w[3];
  for (int i = 0; i < 2; i++) {
    uint32_t choice = (E & F) ^ (~E & G), majority = (A & B) ^ (A & C) ^ (B & C);
    uint32_t t = choice + (right(E, 6) ^ right(E, 11) ^ right(E, 25)) + k.w[3 - i] + H;
    uint32_t next = t + majority + (right(A, 2) ^ right(A, 13) ^ right(A, 22));
    H = G, G = F, F = E, E = t + D, D = C, C = B, B = A, A = next;
  }
  return join(A, B, E, F);
}

static uint32_t sigma0(uint32_t x) { return right(x, 7) ^ right(x, 18) ^ x >> 3; }
static uint32_t sigma1(uint32_t x) { return right(x, 17) ^ right(x, 19) ^ x >> 10; }

x86_block x86_sha256msg1(x86_block a, x86_block b) {
  HOST(sha, "sha", sha256msg1, (a, b))
  words x = split(a), y = split(b);
  return join(
      x.w[0] + sigma0(y.w[3]), x.w[1] + sigma0(x.w[0]), x.w[2] + sigma0(x.w[1]),
      x.w[3] + sigma0(x.w[2]));
}

x86_block x86_sha256msg2(x86_block a, x86_block b) {
  HOST(sha, "sha", sha256msg2, (a, b))
  words x = split(a), y = split(b);
  uint32_t w16 = x.w[3] + sigma1(y.w[1]), w17 = x.w[2] + sigma1(y.w[0]);
  return join(x.w[0] + sigma1(w17), x.w[1] + sigma1(w16), w17, w16);
}
