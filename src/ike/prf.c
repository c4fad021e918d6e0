/* SPDX-License-Identifier: BSD-2-Clause */
/* HMAC by OpenSSL's EVP_MAC. Its contexts copy the key into memory of their own: so a context is keyed for
 * one call (or one MAC in parts), and keyed anew with zeros, which wipes that copy, before it is put aside.
 */
#include "ike/prf.h"
#include "base/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PRFS = 4, POOL = 16, BLOCKS_MAX = 255 };

static const struct {
    const char *digest;
    uint8_t size;
} prfs[PRFS] = {
    [PRF_HMAC_SHA1] = {"SHA1", 20},
    [PRF_HMAC_SHA2_256] = {"SHA2-256", 32},
    [PRF_HMAC_SHA2_384] = {"SHA2-384", 48},
    [PRF_HMAC_SHA2_512] = {"SHA2-512", 64},
};

/* What an idle context is keyed with, so that no key stays in OpenSSL's memory. */
static const uint8_t idle_key[32];

/* Contexts that are ready for use, per prf; taken and put back without a lock, and never freed at a thread's
 * or the process's end, when OpenSSL may be gone already. */
static struct {
    _Atomic(EVP_MAC_CTX *) ctx;
} __attribute__((aligned(64))) pool[PRFS][POOL];

size_t prf_size(enum prf prf)
{
    return prfs[prf].size;
}

static _Atomic(EVP_MAC *) fetched;

static EVP_MAC *hmac(void)
{
    EVP_MAC *now = atomic_load_explicit(&fetched, memory_order_acquire);
    OSSL_LIB_CTX *c = crypto_context();

    if (!c || now)
        return c ? now : NULL;
    EVP_MAC *made = EVP_MAC_fetch(c, OSSL_MAC_NAME_HMAC, NULL);
    if (!made || atomic_compare_exchange_strong(&fetched, &now, made))
        return made;
    EVP_MAC_free(made);
    return now;
}

void prf_after_fork(void)
{
    static void
        *left_behind[PRFS * POOL + 1]; /* to free them could mean to wait for their library context's locks */
    size_t n = 0;

    left_behind[n++] = atomic_exchange(&fetched, NULL);
    for (unsigned i = 0; i < PRFS; i++)
        for (unsigned at = 0; at < POOL; at++)
            left_behind[n++] = atomic_exchange(&pool[i][at].ctx, NULL);
    (void)left_behind;
}

static EVP_MAC_CTX *context_new(enum prf prf)
{
    char digest[16];
    EVP_MAC_CTX *c = NULL;

    ERR_set_mark(); /* the error queue is the host's */
    EVP_MAC *mac = hmac();
    if (mac)
        c = EVP_MAC_CTX_new(mac);
    (void)strncpy(digest, prfs[prf].digest, sizeof digest);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    if (c && EVP_MAC_init(c, idle_key, sizeof idle_key, params) != 1) {
        EVP_MAC_CTX_free(c);
        c = NULL;
    }
    ERR_pop_to_mark();
    return c;
}

/* Where this thread begins to look in the pool. */
static unsigned pool_start(void)
{
    static _Atomic unsigned next;
    static _Thread_local unsigned mine; /* plus 1 */

    if (!mine)
        mine = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % POOL + 1;
    return mine - 1;
}

/* A context keyed with `key`, or NULL. */
static EVP_MAC_CTX *context_take(enum prf prf, struct span key)
{
    EVP_MAC_CTX *c = NULL;

    if (!crypto_alive())
        return NULL;
    for (unsigned i = 0, at = pool_start(); i < POOL && !c; i++, at = (at + 1) % POOL) {
        if (atomic_load_explicit(&pool[prf][at].ctx, memory_order_relaxed))
            c = atomic_exchange_explicit(&pool[prf][at].ctx, NULL, memory_order_acquire);
    }
    if (!c)
        c = context_new(prf);
    if (c && EVP_MAC_init(c, key.len ? key.data : idle_key, key.len, NULL) != 1) {
        EVP_MAC_CTX_free(c);
        c = NULL;
    }
    return c;
}

/* Back to the pool without its key. */
static void context_give(enum prf prf, EVP_MAC_CTX *c)
{
    if (!c || !crypto_alive())
        return;
    if (EVP_MAC_init(c, idle_key, sizeof idle_key, NULL) == 1) {
        for (unsigned i = 0, at = pool_start(); i < POOL; i++, at = (at + 1) % POOL) {
            EVP_MAC_CTX *none = NULL;
            if (atomic_compare_exchange_strong_explicit(&pool[prf][at].ctx, &none, c, memory_order_release,
                                                        memory_order_relaxed))
                return;
        }
    }
    EVP_MAC_CTX_free(c);
}

static bool update(EVP_MAC_CTX *c, const struct span *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len && EVP_MAC_update(c, parts[i].data, parts[i].len) != 1)
            return false;
    }
    return true;
}

static bool finish(EVP_MAC_CTX *c, enum prf prf, uint8_t *out)
{
    size_t len = 0;

    return EVP_MAC_final(c, out, &len, prfs[prf].size) == 1 && len == prfs[prf].size;
}

bool prf_compute(enum prf prf, struct span key, const struct span *parts, size_t n, uint8_t *out)
{
    EVP_MAC_CTX *c = context_take(prf, key);
    bool ok = c && update(c, parts, n) && finish(c, prf, out);

    if (!ok)
        OPENSSL_cleanse(out, prfs[prf].size);
    context_give(prf, c);
    return ok;
}

bool prf_plus(enum prf prf, struct span key, const struct span *parts, size_t n, uint8_t *out, size_t len)
{
    size_t size = prfs[prf].size;
    uint8_t last[PRF_MAX] = {0};
    EVP_MAC_CTX *c = NULL;
    bool ok = false;

    if (len > BLOCKS_MAX * size)
        goto out;
    c = context_take(prf, key);
    if (!c)
        goto out;
    /* T1 = prf(K, S | 0x01), Tn = prf(K, T(n-1) | S | n) */
    for (size_t done = 0, block = 1; done < len; done += size, block++) {
        uint8_t number = (uint8_t)block;
        bool whole = len - done >= size;
        uint8_t *t = whole ? out + done : last;
        if (block > 1 &&
            (EVP_MAC_init(c, NULL, 0, NULL) != 1 || EVP_MAC_update(c, out + done - size, size) != 1))
            goto out;
        if (!update(c, parts, n) || EVP_MAC_update(c, &number, 1) != 1 || !finish(c, prf, t))
            goto out;
        if (!whole) {
            memcpy(out + done, last, len - done);
            OPENSSL_cleanse(last, sizeof last);
        }
    }
    ok = true;
out:
    context_give(prf, c);
    if (!ok)
        OPENSSL_cleanse(out, len);
    return ok;
}

struct prf_state {
    EVP_MAC_CTX *ctx;
    enum prf prf;
};

struct prf_state *prf_begin(enum prf prf, struct span key)
{
    struct prf_state *s = malloc(sizeof *s);

    if (!s)
        return NULL;
    s->prf = prf;
    s->ctx = context_take(prf, key);
    if (!s->ctx) {
        free(s);
        return NULL;
    }
    return s;
}

bool prf_update(struct prf_state *s, struct span part)
{
    return update(s->ctx, &part, 1);
}

bool prf_finish(struct prf_state *s, uint8_t *out)
{
    if (finish(s->ctx, s->prf, out))
        return true;
    OPENSSL_cleanse(out, prfs[s->prf].size);
    return false;
}

void prf_free(struct prf_state *s)
{
    if (!s)
        return;
    context_give(s->prf, s->ctx);
    free(s);
}
