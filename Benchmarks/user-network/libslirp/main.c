// How many bytes of TCP libslirp carries in a second of this process's processor time, driven by frames and without a
// guest. usage: main up|down MEBIBYTES plain|long
//
// libslirp leaves neither sums nor the cutting of segments to a guest: `long` is frames of the longest that it takes,
// on a cable of as many bytes. It does not scale windows, so that 64 KiB may be under way.
//
// The other end is a child process that reads or writes a socket of the host's loopback, so that its time is its own.
// Frames to libslirp lie ready: their payload is always the same, and its sum was taken before.
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HEADERS = 54, BATCH = 64, PROBE = 2, LONGEST = 65521 };

static Slirp *slirp;
static int is_up, established, payload_sum, segment;
static uint16_t port;
static uint32_t sent_next, sent_first, acknowledged, received_next, window;
static uint64_t total, received, frames;
static int owes;
static uint8_t frame[14 + LONGEST];

static uint32_t add(const uint8_t *bytes, int count, uint32_t sum) {
  for (int index = 0; index < count; index += 2) sum += bytes[index] << 8 | bytes[index + 1];
  return sum;
}
static uint16_t fold(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}
static void put16(uint8_t *at, uint16_t value) { at[0] = value >> 8, at[1] = value; }
static void put32(uint8_t *at, uint32_t value) { put16(at, value >> 16), put16(at + 2, value); }
static uint32_t get32(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static void transmit(int flags, int count) {
  static const uint8_t begin[] = {0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 0, 0x45};
  memset(frame, 0, HEADERS);
  memcpy(frame, begin, sizeof begin);
  put16(frame + 16, 40 + count);
  frame[22] = 64, frame[23] = 6;
  put32(frame + 26, 0x0a00020f), put32(frame + 30, 0x0a000202);
  put16(frame + 24, ~fold(add(frame + 14, 20, 0)));
  put16(frame + 34, 40000), put16(frame + 36, port);
  put32(frame + 38, sent_next), put32(frame + 42, received_next);
  frame[46] = 0x50, frame[47] = flags;
  put16(frame + 48, 65535);
  uint32_t sum = add(frame + 26, 8, 6 + 20 + count);
  sum += count == segment ? payload_sum : add(frame + HEADERS, count, 0);
  put16(frame + 50, ~fold(add(frame + 34, 20, sum)));
  sent_next += count + (flags & 3 ? 1 : 0);
  if (count) frames++;
  slirp_input(slirp, frame, HEADERS + count);
}

static ssize_t from_slirp(const void *bytes, size_t count, void *opaque) {
  const uint8_t *packet = bytes;
  if (packet[13] == 6) {  // ARP: who has the guest?
    uint8_t reply[42];
    memcpy(reply, packet, 42);
    static const uint8_t own[] = {0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15};
    memcpy(reply, packet + 6, 6), memcpy(reply + 6, own, 6);
    reply[21] = 2;
    memcpy(reply + 22, own, 10), memcpy(reply + 32, packet + 22, 10);
    slirp_input(slirp, reply, 42);
    return count;
  }
  if (count < HEADERS || packet[23] != 6) return count;
  int header = (packet[46] >> 4) * 4, length = (packet[16] << 8 | packet[17]) - 20 - header;
  int flags = packet[47];
  if (flags & 4) {
    fprintf(stderr, "reset\n");
    exit(1);
  }
  acknowledged = get32(packet + 42);
  window = packet[48] << 8 | packet[49];
  if (flags & 2) {
    received_next = get32(packet + 38) + 1;
    established = 1, owes = 1;
    return count;
  }
  if (length > 0 && get32(packet + 38) == received_next) received_next += length, received += length, frames++;
  if (length > 0) owes++;
  return count;
}

static void guest_error(const char *text, void *opaque) { fprintf(stderr, "%s\n", text); }
static int64_t now(void *opaque) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ll + time.tv_nsec;
}
static void *timer_new(SlirpTimerCb call, void *argument, void *opaque) { return malloc(1); }
static void timer_free(void *timer, void *opaque) { free(timer); }
static void timer_mod(void *timer, int64_t at, void *opaque) {}
static void ignore_fd(int fd, void *opaque) {}
static void notify(void *opaque) {}

static struct pollfd fds[64];
static int fd_count;
static int add_poll(int fd, int events, void *opaque) {
  short wanted = 0;
  if (events & SLIRP_POLL_IN) wanted |= POLLIN;
  if (events & SLIRP_POLL_OUT) wanted |= POLLOUT;
  fds[fd_count] = (struct pollfd){.fd = fd, .events = wanted};
  return fd_count++;
}
static int get_revents(int index, void *opaque) {
  int got = fds[index].revents, events = 0;
  if (got & POLLIN) events |= SLIRP_POLL_IN;
  if (got & POLLOUT) events |= SLIRP_POLL_OUT;
  if (got & POLLERR) events |= SLIRP_POLL_ERR;
  if (got & POLLHUP) events |= SLIRP_POLL_HUP;
  return events;
}

static void serve(int listener) {
  static char bytes[1 << 18];
  int client = accept(listener, NULL, NULL);
  if (is_up) {
    while (read(client, bytes, sizeof bytes) > 0) {}
  } else {
    for (uint64_t left = total; left > 0;) {
      ssize_t count = write(client, bytes, left < sizeof bytes ? left : sizeof bytes);
      if (count <= 0) break;
      left -= count;
    }
    read(client, bytes, 1);
  }
  _exit(0);
}

static double passed(struct timeval from, struct timeval to) {
  return to.tv_sec - from.tv_sec + (to.tv_usec - from.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
  if (argc < 4) return 64;
  is_up = !strcmp(argv[1], "up");
  int is_long = !strcmp(argv[3], "long");
  segment = is_long ? 44 * 1460 : 1460;
  total = strtoull(argv[2], NULL, 10) << 20;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  bind(listener, (struct sockaddr *)&address, length);
  listen(listener, 1);
  getsockname(listener, (struct sockaddr *)&address, &length);
  port = ntohs(address.sin_port);
  pid_t child = fork();
  if (!child) serve(listener);
  close(listener);

  SlirpConfig config = {.version = 4, .in_enabled = true, .if_mtu = is_long ? LONGEST : 1500};
  config.if_mru = config.if_mtu;
  inet_aton("10.0.2.0", &config.vnetwork), inet_aton("255.255.255.0", &config.vnetmask);
  inet_aton("10.0.2.2", &config.vhost), inet_aton("10.0.2.15", &config.vdhcp_start);
  inet_aton("10.0.2.3", &config.vnameserver);
  SlirpCb calls = {.send_packet = from_slirp, .guest_error = guest_error, .clock_get_ns = now,
                   .timer_new = timer_new, .timer_free = timer_free, .timer_mod = timer_mod,
                   .register_poll_fd = ignore_fd, .unregister_poll_fd = ignore_fd, .notify = notify};
  slirp = slirp_new(&config, &calls, NULL);
  struct rusage before;
  getrusage(RUSAGE_SELF, &before);
  sent_next = sent_first = 1000;
  transmit(2, 0);
  for (int index = HEADERS; index < HEADERS + segment; index++) frame[index] = index * 7;
  payload_sum = fold(add(frame + HEADERS, segment, 0));
  uint64_t sent = 0;
  for (;;) {
    if (established) {
      if (is_up) {
        for (int number = 0; number < BATCH && sent < total; number++) {
          if (sent_next - acknowledged + segment > window) break;
          transmit(0x18, segment);
          sent += segment;
        }
        if (sent >= total && acknowledged == sent_next) break;
      } else {
        // Each may bring the next data at once.
        while (owes) owes = 0, transmit(0x10, 0);
        if (received >= total) break;
      }
    }
    uint32_t timeout = 1000;
    fd_count = 0;
    slirp_pollfds_fill(slirp, &timeout, add_poll, NULL);
    int busy = is_up && established && sent < total && sent_next - acknowledged + segment <= window;
    int result = poll(fds, fd_count, busy ? 0 : (int)timeout);
    slirp_pollfds_poll(slirp, result < 0, get_revents, NULL);
    // libslirp tells of room by itself only when that is two of its longest segments: else the guest asks for it.
    if (is_up && established && sent < total && sent_next == acknowledged && window < segment) {
      transmit(0x18, PROBE);
      sent += PROBE;
    }
  }
  struct rusage after;
  getrusage(RUSAGE_SELF, &after);
  double system = passed(before.ru_stime, after.ru_stime);
  double seconds = passed(before.ru_utime, after.ru_utime) + system;
  printf("libslirp %s %s: %.0f MiB per processor second (%.2f s, of them %.2f s in the host; %d bytes a frame)\n",
         argv[1], argv[3], (total >> 20) / seconds, seconds, system, (int)(total / frames));
  slirp_cleanup(slirp);
  kill(child, 9);
  waitpid(child, NULL, 0);
  return 0;
}
