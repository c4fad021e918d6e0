/* SPDX-License-Identifier: BSD-2-Clause */
/* Which PPK expires next: a heap, in which each PPK knows its place. The caller locks. */
#ifndef PPK_PPK_EXPIRE_H
#define PPK_PPK_EXPIRE_H

#include "ppk/ppk_store.h"

struct expiry_heap {
    struct ppk **ppks;
    uint32_t n, room;
};

/* Makes room for `n` PPKs in all (or gives back what is far more than that). False: no memory. */
bool expiry_reserve(struct expiry_heap *h, size_t n);
void expiry_free(struct expiry_heap *h);

/* Adds a PPK; there has to be room. One that never expires is not added, and removing it changes nothing. */
void expiry_add(struct expiry_heap *h, struct ppk *ppk);
void expiry_remove(struct expiry_heap *h, struct ppk *ppk);

/* The one that expires first, or NULL. */
struct ppk *expiry_first(const struct expiry_heap *h);

#endif
