/* SPDX-License-Identifier: BSD-2-Clause */
/* Open addressing with linear probing; what follows a removed entry moves up, so that there are no
 * tombstones. Hashed by SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"), since the keys
 * come from outside. */
#include "base/table.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    const uint8_t *key;
    void *value; /* NULL: empty */
    uint32_t len;
    uint32_t hash;
};

struct table {
    struct entry *entries;
    size_t mask; /* number of entries, a power of two, less one */
    size_t count;
    struct hash_key key;
};

enum { FIRST_SIZE = 8 };

static uint32_t hash(const struct table *t, struct span s)
{
    uint64_t h = hash_bytes(&t->key, s);

    return (uint32_t)(h ^ h >> 32);
}

struct table *table_new(void)
{
    struct table *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->entries = calloc(FIRST_SIZE, sizeof *t->entries);
    if (!t->entries) {
        free(t);
        return NULL;
    }
    t->mask = FIRST_SIZE - 1;
    hash_key_make(&t->key);
    return t;
}

void table_free(struct table *t)
{
    if (t)
        free(t->entries);
    free(t);
}

size_t table_count(const struct table *t)
{
    return t->count;
}

/* Where the key is, or the empty place where it would be. */
static size_t find(const struct table *t, struct span key, uint32_t h)
{
    size_t i = h & t->mask;

    for (; t->entries[i].value; i = (i + 1) & t->mask) {
        const struct entry *e = &t->entries[i];
        if (e->hash == h && span_equal((struct span){e->key, e->len}, key))
            break;
    }
    return i;
}

void *table_get(const struct table *t, struct span key)
{
    return t->entries[find(t, key, hash(t, key))].value;
}

static bool grow(struct table *t)
{
    size_t size = t->mask + 1;

    if (size > SIZE_MAX / 2 / sizeof *t->entries)
        return false;
    struct entry *bigger = calloc(size * 2, sizeof *bigger);
    if (!bigger)
        return false;
    size_t mask = size * 2 - 1;
    for (size_t i = 0; i < size; i++) {
        if (!t->entries[i].value)
            continue;
        size_t to = t->entries[i].hash & mask;
        while (bigger[to].value)
            to = (to + 1) & mask;
        bigger[to] = t->entries[i];
    }
    free(t->entries);
    t->entries = bigger;
    t->mask = mask;
    return true;
}

bool table_add(struct table *t, struct span key, void *value)
{
    if (!value || key.len > UINT32_MAX)
        return false;
    uint32_t h = hash(t, key);
    if (t->entries[find(t, key, h)].value)
        return false;
    if ((t->count + 1) * 4 > (t->mask + 1) * 3 && !grow(t))
        return false;
    t->entries[find(t, key, h)] =
        (struct entry){.key = key.data, .value = value, .len = (uint32_t)key.len, .hash = h};
    t->count++;
    return true;
}

void *table_remove(struct table *t, struct span key)
{
    size_t gap = find(t, key, hash(t, key));
    void *value = t->entries[gap].value;

    if (!value)
        return NULL;
    /* Move up whatever the gap would cut off from its home. */
    for (size_t i = (gap + 1) & t->mask; t->entries[i].value; i = (i + 1) & t->mask) {
        size_t home = t->entries[i].hash & t->mask;
        if (((i - home) & t->mask) < ((i - gap) & t->mask))
            continue;
        t->entries[gap] = t->entries[i];
        gap = i;
    }
    t->entries[gap] = (struct entry){0};
    t->count--;
    return value;
}

void *table_next(const struct table *t, size_t *cursor)
{
    while (*cursor <= t->mask) {
        void *value = t->entries[(*cursor)++].value;
        if (value)
            return value;
    }
    return NULL;
}
