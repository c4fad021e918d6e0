/* SPDX-License-Identifier: BSD-2-Clause */
#include "card.h"

#include <openssl/evp.h>
#include <string.h>

static bool wrap(const struct card *c, int encrypt, const uint8_t *in, size_t len, uint8_t *out, int *n)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool good = ctx != NULL;

    if (good) {
        EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
        good = EVP_CipherInit_ex(ctx, EVP_aes_256_wrap_pad(), NULL, c->kek, NULL, encrypt) == 1 &&
               EVP_CipherUpdate(ctx, out, n, in, (int)len) == 1;
    }
    EVP_CIPHER_CTX_free(ctx);
    return good;
}

bool card_take(const struct card *c, const uint8_t *wrapped, size_t len, uint8_t *out)
{
    uint8_t work[64];
    int n = 0;

    if (len > sizeof work || !wrap(c, 0, wrapped, len, work, &n) || n != CARD_KEY)
        return false;
    memcpy(out, work, CARD_KEY);
    return true;
}

bool card_give(const struct card *c, const uint8_t *key, uint8_t *out)
{
    int n = 0;

    return wrap(c, 1, key, CARD_KEY, out, &n) && n == CARD_KEY + 8;
}
