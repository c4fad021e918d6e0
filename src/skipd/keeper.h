/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes keys from peers: the listening end of their links. */
#ifndef PPK_SKIPD_KEEPER_H
#define PPK_SKIPD_KEEPER_H

#include "skipd/service.h"

struct keeper;

/* NULL: no memory. */
struct keeper *keeper_new(struct event_base *base, struct service *service);

/* A configuration takes effect, as in service.h (which commits before): connections of peers that are still
 * who they were stay. */
bool keeper_prepare(struct keeper *k, const struct skipd_conf *conf, struct fault *fault);
void keeper_commit(struct keeper *k);
void keeper_abandon(struct keeper *k);

/* Listens at a socket that is bound already, and takes it over. False with the reason in `fault`: it remains
 * the caller's. */
bool keeper_listen(struct keeper *k, int fd, struct fault *fault);

/* Closes it. */
void keeper_unlisten(struct keeper *k, int fd);

/* Stops listening and closes the connections. */
void keeper_stop(struct keeper *k);

/* After the store's last operation was reported. NULL is allowed. */
void keeper_free(struct keeper *k);

#endif
