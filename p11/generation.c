/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/generation.h"

#include "base/log.h"
#include "skip/skip.h"

#include <stdlib.h>
#include <string.h>

/* ---- records of peers and keys ---- */

static void object_drop(struct library *l, struct object *reserved)
{
    if (reserved != NULL)
        object_unreserve(l->objects, reserved);
}

void slot_peer_release(struct slot_peer *p)
{
    if (atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    free(p->psk_label);
    free(p);
}

void slot_key_release(struct slot_key *k)
{
    if (atomic_fetch_sub(&k->refs, 1) != 1)
        return;
    if (k->peer != NULL)
        slot_peer_release(k->peer);
    if (k->keeps != NULL)
        generation_release(k->keeps);
    free(k);
}

static struct slot_peer *peer_new(struct library *l, const struct peer *conf)
{
    struct slot_peer *p = calloc(1, sizeof *p);
    struct text label = {0};

    if (p == NULL)
        return NULL;
    text_printf(&label, "%s/psk", conf->name);
    p->reserved = object_reserve(l->objects);
    if (label.failed || p->reserved == NULL) {
        text_free(&label);
        object_drop(l, p->reserved);
        free(p);
        return NULL;
    }
    atomic_init(&p->refs, 1);
    p->psk_label = label.s;
    p->data = object_handle(p->reserved);
    return p;
}

/* The record of a peer of this name in the slot's present view, or a new one; a reference. */
static struct slot_peer *peer_get(const struct slot *s, const struct slot_view *old, const struct peer *conf)
{
    const struct peer *before =
        old == NULL ? NULL : keyring_peer_by_name(old->keyring, conf->name, strlen(conf->name));
    struct slot_peer *p;

    if (before == NULL)
        return peer_new(s->library, conf);
    p = old->peers[before - old->keyring->peers];
    atomic_fetch_add(&p->refs, 1);
    return p;
}

static struct slot_key *key_new(struct library *l, enum object_kind kind, struct slot_peer *peer)
{
    struct slot_key *k = calloc(1, sizeof *k);

    if (k == NULL)
        return NULL;
    k->reserved = object_reserve(l->objects);
    if (k->reserved == NULL) {
        free(k);
        return NULL;
    }
    atomic_init(&k->refs, 1);
    k->kind = kind;
    k->handle = object_handle(k->reserved);
    if (peer != NULL)
        atomic_fetch_add(&peer->refs, 1);
    k->peer = peer;
    return k;
}

/* The record `before` (or NULL), if it is of the same peer and value, or a new one; a reference. */
static struct slot_key *key_get(struct library *l, enum object_kind kind, struct slot_key *before,
                                struct slot_peer *peer, const struct config_secret *secret)
{
    if (before == NULL || before->peer != peer || !config_secret_same(atomic_load(&before->secret), secret))
        return key_new(l, kind, peer);
    atomic_fetch_add(&before->refs, 1);
    return before;
}

/* ---- views ---- */

static bool secret_sealed(const struct config_secret *s)
{
    return s->sealed != NULL && atomic_load(&s->value) == NULL;
}

/* Does anything of this keyring, or of the profiles that it uses, need the master key? */
static bool keyring_sealed(const struct keyring *k)
{
    for (size_t i = 0; i < k->n_keks; i++)
        if (secret_sealed(&k->keks[i].key))
            return true;
    for (size_t i = 0; i < k->n_peers; i++) {
        const struct peer *p = &k->peers[i];
        if (secret_sealed(&p->psk) || (p->dynamic != NULL && secret_sealed(&p->dynamic->psk)))
            return true;
        for (size_t m = 0; m < p->n_manual; m++)
            if (secret_sealed(&p->manual[m].key))
                return true;
    }
    return false;
}

/* So that a search in whatever case, or by the bytes, finds an ID that is hex text. False: no memory. */
static bool manual_hex_add(struct slot_view *v, struct span id, struct slot_key *key)
{
    const char *text = (const char *)id.data;
    struct manual_hex *first, *h;

    if (!hex_is(text, id.len))
        return true;
    h = malloc(sizeof *h + id.len / 2);
    if (h == NULL)
        return false;
    *h = (struct manual_hex){.key = key, .len = id.len / 2};
    (void)hex_decode(h->bytes, text, id.len);
    first = table_get(v->manual_by_bytes, (struct span){h->bytes, h->len});
    if (first != NULL) {
        h->next = first->next;
        first->next = h;
        return true;
    }
    v->manual_lengths |= UINT64_C(1) << h->len % 64;
    if (table_add(v->manual_by_bytes, (struct span){h->bytes, h->len}, h))
        return true;
    free(h);
    return false;
}

static void manual_hex_free(struct table *by_bytes)
{
    struct manual_hex *h;
    size_t cursor = 0;

    while (by_bytes != NULL && (h = table_next(by_bytes, &cursor)) != NULL)
        while (h != NULL) {
            struct manual_hex *next = h->next;
            free(h);
            h = next;
        }
    table_free(by_bytes);
}

static bool keys_make(const struct slot *s, const struct slot_view *old, struct slot_view *v, size_t i)
{
    const struct peer *p = &v->keyring->peers[i];
    struct slot_peer *sp = v->peers[i];
    const struct slot_keys *before = atomic_load(&sp->keys);
    struct slot_keys *keys = calloc(1, sizeof *keys + p->n_manual * sizeof(struct slot_key *));

    v->keys[i] = keys;
    if (keys == NULL)
        return false;
    if (p->psk.sealed != NULL || atomic_load(&p->psk.value) != NULL) {
        keys->psk = key_get(s->library, OBJECT_PSK, before == NULL ? NULL : before->psk, sp, &p->psk);
        if (keys->psk == NULL)
            return false;
    }
    for (size_t m = 0; m < p->n_manual; m++) {
        const struct manual_ppk *manual = &p->manual[m];
        struct slot_key *same = old == NULL ? NULL : table_get(old->manual_by_id, manual->id);
        keys->manual[m] = key_get(s->library, OBJECT_MANUAL, same, sp, &manual->key);
        if (keys->manual[m] == NULL)
            return false;
        keys->n_manual++;
        v->manual_lengths |= UINT64_C(1) << manual->id.len % 64;
        if (!table_add(v->manual_by_id, manual->id, keys->manual[m]) ||
            !manual_hex_add(v, manual->id, keys->manual[m]))
            return false;
    }
    return true;
}

static bool keks_make(const struct slot *s, const struct slot_view *old, struct slot_view *v)
{
    const struct keyring *k = v->keyring;

    v->keks = calloc(k->n_keks + 1, sizeof(struct slot_key *));
    for (size_t i = 0; v->keks != NULL && i < k->n_keks; i++) {
        const struct kek *kek = &k->keks[i], *was = NULL;
        if (old != NULL)
            was = keyring_kek_by_name(old->keyring, kek->name, strlen(kek->name));
        v->keks[i] = key_get(s->library, OBJECT_KEK, was == NULL ? NULL : old->keks[was - old->keyring->keks],
                             NULL, &kek->key);
        if (v->keks[i] == NULL)
            return false;
    }
    return v->keks != NULL;
}

static void generation_released(void *context)
{
    generation_release(context);
}

/* `k`: the slot's keyring, or NULL. */
static bool view_make(struct generation *g, struct slot *s, const struct keyring *k)
{
    struct slot_view *v = &g->views[s->id];
    const struct slot_view *old = atomic_load(&s->view);
    const size_t n = k == NULL ? 0 : k->n_peers;

    v->generation = g;
    v->present = k != NULL;
    v->keyring = k != NULL ? k : &s->absent;
    v->login_required = k != NULL && g->sealed[k - g->configuration->keyrings];
    v->peers = calloc(n + 1, sizeof(struct slot_peer *));
    v->keys = calloc(n + 1, sizeof(struct slot_keys *));
    v->manual_by_id = table_new();
    v->manual_by_bytes = table_new();
    if (v->peers == NULL || v->keys == NULL || v->manual_by_id == NULL || v->manual_by_bytes == NULL ||
        !keks_make(s, old, v))
        return false;
    for (size_t i = 0; i < n; i++) {
        v->peers[i] = peer_get(s, old, &k->peers[i]);
        if (v->peers[i] == NULL || !keys_make(s, old, v, i))
            return false;
        v->any_dynamic |= k->peers[i].dynamic != NULL;
    }
    const struct ppk_source source = {g->configuration,        v->keyring,          g->profiles,
                                      (void *const *)v->peers, generation_released, g};
    /* The store refers to all of them; it gives back those that it knows already. */
    v->binding = ppk_store_prepare(s->store, &source);
    if (v->binding != NULL)
        generation_ref(g);
    return v->binding != NULL;
}

static void keys_drop(struct library *l, struct slot_key *k)
{
    if (k == NULL)
        return;
    object_drop(l, k->reserved);
    k->reserved = NULL;
    slot_key_release(k);
}

/* Gives back what a view refers to; and, if it was never installed, what was reserved for it. */
static void view_clear(struct library *l, struct slot_view *v)
{
    const size_t n = v->keyring == NULL ? 0 : v->keyring->n_peers;

    for (size_t i = 0; v->keys != NULL && i < n; i++) {
        struct slot_keys *keys = v->keys[i];
        if (keys == NULL)
            break;
        keys_drop(l, keys->psk);
        for (size_t m = 0; m < keys->n_manual; m++)
            keys_drop(l, keys->manual[m]);
        free(keys);
    }
    for (size_t i = 0; v->peers != NULL && i < n && v->peers[i] != NULL; i++) {
        object_drop(l, v->peers[i]->reserved);
        v->peers[i]->reserved = NULL;
        slot_peer_release(v->peers[i]);
    }
    for (size_t i = 0; v->keks != NULL && i < v->keyring->n_keks; i++)
        keys_drop(l, v->keks[i]);
    free((void *)v->keks);
    free((void *)v->peers);
    free((void *)v->keys);
    table_free(v->manual_by_id);
    manual_hex_free(v->manual_by_bytes);
    *v = (struct slot_view){0};
}

static void views_free(struct generation *g)
{
    for (size_t i = 0; g->views != NULL && i < g->n_views; i++)
        view_clear(g->library, &g->views[i]);
    free(g->views);
    g->views = NULL;
}

/* ---- making ---- */

void generation_ref(struct generation *g)
{
    atomic_fetch_add(&g->refs, 1);
}

void generation_release(struct generation *g)
{
    struct library *l = g->library;

    if (atomic_fetch_sub(&g->refs, 1) != 1)
        return;
    pthread_mutex_lock(&l->generations_lock);
    if (g->previous != NULL)
        g->previous->next = g->next;
    else
        l->generations = g->next;
    if (g->next != NULL)
        g->next->previous = g->previous;
    pthread_mutex_unlock(&l->generations_lock);
    for (size_t i = 0; g->profiles != NULL && i < g->configuration->n_profiles; i++)
        skip_profile_free(g->profiles[i]);
    free((void *)g->profiles);
    free(g->stamps);
    free(g->sealed);
    configuration_free(g->configuration);
    free(g);
}

static bool profiles_make(struct generation *g)
{
    const struct configuration *c = g->configuration;

    g->profiles = calloc(c->n_profiles + 1, sizeof(struct skip_profile *));
    g->stamps = calloc(c->n_profiles + 1, sizeof *g->stamps);
    if (g->profiles == NULL || g->stamps == NULL)
        return false;
    for (size_t i = 0; i < c->n_profiles; i++) {
        struct file_stamp stamp = {0};
        sks_profile_stamp(&c->profiles[i], &stamp);
        g->stamps[i] = stamp.hash;
        g->profiles[i] = skip_profile_new(&c->profiles[i]);
        if (g->profiles[i] == NULL)
            return false;
    }
    return true;
}

/* Opens what the known master key opens; notes before what it is needed for. */
static bool secrets_open(struct generation *g, struct fault *fault)
{
    struct configuration *c = g->configuration;
    struct secret_view key = {0};
    bool opened = true;

    g->sealed = calloc(c->n_keyrings + 1, sizeof *g->sealed);
    if (g->sealed == NULL)
        return false;
    for (size_t i = 0; i < c->n_keyrings; i++)
        g->sealed[i] = keyring_sealed(&c->keyrings[i]);
    if (c->sealed && g->library->master_key != NULL)
        opened =
            secret_open(g->library->master_key, &key) && configuration_unlock(c, key.data, key.len, fault);
    secret_close(&key);
    return opened;
}

/* Which keyring each slot has; keyrings that are new get new slots, in their order. */
static bool slots_make(struct generation *g, const struct keyring **of)
{
    struct library *l = g->library;
    const struct configuration *c = g->configuration;
    const size_t n_old = atomic_load(&l->n_slots);
    bool *known = calloc(c->n_keyrings + 1, sizeof *known);

    g->n_views = n_old;
    if (known == NULL)
        return false;
    for (size_t i = 0; i < n_old; i++) {
        const char *name = atomic_load(&l->slots[i])->name;
        of[i] = configuration_keyring(c, name, strlen(name));
        if (of[i] != NULL)
            known[of[i] - c->keyrings] = true;
    }
    for (size_t k = 0; k < c->n_keyrings; k++) {
        if (known[k])
            continue;
        struct slot *s =
            g->n_views <= UINT16_MAX ? slot_new(l, (uint16_t)g->n_views, c->keyrings[k].name) : NULL;
        if (s == NULL)
            break;
        of[g->n_views] = &c->keyrings[k];
        atomic_store(&l->slots[g->n_views++], s);
        known[k] = true;
    }
    const bool made = c->n_keyrings == 0 || known[c->n_keyrings - 1];
    free(known);
    return made;
}

static bool views_make(struct generation *g)
{
    struct library *l = g->library;
    const struct keyring **of =
        calloc(atomic_load(&l->n_slots) + g->configuration->n_keyrings + 1, sizeof(const struct keyring *));
    bool made = of != NULL && slots_make(g, of);

    g->views = calloc(g->n_views + 1, sizeof *g->views);
    made = made && g->views != NULL;
    for (size_t i = 0; made && i < g->n_views; i++)
        made = view_make(g, atomic_load(&l->slots[i]), of[i]);
    free((void *)of);
    return made;
}

/* Of one that was never installed. */
static void generation_drop(struct generation *g)
{
    struct library *l = g->library;

    for (size_t i = 0; g->views != NULL && i < g->n_views; i++)
        ppk_store_unprepare(atomic_load(&l->slots[i])->store, g->views[i].binding);
    views_free(g);
    for (size_t i = atomic_load(&l->n_slots); i < g->n_views; i++) {
        slot_free(atomic_load(&l->slots[i]));
        atomic_store(&l->slots[i], NULL);
    }
    generation_release(g);
}

struct generation *generation_make(struct library *l, struct configuration *c, struct fault *fault)
{
    struct generation *g = calloc(1, sizeof *g);

    fault_set(fault, "no memory left, or too many keyrings");
    if (g == NULL) {
        configuration_free(c);
        return NULL;
    }
    atomic_init(&g->refs, 1);
    g->library = l;
    g->configuration = c;
    g->serial = ++l->generation_serial;
    pthread_mutex_lock(&l->generations_lock);
    g->next = l->generations;
    if (g->next != NULL)
        g->next->previous = g;
    l->generations = g;
    pthread_mutex_unlock(&l->generations_lock);
    if (secrets_open(g, fault) && profiles_make(g) && views_make(g))
        return g;
    generation_drop(g);
    return NULL;
}

/* ---- installing ---- */

/* Profiles go on with what is known of their servers. */
static void profiles_succeed(struct generation *g, const struct generation *old)
{
    const struct configuration *c = g->configuration;

    for (size_t i = 0; i < c->n_profiles; i++) {
        const struct sks_profile *p = &c->profiles[i],
                                 *was = configuration_profile(old->configuration, p->name, strlen(p->name));
        if (was == NULL)
            continue;
        const size_t at = (size_t)(was - old->configuration->profiles);
        skip_profile_succeed(g->profiles[i], old->profiles[at],
                             sks_profile_same_servers(p, was) && g->stamps[i] == old->stamps[at]);
    }
}

static void publish(struct object **reserved, enum object_kind kind, const struct slot *s, void *of,
                    _Atomic unsigned *refs)
{
    struct object *o = *reserved;

    if (o == NULL)
        return;
    *reserved = NULL;
    atomic_fetch_add(refs, 1);
    object_publish(o, kind, s->id, of);
}

static void key_install(const struct generation *g, const struct slot *s, struct slot_key *k,
                        const struct config_secret *secret, const void *of)
{
    k->seen = g->serial;
    atomic_store(&k->secret, secret);
    atomic_store(&k->of, of);
    publish(&k->reserved, k->kind, s, k, &k->refs);
}

static void peer_install(const struct generation *g, const struct slot *s, const struct slot_view *v,
                         size_t i)
{
    const struct peer *p = &v->keyring->peers[i];
    struct slot_peer *sp = v->peers[i];
    struct slot_keys *keys = v->keys[i];

    sp->seen = g->serial;
    atomic_store(&sp->peer, p);
    atomic_store(&sp->keys, keys);
    publish(&sp->reserved, OBJECT_PEER, s, sp, &sp->refs);
    if (keys->psk != NULL)
        key_install(g, s, keys->psk, &p->psk, NULL);
    for (size_t m = 0; m < keys->n_manual; m++)
        key_install(g, s, keys->manual[m], &p->manual[m].key, &p->manual[m]);
}

/* Takes the object out of a key that the new generation does not have. */
static void key_remove(struct generation *old, const struct generation *g, struct slot_key *k)
{
    if (k == NULL || k->seen == g->serial)
        return;
    generation_ref(old);
    k->keeps = old;
    object_remove(old->library->objects, k->handle);
}

static void view_install(struct generation *g, struct generation *old, struct slot *s)
{
    struct slot_view *v = &g->views[s->id];
    const struct slot_view *was = atomic_load(&s->view);

    for (size_t i = 0; i < v->keyring->n_peers; i++)
        peer_install(g, s, v, i);
    for (size_t i = 0; i < v->keyring->n_keks; i++)
        key_install(g, s, v->keks[i], &v->keyring->keks[i].key, &v->keyring->keks[i]);
    atomic_store(&s->view, v);
    ppk_store_rebind(s->store, v->binding);
    v->binding = NULL;
    if (was == NULL || was->present != v->present)
        atomic_store(&s->event, old != NULL);
    for (size_t i = 0; was != NULL && i < was->keyring->n_keks; i++)
        key_remove(old, g, was->keks[i]);
    for (size_t i = 0; was != NULL && i < was->keyring->n_peers; i++) {
        const struct slot_keys *keys = was->keys[i];
        key_remove(old, g, keys->psk);
        for (size_t m = 0; m < keys->n_manual; m++)
            key_remove(old, g, keys->manual[m]);
        if (was->peers[i]->seen != g->serial)
            object_remove(g->library->objects, was->peers[i]->data);
    }
}

void generation_install(struct library *l, struct generation *g)
{
    struct generation *old = atomic_load(&l->now);

    if (old != NULL)
        profiles_succeed(g, old);
    for (size_t i = 0; i < g->n_views; i++)
        view_install(g, old, atomic_load(&l->slots[i]));
    atomic_store(&l->n_slots, g->n_views);
    atomic_store(&l->now, g);
    atomic_store(&l->before, old);
}

void generation_retire(struct generation *g)
{
    views_free(g);
    generation_release(g);
}

/* ---- all of them ---- */

void generations_interrupt(struct library *l)
{
    pthread_mutex_lock(&l->generations_lock);
    for (const struct generation *g = l->generations; g != NULL; g = g->next)
        for (size_t i = 0; g->profiles != NULL && i < g->configuration->n_profiles; i++)
            skip_profile_interrupt(g->profiles[i]);
    pthread_mutex_unlock(&l->generations_lock);
}

uint64_t generations_timeout_ms(struct library *l)
{
    uint64_t longest = 0;

    pthread_mutex_lock(&l->generations_lock);
    for (const struct generation *g = l->generations; g != NULL; g = g->next)
        for (size_t i = 0; i < g->configuration->n_profiles; i++)
            if (g->configuration->profiles[i].timeout_ms > longest)
                longest = g->configuration->profiles[i].timeout_ms;
    pthread_mutex_unlock(&l->generations_lock);
    return longest;
}
