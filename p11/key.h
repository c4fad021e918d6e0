/* SPDX-License-Identifier: BSD-2-Clause */
/* Session keys: secret keys that were imported, derived or generated, and live as long as their session. They
 * are indexed by CKA_ID and by CKA_LABEL. */
#ifndef PPK_P11_KEY_H
#define PPK_P11_KEY_H

#include "base/secret.h"
#include "p11/object.h"
#include "p11/template.h"

struct slot;
struct session;

/* A place in an index. */
struct key_link {
    struct key *next;
    uint32_t hash;
    bool linked;
};

enum key_index { KEY_BY_ID, KEY_BY_LABEL, KEY_INDEXES };

/* What few keys have. */
struct key_extra {
    CK_DATE start, end;
    bool has_start, has_end, has_allowed;
    size_t n_allowed;
    CK_MECHANISM_TYPE allowed[];
};

/* What a search reads comes first. */
struct key {
    struct key_link link[KEY_INDEXES]; /* under the index's lock */
    uint8_t *text[KEY_INDEXES];        /* CKA_ID, CKA_LABEL; under key_lock(); `inline_text` or allocated */
    uint32_t text_len[KEY_INDEXES];
    _Atomic uint32_t flags; /* FLAG_*, template.h */
    uint32_t type;          /* CKK_* */
    struct object *object;
    bool own_text[KEY_INDEXES]; /* allocated */
    bool linked;                /* to the session; under the session's lock */
    _Atomic bool named;         /* has a text, or had one: may be in an index */
    _Atomic bool hot;           /* a prf may be kept ready for it (policy_hot()) */
    struct secret *value;
    _Atomic(struct key_extra *) extra; /* or NULL; once set, only its dates change, under key_lock() */
    struct key *previous, *next;       /* of the same session; under the session's lock */
    CK_SESSION_HANDLE session;
    uint8_t inline_text[];
};

struct keys;

struct keys *keys_new(void);
void keys_free(struct keys *k); /* NULL is allowed; no key may be left */

/* Makes a session key of `t` (what of it is given; flags are the final ones) and of the value, which it takes
 * over if all goes well, and gives it to the session. */
CK_RV key_make(struct slot *s, CK_SESSION_HANDLE session, const struct template *t, uint32_t flags,
               CK_KEY_TYPE type, struct secret *value, CK_OBJECT_HANDLE *handle);

/* Ends a session key: takes it from the table, its session and the indexes. False: somebody else did. */
bool key_destroy(struct object *o);

/* Ends all keys of a session; the caller has locked it. */
void keys_end_session(struct session *s);

/* What is behind an object that nobody refers to any more. */
void key_release(struct key *k);

/* Guards what of a key can change: texts, extra. */
void key_lock(const struct key *k);
void key_unlock(const struct key *k);

/* Gives it another CKA_ID or CKA_LABEL. Not under key_lock(). False: no memory. */
bool key_set_text(struct key *k, enum key_index which, struct span text);

/* Sets the dates that `t` gives. False: no memory. */
bool key_set_dates(struct key *k, const struct template *t);

/* Calls `visit` for the handle of each key of the slot with this ID or label. Under the index's lock: `visit`
 * looks no further. */
void keys_each(struct keys *ks, uint16_t slot, enum key_index which, struct span text,
               bool (*visit)(void *context, CK_OBJECT_HANDLE handle), void *context);

#endif
