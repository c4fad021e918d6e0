/* SPDX-License-Identifier: BSD-2-Clause */
/* What the token should compute, computed by other means: OpenSSL's one-shot HMAC() and the formulas of RFC
 * 7296, 2.13 and RFC 8784. Uses nothing of the project's own code. */
#ifndef TOKEN_ORACLE_H
#define TOKEN_ORACLE_H

#include "ppk/pkcs11-3.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct oracle_prf {
    const char *name;       /* as in tests/vectors: "sha256" */
    CK_MECHANISM_TYPE hmac; /* CKM_SHA256_HMAC */
    CK_MECHANISM_TYPE hash; /* CKM_SHA256 */
    CK_KEY_TYPE key_type;   /* CKK_SHA256_HMAC */
    size_t size;
};
extern const struct oracle_prf oracle_prfs[4]; /* SHA-1, SHA-256, SHA-384, SHA-512 */

const struct oracle_prf *oracle_prf_by_name(const char *name);

/* out = prf(key, data); `out` has room for 64 bytes */
void oracle_hmac(const struct oracle_prf *prf, const void *key, size_t key_len, const void *data, size_t len,
                 uint8_t *out);

/* out = the first `out_len` bytes of prf+(key, seed) */
void oracle_prf_plus(const struct oracle_prf *prf, const void *key, size_t key_len, const void *seed,
                     size_t seed_len, uint8_t *out, size_t out_len);

/* Repeatable random numbers: the same seed gives the same run. */
struct oracle_random {
    uint64_t state;
};
uint64_t oracle_random(struct oracle_random *r);
size_t oracle_below(struct oracle_random *r, size_t n); /* 0 to n - 1 */
void oracle_fill(struct oracle_random *r, void *out, size_t len);

/* Hex to bytes; aborts on bad input (only for the tests' own constants). Returns the number of bytes. */
size_t oracle_unhex(const char *hex, uint8_t *out, size_t room);

#endif
