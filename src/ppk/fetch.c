/* SPDX-License-Identifier: BSD-2-Clause */
/* Questions to key sources: for a PPK by its ID, for a peer's next one, for another one. */
#include "ppk/flight.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* Of several key sources, each has at least this long before the next is asked, if there is so much time. */
enum { SHARE_MIN_MS = 500 };
/* Who has to wait in a flood looks again after that. */
enum { FLOODED_MS = 2 };

static enum ppk_result from_skip(enum skip_result r)
{
    static const enum ppk_result of[] = {
        [SKIP_OK] = PPK_OK,
        [SKIP_NO_SUCH_KEY] = PPK_NOT_FOUND,
        [SKIP_REFUSED] = PPK_REFUSED,
        [SKIP_UNREACHABLE] = PPK_UNREACHABLE,
        [SKIP_NO_MEMORY] = PPK_NO_MEMORY,
        [SKIP_NO_TRANSPORT] = PPK_UNREACHABLE,
    };
    return of[r];
}

/* A keyId as a flight and as a miss have it: hex in lower case, so that it is one whatever its case; in front
 * of it, what tells them apart. */
struct question {
    uint8_t bytes[sizeof(uint64_t) + 2 * PPK_ID_MAX + 512 + 3];
    size_t len;
};

static void question_add(struct question *q, const void *bytes, size_t len)
{
    if (len > sizeof q->bytes - q->len) /* of a remote system ID longer than any, the end does not count */
        len = sizeof q->bytes - q->len;
    memcpy(q->bytes + q->len, bytes, len);
    q->len += len;
}

static void question_add_id(struct question *q, const char *key_id)
{
    size_t len = strlen(key_id), start = q->len;
    bool hex = hex_is(key_id, len);

    question_add(q, key_id, len);
    for (size_t i = start; hex && i < q->len; i++)
        if (q->bytes[i] >= 'A' && q->bytes[i] <= 'F')
            q->bytes[i] = (uint8_t)(q->bytes[i] - 'A' + 'a');
}

static struct span question_span(const struct question *q)
{
    return (struct span){q->bytes, q->len};
}

/* A miss is of one profile and remote system. */
static void miss_question(struct question *q, const struct profile_state *state, const struct scope *scope,
                          const char *key_id)
{
    q->len = 0;
    question_add(q, &state->serial, sizeof state->serial);
    question_add_id(q, key_id);
    question_add(q, "", 1);
    if (scope->remote)
        question_add(q, scope->remote, strlen(scope->remote));
}

/* One keyId at one profile and remote system, at one time. */
struct asking {
    struct ppk_store *s;
    const struct ppk_binding *b;
    struct profile_state *state;
    const struct scope *scope;
    const char *key_id;
    uint64_t deadline;
    uint64_t source;     /* of the peer */
    struct id_keys keys; /* of the keyId */
    struct question flight;
    struct ppk **out;
    struct fault *fault;
};

/* May the profile be asked now, by its limits? Else waits for a moment; false, with the reason: and the time
 * is over. */
static bool turn_wait_inlock(struct asking *a, const struct sks_profile *profile, bool *due)
{
    struct profile_state *state = a->state;
    uint64_t now = clock_ms(), until = a->deadline;
    bool flooded = !miss_limit_allows(&state->limit, profile->lookups_s, now);

    if (flooded && !state->flooded)
        log_write(LOG_LEVEL_WARNING,
                  "sks profile %s: more than %u unknown IDs in a second: some have to wait", profile->name,
                  profile->lookups_s);
    state->flooded = flooded || (state->flooded && state->limit.taken);
    *due = !flooded && state->asked < profile->lookups;
    if (*due)
        return true;
    if (flooded && now + FLOODED_MS < until) /* the bucket fills by time */
        until = now + FLOODED_MS;
    if (store_wait_inlock(a->s, &a->s->changed, until) || until < a->deadline)
        return true;
    if (flooded)
        fault_set(a->fault, "sks profile %s: not asked for key ID %s: more than %u unknown IDs in a second",
                  profile->name, a->key_id, profile->lookups_s);
    else
        fault_set(a->fault,
                  "sks profile %s: not asked for key ID %s: %u other requests were under way all the time",
                  profile->name, a->key_id, profile->lookups);
    return false;
}

/* Is there an answer without asking: held by now, from another's flight, from a miss, or because the limits
 * did not let it ask in time? False: ask. May wait. */
static bool answered_inlock(struct asking *a, enum ppk_result *result)
{
    struct ppk_store *s = a->s;
    const struct sks_profile *conf = &a->b->source.configuration->profiles[a->scope->profile];
    const char *profile = conf->name;
    struct flight *f;
    bool due;

    for (;;) {
        *result = PPK_OK; /* whatever another's flight has brought before */
        *a->out = store_find_inlock(s, &a->keys, a->deadline);
        if (*a->out)
            return true;
        f = flight_find_inlock(s, question_span(&a->flight));
        if (f) {
            bool ended = flight_join_inlock(s, f, a->deadline);
            bool same = f->profile == a->state->serial &&
                        (f->remote && a->scope->remote ? strcmp(f->remote, a->scope->remote) == 0
                                                       : f->remote == a->scope->remote);
            *result = ended ? f->result : PPK_UNREACHABLE;
            if (!ended)
                fault_set(a->fault,
                          "sks profile %s: no answer in time to another thread's request for key ID %s",
                          profile, a->key_id);
            else if (f->result == PPK_OK)
                ppk_ref(*a->out = f->ppk);
            else if (same)
                *a->fault = f->fault;
            flight_leave_inlock(f);
            if (!ended || same || *result == PPK_OK)
                return true;
            continue; /* they asked somebody else */
        }
        struct question miss;
        miss_question(&miss, a->state, a->scope, a->key_id);
        if (misses_know(&s->misses, question_span(&miss), clock_ms())) {
            fault_set(a->fault, "sks profile %s: key ID %s was not known just now", profile, a->key_id);
            *result = PPK_NOT_FOUND;
            return true;
        }
        if (!turn_wait_inlock(a, conf, &due)) {
            *result = PPK_UNREACHABLE;
            return true;
        }
        if (due)
            return false;
    }
}

static enum ppk_result request_by_id(struct asking *a)
{
    struct skip_key key = {0};
    struct arrival arrival = {.peer = a->scope->peer,
                              .owner = binding_peer(a->b, a->scope->peer),
                              .source = a->source,
                              .by_id = true,
                              .deadline = a->deadline};
    enum ppk_result result = from_skip(skip_key_by_id(a->b->source.profiles[a->scope->profile], a->key_id,
                                                      a->scope->remote, a->deadline, &key, a->fault));

    if (result == PPK_OK)
        result = store_admit(a->s, &arrival, &key, a->out, a->fault);
    skip_key_clear(&key);
    return result;
}

static enum ppk_result ask(struct ppk_store *s, const struct ppk_binding *b, const struct scope *scope,
                           const char *key_id, uint64_t deadline, struct ppk **out, struct fault *fault)
{
    struct profile_state *state = b->states[scope->profile];
    struct asking a = {.s = s,
                       .b = b,
                       .state = state,
                       .scope = scope,
                       .key_id = key_id,
                       .deadline = deadline,
                       .out = out,
                       .fault = fault};
    enum ppk_result result = PPK_NO_MEMORY;

    id_keys_make((struct span){(const uint8_t *)key_id, strlen(key_id)}, &a.keys);
    if (a.keys.n > 1) /* a keyId that is hex means its bytes, and nothing else */
        a.keys.n = 1;
    question_add(&a.flight, "I", 1);
    question_add_id(&a.flight, key_id);

    pthread_mutex_lock(&s->lock);
    if (answered_inlock(&a, &result))
        goto out;
    struct flight *f = flight_begin_inlock(s, question_span(&a.flight), state->serial, scope->remote);
    if (!f) {
        fault_set(fault, "no memory for a request");
        result = PPK_NO_MEMORY;
        goto out;
    }
    state->asked++;
    a.source = binding_peer(b, scope->peer)->source;
    pthread_mutex_unlock(&s->lock);
    result = request_by_id(&a);
    pthread_mutex_lock(&s->lock);
    state->asked--;
    if (result == PPK_NOT_FOUND) {
        struct question miss;
        miss_question(&miss, state, scope, key_id);
        misses_add(&s->misses, question_span(&miss), clock_ms());
    }
    if (result != PPK_OK)
        miss_limit_take(&state->limit);
    flight_end_inlock(s, f, result, *out, fault);
    pthread_cond_broadcast(&s->changed);
out:
    pthread_mutex_unlock(&s->lock);
    return result;
}

/* All forms of an ID at one profile and remote system: the second only if the first is definitely not known.
 */
static enum ppk_result ask_forms(struct ppk_store *s, const struct ppk_binding *b, const struct scope *scope,
                                 struct span id, uint64_t deadline, struct ppk **out, struct fault *fault)
{
    enum ppk_result result = PPK_NOT_FOUND;
    struct id_forms forms;

    id_forms_make(id, scope->peer->dynamic->id_format, &forms);
    for (size_t i = 0; i < forms.n && result == PPK_NOT_FOUND; i++)
        result = ask(s, b, scope, forms.form[i], deadline, out, fault);
    return result;
}

/* Who might have it: with a remote system ID, each profile; without, each distinct pair of the keyring. */
static bool candidate(const struct ppk_binding *b, const char *remote, size_t i, struct scope *out)
{
    if (!remote) {
        *out = b->scopes[i];
        return true;
    }
    *out = (struct scope){i, remote, b->profile_peers[i]};
    return out->peer;
}

/* Asks all in turn, until one has it. */
static enum ppk_result ask_all(struct ppk_store *s, const struct ppk_binding *b, struct span id,
                               const char *remote, struct ppk **out, struct fault *fault)
{
    const size_t n_profiles = b->source.configuration->n_profiles;
    enum ppk_result worst = PPK_NOT_FOUND;
    size_t n = remote ? n_profiles : b->n_scopes;
    uint64_t deadline = clock_ms() + b->timeout_max_ms;
    bool *silent = calloc(n_profiles + 1, sizeof *silent); /* profiles that let the time pass */

    if (!silent) {
        fault_set(fault, "no memory for a request");
        return PPK_NO_MEMORY;
    }
    for (size_t i = 0; i < n; i++) {
        struct fault why = {""};
        struct scope scope;
        if (!candidate(b, remote, i, &scope) || silent[scope.profile])
            continue;
        uint64_t left = clock_left_ms(deadline), share = left / (n - i);
        if (share < SHARE_MIN_MS)
            share = left < SHARE_MIN_MS ? left : SHARE_MIN_MS;
        uint64_t until = clock_ms() + share;
        enum ppk_result result = ask_forms(s, b, &scope, id, until, out, &why);
        if (result == PPK_OK || result == PPK_NO_MEMORY) {
            *fault = why;
            worst = result;
            break;
        }
        silent[scope.profile] = result == PPK_UNREACHABLE && !clock_left_ms(until);
        /* Not found only if all say so; not to be reached says more than refused, since asking again may
         * help. */
        if (worst == PPK_NOT_FOUND || result == PPK_UNREACHABLE) {
            if (worst == PPK_NOT_FOUND || worst != result)
                *fault = why;
            worst = result != PPK_NOT_FOUND ? result : worst;
        }
    }
    free(silent);
    return worst;
}

/* Counts what did not come, as operators know it ("PPK Retrieve Failure"). */
static enum ppk_result concluded(struct ppk_store *s, const struct peer *peer, enum ppk_result result)
{
    if (result == PPK_OK)
        return result;
    pthread_mutex_lock(&s->lock);
    s->counts.failures++;
    s->counts.failures_required += peer && peer->dynamic_required;
    pthread_mutex_unlock(&s->lock);
    return result;
}

enum ppk_result ppk_store_find(struct ppk_store *s, struct span id, const struct peer *peer,
                               const char *remote, struct ppk **out, struct fault *fault)
{
    enum ppk_result result = PPK_NOT_FOUND;
    struct fault why = {""};
    struct ppk_binding *b;

    *out = ppk_store_held(s, id);
    if (*out)
        return PPK_OK;
    b = binding_pin(s);
    if (peer && !binding_own(b, &peer)) {
        fault_set(&why, "peer %s is not in the configuration any more", peer->name);
    } else if (!id.len || id.len > PPK_ID_MAX) {
        fault_set(&why, "a PPK ID of %zu bytes: there are none that are empty or longer than %d", id.len,
                  PPK_ID_MAX);
    } else if (!peer) {
        fault_set(&why, "keyring %s: no peer with dynamic PPKs", b->source.keyring->name);
        result = ask_all(s, b, id, remote, out, &why);
    } else if (!peer->dynamic) {
        fault_set(&why, "peer %s has no dynamic PPKs", peer->name);
    } else {
        struct scope scope = {binding_profile(b, peer), remote ? remote : peer->remote_system_id, peer};
        result = ask_forms(s, b, &scope, id, clock_ms() + peer->dynamic->timeout_ms, out, &why);
        if (result != PPK_OK)
            fault_prefix(&why, "peer %s", peer->name);
    }
    if (result != PPK_OK && fault)
        *fault = why;
    if (result == PPK_NOT_FOUND) {
        pthread_mutex_lock(&s->lock);
        s->counts.mismatches++;
        pthread_mutex_unlock(&s->lock);
    }
    result = concluded(s, peer, result);
    binding_unpin(s, b);
    return result;
}

/* A PPK that nobody has seen: out of the pool, or new. `remote` NULL: of the configured remote system. */
static enum ppk_result obtain(struct ppk_store *s, const struct ppk_binding *b, const struct peer *peer,
                              const char *remote, uint32_t size, struct ppk **out, struct fault *fault)
{
    struct skip_key key = {0};
    struct arrival arrival = {.peer = peer,
                              .owner = binding_peer(b, peer),
                              .remote = remote,
                              .deadline = clock_ms() + peer->dynamic->timeout_ms};

    pthread_mutex_lock(&s->lock);
    arrival.source = arrival.owner->source;
    pool_wake_inlock(s, arrival.owner);
    if (!remote && (!size || size == peer->dynamic->key_size))
        *out = store_unpool_inlock(s, arrival.owner);
    if (*out) {
        ppk_ref(*out);
        store_show_inlock(s, *out);
    }
    pthread_mutex_unlock(&s->lock);
    if (*out)
        return PPK_OK;
    enum ppk_result result = from_skip(skip_key_new(b->source.profiles[binding_profile(b, peer)],
                                                    remote ? remote : peer->remote_system_id, size,
                                                    arrival.deadline, &key, fault));
    if (result == PPK_OK)
        result = store_admit(s, &arrival, &key, out, fault);
    skip_key_clear(&key);
    return result;
}

/* The peer's PPK that is to be used next, if it is held. */
static struct ppk *next_held_inlock(const struct peer_ppks *peer, uint8_t remote)
{
    struct ppk *ppk = remote == REMOTE_UNLISTED ? NULL : peer->fresh.first;

    while (ppk && ppk->remote != remote)
        ppk = ppk->next;
    if (ppk)
        ppk_ref(ppk);
    return ppk;
}

static enum ppk_result next_by_flight(struct ppk_store *s, const struct ppk_binding *b,
                                      const struct peer *peer, const char *remote, struct ppk **out,
                                      struct fault *fault)
{
    struct peer_ppks *const owner = binding_peer(b, peer);
    const uintptr_t whose = (uintptr_t)owner;
    struct question q = {.len = 0};
    struct flight *f;
    enum ppk_result result = PPK_OK;

    pthread_mutex_lock(&s->lock);
    *out = next_held_inlock(owner, store_remote_inlock(s, remote));
    if (*out)
        goto out;
    question_add(&q, "P", 1);
    question_add(&q, &whose, sizeof whose);
    question_add(&q, &owner->source, sizeof owner->source);
    if (remote)
        question_add(&q, remote, strlen(remote));
    f = flight_find_inlock(s, question_span(&q));
    if (f) {
        result = PPK_UNREACHABLE;
        if (flight_join_inlock(s, f, clock_ms() + peer->dynamic->timeout_ms)) {
            result = f->result;
            *fault = f->fault;
            *out = f->ppk;
            if (*out)
                ppk_ref(*out);
        } else {
            fault_set(fault, "sks profile %s: no answer in time to another thread's request for a new key",
                      peer->dynamic->name);
        }
        flight_leave_inlock(f);
        goto out;
    }
    f = flight_begin_inlock(s, question_span(&q), b->states[binding_profile(b, peer)]->serial, remote);
    if (!f) {
        fault_set(fault, "no memory for a request");
        result = PPK_NO_MEMORY;
        goto out;
    }
    pthread_mutex_unlock(&s->lock);
    result = obtain(s, b, peer, remote, 0, out, fault);
    pthread_mutex_lock(&s->lock);
    flight_end_inlock(s, f, result, *out, fault);
out:
    pthread_mutex_unlock(&s->lock);
    return result;
}

/* Which of the peer's PPKs is wanted. */
static enum ppk_result get(struct ppk_store *s, const struct peer *peer, const char *remote, bool another,
                           uint32_t size, struct ppk **out, struct fault *fault)
{
    enum ppk_result result = PPK_NOT_FOUND;
    struct ppk_binding *b = binding_pin(s);
    struct fault why = {""};

    *out = NULL;
    ppk_store_expire(s);
    if (!binding_own(b, &peer)) {
        fault_set(&why, "is not in the configuration any more");
    } else if (!peer->dynamic) {
        fault_set(&why, "no dynamic PPKs");
    } else {
        if (remote && peer->remote_system_id && strcmp(remote, peer->remote_system_id) == 0)
            remote = NULL;
        result = another ? obtain(s, b, peer, remote, size, out, &why)
                         : next_by_flight(s, b, peer, remote, out, &why);
    }
    if (result != PPK_OK && fault) {
        *fault = why;
        fault_prefix(fault, "peer %s", peer->name);
    }
    result = concluded(s, peer, result);
    binding_unpin(s, b);
    return result;
}

enum ppk_result ppk_store_next(struct ppk_store *s, const struct peer *peer, const char *remote,
                               struct ppk **out, struct fault *fault)
{
    return get(s, peer, remote, false, 0, out, fault);
}

enum ppk_result ppk_store_take(struct ppk_store *s, const struct peer *peer, const char *remote,
                               uint32_t size, struct ppk **out, struct fault *fault)
{
    return get(s, peer, remote, true, size, out, fault);
}
