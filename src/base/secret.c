/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/secret.h"
#include "base/arena.h"
#include "base/crypto.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <string.h>

enum state { WIPED, IN_PLACE, SEALED }; /* zero is what a fork leaves */

enum { TAG = 16, NONCE = 12 };

struct secret {
    uint16_t len;
    uint8_t state;
    uint8_t unused[5];
    uint8_t body[]; /* the value; or nonce (8), tag (16), ciphertext */
};

struct sealed {
    uint64_t nonce; /* a number used once under the process's key */
    uint8_t tag[TAG];
    uint8_t text[];
};
_Static_assert(sizeof(struct secret) == 8 && sizeof(struct sealed) == 24, "32 bytes sealed take 64");

void *secmem_alloc(size_t size)
{
    return arena_alloc(ARENA_WORK, size);
}

void secmem_free(void *p)
{
    if (p)
        arena_free(ARENA_WORK, p);
}

static struct sealed *sealed_body(const struct secret *s)
{
    return (struct sealed *)(void *)s->body; /* 8 bytes after a slot of 8-byte alignment */
}

static EVP_CIPHER *cipher(void)
{
    static _Atomic(EVP_CIPHER *) fetched;
    EVP_CIPHER *now = atomic_load_explicit(&fetched, memory_order_acquire);
    OSSL_LIB_CTX *c = crypto_context();

    if (!c || now)
        return c ? now : NULL;
    EVP_CIPHER *made = EVP_CIPHER_fetch(c, "AES-256-GCM", NULL);
    if (!made || atomic_compare_exchange_strong(&fetched, &now, made))
        return made;
    EVP_CIPHER_free(made);
    return now;
}

/* AES-256-GCM under the sealing key, over `len` bytes from `in` to `out`; the tag is written or checked. The
 * context lives for this call only, since it holds the expanded key in OpenSSL's own memory, which it wipes
 * when freed. */
static bool seal_or_open(const struct secret *s, const uint8_t *key, const uint8_t *in, uint8_t *out,
                         bool seal)
{
    struct sealed *b = sealed_body(s);
    uint8_t nonce[NONCE] = {0};
    int n = 0;
    bool ok = false;

    ERR_set_mark();
    EVP_CIPHER *gcm = key ? cipher() : NULL;
    EVP_CIPHER_CTX *c = gcm ? EVP_CIPHER_CTX_new() : NULL;
    if (!c)
        goto out;
    memcpy(nonce, &b->nonce, sizeof b->nonce);
    if (EVP_CipherInit_ex2(c, gcm, key, nonce, seal, NULL) != 1)
        goto out;
    if (!seal && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, b->tag) != 1)
        goto out;
    if (s->len && EVP_CipherUpdate(c, out, &n, in, s->len) != 1)
        goto out;
    if (EVP_CipherFinal_ex(c, out + n, &n) != 1)
        goto out;
    ok = !seal || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, b->tag) == 1;
out:
    EVP_CIPHER_CTX_free(c);
    ERR_pop_to_mark();
    return ok;
}

struct secret *secret_new(const void *value, size_t len)
{
    static _Atomic uint64_t nonces;

    if (len > SECRET_MAX)
        return NULL;
    struct secret *s = arena_alloc(ARENA_PLACE, sizeof *s + len);
    if (s) {
        s->len = (uint16_t)len;
        s->state = IN_PLACE;
        if (len)
            memcpy(s->body, value, len);
        return s;
    }
    s = arena_alloc(ARENA_SEALED, sizeof *s + sizeof(struct sealed) + len);
    if (!s)
        return NULL;
    s->len = (uint16_t)len;
    s->state = SEALED;
    struct sealed *b = sealed_body(s);
    b->nonce = atomic_fetch_add_explicit(&nonces, 1, memory_order_relaxed);
    if (!seal_or_open(s, arena_seal_key(NULL), value, b->text, true)) {
        arena_free(ARENA_SEALED, s);
        return NULL;
    }
    return s;
}

bool secret_draft_begin(struct secret_draft *d, size_t len)
{
    *d = (struct secret_draft){0};
    if (len > SECRET_MAX)
        return false;
    struct secret *s = arena_alloc(ARENA_PLACE, sizeof *s + len);
    if (s) {
        s->len = (uint16_t)len;
        s->state = IN_PLACE;
    }
    uint8_t *data = s ? s->body : arena_alloc(ARENA_WORK, len ? len : 1);
    if (!data)
        return false;
    *d = (struct secret_draft){.data = data, .len = len, .made = s};
    return true;
}

struct secret *secret_draft_finish(struct secret_draft *d)
{
    struct secret *s = d->made;

    if (!s && d->data) { /* it is to be sealed */
        s = secret_new(d->data, d->len);
        arena_free(ARENA_WORK, d->data);
    }
    *d = (struct secret_draft){0};
    return s;
}

void secret_draft_drop(struct secret_draft *d)
{
    if (d->made)
        secret_free(d->made);
    else
        secmem_free(d->data);
    *d = (struct secret_draft){0};
}

void secret_free(struct secret *s)
{
    if (s && s->state != WIPED)
        arena_free(s->state == SEALED ? ARENA_SEALED : ARENA_PLACE, s);
}

size_t secret_len(const struct secret *s)
{
    return s->len;
}

bool secret_open(const struct secret *s, struct secret_view *view)
{
    *view = (struct secret_view){0};
    if (s->state == IN_PLACE) {
        view->data = s->body;
        view->len = s->len;
        return true;
    }
    if (s->state != SEALED)
        return false;
    uint8_t *open = arena_alloc(ARENA_WORK, s->len ? s->len : 1);
    if (!open)
        return false;
    if (!seal_or_open(s, arena_seal_key(s), sealed_body(s)->text, open, false)) {
        arena_free(ARENA_WORK, open);
        return false;
    }
    *view = (struct secret_view){.data = open, .len = s->len, .scratch = open};
    return true;
}

void secret_close(struct secret_view *view)
{
    secmem_free(view->scratch);
    *view = (struct secret_view){0};
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    struct secret_view va, vb = {0};
    bool equal = secret_open(a, &va) && secret_open(b, &vb) && va.len == vb.len &&
                 CRYPTO_memcmp(va.data, vb.data, va.len) == 0;

    secret_close(&va);
    secret_close(&vb);
    return equal;
}
