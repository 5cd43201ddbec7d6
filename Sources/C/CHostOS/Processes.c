#define _GNU_SOURCE
#include "CHostOS.h"
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

int roost_pipe(int handles[2]) { return pipe2(handles, O_CLOEXEC); }

int roost_processor_count(void) {
  cpu_set_t processors;
  int count = sched_getaffinity(0, sizeof processors, &processors) == 0 ? CPU_COUNT(&processors) : 1;
  return count > 0 ? count : 1;
}
