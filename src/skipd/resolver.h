/* SPDX-License-Identifier: BSD-2-Clause */
/* Looks up a host name, in the event loop, one at a time. */
#ifndef PPK_SKIPD_RESOLVER_H
#define PPK_SKIPD_RESOLVER_H

#include <event2/event.h>
#include <event2/util.h>
#include <stdbool.h>
#include <stdint.h>

struct resolver;

/* `found`: all addresses, with the port, for evutil_freeaddrinfo(); or NULL and the reason. */
typedef void resolver_done(void *context, struct evutil_addrinfo *found, const char *why);

/* NULL: no memory. */
struct resolver *resolver_new(struct event_base *base);

/* Calls `done` once, perhaps at once. The system's configuration counts as it is now. */
void resolver_start(struct resolver *r, const char *host, uint16_t port, resolver_done *done, void *context);

/* What has been started, if it goes on yet, is of no interest any more: `done` is not called. */
void resolver_stop(struct resolver *r);

/* NULL is allowed. The last of its memory is freed by the event loop. */
void resolver_free(struct resolver *r);

#endif
