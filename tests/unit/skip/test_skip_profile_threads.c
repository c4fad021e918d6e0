/* SPDX-License-Identifier: BSD-2-Clause */
/* Many requests at once. */
#include "made_up.h"

static void *one_get(void *context)
{
    struct skip_key key;
    struct fault own;
    char id[16];
    snprintf(id, sizeof id, "%04zx", (size_t)(uintptr_t)context);
    enum skip_result result = skip_key_by_id(profile, id, "Bob", clock_ms() + 5000, &key, &own);
    skip_key_clear(&key);
    return (void *)(uintptr_t)result;
}

static void join_all(const pthread_t *threads, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_int_equal((uintptr_t)result, SKIP_OK);
    }
}

/* Of many at once, one asks for the capabilities, and no more than SKIP_WIRES_MAX are under way. */
static void many_at_once(void **state)
{
    pthread_t threads[96];
    (void)state;
    conf.timeout_ms = 5000;
    fake.capabilities[0].delay_ms = 30;
    fake.key[0].delay_ms = 10;
    for (size_t i = 0; i < 96; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, one_get, (void *)(uintptr_t)i), 0);
    join_all(threads, 96);
    assert_in_range(fake.wires, 1, SKIP_WIRES_MAX);
    assert_counts(SKIP_REQUEST_CAPABILITIES, 1, 1, 0);
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 96, 96, 0);
}

static unsigned lookups_logged(void)
{
    unsigned n = 0;
    pthread_mutex_lock(&fake.lock);
    for (const char *at = fake.log; (at = strstr(at, "0i ")); at += 3)
        n++;
    pthread_mutex_unlock(&fake.lock);
    return n;
}

/* However many keys are asked for by their ID, and however slowly that goes: who wants a new key gets it. */
static void lookups_leave_room(void **state)
{
    pthread_t threads[96];
    (void)state;
    conf.timeout_ms = 10000;
    conf.n_servers = 1;
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    fake.key[0].delay_ms = 3000; /* longer than all that follows takes, on a slow machine too */
    for (size_t i = 0; i < 96; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, one_get, (void *)(uintptr_t)i), 0);
    while (lookups_logged() < SKS_LOOKUPS)
        usleep(1000);
    pthread_mutex_lock(&fake.lock);
    fake.key[0].delay_ms = 0;
    pthread_mutex_unlock(&fake.lock);
    uint64_t start = clock_ms();
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    assert_in_range(clock_ms() - start, 0, 500);
    assert_int_equal(lookups_logged(), SKS_LOOKUPS);
    join_all(threads, 96);
}

/* Servers come and go meanwhile; every request finds one that is well. */
static void many_over_flapping(void **state)
{
    pthread_t threads[32];
    (void)state;
    conf.timeout_ms = 5000;
    conf.hedge_ms = 20;
    for (unsigned round = 0; round < 10; round++) {
        pthread_mutex_lock(&fake.lock);
        for (size_t i = 0; i < SERVERS; i++) {
            fake.key[i].result = round % SERVERS == i ? SKIP_UNREACHABLE : SKIP_OK;
            fake.key[i].delay_ms = (round + 1) % SERVERS == i ? NEVER : 1;
        }
        pthread_mutex_unlock(&fake.lock);
        for (size_t i = 0; i < 32; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, one_get, (void *)(uintptr_t)i), 0);
        join_all(threads, 32);
    }
    struct skip_counts c;
    skip_profile_counts(profile, &c);
    assert_int_equal(c.passed[SKIP_REQUEST_KEY_BY_ID], 320);
    for (size_t i = 0; i < SKIP_REQUESTS; i++)
        assert_int_equal(c.total[i], c.passed[i] + c.failed[i]);
}

static void *interrupt_soon(void *context)
{
    (void)context;
    usleep(50000);
    skip_profile_interrupt(profile);
    return NULL;
}

static void interrupted(void **state)
{
    pthread_t interrupter, threads[8];
    uint64_t start = clock_ms();
    (void)state;
    conf.timeout_ms = 10000;
    fake.capabilities[0].delay_ms = NEVER;
    assert_int_equal(pthread_create(&interrupter, NULL, interrupt_soon, NULL), 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, one_get, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < 8; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_int_equal((uintptr_t)result, SKIP_UNREACHABLE);
    }
    pthread_join(interrupter, NULL);
    assert_in_range(clock_ms() - start, 40, 1000);
    assert_int_equal(get(NULL, "Bob"), SKIP_UNREACHABLE);
    assert_non_null(strstr(fault.text, "interrupted"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_at_once),
        TEST(lookups_leave_room),
        TEST(many_over_flapping),
        TEST(interrupted),
    };
    log_open("test", "none");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
