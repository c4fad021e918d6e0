/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes a connection's PPK ID and its "required" answer for each IKE_SA of its own, by the keyring. */
#ifndef PPK_CHARON_CFG_H
#define PPK_CHARON_CFG_H

#include "ppk_sa.h"

/* From now on the connection answers charon, on behalf of an IKE_SA:
 * - get_ppk_id, as initiator: a PPK ID of swanctl.conf where there is one (without wildcard), else by the
 * keyring: a placeholder before the peer has said that it can use PPKs, then the ID of a new PPK;
 * - ppk_required: what swanctl.conf says, or the keyring, whichever is stricter.
 * Without an IKE_SA (a listing, for example) it answers as before. Repeating it does no harm. */
void ppk_cfg_adopt(peer_cfg_t *cfg);

/* The identity that the connection expects of its peer, as text; empty if none, or one with wildcards. */
void ppk_cfg_identity(peer_cfg_t *cfg, char identity[static PPK_NAME_MAX]);

/* An IKE identity as text; empty if it does not fit or is no one's in particular. */
void ppk_identity_text(identification_t *id, char identity[static PPK_NAME_MAX]);

void ppk_cfg_create(void);
void ppk_cfg_destroy(void);

#endif
