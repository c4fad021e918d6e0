/* SPDX-License-Identifier: BSD-2-Clause */
/* IDs that a key source has just said it does not have. An IKE peer that is not authenticated yet can name
 * any ID (RFC 8784, 3); what is asked twice within a second is answered from here, and what is asked too
 * often has to wait. The caller locks. */
#ifndef PPK_PPK_MISS_H
#define PPK_PPK_MISS_H

#include "base/table.h"

enum {
    MISS_MS = 1000,  /* for how long a "no such key" is believed */
    MISS_MAX = 4096, /* so many are remembered; the oldest goes first */
};

struct miss;
struct misses {
    struct table *by_key;
    struct miss *first, *last; /* in the order of their end */
};

/* False: no memory. */
bool misses_init(struct misses *m);
void misses_destroy(struct misses *m);

/* Has this been said lately? `key`: whatever tells questions apart. */
bool misses_know(struct misses *m, struct span key, uint64_t now);

/* Remembers it, if there is memory. */
void misses_add(struct misses *m, struct span key, uint64_t now);

/* How many misses a profile may have yet: a bucket that fills by time and holds a second's worth. All zeros
 * is a full one. */
struct miss_limit {
    uint64_t since_ms; /* the time up to which the bucket was filled */
    uint32_t taken;
};
bool miss_limit_allows(struct miss_limit *l, uint32_t per_s, uint64_t now);
void miss_limit_take(struct miss_limit *l);

#endif
