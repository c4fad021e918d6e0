/* SPDX-License-Identifier: BSD-2-Clause */
/* To be preloaded: fails one call that asks the kernel for something (files, sockets, memory, threads), once,
 * with the error that is likeliest in life (see fail.h).
 *
 *   FAIL_HOW=short   instead, calls that carry bytes carry only one
 *   FAIL_HOW=signal  instead, calls that may be interrupted by a signal are (EINTR)
 *   FAIL_ONWARD=1    this call and all of its name that follow: a disk that stays full, a network that is
 * gone FAIL_REPORT=1    the process prints at its end how many calls there were ("CALLS N")
 *
 * Which call it was is told by the line "FAULT NAME". */
#include "fail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum how { FAIL_HARD, FAIL_SHORT, FAIL_SIGNAL };

static struct fail_point point;
static enum how how;
static const char *_Atomic onward; /* "" until the first one */
static bool reports;

__attribute__((constructor)) static void prepare(void)
{
    const char *word = getenv("FAIL_HOW");

    fail_prepare(&point, "FAIL_IO_AT");
    if (word != NULL && strcmp(word, "short") == 0)
        how = FAIL_SHORT;
    else if (word != NULL && strcmp(word, "signal") == 0)
        how = FAIL_SIGNAL;
    else if (word != NULL && strcmp(word, "onward") == 0)
        onward = "";
    reports = getenv("FAIL_REPORT") != NULL;
}

static void fail_end(void)
{
    if (reports)
        fail_say_number("CALLS", atomic_load(&point.seen));
    point.objects = NULL;
}

static bool hits(const void *caller, const char *call)
{
    const char *lasting = atomic_load(&onward);

    if (lasting != NULL && strcmp(lasting, call) == 0 && fail_counts(&point, caller))
        return true;
    if (!fail_now(&point, caller, call))
        return false;
    if (lasting != NULL)
        atomic_store(&onward, call);
    return true;
}

/* Must this call, of those that can only fail, fail? */
static bool fails(const void *caller, const char *call, int error)
{
    if (how != FAIL_HARD || !hits(caller, call))
        return false;
    errno = error;
    return true;
}

/* The same for one that a signal may interrupt. */
static bool fails_or_stops(const void *caller, const char *call, int error)
{
    if (how == FAIL_SHORT || !hits(caller, call))
        return false;
    errno = how == FAIL_SIGNAL ? EINTR : error;
    return true;
}

/* The same for one that carries `*len` bytes, which may be made one. */
static bool fails_or_carries(const void *caller, const char *call, int error, size_t *len)
{
    if (how != FAIL_SHORT)
        return fails_or_stops(caller, call, error);
    if (*len > 1 && hits(caller, call))
        *len = 1;
    return false;
}

static void *real_find(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (found == NULL)
        abort();
    return found;
}

/* The function itself, which this library stands before */
#define REAL(name)                                                                                           \
    static __typeof__(&name) real;                                                                           \
    if (real == NULL)                                                                                        \
    *(void **)&real = real_find(#name)

/* A call that can only fail, as `bad` with `error` */
#define HARD(type, name, params, args, error, bad)                                                           \
    EXPORT type name params                                                                                  \
    {                                                                                                        \
        REAL(name);                                                                                          \
        return fails(CALLER, #name, error) ? (bad) : real args;                                              \
    }

/* One that may be interrupted, too */
#define SLOW(type, name, params, args, error)                                                                \
    EXPORT type name params                                                                                  \
    {                                                                                                        \
        REAL(name);                                                                                          \
        return fails_or_stops(CALLER, #name, error) ? -1 : real args;                                        \
    }

/* One that carries `len` bytes */
#define DATA(name, params, args, error)                                                                      \
    EXPORT ssize_t name params                                                                               \
    {                                                                                                        \
        REAL(name);                                                                                          \
        return fails_or_carries(CALLER, #name, error, &len) ? -1 : real args;                                \
    }

/* Bytes. The fortified ones are what a call becomes with _FORTIFY_SOURCE. */
ssize_t __read_chk(int fd, void *buffer, size_t len, size_t room);
ssize_t __recv_chk(int fd, void *buffer, size_t len, size_t room, int flags);
ssize_t __pread64_chk(int fd, void *buffer, size_t len, off64_t at, size_t room);
int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t room);
char *__fgets_chk(char *restrict line, size_t room, int n, FILE *restrict f);
size_t __fread_chk(void *restrict p, size_t room, size_t size, size_t n, FILE *restrict f);
int __open_2(const char *path, int flags);
int __openat_2(int fd, const char *path, int flags);
char *__realpath_chk(const char *restrict path, char *restrict out, size_t room);
DATA(read, (int fd, void *buffer, size_t len), (fd, buffer, len), EIO)
DATA(__read_chk, (int fd, void *buffer, size_t len, size_t room), (fd, buffer, len, room), EIO)
DATA(write, (int fd, const void *buffer, size_t len), (fd, buffer, len), ENOSPC)
DATA(pread64, (int fd, void *buffer, size_t len, off64_t at), (fd, buffer, len, at), EIO)
DATA(__pread64_chk, (int fd, void *buffer, size_t len, off64_t at, size_t room), (fd, buffer, len, at, room),
     EIO)
DATA(pwrite64, (int fd, const void *buffer, size_t len, off64_t at), (fd, buffer, len, at), ENOSPC)
DATA(recv, (int fd, void *buffer, size_t len, int flags), (fd, buffer, len, flags), ECONNRESET)
DATA(__recv_chk, (int fd, void *buffer, size_t len, size_t room, int flags), (fd, buffer, len, room, flags),
     ECONNRESET)
DATA(send, (int fd, const void *buffer, size_t len, int flags), (fd, buffer, len, flags), EPIPE)
SLOW(ssize_t, readv, (int fd, const struct iovec *parts, int n), (fd, parts, n), ECONNRESET)
SLOW(ssize_t, writev, (int fd, const struct iovec *parts, int n), (fd, parts, n), EPIPE)
SLOW(ssize_t, sendto,
     (int fd, const void *buffer, size_t len, int flags, __CONST_SOCKADDR_ARG to, socklen_t to_len),
     (fd, buffer, len, flags, to, to_len), ENOBUFS)
DATA(getrandom, (void *buffer, size_t len, unsigned flags), (buffer, len, flags), ENOSYS)

/* Files */
SLOW(int, fsync, (int fd), (fd), EIO)
SLOW(int, fdatasync, (int fd), (fd), EIO)
HARD(int, ftruncate64, (int fd, off64_t len), (fd, len), ENOSPC, -1)
HARD(int, rename, (const char *from, const char *to), (from, to), EIO, -1)
HARD(int, renameat, (int dir, const char *from, int to_dir, const char *to), (dir, from, to_dir, to), EIO, -1)
HARD(int, unlink, (const char *path), (path), EIO, -1)
HARD(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), EIO, -1)
HARD(int, mkdir, (const char *path, mode_t mode), (path, mode), ENOSPC, -1)
HARD(int, chmod, (const char *path, mode_t mode), (path, mode), EPERM, -1)
HARD(int, fchmod, (int fd, mode_t mode), (fd, mode), EPERM, -1)
HARD(int, access, (const char *path, int mode), (path, mode), EACCES, -1)
HARD(int, faccessat, (int dir, const char *path, int mode, int flags), (dir, path, mode, flags), EACCES, -1)
HARD(int, stat, (const char *restrict path, struct stat *restrict out), (path, out), EIO, -1)
HARD(int, lstat, (const char *restrict path, struct stat *restrict out), (path, out), EIO, -1)
HARD(int, fstat, (int fd, struct stat *out), (fd, out), EIO, -1)
HARD(int, fstatat, (int dir, const char *restrict path, struct stat *restrict out, int flags),
     (dir, path, out, flags), EIO, -1)
HARD(int, stat64, (const char *restrict path, struct stat64 *restrict out), (path, out), EIO, -1)
HARD(int, lstat64, (const char *restrict path, struct stat64 *restrict out), (path, out), EIO, -1)
HARD(int, fstat64, (int fd, struct stat64 *out), (fd, out), EIO, -1)
HARD(FILE *, fopen, (const char *restrict path, const char *restrict mode), (path, mode), EMFILE, NULL)
HARD(FILE *, fopen64, (const char *restrict path, const char *restrict mode), (path, mode), EMFILE, NULL)
HARD(FILE *, fdopen, (int fd, const char *mode), (fd, mode), ENOMEM, NULL)
HARD(int, fflush, (FILE * f), (f), ENOSPC, EOF)
HARD(char *, fgets, (char *restrict line, int n, FILE *restrict f), (line, n, f), EIO, NULL)
HARD(char *, __fgets_chk, (char *restrict line, size_t room, int n, FILE *restrict f), (line, room, n, f),
     EIO, NULL)
HARD(size_t, fread, (void *restrict p, size_t size, size_t n, FILE *restrict f), (p, size, n, f), EIO, 0)
HARD(size_t, __fread_chk, (void *restrict p, size_t room, size_t size, size_t n, FILE *restrict f),
     (p, room, size, n, f), EIO, 0)
HARD(DIR *, opendir, (const char *path), (path), EMFILE, NULL)
HARD(DIR *, fdopendir, (int fd), (fd), ENOMEM, NULL)
HARD(struct dirent *, readdir, (DIR * dir), (dir), EIO, NULL)
HARD(ssize_t, readlink, (const char *restrict path, char *restrict out, size_t room), (path, out, room), EIO,
     -1)
HARD(char *, realpath, (const char *restrict path, char *restrict out), (path, out), EACCES, NULL)
HARD(char *, __realpath_chk, (const char *restrict path, char *restrict out, size_t room), (path, out, room),
     EACCES, NULL)
HARD(int, __open_2, (const char *path, int flags), (path, flags), EMFILE, -1)
HARD(int, __openat_2, (int dir, const char *path, int flags), (dir, path, flags), EMFILE, -1)

/* Sockets, and what waits for them */
HARD(int, socket, (int family, int type, int protocol), (family, type, protocol), EMFILE, -1)
HARD(int, socketpair, (int family, int type, int protocol, int pair[2]), (family, type, protocol, pair),
     EMFILE, -1)
HARD(int, bind, (int fd, __CONST_SOCKADDR_ARG at, socklen_t len), (fd, at, len), EADDRINUSE, -1)
HARD(int, listen, (int fd, int n), (fd, n), EADDRINUSE, -1)
SLOW(int, connect, (int fd, __CONST_SOCKADDR_ARG to, socklen_t len), (fd, to, len), ENETUNREACH)
SLOW(int, accept, (int fd, __SOCKADDR_ARG from, socklen_t *restrict len), (fd, from, len), EMFILE)
SLOW(int, accept4, (int fd, __SOCKADDR_ARG from, socklen_t *restrict len, int flags), (fd, from, len, flags),
     EMFILE)
HARD(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len), ENOBUFS, -1)
HARD(int, getsockopt, (int fd, int level, int name, void *restrict value, socklen_t *restrict len),
     (fd, level, name, value, len), ENOBUFS, -1)
HARD(int, getsockname, (int fd, __SOCKADDR_ARG at, socklen_t *restrict len), (fd, at, len), ENOBUFS, -1)
HARD(int, getpeername, (int fd, __SOCKADDR_ARG at, socklen_t *restrict len), (fd, at, len), ENOTCONN, -1)
HARD(int, shutdown, (int fd, int side), (fd, side), ENOTCONN, -1)
HARD(int, getaddrinfo,
     (const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
      struct addrinfo **restrict out),
     (node, service, hints, out), EAGAIN, EAI_AGAIN)
SLOW(int, poll, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms), ENOMEM)
SLOW(int, __poll_chk, (struct pollfd * fds, nfds_t n, int ms, size_t room), (fds, n, ms, room), ENOMEM)
HARD(int, epoll_create1, (int flags), (flags), EMFILE, -1)
HARD(int, epoll_ctl, (int fd, int operation, int of, struct epoll_event *event), (fd, operation, of, event),
     ENOMEM, -1)
HARD(int, eventfd, (unsigned value, int flags), (value, flags), EMFILE, -1)
HARD(int, pipe2, (int pair[2], int flags), (pair, flags), EMFILE, -1)

/* Memory, threads, limits. (glibc's mutexes, conditions and their attributes are always made.) */
HARD(void *, mmap, (void *at, size_t len, int protection, int flags, int fd, off_t from),
     (at, len, protection, flags, fd, from), ENOMEM, MAP_FAILED)
HARD(void *, mmap64, (void *at, size_t len, int protection, int flags, int fd, off64_t from),
     (at, len, protection, flags, fd, from), ENOMEM, MAP_FAILED)
HARD(int, mprotect, (void *at, size_t len, int protection), (at, len, protection), ENOMEM, -1)
HARD(int, mlock, (const void *at, size_t len), (at, len), ENOMEM, -1)
HARD(int, madvise, (void *at, size_t len, int advice), (at, len, advice), EINVAL, -1)
HARD(int, pthread_create,
     (pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*start)(void *),
      void *restrict argument),
     (thread, attributes, start, argument), EAGAIN, EAGAIN)
HARD(int, getrlimit, (__rlimit_resource_t what, struct rlimit *out), (what, out), EINVAL, -1)
HARD(int, setrlimit, (__rlimit_resource_t what, const struct rlimit *limit), (what, limit), EPERM, -1)
HARD(void *, dlopen, (const char *path, int mode), (path, mode), ENOENT, NULL)

/* What is closed is closed, even if that fails. */
EXPORT int close(int fd)
{
    REAL(close);
    int result = real(fd);
    return fails(CALLER, "close", EIO) ? -1 : result;
}

EXPORT int fclose(FILE *f)
{
    REAL(fclose);
    int result = real(f);
    return fails(CALLER, "fclose", ENOSPC) ? EOF : result;
}

/* Those with a variable number of arguments: a third or fourth one, if there is one, is passed on as it is.
 */
#define OPEN(name, params, args)                                                                             \
    EXPORT int name params                                                                                   \
    {                                                                                                        \
        mode_t mode = 0;                                                                                     \
        va_list more;                                                                                        \
        REAL(name);                                                                                          \
        va_start(more, flags);                                                                               \
        if ((flags & (O_CREAT | __O_TMPFILE)) != 0)                                                          \
            mode = va_arg(more, mode_t);                                                                     \
        va_end(more);                                                                                        \
        return fails(CALLER, #name, EMFILE) ? -1 : real args;                                                \
    }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))

#define CONTROL(name, error)                                                                                 \
    EXPORT int name(int fd, int command, ...)                                                                \
    {                                                                                                        \
        va_list more;                                                                                        \
        REAL(name);                                                                                          \
        va_start(more, command);                                                                             \
        void *argument = va_arg(more, void *);                                                               \
        va_end(more);                                                                                        \
        return fails(CALLER, #name, error) ? -1 : real(fd, command, argument);                               \
    }
CONTROL(fcntl, ENOLCK)
CONTROL(fcntl64, ENOLCK)
