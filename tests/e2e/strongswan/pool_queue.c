/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The order of the plugin's worker pool: what is done, what is not any more, and who is kept waiting, with a
 * module of this program's own that hangs as long as it is told to. */
#include "charon/ppk_worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { BOUND_MS = 300, OPS = PPK_OP_DONE + 1 };

static atomic_bool hangs[OPS];
static atomic_uint runs[OPS];
static const struct ppk_module_config config;

/* ---- in the place of ppk_ops.c and ppk_module.c ---- */

void ppk_ask_run(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer)
{
    (void)session;
    atomic_fetch_add(&runs[ask->op], 1);
    while (atomic_load(&hangs[ask->op]))
        usleep(1000);
    answer->fact = PPK_YES;
    answer->key.dynamic = ask->op == PPK_OP_GENERATE;
}

void ppk_ask_clear(struct ppk_ask *ask)
{
    (void)ask;
}

void ppk_answer_clear(struct ppk_answer *answer)
{
    (void)answer;
}

void ppk_session_drop(struct ppk_session *session)
{
    (void)session;
}

struct ppk_module *ppk_module_create(const struct ppk_module_config *c)
{
    (void)c;
    return malloc(1);
}

void ppk_module_destroy(struct ppk_module *module)
{
    free(module);
}

/* ---- tests ---- */

static struct ppk_job *submit(struct ppk_pool *pool, enum ppk_op op)
{
    struct ppk_ask ask = {.op = op};
    struct ppk_job *job = ppk_job_submit(pool, &ask);

    assert_non_null(job);
    return job;
}

static void until(const atomic_uint *count, unsigned wanted)
{
    for (int i = 0; i < 5000 && atomic_load(count) < wanted; i++)
        usleep(1000);
    assert_int_equal(atomic_load(count), wanted);
}

static struct ppk_pool *start(unsigned threads)
{
    for (size_t i = 0; i < OPS; i++) {
        atomic_store(&hangs[i], false);
        atomic_store(&runs[i], 0);
    }
    struct ppk_pool *pool = ppk_pool_create(&config, threads, BOUND_MS);
    assert_non_null(pool);
    return pool;
}

/* How long a question takes, in milliseconds, and what comes of it. */
static long asked(struct ppk_pool *pool, enum ppk_op op, enum ppk_fact *fact)
{
    struct timespec from, to;

    clock_gettime(CLOCK_MONOTONIC, &from);
    struct ppk_job *job = submit(pool, op);
    *fact = ppk_job_wait(job)->fact;
    clock_gettime(CLOCK_MONOTONIC, &to);
    ppk_job_release(job);
    return (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
}

/* The caller was told that it came too late while it waited for its turn; then it is made all the same. */
static void late_key_is_destroyed(void **state)
{
    (void)state;
    struct ppk_pool *pool = start(1);

    atomic_store(&hangs[PPK_OP_DERIVE], true);
    struct ppk_job *first = submit(pool, PPK_OP_DERIVE);
    until(&runs[PPK_OP_DERIVE], 1);
    struct ppk_job *late = submit(pool, PPK_OP_GENERATE);
    assert_int_equal(ppk_job_wait(late)->fact, PPK_FAILED);
    atomic_store(&hangs[PPK_OP_DERIVE], false);
    until(&runs[PPK_OP_DONE], 1);
    assert_int_equal(atomic_load(&runs[PPK_OP_GENERATE]), 1);
    ppk_job_release(late);
    ppk_job_release(first);
    ppk_pool_destroy(pool);
}

/* Whom nobody waits for any more is not asked about; but the end of a PPK is told. */
static void released_is_not_done(void **state)
{
    (void)state;
    struct ppk_pool *pool = start(1);

    atomic_store(&hangs[PPK_OP_DERIVE], true);
    struct ppk_job *first = submit(pool, PPK_OP_DERIVE);
    until(&runs[PPK_OP_DERIVE], 1);
    for (int i = 0; i < 100; i++) {
        struct ppk_job *jobs[3] = {submit(pool, PPK_OP_PEER), submit(pool, PPK_OP_GENERATE),
                                   submit(pool, PPK_OP_PEER)};
        for (int k = 0; k < 3; k++)
            ppk_job_release(jobs[(k + i) % 3]);
    }
    ppk_job_release(submit(pool, PPK_OP_DONE));
    struct ppk_job *last = submit(pool, PPK_OP_ANY);
    atomic_store(&hangs[PPK_OP_DERIVE], false);
    assert_int_equal(ppk_job_wait(last)->fact, PPK_YES);
    assert_int_equal(atomic_load(&runs[PPK_OP_DONE]), 1);
    assert_int_equal(atomic_load(&runs[PPK_OP_PEER]), 0);
    assert_int_equal(atomic_load(&runs[PPK_OP_GENERATE]), 0);
    ppk_job_release(first);
    ppk_job_release(last);
    ppk_pool_destroy(pool);
}

/* Once in a while somebody tries, and all others are answered at once, as long as it hangs. */
static void hanging_is_known(void **state)
{
    (void)state;
    struct ppk_pool *pool = start(2);
    struct ppk_job *inside[2];
    enum ppk_fact fact;

    atomic_store(&hangs[PPK_OP_DERIVE], true);
    for (int i = 0; i < 2; i++)
        inside[i] = submit(pool, PPK_OP_DERIVE);
    until(&runs[PPK_OP_DERIVE], 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ppk_job_wait(inside[i])->fact, PPK_FAILED);
    for (int round = 0; round < 3; round++) {
        assert_true(asked(pool, PPK_OP_PEER, &fact) < BOUND_MS / 2);
        assert_int_equal(fact, PPK_FAILED);
        usleep(HUNG_SECONDS * 1000000 + 100000);
        assert_true(asked(pool, PPK_OP_PEER, &fact) >= BOUND_MS - 1);
        assert_int_equal(fact, PPK_FAILED);
    }
    atomic_store(&hangs[PPK_OP_DERIVE], false);
    for (int i = 0; i < 2; i++)
        ppk_job_release(inside[i]);
    for (int i = 0; i < 100 && fact != PPK_YES; i++)
        usleep(10000), asked(pool, PPK_OP_PEER, &fact);
    assert_int_equal(fact, PPK_YES);
    ppk_pool_destroy(pool);
}

static void fetches_leave_a_worker(void **state)
{
    (void)state;
    struct ppk_pool *pool = start(3);
    struct ppk_job *fetches[8];
    enum ppk_fact fact;

    atomic_store(&hangs[PPK_OP_GENERATE], true);
    for (int i = 0; i < 8; i++)
        fetches[i] = submit(pool, PPK_OP_GENERATE);
    until(&runs[PPK_OP_GENERATE], 2);
    (void)asked(pool, PPK_OP_PEER, &fact);
    assert_int_equal(fact, PPK_YES);
    assert_int_equal(atomic_load(&runs[PPK_OP_GENERATE]), 2);
    atomic_store(&hangs[PPK_OP_GENERATE], false);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(ppk_job_wait(fetches[i])->fact, PPK_YES);
        ppk_job_release(fetches[i]);
    }
    ppk_pool_destroy(pool);
}

/* Nor is a key source that is silent taken for a module that hangs, unless all workers wait for it. */
static void silent_source_is_no_hang(void **state)
{
    (void)state;
    struct ppk_pool *pool = start(3);
    struct ppk_job *fetches[2];
    enum ppk_fact fact;

    atomic_store(&hangs[PPK_OP_GENERATE], true);
    for (int i = 0; i < 2; i++)
        fetches[i] = submit(pool, PPK_OP_GENERATE);
    until(&runs[PPK_OP_GENERATE], 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ppk_job_wait(fetches[i])->fact, PPK_FAILED);
    for (int round = 0; round < 3; round++) {
        assert_true(asked(pool, PPK_OP_PEER, &fact) < BOUND_MS);
        assert_int_equal(fact, PPK_YES);
        (void)asked(pool, PPK_OP_GENERATE, &fact);
        assert_int_equal(fact, PPK_FAILED);
        usleep(HUNG_SECONDS * 600000);
    }
    atomic_store(&hangs[PPK_OP_GENERATE], false);
    for (int i = 0; i < 2; i++)
        ppk_job_release(fetches[i]);
    ppk_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_key_is_destroyed),    cmocka_unit_test(released_is_not_done),
        cmocka_unit_test(hanging_is_known),         cmocka_unit_test(fetches_leave_a_worker),
        cmocka_unit_test(silent_source_is_no_hang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
