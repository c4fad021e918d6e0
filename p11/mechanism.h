/* SPDX-License-Identifier: BSD-2-Clause */
/* The mechanisms, by one table. */
#ifndef PPK_P11_MECHANISM_H
#define PPK_P11_MECHANISM_H

#include "ike/prf.h"
#include "p11/cryptoki.h"

enum mechanism_kind {
    MECHANISM_HMAC,
    MECHANISM_GENERATE,
    MECHANISM_PRF_PLUS,
    MECHANISM_IKE_PRF,
    MECHANISM_HKDF,
    MECHANISM_EXTRACT,
    MECHANISM_CONCAT_KEY,
    MECHANISM_CONCAT_DATA,
    MECHANISM_CONCAT_BEFORE, /* DATA_AND_BASE */
    MECHANISM_WRAP,
};

struct mechanism {
    CK_MECHANISM_TYPE type;
    const char *name;
    CK_FLAGS flags;       /* CKF_SIGN, … */
    CK_ULONG min, max;    /* key size: bytes; bits for the generation of keys */
    CK_KEY_TYPE key_type; /* of an HMAC, besides CKK_GENERIC_SECRET */
    enum prf prf;         /* of an HMAC */
    enum mechanism_kind kind;
};

/* The mechanism, or NULL. */
const struct mechanism *mechanism_find(CK_MECHANISM_TYPE type);

/* All of them. */
const struct mechanism *mechanism_all(size_t *n);

/* The prf of an HMAC mechanism, or of a hash (for HKDF). False: none of ours. */
bool mechanism_prf(CK_MECHANISM_TYPE hmac, enum prf *prf);
bool mechanism_hash_prf(CK_MECHANISM_TYPE hash, enum prf *prf);

#endif
