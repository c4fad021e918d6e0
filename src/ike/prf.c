/* SPDX-License-Identifier: BSD-2-Clause */
/* HMAC (RFC 2104) over OpenSSL's SHA functions, with the state in memory of ours. Not by EVP_MAC, although
 * that is what OpenSSL recommends: its contexts copy the key into ordinary heap memory, where a core dump, a
 * forked child or swap would find it; wiping them costs as much again as the MAC itself; and they cannot be
 * used once the host has run OPENSSL_cleanup(). The functions below know no global state, allocate nothing,
 * and are the ones that EVP calls in the end. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "ike/prf.h"
#include "base/secret.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

enum { BLOCKS_MAX = 255, BLOCK_MAX = SHA512_CBLOCK, PRFS = 4 };

union hash {
    SHA_CTX sha1;
    SHA256_CTX sha256;
    SHA512_CTX sha512; /* of SHA-384, too */
};

static int sha1_init(union hash *h)
{
    return SHA1_Init(&h->sha1);
}
static int sha1_update(union hash *h, const void *data, size_t len)
{
    return SHA1_Update(&h->sha1, data, len);
}
static int sha1_final(uint8_t *out, union hash *h)
{
    return SHA1_Final(out, &h->sha1);
}
static int sha256_init(union hash *h)
{
    return SHA256_Init(&h->sha256);
}
static int sha256_update(union hash *h, const void *data, size_t len)
{
    return SHA256_Update(&h->sha256, data, len);
}
static int sha256_final(uint8_t *out, union hash *h)
{
    return SHA256_Final(out, &h->sha256);
}
static int sha384_init(union hash *h)
{
    return SHA384_Init(&h->sha512);
}
static int sha512_init(union hash *h)
{
    return SHA512_Init(&h->sha512);
}
static int sha512_update(union hash *h, const void *data, size_t len)
{
    return SHA512_Update(&h->sha512, data, len);
}
static int sha512_final(uint8_t *out, union hash *h)
{
    return SHA512_Final(out, &h->sha512);
}

static const struct hash_kind {
    size_t size, block, state; /* bytes of output, input block, and the member of union hash */
    int (*init)(union hash *h);
    int (*update)(union hash *h, const void *data, size_t len);
    int (*final)(uint8_t *out, union hash *h);
} kinds[PRFS] = {
    [PRF_HMAC_SHA1] = {20, 64, sizeof(SHA_CTX), sha1_init, sha1_update, sha1_final},
    [PRF_HMAC_SHA2_256] = {32, 64, sizeof(SHA256_CTX), sha256_init, sha256_update, sha256_final},
    [PRF_HMAC_SHA2_384] = {48, 128, sizeof(SHA512_CTX), sha384_init, sha512_update, sha512_final},
    [PRF_HMAC_SHA2_512] = {64, 128, sizeof(SHA512_CTX), sha512_init, sha512_update, sha512_final},
};

/* The key's block, by words: it is XORed as a whole. */
union block {
    uint8_t bytes[BLOCK_MAX];
    uint64_t words[BLOCK_MAX / 8];
};

/* A keyed HMAC: the states after the key's block, from which every MAC under the key starts; and all that is
 * secret on the way. */
struct hmac {
    const struct hash_kind *kind;
    union hash inner, outer;
    union hash running; /* a copy of one of them, at work */
    union block block;  /* the key's, and then what an inner hash gives */
};

size_t prf_size(enum prf prf)
{
    return kinds[prf].size;
}

/* Part by part, since what a state does not use need not be wiped. */
static void hmac_wipe(struct hmac *m)
{
    OPENSSL_cleanse(&m->inner, m->kind->state);
    OPENSSL_cleanse(&m->outer, m->kind->state);
    OPENSSL_cleanse(&m->running, m->kind->state);
    OPENSSL_cleanse(&m->block, m->kind->block);
}

/* Absorbs the block with every byte XORed with that of `pad`. */
static bool absorb(const struct hash_kind *k, union hash *h, union block *block, uint64_t pad)
{
    for (size_t i = 0; i < k->block / 8; i++)
        block->words[i] ^= pad;
    return k->init(h) == 1 && k->update(h, block->bytes, k->block) == 1;
}

static bool hmac_key(struct hmac *m, enum prf prf, struct span key)
{
    const uint64_t ipad = 0x3636363636363636u, opad = 0x5c5c5c5c5c5c5c5cu;
    const struct hash_kind *k = &kinds[prf];
    bool ok = true;

    m->kind = k;
    memset(&m->block, 0, k->block);
    if (key.len > k->block)
        ok = k->init(&m->inner) == 1 && k->update(&m->inner, key.data, key.len) == 1 &&
             k->final(m->block.bytes, &m->inner) == 1;
    else if (key.len)
        memcpy(m->block.bytes, key.data, key.len);
    return ok && absorb(k, &m->inner, &m->block, ipad) && absorb(k, &m->outer, &m->block, ipad ^ opad);
}

static bool absorb_parts(const struct hash_kind *k, union hash *h, const struct span *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len && k->update(h, parts[i].data, parts[i].len) != 1)
            return false;
    }
    return true;
}

/* The MAC of what `inner` has absorbed, which may be m->running; it is used up. */
static bool hmac_finish(struct hmac *m, union hash *inner, uint8_t *out)
{
    const struct hash_kind *k = m->kind;

    if (k->final(m->block.bytes, inner) != 1)
        return false;
    memcpy(&m->running, &m->outer, k->state);
    return k->update(&m->running, m->block.bytes, k->size) == 1 && k->final(out, &m->running) == 1;
}

bool prf_compute(enum prf prf, struct span key, const struct span *parts, size_t n, uint8_t *out)
{
    struct hmac m;
    bool ok =
        hmac_key(&m, prf, key) && absorb_parts(m.kind, &m.inner, parts, n) && hmac_finish(&m, &m.inner, out);

    hmac_wipe(&m);
    if (!ok)
        OPENSSL_cleanse(out, kinds[prf].size);
    return ok;
}

bool prf_plus(enum prf prf, struct span key, const struct span *parts, size_t n, uint8_t *out, size_t len)
{
    const struct hash_kind *k = &kinds[prf];
    uint8_t last[PRF_MAX] = {0};
    struct hmac m;
    bool ok = len <= BLOCKS_MAX * k->size;

    if (!ok)
        goto out;
    ok = hmac_key(&m, prf, key);
    /* T1 = prf(K, S | 0x01), Tn = prf(K, T(n-1) | S | n) */
    for (size_t done = 0, block = 1; done < len && ok; done += k->size, block++) {
        uint8_t number = (uint8_t)block;
        bool whole = len - done >= k->size;
        memcpy(&m.running, &m.inner, k->state);
        if (block > 1)
            ok = k->update(&m.running, out + done - k->size, k->size) == 1;
        ok = ok && absorb_parts(k, &m.running, parts, n) && k->update(&m.running, &number, 1) == 1 &&
             hmac_finish(&m, &m.running, whole ? out + done : last);
        if (!whole) {
            memcpy(out + done, last, len - done);
            OPENSSL_cleanse(last, sizeof last);
        }
    }
    hmac_wipe(&m);
out:
    if (!ok)
        OPENSSL_cleanse(out, len);
    return ok;
}

struct prf_state {
    struct hmac m; /* in locked memory, as it may live for long */
};

struct prf_state *prf_begin(enum prf prf, struct span key)
{
    struct prf_state *s = secmem_alloc(sizeof *s);

    if (s && !hmac_key(&s->m, prf, key)) {
        secmem_free(s);
        s = NULL;
    }
    return s;
}

bool prf_update(struct prf_state *s, struct span part)
{
    return absorb_parts(s->m.kind, &s->m.inner, &part, 1);
}

bool prf_finish(struct prf_state *s, uint8_t *out)
{
    bool ok = hmac_finish(&s->m, &s->m.inner, out);

    if (!ok)
        OPENSSL_cleanse(out, s->m.kind->size);
    return ok;
}

void prf_free(struct prf_state *s)
{
    secmem_free(s);
}
