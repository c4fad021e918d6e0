/* SPDX-License-Identifier: BSD-2-Clause */
/* The pools of unused PPKs ("prefetch N"): once a peer has been asked for, a thread keeps N ready, so that a
 * set-up waits for no network, and N of them survive the key source's outage. The thread is started at the
 * first need and serves all peers of the store. */
#include "ppk/store_private.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/thread.h"

/* How long a key source that failed is left alone: at first, and at most; doubled in between. */
enum { PAUSE_MIN_MS = 1000, PAUSE_MAX_MS = 60000, STACK_BYTES = 512 * 1024, IDLE_MS = 3600000 };

static void want(struct profile_state *state, struct peer_ppks *peer)
{
    peer->wanting = true;
    peer->next_wanting = NULL;
    *(state->wanting_last ? &state->wanting_last->next_wanting : &state->wanting_first) = peer;
    state->wanting_last = peer;
}

/* The first whose turn may be now. That one peer's keys cannot be had (its own key source may be down) is no
 * reason for the others to wait. NULL: none. */
static struct peer_ppks *wanting_due(const struct profile_state *state, uint64_t now)
{
    struct peer_ppks *peer = state->wanting_first;

    while (peer && peer->failing && state->pause_until_ms > now)
        peer = peer->next_wanting;
    return peer;
}

static void wanting_remove(struct profile_state *state, struct peer_ppks *peer)
{
    struct peer_ppks *before = NULL, **at = &state->wanting_first;

    while (*at != peer) {
        before = *at;
        at = &before->next_wanting;
    }
    *at = peer->next_wanting;
    if (state->wanting_last == peer)
        state->wanting_last = before;
    peer->wanting = false;
}

void pool_check_inlock(struct ppk_store *s, struct peer_ppks *peer)
{
    const struct peer *conf = peer->conf;

    /* Half empty is the mark, so that one use does not mean one request right away. */
    if (!peer->awake || peer->wanting || s->stopping || peer->pool.n > conf->dynamic->prefetch / 2)
        return;
    want(s->binding->states[binding_profile(s->binding, conf)], peer);
    pthread_cond_signal(&s->pool_work);
}

/* The profile whose turn it is, or NULL; then `until` is when to look again. */
static struct profile_state *next_profile(struct ppk_store *s, size_t *turn, uint64_t now, uint64_t *until)
{
    const struct ppk_binding *b = s->binding;
    size_t n = b->source.configuration->n_profiles;

    *until = now + IDLE_MS;
    uint64_t expiry = atomic_load(&s->next_expiry_ms);
    if (expiry < *until)
        *until = expiry;
    for (size_t i = 0; i < n; i++) {
        struct profile_state *state = b->states[(*turn + i) % n];
        if (!state->wanting_first)
            continue;
        if (wanting_due(state, now)) {
            *turn = (*turn + i + 1) % n;
            return state;
        }
        if (state->pause_until_ms < *until)
            *until = state->pause_until_ms;
    }
    return NULL;
}

static void pause_after_failure(struct profile_state *state, const struct peer *peer,
                                const struct fault *fault, bool news)
{
    uint32_t jitter = 0;

    if (news)
        log_write(LOG_LEVEL_WARNING, "peer %s: cannot fetch PPKs ahead: %s", peer->name, fault->text);
    if (state->pause_until_ms > clock_ms()) /* another peer's */
        return;
    state->pause_ms = !state->pause_ms                     ? PAUSE_MIN_MS
                      : state->pause_ms > PAUSE_MAX_MS / 2 ? PAUSE_MAX_MS
                                                           : state->pause_ms * 2;
    /* Many gateways lose a key source at once; they need not all come back at once. */
    (void)crypto_random(&jitter, sizeof jitter);
    state->pause_until_ms = clock_ms() + state->pause_ms * UINT64_C(3) / 4 + jitter % (state->pause_ms / 2);
}

/* Fetches one PPK for the peer's pool; the lock is released meanwhile. */
static void fill_inlock(struct ppk_store *s, struct profile_state *state)
{
    struct ppk_binding *b = binding_pin_inlock(s);
    struct peer_ppks *peer = wanting_due(state, clock_ms());
    const struct peer *conf = peer->conf;
    size_t profile = binding_profile(b, conf);
    struct skip_key key = {0};
    struct fault fault = {""};

    wanting_remove(state, peer);
    peer->wanting = true; /* by this thread: nobody else is to queue it */
    uint64_t source = peer->source;
    pthread_mutex_unlock(&s->lock);
    struct arrival arrival = {.source = source,
                              .peer = conf,
                              .owner = peer,
                              .pooled = true,
                              .deadline = clock_ms() + conf->dynamic->timeout_ms};
    bool filled = skip_key_new(b->source.profiles[profile], conf->remote_system_id, 0, arrival.deadline, &key,
                               &fault) == SKIP_OK &&
                  store_admit(s, &arrival, &key, NULL, &fault) == PPK_OK;
    skip_key_clear(&key);
    bool interrupted = !filled && skip_profile_interrupted(b->source.profiles[profile]); /* the end */
    pthread_mutex_lock(&s->lock);
    if (s->binding != b) { /* the queues were made anew */
        pthread_mutex_unlock(&s->lock);
        binding_unpin(s, b);
        pthread_mutex_lock(&s->lock);
        return;
    }
    peer->wanting = false;
    if (!filled) {
        pause_after_failure(state, conf, &fault, !peer->failing && !interrupted);
    } else if (peer->failing) { /* perhaps the others can be filled now, too */
        log_write(LOG_LEVEL_NOTICE, "peer %s: PPKs can be fetched ahead again", conf->name);
        state->pause_until_ms = state->pause_ms = 0;
    }
    peer->failing = !filled;
    if (peer->pool.n < conf->dynamic->prefetch)
        want(state, peer); /* behind the other peers */
    b->refs--;             /* the present one: never the last reference */
}

void pool_rebind_inlock(struct ppk_store *s, const struct ppk_binding *old)
{
    const struct ppk_binding *b = s->binding;

    for (size_t i = 0; old && i < old->source.configuration->n_profiles; i++)
        old->states[i]->wanting_first = old->states[i]->wanting_last = NULL;
    for (size_t i = 0; i < b->source.configuration->n_profiles; i++)
        b->states[i]->pause_until_ms = 0; /* the key source may be another one */
    for (size_t i = 0; i < b->source.keyring->n_peers; i++) {
        struct peer_ppks *peer = b->peers[i];
        peer->wanting = false;
        peer->awake = peer->awake && peer->conf->dynamic && peer->conf->dynamic->prefetch;
        pool_check_inlock(s, peer);
    }
}

static void *pool_main(void *context)
{
    struct ppk_store *s = context;
    size_t turn = 0;

    (void)pthread_setname_np(pthread_self(), "ppk-pool");
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        uint64_t now = clock_ms(), until;
        if (atomic_load(&s->next_expiry_ms) <= now) {
            pthread_mutex_unlock(&s->lock);
            store_expire(s, now);
            pthread_mutex_lock(&s->lock);
            continue;
        }
        struct profile_state *state = next_profile(s, &turn, now, &until);
        if (state)
            fill_inlock(s, state);
        else
            (void)store_wait_inlock(s, &s->pool_work, until);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void pool_wake_inlock(struct ppk_store *s, struct peer_ppks *peer)
{
    const struct peer *conf = peer->conf;

    if (peer->gone || !conf->dynamic || !conf->dynamic->prefetch || s->stopping)
        return;
    if (!s->pool_runs)
        s->pool_runs = thread_start(&s->pool_thread, STACK_BYTES, pool_main, s);
    if (!s->pool_runs) {
        log_write(LOG_LEVEL_WARNING, "peer %s: no thread to fetch PPKs ahead", conf->name);
        return;
    }
    if (peer->awake)
        return;
    peer->awake = true;
    pool_check_inlock(s, peer);
}

void pool_stop(struct ppk_store *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->pool_work);
    pthread_mutex_unlock(&s->lock);
    if (s->pool_runs)
        (void)pthread_join(s->pool_thread, NULL);
    s->pool_runs = false;
}
