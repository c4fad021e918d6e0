/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets that listen. */
#ifndef PPK_SKIPD_LISTEN_H
#define PPK_SKIPD_LISTEN_H

#include "skipd/conf.h"

/* Binds, and adds the address, with the port that it has got, to the list of what is ready: a line "listen
 * ADDRESS:PORT" (or "listen-etsi014", "listen-peers"). Returns the socket, or -1 with the reason in `fault`.
 */
int socket_bind(const struct skipd_listen *l, struct text *ready, struct fault *fault);

#endif
