/* SPDX-License-Identifier: BSD-2-Clause */
/* The index of PPKs by canonical ID. Chained through the PPKs themselves; in shards, so that one grows at a
 * time. Lookups in several threads do not meet. Who changes it holds the store's lock as well as its own; so
 * who holds that may read without the index's. */
#ifndef PPK_PPK_INDEX_H
#define PPK_PPK_INDEX_H

#include "base/hash.h"
#include "base/thread.h"
#include "ppk/ppk_store.h"

enum ppk_state {
    PPK_HIDDEN, /* in the index, so that its ID is taken, but still to be told to the token */
    PPK_POOLED, /* fetched ahead; nobody has seen it */
    PPK_SHOWN,  /* held */
    PPK_GONE,   /* taken out */
};

enum { INDEX_SHARDS = 64 };

struct index_shard {
    struct ppk **buckets;
    uint32_t mask; /* number of buckets, a power of two, less one */
    uint32_t count;
};

struct ppk_index {
    struct wide_lock lock;
    struct index_shard shards[INDEX_SHARDS];
    struct hash_key key;
    _Atomic bool large; /* too large for the processor's caches */
};

/* False: no memory. */
bool index_init(struct ppk_index *x);
void index_destroy(struct ppk_index *x);

/* The shown PPK of a canonical ID, with a reference for the caller, or NULL. Takes the index's lock. */
struct ppk *index_find(struct ppk_index *x, struct span key);

/* Before an index_find() that is to come, as ppk_store_expect() does. */
uint64_t index_expect(struct ppk_index *x, struct span key);
void index_expect_more(struct ppk_index *x, uint64_t expected);

/* The PPK of a canonical ID in whatever state but gone, or NULL; no reference. The caller holds the store's
 * lock. */
struct ppk *index_peek(const struct ppk_index *x, struct span key);

/* Adds a PPK whose ID is not there. False: no memory. The caller holds the store's lock; so also below. */
bool index_add(struct ppk_index *x, struct ppk *ppk);

/* Changes the state of a PPK; PPK_GONE takes it out. */
void index_state(struct ppk_index *x, struct ppk *ppk, enum ppk_state state);

#endif
