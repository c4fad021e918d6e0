/* SPDX-License-Identifier: BSD-2-Clause */
/* The sockets that listen. */
#ifndef PPK_SKIPD_LISTEN_H
#define PPK_SKIPD_LISTEN_H

#include "skipd/admin.h"
#include "skipd/http.h"
#include "skipd/keeper.h"

struct listeners;

/* All outlive it. NULL: no memory. */
struct listeners *listeners_new(struct http_server *http, struct keeper *keeper, struct admin *admin);

/* Forgets what listens, which http, keeper and admin close. NULL is allowed. */
void listeners_free(struct listeners *all);

/* A configuration takes effect, as in service.h (http and keeper prepare before): new sockets are bound
 * before old ones are closed, and those at unchanged addresses stay (also for another kind of listener, and
 * with another mode). An address that overlaps with one that is to go cannot be bound. */
bool listeners_prepare(struct listeners *all, const struct skipd_conf *conf, struct fault *fault);
void listeners_commit(struct listeners *all);
void listeners_abandon(struct listeners *all);

/* A line "listen ADDRESS:PORT" for each, with the port that it has got; the word is listen-peers or
 * listen-etsi014 for those, and listen-admin with an address or the name of a Unix socket. */
void listeners_print(const struct listeners *all, struct text *out);

#endif
