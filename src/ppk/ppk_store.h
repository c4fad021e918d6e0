/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of dynamic PPKs: fetched from a key source, held until used up, expired or destroyed, then wiped.
 * One store per keyring. Thread-safe; no lock is held over the network; threads that ask for the same ID
 * share one request. */
#ifndef PPK_PPK_STORE_H
#define PPK_PPK_STORE_H

#include "skip/skip.h"

#include <stddef.h>

enum ppk_result {
    PPK_OK,
    PPK_NOT_FOUND,   /* every key source that could have it said no */
    PPK_REFUSED,     /* a key source refuses us */
    PPK_UNREACHABLE, /* at least one that could have it could not be asked, and none had it */
    PPK_NO_MEMORY,
    PPK_DUPLICATE, /* the key source gave an ID that is held already, with another key */
};

/* A held PPK. Reference counted; what is here is constant but for `used`, and `expires_ms`, which comes
 * closer at the first use. */
struct ppk {
    struct secret *value;    /* never NULL while a reference is held; wiped with the last one */
    struct peer_ppks *owner; /* whose it is (for a fetch by ID without a peer: the one whose key source had
                                it): ppk_tag() */
    _Atomic uint64_t expires_ms;  /* clock_ms() time; UINT64_MAX: never */
    _Atomic unsigned long handle; /* the token's object handle, or 0: set by the `added` callback */
    /* private, and small, since there may be a million: with an ID of 16 bytes, 88 bytes */
    struct ppk *next, *prev; /* of the peer's list that it is on */
    struct ppk *chain;       /* of the index */
    uint32_t hash;
    _Atomic unsigned refs;
    /* Bit-fields side by side are one place in memory: those under the store's lock are kept apart from those
     * that never change. */
    uint32_t place : 24; /* in the heap of expiries */
    uint32_t remote : 8; /* 0: fetched for the peer's configured remote system ID; else which other one */
    _Atomic bool used;   /* has been in a derivation or a MAC */
    uint8_t state;       /* enum ppk_state */
    uint16_t id_len : 11;
    uint16_t hex_text : 1; /* the ID is hex text, indexed by the bytes that it means */
    uint16_t by_id : 1;    /* fetched by its ID (we are the responder), not with GET /key */
    uint8_t id[];
};
_Static_assert(sizeof(void *) != 8 || offsetof(struct ppk, id) == 72, "16 bytes of ID fill a block of 96");

/* Its ID, as CKA_ID shows it (ppk-id format). */
static inline struct span ppk_id(const struct ppk *ppk)
{
    return (struct span){ppk->id, ppk->id_len};
}

/* Tell the token what comes and goes. Called without locks held by the store, in the thread that caused it or
 * in the pool's. `added` comes before anybody else can find the PPK; `removed` after nobody can any more.
 * `known`: the store begins to refer to a peer's tag; `forgotten`: neither it nor any PPK does any more; both
 * under any lock, so that they may do no more than count and give back memory. Each may be NULL. */
struct ppk_events {
    void (*added)(void *context, struct ppk *ppk);
    void (*removed)(void *context, struct ppk *ppk);
    void (*known)(void *tag);
    void (*forgotten)(void *tag);
    void *context;
};

/* What a store works on. All of it stays until `released` (or NULL: until the store is freed), which is
 * called, under no lock, when nobody in the store uses it any more. */
struct ppk_source {
    const struct configuration *configuration;
    const struct keyring *keyring;
    struct skip_profile *const *profiles; /* [i] is the running one of configuration->profiles[i] */
    void *const *tags;                    /* what the token has for each peer of the keyring, or NULL; read
                                             at once. A peer that is known by name keeps the tag that it has */
    void (*released)(void *context);
    void *context;
};

struct ppk_store;

/* NULL: no memory, and `released` is not called. */
struct ppk_store *ppk_store_new(const struct ppk_source *source, const struct ppk_events *events);

/* Changes what the store works on, in two steps, so that several stores change together or not at all: the
 * first can fail (NULL: no memory), the second cannot. Not by two threads at once. What is under way goes on
 * with the old source. Peers are the same if they have the same name: their PPKs stay; those of others go.
 * Has a peer another sks profile or remote system than before, its PPKs can still be found, but an unused one
 * is not its next any more, since the other end may not have it. `unprepare` instead of the second step:
 * nothing happens; `released` is called. */
struct ppk_binding;
struct ppk_binding *ppk_store_prepare(struct ppk_store *s, const struct ppk_source *source);
void ppk_store_rebind(struct ppk_store *s, struct ppk_binding *b);
void ppk_store_unprepare(struct ppk_store *s, struct ppk_binding *b); /* NULL is allowed */

/* The tag of the peer whose PPK this is. */
void *ppk_tag(const struct ppk *ppk);

/* Ends the pool's thread (at once if the profiles were interrupted before, by skip_profile_interrupt(); else
 * bounded by the timeout of the request that it may have under way), removes and wipes everything, frees. No
 * other call may be under way. Not for a forked child: there, the store is left as it is. NULL is allowed. */
void ppk_store_free(struct ppk_store *s);

/* A hint that ppk_store_held() will be asked for this ID in a moment: where very many PPKs are held, what it
 * reads begins to come from memory meanwhile. In two steps, with some work between them and before the
 * search: the second wants what the first returned. */
uint64_t ppk_store_expect(struct ppk_store *s, struct span id);
void ppk_store_expect_more(struct ppk_store *s, uint64_t expected);

/* The held PPK of this ID, in the raw bytes or the hex text, or NULL; no network. The caller gets a
 * reference. */
struct ppk *ppk_store_held(struct ppk_store *s, struct span id);

/* The same, and if it is not held: asks the key sources for it by its ID, those of `peer`, or, if NULL, of
 * all dynamic peers of the keyring. `remote`: the remote system ID to name instead of the configured one, or
 * NULL. On PPK_OK the caller gets a reference. */
enum ppk_result ppk_store_find(struct ppk_store *s, struct span id, const struct peer *peer,
                               const char *remote, struct ppk **out, struct fault *fault);

/* Here and below, `peer` may also be of a source that the store worked on before: it means the peer of this
 * name, if there still is one. */

/* The peer's PPK that is to be used next: the one that is held, shown and unused; else a new one (from the
 * pool, or by GET /key). Threads that ask for the same peer at once get the same PPK, by one request. */
enum ppk_result ppk_store_next(struct ppk_store *s, const struct peer *peer, const char *remote,
                               struct ppk **out, struct fault *fault);

/* Always another one, of `size` bits (0: the profile's), for C_GenerateKey. */
enum ppk_result ppk_store_take(struct ppk_store *s, const struct peer *peer, const char *remote,
                               uint32_t size, struct ppk **out, struct fault *fault);

/* All held PPKs of a peer (NULL: of the keyring): calls `visit` with a borrowed reference under no lock of
 * the store; unused PPKs from GET /key first. Stops if it returns false. False: no memory for the list,
 * nothing was visited. */
bool ppk_store_each(struct ppk_store *s, const struct peer *peer,
                    bool (*visit)(void *context, struct ppk *ppk), void *context);

/* Marks a PPK as used: from now on it is not `next` any more, and goes after PPK_USED_GRACE_S at the latest.
 */
#define PPK_USED_GRACE_S 300
void ppk_store_use(struct ppk_store *s, struct ppk *ppk);

/* Takes it out and wipes it as soon as the last reference is gone. */
void ppk_store_destroy(struct ppk_store *s, struct ppk *ppk);

/* Takes out what has expired. Called by every other function, too. */
void ppk_store_expire(struct ppk_store *s);

void ppk_ref(struct ppk *ppk);
void ppk_release(struct ppk *ppk); /* NULL is allowed */

struct ppk_store_counts {
    uint64_t held, unused, pooled;                             /* now */
    uint64_t fetched, fetched_by_id, used, expired, destroyed; /* since the start */
    uint64_t failures, failures_required; /* PPK Retrieve Failure, and those of required peers */
    uint64_t mismatches;                  /* PPK Identity Mismatch: a PPK ID that no key source knows */
};
void ppk_store_counts(struct ppk_store *s, struct ppk_store_counts *out);

#endif
