/* SPDX-License-Identifier: BSD-2-Clause */
/* HMAC by OpenSSL's HMAC_CTX, which EVP_MAC is a wrapper of. It has what EVP_MAC lacks: a copy from one
 * context to another that allocates and wipes what it needs and no more. Contexts keep what they make of the
 * key in OpenSSL's memory, which is not locked; so a context is keyed for one call (or one MAC in parts), and
 * then overwritten with the state of an idle one: HMAC_CTX_copy() gives back the three hash states of the
 * key, which OpenSSL wipes on the way. That is half of what keying it anew costs, and touches no memory that
 * threads share, as HMAC_CTX_reset() does (the digest's reference count). */
#define OPENSSL_SUPPRESS_DEPRECATED 1 /* HMAC_CTX, which OpenSSL 3 itself is built on */
#include "ike/prf.h"
#include "base/crypto.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PRFS = 4, POOL = 16, KEPT = 256, BLOCKS_MAX = 255 };

static const struct {
    const char *digest;
    uint8_t size;
} prfs[PRFS] = {
    [PRF_HMAC_SHA1] = {"SHA1", 20},
    [PRF_HMAC_SHA2_256] = {"SHA2-256", 32},
    [PRF_HMAC_SHA2_384] = {"SHA2-384", 48},
    [PRF_HMAC_SHA2_512] = {"SHA2-512", 64},
};

/* What an idle context is keyed with. */
static const uint8_t idle_key[32];

/* Contexts that are ready for use, per prf; taken and put back without a lock, and never freed at a thread's
 * or the process's end, when OpenSSL may be gone already. `idle` is what they are copies of, and constant. */
static _Atomic(HMAC_CTX *) idle[PRFS];
static struct {
    _Atomic(HMAC_CTX *) ctx;
} __attribute__((aligned(64))) pool[PRFS][POOL];

/* Contexts that stay keyed for their owners. Each owner has one place, which he shares with others: the last
 * who used it has it. A context is out of its place while it is in use. */
struct kept {
    HMAC_CTX *ctx;
    const void *owner;
    enum prf prf;
};
static struct {
    _Atomic(struct kept *) kept;
} __attribute__((aligned(64))) places[KEPT];

size_t prf_size(enum prf prf)
{
    return prfs[prf].size;
}

void prf_after_fork(void)
{
    static void *left_behind[PRFS * (POOL + 1) + KEPT]; /* to free them could mean to wait for their library
                                                    context's locks */
    size_t n = 0;

    for (unsigned i = 0; i < PRFS; i++) {
        left_behind[n++] = atomic_exchange(&idle[i], NULL);
        for (unsigned at = 0; at < POOL; at++)
            left_behind[n++] = atomic_exchange(&pool[i][at].ctx, NULL);
    }
    for (unsigned i = 0; i < KEPT; i++)
        left_behind[n++] = atomic_exchange(&places[i].kept, NULL);
    (void)left_behind;
}

static HMAC_CTX *idle_new(enum prf prf)
{
    OSSL_LIB_CTX *library = crypto_context();
    EVP_MD *md = library ? EVP_MD_fetch(library, prfs[prf].digest, NULL) : NULL;
    HMAC_CTX *c = md ? HMAC_CTX_new() : NULL;

    if (c && HMAC_Init_ex(c, idle_key, sizeof idle_key, md, NULL) != 1) {
        HMAC_CTX_free(c);
        c = NULL;
    }
    EVP_MD_free(md); /* the hash states hold references of their own */
    return c;
}

static HMAC_CTX *idle_get(enum prf prf)
{
    HMAC_CTX *now = atomic_load_explicit(&idle[prf], memory_order_acquire);

    if (now)
        return now;
    HMAC_CTX *made = idle_new(prf);
    if (!made || atomic_compare_exchange_strong(&idle[prf], &now, made))
        return made;
    HMAC_CTX_free(made);
    return now;
}

static HMAC_CTX *context_new(enum prf prf)
{
    ERR_set_mark(); /* the error queue is the host's */
    HMAC_CTX *from = idle_get(prf), *c = from ? HMAC_CTX_new() : NULL;
    if (c && HMAC_CTX_copy(c, from) != 1) {
        HMAC_CTX_free(c);
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
static HMAC_CTX *context_take(enum prf prf, struct span key)
{
    HMAC_CTX *c = NULL;

    if (!crypto_alive())
        return NULL;
    for (unsigned i = 0, at = pool_start(); i < POOL && !c; i++, at = (at + 1) % POOL) {
        if (atomic_load_explicit(&pool[prf][at].ctx, memory_order_relaxed))
            c = atomic_exchange_explicit(&pool[prf][at].ctx, NULL, memory_order_acquire);
    }
    if (!c)
        c = context_new(prf);
    if (c && (key.len > INT_MAX ||
              HMAC_Init_ex(c, key.len ? key.data : idle_key, (int)key.len, NULL, NULL) != 1)) {
        HMAC_CTX_free(c);
        c = NULL;
    }
    return c;
}

/* Back to the pool without its key. */
static void context_give(enum prf prf, HMAC_CTX *c)
{
    if (!c || !crypto_alive())
        return;
    HMAC_CTX *from = atomic_load_explicit(&idle[prf], memory_order_acquire);
    if (from && HMAC_CTX_copy(c, from) == 1) {
        for (unsigned i = 0, at = pool_start(); i < POOL; i++, at = (at + 1) % POOL) {
            HMAC_CTX *none = NULL;
            if (atomic_compare_exchange_strong_explicit(&pool[prf][at].ctx, &none, c, memory_order_release,
                                                        memory_order_relaxed))
                return;
        }
    }
    HMAC_CTX_free(c);
}

static bool update(HMAC_CTX *c, const struct span *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len && HMAC_Update(c, parts[i].data, parts[i].len) != 1)
            return false;
    }
    return true;
}

static bool finish(HMAC_CTX *c, enum prf prf, uint8_t *out)
{
    unsigned len = 0;

    return HMAC_Final(c, out, &len) == 1 && len == prfs[prf].size;
}

static _Atomic(struct kept *) *place_of(const void *owner)
{
    return &places[(uintptr_t)owner * UINT64_C(0x9e3779b97f4a7c15) >> 56].kept;
}

/* A context on loan for one call. */
struct loan {
    HMAC_CTX *ctx;
    struct kept *kept; /* what it is of, or NULL: it goes back to the pool */
};

static void loan_end(struct loan *l, const void *owner, enum prf prf)
{
    struct kept *none = NULL;

    if (!l->kept || !crypto_alive()) {
        context_give(prf, l->ctx);
        return;
    }
    if (atomic_compare_exchange_strong_explicit(place_of(owner), &none, l->kept, memory_order_release,
                                                memory_order_relaxed))
        return;
    context_give(l->kept->prf, l->ctx);
    free(l->kept);
}

/* After a failure. */
static void loan_drop(struct loan *l, enum prf prf)
{
    free(l->kept);
    context_give(prf, l->ctx);
}

/* A context keyed with `key`: the owner's if it is there. */
static bool loan_begin(struct loan *l, const void *owner, enum prf prf, struct span key)
{
    struct kept *k = NULL;

    *l = (struct loan){0};
    if (owner && crypto_alive() && atomic_load_explicit(place_of(owner), memory_order_relaxed))
        k = atomic_exchange_explicit(place_of(owner), NULL, memory_order_acquire);
    if (k && k->owner == owner && k->prf == prf && HMAC_Init_ex(k->ctx, NULL, 0, NULL, NULL) == 1) {
        *l = (struct loan){k->ctx, k};
        return true;
    }
    if (k)
        context_give(k->prf, k->ctx);
    l->ctx = context_take(prf, key);
    if (!k && owner && l->ctx)
        k = malloc(sizeof *k);
    if (k && l->ctx) {
        *k = (struct kept){l->ctx, owner, prf};
        l->kept = k;
    } else {
        free(k);
    }
    return l->ctx != NULL;
}

void prf_forget(const void *owner)
{
    struct kept *k = atomic_exchange_explicit(place_of(owner), NULL, memory_order_acquire);

    if (!k || !crypto_alive())
        return;
    /* Also if it is another owner's. Once taken out it may not be put back: he may have been forgotten
     * meanwhile, and then it would be taken for that of whoever has his address next. */
    context_give(k->prf, k->ctx);
    free(k);
}

bool prf_compute_for(const void *owner, enum prf prf, struct span key, const struct span *parts, size_t n,
                     uint8_t *out)
{
    struct loan l;

    if (!loan_begin(&l, owner, prf, key) || !update(l.ctx, parts, n) || !finish(l.ctx, prf, out)) {
        OPENSSL_cleanse(out, prfs[prf].size);
        loan_drop(&l, prf);
        return false;
    }
    loan_end(&l, owner, prf);
    return true;
}

bool prf_plus_for(const void *owner, enum prf prf, struct span key, const struct span *parts, size_t n,
                  uint8_t *out, size_t len)
{
    size_t size = prfs[prf].size;
    uint8_t last[PRF_MAX] = {0};
    struct loan l = {0};

    if (len > BLOCKS_MAX * size || !loan_begin(&l, owner, prf, key))
        goto failed;
    /* T1 = prf(K, S | 0x01), Tn = prf(K, T(n-1) | S | n) */
    for (size_t done = 0, block = 1; done < len; done += size, block++) {
        uint8_t number = (uint8_t)block;
        bool whole = len - done >= size;
        uint8_t *t = whole ? out + done : last;
        if (block > 1 && (HMAC_Init_ex(l.ctx, NULL, 0, NULL, NULL) != 1 ||
                          HMAC_Update(l.ctx, out + done - size, size) != 1))
            goto failed;
        if (!update(l.ctx, parts, n) || HMAC_Update(l.ctx, &number, 1) != 1 || !finish(l.ctx, prf, t))
            goto failed;
        if (!whole) {
            memcpy(out + done, last, len - done);
            OPENSSL_cleanse(last, sizeof last);
        }
    }
    loan_end(&l, owner, prf);
    return true;
failed:
    loan_drop(&l, prf);
    OPENSSL_cleanse(out, len);
    return false;
}

bool prf_compute(enum prf prf, struct span key, const struct span *parts, size_t n, uint8_t *out)
{
    return prf_compute_for(NULL, prf, key, parts, n, out);
}

bool prf_plus(enum prf prf, struct span key, const struct span *parts, size_t n, uint8_t *out, size_t len)
{
    return prf_plus_for(NULL, prf, key, parts, n, out, len);
}

struct prf_state {
    HMAC_CTX *ctx;
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
