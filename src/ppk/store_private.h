/* SPDX-License-Identifier: BSD-2-Clause */
/* The store as its own files see it. One mutex guards all but the lookups of held PPKs, which take only a
 * part of the index's lock. It is never held over the network, nor while the token is told of something.
 * Functions named …_inlock are called with it. */
#ifndef PPK_PPK_STORE_PRIVATE_H
#define PPK_PPK_STORE_PRIVATE_H

#include "base/table.h"
#include "ppk/expire.h"
#include "ppk/id.h"
#include "ppk/index.h"
#include "ppk/miss.h"

enum {
    REMOTES_MAX = 254, /* other remote system IDs than the configured ones that are told apart */
    REMOTE_UNLISTED = 255,
};

/* A remote system ID of which there are PPKs, though it is not the configured one. */
struct remote {
    char *name; /* NULL: the place is free */
    size_t ppks;
};

struct ppk_list {
    struct ppk *first, *last;
    size_t n;
};

/* The peer as the store knows it, from one binding to the next. */
struct peer_ppks {
    _Atomic size_t refs;     /* bindings, and PPKs */
    const struct peer *conf; /* of the present binding */
    void *tag;
    void (*forgotten)(void *tag);
    uint64_t source;       /* counts how often its sks profile or remote system changed */
    bool gone;             /* not in the keyring any more */
    struct ppk_list fresh; /* held, unused, from GET /key: the first is the next */
    struct ppk_list rest;  /* held: used, or fetched by their ID */
    struct ppk_list pool;  /* fetched ahead */
    struct peer_ppks *next_wanting;
    bool awake;   /* has been asked for, so its pool is kept filled */
    bool wanting; /* is in its profile's queue of pools to be filled */
    bool failing; /* its pool could not be filled the last time: waits for the profile's pause */
};

/* What the store knows of an sks profile, from one binding to the next. */
struct profile_state {
    size_t refs;     /* bindings */
    uint64_t serial; /* tells it from any other of this store, ever */
    uint32_t asked;  /* requests by ID that are under way */
    struct miss_limit limit;
    bool flooded; /* the limit holds requests back */
    struct peer_ppks *wanting_first, *wanting_last;
    uint64_t pause_until_ms; /* pools that could not be filled leave the key source alone */
    uint32_t pause_ms;
};

/* One question to a key source, by its sks profile and remote system ID (NULL: its only one). */
struct scope {
    size_t profile;
    const char *remote;
    const struct peer *peer; /* the first of the keyring's that has it */
};

/* What the store works on, as long as anybody does. Constant but for `refs`. */
struct ppk_binding {
    size_t refs; /* the store's, if it is the present one, and those of requests under way */
    struct ppk_source source;
    struct peer_ppks **peers;          /* in the order of the keyring; a reference each */
    struct table *names;               /* of the peers, to their places in `peers` */
    struct profile_state **states;     /* in the order of the configuration; a reference each */
    const struct peer **profile_peers; /* the keyring's first that has the profile, or NULL */
    struct scope *scopes;              /* distinct ones, in the order of the keyring's peers */
    size_t n_scopes;
    uint32_t timeout_max_ms; /* of their profiles */
};

struct ppk_store {
    struct ppk_index index;
    _Atomic uint64_t next_expiry_ms; /* UINT64_MAX: none; read without the lock */

    struct ppk_events events;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a hidden PPK is shown, a request by ID has ended */
    struct ppk_binding *binding;
    uint64_t serials; /* of profile states */
    struct expiry_heap heap;
    size_t taken_in; /* PPKs in the index */
    struct table *flights;
    struct misses misses;
    struct remote remotes[REMOTES_MAX];
    struct ppk_store_counts counts;

    pthread_t pool_thread;
    pthread_cond_t pool_work;
    bool pool_runs, stopping;
};

/* binding.c: the binding's record of a peer, which may be of another binding; NULL: it has no such peer. */
struct peer_ppks *binding_peer(const struct ppk_binding *b, const struct peer *peer);

/* Makes of a peer, which may be of another binding, this one's own. False: it has no such peer. */
bool binding_own(const struct ppk_binding *b, const struct peer **peer);

/* Where the dynamic peer's profile is, in the configuration. */
size_t binding_profile(const struct ppk_binding *b, const struct peer *peer);

/* The present binding, to be worked on while the store is not locked; and no more. */
struct ppk_binding *binding_pin_inlock(struct ppk_store *s);
struct ppk_binding *binding_pin(struct ppk_store *s);
void binding_unpin(struct ppk_store *s, struct ppk_binding *b);

void peer_ppks_ref(struct peer_ppks *peer);
void peer_ppks_release(struct peer_ppks *peer);

/* Waits for `cond` with the store's lock. False: the deadline (clock_ms()) has passed. */
bool store_wait_inlock(struct ppk_store *s, pthread_cond_t *cond, uint64_t deadline);

/* Which remote system that is, for `remote` of struct ppk; NULL: the configured one. */
uint8_t store_remote_inlock(const struct ppk_store *s, const char *remote);

/* Has a new PPK of this remote system say so, and one not any more: it is not the next of any. */
void store_remote_take_inlock(struct ppk_store *s, struct ppk *ppk, const char *remote);
void store_remote_drop_inlock(struct ppk_store *s, struct ppk *ppk);

/* How a PPK comes in. */
struct arrival {
    const struct peer *peer; /* of the pinned binding */
    struct peer_ppks *owner;
    uint64_t source;    /* the owner's, when the binding was pinned */
    const char *remote; /* NULL: the configured one */
    bool by_id, pooled;
    uint64_t deadline;
};

/* Makes a PPK of a key that has come, whose value it takes over, and shows it (or puts it into the pool). On
 * PPK_OK with `out` the caller gets a reference. */
enum ppk_result store_admit(struct ppk_store *s, const struct arrival *a, struct skip_key *key,
                            struct ppk **out, struct fault *fault);

/* Shows a PPK that is not: tells the token with the lock released, then links it where it can be found. It is
 * hidden meanwhile. The caller has a reference of his own, since once it can be found, others may destroy it.
 */
void store_show_inlock(struct ppk_store *s, struct ppk *ppk);

/* Takes out of a peer's pool the PPK that has been there longest, hidden; NULL: none. */
struct ppk *store_unpool_inlock(struct ppk_store *s, struct peer_ppks *peer);

/* The shown PPK of any of these keys, with a reference; one that is in the pool is shown. Waits for one that
 * is just about to be. */
struct ppk *store_find_inlock(struct ppk_store *s, const struct id_keys *keys, uint64_t deadline);

/* What was taken out, with the store's references: to be released without the lock. The token was told of
 * those that were shown, and is to be told again. */
struct taken_out {
    struct ppk *shown, *unseen;
};

/* The peer goes with the binding: its PPKs are taken out, those that were shown to be told of by
 * store_bury(). Of a peer whose key source has changed, only those of the pool. */
void store_drop_inlock(struct ppk_store *s, struct peer_ppks *peer, struct taken_out *out);
void store_outdate_inlock(struct ppk_store *s, struct peer_ppks *peer, struct taken_out *out);

void store_bury(struct ppk_store *s, struct taken_out *out);

/* Takes expired PPKs out. */
void store_expire(struct ppk_store *s, uint64_t now);

/* Takes everything out, at the store's end. */
void store_empty(struct ppk_store *s);

/* The peer has been asked for: from now on, fills its pool, in a thread that is started if need be. */
void pool_wake_inlock(struct ppk_store *s, struct peer_ppks *peer);

/* The queues of pools to be filled, made anew for the present binding; `old` is the one before, or NULL. */
void pool_rebind_inlock(struct ppk_store *s, const struct ppk_binding *old);

/* The peer's pool may have become too small. */
void pool_check_inlock(struct ppk_store *s, struct peer_ppks *peer);

/* Ends the thread. */
void pool_stop(struct ppk_store *s);

#endif
