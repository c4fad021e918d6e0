/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the plugin asks of a token, each a question with an answer: who is this peer, is there any PPK, the
 * PPK with this ID, a new PPK for this peer, prf+ with this PPK, this PPK is done with. Knows nothing of
 * charon. */
#ifndef PPK_CHARON_OPS_H
#define PPK_CHARON_OPS_H

#include "ppk_module.h"

#define PPK_NAME_MAX 256 /* peers' names and system IDs, with the terminating NUL */
#define PPK_ID_MAX   65535

enum ppk_op {
    PPK_OP_OPEN,     /* is the token there, and does it know peers */
    PPK_OP_PEER,     /* the keyring's peer: by identity (its name), else by address */
    PPK_OP_ANY,      /* does the token hold a peer or a secret key at all; never fetches one */
    PPK_OP_FIND,     /* the PPK with this ID; a dynamic one may be fetched from its key source */
    PPK_OP_GENERATE, /* a new dynamic PPK for this peer, or the manual PPK of this peer */
    PPK_OP_DERIVE,   /* prf+(PPK, seed), RFC 7296, 2.13 */
    PPK_OP_DONE, /* what became of the IKE_SA with this PPK, if the token counts that; and a dynamic one is
                    destroyed */
};

/* Of an IKE_SA with a PPK. */
enum ppk_outcome {
    PPK_OUTCOME_NONE, /* not known: neither */
    PPK_OUTCOME_UP,
    PPK_OUTCOME_AUTH_FAILED,
};

enum ppk_fact {
    PPK_YES,    /* done, found */
    PPK_NO,     /* the token answered: there is none */
    PPK_FAILED, /* it could not be asked, or refused: see text */
};

/* An object of the token, in one life of the module. */
struct ppk_key {
    CK_OBJECT_HANDLE handle;
    uint64_t generation;
    bool dynamic; /* fetched for one IKE_SA: to be destroyed after use */
};

struct ppk_peer {
    bool known;
    bool native; /* the token has the attributes of ppk/ppk.h, so its searches can be narrowed by them */
    bool required;
    CK_ULONG kind; /* PPK_KIND_* */
    char name[PPK_NAME_MAX];
    char local_system_id[PPK_NAME_MAX];
};

struct ppk_ask {
    enum ppk_op op;
    struct ppk_peer peer;      /* FIND, GENERATE: as PEER answered, or not known */
    unsigned char address[16]; /* PEER */
    size_t address_len;
    char identity[PPK_NAME_MAX];         /* PEER: the remote IKE identity as text, or empty */
    bool keyring;                        /* PEER: if there is no such peer, are there any? */
    char remote_system_id[PPK_NAME_MAX]; /* FIND, GENERATE: the one the peer sent, or empty: the configured
                                            one */
    unsigned char *id;                   /* FIND: the PPK ID; malloced, freed with the ask */
    size_t id_len;
    struct ppk_key key;       /* DERIVE, DONE */
    enum ppk_outcome outcome; /* DONE; NONE as well, if the token does not count it */
    CK_MECHANISM_TYPE prf;    /* DERIVE: CKM_*_HMAC, with its output's length */
    size_t prf_len;
    unsigned char *seed; /* DERIVE: malloced, wiped and freed with the ask */
    size_t seed_len, out_len;
};

struct ppk_answer {
    enum ppk_fact fact;
    char text[PPK_TEXT_MAX]; /* why, unless PPK_YES */
    struct ppk_peer peer;    /* PEER */
    bool keyring;            /* OPEN, PEER where it was asked: the token knows peers */
    struct ppk_key key;      /* FIND, GENERATE */
    unsigned char *id;       /* FIND, GENERATE: the PPK ID as the token has it; malloced */
    size_t id_len;
    unsigned char *out; /* DERIVE: out_len bytes; malloced, wiped when freed */
    size_t out_len;
};

/* Puts the question to the token; blocks as long as the module does. */
void ppk_ask_run(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer);

/* Copies the PPK ID, or the seed, into the ask. False: out of memory. */
bool ppk_ask_set_id(struct ppk_ask *ask, const unsigned char *id, size_t len);
bool ppk_ask_set_seed(struct ppk_ask *ask, const unsigned char *seed, size_t len);

/* Free what they own (not the structs themselves); secrets are wiped. */
void ppk_ask_clear(struct ppk_ask *ask);
void ppk_answer_clear(struct ppk_answer *answer);

#endif
