/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What IKE messages carry for the plugin: Cisco's SKIP system IDs in USE_PPK, and PPK IDs as they were sent.
 */
#ifndef PPK_CHARON_NOTIFY_H
#define PPK_CHARON_NOTIFY_H

#include "ppk_sa.h"

/* IKE_SA_INIT received: does the peer offer PPKs, and (if accept) its system ID. */
void ppk_notify_init_received(struct ppk_sa *sa, message_t *message, bool accept);

/* IKE_SA_INIT about to be sent: our system ID into USE_PPK, if the message has that. */
void ppk_notify_init_sent(struct ppk_sa *sa, message_t *message);

/* A message with an identity payload of this type received: sa->identity then is its text. False: it has
 * none, or one that is nobody's in particular. */
bool ppk_notify_identity_received(struct ppk_sa *sa, message_t *message, payload_type_t type);

/* IKE_AUTH request received: keeps its PPK ID; true if it has an IDi, and sa->identity then is its text. */
bool ppk_notify_auth_received(struct ppk_sa *sa, message_t *message);

#endif
