/* SPDX-License-Identifier: BSD-2-Clause */
#include "caller.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
    int listener; /* where he waits; -1: he does not */
    int fd;       /* the server's end; -1: none */
    bool gone;
    const uint8_t *data;
    size_t len, taken;
    size_t answer_len;
} caller = {.listener = -1, .fd = -1};
static char answer[1 << 16];

void caller_connect(int listener, const uint8_t *data, size_t len)
{
    caller.listener = listener;
    caller.fd = -1;
    caller.gone = false;
    caller.data = data;
    caller.len = len;
    caller.taken = 0;
    caller.answer_len = 0;
}

const char *caller_answer(size_t *len)
{
    *len = caller.answer_len;
    return answer;
}

size_t caller_progress(void)
{
    return caller.taken + caller.answer_len;
}

void caller_hang_up(void)
{
    caller.listener = -1;
    caller.gone = true;
}

bool caller_is_closed(void)
{
    return caller.fd < 0 || fcntl(caller.fd, F_GETFD) < 0;
}

/* ---- in front of the C library's; by assembler's names, since it declares some with types that ISO C does
 * not have ---- */

#define FOR_LIBEVENT(name) __attribute__((visibility("default"))) name##_here
int FOR_LIBEVENT(accept4)(int fd, struct sockaddr *from, socklen_t *len, int flags) __asm__("accept4");
int FOR_LIBEVENT(poll)(struct pollfd *fds, nfds_t n, int timeout) __asm__("poll");
ssize_t FOR_LIBEVENT(readv)(int fd, const struct iovec *parts, int n) __asm__("readv");
ssize_t FOR_LIBEVENT(writev)(int fd, const struct iovec *parts, int n) __asm__("writev");
int FOR_LIBEVENT(ioctl)(int fd, unsigned long what, ...) __asm__("ioctl");
int FOR_LIBEVENT(shutdown)(int fd, int how) __asm__("shutdown");

int accept4_here(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    if (fd != caller.listener)
        return (int)syscall(SYS_accept4, fd, from, len, flags);
    caller.listener = -1;
    caller.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* any will do */
    from->sa_family = AF_UNIX;
    *len = sizeof from->sa_family;
    return caller.fd;
}

/* The server's end can be read and written at any time: there is data, or its end. */
static short ready(const struct pollfd *p)
{
    if (p->fd == caller.listener)
        return p->events & POLLIN;
    if (caller.fd >= 0 && p->fd == caller.fd)
        return (short)((p->events & (POLLIN | POLLOUT)) | (caller.gone ? POLLHUP : 0));
    return 0;
}

int poll_here(struct pollfd *fds, nfds_t n, int timeout)
{
    int found = 0;

    for (nfds_t i = 0; i < n; i++) {
        fds[i].revents = ready(&fds[i]);
        found += fds[i].revents != 0;
    }
    return found > 0 ? found : (int)syscall(SYS_poll, fds, n, timeout);
}

ssize_t readv_here(int fd, const struct iovec *parts, int n)
{
    size_t len = 0;

    if (caller.fd < 0 || fd != caller.fd)
        return syscall(SYS_readv, fd, parts, n);
    for (int i = 0; i < n; i++) {
        const size_t left = caller.len - caller.taken;
        const size_t part = left < parts[i].iov_len ? left : parts[i].iov_len;
        if (part > 0)
            memcpy(parts[i].iov_base, caller.data + caller.taken, part);
        caller.taken += part;
        len += part;
    }
    return (ssize_t)len;
}

ssize_t writev_here(int fd, const struct iovec *parts, int n)
{
    size_t len = 0;

    if (caller.fd < 0 || fd != caller.fd)
        return syscall(SYS_writev, fd, parts, n);
    if (caller.gone || caller.answer_len == sizeof answer) {
        errno = EPIPE;
        return -1;
    }
    for (int i = 0; i < n; i++) {
        const size_t room = sizeof answer - caller.answer_len;
        const size_t part = room < parts[i].iov_len ? room : parts[i].iov_len;
        if (part > 0)
            memcpy(answer + caller.answer_len, parts[i].iov_base, part);
        caller.answer_len += part;
        len += part;
    }
    return (ssize_t)len;
}

int ioctl_here(int fd, unsigned long what, ...)
{
    va_list args;

    va_start(args, what);
    void *value = va_arg(args, void *);
    va_end(args);
    if (caller.fd < 0 || fd != caller.fd || what != FIONREAD)
        return (int)syscall(SYS_ioctl, fd, what, value);
    *(int *)value = (int)(caller.len - caller.taken);
    return 0;
}

int shutdown_here(int fd, int how)
{
    return caller.fd >= 0 && fd == caller.fd ? 0 : (int)syscall(SYS_shutdown, fd, how);
}
