/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppk/miss.h"

#include <stdlib.h>
#include <string.h>

struct miss {
    struct miss *next;
    uint64_t until_ms;
    size_t len;
    uint8_t key[];
};

bool misses_init(struct misses *m)
{
    *m = (struct misses){.by_key = table_new()};
    return m->by_key;
}

static void forget_first(struct misses *m)
{
    struct miss *miss = m->first;

    table_remove(m->by_key, (struct span){miss->key, miss->len});
    m->first = miss->next;
    if (!m->first)
        m->last = NULL;
    free(miss);
}

void misses_destroy(struct misses *m)
{
    while (m->first)
        forget_first(m);
    table_free(m->by_key);
    m->by_key = NULL;
}

bool misses_know(struct misses *m, struct span key, uint64_t now)
{
    while (m->first && m->first->until_ms <= now)
        forget_first(m);
    return table_get(m->by_key, key);
}

void misses_add(struct misses *m, struct span key, uint64_t now)
{
    if (misses_know(m, key, now))
        return;
    if (table_count(m->by_key) >= MISS_MAX)
        forget_first(m);
    struct miss *miss = malloc(sizeof *miss + key.len);
    if (!miss)
        return;
    *miss = (struct miss){.until_ms = now + MISS_MS, .len = key.len};
    memcpy(miss->key, key.data, key.len);
    if (!table_add(m->by_key, (struct span){miss->key, miss->len}, miss)) {
        free(miss);
        return;
    }
    if (m->last)
        m->last->next = miss;
    else
        m->first = miss;
    m->last = miss;
}

bool miss_limit_allows(struct miss_limit *l, uint32_t per_s, uint64_t now)
{
    uint64_t given = (now - l->since_ms) * per_s / 1000;

    if (given >= l->taken) {
        l->taken = 0;
        l->since_ms = now;
    } else if (given) {
        l->taken -= (uint32_t)given;
        l->since_ms = now;
    }
    return l->taken < per_s;
}

void miss_limit_take(struct miss_limit *l)
{
    l->taken++;
}
