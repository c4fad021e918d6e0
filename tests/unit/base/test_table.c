/* SPDX-License-Identifier: BSD-2-Clause */
/* The hash table, against an array that does the same by counting. */
#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 5000 };

static struct item {
    uint32_t key;
    bool in;
    unsigned seen;
} items[KEYS];

static struct span key_of(const struct item *i)
{
    return (struct span){(const uint8_t *)&i->key, sizeof i->key};
}

static void check_all(const struct table *t)
{
    size_t in = 0, cursor = 0;

    for (size_t i = 0; i < KEYS; i++) {
        in += items[i].in;
        items[i].seen = 0;
        assert_ptr_equal(table_get(t, key_of(&items[i])), items[i].in ? &items[i] : NULL);
    }
    assert_int_equal(table_count(t), in);
    for (struct item *i; (i = table_next(t, &cursor));)
        i->seen++;
    for (size_t i = 0; i < KEYS; i++)
        assert_int_equal(items[i].seen, items[i].in);
}

static void random_operations(void **state)
{
    struct table *t = table_new();
    unsigned seed = 1;

    (void)state;
    assert_non_null(t);
    for (size_t i = 0; i < KEYS; i++)
        items[i] = (struct item){.key = (uint32_t)i * 64};
    for (int n = 0; n < 60000; n++) {
        struct item *i = &items[(size_t)rand_r(&seed) % KEYS];
        bool adding = n < 20000 ? rand_r(&seed) % 4 != 0 : rand_r(&seed) % 4 == 0; /* grows, then shrinks */
        if (adding) {
            assert_int_equal(table_add(t, key_of(i), i), !i->in);
            i->in = true;
        } else {
            assert_ptr_equal(table_remove(t, key_of(i)), i->in ? i : NULL);
            i->in = false;
        }
        if (n % 10000 == 0)
            check_all(t);
    }
    check_all(t);
    table_free(t);
}

static void key_lengths(void **state)
{
    static uint8_t bytes[300];
    static int values[300];
    struct table *t = table_new();

    (void)state;
    assert_non_null(t);
    assert_null(table_get(t, (struct span){NULL, 0}));
    for (size_t len = 0; len < 300; len++) /* all zeros: only the length tells them apart */
        assert_true(table_add(t, (struct span){bytes, len}, &values[len]));
    for (size_t len = 0; len < 300; len++)
        assert_ptr_equal(table_get(t, (struct span){bytes, len}), &values[len]);
    assert_false(table_add(t, (struct span){NULL, 0}, &values[1]));
    assert_false(table_add(t, (struct span){(const uint8_t *)"k", 1}, NULL));
    assert_false(table_add(t, (struct span){(const uint8_t *)"k", (size_t)UINT32_MAX + 1}, &values[1]));
    assert_int_equal(table_count(t), 300);
    table_free(t);
    table_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_operations), cmocka_unit_test(key_lengths)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
