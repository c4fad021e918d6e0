/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of objects: from handles to whatever is behind them, with reference counts. It knows nothing of
 * keys, sessions or networks. A handle is an index and a generation, so that it is found in O(1) without a
 * lock, and never means another object later. Objects are 24 bytes each and never move. */
#ifndef PPK_P11_OBJECT_H
#define PPK_P11_OBJECT_H

#include "p11/cryptoki.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum object_kind {
    OBJECT_PEER,   /* a peer of the keyring, as CKO_DATA; of: struct slot_peer */
    OBJECT_PSK,    /* its pre-shared key; of: struct slot_key */
    OBJECT_MANUAL, /* a manual PPK; as well */
    OBJECT_PPK,    /* a dynamic PPK; of: struct ppk */
    OBJECT_KEY,    /* a session's key; of: struct key */
    OBJECT_KEK,    /* a line card's key-encryption key; of: struct slot_key */
};

struct object {
    _Atomic uint64_t word; /* generation, alive or not, references */
    void *of;
    uint32_t index;
    uint16_t slot;
    uint8_t kind;
};

struct objects;

/* `release` gives back what is behind an object once nobody refers to it any more. NULL: no memory. */
struct objects *objects_new(void (*release)(struct object *o));

/* Removes all that is left, and frees. Nobody may hold a reference. NULL is allowed. */
void objects_free(struct objects *t);

/* A new object; its handle, or 0 (CK_INVALID_HANDLE): no memory, and `of` is still the caller's. Others can
 * find it at once; if that is too early, object_reserve() gives the handle first and object_publish() makes
 * it known. */
CK_OBJECT_HANDLE object_add(struct objects *t, enum object_kind kind, uint16_t slot, void *of);
struct object *object_reserve(struct objects *t);
CK_OBJECT_HANDLE
object_handle(const struct object *o); /* of a reserved object, or of one that is referred to */
void object_publish(struct object *o, enum object_kind kind, uint16_t slot, void *of);
void object_unreserve(struct objects *t, struct object *o);

/* A reference to the object of this handle, or NULL. */
struct object *object_get(struct objects *t, CK_OBJECT_HANDLE handle);
void object_put(struct objects *t, struct object *o); /* NULL is allowed */

/* What the object of this handle looks like to those who only read it, without a look at the table: for what
 * is known to exist. */
struct object object_shadow(CK_OBJECT_HANDLE handle, enum object_kind kind, uint16_t slot, void *of);

/* Does the object still exist (as opposed to: is only referred to)? */
bool object_alive(const struct object *o);

/* Takes it out. False: somebody else did, or it never was. */
bool object_remove(struct objects *t, CK_OBJECT_HANDLE handle);

/* Walks over all objects, from *cursor = 0: the next one, with a reference; NULL at the end. Objects may come
 * and go meanwhile. */
struct object *objects_next(struct objects *t, uint32_t *cursor);

#endif
