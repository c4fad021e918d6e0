/* SPDX-License-Identifier: BSD-2-Clause */
#include "config/type6.h"

#include "base/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#define VERSION        0x01
#define SALT_LEN       16
#define NONCE_LEN      12
#define HEADER_LEN     (1 + SALT_LEN + NONCE_LEN)
#define TAG_LEN        16
#define KEY_LEN        32
#define MASTER_KEY_MAX 512
#define SEALED_MAX     (HEADER_LEN + SECRET_MAX + TAG_LEN)

struct salted_key {
    uint8_t salt[SALT_LEN];
    struct secret *key;
};

struct type6 {
    struct secret *master;
    struct salted_key *keys;
    size_t n_keys;
    size_t last; /* index of the key that was used last */
};

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* ---- base64url (RFC 4648, section 5), without padding; of ciphertext, so it needs not be constant in time
 * ---- */

static bool base64url_decode(uint8_t *out, const char *text, size_t len)
{
    uint32_t bits = 0;
    unsigned n = 0;

    for (size_t i = 0; i < len; i++) {
        const char *c = memchr(alphabet, text[i], sizeof alphabet);

        if (c == NULL)
            return false;
        bits = (bits << 6 | (uint32_t)(c - alphabet)) & 0xffffff;
        n += 6;
        if (n >= 8) {
            n -= 8;
            *out++ = (uint8_t)(bits >> n);
        }
    }
    return len % 4 != 1 && (bits & ((1U << n) - 1)) == 0;
}

static void base64url_append(struct text *out, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                        (left > 2 ? bytes[i + 2] : 0);
        char four[4];

        for (unsigned j = 0; j < 4; j++)
            four[j] = alphabet[bits >> (18 - 6 * j) & 63];
        text_append(out, four, left > 2 ? 4 : left + 1);
    }
}

/* ---- keys ---- */

struct type6 *type6_new(const void *master_key, size_t len)
{
    struct type6 *t;

    if (len < 1 || len > MASTER_KEY_MAX)
        return NULL;
    t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->master = secret_new(master_key, len);
    if (t->master == NULL) {
        free(t);
        return NULL;
    }
    return t;
}

void type6_free(struct type6 *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->n_keys; i++)
        secret_free(t->keys[i].key);
    free(t->keys);
    secret_free(t->master);
    free(t);
}

/* scrypt(master key, salt, 16384, 8, 1). OpenSSL clears its working memory and its copies of the parameters
 * when it frees them. */
static struct secret *salt_derive(const struct type6 *t, const uint8_t *salt)
{
    uint64_t n = 16384;
    uint32_t r = 8, p = 1;
    struct secret_view master = {0};
    struct secret *key = NULL;
    uint8_t *out = secmem_alloc(KEY_LEN);
    OSSL_LIB_CTX *library = crypto_context(); /* NULL would mean the host's */

    ERR_set_mark(); /* the error queue is the host's */
    EVP_KDF *kdf = library != NULL ? EVP_KDF_fetch(library, "SCRYPT", NULL) : NULL;
    EVP_KDF_CTX *context = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;

    if (out != NULL && context != NULL && secret_open(t->master, &master)) {
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)master.data, master.len),
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, SALT_LEN),
            OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
            OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
            OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
            OSSL_PARAM_construct_end(),
        };

        if (EVP_KDF_derive(context, out, KEY_LEN, params) == 1)
            key = secret_new(out, KEY_LEN);
    }
    secret_close(&master);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    ERR_pop_to_mark();
    secmem_free(out);
    return key;
}

static const struct secret *salt_key(struct type6 *t, const uint8_t *salt, struct fault *fault)
{
    struct salted_key *keys;

    if (t->n_keys > 0 && memcmp(t->keys[t->last].salt, salt, SALT_LEN) == 0)
        return t->keys[t->last].key;
    for (size_t i = 0; i < t->n_keys; i++) {
        if (memcmp(t->keys[i].salt, salt, SALT_LEN) == 0) {
            t->last = i;
            return t->keys[i].key;
        }
    }
    if (t->n_keys == TYPE6_SALTS_MAX) {
        fault_set(fault, "more than %d salts among the Type 6 secrets: encrypt them again, together",
                  TYPE6_SALTS_MAX);
        return NULL;
    }
    keys = realloc(t->keys, (t->n_keys + 1) * sizeof *keys);
    if (keys != NULL) {
        t->keys = keys;
        memcpy(keys[t->n_keys].salt, salt, SALT_LEN);
        keys[t->n_keys].key = salt_derive(t, salt);
    }
    if (keys == NULL || keys[t->n_keys].key == NULL) {
        fault_set(fault, "no memory left for scrypt");
        return NULL;
    }
    t->last = t->n_keys++;
    return t->keys[t->last].key;
}

/* ---- texts ---- */

/* AES-256-GCM over `len` bytes from `in` to `out`; the tag is read or written at `tag`. */
static bool gcm(bool seal, const struct secret *key, const uint8_t *header, const uint8_t *in, size_t len,
                uint8_t *out, uint8_t *tag, struct fault *fault)
{
    OSSL_LIB_CTX *library = crypto_context(); /* NULL would mean the host's */
    EVP_CIPHER *cipher = NULL;
    EVP_CIPHER_CTX *c = NULL;
    struct secret_view view = {0};
    const char *why = "no memory left";
    bool good = false;
    int n = 0;

    ERR_set_mark(); /* the error queue is the host's */
    cipher = library != NULL ? EVP_CIPHER_fetch(library, "AES-256-GCM", NULL) : NULL;
    c = EVP_CIPHER_CTX_new();
    if (cipher == NULL || c == NULL || !secret_open(key, &view))
        goto out;
    if (EVP_CipherInit_ex2(c, cipher, view.data, header + 1 + SALT_LEN, seal ? 1 : 0, NULL) != 1 ||
        EVP_CipherUpdate(c, NULL, &n, header, HEADER_LEN) != 1)
        goto out;
    if (len > 0 && EVP_CipherUpdate(c, out, &n, in, (int)len) != 1)
        goto out;
    if (!seal && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) != 1)
        goto out;
    why = "the Type 6 secret is damaged, or was encrypted under another master key";
    if (EVP_CipherFinal_ex(c, out + len, &n) != 1)
        goto out;
    good = !seal || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag) == 1;
out:
    secret_close(&view);
    EVP_CIPHER_CTX_free(c);
    EVP_CIPHER_free(cipher);
    ERR_pop_to_mark();
    if (!good)
        fault_set(fault, "%s", why);
    return good;
}

/* The octets of a Type 6 text at `out` (of SEALED_MAX); 0 if it is none. */
static size_t sealed_decode(uint8_t *out, const char *text)
{
    size_t len = strnlen(text, SEALED_MAX * 4 / 3 + 2);
    size_t octets = len * 3 / 4;

    out[0] = 0;
    if (octets < HEADER_LEN + TAG_LEN || octets > SEALED_MAX || !base64url_decode(out, text, len) ||
        out[0] != VERSION)
        return 0;
    return octets;
}

size_t type6_length(const char *text)
{
    uint8_t octets[SEALED_MAX + 3];
    size_t len = sealed_decode(octets, text);

    return len == 0 ? 0 : len - HEADER_LEN - TAG_LEN;
}

bool type6_is(const char *text)
{
    uint8_t octets[SEALED_MAX + 3];

    return sealed_decode(octets, text) > 0;
}

struct secret *type6_open(struct type6 *t, const char *text, struct fault *fault)
{
    uint8_t octets[SEALED_MAX + 3];
    size_t octets_len = sealed_decode(octets, text), len;
    struct secret *value = NULL;
    const struct secret *key;
    uint8_t *clear;

    if (octets_len == 0) {
        fault_set(fault, "not a Type 6 text");
        return NULL;
    }
    key = salt_key(t, octets + 1, fault);
    if (key == NULL)
        return NULL;
    len = octets_len - HEADER_LEN - TAG_LEN;
    clear = secmem_alloc(len + 1);
    if (clear == NULL) {
        fault_set(fault, "no secret memory left");
        return NULL;
    }
    if (gcm(false, key, octets, octets + HEADER_LEN, len, clear, octets + HEADER_LEN + len, fault)) {
        value = secret_new(clear, len);
        if (value == NULL)
            fault_set(fault, "no secret memory left");
    }
    secmem_free(clear);
    return value;
}

bool type6_seal(struct type6 *t, const void *value, size_t len, struct text *out, struct fault *fault)
{
    uint8_t octets[SEALED_MAX];
    const struct secret *key;

    if (len > SECRET_MAX) {
        fault_set(fault, "a secret has at most %d bytes", SECRET_MAX);
        return false;
    }
    octets[0] = VERSION;
    if (t->n_keys > 0)
        memcpy(octets + 1, t->keys[t->last].salt, SALT_LEN);
    else if (!crypto_random(octets + 1, SALT_LEN)) {
        fault_set(fault, "no random bytes");
        return false;
    }
    key = salt_key(t, octets + 1, fault);
    if (key == NULL)
        return false;
    if (!crypto_random(octets + 1 + SALT_LEN, NONCE_LEN)) {
        fault_set(fault, "no random bytes");
        return false;
    }
    if (!gcm(true, key, octets, value, len, octets + HEADER_LEN, octets + HEADER_LEN + len, fault))
        return false;
    base64url_append(out, octets, HEADER_LEN + len + TAG_LEN);
    if (out->failed)
        fault_set(fault, "no memory left");
    return !out->failed;
}
