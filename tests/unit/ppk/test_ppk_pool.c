/* SPDX-License-Identifier: BSD-2-Clause */
/* The pools of unused PPKs: nothing before a peer's first use; then N ready, through an outage; refilled,
 * expired, ended. */
#include "base/clock.h"
#include "double.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct world w;

static struct ppk_store_counts counts(void)
{
    struct ppk_store_counts c;

    ppk_store_counts(w.store, &c);
    return c;
}

static void wait_pooled(uint64_t n)
{
    for (int i = 0; i < 1000 && counts().pooled != n; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(counts().pooled, n);
}

static void moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

/* The pools' threads, by their name; one that was joined may still be seen for a moment. */
static unsigned threads_now(void)
{
    DIR *d = opendir("/proc/self/task");
    unsigned n = 0;

    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(path, "re");
        if (!f)
            continue;
        n += fgets(name, sizeof name, f) && strcmp(name, "ppk-pool\n") == 0;
        fclose(f);
    }
    closedir(d);
    return n;
}

static void assert_threads(unsigned expected)
{
    for (int i = 0; i < 100 && threads_now() != expected; i++)
        moment();
    assert_int_equal(threads_now(), expected);
}

static void use_next(size_t peer, enum ppk_result expected)
{
    struct ppk *ppk;

    assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[peer], NULL, &ppk, NULL), expected);
    if (ppk)
        ppk_store_use(w.store, ppk);
    ppk_release(ppk);
}

static void begin(uint32_t prefetch, size_t n_peers)
{
    world_make(&w, 1, n_peers);
    w.profiles[0].prefetch = prefetch;
    assert_true(world_store(&w));
}

static void test_nothing_before_first_use(void **state)
{
    (void)state;
    begin(3, 2);
    double_key(&w.sources[0], "beef", 7, NULL);
    struct ppk *ppk;
    assert_int_equal(ppk_store_find(w.store, span_of("beef"), NULL, NULL, &ppk, NULL),
                     PPK_OK); /* a responder needs no pool */
    ppk_release(ppk);
    moment();
    assert_int_equal(double_new_asked(&w.sources[0]), 0);
    assert_threads(0);
    use_next(0, PPK_OK);
    wait_pooled(3);
    assert_int_equal(double_new_asked(&w.sources[0]), 4); /* for this peer, not for the other */
    assert_threads(1);
    world_end(&w);
    assert_threads(0);
}

static void test_no_pool_no_thread(void **state)
{
    (void)state;
    begin(0, 1);
    use_next(0, PPK_OK);
    assert_threads(0);
    assert_int_equal(counts().pooled, 0);
    world_end(&w);
}

static void test_pooled_are_not_shown(void **state)
{
    (void)state;
    begin(2, 1);
    use_next(0, PPK_OK);
    wait_pooled(2);
    assert_int_equal(counts().held, 1);
    assert_int_equal(counts().unused, 0);
    assert_int_equal(w.added, 1);
    double_result(&w.sources[0], SKIP_UNREACHABLE);
    struct ppk *a, *b, *c;
    assert_int_equal(ppk_store_next(w.store, w.keyring.peers, NULL, &a, NULL), PPK_OK);
    assert_int_equal(ppk_store_next(w.store, w.keyring.peers, NULL, &b, NULL), PPK_OK);
    assert_ptr_equal(a, b);
    assert_int_equal(w.added, 2);
    assert_int_equal(ppk_store_take(w.store, w.keyring.peers, NULL, 256, &c, NULL),
                     PPK_OK); /* the same size: out of the pool */
    assert_ptr_not_equal(c, a);
    assert_int_equal(counts().pooled, 0);
    ppk_release(a);
    ppk_release(b);
    ppk_release(c);
    assert_int_equal(ppk_store_take(w.store, w.keyring.peers, NULL, 512, &c, NULL), PPK_UNREACHABLE);
    world_end(&w);
}

static void test_outage(void **state)
{
    (void)state;
    begin(5, 1);
    use_next(0, PPK_OK);
    wait_pooled(5);
    double_result(&w.sources[0], SKIP_UNREACHABLE);
    for (int i = 0; i < 5; i++)
        use_next(0, PPK_OK);
    use_next(0, PPK_UNREACHABLE);
    assert_int_equal(counts().pooled, 0);
    unsigned asked = double_new_asked(&w.sources[0]);
    moment();
    assert_true(double_new_asked(&w.sources[0]) <= asked + 1); /* it does not hammer */
    double_result(&w.sources[0], SKIP_OK);
    double_clock_forward(120000); /* beyond any pause */
    use_next(0, PPK_OK);          /* (wakes the thread, which sleeps by the real clock) */
    for (int i = 0; i < 300 && counts().pooled < 5; i++) {
        double_clock_forward(1000);
        moment();
    }
    assert_true(counts().pooled >= 3);
    assert_int_equal(counts().failures, 1); /* that the pool fails is no failure of a set-up */
    world_end(&w);
}

/* One peer's key source is down: the pools of the others, at the same sks profile, are filled as before. */
static void test_one_peer_down(void **state)
{
    enum { BOB, OTHER_PROFILE, CAROL };
    (void)state;
    world_make(&w, 2, 3);
    w.profiles[0].prefetch = w.profiles[1].prefetch = 4;
    w.keyring.peers[BOB].remote_system_id = (char *)(size_t) "Bob";
    w.keyring.peers[CAROL].remote_system_id = (char *)(size_t) "Carol";
    assert_true(world_store(&w));
    for (size_t i = 0; i < 3; i++)
        use_next(i, PPK_OK);
    wait_pooled(12);
    pthread_mutex_lock(&w.sources[0].lock);
    w.sources[0].bad_remote = "Carol";
    pthread_mutex_unlock(&w.sources[0].lock);
    unsigned asked = double_new_asked(&w.sources[0]);
    use_next(CAROL, PPK_OK);
    use_next(CAROL, PPK_OK);
    for (int round = 0; round < 7; round++) { /* so that Carol is left alone for long in the end */
        double_wait_new(&w.sources[0], ++asked);
        moment();
        if (round < 6)
            double_clock_forward(70000); /* beyond any pause */
        use_next(OTHER_PROFILE, PPK_OK); /* (wakes the thread, which sleeps by the real clock) */
        use_next(OTHER_PROFILE, PPK_OK);
    }
    wait_pooled(10); /* all but two of Carol's */
    asked = double_new_asked(&w.sources[0]);
    uint64_t before = clock_ms();
    for (int i = 0; i < 3; i++) {
        use_next(BOB, PPK_OK);
        use_next(BOB, PPK_OK);
        wait_pooled(10);
    }
    assert_true(clock_ms() - before < 5000);
    assert_int_equal(double_new_asked(&w.sources[0]), asked + 6); /* and she is left alone */
    w.keyring.peers[BOB].remote_system_id = w.keyring.peers[CAROL].remote_system_id = NULL;
    world_end(&w);
}

static void test_low_water(void **state)
{
    (void)state;
    begin(4, 1);
    use_next(0, PPK_OK);
    wait_pooled(4);
    unsigned asked = double_new_asked(&w.sources[0]);
    use_next(0, PPK_OK);
    moment();
    assert_int_equal(double_new_asked(&w.sources[0]), asked); /* 3 of 4: not yet */
    assert_int_equal(counts().pooled, 3);
    use_next(0, PPK_OK);
    wait_pooled(4);
    assert_int_equal(double_new_asked(&w.sources[0]), asked + 2);
    world_end(&w);
}

static void test_expired_in_the_pool(void **state)
{
    (void)state;
    world_make(&w, 1, 1);
    w.profiles[0].prefetch = 2;
    w.profiles[0].lifetime_s = 100;
    assert_true(world_store(&w));
    use_next(0, PPK_OK);
    wait_pooled(2);
    double_clock_forward(100100);
    ppk_store_expire(w.store);
    assert_int_equal(w.removed, 1); /* nobody was ever told of the others */
    wait_pooled(2);                 /* fresh ones */
    assert_int_equal(double_new_asked(&w.sources[0]), 5);
    assert_int_equal(counts().expired, 3);
    world_end(&w);
}

static void test_found_by_its_id(void **state)
{
    (void)state;
    begin(1, 1);
    use_next(0, PPK_OK);
    wait_pooled(1);
    /* Both ends in one process may name a PPK of the pool: it is shown then, not asked for. */
    char id[33];
    struct ppk *ppk;
    bool found = false;
    for (unsigned i = 1; i < 4096 && !found; i++) {
        snprintf(id, sizeof id, "%032x", i);
        struct ppk *held = ppk_store_held(w.store, span_of(id));
        unsigned shown = w.added;
        found = !held && ppk_store_find(w.store, span_of(id), w.keyring.peers, NULL, &ppk, NULL) == PPK_OK;
        if (found) {
            assert_int_equal(w.added, shown + 1);
            ppk_release(ppk);
        }
        ppk_release(held);
    }
    assert_true(found);
    world_end(&w);
}

static void test_many_peers_one_thread(void **state)
{
    (void)state;
    begin(2, 20);
    for (size_t i = 0; i < 20; i++)
        use_next(i, PPK_OK);
    wait_pooled(40);
    assert_threads(1);
    world_end(&w);
}

/* The key source hangs as the store ends. */
static void test_end_is_bounded(void **state)
{
    (void)state;
    world_make(&w, 1, 1);
    w.profiles[0].prefetch = 2;
    w.profiles[0].timeout_ms = 300;
    assert_true(world_store(&w));
    use_next(0, PPK_OK);
    wait_pooled(2);
    double_close(&w.sources[0]);
    use_next(0, PPK_OK);
    double_wait_inside(&w.sources[0], 1);
    uint64_t from = clock_ms();
    world_end(&w);
    assert_true(clock_ms() - from < 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_before_first_use),
        cmocka_unit_test(test_no_pool_no_thread),
        cmocka_unit_test(test_pooled_are_not_shown),
        cmocka_unit_test(test_outage),
        cmocka_unit_test(test_one_peer_down),
        cmocka_unit_test(test_low_water),
        cmocka_unit_test(test_expired_in_the_pool),
        cmocka_unit_test(test_found_by_its_id),
        cmocka_unit_test(test_many_peers_one_thread),
        cmocka_unit_test(test_end_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
