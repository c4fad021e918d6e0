/* SPDX-License-Identifier: GPL-2.0-or-later */
/* charon's prf+: in the token for references to PPKs, by the next implementation for every other key. */
#ifndef PPK_CHARON_KDF_H
#define PPK_CHARON_KDF_H

#include <crypto/kdfs/kdf.h>

/* A kdf_constructor_t for KDF_PRF_PLUS; args: the pseudo_random_function_t. NULL if no other implementation
 * has it. */
kdf_t *ppk_kdf_create(key_derivation_function_t type, va_list args);

/* Whether this is one of ours. */
bool ppk_kdf_is(const kdf_t *kdf);

#endif
