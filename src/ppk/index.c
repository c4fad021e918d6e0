/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppk/index.h"

#include "ppk/id.h"

#include <stdlib.h>

/* There are as many buckets as PPKs, or up to twice as many. */
enum { FIRST_BUCKETS = 2, LARGE_BUCKETS = 1024 /* of a shard */ };

bool index_init(struct ppk_index *x)
{
    hash_key_make(&x->key);
    return wide_lock_init(&x->lock);
}

void index_destroy(struct ppk_index *x)
{
    for (size_t i = 0; i < INDEX_SHARDS; i++)
        free(x->shards[i].buckets);
    wide_lock_destroy(&x->lock);
}

static uint32_t index_hash(const struct ppk_index *x, struct span key)
{
    return (uint32_t)hash_bytes(&x->key, key);
}

/* The top bits choose the shard, the low ones the bucket. */
static size_t shard_of(uint32_t hash)
{
    return hash >> 26;
}

static struct ppk *shard_find(const struct index_shard *shard, uint32_t hash, struct span key)
{
    struct ppk *p = shard->buckets ? shard->buckets[hash & shard->mask] : NULL;

    while (p && !(p->hash == hash && id_matches(ppk_id(p), p->hex_text, key)))
        p = p->chain;
    return p;
}

struct ppk *index_find(struct ppk_index *x, struct span key)
{
    uint32_t hash = index_hash(x, key);
    struct index_shard *shard = &x->shards[shard_of(hash)];

    wide_lock_read(&x->lock);
    struct ppk *p = shard_find(shard, hash, key);
    if (p && p->state == PPK_SHOWN)
        ppk_ref(p);
    else
        p = NULL;
    wide_lock_read_end(&x->lock);
    return p;
}

struct ppk *index_peek(const struct ppk_index *x, struct span key)
{
    uint32_t hash = index_hash(x, key);

    return shard_find(&x->shards[shard_of(hash)], hash, key);
}

/* To `n` buckets. False: no memory, nothing changed. */
static bool shard_resize(struct index_shard *shard, uint32_t n)
{
    struct ppk **buckets = calloc(n, sizeof(struct ppk *));

    if (!buckets)
        return false;
    for (uint32_t i = 0; shard->buckets && i <= shard->mask; i++)
        for (struct ppk *p = shard->buckets[i], *after; p; p = after) {
            struct ppk **to = &buckets[p->hash & (n - 1)];
            after = p->chain;
            p->chain = *to;
            *to = p;
        }
    free(shard->buckets);
    shard->buckets = buckets;
    shard->mask = n - 1;
    return true;
}

uint64_t index_expect(struct ppk_index *x, struct span key)
{
    if (!atomic_load_explicit(&x->large, memory_order_relaxed))
        return 0;
    uint32_t hash = index_hash(x, key);
    struct index_shard *shard = &x->shards[shard_of(hash)];
    wide_lock_read(&x->lock);
    if (shard->buckets)
        __builtin_prefetch((const void *)&shard->buckets[hash & shard->mask]);
    wide_lock_read_end(&x->lock);
    return UINT64_C(1) << 32 | hash;
}

void index_expect_more(struct ppk_index *x, uint64_t expected)
{
    uint32_t hash = (uint32_t)expected;
    struct index_shard *shard = &x->shards[shard_of(hash)];

    if (!expected)
        return;
    wide_lock_read(&x->lock);
    const struct ppk *p = shard->buckets ? shard->buckets[hash & shard->mask] : NULL;
    wide_lock_read_end(&x->lock);
    if (p) { /* it may be freed by now: this only reads ahead */
        __builtin_prefetch(&p->handle);
        __builtin_prefetch(p->id + 8);
    }
}

bool index_add(struct ppk_index *x, struct ppk *ppk)
{
    struct id_keys keys;
    bool added = true;

    id_keys_make(ppk_id(ppk), &keys);
    ppk->hash = index_hash(x, ppk->hex_text ? keys.key[0] : ppk_id(ppk));
    struct index_shard *shard = &x->shards[shard_of(ppk->hash)];
    wide_lock_write(&x->lock);
    if (!shard->buckets)
        added = shard_resize(shard, FIRST_BUCKETS);
    else if (shard->count > shard->mask && shard->mask < UINT32_MAX / 4)
        (void)shard_resize(shard, 2 * (shard->mask + 1)); /* if there is no memory, chains get longer */
    if (shard->mask >= LARGE_BUCKETS)
        atomic_store_explicit(&x->large, true, memory_order_relaxed);
    if (added) {
        struct ppk **bucket = &shard->buckets[ppk->hash & shard->mask];
        ppk->chain = *bucket;
        *bucket = ppk;
        shard->count++;
    }
    wide_lock_write_end(&x->lock);
    return added;
}

static void shard_remove(struct index_shard *shard, struct ppk *ppk)
{
    struct ppk **at = &shard->buckets[ppk->hash & shard->mask];

    while (*at != ppk)
        at = &(*at)->chain;
    *at = ppk->chain;
    ppk->chain = NULL;
    shard->count--;
    if (shard->mask >= 4 * FIRST_BUCKETS && shard->count * 4 < shard->mask)
        (void)shard_resize(shard, (shard->mask + 1) / 2);
}

void index_state(struct ppk_index *x, struct ppk *ppk, enum ppk_state state)
{
    struct index_shard *shard = &x->shards[shard_of(ppk->hash)];

    wide_lock_write(&x->lock);
    ppk->state = (uint8_t)state;
    if (state == PPK_GONE)
        shard_remove(shard, ppk);
    wide_lock_write_end(&x->lock);
}
