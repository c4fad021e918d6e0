/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The opaque reference that charon handles where it thinks that it handles a PPK: a random tag of this
 * process and the serial number of the IKE_SA's key. It is no secret, but nobody can guess one, so that no
 * configured secret can be taken for it; and it means something only on behalf of its own IKE_SA. */
#ifndef PPK_CHARON_REF_H
#define PPK_CHARON_REF_H

#include "ppk_sa.h"

/* Draws the tag. False: the system gives no random bytes. */
bool ppk_ref_init(void);

/* The reference of the SA's key; allocated. */
chunk_t ppk_ref_create(const struct ppk_sa *sa);

/* Whether these bytes are a reference at all. */
bool ppk_ref_is(chunk_t bytes);

/* The entry whose key a reference names: the calling thread's IKE_SA, or NULL where it is another's, or
 * outdated. */
struct ppk_sa *ppk_ref_resolve(chunk_t bytes);

#endif
