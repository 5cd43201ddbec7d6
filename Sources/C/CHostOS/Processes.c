#define _GNU_SOURCE
#include "CHostOS.h"
#include <fcntl.h>
#include <unistd.h>

int roost_pipe(int handles[2]) { return pipe2(handles, O_CLOEXEC); }
