/* SPDX-License-Identifier: BSD-2-Clause */
/* The link to a peer that we give keys to: one kept TLS 1.3 connection, made anew when it breaks. (Keys that
 * the peer gives to us come on a connection of his: keeper.h.) */
#ifndef PPK_SKIPD_LINK_H
#define PPK_SKIPD_LINK_H

#include "skipd/conf.h"
#include "skipd/sync_message.h"

#include <event2/event.h>
#include <openssl/ssl.h>

/* Keys that may be on their way to one peer at once. */
#define LINK_WINDOW 4096

/* A key on its way. The caller's, and alive until `done` (whose job it may be to free it). */
struct link_put {
    struct sync_put message; /* message.number is the link's to fill in */
    /* The peer's word; or, where `down` is not NULL, why there was none ("is down: Connection refused"): then
     * the peer may or may not have the key. */
    void (*done)(void *context, enum sync_result result, const char *down);
    void *context;
    uint64_t deadline; /* private: clock_ms() */
};

struct link;

/* NULL: no memory. */
struct link *link_new(struct event_base *base);

/* The peer (of `conf`, which the link takes a reference to) as it is configured now, and the context for it,
 * which is taken over. Connects; or, if it is the same peer as before, leaves the connection as it is. What
 * is on its way is sent again in a new connection. */
void link_configure(struct link *l, const struct skipd_conf *conf, const struct skipd_peer *peer,
                    SSL_CTX *tls);

/* Closes; calls `done` for all that is on its way, with `why` as what is down. NULL is allowed. */
void link_free(struct link *l, const char *why);

/* Can keys be sent now? If not, *why tells it ("is down: Connection refused"; "" before the first attempt has
 * ended); it is valid until the event loop goes on. */
bool link_is_up(const struct link *l, const char **why);

/* Sends a key. Calls put->done once: at once if the peer is known to be down, else within
 * conf->sync_timeout_ms. */
void link_put(struct link *l, struct link_put *put);

#endif
