/* SPDX-License-Identifier: BSD-2-Clause */
/* What index.c builds and match.c looks up. Private to src/keyring. */
#ifndef PPK_KEYRING_INDEX_H
#define PPK_KEYRING_INDEX_H

#include "base/table.h"
#include "keyring/keyring.h"

/* IPv4 has 33 prefix lengths, IPv6 129. */
#define GROUP_RANGES_MAX (33 + 129)

struct group_entry {
    uint8_t masked[16];
    uint8_t len, prefix;
    unsigned line;
    struct peer *peer;
};

/* The entries of one family and prefix length, sorted by address. */
struct group_range {
    uint8_t len, prefix;
    size_t first, n;
};

struct keyring_index {
    struct table *names;
    struct table *keks;       /* by name */
    struct table *system_ids; /* the first peer of each */
    size_t *next;             /* per peer: the next one with its system ID, or SIZE_MAX */
    struct group_entry *groups;
    size_t n_groups;
    struct group_range *ranges; /* per family from the longest prefix to the shortest */
    size_t n_ranges;
};

struct configuration_index {
    struct table *keyrings, *profiles;
};

#endif
