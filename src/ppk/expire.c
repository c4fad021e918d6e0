/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppk/expire.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 16, PLACES_MAX = (1 << 24) - 1 };

bool expiry_reserve(struct expiry_heap *h, size_t n)
{
    size_t room = h->room ? h->room : FIRST_ROOM;

    while (room < n)
        room += room / 2;
    while (room > 4 * FIRST_ROOM && room / 4 > n)
        room /= 2;
    if (room == h->room)
        return true;
    if (room > PLACES_MAX)
        return false;
    struct ppk **ppks = calloc(room, sizeof(struct ppk *));
    if (!ppks)
        return room < h->room; /* not made smaller: no harm */
    /* Not realloc(), which would touch the room of all that never expire: so it costs no memory. */
    if (h->n)
        memcpy(ppks, h->ppks, h->n * sizeof(struct ppk *));
    free(h->ppks);
    h->ppks = ppks;
    h->room = (uint32_t)room;
    return true;
}

void expiry_free(struct expiry_heap *h)
{
    free(h->ppks);
    *h = (struct expiry_heap){0};
}

static void put(struct expiry_heap *h, uint32_t place, struct ppk *ppk)
{
    h->ppks[place] = ppk;
    ppk->place = place & PLACES_MAX;
}

static void sift_up(struct expiry_heap *h, uint32_t place, struct ppk *ppk)
{
    while (place) {
        uint32_t parent = (place - 1) / 2;
        if (h->ppks[parent]->expires_ms <= ppk->expires_ms)
            break;
        put(h, place, h->ppks[parent]);
        place = parent;
    }
    put(h, place, ppk);
}

static void sift_down(struct expiry_heap *h, uint32_t place, struct ppk *ppk)
{
    for (;;) {
        size_t child = 2 * (size_t)place + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && h->ppks[child + 1]->expires_ms < h->ppks[child]->expires_ms)
            child++;
        if (ppk->expires_ms <= h->ppks[child]->expires_ms)
            break;
        put(h, place, h->ppks[child]);
        place = (uint32_t)child;
    }
    put(h, place, ppk);
}

void expiry_add(struct expiry_heap *h, struct ppk *ppk)
{
    if (ppk->expires_ms == UINT64_MAX)
        return;
    sift_up(h, h->n++, ppk);
}

void expiry_remove(struct expiry_heap *h, struct ppk *ppk)
{
    uint32_t place = ppk->place;

    if (ppk->expires_ms == UINT64_MAX)
        return;
    struct ppk *last = h->ppks[--h->n];
    if (last == ppk)
        return;
    if (place && h->ppks[(place - 1) / 2]->expires_ms > last->expires_ms)
        sift_up(h, place, last);
    else
        sift_down(h, place, last);
}

struct ppk *expiry_first(const struct expiry_heap *h)
{
    return h->n ? h->ppks[0] : NULL;
}
