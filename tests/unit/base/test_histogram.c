/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/histogram.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Every time is in the bucket whose limits are around it. */
static void buckets(void **state)
{
    (void)state;
    for (uint64_t us = 0; us < UINT64_C(1) << 40; us += 1 + us / 7) {
        size_t i = histogram_bucket(us);
        assert_true(i < HISTOGRAM_BUCKETS);
        assert_true(us < histogram_limit(i));
        assert_true(i == 0 || us >= histogram_limit(i - 1));
    }
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    for (size_t i = 1; i < HISTOGRAM_BUCKETS; i++)
        assert_true(histogram_limit(i) > histogram_limit(i - 1));
}

static void percentiles(void **state)
{
    uint64_t all[HISTOGRAM_BUCKETS] = {0};

    (void)state;
    assert_int_equal(histogram_percentile(all, 50), 0);
    for (unsigned us = 1; us <= 10000; us++)
        all[histogram_bucket(us)]++;
    for (unsigned percent = 10; percent <= 100; percent += 10) {
        uint64_t got = histogram_percentile(all, percent);
        assert_in_range(got, percent * 100, percent * 125);
    }
    all[HISTOGRAM_BUCKETS - 1] = UINT64_MAX; /* as a hostile file may say */
    assert_int_equal(histogram_percentile(all, 99), histogram_limit(HISTOGRAM_BUCKETS - 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(buckets), cmocka_unit_test(percentiles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
