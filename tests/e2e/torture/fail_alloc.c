/* SPDX-License-Identifier: BSD-2-Clause */
/* To be preloaded: fails one allocation of a process, once (see fail.h). With FAIL_REPORT set, the process
 * prints at its end how many allocations there were ("SEEN N"), and how many of them were not freed ("HELD
 * N"). */
#include "fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *p);

#define ROOM (1u << 18)

static struct fail_point point;
static bool reports;

/* What is held: a hash table of addresses, whose places are never emptied but only used again. */
static uintptr_t held[ROOM];
static size_t held_count;
static atomic_flag held_lock = ATOMIC_FLAG_INIT;

static uintptr_t *held_place(uintptr_t address, uintptr_t wanted)
{
    static const uintptr_t gone = 1;
    size_t i = (size_t)(address >> 4) * UINT64_C(0x9e3779b97f4a7c15) % ROOM;

    while (held[i] != wanted && held[i] != 0 && (wanted != 0 || held[i] != gone))
        i = (i + 1) % ROOM;
    return &held[i];
}

static void held_change(const void *p, bool is)
{
    uintptr_t address = (uintptr_t)p, *place;

    if (!reports || p == NULL)
        return;
    while (atomic_flag_test_and_set_explicit(&held_lock, memory_order_acquire))
        ;
    place = held_place(address, is ? 0 : address);
    if (is) {
        *place = address;
        held_count++;
    } else if (*place == address) {
        *place = 1;
        held_count--;
    }
    atomic_flag_clear_explicit(&held_lock, memory_order_release);
}

__attribute__((constructor)) static void prepare(void)
{
    fail_prepare(&point, "FAIL_AT");
    reports = getenv("FAIL_REPORT") != NULL;
}

static void fail_end(void)
{
    if (reports) {
        fail_say_number("SEEN", atomic_load(&point.seen));
        fail_say_number("HELD", held_count);
    }
    point.objects = NULL;
}

static bool fails(const void *caller, const char *call)
{
    if (!fail_now(&point, caller, call))
        return false;
    errno = ENOMEM;
    return true;
}

static void *keep(void *p, const void *caller)
{
    if (reports && fail_counts(&point, caller))
        held_change(p, true);
    return p;
}

EXPORT void *malloc(size_t size)
{
    return fails(CALLER, "malloc") ? NULL : keep(__libc_malloc(size), CALLER);
}

EXPORT void *calloc(size_t n, size_t size)
{
    return fails(CALLER, "calloc") ? NULL : keep(__libc_calloc(n, size), CALLER);
}

EXPORT void free(void *p)
{
    held_change(p, false);
    __libc_free(p);
}

/* The old place is taken out first: once it is free, another thread may get it. */
static void *again(void *p, size_t size, const void *caller)
{
    held_change(p, false);
    void *moved = __libc_realloc(p, size);
    keep(moved == NULL && size > 0 ? p : moved, caller);
    return moved;
}

EXPORT void *realloc(void *p, size_t size)
{
    return fails(CALLER, "realloc") ? NULL : again(p, size, CALLER);
}

EXPORT void *reallocarray(void *p, size_t n, size_t size)
{
    size_t total = 0;

    if (__builtin_mul_overflow(n, size, &total) || fails(CALLER, "reallocarray"))
        return NULL;
    return again(p, total, CALLER);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return fails(CALLER, "aligned_alloc") ? NULL : keep(__libc_memalign(alignment, size), CALLER);
}

static char *copy(const char *s, size_t len, const void *caller)
{
    char *p = keep(__libc_malloc(len + 1), caller);

    if (p != NULL) {
        memcpy(p, s, len);
        p[len] = '\0';
    }
    return p;
}

EXPORT char *strndup(const char *s, size_t max)
{
    return fails(CALLER, "strndup") ? NULL : copy(s, strnlen(s, max), CALLER);
}

EXPORT char *strdup(const char *s)
{
    return fails(CALLER, "strdup") ? NULL : copy(s, strlen(s), CALLER);
}

static int print(char **out, const char *format, va_list arguments, const void *caller)
{
    va_list again;
    int len;

    va_copy(again, arguments);
    len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    *out = len >= 0 ? keep(__libc_malloc((size_t)len + 1), caller) : NULL;
    return *out != NULL ? vsnprintf(*out, (size_t)len + 1, format, arguments) : -1;
}

#define PRINT(before_arguments, call)                                                                        \
    va_list arguments;                                                                                       \
    int len = -1;                                                                                            \
                                                                                                             \
    if (fails(CALLER, call))                                                                                 \
        return -1;                                                                                           \
    va_start(arguments, before_arguments);                                                                   \
    len = print(out, format, arguments, CALLER);                                                             \
    va_end(arguments);                                                                                       \
    return len

EXPORT int asprintf(char **restrict out, const char *restrict format, ...)
{
    PRINT(format, "asprintf");
}

/* what asprintf() is with _FORTIFY_SOURCE */
EXPORT int __asprintf_chk(char **restrict out, int flag, const char *restrict format, ...);
EXPORT int __asprintf_chk(char **restrict out, int flag, const char *restrict format, ...)
{
    (void)flag;
    PRINT(format, "asprintf");
}
