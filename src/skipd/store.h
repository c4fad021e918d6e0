/* SPDX-License-Identifier: BSD-2-Clause */
/* What a store of keys has to do. A store NAME is one file, store_NAME.c, that defines the struct store_kind
 * store_NAME: the build finds it, and the configuration's "store NAME WHERE" means it. It holds the keys that
 * this key source owes to its clients: those that a peer's initiator was, or is about to be, given.
 *
 * A row lives from store_put() until it expires. Its value goes with the first take(); what stays is the ID
 * (a *tombstone*), so that a repeated put of a key that was delivered does not bring it back. Values are
 * sealed (seal.h); time runs on a clock of the store's own that neither a changed wall clock nor a restart
 * lets jump.
 *
 * All functions are called by one thread. put, take, restore and expire only between begin and commit. If one
 * of them answers STORE_FAILED, the caller rolls back, and nothing of the transaction has happened. When
 * commit() has returned true, everything is on stable storage. */
#ifndef PPK_SKIPD_STORE_H
#define PPK_SKIPD_STORE_H

#include "base/bytes.h"
#include "base/fault.h"
#include "skipd/stores.h"
#include "skipd/uri.h"

enum store_result {
    STORE_OK,
    STORE_NOT_FOUND, /* take: no such key for these two systems, or expired */
    STORE_DELIVERED, /* take, put: this key has been taken already */
    STORE_EXISTS, /* put: a row with this ID is there; its value is in `found`, or found_len is 0 if it is of
                     other systems */
    STORE_FULL,   /* put: as many keys as configured are waiting, or there are as many rows as may be */
    STORE_FAILED, /* the storage itself: the reason is in the fault */
};

/* The largest sealed value. */
#define STORE_SEALED_MAX (1024 + 28)

/* Expired rows that are deleted at once: more than a transaction can add, so that a store never fills with
 * them. */
#define STORE_EXPIRE_AT_ONCE 2000

struct store_row {
    uint8_t id[KEY_ID_MAX];
    size_t id_len;
    char initiator[SYSTEM_ID_MAX + 1];
    char responder[SYSTEM_ID_MAX + 1];
    uint8_t sealed[STORE_SEALED_MAX]; /* put, restore: what to store */
    size_t sealed_len;
    uint64_t ttl_ms;     /* put: how long from now */
    uint64_t limit;      /* put: keys that may wait, with this one */
    uint64_t limit_rows; /* put: rows that there may be, with this one; those of delivered keys, too */
    uint8_t found[STORE_SEALED_MAX]; /* take, put: what was stored */
    size_t found_len;
    uint64_t left_ms; /* take: how long it would have been there yet */
};

struct store; /* each kind's own */

struct store_kind {
    bool is_file; /* `where` is a file's name, and may be relative to the configuration's */
    /* Can `where` be the rest of the configuration's line? NULL: anything. */
    bool (*check)(const char *where, struct fault *fault);
    /* Opens or creates. `where`: the rest of the configuration's line. */
    struct store *(*open)(const char *where, struct fault *fault);
    void (*close)(struct store *s);

    /* Small facts that belong to the store (salt of the store key). read: STORE_NOT_FOUND if there is none.
     * Outside of transactions; write is durable when it returns. Where several processes share a store, the
     * first write of a fact may win: read it again. */
    enum store_result (*fact_read)(struct store *s, const char *name, uint8_t *out, size_t len,
                                   struct fault *fault);
    enum store_result (*fact_write)(struct store *s, const char *name, struct span value,
                                    struct fault *fault);

    bool (*begin)(struct store *s, struct fault *fault);
    bool (*commit)(struct store *s, struct fault *fault);
    void (*rollback)(struct store *s);

    /* Adds the row. STORE_DELIVERED: it was here, for these systems, and has been taken. */
    enum store_result (*put)(struct store *s, struct store_row *row, struct fault *fault);
    /* Takes the value of `row` (ID and both system IDs) into row->found, and leaves the tombstone. */
    enum store_result (*take)(struct store *s, struct store_row *row, struct fault *fault);
    /* Undoes a take whose value has certainly not been seen by anybody. */
    enum store_result (*restore)(struct store *s, const struct store_row *row, struct fault *fault);
    /* Deletes STORE_EXPIRE_AT_ONCE of the expired rows; *more: there may be others. */
    enum store_result (*expire)(struct store *s, bool *more, struct fault *fault);
    /* Rows with a value, for status. */
    uint64_t (*waiting)(const struct store *s);
};

#define STORE_DECLARE(name) extern const struct store_kind store_##name;
/* NOLINTNEXTLINE(bugprone-macro-parentheses) */
STORE_KINDS(STORE_DECLARE)

/* The kind of this name, or NULL. */
const struct store_kind *store_kind_find(const char *name);
/* The name of the n-th of STORE_WORDS. */
const char *store_kind_name(size_t n);

#endif
