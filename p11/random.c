/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/random.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/secret.h"
#include "ike/prf.h"
#include "p11/generation.h"
#include "p11/selftest.h"
#include "p11/session.h"
#include "skip/skip.h"

#include <openssl/crypto.h>
#include <string.h>

#define STATE_LEN    64
#define ASK_AGAIN_MS 300000 /* entropy is fetched at most this often */
#define ASK_RETRY_MS 30000  /* and after a failure */
#define ENTROPY_BITS 256
#define BLOCK        64 /* of output that is made at once */

void random_pool_init(struct random_pool *p)
{
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
}

void random_pool_clear(struct random_pool *p)
{
    secmem_free(p->state);
    p->state = NULL;
    pthread_mutex_destroy(&p->lock);
}

/* state = prf(state, input); the lock is held. */
static bool pool_mix(struct random_pool *p, struct span input)
{
    const uint8_t what = 'm';
    const struct span parts[] = {{&what, 1}, input};
    uint8_t next[PRF_MAX];

    if (p->state == NULL)
        p->state = secmem_alloc(STATE_LEN);
    if (p->state == NULL ||
        !prf_compute(PRF_HMAC_SHA2_512, (struct span){p->state, STATE_LEN}, parts, 2, next))
        return false;
    memcpy(p->state, next, STATE_LEN);
    OPENSSL_cleanse(next, sizeof next);
    return true;
}

/* out ^= prf(state, count), if anything was mixed in; the lock is held. */
static bool pool_stir(struct random_pool *p, uint8_t *out, size_t len)
{
    uint8_t block[PRF_MAX];
    bool good = true;

    for (size_t at = 0; p->state != NULL && good && at < len; at += BLOCK) {
        const uint64_t count = ++p->count;
        const struct span part = {(const uint8_t *)&count, sizeof count};
        good = prf_compute(PRF_HMAC_SHA2_512, (struct span){p->state, STATE_LEN}, &part, 1, block);
        for (size_t i = 0; good && i < BLOCK && at + i < len; i++)
            out[at + i] ^= block[i];
    }
    OPENSSL_cleanse(block, sizeof block);
    return good;
}

bool random_bytes(struct slot *s, uint8_t *out, size_t len)
{
    bool good = crypto_random_private(out, len);

    pthread_mutex_lock(&s->random.lock);
    good = good && pool_stir(&s->random, out, len);
    pthread_mutex_unlock(&s->random.lock);
    return good;
}

/* A profile of the keyring that says `entropy`, or NULL. */
static struct skip_profile *entropy_profile(const struct slot *s)
{
    const struct slot_view *v = slot_view(s);
    const struct generation *g = v->generation;

    for (size_t i = 0; i < v->keyring->n_peers; i++) {
        const struct sks_profile *profile = v->keyring->peers[i].dynamic;
        if (profile != NULL && profile->entropy)
            return g->profiles[profile - g->configuration->profiles];
    }
    return NULL;
}

/* Is it this thread's turn to ask the key source? */
static bool ask_begin(struct random_pool *p)
{
    bool mine;

    pthread_mutex_lock(&p->lock);
    mine = !p->asking && clock_ms() >= p->ask_at;
    p->asking |= mine;
    pthread_mutex_unlock(&p->lock);
    return mine;
}

/* Mixes in what the key source gives, now and then; other threads do not wait for it, and its failure is none
 * of the caller's. */
static void entropy_fetch(struct slot *s)
{
    struct skip_profile *profile = entropy_profile(s);
    struct random_pool *p = &s->random;
    struct secret *entropy = NULL;
    struct secret_view view = {0};
    struct fault fault = {0};
    uint64_t deadline;
    bool good;

    if (profile == NULL || !ask_begin(p))
        return;
    deadline = clock_ms() + skip_profile_conf(profile)->timeout_ms;
    good = skip_entropy(profile, ENTROPY_BITS, deadline, &entropy, &fault) == SKIP_OK;
    if (good)
        good = selftest_prf();
    else
        log_write(LOG_LEVEL_WARNING, "C_GenerateRandom: keyring %s: %s", s->name, fault.text);
    pthread_mutex_lock(&p->lock);
    if (good)
        good = secret_open(entropy, &view) && pool_mix(p, (struct span){view.data, view.len});
    p->asking = false;
    p->ask_at = clock_ms() + (good ? ASK_AGAIN_MS : ASK_RETRY_MS);
    pthread_mutex_unlock(&p->lock);
    secret_close(&view);
    secret_free(entropy);
}

CK_RV random_generate(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG len)
{
    struct slot *s;
    CK_RV rv = session_peek(session, &s, NULL);

    if (rv != CKR_OK)
        return rv;
    if (out == NULL && len > 0)
        return CKR_ARGUMENTS_BAD;
    if (len == 0)
        return CKR_OK;
    entropy_fetch(s);
    if (random_bytes(s, out, len))
        return CKR_OK;
    OPENSSL_cleanse(out, len);
    return CKR_FUNCTION_FAILED;
}

CK_RV random_seed(CK_SESSION_HANDLE session, const CK_BYTE *seed, CK_ULONG len)
{
    struct slot *s;
    CK_RV rv = session_peek(session, &s, NULL);
    bool good;

    if (rv != CKR_OK)
        return rv;
    if (seed == NULL && len > 0)
        return CKR_ARGUMENTS_BAD;
    if (!selftest_prf())
        return CKR_FUNCTION_FAILED;
    pthread_mutex_lock(&s->random.lock);
    good = pool_mix(&s->random, (struct span){seed, len});
    pthread_mutex_unlock(&s->random.lock);
    return good ? CKR_OK : CKR_HOST_MEMORY;
}
