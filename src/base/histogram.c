/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/histogram.h"

enum { SHORTEST_BITS = 6 /* 64 us */, QUARTERS = 4 };

uint64_t histogram_limit(size_t i)
{
    if (i + 1 >= HISTOGRAM_BUCKETS)
        return UINT64_MAX;
    /* Bucket 0 ends at 64; bucket 1 + 4n + q at 64 * 2^n * (1 + (q + 1) / 4). */
    if (i == 0)
        return UINT64_C(1) << SHORTEST_BITS;
    uint64_t octave = UINT64_C(1) << (SHORTEST_BITS + (i - 1) / QUARTERS);
    return octave + octave / QUARTERS * ((i - 1) % QUARTERS + 1);
}

size_t histogram_bucket(uint64_t us)
{
    if (us < UINT64_C(1) << SHORTEST_BITS)
        return 0;
    unsigned top = 63U - (unsigned)__builtin_clzll(us);
    size_t quarter = (us >> (top - 2)) & (QUARTERS - 1);
    size_t i = 1 + (size_t)(top - SHORTEST_BITS) * QUARTERS + quarter;
    return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

uint64_t histogram_percentile(const uint64_t buckets[static HISTOGRAM_BUCKETS], unsigned percent)
{
    double all = 0, below = 0;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        all += (double)buckets[i];
    if (all <= 0)
        return 0;
    for (size_t i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
        below += (double)buckets[i];
        if (below * 100 >= all * percent)
            return histogram_limit(i);
    }
    return histogram_limit(HISTOGRAM_BUCKETS - 2);
}
