/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Searches in the token: peers and PPKs. */
#ifndef PPK_CHARON_FIND_H
#define PPK_CHARON_FIND_H

#include "ppk_ops.h"

/* Each puts its facts into answer and returns the module's code, so that the caller sees whether the session
 * is lost; where the code is not CKR_OK, answer->text names the call. */
CK_RV ppk_find_keyring(struct ppk_session *session, struct ppk_answer *answer);
CK_RV ppk_find_peer(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer);
CK_RV ppk_find_any(struct ppk_session *session, struct ppk_answer *answer);
CK_RV ppk_find_by_id(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer);
CK_RV ppk_find_manual(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer);

/* Reads the ID and the kind of the object into answer, which then is the key. */
CK_RV ppk_find_describe(struct ppk_session *session, CK_OBJECT_HANDLE handle, struct ppk_answer *answer);

#endif
