/* SPDX-License-Identifier: BSD-2-Clause */
/* What C_Initialize makes and C_Finalize ends: the configuration at work, its slots, sessions and objects. */
#ifndef PPK_P11_LIBRARY_H
#define PPK_P11_LIBRARY_H

#include "keyring/keyring.h"
#include "p11/cryptoki.h"
#include "p11/key.h"
#include "p11/object.h"
#include "p11/random.h"
#include "ppk/ppk_store.h"

#include "base/table.h"

#include <pthread.h>

/* A peer's configured objects. */
struct slot_peer {
    const struct peer *peer;
    char *psk_label;          /* "NAME/psk" */
    CK_OBJECT_HANDLE data;    /* CKO_DATA */
    CK_OBJECT_HANDLE psk;     /* or 0 */
    CK_OBJECT_HANDLE *manual; /* as many as the peer has manual PPKs */
};

/* A keyring as a slot with its token. */
struct slot {
    uint16_t id; /* CK_SLOT_ID, and the keyring's place in the configuration */
    struct library *library;
    const struct keyring *keyring;
    struct ppk_store *store;
    struct slot_peer *peers;    /* in the order of the keyring's */
    CK_OBJECT_HANDLE *keks;     /* likewise: its key-encryption keys */
    struct table *manual_by_id; /* to the struct manual_handle */
    bool any_dynamic;           /* a peer has dynamic PPKs: a search may fetch */
    bool login_required; /* secrets of Type 6 were sealed at C_Initialize: theirs are private objects */
    _Atomic bool logged_in;
    pthread_mutex_t lock; /* of the counts below, and of logging in and out */
    CK_ULONG sessions, rw_sessions;
    unsigned long failed_logins; /* since the last good one */
    struct random_pool random;
};

/* A manual PPK's place in slot->manual_by_id. */
struct manual_handle {
    CK_OBJECT_HANDLE handle;
};

struct library {
    struct configuration *configuration; /* NULL: there is none, and no slot */
    struct skip_profile **profiles;      /* in the configuration's order */
    struct slot *slots;
    size_t n_slots;
    struct manual_handle *manual_handles; /* all slots' */
    struct objects *objects;
    struct keys *keys;
    struct sessions *sessions;
    pthread_mutex_t unlock;             /* of the configuration's master key */
    struct status_publisher *publisher; /* NULL: no status is published */
    uint8_t *pin_check; /* HMAC of the master key under a random key, once it is known; in working memory */
    struct library *forgotten; /* general.c */
    uint64_t serial;           /* of this C_Initialize, for CKA_UNIQUE_ID */
};

/* The library that the thread's present call works on. An entry calls library_use() first, when it has passed
 * the gate. */
void library_use(void);
struct library *library_now(void);

/* The slot of this ID, or NULL. */
struct slot *library_slot(CK_SLOT_ID id);

/* general.c */
CK_RV general_initialize(const CK_C_INITIALIZE_ARGS *arguments);
CK_RV general_finalize(const void *reserved);
CK_RV general_info(CK_INFO *info, CK_BYTE major, CK_BYTE minor);

/* slot.c: makes the slots of library->configuration, objects included. False: no memory. */
bool slots_make(struct library *l);
void slots_free(struct library *l);
CK_RV slot_list(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *count);
CK_RV slot_info(CK_SLOT_ID id, CK_SLOT_INFO *info);
CK_RV slot_token_info(CK_SLOT_ID id, CK_TOKEN_INFO *info);
CK_RV slot_mechanism_list(CK_SLOT_ID id, CK_MECHANISM_TYPE *list, CK_ULONG *count);
CK_RV slot_mechanism_info(CK_SLOT_ID id, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info);

/* Copies text into a field that is padded with blanks and not terminated; cuts it between characters of
 * UTF-8. */
void pad_blank(CK_UTF8CHAR *field, size_t size, const char *text);

/* What an object is in its slot: may a session see it now, is it CKA_PRIVATE? */
bool slot_shows(const struct slot *s, const struct object *o);
bool slot_object_private(const struct slot *s, const struct object *o);

/* status.c: makes library->publisher. False: no memory. */
bool status_make(struct library *l, bool threads);

/* wait.c */
CK_RV wait_for_slot_event(CK_FLAGS flags, CK_SLOT_ID *slot, const void *reserved);

#endif
