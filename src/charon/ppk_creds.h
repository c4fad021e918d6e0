/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers charon's lookups of PPKs with opaque references (ppk_ref.h). */
#ifndef PPK_CHARON_CREDS_H
#define PPK_CHARON_CREDS_H

#include <credentials/credential_set.h>

/* The only one; it owns nothing and is not to be freed. */
extern credential_set_t ppk_creds;

#endif
