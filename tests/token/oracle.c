/* SPDX-License-Identifier: BSD-2-Clause */
#include "oracle.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct oracle_prf oracle_prfs[4] = {
    {"sha1", CKM_SHA_1_HMAC, CKM_SHA_1, CKK_SHA_1_HMAC, 20},
    {"sha256", CKM_SHA256_HMAC, CKM_SHA256, CKK_SHA256_HMAC, 32},
    {"sha384", CKM_SHA384_HMAC, CKM_SHA384, CKK_SHA384_HMAC, 48},
    {"sha512", CKM_SHA512_HMAC, CKM_SHA512, CKK_SHA512_HMAC, 64},
};

const struct oracle_prf *oracle_prf_by_name(const char *name)
{
    for (size_t i = 0; i < 4; i++)
        if (strcmp(oracle_prfs[i].name, name) == 0)
            return &oracle_prfs[i];
    fprintf(stderr, "no prf %s\n", name);
    abort();
}

static const EVP_MD *digest_of(const struct oracle_prf *prf)
{
    switch (prf->size) {
    case 20:
        return EVP_sha1();
    case 32:
        return EVP_sha256();
    case 48:
        return EVP_sha384();
    default:
        return EVP_sha512();
    }
}

void oracle_hmac(const struct oracle_prf *prf, const void *key, size_t key_len, const void *data, size_t len,
                 uint8_t *out)
{
    unsigned out_len = 0;
    if (!HMAC(digest_of(prf), key_len ? key : "", (int)key_len, len ? data : (const void *)"", len, out,
              &out_len) ||
        out_len != prf->size)
        abort();
}

void oracle_prf_plus(const struct oracle_prf *prf, const void *key, size_t key_len, const void *seed,
                     size_t seed_len, uint8_t *out, size_t out_len)
{
    uint8_t *input = malloc(64 + seed_len + 1), block[64] = {0};
    if (!input)
        abort();
    size_t previous = 0;
    for (unsigned n = 1; out_len > 0; n++) {
        memcpy(input, block, previous);
        if (seed_len)
            memcpy(input + previous, seed, seed_len);
        input[previous + seed_len] = (uint8_t)n;
        oracle_hmac(prf, key, key_len, input, previous + seed_len + 1, block);
        previous = prf->size;
        size_t take = out_len < prf->size ? out_len : prf->size;
        memcpy(out, block, take);
        out += take;
        out_len -= take;
    }
    free(input);
}

/* splitmix64 */
uint64_t oracle_random(struct oracle_random *r)
{
    uint64_t z = (r->state += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

size_t oracle_below(struct oracle_random *r, size_t n)
{
    return (size_t)(oracle_random(r) % n);
}

void oracle_fill(struct oracle_random *r, void *out, size_t len)
{
    uint8_t *p = out;
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)oracle_random(r);
}

size_t oracle_unhex(const char *hex, uint8_t *out, size_t room)
{
    size_t n = strlen(hex) / 2;
    if (n > room)
        abort();
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            abort();
        out[i] = (uint8_t)byte;
    }
    return n;
}
