/* SPDX-License-Identifier: BSD-2-Clause */
/* The gate: who may enter when, C_Finalize's waiting, races, recursion, forks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "p11/gate.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8

static void open_gate(void)
{
    bool forked = true;

    assert_int_equal(gate_open(&forked), CKR_OK);
    assert_false(forked);
    gate_opened(true);
}

static void close_gate(void)
{
    assert_int_equal(gate_close(), CKR_OK);
    assert_true(gate_drain(1000));
    gate_closed();
}

static void test_order(void **state)
{
    bool forked;
    (void)state;

    assert_int_equal(gate_enter(), CKR_CRYPTOKI_NOT_INITIALIZED);
    assert_int_equal(gate_close(), CKR_CRYPTOKI_NOT_INITIALIZED);
    assert_int_equal(gate_open(&forked), CKR_OK);
    assert_int_equal(gate_enter(), CKR_CRYPTOKI_NOT_INITIALIZED); /* not yet */
    gate_opened(false);
    assert_int_equal(gate_enter(), CKR_CRYPTOKI_NOT_INITIALIZED);
    open_gate();
    assert_int_equal(gate_open(&forked), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    assert_int_equal(gate_enter(), CKR_OK);
    assert_int_equal(gate_enter(), CKR_OK); /* a call from within a call */
    gate_leave();
    gate_leave();
    close_gate();
    assert_int_equal(gate_enter(), CKR_CRYPTOKI_NOT_INITIALIZED);
}

/* A library that we initialize comes back to us: it gets an answer, at once. */
static void test_recursion(void **state)
{
    bool forked;
    uint64_t before;
    (void)state;

    assert_int_equal(gate_open(&forked), CKR_OK);
    before = clock_ms();
    assert_int_equal(gate_open(&forked), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    assert_true(clock_ms() - before < 500);
    gate_opened(false);
}

static atomic_bool go_on;

static void *stay_inside(void *inside)
{
    if (gate_enter() != CKR_OK)
        return NULL;
    atomic_store((atomic_bool *)inside, true);
    while (!atomic_load(&go_on))
        usleep(1000);
    gate_leave();
    return inside;
}

static void test_drain_waits(void **state)
{
    atomic_bool inside = false;
    pthread_t thread;
    void *result;
    (void)state;

    atomic_store(&go_on, false);
    open_gate();
    assert_int_equal(pthread_create(&thread, NULL, stay_inside, &inside), 0);
    while (!atomic_load(&inside))
        usleep(1000);
    assert_int_equal(gate_close(), CKR_OK);
    assert_int_equal(gate_close(), CKR_CRYPTOKI_NOT_INITIALIZED); /* another C_Finalize */
    assert_int_equal(gate_enter(), CKR_CRYPTOKI_NOT_INITIALIZED);
    assert_false(gate_drain(50));
    atomic_store(&go_on, true);
    assert_true(gate_drain(5000));
    gate_closed();
    pthread_join(thread, &result);
    assert_ptr_equal(result, &inside);
}

static void *wait_closing(void *inside)
{
    if (gate_enter() != CKR_OK)
        return NULL;
    atomic_store((atomic_bool *)inside, true);
    assert_false(gate_wait(gate_events(), 60000));
    gate_leave();
    return inside;
}

static void test_waiter_is_woken(void **state)
{
    atomic_bool inside = false;
    pthread_t thread;
    void *result;
    (void)state;

    open_gate();
    assert_int_equal(pthread_create(&thread, NULL, wait_closing, &inside), 0);
    while (!atomic_load(&inside))
        usleep(1000);
    close_gate();
    pthread_join(thread, &result);
    assert_ptr_equal(result, &inside);
}

static _Atomic int winners, losers, good_entries;

static void *race(void *unused)
{
    bool forked;
    CK_RV rv = gate_open(&forked);
    (void)unused;

    if (rv == CKR_OK) {
        atomic_fetch_add(&winners, 1);
        usleep(20000); /* reading the configuration */
        gate_opened(true);
    } else if (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED) {
        atomic_fetch_add(&losers, 1);
    }
    /* Who was told that it is initialized can use it. */
    if (gate_enter() == CKR_OK) {
        atomic_fetch_add(&good_entries, 1);
        gate_leave();
    }
    return NULL;
}

static void test_race(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        pthread_t threads[THREADS];
        atomic_store(&winners, 0);
        atomic_store(&losers, 0);
        atomic_store(&good_entries, 0);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, race, NULL), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(atomic_load(&winners), 1);
        assert_int_equal(atomic_load(&losers), THREADS - 1);
        assert_int_equal(atomic_load(&good_entries), THREADS);
        close_gate();
    }
}

/* In the child: closed until it opens the gate itself; and a call that was inside at the fork does not keep
 * it from closing. */
static int child(void)
{
    bool forked = false;

    if (gate_enter() != CKR_CRYPTOKI_NOT_INITIALIZED || gate_close() != CKR_CRYPTOKI_NOT_INITIALIZED)
        return 1;
    if (gate_open(&forked) != CKR_OK || !forked)
        return 2;
    gate_opened(true);
    if (gate_enter() != CKR_OK)
        return 3;
    gate_leave();
    if (gate_open(&forked) != CKR_CRYPTOKI_ALREADY_INITIALIZED || forked)
        return 4;
    if (gate_close() != CKR_OK || !gate_drain(1000))
        return 5;
    gate_closed();
    return 0;
}

static void test_fork(void **state)
{
    atomic_bool inside = false;
    pthread_t thread;
    int status = -1;
    pid_t pid;
    (void)state;

    atomic_store(&go_on, false);
    open_gate();
    assert_int_equal(pthread_create(&thread, NULL, stay_inside, &inside), 0);
    while (!atomic_load(&inside))
        usleep(1000);
    pid = fork();
    if (pid == 0)
        _exit(child());
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(gate_enter(), CKR_OK); /* the parent's goes on */
    gate_leave();
    atomic_store(&go_on, true);
    close_gate();
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),       cmocka_unit_test(test_recursion),
        cmocka_unit_test(test_drain_waits), cmocka_unit_test(test_waiter_is_woken),
        cmocka_unit_test(test_race),        cmocka_unit_test(test_fork),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
