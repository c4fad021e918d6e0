/* SPDX-License-Identifier: BSD-2-Clause */
/* A hash table from bytes to pointers. The key's bytes are the caller's (usually a part of what the pointer
 * points at) and must stay as long as the entry does. Hashing is keyed at random, per table. No locking of
 * its own. */
#ifndef PPK_BASE_TABLE_H
#define PPK_BASE_TABLE_H

#include "base/bytes.h"

struct table;

/* NULL: no memory. */
struct table *table_new(void);

/* Frees the table, not what it points at. NULL is allowed. */
void table_free(struct table *t);

size_t table_count(const struct table *t);

/* The value of `key`, or NULL. */
void *table_get(const struct table *t, struct span key);

/* Adds an entry; `value` is not NULL. False: no memory, or the key is there already (then nothing is
 * changed). */
bool table_add(struct table *t, struct span key, void *value);

/* Takes an entry out and returns its value, or NULL. */
void *table_remove(struct table *t, struct span key);

/* Walks over all entries, in no order: start with *cursor = 0; NULL at the end. The table must not change
 * meanwhile. */
void *table_next(const struct table *t, size_t *cursor);

#endif
