/* SPDX-License-Identifier: BSD-2-Clause */
/* What a store works on: the configuration of the moment, and how one follows upon the other. */
#include "ppk/store_private.h"

#include <stdlib.h>
#include <string.h>

static struct span name_span(const char *name)
{
    return (struct span){(const uint8_t *)name, strlen(name)};
}

/* The place of a peer in the binding's keyring, or SIZE_MAX. */
static size_t place_of(const struct ppk_binding *b, const struct peer *peer)
{
    const struct keyring *k = b->source.keyring;
    const uintptr_t at = (uintptr_t)peer, first = (uintptr_t)k->peers;
    struct peer_ppks *const *at_name;

    if (at >= first && at < first + k->n_peers * sizeof *peer)
        return (size_t)(peer - k->peers);
    at_name = table_get(b->names, name_span(peer->name));
    return at_name ? (size_t)(at_name - b->peers) : SIZE_MAX;
}

struct peer_ppks *binding_peer(const struct ppk_binding *b, const struct peer *peer)
{
    const size_t place = place_of(b, peer);

    return place == SIZE_MAX ? NULL : b->peers[place];
}

bool binding_own(const struct ppk_binding *b, const struct peer **peer)
{
    const size_t place = place_of(b, *peer);

    if (place != SIZE_MAX)
        *peer = &b->source.keyring->peers[place];
    return place != SIZE_MAX;
}

size_t binding_profile(const struct ppk_binding *b, const struct peer *peer)
{
    return (size_t)(peer->dynamic - b->source.configuration->profiles);
}

void peer_ppks_ref(struct peer_ppks *peer)
{
    atomic_fetch_add_explicit(&peer->refs, 1, memory_order_relaxed);
}

void peer_ppks_release(struct peer_ppks *peer)
{
    if (atomic_fetch_sub_explicit(&peer->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (peer->forgotten)
        peer->forgotten(peer->tag);
    free(peer);
}

void *ppk_tag(const struct ppk *ppk)
{
    return ppk->owner->tag;
}

/* ---- making one ---- */

static bool text_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool distinct(const struct scope *scopes, size_t n, const struct scope *new)
{
    for (size_t i = 0; i < n; i++)
        if (scopes[i].profile == new->profile && text_same(scopes[i].remote, new->remote))
            return false;
    return true;
}

/* Of many peers, most have a remote system of their own: found by a table, not by comparing each with each.
 */
static bool scopes_make(struct ppk_binding *b)
{
    const struct keyring *k = b->source.keyring;
    struct table *seen = table_new(); /* by remote system ID: the last scope that has it */
    bool made = false;

    b->scopes = calloc(k->n_peers + 1, sizeof *b->scopes);
    if (!b->scopes || !seen)
        goto out;
    for (size_t i = 0; i < k->n_peers; i++) {
        const struct peer *p = &k->peers[i];
        if (!p->dynamic)
            continue;
        struct scope new = {binding_profile(b, p), p->remote_system_id, p};
        if (!b->profile_peers[new.profile])
            b->profile_peers[new.profile] = p;
        if (p->dynamic->timeout_ms > b->timeout_max_ms)
            b->timeout_max_ms = p->dynamic->timeout_ms;
        struct span key = name_span(new.remote ? new.remote : "");
        if (!table_get(seen, key)) {
            if (!table_add(seen, key, &b->scopes[b->n_scopes]))
                goto out;
        } else if (!distinct(b->scopes, b->n_scopes, &new)) {
            continue;
        }
        b->scopes[b->n_scopes++] = new;
    }
    made = true;
out:
    table_free(seen);
    return made;
}

/* The store's present record of a peer of this name, with a reference, or a new one. */
static struct peer_ppks *peer_get(const struct ppk_store *s, const struct ppk_binding *b, size_t i)
{
    const struct peer *conf = &b->source.keyring->peers[i];
    struct peer_ppks *peer = s->binding ? binding_peer(s->binding, conf) : NULL;

    if (peer) {
        peer_ppks_ref(peer);
        return peer;
    }
    peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    atomic_init(&peer->refs, 1);
    peer->conf = conf;
    if (b->source.tags) {
        peer->tag = b->source.tags[i];
        peer->forgotten = s->events.forgotten;
        if (s->events.known)
            s->events.known(peer->tag);
    }
    return peer;
}

static struct profile_state *state_get(struct ppk_store *s, const char *name)
{
    const struct ppk_binding *old = s->binding;
    struct profile_state *state;

    for (size_t i = 0; old && i < old->source.configuration->n_profiles; i++)
        if (strcmp(old->source.configuration->profiles[i].name, name) == 0)
            return old->states[i];
    state = calloc(1, sizeof *state);
    if (state)
        state->serial = ++s->serials;
    return state;
}

/* Gives back what only this binding has. Under no lock. */
static void binding_free(struct ppk_binding *b)
{
    for (size_t i = 0; b->peers && i < b->source.keyring->n_peers; i++)
        if (b->peers[i])
            peer_ppks_release(b->peers[i]);
    free((void *)b->peers);
    free((void *)b->states);
    free((void *)b->profile_peers);
    free(b->scopes);
    table_free(b->names);
    if (b->source.released)
        b->source.released(b->source.context);
    free(b);
}

/* The states' references are under the lock. */
static void states_release_inlock(struct ppk_binding *b)
{
    for (size_t i = 0; b->states && i < b->source.configuration->n_profiles; i++) {
        struct profile_state *state = b->states[i];
        if (state && --state->refs == 0)
            free(state);
    }
}

struct ppk_binding *ppk_store_prepare(struct ppk_store *s, const struct ppk_source *source)
{
    struct ppk_binding *b = calloc(1, sizeof *b);
    const size_t n_peers = source->keyring->n_peers, n_profiles = source->configuration->n_profiles;
    bool made;

    if (!b)
        return NULL;
    b->refs = 1;
    b->source = *source;
    b->peers = calloc(n_peers + 1, sizeof(struct peer_ppks *));
    b->states = calloc(n_profiles + 1, sizeof(struct profile_state *));
    b->profile_peers = calloc(n_profiles + 1, sizeof(const struct peer *));
    b->names = table_new();
    made = b->peers && b->states && b->profile_peers && b->names && scopes_make(b);
    for (size_t i = 0; made && i < n_peers; i++)
        made = (b->peers[i] = peer_get(s, b, i)) &&
               table_add(b->names, name_span(source->keyring->peers[i].name), (void *)&b->peers[i]);
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; made && i < n_profiles; i++) {
        b->states[i] = state_get(s, source->configuration->profiles[i].name);
        made = b->states[i];
        if (made)
            b->states[i]->refs++;
    }
    pthread_mutex_unlock(&s->lock);
    if (made)
        return b;
    b->source.released = NULL;
    ppk_store_unprepare(s, b);
    return NULL;
}

void ppk_store_unprepare(struct ppk_store *s, struct ppk_binding *b)
{
    if (b)
        binding_unpin(s, b);
}

/* ---- changing over ---- */

/* Do both mean the same keys? */
static bool source_same(const struct peer *a, const struct peer *b)
{
    return a->dynamic && b->dynamic
               ? strcmp(a->dynamic->name, b->dynamic->name) == 0 && a->dynamic->type == b->dynamic->type &&
                     text_same(a->dynamic->local_system_id, b->dynamic->local_system_id) &&
                     text_same(a->remote_system_id, b->remote_system_id)
               : a->dynamic == b->dynamic;
}

void ppk_store_rebind(struct ppk_store *s, struct ppk_binding *b)
{
    struct taken_out out = {NULL, NULL};
    struct ppk_binding *old = s->binding;

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; old && i < old->source.keyring->n_peers; i++)
        old->peers[i]->gone = true;
    for (size_t i = 0; i < b->source.keyring->n_peers; i++)
        b->peers[i]->gone = false;
    for (size_t i = 0; old && i < old->source.keyring->n_peers; i++)
        if (old->peers[i]->gone)
            store_drop_inlock(s, old->peers[i], &out);
    s->binding = b;
    for (size_t i = 0; i < b->source.keyring->n_peers; i++) {
        struct peer_ppks *peer = b->peers[i];
        const struct peer *before = peer->conf;
        peer->conf = &b->source.keyring->peers[i];
        if (!source_same(before, peer->conf))
            store_outdate_inlock(s, peer, &out);
    }
    pool_rebind_inlock(s, old);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    store_bury(s, &out);
    if (old)
        binding_unpin(s, old);
}

/* ---- using it ---- */

struct ppk_binding *binding_pin_inlock(struct ppk_store *s)
{
    s->binding->refs++;
    return s->binding;
}

struct ppk_binding *binding_pin(struct ppk_store *s)
{
    pthread_mutex_lock(&s->lock);
    struct ppk_binding *b = binding_pin_inlock(s);
    pthread_mutex_unlock(&s->lock);
    return b;
}

void binding_unpin(struct ppk_store *s, struct ppk_binding *b)
{
    pthread_mutex_lock(&s->lock);
    bool last = --b->refs == 0;
    if (last)
        states_release_inlock(b);
    pthread_mutex_unlock(&s->lock);
    if (last)
        binding_free(b);
}
