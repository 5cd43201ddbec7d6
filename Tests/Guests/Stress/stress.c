// A Linux program that does for as long as it is told what is hard for a processor that keeps translated code and
// translations of addresses: processes, threads, signals, code that is written while it runs, mappings that come and go;
// and litmus tests of the order in which processors see each other's writes. Every result is verified.
//
// Usage: stress SECONDS; as the first process, init=/init or rdinit=/init with `-- SECONDS` on the kernel's command line. Prints a line for each kind of work and "STRESS ok", or what was wrong.

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static time_t deadline;
static atomic_int failed;

static int is_over(void) { return time(NULL) >= deadline || failed; }

static void check(int holds, const char *what) {
  if (holds) return;
  failed = 1;
  printf("STRESS wrong: %s\n", what);
  fflush(stdout);
}

static uint64_t next(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

// MARK: - Processes: each computes on memory that it shares with its parent until it writes

static uint64_t digest(const uint8_t *bytes, size_t count) {
  uint64_t hash = 1469598103934665603u;
  for (size_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
  return hash;
}

static long processes(void) {
  enum { SIZE = 1 << 16 };
  static uint8_t memory[SIZE];
  long rounds = 0;
  uint64_t seed = 88172645463325252u;
  while (!is_over()) {
    for (int i = 0; i < SIZE; i++) memory[i] = next(&seed);
    uint64_t expected = digest(memory, SIZE);
    pid_t children[4];
    for (int c = 0; c < 4; c++) {
      children[c] = fork();
      if (children[c] == 0) {
        int isSame = digest(memory, SIZE) == expected;
        memset(memory, c, SIZE);
        _exit(isSame && digest(memory, SIZE) != expected ? 40 + c : 1);
      }
    }
    for (int c = 0; c < 4; c++) {
      int status;
      waitpid(children[c], &status, 0);
      check(WIFEXITED(status) && WEXITSTATUS(status) == 40 + c, "a child's view of memory");
    }
    check(digest(memory, SIZE) == expected, "memory that children wrote to");
    rounds++;
  }
  return rounds;
}

// MARK: - Threads: a counter under a lock, and one without

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long guarded;
static atomic_long unguarded;

static void *count(void *unused) {
  (void)unused;
  for (int i = 0; i < 20000; i++) {
    pthread_mutex_lock(&lock);
    guarded++;
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&unguarded, 3);
  }
  return NULL;
}

static long threads(void) {
  long rounds = 0;
  while (!is_over()) {
    guarded = 0;
    unguarded = 0;
    pthread_t all[4];
    for (int t = 0; t < 4; t++) pthread_create(&all[t], NULL, count, NULL);
    for (int t = 0; t < 4; t++) pthread_join(all[t], NULL);
    check(guarded == 80000, "a counter under a lock");
    check(unguarded == 240000, "an atomic counter");
    rounds++;
  }
  return rounds;
}

// MARK: - Signals: a computation that is interrupted all the time, and faults that are mended

static volatile long alarms;
static uint8_t *guarded_page;

static void on_alarm(int number) {
  (void)number;
  volatile double x = 3;
  for (int i = 0; i < 10; i++) x = x * 1.5 - 1;
  alarms++;
}

static void on_fault(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  if ((uint8_t *)info->si_addr < guarded_page || (uint8_t *)info->si_addr >= guarded_page + 4096) _exit(3);
  mprotect(guarded_page, 4096, PROT_READ | PROT_WRITE);
}

__attribute__((noinline)) static double series(int n) {
  double sum = 0;
  for (int i = 1; i <= n; i++) sum += 1.0 / ((double)i * i);
  return sum;
}

static long signals(void) {
  struct sigaction action = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &action, NULL);
  struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &fault, NULL);
  guarded_page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const double expected = series(200000);
  struct timespec interval = {0, 300000};
  timer_t timer;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  struct itimerspec period = {interval, interval};
  timer_settime(timer, 0, &period, NULL);
  long rounds = 0;
  while (!is_over()) {
    check(series(200000) == expected, "a sum that signals interrupted");
    mprotect(guarded_page, 4096, PROT_READ);
    guarded_page[rounds & 4095] = (uint8_t)rounds;
    check(guarded_page[rounds & 4095] == (uint8_t)rounds, "a write that faulted first");
    rounds++;
  }
  timer_delete(timer);
  check(alarms > 0, "no signal came");
  return rounds;
}

// MARK: - Code that is written while it runs: on the same page, and through another mapping

static long self_modifying(void) {
  int file = memfd_create("code", 0);
  if (ftruncate(file, 8192)) return -1;
  uint8_t *writable = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  uint8_t *executable = mmap(NULL, 8192, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
  uint8_t *both = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  // mov eax, imm32; then edi times: add eax, imm32; ret
  static const uint8_t code[] = {0xb8, 0, 0, 0, 0, 0x05, 0, 0, 0, 0, 0xff, 0xcf, 0x75, 0xf7, 0xc3};
  uint64_t seed = 7;
  long rounds = 0;
  while (!is_over()) {
    uint32_t a = next(&seed), b = next(&seed), times = 1 + next(&seed) % 200;
    int place = next(&seed) % 4000;
    for (int i = 0; i < 2; i++) {
      uint8_t *to = (i ? both + place % 2000 : writable + place + 1000);
      uint8_t *from = (i ? both + place % 2000 : executable + place + 1000);
      memcpy(to, code, sizeof code);
      memcpy(to + 1, &a, 4);
      memcpy(to + 6, &b, 4);
      uint32_t got = ((uint32_t (*)(uint32_t))from)(times);
      check(got == a + b * times, "code that was just written");
      // Only a constant changes.
      memcpy(to + 6, &a, 4);
      got = ((uint32_t (*)(uint32_t))from)(times);
      check(got == a + a * times, "code of which a constant was changed");
    }
    rounds++;
  }
  return rounds;
}

// MARK: - Mappings that come and go

static long mappings(void) {
  uint64_t seed = 99;
  long rounds = 0;
  while (!is_over()) {
    size_t pages = 1 + next(&seed) % 64;
    uint64_t *memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t p = 0; p < pages; p++) {
      check(memory[p * 512 + 5] == 0, "a new page");
      memory[p * 512 + 5] = p * 0x9e3779b97f4a7c15u ^ rounds;
    }
    size_t middle = pages / 2;
    mprotect(memory + middle * 512, 4096, PROT_READ);
    uint64_t *moved = mremap(memory, pages * 4096, (pages + 3) * 4096, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED) {
      mprotect(memory + middle * 512, 4096, PROT_READ | PROT_WRITE);
      moved = memory;
    }
    for (size_t p = 0; p < pages; p++)
      check(moved[p * 512 + 5] == (p * 0x9e3779b97f4a7c15u ^ rounds), "a page that was moved");
    madvise(moved, 4096, MADV_DONTNEED);
    check(moved[5] == 0, "a page that was given back");
    munmap(moved, (moved == memory ? pages : pages + 3) * 4096);
    rounds++;
  }
  return rounds;
}

// MARK: - Litmus tests: SDM Vol. 3A §8.2.3 "Examples Illustrating the Memory-Ordering Principles"

static atomic_long turn, done;
static volatile long x __attribute__((aligned(128))), y __attribute__((aligned(128)));
static volatile long seen[2];
static int litmus_kind;
static atomic_int litmus_over;

static void side(int who) {
  switch (litmus_kind) {
    case 0:  // stores are not reordered with stores, nor loads with loads
      if (who == 0) {
        x = 1;
        __asm__ volatile("" ::: "memory");
        y = 1;
      } else {
        seen[0] = y;
        __asm__ volatile("" ::: "memory");
        seen[1] = x;
      }
      break;
    case 1:  // stores are not reordered with earlier loads
      if (who == 0) {
        seen[0] = x;
        __asm__ volatile("" ::: "memory");
        y = 1;
      } else {
        seen[1] = y;
        __asm__ volatile("" ::: "memory");
        x = 1;
      }
      break;
    default:  // with MFENCE between, a load is not reordered with an earlier store
      if (who == 0) {
        x = 1;
        __asm__ volatile("mfence" ::: "memory");
        seen[0] = y;
      } else {
        y = 1;
        __asm__ volatile("lock; addl $0, -64(%%rsp)" ::: "memory");
        seen[1] = x;
      }
  }
}

static void *other_side(void *unused) {
  (void)unused;
  for (long round = 1;; round++) {
    while (turn < round) {
      if (litmus_over) return NULL;
    }
    side(1);
    done = round;
  }
}

static long litmus(void) {
  pthread_t other;
  pthread_create(&other, NULL, other_side, NULL);
  long rounds = 0;
  while (!is_over()) {
    litmus_kind = rounds % 3;
    x = y = 0;
    seen[0] = seen[1] = 0;
    turn = ++rounds;
    side(0);
    while (done < rounds) {
      if (time(NULL) > deadline + 60) break;
    }
    if (litmus_kind == 0) check(!(seen[0] == 1 && seen[1] == 0), "message passing");
    if (litmus_kind == 1) check(!(seen[0] == 1 && seen[1] == 1), "load buffering");
    if (litmus_kind == 2) check(seen[0] == 1 || seen[1] == 1, "store buffering with fences");
  }
  litmus_over = 1;
  pthread_join(other, NULL);
  return rounds;
}

/// As the first process of a guest: does the work in another, and switches the guest off.
static void serve_as_init(void) {
  pid_t worker = fork();
  if (worker == 0) return;
  while (wait(NULL) != worker) {
  }
  sync();
  reboot(RB_POWER_OFF);
}

int main(int count, char **arguments) {
  if (getpid() == 1) serve_as_init();
  static const struct {
    const char *name;
    long (*run)(void);
  } kinds[] = {
      {"processes", processes}, {"threads", threads},     {"signals", signals},
      {"code", self_modifying}, {"mappings", mappings}, {"litmus", litmus},
  };
  enum { KINDS = sizeof kinds / sizeof *kinds };
  deadline = time(NULL) + (count > 1 ? atoi(arguments[1]) : 10);
  pid_t workers[KINDS];
  for (int k = 0; k < KINDS; k++) {
    workers[k] = fork();
    if (workers[k] == 0) {
      long rounds = kinds[k].run();
      printf("STRESS %s: %ld rounds\n", kinds[k].name, rounds);
      fflush(stdout);
      _exit(rounds > 0 && !failed ? 0 : 1);
    }
  }
  int isRight = 1;
  for (int k = 0; k < KINDS; k++) {
    int status;
    waitpid(workers[k], &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      printf("STRESS wrong: %s ended with %#x\n", kinds[k].name, status);
      isRight = 0;
    }
  }
  printf("%s\n", isRight ? "STRESS ok" : "STRESS failed");
  return !isRight;
}
