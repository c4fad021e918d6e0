/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests to the key source by several threads, and when C_Finalize comes in between. */
#include "dynamic.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static void start(void)
{
    dynamic_start("");
}

struct searcher {
    pthread_t thread;
    uint8_t id[16];
    const char *peer; /* instead of the ID */
    CK_OBJECT_HANDLE found;
    size_t n;
    CK_RV rv;
    uint64_t ms;
};

static void *search_in_thread(void *argument)
{
    struct searcher *me = argument;
    struct template t = {.n = 0};
    CK_SESSION_HANDLE mine = 0;
    CK_SLOT_ID slot = 0;
    CK_ULONG n = 1;
    uint64_t start_ms = harness_ms();
    f->C_GetSlotList(CK_TRUE, &slot, &n);
    me->rv = f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &mine);
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    if (me->peer)
        template_text(&t, CKA_LABEL, me->peer);
    else
        template_bytes(&t, CKA_ID, me->id, 16);
    me->n = object_search(mine, &t, &me->found, 1, &me->rv);
    me->ms = harness_ms() - start_ms;
    return NULL;
}

static void test_threads_share_a_request(void **state)
{
    (void)state;
    struct searcher who[8] = {0};
    start();
    for (int by_peer = 0; by_peer < 2; by_peer++) {
        expect_case("by peer: %d", by_peer);
        source_reset(source);
        atomic_store(&source->delay_ms, 300);
        source_fresh_id(who[0].id);
        for (int i = 0; i < 8; i++) {
            memcpy(who[i].id, who[0].id, 16);
            who[i].peer = by_peer ? "peer1" : NULL;
            pthread_create(&who[i].thread, NULL, search_in_thread, &who[i]);
        }
        for (int i = 0; i < 8; i++) {
            pthread_join(who[i].thread, NULL);
            expect_rv(CKR_OK, who[i].rv);
            expect(who[i].n >= 1 && who[i].found == who[0].found, "%zu objects, handle %lu, not %lu",
                   who[i].n, who[i].found, who[0].found);
        }
        expect_requests(1);
    }
}

/* No lock is held over the network: other keys are fetched meanwhile, and other calls answer at once. */
static void test_threads_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct searcher who[4] = {0};
    start();
    peer_key(s, "peer2"); /* the transport is loaded, capabilities are known */
    source_reset(source);
    atomic_store(&source->delay_ms, 500);
    uint64_t start_ms = harness_ms();
    for (int i = 0; i < 4; i++) {
        source_fresh_id(who[i].id);
        pthread_create(&who[i].thread, NULL, search_in_thread, &who[i]);
    }
    usleep(150000);
    uint64_t before = harness_ms();
    uint8_t random[16];
    CK_TOKEN_INFO token;
    struct template none = {.n = 0};
    expect_ok(f->C_GenerateRandom(s, random, sizeof random));
    expect_ok(f->C_GetTokenInfo(harness_slot("dynamic"), &token));
    object_search(s, &none, NULL, 0, NULL);
    object_import(s, random, 16);
    expect(harness_ms() - before < 200, "other calls waited for %lu ms",
           (unsigned long)(harness_ms() - before));
    for (int i = 0; i < 4; i++) {
        pthread_join(who[i].thread, NULL);
        expect_rv(CKR_OK, who[i].rv);
        expect(who[i].n == 1, "%zu objects", who[i].n);
    }
    expect(harness_ms() - start_ms < 4 * 500, "four requests of 500 ms took %lu ms",
           (unsigned long)(harness_ms() - start_ms));
    expect_requests(4);
}

static void test_finalize_during_a_request(void **state)
{
    (void)state;
    struct searcher who = {.peer = "peer1"};
    dynamic_start(" timeout 20000\n");
    atomic_store(&source->mode, SOURCE_HANG_TLS);
    pthread_create(&who.thread, NULL, search_in_thread, &who);
    usleep(300000);
    uint64_t before = harness_ms();
    expect_ok(f->C_Finalize(NULL));
    expect(harness_ms() - before < 3000, "C_Finalize took %lu ms", (unsigned long)(harness_ms() - before));
    pthread_join(who.thread, NULL);
    expect(who.ms < 5000, "the search took %lu ms", (unsigned long)who.ms);
    expect_rv_in(who.rv, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED,
                 CKR_SESSION_HANDLE_INVALID);
    source_reset(source);
    require_ok(f->C_Initialize(NULL));
    s = harness_session("dynamic");
    peer_key(s, "peer1");
}

/* Forked at any moment of others' requests: TLS handshakes, requests and answers under way. The child gets a
 * PPK of its own, over a connection of its own, and the parent loses nothing. */
static atomic_bool enough;

static void *search_on(void *argument)
{
    unsigned long *found = argument;
    while (!atomic_load(&enough)) {
        struct searcher who = {0};
        source_fresh_id(who.id);
        search_in_thread(&who);
        expect_rv(CKR_OK, who.rv);
        expect(who.n == 1, "%zu objects", who.n);
        ++*found;
    }
    return NULL;
}

static void test_fork_during_requests(void **state)
{
    (void)state;
    pthread_t threads[3];
    unsigned long found[3] = {0};
    unsigned long before = expect_failures();
    if (HARNESS_TSAN || HARNESS_ASAN) /* they do not follow a process with threads */
        skip();
    dynamic_start(" timeout 20000\n");
    atomic_store(&enough, false);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, search_on, &found[i]);
    for (unsigned i = 0; i < 25; i++) {
        usleep(1000 + 977 * i % 7000);
        fflush(NULL);
        pid_t child = fork();
        int status = -1;
        if (child == 0) {
            struct searcher who = {0};
            CK_INFO info;
            alarm(20);
            source_fresh_id(who.id);
            bool well =
                f->C_GetInfo(&info) == CKR_CRYPTOKI_NOT_INITIALIZED && f->C_Initialize(NULL) == CKR_OK;
            if (well)
                search_in_thread(&who);
            _exit(well && who.rv == CKR_OK && who.n == 1 && f->C_Finalize(NULL) == CKR_OK ? 0 : 1);
        }
        waitpid(child, &status, 0);
        expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %u ended with status 0x%x", i,
               (unsigned)status);
    }
    atomic_store(&enough, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        expect(found[i] > 0, "a thread of the parent found nothing");
    }
    print_message("25 forks, %lu keys fetched meanwhile, %lu failures\n", found[0] + found[1] + found[2],
                  expect_failures() - before);
    expect_ok(f->C_Finalize(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_threads_share_a_request),
        TOKEN_TEST(test_threads_do_not_wait_for_each_other),
        TOKEN_TEST(test_finalize_during_a_request),
        TOKEN_TEST(test_fork_during_requests),
    };
    harness_load();
    source = source_start(harness_directory());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    source_stop(source);
    return failed;
}
