/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything at once, in eight threads: what holds at the end. */
#include "double.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 8, ROUNDS = 3000, IDS = 48 };

static struct world w;
static _Atomic unsigned wrong;

static bool look(void *context, struct ppk *ppk)
{
    unsigned *n = context;

    if (!ppk->handle || secret_len(ppk->value) != 32)
        wrong++;
    return ++*n < 20;
}

static void *act(void *context)
{
    unsigned seed = *(unsigned *)context;

    for (int i = 0; i < ROUNDS; i++) {
        const struct peer *peer = &w.keyring.peers[rand_r(&seed) % 4];
        struct ppk *ppk = NULL;
        struct fault fault;
        char id[33];
        unsigned n = 0, dice = (unsigned)rand_r(&seed) % 100;
        snprintf(id, sizeof id, "ff%030x",
                 (unsigned)rand_r(&seed) % (2 * IDS)); /* half of them there are none */
        if (dice < 40)
            (void)ppk_store_find(w.store, span_of(id), dice < 20 ? peer : NULL, NULL, &ppk, &fault);
        else if (dice < 60)
            (void)ppk_store_next(w.store, peer, dice < 45 ? "Zoe" : NULL, &ppk, &fault);
        else if (dice < 70)
            (void)ppk_store_take(w.store, peer, NULL, 0, &ppk, &fault);
        else if (dice < 80)
            (void)ppk_store_each(w.store, dice < 75 ? peer : NULL, look, &n);
        else if (dice < 82)
            double_clock_forward(300);
        else
            ppk = ppk_store_held(w.store, span_of(id));
        if (ppk) {
            (void)look(&n, ppk);
            if (dice % 4 == 0)
                ppk_store_use(w.store, ppk);
            if (dice % 8 == 0)
                ppk_store_destroy(w.store, ppk);
        }
        ppk_release(ppk);
    }
    return NULL;
}

static void test_all_at_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    unsigned seeds[THREADS];

    world_make(&w, 2, 4);
    w.profiles[0].prefetch = 3;
    w.profiles[0].lifetime_s = 30;
    w.profiles[1].id_format = PPK_ID_TEXT;
    assert_true(world_store(&w));
    for (unsigned i = 0; i < IDS; i++) {
        char id[33];
        snprintf(id, sizeof id, "FF%030X", i);
        double_key(&w.sources[i % 2], id, (uint8_t)(i + 1), NULL);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = 100 + i;
        assert_int_equal(pthread_create(&threads[i], NULL, act, &seeds[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(wrong, 0);
    struct ppk_store_counts c;
    ppk_store_counts(w.store, &c);
    assert_int_equal(c.fetched + c.fetched_by_id, c.held + c.pooled + c.expired + c.destroyed);
    assert_true(c.unused <= c.held);
    assert_true(c.fetched_by_id > 0 && c.expired > 0 && c.destroyed > 0 && c.used > 0);
    ppk_store_free(w.store);
    w.store = NULL;
    world_end(&w); /* what was added was removed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
