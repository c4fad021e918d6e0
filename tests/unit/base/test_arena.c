/* SPDX-License-Identifier: BSD-2-Clause */
/* The pages under the secrets, as the kernel sees them: locked, guarded, not dumped, wiped on fork and on
 * free. */
#include "base/log.h"
#include "base/secret.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* gcc's sanitizers make mlock() do nothing. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { CAN_LOCK = 0 };
#else
enum { CAN_LOCK = 1 };
#endif

/* The mapping around an address. */
struct mapping {
    uintptr_t from, to;
    char access[8];
    char flags[256];
    unsigned long locked_kb;
};

static bool mapping_of(const void *p, struct mapping *m)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;

    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        struct mapping at = {0};
        if (sscanf(line, "%lx-%lx %7s", &at.from, &at.to, at.access) == 3) { /* NOLINT(cert-err34-c) */
            if (inside)
                break;
            inside = at.from <= (uintptr_t)p && (uintptr_t)p < at.to;
            if (inside)
                *m = at;
        }
        if (inside && strncmp(line, "VmFlags:", 8) == 0)
            (void)snprintf(m->flags, sizeof m->flags, "%.250s", line + 8);
        if (inside && strncmp(line, "Locked:", 7) == 0)
            m->locked_kb = strtoul(line + 7, NULL, 10);
    }
    (void)fclose(f);
    return inside;
}

static void check_guarded(const void *p)
{
    struct mapping m = {0}, guard = {0};

    assert_true(mapping_of(p, &m));
    assert_string_equal(m.access, "rw-p");
    assert_non_null(strstr(m.flags, " dd")); /* MADV_DONTDUMP */
    assert_non_null(strstr(m.flags, " wf")); /* MADV_WIPEONFORK */
    assert_int_equal(strstr(m.flags, " lo") != NULL, CAN_LOCK);
    assert_int_equal(m.locked_kb != 0, CAN_LOCK);
    /* NOLINTBEGIN(performance-no-int-to-ptr) */
    assert_true(mapping_of((const void *)(m.from - 1), &guard));
    assert_string_equal(guard.access, "---p");
    assert_true(mapping_of((const void *)m.to, &guard));
    assert_string_equal(guard.access, "---p");
    /* NOLINTEND(performance-no-int-to-ptr) */
}

static void kernel_view(void **state)
{
    static uint8_t value[SECRET_MAX];
    static const size_t sizes[] = {1, 32, 64, 1000, SECRET_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct secret_view v = {0};
        struct secret *s = secret_new(value, sizes[i]);
        assert_true(s && secret_open(s, &v));
        check_guarded(v.data);
        check_guarded(v.data + sizes[i] - 1);
        secret_close(&v);
        secret_free(s);
        void *p = secmem_alloc(sizes[i] * 16);
        assert_non_null(p);
        check_guarded(p);
        secmem_free(p);
    }
}

/* Bytes of our own memory, by way of the kernel: also where ASan forbids to look. */
static void peek(const void *p, uint8_t *out, size_t len)
{
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, out, len, (off_t)(uintptr_t)p), (ssize_t)len);
    (void)close(fd);
}

static void wiped_when_freed(void **state)
{
    uint8_t value[64], seen[64], zeros[64] = {0};
    struct secret *neighbour = secret_new(zeros, sizeof zeros); /* keeps the slab */
    void *near = secmem_alloc(64), *work = secmem_alloc(64);
    struct secret_view v;

    (void)state;
    memset(value, 0xa5, sizeof value);
    struct secret *s = secret_new(value, sizeof value);
    assert_true(s && neighbour && near && work);
    assert_true(secret_open(s, &v));
    peek(v.data, seen, sizeof seen);
    assert_memory_equal(seen, value, sizeof seen);
    const void *where = v.data;
    secret_close(&v);
    secret_free(s);
    peek(where, seen, sizeof seen);
    assert_memory_equal(seen, zeros, sizeof seen);
    memcpy(work, value, sizeof value);
    secmem_free(work);
    peek(work, seen, sizeof seen);
    assert_memory_equal(seen, zeros, sizeof seen);
    secret_free(neighbour);
    secmem_free(near);
}

/* A child that reads past either end of the slab that `p` is in ends by SIGSEGV. */
static void check_fault(const void *p, bool before)
{
    struct mapping m = {0};
    int status = 0;

    assert_true(mapping_of(p, &m));
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGSEGV, SIG_DFL); /* not the sanitizers' report */
        volatile const uint8_t *at =
            (const uint8_t *)(before ? m.from - 1 : m.to); /* NOLINT(performance-no-int-to-ptr) */
        _exit(*at);                                        /* NOLINT(clang-analyzer-core.NullDereference) */
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void guard_pages(void **state)
{
    void *p = secmem_alloc(100), *large = secmem_alloc(20000);

    (void)state;
    assert_true(p && large);
    check_fault(p, true);
    check_fault(p, false);
    check_fault(large, true);
    check_fault(large, false);
    secmem_free(p);
    secmem_free(large);
}

/* More than the limit holds: the rest is sealed, the limit is respected, all of it comes back, and the pages
 * are given up. */
static int beyond_the_limit(void)
{
    enum { N = 20000 };
    static struct secret *all[N];
    const struct rlimit limit = {256 * 1024, 256 * 1024};
    struct secret_stats full, empty;
    struct secret_view v;

    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        return 9;
    secret_after_fork();
    for (uint32_t i = 0; i < N; i++) {
        uint8_t value[32] = {0};
        memcpy(value, &i, sizeof i);
        all[i] = secret_new(value, sizeof value);
        if (!all[i])
            return 1;
    }
    secret_stats_read(&full);
    if (full.secrets != N || full.sealed == 0 || full.sealed == N || full.locked_bytes > 128 * 1024)
        return 2;
    for (uint32_t i = 0; i < N; i++) {
        if (!secret_open(all[i], &v) || v.len != 32 || memcmp(v.data, &i, sizeof i) != 0)
            return 3;
        secret_close(&v);
    }
    for (uint32_t i = 0; i < N; i++)
        secret_free(all[(i * 7919) % N]); /* in another order; 7919 and N have no common divisor */
    secret_stats_read(&empty);
    if (empty.secrets != 0 || empty.sealed != 0 || empty.locked_bytes > full.locked_bytes / 2)
        return 4;
    return 0;
}

/* Where nothing can be locked, all are sealed: of the shortest, a slab could hold more than it can count. */
static int sealed_and_short(void)
{
    enum { N = 5000 };
    static struct secret *all[N];
    const struct rlimit limit = {0, 0};
    struct secret_stats stats;
    struct secret_view v;

    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        return 9;
    secret_after_fork();
    for (size_t len = 0; len <= 16; len += 4) {
        for (uint32_t i = 0; i < N; i++) {
            const uint8_t value[16] = {(uint8_t)i, (uint8_t)(i >> 8), 1, 2, 3};
            all[i] = secret_new(value, len);
            if (!all[i])
                return 1;
        }
        secret_stats_read(&stats);
        if (stats.secrets != N || stats.sealed != N)
            return 2;
        for (uint32_t i = 0; i < N; i++) {
            const uint8_t value[16] = {(uint8_t)i, (uint8_t)(i >> 8), 1, 2, 3};
            if (!secret_open(all[i], &v) || v.len != len || memcmp(v.data, value, len) != 0)
                return 3;
            secret_close(&v);
        }
        for (uint32_t i = 0; i < N; i++)
            secret_free(all[(i * 7919) % N]);
        secret_stats_read(&stats);
        if (stats.secrets != 0)
            return 4;
    }
    return 0;
}

/* Freed twice: said in the log, and nothing else happens. */
static int errors_logged;

static void count_error(enum log_level level, const char *line, void *context)
{
    (void)line;
    (void)context;
    errors_logged += level == LOG_LEVEL_ERROR;
}

static int freed_twice(void)
{
    void *keep = secmem_alloc(32), *p = secmem_alloc(32);

    log_divert(count_error, NULL);
    secmem_free(p);
    secmem_free(p);
    void *a = secmem_alloc(32), *b = secmem_alloc(32);
    return errors_logged == 1 && keep && a && b && a != b ? 0 : 1;
}

static void in_child(int (*f)(void))
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        secret_after_fork();
        _exit(f());
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void limits(void **state)
{
    (void)state;
    in_child(beyond_the_limit);
    in_child(sealed_and_short);
    in_child(freed_twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kernel_view), cmocka_unit_test(wiped_when_freed),
                                       cmocka_unit_test(guard_pages), cmocka_unit_test(limits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
