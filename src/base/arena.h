/* SPDX-License-Identifier: BSD-2-Clause */
/* The pages under secret.h: slabs of slots of one size, between inaccessible pages. For src/base/secret.c
 * only. */
#ifndef PPK_BASE_ARENA_H
#define PPK_BASE_ARENA_H

#include "base/secret.h"

enum arena_kind {
    ARENA_WORK,   /* working memory: locked as long as the system allows it at all */
    ARENA_PLACE,  /* secrets in place: locked, or not to be had */
    ARENA_SEALED, /* ciphertext: need not be locked */
    ARENA_KINDS
};

/* The largest slot, and the largest allocation of ARENA_WORK, in bytes. */
#define ARENA_SLOT_MAX (SECRET_MAX + 32)
#define ARENA_WORK_MAX (64u * 1024)

/* A zeroed slot of at least `size` bytes (1 to ARENA_SLOT_MAX; ARENA_WORK: to ARENA_WORK_MAX), aligned to 16
 * bytes, or to 8 for the other kinds. NULL: no memory, or the limit of locked memory is reached. */
void *arena_alloc(enum arena_kind kind, size_t size);

/* Wipes the slot and gives it back. What was wiped by a fork is left alone. */
void arena_free(enum arena_kind kind, void *slot);

/* What all ends of the process's sealed secrets share: 32 bytes of locked memory with the key that a sealed
 * slot was sealed under, made at the first call. `slot` NULL: for a new one. A shared object of ours that has
 * its own copy of this code may open what another has sealed, so the key goes by the slot. NULL: no memory or
 * no randomness. */
const uint8_t *arena_seal_key(const void *slot);

#endif
