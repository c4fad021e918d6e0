/* SPDX-License-Identifier: BSD-2-Clause */
/* SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"), for tables whose keys come from
 * outside. */
#ifndef PPK_BASE_HASH_H
#define PPK_BASE_HASH_H

#include "base/bytes.h"

struct hash_key {
    uint64_t half[2];
};

/* A random key, for one table. */
void hash_key_make(struct hash_key *key);

/* The hash of `s` under `key`. NOT for secrets. */
uint64_t hash_bytes(const struct hash_key *key, struct span s);

#endif
