/* SPDX-License-Identifier: BSD-2-Clause */
/* What the libraries of this folder share, which are preloaded to make one call of a process fail:
 *
 *   FAIL_OBJECT=NAME,...  of those that code of these objects (the ends of their files' names) makes,
 *   FAIL_AT=N             the one after the first N; of calls of the other library's kind: FAIL_IO_AT
 *
 * When it does, and only then, the line "FAULT" with the call's name goes to standard output at once, so that
 * what a program prints tells what came before and after. */
#ifndef TORTURE_FAIL_H
#define TORTURE_FAIL_H

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

struct fail_point {
    const char *objects;
    atomic_long left;  /* calls until the one that fails; < 0: none will */
    atomic_ulong seen; /* calls of these objects */
};

static inline void fail_prepare(struct fail_point *p, const char *at_name)
{
    const char *at = getenv(at_name);

    p->objects = getenv("FAIL_OBJECT");
    atomic_store(&p->left, at != NULL ? strtol(at, NULL, 10) : -1);
}

/* Around stdio, which may be what fails; and around our own write(). */
static inline void fail_say(const char *what, const char *name)
{
    char line[64];
    int len = snprintf(line, sizeof line, "%s %s\n", what, name);

    if (syscall(SYS_write, STDOUT_FILENO, line, (size_t)len) != len)
        _exit(99);
}

static inline void fail_say_number(const char *what, unsigned long n)
{
    char text[24];

    snprintf(text, sizeof text, "%lu", n);
    fail_say(what, text);
}

/* Is the caller in one of the objects? The program itself has no name in the list of objects: it is "". */
static inline bool fail_counts(const struct fail_point *p, const void *caller)
{
    struct dl_find_object object;

    if (p->objects == NULL || _dl_find_object((void *)(uintptr_t)caller, &object) != 0)
        return false;
    const char *file = object.dlfo_link_map->l_name;
    if (*file == '\0')
        file = program_invocation_name;
    size_t len = strlen(file);
    for (const char *name = p->objects; *name != '\0';) {
        size_t n = strcspn(name, ",");
        if (n > 0 && n <= len && memcmp(file + len - n, name, n) == 0)
            return true;
        name += n + (name[n] == ',');
    }
    return false;
}

/* A function as the caller's object sees it, without us: for libraries that were loaded late and for one
 * only. */
static inline void *fail_symbol(const void *caller, const char *name)
{
    struct dl_find_object object;
    Dl_info ours, found;
    void *self = NULL;

    if (_dl_find_object((void *)(uintptr_t)caller, &object) != 0 ||
        dladdr((void *)(uintptr_t)&fail_symbol, &ours) == 0)
        return NULL;
    struct link_map *map = object.dlfo_link_map;
    while (map->l_prev != NULL)
        map = map->l_prev;
    for (; map != NULL; map = map->l_next) {
        void *handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
        self = handle != NULL ? dlsym(handle, name) : NULL;
        if (handle != NULL)
            dlclose(handle);
        if (self != NULL && dladdr(self, &found) != 0 && found.dli_fbase != ours.dli_fbase)
            return self;
    }
    return NULL;
}

/* Must this call fail? */
static inline bool fail_now(struct fail_point *p, const void *caller, const char *call)
{
    if (!fail_counts(p, caller))
        return false;
    atomic_fetch_add(&p->seen, 1);
    if (atomic_load(&p->left) < 0 || atomic_fetch_sub(&p->left, 1) != 0)
        return false;
    fail_say("FAULT", call);
    return true;
}

/* Calls what is counted when the program has returned from main(): what runs then (such as gcc's own code,
 * which writes the counters of a build that measures coverage) is not the program any more. */
static void fail_end(void);

typedef int fail_main_function(int argc, char **argv, char **environment);
static fail_main_function *fail_program;

static inline int fail_main(int argc, char **argv, char **environment)
{
    int status = fail_program(argc, argv, environment);

    fail_end();
    return status;
}

int __libc_start_main(fail_main_function *program, int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end);
EXPORT int __libc_start_main(fail_main_function *program, int argc, char **argv, void (*init)(void),
                             void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
    __typeof__(&__libc_start_main) real;

    *(void **)&real = dlsym(RTLD_NEXT, "__libc_start_main");
    fail_program = program;
    return real(fail_main, argc, argv, init, fini, rtld_fini, stack_end);
}

#endif
