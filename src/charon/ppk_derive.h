/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prf+ with a PPK that stays in the token. */
#ifndef PPK_CHARON_DERIVE_H
#define PPK_CHARON_DERIVE_H

#include "ppk_ops.h"

/* prf+(ask->key, ask->seed) of ask->out_len bytes into answer->out (RFC 7296, 2.13; RFC 8784, 3): by the
 * token's own prf+ mechanism, else by HMACs of the token. */
CK_RV ppk_derive(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer);

#endif
