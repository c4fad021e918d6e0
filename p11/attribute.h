/* SPDX-License-Identifier: BSD-2-Clause */
/* The attributes' values: what each kind of object shows. */
#ifndef PPK_P11_ATTRIBUTE_H
#define PPK_P11_ATTRIBUTE_H

#include "p11/library.h"
#include "p11/template.h"

/* A value: `data` points into the object, or into this. */
struct attribute_value {
    const void *data;
    size_t len;
    CK_BBOOL flag;
    CK_ULONG number;
    char small[64];
    struct secret_view view;
    struct text text;
};

/* The value of an attribute of `o`. CKR_OK, and then attribute_clear() later; CKR_ATTRIBUTE_SENSITIVE;
 * CKR_ATTRIBUTE_TYPE_INVALID: it has no such attribute; CKR_HOST_MEMORY. The caller holds key_lock() of a
 * session key until he is done with the value. An object of kind OBJECT_PPK without `of` stands for a PPK
 * that is still to be fetched. */
CK_RV attribute_value(const struct slot *s, const struct object *o, const struct attribute_row *row,
                      struct attribute_value *v);
void attribute_clear(struct attribute_value *v);

/* Locks a session key, as attribute_value() needs it; nothing for other objects. */
void attribute_lock(const struct object *o);
void attribute_unlock(const struct object *o);

/* The boolean attributes of an object: FLAG_*. */
uint32_t object_flags(const struct slot *s, const struct object *o);

/* By these flags, does CKA_VALUE come out? */
static inline bool flags_readable(uint32_t flags)
{
    return (flags & (FLAG_SENSITIVE | FLAG_EXTRACTABLE)) == FLAG_EXTRACTABLE;
}

/* A PPK that is yet to be fetched, of this peer (NULL: of any): an OBJECT_PPK of nothing. */
struct object_future {
    struct object object;
    const struct slot_peer *who;
};

/* The peer behind a configured object or a PPK, or NULL. */
const struct slot_peer *object_peer(const struct object *o);

#endif
