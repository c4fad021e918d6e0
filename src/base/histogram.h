/* SPDX-License-Identifier: BSD-2-Clause */
/* Times in a histogram of fixed, logarithmic buckets: four to each doubling, from 64 microseconds to 134
 * seconds, so that a percentile is right within a fifth. */
#ifndef PPK_BASE_HISTOGRAM_H
#define PPK_BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 86u /* the first is of all that is shorter, the last of all that is longer */

/* The bucket of a time of `us` microseconds. */
size_t histogram_bucket(uint64_t us);

/* The time in microseconds that all of bucket `i` are shorter than; UINT64_MAX of the last. */
uint64_t histogram_limit(size_t i);

/* The time in microseconds that `percent` (1 to 100) of all are not longer than; 0 if there are none, the
 * last bucket's lower limit if it is beyond all limits. */
uint64_t histogram_percentile(const uint64_t buckets[static HISTOGRAM_BUCKETS], unsigned percent);

#endif
