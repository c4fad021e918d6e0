/* SPDX-License-Identifier: BSD-2-Clause */
/* To be preloaded: fails one allocation of a process, once.
 *
 *   FAIL_OBJECT=NAME   of those that code of this object (the end of its file's name) asks for,
 *   FAIL_AT=N          the one after the first N
 *
 * When it does, and only then, the line "FAULT" goes to standard output at once, so that what a program
 * prints tells what came before and after. */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static const char *object;
static atomic_long left = -1;

__attribute__((constructor)) static void prepare(void)
{
    const char *at = getenv("FAIL_AT");

    object = getenv("FAIL_OBJECT");
    if (object != NULL && at != NULL)
        atomic_store(&left, strtol(at, NULL, 10));
}

static bool fails(const void *caller)
{
    Dl_info info;
    size_t len = 0, wanted = 0;

    if (atomic_load(&left) < 0 || dladdr(caller, &info) == 0 || info.dli_fname == NULL)
        return false;
    len = strlen(info.dli_fname);
    wanted = strlen(object);
    if (len < wanted || strcmp(info.dli_fname + len - wanted, object) != 0 || atomic_fetch_sub(&left, 1) != 0)
        return false;
    if (write(STDOUT_FILENO, "FAULT\n", 6) != 6)
        _exit(99);
    errno = ENOMEM;
    return true;
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(p, size);
}

__attribute__((visibility("default"))) void *reallocarray(void *p, size_t n, size_t size)
{
    size_t total = 0;

    if (__builtin_mul_overflow(n, size, &total) || fails(__builtin_return_address(0)))
        return NULL;
    return __libc_realloc(p, total);
}

__attribute__((visibility("default"))) void *aligned_alloc(size_t alignment, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}

__attribute__((visibility("default"))) char *strndup(const char *s, size_t max)
{
    size_t len = strnlen(s, max);
    char *copy = fails(__builtin_return_address(0)) ? NULL : __libc_malloc(len + 1);

    if (copy != NULL) {
        memcpy(copy, s, len);
        copy[len] = '\0';
    }
    return copy;
}

__attribute__((visibility("default"))) char *strdup(const char *s)
{
    size_t len = strlen(s);
    char *copy = fails(__builtin_return_address(0)) ? NULL : __libc_malloc(len + 1);

    return copy != NULL ? memcpy(copy, s, len + 1) : NULL;
}
