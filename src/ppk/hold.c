/* SPDX-License-Identifier: BSD-2-Clause */
/* What is held: how PPKs come in, are shown, found, used, and go. */
#include "ppk/store_private.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ppk_ref(struct ppk *ppk)
{
    atomic_fetch_add_explicit(&ppk->refs, 1, memory_order_relaxed);
}

void ppk_release(struct ppk *ppk)
{
    if (!ppk || atomic_fetch_sub_explicit(&ppk->refs, 1, memory_order_acq_rel) != 1)
        return;
    secret_free(ppk->value);
    peer_ppks_release(ppk->owner);
    free(ppk);
}

static void list_append(struct ppk_list *l, struct ppk *ppk)
{
    ppk->next = NULL;
    ppk->prev = l->last;
    *(l->last ? &l->last->next : &l->first) = ppk;
    l->last = ppk;
    l->n++;
}

static void list_remove(struct ppk_list *l, struct ppk *ppk)
{
    *(ppk->prev ? &ppk->prev->next : &l->first) = ppk->next;
    *(ppk->next ? &ppk->next->prev : &l->last) = ppk->prev;
    ppk->next = ppk->prev = NULL;
    l->n--;
}

/* The list that a PPK in a pool or shown is on. */
static struct ppk_list *list_of(const struct ppk *ppk)
{
    struct peer_ppks *peer = ppk->owner;

    if (ppk->state == PPK_POOLED)
        return &peer->pool;
    return ppk->by_id || ppk->used ? &peer->rest : &peer->fresh;
}

static void expiry_note_inlock(struct ppk_store *s)
{
    const struct ppk *first = expiry_first(&s->heap);
    uint64_t next = first ? first->expires_ms : UINT64_MAX;

    if (next < atomic_exchange(&s->next_expiry_ms, next) && s->pool_runs)
        pthread_cond_signal(&s->pool_work); /* it sleeps until the one that was first before */
}

/* Puts a PPK on its list and into the heap. */
static void link_inlock(struct ppk_store *s, struct ppk *ppk)
{
    list_append(list_of(ppk), ppk);
    expiry_add(&s->heap, ppk);
    expiry_note_inlock(s);
    if (ppk->state == PPK_POOLED) {
        s->counts.pooled++;
    } else {
        s->counts.held++;
        s->counts.unused += !ppk->used;
    }
}

static void unlink_inlock(struct ppk_store *s, struct ppk *ppk)
{
    list_remove(list_of(ppk), ppk);
    expiry_remove(&s->heap, ppk);
    expiry_note_inlock(s);
    if (ppk->state == PPK_POOLED) {
        s->counts.pooled--;
    } else {
        s->counts.held--;
        s->counts.unused -= !ppk->used;
    }
}

static void take_out_inlock(struct ppk_store *s, struct ppk *ppk, struct taken_out *out)
{
    struct ppk **chain = ppk->state == PPK_SHOWN ? &out->shown : &out->unseen;

    unlink_inlock(s, ppk);
    store_remote_drop_inlock(s, ppk);
    index_state(&s->index, ppk, PPK_GONE);
    s->taken_in--;
    (void)expiry_reserve(&s->heap, s->taken_in);
    if (chain == &out->unseen)
        pool_check_inlock(s, ppk->owner);
    ppk->next = *chain;
    *chain = ppk;
}

void store_bury(struct ppk_store *s, struct taken_out *out)
{
    struct ppk *next;

    for (struct ppk *ppk = out->shown; ppk; ppk = next) {
        next = ppk->next;
        if (s->events.removed)
            s->events.removed(s->events.context, ppk);
        ppk_release(ppk);
    }
    for (struct ppk *ppk = out->unseen; ppk; ppk = next) {
        next = ppk->next;
        ppk_release(ppk);
    }
}

void store_show_inlock(struct ppk_store *s, struct ppk *ppk)
{
    const uint64_t source = ppk->owner->source;

    pthread_mutex_unlock(&s->lock);
    if (s->events.added)
        s->events.added(s->events.context, ppk);
    pthread_mutex_lock(&s->lock);
    pthread_cond_broadcast(&s->changed);
    if (!ppk->owner->gone) {
        if (ppk->owner->source != source) /* store_outdate_inlock() did not see it */
            store_remote_drop_inlock(s, ppk);
        index_state(&s->index, ppk, PPK_SHOWN);
        link_inlock(s, ppk);
        return;
    }
    /* The peer went meanwhile. */
    struct taken_out out = {ppk, NULL};
    store_remote_drop_inlock(s, ppk);
    index_state(&s->index, ppk, PPK_GONE);
    s->taken_in--;
    ppk->next = NULL;
    pthread_mutex_unlock(&s->lock);
    store_bury(s, &out);
    pthread_mutex_lock(&s->lock);
}

struct ppk *store_unpool_inlock(struct ppk_store *s, struct peer_ppks *peer)
{
    struct ppk *ppk = peer->pool.first;

    if (!ppk)
        return NULL;
    unlink_inlock(s, ppk);
    index_state(&s->index, ppk, PPK_HIDDEN);
    pool_check_inlock(s, peer);
    return ppk;
}

/* The PPK of any of these keys, in whatever state. */
static struct ppk *peek_inlock(const struct ppk_store *s, const struct id_keys *keys)
{
    struct ppk *ppk = NULL;

    for (size_t i = 0; i < keys->n && !ppk; i++)
        ppk = index_peek(&s->index, keys->key[i]);
    return ppk;
}

struct ppk *store_find_inlock(struct ppk_store *s, const struct id_keys *keys, uint64_t deadline)
{
    for (;;) {
        struct ppk *ppk = peek_inlock(s, keys);
        if (!ppk)
            return NULL;
        if (ppk->state == PPK_SHOWN) {
            ppk_ref(ppk);
            return ppk;
        }
        if (ppk->state == PPK_POOLED) {
            struct peer_ppks *peer = ppk->owner;
            unlink_inlock(s, ppk);
            index_state(&s->index, ppk, PPK_HIDDEN);
            pool_check_inlock(s, peer);
            ppk_ref(ppk);
            store_show_inlock(s, ppk);
            return ppk;
        }
        if (!store_wait_inlock(s, &s->changed, deadline))
            return NULL;
    }
}

static struct ppk *ppk_new(const struct arrival *a, struct skip_key *key)
{
    const struct sks_profile *conf = a->peer->dynamic;
    uint8_t id[PPK_ID_MAX];
    size_t len = id_shown(key->key_id, conf->id_format, id);
    struct ppk *ppk = malloc(offsetof(struct ppk, id) + len);

    if (!ppk)
        return NULL;
    *ppk = (struct ppk){.id_len = len & 0x7ff, /* at most PPK_ID_MAX */
                        .value = key->value,
                        .owner = a->owner,
                        .expires_ms =
                            conf->lifetime_s ? clock_ms() + conf->lifetime_s * UINT64_C(1000) : UINT64_MAX,
                        .by_id = a->by_id,
                        .state = a->pooled ? PPK_POOLED : PPK_HIDDEN,
                        .hex_text = conf->id_format == PPK_ID_TEXT && hex_is((const char *)id, len),
                        .refs = 1};
    memcpy(ppk->id, id, len);
    peer_ppks_ref(a->owner);
    key->value = NULL;
    return ppk;
}

/* The ID is taken. By the same key, asked for by its ID: that is the one. Else the key source is not to be
 * believed. */
static enum ppk_result duplicate_inlock(struct ppk_store *s, const struct arrival *a, const struct ppk *old,
                                        const struct ppk *new, const struct id_keys *keys,
                                        const struct skip_key *key, struct ppk **out, struct fault *fault)
{
    bool same = secret_equal(old->value, new->value);

    if (same && !a->pooled && (a->by_id || old->by_id))
        *out = store_find_inlock(s, keys, a->deadline);
    if (*out)
        return PPK_OK;
    fault_set(fault, "sks profile %s: server %s gave key ID %s, which is held already, %s",
              a->peer->dynamic->name, key->server, key->key_id, same ? "as a new key" : "with another key");
    return PPK_DUPLICATE;
}

enum ppk_result store_admit(struct ppk_store *s, const struct arrival *a, struct skip_key *key,
                            struct ppk **out, struct fault *fault)
{
    enum ppk_result result = PPK_NO_MEMORY;
    struct id_keys keys;
    struct ppk *existing = NULL;
    bool fetched = false;

    if (!key->key_id || !*key->key_id || strlen(key->key_id) > PPK_ID_MAX) {
        fault_set(fault, "sks profile %s: server %s gave a key ID that is empty or longer than %d characters",
                  a->peer->dynamic->name, key->server, PPK_ID_MAX);
        return PPK_UNREACHABLE;
    }
    struct ppk *ppk = ppk_new(a, key);
    if (!ppk) {
        fault_set(fault, "no memory for a PPK");
        return PPK_NO_MEMORY;
    }
    id_keys_make(ppk_id(ppk), &keys);
    if (keys.n > 1) /* this one is what it is: text in the text form, bytes in the raw */
        keys.key[0] = keys.key[ppk->hex_text ? 0 : 1];
    keys.n = 1;
    pthread_mutex_lock(&s->lock);
    if (a->owner->gone || (a->pooled && a->source != a->owner->source)) {
        fault_set(fault, "peer %s is not in the configuration any more%s", a->peer->name,
                  a->owner->gone ? "" : " with this key source");
        result = PPK_NOT_FOUND;
        goto out;
    }
    const struct ppk *old = index_peek(&s->index, keys.key[0]);
    if (old) {
        result = duplicate_inlock(s, a, old, ppk, &keys, key, &existing, fault);
        goto out;
    }
    if (!expiry_reserve(&s->heap, s->taken_in + 1) || !index_add(&s->index, ppk)) {
        fault_set(fault, "no memory for a PPK");
        goto out;
    }
    if (a->source != a->owner->source)
        ppk->remote = REMOTE_UNLISTED;
    else
        store_remote_take_inlock(s, ppk, a->remote);
    s->taken_in++;
    *(a->by_id ? &s->counts.fetched_by_id : &s->counts.fetched) += 1;
    existing = ppk;
    if (a->pooled) {
        link_inlock(s, ppk);
    } else {
        ppk_ref(ppk);
        store_show_inlock(s, ppk);
    }
    ppk = NULL;
    fetched = true;
    result = PPK_OK;
out:
    pthread_mutex_unlock(&s->lock);
    ppk_release(ppk);
    if (fetched)
        log_write(LOG_LEVEL_INFO, "sks profile %s: %s: peer %s: PPK ID %s fetched%s", a->peer->dynamic->name,
                  key->server, a->peer->name, key->key_id,
                  a->by_id    ? " by its ID"
                  : a->pooled ? " ahead"
                              : "");
    if (out)
        *out = existing;
    return result;
}

uint64_t ppk_store_expect(struct ppk_store *s, struct span id)
{
    return id.len ? index_expect(&s->index, id) : 0;
}

void ppk_store_expect_more(struct ppk_store *s, uint64_t expected)
{
    index_expect_more(&s->index, expected);
}

struct ppk *ppk_store_held(struct ppk_store *s, struct span id)
{
    struct id_keys keys;
    struct ppk *ppk = NULL;

    ppk_store_expire(s);
    id_keys_make(id, &keys);
    for (size_t i = 0; i < keys.n && !ppk; i++)
        ppk = index_find(&s->index, keys.key[i]);
    return ppk;
}

static size_t gather(struct ppk **all, size_t n, const struct ppk_list *l)
{
    for (struct ppk *p = l->first; p; p = p->next) {
        ppk_ref(p);
        all[n++] = p;
    }
    return n;
}

bool ppk_store_each(struct ppk_store *s, const struct peer *peer,
                    bool (*visit)(void *context, struct ppk *ppk), void *context)
{
    size_t n = 0, room;
    bool more = true;

    ppk_store_expire(s);
    pthread_mutex_lock(&s->lock);
    const struct ppk_binding *b = s->binding;
    struct peer_ppks *only = peer ? binding_peer(b, peer) : NULL;
    struct peer_ppks *const *list = peer ? &only : b->peers;
    const size_t n_list = !peer ? b->source.keyring->n_peers : only ? 1 : 0;
    room = only ? only->fresh.n + only->rest.n : (size_t)s->counts.held;
    struct ppk **all = malloc((room + 1) * sizeof(struct ppk *));
    if (all) {
        for (size_t i = 0; i < n_list; i++)
            n = gather(all, n, &list[i]->fresh);
        for (size_t i = 0; i < n_list; i++)
            n = gather(all, n, &list[i]->rest);
    }
    pthread_mutex_unlock(&s->lock);
    if (!all)
        return false;
    for (size_t i = 0; i < n; i++) {
        more = more && visit(context, all[i]);
        ppk_release(all[i]);
    }
    free(all);
    return true;
}

static void use_log(const struct ppk *ppk, const char *peer)
{
    char id[2 * PPK_ID_MAX + 1];

    if (ppk->hex_text) {
        log_write(LOG_LEVEL_INFO, "peer %s: PPK ID %.*s used", peer, (int)ppk->id_len, (const char *)ppk->id);
        return;
    }
    hex_encode(id, ppk->id, ppk->id_len);
    log_write(LOG_LEVEL_INFO, "peer %s: PPK ID %.*s used", peer, 2 * ppk->id_len, id);
}

void ppk_store_use(struct ppk_store *s, struct ppk *ppk)
{
    const bool told = log_wanted(LOG_LEVEL_INFO);
    char peer[PEER_NAME_MAX + 1] = "";
    bool first = false;

    if (atomic_load_explicit(&ppk->used, memory_order_relaxed))
        return;
    pthread_mutex_lock(&s->lock);
    if (!ppk->used) {
        bool held = ppk->state == PPK_SHOWN;
        uint64_t end = clock_ms() + PPK_USED_GRACE_S * UINT64_C(1000);
        s->counts.used++;
        first = true;
        if (told) /* copied: once unlocked, another configuration may come */
            (void)snprintf(peer, sizeof peer, "%s", ppk->owner->gone ? "(removed)" : ppk->owner->conf->name);
        if (held)
            unlink_inlock(s, ppk);
        ppk->used = true;
        if (ppk->expires_ms > end)
            ppk->expires_ms = end;
        if (held)
            link_inlock(s, ppk);
    }
    pthread_mutex_unlock(&s->lock);
    if (first && told)
        use_log(ppk, peer);
}

void ppk_store_destroy(struct ppk_store *s, struct ppk *ppk)
{
    struct taken_out out = {NULL, NULL};

    pthread_mutex_lock(&s->lock);
    if (ppk->state == PPK_SHOWN) {
        take_out_inlock(s, ppk, &out);
        s->counts.destroyed++;
    }
    pthread_mutex_unlock(&s->lock);
    store_bury(s, &out);
}

void store_expire(struct ppk_store *s, uint64_t now)
{
    struct taken_out out = {NULL, NULL};
    struct ppk *first;

    if (now < atomic_load_explicit(&s->next_expiry_ms, memory_order_relaxed))
        return;
    pthread_mutex_lock(&s->lock);
    while ((first = expiry_first(&s->heap)) && first->expires_ms <= now) {
        take_out_inlock(s, first, &out);
        s->counts.expired++;
    }
    pthread_mutex_unlock(&s->lock);
    store_bury(s, &out);
}

void ppk_store_expire(struct ppk_store *s)
{
    const uint64_t next = atomic_load_explicit(&s->next_expiry_ms, memory_order_relaxed);

    if (clock_ms_coarse() + CLOCK_COARSE_MS >= next)
        store_expire(s, clock_ms());
}

static void list_take_out_inlock(struct ppk_store *s, struct ppk_list *l, struct taken_out *out)
{
    while (l->first)
        take_out_inlock(s, l->first, out);
}

void store_drop_inlock(struct ppk_store *s, struct peer_ppks *peer, struct taken_out *out)
{
    peer->awake = false;
    list_take_out_inlock(s, &peer->pool, out);
    list_take_out_inlock(s, &peer->fresh, out);
    list_take_out_inlock(s, &peer->rest, out);
}

void store_outdate_inlock(struct ppk_store *s, struct peer_ppks *peer, struct taken_out *out)
{
    const bool awake = peer->awake;

    peer->source++;
    peer->awake = false; /* no new ones for the pool in this moment */
    list_take_out_inlock(s, &peer->pool, out);
    peer->awake = awake;
    for (struct ppk *ppk = peer->fresh.first; ppk; ppk = ppk->next)
        store_remote_drop_inlock(s, ppk);
}

void store_empty(struct ppk_store *s)
{
    struct taken_out out = {NULL, NULL};

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; s->binding && i < s->binding->source.keyring->n_peers; i++)
        store_drop_inlock(s, s->binding->peers[i], &out);
    pthread_mutex_unlock(&s->lock);
    store_bury(s, &out);
}
