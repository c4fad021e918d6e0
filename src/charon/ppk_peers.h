/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the token said last of each peer, for when it does not answer. For all threads. */
#ifndef PPK_CHARON_PEERS_H
#define PPK_CHARON_PEERS_H

#include "ppk_ops.h"

/* False: out of memory. */
bool ppk_peers_create(void);
void ppk_peers_destroy(void);

/* The token's answer to PPK_OP_PEER; `peer` not known: it has no such peer. Some thousand are kept. */
void ppk_peers_note(const struct ppk_ask *ask, const struct ppk_peer *peer);

/* The last answer to the same question. False: there is none. */
bool ppk_peers_last(const struct ppk_ask *ask, struct ppk_peer *peer);

/* The token has said that it has a keyring. */
void ppk_peers_keyring_seen(void);
bool ppk_peers_keyring(void);

#endif
