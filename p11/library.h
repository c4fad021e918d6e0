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

#define LIBRARY_LOG_NAME "ppk-pkcs11" /* in front of each line of the log */

/* The token follows its configuration while it runs (reload.c). What one reading of the file made is a
 * *generation*, and a slot's share of it a *view*; both are constant, and are given back once no call is left
 * that may have seen them (gate.h). What outlives them are slots, and the records of peers and of their
 * configured keys, which later generations share as long as nothing changes. A call that needs two things of
 * a view reads the view once. */
struct generation;

/* A configured key: a manual PPK, a pre-shared key or a key-encryption key; and its object. */
struct slot_key {
    _Atomic unsigned refs; /* views, and the object */
    enum object_kind kind;
    struct slot_peer *peer;                       /* or NULL: it is no peer's */
    _Atomic(const struct config_secret *) secret; /* of the newest generation that has the key */
    _Atomic(const void *) of; /* as well: its struct manual_ppk or struct kek; NULL: a pre-shared key */
    CK_OBJECT_HANDLE handle;
    /* generation.c */
    struct object *reserved;  /* not published yet */
    struct generation *keeps; /* whose it was, once no later one has it: somebody may still be using it */
    uint64_t seen;            /* the serial of the newest generation that has it */
};

/* The configured keys of a peer in a view. */
struct slot_keys {
    struct slot_key *psk; /* or NULL */
    size_t n_manual;
    struct slot_key *manual[];
};

/* A peer of the keyring, under its name. */
struct slot_peer {
    _Atomic unsigned refs;             /* views, keys, the object, the store */
    _Atomic(const struct peer *) peer; /* of the newest generation that has it */
    _Atomic(struct slot_keys *) keys;  /* as well */
    char *psk_label;                   /* "NAME/psk" */
    CK_OBJECT_HANDLE data;             /* CKO_DATA */
    struct object *reserved;           /* generation.c: not published yet */
    uint64_t seen;                     /* as well */
};

/* A manual PPK whose ID is hex text, of either case. */
struct manual_hex {
    struct manual_hex *next; /* of the same bytes */
    struct slot_key *key;
    size_t len;
    uint8_t bytes[];
};

struct slot_view {
    const struct generation *generation;
    const struct keyring *keyring; /* without peers, if there is no token */
    struct slot_peer **peers;      /* in the order of the keyring's */
    struct slot_keys **keys;       /* as well */
    struct slot_key **keks;        /* as well */
    struct table *manual_by_id;    /* to the struct slot_key */
    struct table *manual_by_bytes; /* those whose ID is hex text, by what it means: to the first manual_hex */
    uint64_t manual_lengths;       /* of both's keys: 1 << (length % 64) */
    bool present;                  /* the keyring is configured: there is a token */
    bool any_dynamic;              /* a peer has dynamic PPKs: a search may fetch */
    bool login_required;         /* secrets of Type 6 were sealed when the configuration was read: theirs are
                                    private objects */
    struct ppk_binding *binding; /* generation.c */
};

/* A keyring as a slot with its token. A slot is one name's for ever. */
struct slot {
    uint16_t id; /* CK_SLOT_ID */
    char *name;
    struct library *library;
    _Atomic(const struct slot_view *) view;
    struct ppk_store *store;
    struct keyring absent; /* what the view has when there is no token: the name, and no peers */
    _Atomic bool event;    /* the token came or went, and C_WaitForSlotEvent has not told yet */
    _Atomic bool logged_in;
    pthread_mutex_t lock; /* of the counts below, and of logging in and out */
    CK_ULONG sessions, rw_sessions;
    unsigned long failed_logins;                            /* since the last good one */
    _Atomic uint64_t sas_dynamic, sas_manual;               /* IKE SAs that are up, by the kind of PPK */
    _Atomic uint64_t auth_failures, auth_failures_required; /* with either kind */
    struct random_pool random;
};

/* What reload.c knows of the configuration's files. */
struct reload {
    pthread_mutex_t lock;     /* of what follows; only ever tried, but for C_Finalize */
    _Atomic uint64_t look_at; /* clock_ms() time from which on the files are looked at again */
    uint64_t retry_at;        /* as well, of one that was wrong */
    struct file_stamp file;   /* of the configuration */
    struct file_stamp named;  /* of the files that the present one names */
    bool missing;             /* it could not be found the last time */
    char *told;               /* the mistakes that were logged last, or NULL: none */
};

struct library {
    char *path;        /* of the configuration */
    bool path_default; /* nobody named it: it need not exist */
    bool no_threads;   /* the application forbids them */
    _Atomic(struct generation *) now;
    _Atomic(struct generation *) before; /* until the last call has left that may have seen it */
    struct generation *generations;      /* all that are left, the newest first */
    pthread_mutex_t generations_lock;    /* of these links */
    uint64_t generation_serial;
    _Atomic(struct slot *) *slots;
    _Atomic size_t n_slots;
    _Atomic size_t n_told; /* slots that the application has been told of, by C_GetSlotList */
    struct objects *objects;
    struct keys *keys;
    struct sessions *sessions;
    struct reload reload;
    pthread_mutex_t unlock;    /* of what follows, and of the change from one generation to the next */
    struct secret *master_key; /* as C_Login gave it, once it is known */
    struct status_publisher *publisher; /* NULL: no status is published */
    struct library *forgotten;          /* general.c */
    uint64_t serial;                    /* of this C_Initialize, for CKA_UNIQUE_ID */
};

/* The library that the thread's present call works on. An entry calls library_use() first, when it has passed
 * the gate. */
void library_use(void);
struct library *library_now(void);

/* The slot of this ID, or NULL. */
struct slot *library_slot(CK_SLOT_ID id);

/* What the slot's keyring is at present. */
static inline const struct slot_view *slot_view(const struct slot *s)
{
    return atomic_load_explicit(&s->view, memory_order_acquire);
}

static inline const struct keyring *slot_keyring(const struct slot *s)
{
    return slot_view(s)->keyring;
}

/* general.c */
CK_RV general_initialize(const CK_C_INITIALIZE_ARGS *arguments);
CK_RV general_finalize(const void *reserved);
CK_RV general_info(CK_INFO *info, CK_BYTE major, CK_BYTE minor);

/* slot.c: a new slot, or NULL: no memory, or too many. slot_free() needs a store that is empty. */
struct slot *slot_new(struct library *l, uint16_t id, const char *name);
void slot_free(struct slot *s); /* NULL is allowed */
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

/* The slot's record of a peer, which may be of an older generation; NULL for NULL, and for one that is gone.
 */
const struct slot_peer *slot_peer_of(const struct slot *s, const struct peer *p);

/* status.c: makes library->publisher. False: no memory. */
bool status_make(struct library *l, bool threads);

/* What is to be published, once more at the end, when no call is under way; status_clear() frees it. False:
 * no memory. */
struct status_process;
bool status_last(struct library *l, struct status_process *out);

/* wait.c */
CK_RV wait_for_slot_event(CK_FLAGS flags, CK_SLOT_ID *slot, const void *reserved);

#endif
