/* SPDX-License-Identifier: BSD-2-Clause */
/* Finding keyrings, profiles and peers. */
#include "keyring/index.h"

#include <string.h>

static struct span span_make(const char *text, size_t len)
{
    return (struct span){(const uint8_t *)text, len};
}

struct keyring *configuration_keyring(const struct configuration *c, const char *name, size_t len)
{
    return table_get(c->index->keyrings, span_make(name, len));
}

struct sks_profile *configuration_profile(const struct configuration *c, const char *name, size_t len)
{
    return table_get(c->index->profiles, span_make(name, len));
}

struct peer *keyring_peer_by_name(const struct keyring *k, const char *name, size_t len)
{
    return k->index == NULL ? NULL : table_get(k->index->names, span_make(name, len));
}

struct kek *keyring_kek_by_name(const struct keyring *k, const char *name, size_t len)
{
    return k->index == NULL ? NULL : table_get(k->index->keks, span_make(name, len));
}

/* The entry of the range that has these masked bytes, or NULL. */
static const struct group_entry *range_search(const struct keyring_index *index,
                                              const struct group_range *range, const uint8_t *masked)
{
    size_t low = range->first, high = range->first + range->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(masked, index->groups[middle].masked, range->len);

        if (order == 0)
            return &index->groups[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

struct peer *keyring_peer_by_address(const struct keyring *k, const uint8_t *address, size_t len)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const struct keyring_index *index = k->index;

    if (len == 16 && memcmp(address, mapped, sizeof mapped) == 0) {
        address += sizeof mapped;
        len = 4;
    }
    if (index == NULL || (len != 4 && len != 16))
        return NULL;
    for (size_t i = 0; i < index->n_ranges; i++) {
        const struct group_range *range = &index->ranges[i];
        const struct group_entry *found;
        uint8_t masked[16];

        if (range->len != len)
            continue;
        address_mask(masked, address, len, range->prefix);
        found = range_search(index, range, masked);
        if (found != NULL)
            return found->peer;
    }
    return NULL;
}

struct peer *keyring_peer_by_system_id(const struct keyring *k, const char *id, size_t len, size_t *cursor)
{
    struct peer *p;
    size_t next;

    if (k->index == NULL)
        return NULL;
    /* *cursor: 0 at the start, then 1 + the index of the next peer; beyond the last one, more than there are
     * peers */
    if (*cursor == 0)
        p = table_get(k->index->system_ids, span_make(id, len));
    else
        p = *cursor <= k->n_peers ? &k->peers[*cursor - 1] : NULL;
    if (p == NULL) {
        *cursor = SIZE_MAX;
        return NULL;
    }
    next = k->index->next[p - k->peers];
    *cursor = next == SIZE_MAX ? SIZE_MAX : next + 1;
    return p;
}

bool peer_ppk_required(const struct peer *p)
{
    if (p->dynamic != NULL && p->dynamic_required)
        return true;
    for (size_t i = 0; i < p->n_manual; i++) {
        if (p->manual[i].required)
            return true;
    }
    return false;
}
