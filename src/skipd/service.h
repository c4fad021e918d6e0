/* SPDX-License-Identifier: BSD-2-Clause */
/* What the key source does for its clients, whatever the dialect that they speak: new keys (synchronized with
 * the peer before they are given), keys by ID (exactly once), entropy. How the promise is kept is told in
 * docs/skipd-sync.md. */
#ifndef PPK_SKIPD_SERVICE_H
#define PPK_SKIPD_SERVICE_H

#include "skipd/conf.h"
#include "skipd/seal.h"
#include "skipd/store_queue.h"
#include "skipd/sync_message.h"

struct link;
struct service;

enum service_status {
    SERVICE_OK,
    SERVICE_BAD_REQUEST, /* sizes, IDs */
    SERVICE_NO_SYSTEM,   /* no such remote system */
    SERVICE_NO_KEY,      /* no such key (any more) */
    SERVICE_FORBIDDEN,   /* not for this client */
    SERVICE_UNAVAILABLE, /* the peer cannot be asked or does not take it now; busy */
    SERVICE_FAILED,      /* could not read or erase */
};

/* The answer; valid during the call only. */
struct service_answer {
    enum service_status status;
    const char *reason; /* where it failed, for the client */
    struct span id, key;
};

/* Takes the answer. Returns whether it is on its way to the client: if not (he is gone, and nothing of it has
 * left the process), a key fetched by its ID can still be fetched. */
typedef bool service_done(void *context, const struct service_answer *answer);

/* `queue` and `seal` outlive it. It serves nothing before a configuration was committed. NULL: no memory. */
struct service *service_new(struct event_base *base, struct store_queue *queue, const struct seal *seal);

/* A configuration takes effect in two steps, as in keeper.h, http.h and listen.h: all parts prepare what can
 * fail, and then all commit, or all abandon it. It replaces the one before: links to peers that are the same
 * stay, as do the keys on their way in them; others are made anew, and what is on its way to a peer is sent
 * again there. False with the reason in `fault`; then service_abandon() has to be called. */
bool service_prepare(struct service *s, const struct skipd_conf *conf, struct fault *fault);
void service_commit(struct service *s);
void service_abandon(struct service *s);

/* Ends links; answers what waits for them with SERVICE_UNAVAILABLE. */
void service_stop(struct service *s);
void service_free(struct service *s); /* NULL is allowed */

/* The configuration that is in effect. */
const struct skipd_conf *service_conf(const struct service *s);
struct store_queue *service_queue(const struct service *s);

/* Where a client's keys for a remote system go. */
struct service_route {
    enum service_status status;    /* SERVICE_OK, or why there is no way */
    const char *reason;            /* then, for the client */
    const struct skipd_peer *peer; /* the key source of the system; NULL: this one */
};

/* The way to `remote`, whether or not its link is up. */
struct service_route service_route(const struct service *s, const struct skipd_client *client,
                                   const char *remote);

/* Is the link to this peer (NULL: none is needed) up? If not, *why tells the reason, as link_is_up() does. */
bool service_link_is_up(const struct service *s, const struct skipd_peer *peer, const char **why);

/* A new key of `bits` (0: the configured size) shared with `remote`. Calls `done` once, perhaps at once. */
void service_key_new(struct service *s, const struct skipd_client *client, const char *remote, uint32_t bits,
                     service_done *done, void *context);

/* The key that `remote` (the initiator) was given under this ID for this client's system. Calls `done` once,
 * perhaps at once. */
void service_key_by_id(struct service *s, const struct skipd_client *client, const char *remote,
                       struct span id, service_done *done, void *context);

/* `bits` (a multiple of 8, at most SERVICE_ENTROPY_MAX) of full entropy into `out`. False: the generator
 * cannot. */
#define SERVICE_ENTROPY_MAX 8192
bool service_entropy(uint32_t bits, uint8_t *out);

/* Takes a key for one of our clients, from a peer (NULL: from another client of ours). Calls `done` once with
 * what has become of it, after it is on stable storage. put->key is copied. */
typedef void service_kept(void *context, uint64_t number, enum sync_result result);
void service_keep(struct service *s, const struct skipd_peer *from, const struct sync_put *put,
                  service_kept *done, void *context);

/* Remote system IDs (globs) that this client may ask for: calls `visit` for each. */
void service_remotes(const struct service *s, const struct skipd_client *client,
                     void (*visit)(void *context, const char *pattern), void *context);

#endif
