/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the plugin knows of each IKE_SA: who the peer is to the keyring, what it sent, and the SA's PPK in the
 * token. An entry is used only by the thread that has its IKE_SA checked out; the table of entries is for
 * all. */
#ifndef PPK_CHARON_SA_H
#define PPK_CHARON_SA_H

#include "ppk_worker.h"

#include <daemon.h>

struct ppk_sa {
    ike_sa_t *ike_sa;
    struct ppk_job *lookups[2]; /* the peer is being looked up */
    struct ppk_peer peer;
    bool unknown; /* the token did not answer, and never said anything of this peer before: */
    char unanswered[PPK_NAME_MAX];       /* by this identity */
    bool missed;                         /* the same, by more than one; or it could not even be asked */
    char identity[PPK_NAME_MAX];         /* the remote IKE identity as text, once known */
    char remote_system_id[PPK_NAME_MAX]; /* SKIP system ID that the peer sent in USE_PPK, or empty */
    bool peer_offers;                    /* the peer sent USE_PPK in this attempt */
    chunk_t wire_id; /* responder: the PPK ID as it came, before charon reads it as an identity */
    bool tried;      /* a PPK was asked for in this attempt, whatever came of it */
    bool have_key;
    struct ppk_key key;
    uint64_t serial;          /* of the key's reference */
    bool mixed;               /* prf+ with the key has been computed */
    enum ppk_outcome outcome; /* of this attempt, with the key */
    identification_t *ppk_id; /* of the key */
};

/* The table; pool stays the caller's and must outlive it. */
bool ppk_sa_table_create(struct ppk_pool *pool);
void ppk_sa_table_destroy(void);

/* The entry of this IKE_SA, made if create; NULL if there is none, if ike_sa is NULL or the table is gone. */
struct ppk_sa *ppk_sa_get(ike_sa_t *ike_sa, bool create);

/* The IKE_SA that the calling thread works for. charon's bus says that, except where one IKE_SA initiates
 * another (a reauthentication): there the bus still names the old one. So the new one is announced from when
 * it begins to connect until its first message; NULL ends that. */
ike_sa_t *ppk_sa_thread(void);
void ppk_sa_thread_initiates(ike_sa_t *ike_sa);

/* The entry of the IKE_SA that the calling thread works for, made at need; NULL if it works for none. */
struct ppk_sa *ppk_sa_current(void);

/* A new attempt of the same IKE_SA (retry, cookie, redirect): all is forgotten, and an unused PPK destroyed.
 */
void ppk_sa_reset(struct ppk_sa *sa);

/* The IKE_SA is up, or over: the token is told its outcome, and a dynamic PPK is destroyed in it, without
 * waiting for that. */
void ppk_sa_key_done(struct ppk_sa *sa);

/* The IKE_SA goes. */
void ppk_sa_remove(ike_sa_t *ike_sa);

/* Begins to look the peer up by its address and sa->identity; does not wait (unless two are under way). */
void ppk_sa_lookup(struct ppk_sa *sa, host_t *other);

/* The keyring's peer; waits for the lookup, within the bound. Where the token does not answer, what it said
 * the last time. */
const struct ppk_peer *ppk_sa_peer(struct ppk_sa *sa);

/* Whether the keyring requires a PPK with this peer, or may do so: there is a keyring, but what it says of
 * the peer is not known. Waits as above. */
bool ppk_sa_required(struct ppk_sa *sa);

/* Initiator: a new PPK (or the peer's manual one) for this attempt; its ID, or NULL, and then the log says
 * why. */
identification_t *ppk_sa_new_key(struct ppk_sa *sa);

/* Either end: the PPK with this ID becomes the SA's key. False: there is none, and the log says why. */
bool ppk_sa_find_key(struct ppk_sa *sa, chunk_t id);

/* Whether the token has anything that a PPK could come from for this peer. */
bool ppk_sa_any_key(struct ppk_sa *sa);

/* prf+ with the SA's PPK, in the token; out is allocated. */
bool ppk_sa_derive(struct ppk_sa *sa, CK_MECHANISM_TYPE prf, size_t prf_len, chunk_t seed, size_t out_len,
                   chunk_t *out);

/* A PPK ID for the log: as text where it is text, else in hex; shortened. */
#define PPK_ID_TEXT_MAX 144
const char *ppk_id_text(chunk_t id, char text[static PPK_ID_TEXT_MAX]);

#endif
