#define _GNU_SOURCE
#include "CHostOS.h"
#include <sys/socket.h>

int roost_accept(int socket) { return accept4(socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC); }
