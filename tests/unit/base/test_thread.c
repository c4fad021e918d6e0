/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers of threads, and the lock for what is read all the time. */
#include "base/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include <cmocka.h>

enum { THREADS = 24, TURNS = 2000 };

static struct wide_lock lock;
static long first, second; /* equal, but for who writes them */
static atomic_bool torn;
static atomic_uint numbers[THREADS + 1];

static void *reader(void *context)
{
    (void)context;
    const unsigned n = thread_number();
    atomic_fetch_add(&numbers[n <= THREADS ? n : 0], 1);
    for (int i = 0; i < TURNS; i++) {
        wide_lock_read(&lock);
        if (first != second)
            torn = true;
        wide_lock_read_end(&lock);
        if (thread_number() != n)
            torn = true;
    }
    return NULL;
}

static void *writer(void *context)
{
    (void)context;
    for (int i = 0; i < TURNS / 10; i++) {
        wide_lock_write(&lock);
        first++;
        second = first;
        wide_lock_write_end(&lock);
    }
    return NULL;
}

/* More readers than the lock has lanes, and two who write. */
static void test_wide_lock(void **state)
{
    pthread_t readers[THREADS], writers[2];

    (void)state;
    assert_int_equal(thread_number(), 0);
    assert_int_equal(thread_number(), 0);
    assert_true(wide_lock_init(&lock));
    for (int i = 0; i < THREADS; i++)
        assert_true(thread_start(&readers[i], 1 << 16, reader, NULL));
    for (int i = 0; i < 2; i++)
        assert_true(thread_start(&writers[i], 1 << 16, writer, NULL));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(writers[i], NULL), 0);
    wide_lock_destroy(&lock);
    assert_false(torn);
    assert_int_equal(first, 2 * (TURNS / 10));
    assert_int_equal(second, first);
    for (int i = 1; i <= THREADS; i++) /* a number for each thread */
        assert_int_equal(numbers[i], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wide_lock)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
