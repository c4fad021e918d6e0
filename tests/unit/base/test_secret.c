/* SPDX-License-Identifier: BSD-2-Clause */
/* Secrets as their users see them: values, lengths, threads, sealing where nothing can be locked, forks. */
#include "base/crypto.h"
#include "base/log.h"
#include "base/secret.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static uint8_t pattern[SECRET_MAX];

static bool holds(const struct secret *s, const void *value, size_t len)
{
    struct secret_view v;
    bool ok = secret_len(s) == len && secret_open(s, &v);

    ok = ok && v.len == len && memcmp(v.data, value, len) == 0;
    if (ok)
        secret_close(&v);
    return ok;
}

/* In a child, so that limits and forks do not touch the other tests: its result is that of `f`. */
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

static int every_length(void)
{
    static struct secret *all[SECRET_MAX + 1];
    struct secret_stats stats;

    for (size_t len = 0; len <= SECRET_MAX; len++) {
        all[len] = secret_new(pattern, len);
        if (!all[len])
            return 1;
    }
    for (size_t len = 0; len <= SECRET_MAX; len++) {
        if (!holds(all[len], pattern, len))
            return 2;
    }
    secret_stats_read(&stats);
    if (stats.secrets != SECRET_MAX + 1)
        return 3;
    for (size_t len = 0; len <= SECRET_MAX; len++)
        secret_free(all[len]);
    secret_stats_read(&stats);
    if (stats.secrets != 0 || stats.sealed != 0)
        return 4;
    return secret_new(pattern, SECRET_MAX + 1) != NULL ? 5 : 0;
}

static void lengths(void **state)
{
    (void)state;
    in_child(every_length);
    secret_free(NULL);
}

static int warnings;

static void count_warning(enum log_level level, const char *line, void *context)
{
    (void)line;
    (void)context;
    warnings += level == LOG_LEVEL_WARNING;
}

/* Nothing may be locked: working memory is unlocked, bounded, with one warning; secrets are sealed. */
static int without_locks(void)
{
    struct rlimit none = {0, 0};
    struct secret_stats stats;
    void *large[8];
    int got = 0;

    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && seteuid(65534) != 0))
        return 9; /* root may lock regardless */
    secret_after_fork();
    log_divert(count_warning, NULL);
    struct secret *s = secret_new(pattern, 32), *same = secret_new(pattern, 32),
                  *other = secret_new(pattern + 1, 32);
    if (!s || !same || !other || !secret_equal(s, same) || secret_equal(s, other))
        return 1;
    secret_stats_read(&stats);
    if (stats.sealed != 3 || stats.locked_bytes != 0 || stats.unlocked_bytes == 0 || warnings != 1)
        return 2;
    secret_free(s);
    secret_free(same);
    secret_free(other);
    if (every_length() != 0)
        return 3;
    for (int i = 0; i < 8; i++) {
        large[i] = secmem_alloc((size_t)64 * 1024);
        got += large[i] != NULL;
    }
    if (got == 0 || got == 8 || warnings != 1)
        return 4;
    for (int i = 0; i < 8; i++)
        secmem_free(large[i]);
    return 0;
}

static void sealed(void **state)
{
    (void)state;
    in_child(without_locks);
}

/* Does the ciphertext of a sealed secret hold? A change of one bit is noticed. */
static int damaged(void)
{
    struct rlimit none = {0, 0};
    struct secret_view v;

    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && seteuid(65534) != 0))
        return 9;
    secret_after_fork();
    log_divert(count_warning, NULL);
    struct secret *s = secret_new(pattern, 32);
    if (!s || memmem(s, 64, pattern, 8))
        return 1;
    for (size_t i = 8; i < 64; i++) { /* nonce, tag, ciphertext */
        ((uint8_t *)s)[i] ^= 1;
        if (secret_open(s, &v) || v.data)
            return 2;
        ((uint8_t *)s)[i] ^= 1;
    }
    return holds(s, pattern, 32) ? 0 : 3;
}

static void sealed_and_damaged(void **state)
{
    (void)state;
    in_child(damaged);
}

static void equality(void **state)
{
    struct secret *a = secret_new("abc", 3), *b = secret_new("abc", 3), *c = secret_new("abd", 3),
                  *d = secret_new("ab", 2), *e = secret_new(NULL, 0), *f = secret_new("", 0);

    (void)state;
    assert_true(secret_equal(a, b));
    assert_true(secret_equal(a, a));
    assert_false(secret_equal(a, c));
    assert_false(secret_equal(a, d));
    assert_false(secret_equal(a, e));
    assert_true(secret_equal(e, f));
    struct secret *all[] = {a, b, c, d, e, f};
    for (size_t i = 0; i < 6; i++)
        secret_free(all[i]);
    struct secret_view none = {0};
    secret_close(&none);
}

/* A forked child finds no value, may give back what it holds, and works after secret_after_fork(). */
static void forks(void **state)
{
    struct secret *s = secret_new(pattern, 32);
    uint8_t *work = secmem_alloc(100);
    struct secret_view open;
    int status = 0;

    (void)state;
    assert_non_null(s);
    assert_non_null(work);
    memset(work, 0x77, 100);
    assert_true(secret_open(s, &open));
    pid_t child = fork();
    if (child == 0) {
        struct secret_view v;
        int bad = 0;
        for (size_t i = 0; i < 32; i++)
            bad |= open.data[i];
        for (size_t i = 0; i < 100; i++)
            bad |= work[i];
        bad |= secret_open(s, &v) || secret_len(s) != 0 || v.data || secret_equal(s, s);
        secret_after_fork();
        secret_free(s);
        secmem_free(work);
        struct secret *own = secret_new(pattern, 32);
        bad |= !own || !holds(own, pattern, 32);
        secret_free(own);
        _exit(bad != 0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(holds(s, pattern, 32)); /* the parent's are as they were */
    assert_int_equal(work[99], 0x77);
    secret_close(&open);
    secret_free(s);
    secmem_free(work);
}

static int drafts(void)
{
    struct secret_draft d, none = {0};
    struct secret_stats stats;

    for (size_t len = 0; len <= SECRET_MAX; len += 97) {
        if (!secret_draft_begin(&d, len) || d.len != len)
            return 1;
        for (size_t i = 0; i < len; i++) {
            if (d.data[i] != 0)
                return 2;
        }
        memcpy(d.data, pattern, len);
        struct secret *s = secret_draft_finish(&d);
        if (!s || d.data || !holds(s, pattern, len))
            return 3;
        secret_free(s);
        if (!secret_draft_begin(&d, len))
            return 4;
        memcpy(d.data, pattern, len);
        secret_draft_drop(&d);
        secret_draft_drop(&d);
    }
    secret_draft_drop(&none);
    if (secret_draft_finish(&none) || secret_draft_begin(&d, SECRET_MAX + 1) || d.data)
        return 5;
    secret_stats_read(&stats);
    return stats.secrets == 0 ? 0 : 6;
}

static int drafts_sealed(void)
{
    struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && seteuid(65534) != 0))
        return 9;
    secret_after_fork();
    log_divert(count_warning, NULL);
    return drafts();
}

static void computed_in_place(void **state)
{
    (void)state;
    in_child(drafts);
    in_child(drafts_sealed);
}

enum { THREADS = 8, HELD = 64, ROUNDS = 4000 };

static struct secret *shared[HELD];

static void *churn(void *arg)
{
    struct secret *own[HELD] = {NULL};
    unsigned seed = *(unsigned *)arg;
    bool ok = true;

    for (int n = 0; n < ROUNDS && ok; n++) {
        size_t i = (size_t)rand_r(&seed) % HELD;
        size_t len = (size_t)rand_r(&seed) % 200 + 1;
        ok = holds(shared[i], pattern, i + 1);
        secret_free(own[i]);
        own[i] = secret_new(pattern + len, len);
        ok = ok && own[i] && holds(own[i], pattern + len, len);
        void *p = secmem_alloc(len);
        ok = ok && p;
        if (p)
            memset(p, (int)len, len);
        secmem_free(p);
    }
    for (size_t i = 0; i < HELD; i++)
        secret_free(own[i]);
    *(unsigned *)arg = ok;
    return NULL;
}

static void threads(void **state)
{
    pthread_t ids[THREADS];
    unsigned args[THREADS];
    struct secret_stats before, after;

    (void)state;
    secret_stats_read(&before);
    for (size_t i = 0; i < HELD; i++)
        shared[i] = secret_new(pattern, i + 1);
    for (unsigned i = 0; i < THREADS; i++) {
        args[i] = i + 1;
        assert_int_equal(pthread_create(&ids[i], NULL, churn, &args[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(ids[i], NULL), 0);
        assert_int_equal(args[i], true);
    }
    for (size_t i = 0; i < HELD; i++)
        secret_free(shared[i]);
    secret_stats_read(&after);
    assert_int_equal(after.secrets, before.secrets);
    assert_int_equal(after.working_bytes, before.working_bytes);
}

/* Memory is zeroed, aligned, writable to its end, and goes back. */
static void working_memory(void **state)
{
    static const size_t sizes[] = {1, 15, 16, 17, 33, 100, 1000, 4096, 4097, 5000, 16 * 1024, 64 * 1024};
    struct secret_stats before, after;

    (void)state;
    secret_stats_read(&before);
    assert_null(secmem_alloc(0));
    assert_null(secmem_alloc((size_t)64 * 1024 + 1));
    secmem_free(NULL);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            uint8_t *p = secmem_alloc(sizes[i]);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 16, 0);
            for (size_t n = 0; n < sizes[i]; n++)
                assert_int_equal(p[n], 0);
            memset(p, 0xff, sizes[i]);
            secmem_free(p);
        }
    }
    secret_stats_read(&after);
    assert_int_equal(after.working_bytes, before.working_bytes);
}

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 7 + i / 251 + 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths),
        cmocka_unit_test(sealed),
        cmocka_unit_test(sealed_and_damaged),
        cmocka_unit_test(equality),
        cmocka_unit_test(forks),
        cmocka_unit_test(threads),
        cmocka_unit_test(working_memory),
        cmocka_unit_test(computed_in_place),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
