/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is asked, in which form, how often, for how long: one request for one key, however many threads want
 * it. */
#include "base/clock.h"
#include "double.h"
#include "ppk/miss.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ID_A "00112233445566778899aabbccddeeff"
#define ID_B "ffeeddccbbaa99887766554433221100"
enum { THREADS = 8 };

static struct world w;

struct want {
    pthread_t thread;
    const char *id; /* NULL: the next */
    const struct peer *peer;
    const char *remote;
    enum ppk_result result;
    struct ppk *ppk;
    struct fault fault;
};

static void *wanted(void *context)
{
    struct want *want = context;

    want->result = want->id ? ppk_store_find(w.store, span_of(want->id), want->peer, want->remote, &want->ppk,
                                             &want->fault)
                            : ppk_store_next(w.store, want->peer, want->remote, &want->ppk, &want->fault);
    return NULL;
}

static void start(struct want *want)
{
    assert_int_equal(pthread_create(&want->thread, NULL, wanted, want), 0);
}

static enum ppk_result end(struct want *want)
{
    pthread_join(want->thread, NULL);
    ppk_release(want->ppk);
    return want->result;
}

/* Until so many have joined a flight, or asked. There is no door to watch: a moment is given, and then it is
 * what it is. */
static void moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

static enum ppk_result find(const char *id, const struct peer *peer, const char *remote)
{
    struct want want = {.id = id, .peer = peer, .remote = remote};

    wanted(&want);
    ppk_release(want.ppk);
    return want.result;
}

static void share(const char *const *ids, size_t n_ids, size_t n_peers)
{
    struct want wants[THREADS] = {{0}};

    double_close(&w.sources[0]);
    for (size_t i = 0; i < THREADS; i++) {
        wants[i].id = ids ? ids[i % n_ids] : NULL;
        wants[i].peer = n_peers ? &w.keyring.peers[i % n_peers] : NULL;
        start(&wants[i]);
    }
    double_wait_inside(&w.sources[0], 1);
    moment();
    double_open(&w.sources[0]);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(end(&wants[i]), PPK_OK);
        assert_non_null(wants[i].ppk);
        assert_ptr_equal(wants[i].ppk, wants[0].ppk);
    }
}

static void test_one_request_for_one_id(void **state)
{
    (void)state;
    static const char *const ids[] = {ID_A, "00112233445566778899AABBCCDDEEFF",
                                      "\x01\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"};
    world_make(&w, 1, 2);
    assert_true(world_store(&w));
    double_key(&w.sources[0], ID_A, 7, NULL);
    double_key(&w.sources[0],
               "0111223344556677"
               "8899aabbccddeeff",
               8, NULL);
    share(ids, 2, 0); /* in either case of the text, for whatever peer */
    assert_int_equal(double_id_asked(&w.sources[0]), 1);
    share(ids + 2, 1, 2);
    assert_int_equal(double_id_asked(&w.sources[0]), 2);
    assert_int_equal(double_new_asked(&w.sources[0]), 0);
    world_end(&w);
}

/* One thread asks both key sources for an ID, one only the second, and waits for what the first request
 * brings. It brings nothing; but when the second thread looks, the first may hold the PPK already, from the
 * second key source. */
static void test_held_behind_a_miss(void **state)
{
    (void)state;
    enum { TURNS = 60 };
    char id[33];

    world_make(&w, 2, 2);
    assert_true(world_store(&w));
    for (unsigned i = 0; i < TURNS; i++) {
        snprintf(id, sizeof id, "ab%030x", i);
        double_key(&w.sources[1], id, (uint8_t)(i + 1), NULL);
        struct want both = {.id = id}, second = {.id = id, .peer = &w.keyring.peers[1]};
        double_close(&w.sources[0]);
        start(&both);
        double_wait_inside(&w.sources[0], 1);
        start(&second);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        double_open(&w.sources[0]);
        assert_int_equal(end(&both), PPK_OK);
        assert_int_equal(end(&second), PPK_OK);
        assert_ptr_equal(both.ppk, second.ppk);
    }
    world_end(&w);
}

static void test_one_request_for_the_next(void **state)
{
    (void)state;
    world_make(&w, 1, 1);
    assert_true(world_store(&w));
    share(NULL, 0, 1);
    assert_int_equal(double_new_asked(&w.sources[0]), 1);
    world_end(&w);
}

static void test_failure_is_shared(void **state)
{
    (void)state;
    world_make(&w, 1, 1);
    assert_true(world_store(&w));
    double_result(&w.sources[0], SKIP_UNREACHABLE);
    for (int by_id = 0; by_id < 2; by_id++) {
        struct want wants[THREADS] = {{0}};
        double_close(&w.sources[0]);
        for (size_t i = 0; i < THREADS; i++) {
            wants[i].id = by_id ? ID_A : NULL;
            wants[i].peer = w.keyring.peers;
            start(&wants[i]);
        }
        double_wait_inside(&w.sources[0], 1);
        moment();
        double_open(&w.sources[0]);
        for (size_t i = 0; i < THREADS; i++) {
            assert_int_equal(end(&wants[i]), PPK_UNREACHABLE);
            assert_null(wants[i].ppk);
            assert_non_null(strstr(wants[i].fault.text, "the double says"));
        }
    }
    assert_int_equal(double_new_asked(&w.sources[0]), 1);
    assert_int_equal(double_id_asked(&w.sources[0]), 1);
    world_end(&w);
}

/* Two threads name different peers: while one key source is asked, the other waits; if that has it not, he
 * asks his own. */
static void test_other_peers_source(void **state)
{
    (void)state;
    world_make(&w, 2, 2);
    assert_true(world_store(&w));
    double_key(&w.sources[1], ID_A, 7, NULL);
    double_close(&w.sources[0]);
    struct want first = {.id = ID_A, .peer = &w.keyring.peers[0]},
                second = {.id = ID_A, .peer = &w.keyring.peers[1]};
    start(&first);
    double_wait_inside(&w.sources[0], 1);
    start(&second);
    moment();
    assert_int_equal(double_id_asked(&w.sources[1]), 0);
    double_open(&w.sources[0]);
    assert_int_equal(end(&first), PPK_NOT_FOUND);
    assert_int_equal(end(&second), PPK_OK);
    assert_int_equal(double_id_asked(&w.sources[0]), 1);
    assert_int_equal(double_id_asked(&w.sources[1]), 1);
    world_end(&w);
}

static void test_waiting_is_bounded(void **state)
{
    (void)state;
    world_make(&w, 2, 2);
    w.profiles[1].timeout_ms = 100;
    assert_true(world_store(&w));
    double_key(&w.sources[0], ID_A, 7, NULL);
    double_close(&w.sources[0]);
    struct want owner = {.id = ID_A, .peer = &w.keyring.peers[0]},
                waiter = {.id = ID_A, .peer = &w.keyring.peers[1]};
    start(&owner);
    double_wait_inside(&w.sources[0], 1);
    start(&waiter);
    assert_int_equal(end(&waiter),
                     PPK_UNREACHABLE); /* by its own profile's time, though the owner still waits */
    assert_non_null(strstr(waiter.fault.text, "another thread"));
    double_open(&w.sources[0]);
    assert_int_equal(end(&owner), PPK_OK);
    world_end(&w);
}

static void test_without_a_peer(void **state)
{
    (void)state;
    world_make(&w, 2, 6);
    static char *const remotes[] = {"Bob",   "Bob",  "Bob",
                                    "Carol", "Dave", "Bob"}; /* (0,Bob) (1,Bob) (1,Carol) (0,Dave) */
    for (size_t i = 0; i < 6; i++)
        w.keyring.peers[i].remote_system_id = remotes[i];
    w.keyring.peers[0].dynamic_required = true;
    assert_true(world_store(&w));
    double_key(&w.sources[1], ID_A, 7, "Carol");
    struct want want = {.id = ID_A};
    wanted(&want);
    assert_int_equal(want.result, PPK_OK);
    assert_ptr_equal(ppk_tag(want.ppk), &w.keyring.peers[3]);
    ppk_release(want.ppk);
    assert_int_equal(double_id_asked(&w.sources[0]), 1); /* Bob; Dave was not needed any more */
    assert_int_equal(double_id_asked(&w.sources[1]), 2);
    assert_string_equal(w.sources[1].remotes[0], "Bob");
    assert_string_equal(w.sources[1].remotes[1], "Carol");

    assert_int_equal(find("ffffffffffffffffffffffffffffff01", NULL, NULL), PPK_NOT_FOUND);
    assert_int_equal(double_id_asked(&w.sources[0]), 3);
    assert_int_equal(double_id_asked(&w.sources[1]), 4);
    double_result(&w.sources[0], SKIP_REFUSED);
    assert_int_equal(find("ffffffffffffffffffffffffffffff02", NULL, NULL), PPK_REFUSED);
    double_result(&w.sources[1], SKIP_UNREACHABLE);
    assert_int_equal(find("ffffffffffffffffffffffffffffff03", NULL, NULL), PPK_UNREACHABLE);
    double_result(&w.sources[0], SKIP_OK);
    double_key(&w.sources[0], "ffffffffffffffffffffffffffffff04", 9, "Dave");
    assert_int_equal(find("ffffffffffffffffffffffffffffff04", NULL, NULL),
                     PPK_OK); /* that some fail does no harm */

    double_result(&w.sources[1], SKIP_OK); /* a remote system ID, but no peer: each profile, once */
    double_key(&w.sources[1], "ffffffffffffffffffffffffffffff05", 9, "Zoe");
    assert_int_equal(find("ffffffffffffffffffffffffffffff05", NULL, "Zoe"), PPK_OK);
    world_end(&w);
}

/* One that is silent has its share of the time, not all of it. */
static void test_silent_source_without_a_peer(void **state)
{
    (void)state;
    world_make(&w, 2, 6);
    static char *const remotes[] = {"Bob", "Bob", "Carol", "Carol", "Dave", "Dave"};
    for (size_t i = 0; i < 6; i++)
        w.keyring.peers[i].remote_system_id = remotes[i];
    w.profiles[0].timeout_ms = w.profiles[1].timeout_ms = 1200;
    assert_true(world_store(&w));
    double_key(&w.sources[1], ID_A, 7, "Dave");
    double_close(&w.sources[0]);
    uint64_t before = clock_ms();
    assert_int_equal(find(ID_A, NULL, NULL), PPK_OK);
    assert_true(clock_ms() - before < 1200);
    assert_int_equal(double_id_asked(&w.sources[0]), 1); /* is not asked for Carol and Dave */
    double_open(&w.sources[0]);
    world_end(&w);
}

static void test_both_forms(void **state)
{
    (void)state;
    world_make(&w, 1, 1);
    assert_true(world_store(&w));
    double_key(&w.sources[0], "key number 7", 7, NULL);
    assert_int_equal(find("key number 7", w.keyring.peers, NULL), PPK_OK);
    assert_string_equal(w.sources[0].asked[0], "6b6579206e756d6265722037"); /* format raw: that first */
    assert_string_equal(w.sources[0].asked[1], "key number 7");
    double_result(&w.sources[0], SKIP_UNREACHABLE);
    assert_int_equal(find("key number 8", w.keyring.peers, NULL), PPK_UNREACHABLE);
    assert_int_equal(double_id_asked(&w.sources[0]), 3); /* no definite "no": the other form is not asked */
    world_end(&w);
}

static void test_misses(void **state)
{
    (void)state;
    world_make(&w, 2, 2);
    assert_true(world_store(&w));
    assert_int_equal(find(ID_A, &w.keyring.peers[0], NULL), PPK_NOT_FOUND);
    assert_int_equal(find(ID_A, &w.keyring.peers[0], NULL), PPK_NOT_FOUND);
    assert_int_equal(double_id_asked(&w.sources[0]), 1);
    assert_int_equal(find(ID_A, &w.keyring.peers[0], "Zoe"), PPK_NOT_FOUND); /* another question */
    assert_int_equal(double_id_asked(&w.sources[0]), 2);
    assert_int_equal(find(ID_A, &w.keyring.peers[1], NULL), PPK_NOT_FOUND);
    assert_int_equal(double_id_asked(&w.sources[1]), 1);
    double_key(&w.sources[0], ID_A, 7, NULL);
    double_clock_forward(MISS_MS + 1);
    assert_int_equal(find(ID_A, &w.keyring.peers[0], NULL), PPK_OK);
    world_end(&w);
}

static _Atomic bool flood_ends;

static void *flood(void *context)
{
    _Atomic unsigned *results = context;
    for (unsigned i = 0; !atomic_load(&flood_ends); i++) {
        char id[40];
        snprintf(id, sizeof id, "ff%030llx", (unsigned long long)(uintptr_t)&id << 16 | i);
        atomic_fetch_add(&results[find(id, w.keyring.peers, NULL)], 1);
    }
    return NULL;
}

/* A flood of IDs that nobody has: the key source is asked for so many in a second, who exceeds that waits,
 * and what is held, or known to the key source, is found. */
static void test_flood(void **state)
{
    enum { PER_S = 200 };
    pthread_t threads[THREADS];
    _Atomic unsigned results[8] = {0};
    (void)state;
    world_make(&w, 1, 1);
    w.profiles[0].lookups_s = PER_S;
    assert_true(world_store(&w));
    double_key(&w.sources[0], ID_A, 7, NULL);
    assert_int_equal(find(ID_A, w.keyring.peers, NULL), PPK_OK);
    uint64_t began = clock_ms();
    atomic_store(&flood_ends, false);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, flood, results), 0);
    while (atomic_load(&results[PPK_NOT_FOUND]) < 2 * PER_S) { /* a full bucket, and a second's more */
        uint64_t before = clock_ms();
        assert_int_equal(find(ID_A, w.keyring.peers, NULL), PPK_OK);
        assert_true(clock_ms() - before < 1000);
        usleep(1000);
    }
    double_key(&w.sources[0], ID_B, 8, NULL);
    assert_int_equal(find(ID_B, w.keyring.peers, NULL), PPK_OK);
    atomic_store(&flood_ends, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint64_t took = clock_ms() - began;
    assert_true(took > 500);
    assert_int_equal(atomic_load(&results[PPK_UNREACHABLE]), 0);
    assert_int_equal(double_id_asked(&w.sources[0]), atomic_load(&results[PPK_NOT_FOUND]) + 2);
    assert_true(atomic_load(&results[PPK_NOT_FOUND]) <= PER_S + THREADS + took * PER_S / 1000);
    world_end(&w);
}

/* Waiting for one's turn in a flood is bounded, too. */
static void test_flood_is_bounded(void **state)
{
    (void)state;
    world_make(&w, 1, 1);
    w.profiles[0].lookups_s = 1;
    w.profiles[0].timeout_ms = 100;
    assert_true(world_store(&w));
    assert_int_equal(find("ff00000000000000", w.keyring.peers, NULL), PPK_NOT_FOUND);
    uint64_t before = clock_ms();
    assert_int_equal(find("ff00000000000001", w.keyring.peers, NULL), PPK_UNREACHABLE);
    assert_in_range(clock_ms() - before, 95, 900);
    assert_int_equal(double_id_asked(&w.sources[0]), 1);
    double_clock_forward(1000);
    assert_int_equal(find("ff00000000000002", w.keyring.peers, NULL), PPK_NOT_FOUND);
    world_end(&w);
}

static void test_miss_table(void **state)
{
    (void)state;
    struct misses m;
    assert_true(misses_init(&m));
    for (uint32_t i = 0; i < 2 * MISS_MAX; i++)
        misses_add(&m, (struct span){(const uint8_t *)&i, sizeof i}, 1000);
    assert_int_equal(table_count(m.by_key), MISS_MAX);
    uint32_t first = 0, last = 2 * MISS_MAX - 1;
    assert_false(misses_know(&m, (struct span){(const uint8_t *)&first, sizeof first}, 1001));
    assert_true(misses_know(&m, (struct span){(const uint8_t *)&last, sizeof last}, 1001));
    assert_false(misses_know(&m, (struct span){(const uint8_t *)&last, sizeof last}, 1000 + MISS_MS));
    assert_int_equal(table_count(m.by_key), 0);
    misses_destroy(&m);

    struct miss_limit l = {0};
    unsigned n = 0;
    while (miss_limit_allows(&l, 300, 100000)) {
        miss_limit_take(&l);
        n++;
    }
    assert_int_equal(n, 300);
    assert_false(miss_limit_allows(&l, 300, 100003));
    assert_true(miss_limit_allows(&l, 300, 100004));
}

/* A request by ID is under way, and the same ID comes as a new key: by GET /key the ID is taken first, and
 * both get the one PPK. */
static void test_new_key_races_by_id(void **state)
{
    (void)state;
    for (int same = 0; same < 2; same++) {
        world_make(&w, 2, 2);
        assert_true(world_store(&w));
        double_key(&w.sources[0], ID_A, 7, NULL);
        double_close(&w.sources[0]);
        struct want by_id = {.id = ID_A, .peer = &w.keyring.peers[0]};
        start(&by_id);
        double_wait_inside(&w.sources[0], 1);
        w.sources[1].next_id = ID_A;
        w.sources[1].next_value = same ? 7 : 8;
        struct ppk *new;
        assert_int_equal(ppk_store_take(w.store, &w.keyring.peers[1], NULL, 0, &new, NULL), PPK_OK);
        double_open(&w.sources[0]);
        assert_int_equal(end(&by_id), same ? PPK_OK : PPK_DUPLICATE);
        assert_ptr_equal(by_id.ppk, same ? new : NULL);
        ppk_release(new);
        world_end(&w);
    }
}

/* The token is just being told of a PPK when another thread looks for its ID: it waits for that, and does not
 * ask. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static void slow_added(struct world *in, struct ppk *ppk)
{
    (void)in;
    (void)ppk;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static void test_find_while_being_shown(void **state)
{
    (void)state;
    world_make(&w, 1, 1);
    assert_true(world_store(&w));
    w.on_added = slow_added;
    w.sources[0].next_id = ID_A;
    pthread_mutex_lock(&gate);
    struct want next = {.peer = w.keyring.peers}, by_id = {.id = ID_A, .peer = w.keyring.peers};
    start(&next);
    while (!w.added)
        moment();
    start(&by_id);
    moment();
    pthread_mutex_unlock(&gate);
    assert_int_equal(end(&by_id), PPK_OK);
    assert_int_equal(end(&next), PPK_OK);
    assert_ptr_equal(by_id.ppk, next.ppk);
    assert_int_equal(double_id_asked(&w.sources[0]), 0);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_request_for_one_id),
        cmocka_unit_test(test_one_request_for_the_next),
        cmocka_unit_test(test_failure_is_shared),
        cmocka_unit_test(test_other_peers_source),
        cmocka_unit_test(test_waiting_is_bounded),
        cmocka_unit_test(test_without_a_peer),
        cmocka_unit_test(test_silent_source_without_a_peer),
        cmocka_unit_test(test_both_forms),
        cmocka_unit_test(test_misses),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_flood_is_bounded),
        cmocka_unit_test(test_miss_table),
        cmocka_unit_test(test_held_behind_a_miss),
        cmocka_unit_test(test_new_key_races_by_id),
        cmocka_unit_test(test_find_while_being_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
