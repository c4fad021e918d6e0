/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes keys from peers: the listening end of their links. */
#ifndef PPK_SKIPD_KEEPER_H
#define PPK_SKIPD_KEEPER_H

#include "skipd/service.h"

struct keeper;

/* Prepares TLS for the peers of the configuration. NULL with the reason in `fault`. */
struct keeper *keeper_new(struct event_base *base, struct service *service, struct fault *fault);

/* Listens at a socket that is bound already; takes it over. False with the reason in `fault`. */
bool keeper_listen(struct keeper *k, int fd, struct fault *fault);

/* Stops listening and closes the connections. */
void keeper_stop(struct keeper *k);

/* After the store's last operation was reported. NULL is allowed. */
void keeper_free(struct keeper *k);

#endif
