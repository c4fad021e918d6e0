/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/seal.h"

#include "base/crypto.h"
#include "skipd/uri.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define KEY_LEN   32
#define NONCE_LEN 12
#define TAG_LEN   16

struct seal {
    struct secret *store_key;
};

struct seal *seal_new(const struct secret *master_key, const uint8_t salt[static SEAL_SALT_LEN],
                      struct fault *fault)
{
    struct seal *s = calloc(1, sizeof *s);
    uint8_t *key = secmem_alloc(KEY_LEN);
    struct secret_view view = {0};

    if (s == NULL || key == NULL || !secret_open(master_key, &view)) {
        fault_set(fault, "no memory for the store key");
        goto bad;
    }
    if (EVP_PBE_scrypt_ex((const char *)view.data, view.len, salt, SEAL_SALT_LEN, 16384, 8, 1, 64UL << 20,
                          key, KEY_LEN, crypto_context(), NULL) != 1) {
        fault_set(fault, "the store key cannot be derived");
        goto bad;
    }
    s->store_key = secret_new(key, KEY_LEN);
    if (s->store_key == NULL) {
        fault_set(fault, "no memory for the store key");
        goto bad;
    }
    secret_close(&view);
    secmem_free(key);
    return s;
bad:
    secret_close(&view);
    secmem_free(key);
    free(s);
    return NULL;
}

void seal_free(struct seal *s)
{
    if (s == NULL)
        return;
    secret_free(s->store_key);
    free(s);
}

/* HMAC-SHA256(store key, "value" | key ID) */
static bool value_key(const struct seal *s, struct span id, uint8_t key[static KEY_LEN])
{
    uint8_t message[5 + KEY_ID_MAX] = "value";
    struct secret_view view = {0};
    size_t len = 0;
    bool ok = false;

    if (id.len > KEY_ID_MAX || !secret_open(s->store_key, &view))
        return false;
    memcpy(message + 5, id.data, id.len);
    ok = EVP_Q_mac(crypto_context(), "HMAC", NULL, "SHA256", NULL, view.data, view.len, message, 5 + id.len,
                   key, KEY_LEN, &len) != NULL &&
         len == KEY_LEN;
    secret_close(&view);
    return ok;
}

/* Each part with its length in front, so that no two labels have the same text. */
static bool label_add(EVP_CIPHER_CTX *cipher, const struct seal_label *label)
{
    const struct span parts[] = {
        label->id,
        {(const uint8_t *)label->initiator, strlen(label->initiator)},
        {(const uint8_t *)label->responder, strlen(label->responder)},
    };
    int ignored = 0;

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        uint8_t len = (uint8_t)parts[i].len;

        if (parts[i].len > UINT8_MAX || EVP_CipherUpdate(cipher, NULL, &ignored, &len, 1) != 1 ||
            EVP_CipherUpdate(cipher, NULL, &ignored, parts[i].data, (int)parts[i].len) != 1)
            return false;
    }
    return true;
}

bool seal_close(const struct seal *s, const struct seal_label *label, struct span value, uint8_t *out)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    EVP_CIPHER *aes = EVP_CIPHER_fetch(crypto_context(), "AES-256-GCM", NULL);
    uint8_t *key = secmem_alloc(KEY_LEN);
    int len = 0, last = 0;
    bool ok = cipher != NULL && aes != NULL && key != NULL && value.len <= SECRET_MAX &&
              value_key(s, label->id, key) && crypto_random(out, NONCE_LEN) &&
              EVP_CipherInit_ex2(cipher, aes, key, out, 1, NULL) == 1 && label_add(cipher, label) &&
              EVP_CipherUpdate(cipher, out + NONCE_LEN, &len, value.data, (int)value.len) == 1 &&
              EVP_CipherFinal_ex(cipher, out + NONCE_LEN + len, &last) == 1 && len + last == (int)value.len &&
              EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + NONCE_LEN + value.len) == 1;

    EVP_CIPHER_CTX_free(cipher);
    EVP_CIPHER_free(aes);
    secmem_free(key);
    return ok;
}

enum seal_result seal_open(const struct seal *s, const struct seal_label *label, struct span sealed,
                           uint8_t *out)
{
    EVP_CIPHER_CTX *cipher = NULL;
    EVP_CIPHER *aes = NULL;
    uint8_t *key = NULL;
    uint8_t tag[TAG_LEN];
    size_t value_len = sealed.len - SEAL_OVERHEAD;
    int len = 0, last = 0;
    bool ok = false;
    enum seal_result result = SEAL_FAILED;

    if (sealed.len <= SEAL_OVERHEAD || value_len > SECRET_MAX)
        return SEAL_DAMAGED;
    memcpy(tag, sealed.data + NONCE_LEN + value_len, TAG_LEN);
    cipher = EVP_CIPHER_CTX_new();
    aes = EVP_CIPHER_fetch(crypto_context(), "AES-256-GCM", NULL);
    key = secmem_alloc(KEY_LEN);
    ok = cipher != NULL && aes != NULL && key != NULL && value_key(s, label->id, key) &&
         EVP_CipherInit_ex2(cipher, aes, key, sealed.data, 0, NULL) == 1 && label_add(cipher, label) &&
         EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1 &&
         EVP_CipherUpdate(cipher, out, &len, sealed.data + NONCE_LEN, (int)value_len) == 1;
    /* only the end compares the tag */
    if (ok)
        result = EVP_CipherFinal_ex(cipher, out + len, &last) == 1 && len + last == (int)value_len
                     ? SEAL_OPENED
                     : SEAL_DAMAGED;
    if (result != SEAL_OPENED)
        OPENSSL_cleanse(out, value_len);
    EVP_CIPHER_CTX_free(cipher);
    EVP_CIPHER_free(aes);
    secmem_free(key);
    return result;
}

/* ---- the store's own ---- */

struct seal *seal_for_store(const struct store_kind *kind, struct store *store,
                            const struct secret *master_key, struct fault *fault)
{
    static const char WORD[] = "skipd store";
    const struct span word = {(const uint8_t *)WORD, sizeof WORD};
    const struct seal_label label = {{(const uint8_t *)"check", 5}, "", ""};
    uint8_t salt[SEAL_SALT_LEN], check[sizeof WORD + SEAL_OVERHEAD], opened[sizeof WORD];
    enum store_result r = kind->fact_read(store, "salt", salt, sizeof salt, fault);
    struct seal *seal = NULL;

    /* what is written first counts: another key source may be starting on the same store */
    if (r == STORE_NOT_FOUND && crypto_random(salt, sizeof salt)) {
        r = kind->fact_write(store, "salt", (struct span){salt, sizeof salt}, fault);
        if (r == STORE_OK)
            r = kind->fact_read(store, "salt", salt, sizeof salt, fault);
    }
    if (r != STORE_OK || (seal = seal_new(master_key, salt, fault)) == NULL)
        return NULL;
    r = kind->fact_read(store, "check", check, sizeof check, fault);
    if (r == STORE_NOT_FOUND && seal_close(seal, &label, word, check)) {
        r = kind->fact_write(store, "check", (struct span){check, sizeof check}, fault);
        if (r == STORE_OK)
            r = kind->fact_read(store, "check", check, sizeof check, fault);
    }
    if (r != STORE_OK)
        goto bad;
    switch (seal_open(seal, &label, (struct span){check, sizeof check}, opened)) {
    case SEAL_OPENED:
        return seal;
    case SEAL_DAMAGED:
        fault_set(fault, "store: it was made with another master key");
        break;
    case SEAL_FAILED:
        fault_set(fault, "no memory for the store key");
        break;
    }
bad:
    seal_free(seal);
    return NULL;
}
