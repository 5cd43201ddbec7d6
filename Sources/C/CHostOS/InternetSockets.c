#define _GNU_SOURCE
#include "CHostOS.h"
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <malloc.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  struct sockaddr_storage storage;
};

static uint64_t load64(const uint8_t *bytes) {
  uint64_t value;
  memcpy(&value, bytes, 8);
  return __builtin_bswap64(value);
}

static socklen_t encode(union address *out, const struct roost_endpoint *in) {
  memset(out, 0, sizeof *out);
  if (!in->is_v6) {
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons(in->port);
    out->v4.sin_addr.s_addr = htonl((uint32_t)in->low);
    return sizeof out->v4;
  }
  uint64_t words[2] = {__builtin_bswap64(in->high), __builtin_bswap64(in->low)};
  out->v6.sin6_family = AF_INET6;
  out->v6.sin6_port = htons(in->port);
  memcpy(&out->v6.sin6_addr, words, 16);
  return sizeof out->v6;
}

static void decode(struct roost_endpoint *out, const union address *in) {
  memset(out, 0, sizeof *out);
  if (in->any.sa_family == AF_INET6) {
    out->is_v6 = 1;
    out->port = ntohs(in->v6.sin6_port);
    out->high = load64(in->v6.sin6_addr.s6_addr);
    out->low = load64(in->v6.sin6_addr.s6_addr + 8);
  } else {
    out->port = ntohs(in->v4.sin_port);
    out->low = ntohl(in->v4.sin_addr.s_addr);
  }
}

static void set(int socket, int level, int name, int value) {
  setsockopt(socket, level, name, &value, sizeof value);
}

static void prepare_stream(int socket) {
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
}

int roost_inet_socket(int is_v6, enum roost_socket_kind kind) {
  int protocol = kind != ROOST_ECHO ? 0 : is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
  int type = (kind == ROOST_STREAM ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  int handle = socket(is_v6 ? AF_INET6 : AF_INET, type, protocol);
  if (handle < 0) return -1;
  if (is_v6) set(handle, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (kind == ROOST_STREAM) prepare_stream(handle);
  return handle;
}

int roost_inet_connect(int socket, const struct roost_endpoint *to) {
  union address address;
  socklen_t length = encode(&address, to);
  return connect(socket, &address.any, length) == 0 || errno == EINPROGRESS ? 0 : -1;
}

int roost_inet_bind(int socket, const struct roost_endpoint *at) {
  union address address;
  socklen_t length = encode(&address, at);
  int type = 0;
  socklen_t size = sizeof type;
  getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size);
  // Connections of an earlier listener that still linger must not keep the port; a live listener does.
  if (type == SOCK_STREAM) set(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  if (bind(socket, &address.any, length) != 0) return -1;
  return type == SOCK_STREAM ? listen(socket, 128) : 0;
}

int roost_inet_local(int socket, struct roost_endpoint *local) {
  union address address;
  socklen_t length = sizeof address;
  if (getsockname(socket, &address.any, &length) != 0) return -1;
  decode(local, &address);
  return 0;
}

int roost_inet_accept(int socket, struct roost_endpoint *from) {
  union address address;
  socklen_t length = sizeof address;
  int client = accept4(socket, &address.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client < 0) return -1;
  prepare_stream(client);
  decode(from, &address);
  return client;
}

long roost_inet_receive(int socket, void *bytes, size_t count, struct roost_endpoint *from) {
  union address address;
  socklen_t length = sizeof address;
  memset(&address, 0, sizeof address);
  ssize_t result = recvfrom(socket, bytes, count, 0, &address.any, &length);
  if (result >= 0) decode(from, &address);
  return result;
}

long roost_inet_send(int socket, const void *bytes, size_t count, const struct roost_endpoint *to) {
  if (!to) return send(socket, bytes, count, MSG_NOSIGNAL);
  union address address;
  socklen_t length = encode(&address, to);
  return sendto(socket, bytes, count, MSG_NOSIGNAL, &address.any, length);
}

long roost_inet_send_pieces(int socket, const struct iovec *pieces, int count) {
  struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
  return sendmsg(socket, &message, MSG_NOSIGNAL);
}

int roost_inet_error(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

void roost_inet_abort_on_close(int socket) {
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

int roost_inet_path_limit(int socket, int is_v6) {
  int limit = 0;
  socklen_t size = sizeof limit;
  int result = is_v6 ? getsockopt(socket, IPPROTO_IPV6, IPV6_MTU, &limit, &size)
                     : getsockopt(socket, IPPROTO_IP, IP_MTU, &limit, &size);
  return result == 0 ? limit : 0;
}

int roost_inet_is_on_loopback(const struct roost_endpoint *address) {
  struct ifaddrs *list = NULL;
  if (getifaddrs(&list) != 0) return 0;
  int found = 0;
  for (struct ifaddrs *item = list; item && !found; item = item->ifa_next) {
    if (!item->ifa_addr || !(item->ifa_flags & IFF_LOOPBACK)) continue;
    int family = item->ifa_addr->sa_family;
    if (family != (address->is_v6 ? AF_INET6 : AF_INET)) continue;
    struct roost_endpoint own;
    decode(&own, (const union address *)item->ifa_addr);
    found = own.high == address->high && own.low == address->low;
  }
  freeifaddrs(list);
  return found;
}

void roost_raise_handle_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void roost_keep_freed_memory(void) {
#ifdef __GLIBC__
  mallopt(M_TRIM_THRESHOLD, 32 << 20);
  mallopt(M_TOP_PAD, 4 << 20);
  mallopt(M_MMAP_THRESHOLD, 2 << 20);
#endif
}

// The sum of the 32-byte blocks at the start, as words of either order of bytes; never so much that it wraps.
static uint64_t sum_blocks(const uint8_t *bytes, size_t blocks) {
  uint64_t sum = 0;
  for (; blocks; blocks--, bytes += 32) {
    uint32_t words[8];
    memcpy(words, bytes, 32);
    for (int index = 0; index < 8; index++) sum += words[index];
  }
  return sum;
}

#ifdef __x86_64__
typedef uint32_t words_of_block __attribute__((vector_size(32)));

// The same in half the time. Each half of a word is added apart, so that a lane holds 2^16 of them.
__attribute__((target("avx2"))) static uint64_t sum_blocks_avx2(const uint8_t *bytes, size_t blocks) {
  uint64_t sum = 0;
  while (blocks) {
    words_of_block low = {0}, high = {0};
    for (size_t left = blocks < 0x8000 ? blocks : 0x8000; left; left--, blocks--, bytes += 32) {
      words_of_block words;
      memcpy(&words, bytes, 32);
      low += words & 0xffff;
      high += words >> 16;
    }
    for (int lane = 0; lane < 8; lane++) sum += (uint64_t)low[lane] + high[lane];
  }
  return sum;
}
#endif

uint16_t roost_internet_sum(const void *bytes, size_t count) {
  const uint8_t *next = bytes;
  size_t blocks = count / 32;
#ifdef __x86_64__
  uint64_t sum = __builtin_cpu_supports("avx2") ? sum_blocks_avx2(next, blocks) : sum_blocks(next, blocks);
#else
  uint64_t sum = sum_blocks(next, blocks);
#endif
  next += 32 * blocks;
  count -= 32 * blocks;
  while (count >= 2) {
    uint16_t word;
    memcpy(&word, next, 2);
    sum += word;
    next += 2;
    count -= 2;
  }
  if (count) sum += *next;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return __builtin_bswap16((uint16_t)sum);
}
