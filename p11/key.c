/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/key.h"

#include "base/hash.h"
#include "base/thread.h"
#include "ike/prf.h"
#include "p11/library.h"
#include "p11/session.h"

#include <stdlib.h>
#include <string.h>

#define SHARDS  16U
#define STRIPES 64U

/* A part of an index: chains of keys. */
struct shard {
    _Alignas(THREAD_LINE) pthread_mutex_t lock;
    struct key **buckets;
    size_t size; /* a power of two */
    _Atomic size_t n;
};

struct keys {
    struct hash_key hash;
    struct shard shards[KEY_INDEXES][SHARDS];
    pthread_mutex_t stripes[STRIPES]; /* key_lock() */
};

struct keys *keys_new(void)
{
    struct keys *ks = aligned_alloc(_Alignof(struct keys), sizeof *ks);
    bool good = ks != NULL;

    if (good)
        memset(ks, 0, sizeof *ks);
    for (unsigned i = 0; good && i < KEY_INDEXES * SHARDS; i++) {
        struct shard *sh = &ks->shards[i / SHARDS][i % SHARDS];
        pthread_mutex_init(&sh->lock, NULL);
        sh->size = 16;
        sh->buckets = calloc(sh->size, sizeof(struct key *));
        good = sh->buckets != NULL;
    }
    if (!good) {
        keys_free(ks);
        return NULL;
    }
    hash_key_make(&ks->hash);
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_init(&ks->stripes[i], NULL);
    return ks;
}

void keys_free(struct keys *ks)
{
    if (ks == NULL)
        return;
    for (unsigned i = 0; i < KEY_INDEXES * SHARDS; i++)
        free((void *)ks->shards[i / SHARDS][i % SHARDS].buckets);
    free(ks);
}

static pthread_mutex_t *stripe(const struct key *k)
{
    return &library_now()->keys->stripes[((uintptr_t)k >> 6) % STRIPES];
}

void key_lock(const struct key *k)
{
    pthread_mutex_lock(stripe(k));
}

void key_unlock(const struct key *k)
{
    pthread_mutex_unlock(stripe(k));
}

static uint32_t hash(const struct keys *ks, uint16_t slot, struct span text)
{
    return (uint32_t)(hash_bytes(&ks->hash, text) ^ slot * 0x9e3779b9UL);
}

/* Twice the buckets, if there is memory; else the chains get longer. */
static void shard_grow(struct shard *sh, enum key_index which)
{
    const size_t size = sh->size * 2;
    struct key **buckets = calloc(size, sizeof(struct key *));

    if (buckets == NULL)
        return;
    for (size_t i = 0; i < sh->size; i++) {
        for (struct key *k = sh->buckets[i], *next; k != NULL; k = next) {
            struct key **to = &buckets[k->link[which].hash / SHARDS & (size - 1)];
            next = k->link[which].next;
            k->link[which].next = *to;
            *to = k;
        }
    }
    free((void *)sh->buckets);
    sh->buckets = buckets;
    sh->size = size;
}

/* Enters a key that has such a text, unless it is gone already. Nobody changes the text meanwhile. */
static void index_add(struct keys *ks, struct key *k, enum key_index which, uint16_t slot)
{
    const struct span text = {k->text[which], k->text_len[which]};
    struct key_link *link = &k->link[which];
    struct shard *sh;
    struct key **to;
    uint32_t h;

    if (text.len == 0)
        return;
    h = hash(ks, slot, text);
    sh = &ks->shards[which][h % SHARDS];
    pthread_mutex_lock(&sh->lock);
    /* key_destroy() makes it dead first and takes it out then: so it cannot be missed. */
    if (object_alive(k->object)) {
        if (sh->n > sh->size)
            shard_grow(sh, which);
        to = &sh->buckets[h / SHARDS & (sh->size - 1)];
        link->hash = h;
        link->next = *to;
        link->linked = true;
        *to = k;
        sh->n++;
    }
    pthread_mutex_unlock(&sh->lock);
}

static void index_remove(struct keys *ks, struct key *k, enum key_index which, uint16_t slot)
{
    const struct span text = {k->text[which], k->text_len[which]};
    struct shard *sh;
    struct key **at;
    uint32_t h;

    if (text.len == 0)
        return;
    h = hash(ks, slot, text);
    sh = &ks->shards[which][h % SHARDS];
    pthread_mutex_lock(&sh->lock);
    if (k->link[which].linked) {
        at = &sh->buckets[h / SHARDS & (sh->size - 1)];
        while (*at != k)
            at = &(*at)->link[which].next;
        *at = k->link[which].next;
        k->link[which].linked = false;
        sh->n--;
    }
    pthread_mutex_unlock(&sh->lock);
}

void keys_each(struct keys *ks, uint16_t slot, enum key_index which, struct span text,
               bool (*visit)(void *context, CK_OBJECT_HANDLE handle), void *context)
{
    const uint32_t h = hash(ks, slot, text);
    struct shard *sh = &ks->shards[which][h % SHARDS];
    bool more = true;

    if (atomic_load_explicit(&sh->n, memory_order_acquire) == 0)
        return;
    pthread_mutex_lock(&sh->lock);
    for (struct key *k = sh->buckets[h / SHARDS & (sh->size - 1)]; k != NULL && more; k = k->link[which].next)
        if (k->link[which].hash == h && k->object->slot == slot &&
            span_equal((struct span){k->text[which], k->text_len[which]}, text))
            more = visit(context, object_handle(k->object));
    pthread_mutex_unlock(&sh->lock);
}

void key_release(struct key *k)
{
    struct key_extra *extra = atomic_load(&k->extra);

    for (int i = 0; i < KEY_INDEXES; i++)
        if (k->text[i] != NULL && k->own_text[i])
            free(k->text[i]);
    if (atomic_load_explicit(&k->hot, memory_order_relaxed))
        prf_forget(k);
    secret_free(k->value);
    free(extra);
    free(k);
}

static void set_date(CK_DATE *date, bool *has, struct span digits)
{
    *has = digits.len == sizeof *date;
    if (*has)
        memcpy(date, digits.data, sizeof *date);
}

static void extra_set_dates(struct key_extra *e, const struct template *t)
{
    if (template_has(t, FIELD_START))
        set_date(&e->start, &e->has_start, t->bytes[FIELD_START]);
    if (template_has(t, FIELD_END))
        set_date(&e->end, &e->has_end, t->bytes[FIELD_END]);
}

/* NULL without need: `*failed` tells that from a lack of memory. */
static struct key_extra *extra_new(const struct template *t, bool *failed)
{
    const struct span allowed = t->bytes[FIELD_ALLOWED];
    struct key_extra *e;

    *failed = false;
    if (!template_has(t, FIELD_ALLOWED) && t->bytes[FIELD_START].len == 0 && t->bytes[FIELD_END].len == 0)
        return NULL;
    e = calloc(1, sizeof *e + allowed.len);
    if (e == NULL) {
        *failed = true;
        return NULL;
    }
    e->has_allowed = template_has(t, FIELD_ALLOWED);
    e->n_allowed = allowed.len / sizeof e->allowed[0];
    if (allowed.len > 0)
        memcpy(e->allowed, allowed.data, allowed.len);
    extra_set_dates(e, t);
    return e;
}

bool key_set_dates(struct key *k, const struct template *t)
{
    struct key_extra *e;
    bool failed = false;

    key_lock(k);
    e = atomic_load(&k->extra);
    if (e != NULL) {
        extra_set_dates(e, t);
    } else {
        e = extra_new(t, &failed);
        atomic_store(&k->extra, e);
    }
    key_unlock(k);
    return !failed;
}

static void session_link(struct session *s, struct key *k)
{
    k->session = atomic_load(&s->handle);
    k->linked = true;
    k->previous = NULL;
    k->next = s->keys;
    if (s->keys != NULL)
        s->keys->previous = k;
    s->keys = k;
}

static void session_unlink(struct session *s, struct key *k)
{
    if (!k->linked)
        return;
    if (k->previous != NULL)
        k->previous->next = k->next;
    else
        s->keys = k->next;
    if (k->next != NULL)
        k->next->previous = k->previous;
    k->linked = false;
}

static struct key *key_new(const struct template *t, uint32_t flags, CK_KEY_TYPE type)
{
    const struct span texts[KEY_INDEXES] = {t->bytes[FIELD_ID], t->bytes[FIELD_LABEL]};
    /* malloc: the C library's calloc does not look into the thread's own free pieces */
    struct key *k = malloc(sizeof *k + texts[0].len + texts[1].len);
    uint8_t *to;
    bool failed;

    if (k == NULL)
        return NULL;
    memset(k, 0, sizeof *k);
    to = k->inline_text;
    for (int i = 0; i < KEY_INDEXES; i++) {
        k->text[i] = to;
        k->text_len[i] = (uint32_t)texts[i].len;
        if (texts[i].len > 0)
            memcpy(to, texts[i].data, texts[i].len);
        to += texts[i].len;
    }
    atomic_init(&k->named, texts[0].len + texts[1].len > 0);
    atomic_init(&k->flags, flags);
    k->type = (uint32_t)type;
    atomic_init(&k->extra, extra_new(t, &failed));
    if (failed) {
        free(k);
        return NULL;
    }
    return k;
}

/* From now on others may see it, and name it anew (handles can be guessed): not before it has been indexed by
 * the names that it was made with. */
static void key_publish(struct library *l, struct key *k, uint16_t slot)
{
    const bool named = atomic_load_explicit(&k->named, memory_order_relaxed);

    if (named)
        key_lock(k);
    object_publish(k->object, OBJECT_KEY, slot, k);
    for (int i = 0; named && i < KEY_INDEXES; i++)
        index_add(l->keys, k, (enum key_index)i, slot);
    if (named)
        key_unlock(k);
}

CK_RV key_make(struct slot *s, CK_SESSION_HANDLE session, const struct template *t, uint32_t flags,
               CK_KEY_TYPE type, struct secret *value, CK_OBJECT_HANDLE *handle)
{
    struct library *l = s->library;
    struct key *k = key_new(t, flags & ~(uint32_t)FLAG_TOKEN, type);
    struct session *owner;
    CK_RV rv = CKR_HOST_MEMORY;

    if (k == NULL)
        return rv;
    k->object = object_reserve(l->objects);
    if (k->object == NULL)
        goto out;
    rv = session_lock(session, &owner);
    if (rv != CKR_OK) {
        object_unreserve(l->objects, k->object);
        rv = CKR_SESSION_CLOSED;
        goto out;
    }
    k->value = value;
    session_link(owner, k);
    *handle = object_handle(k->object);
    key_publish(l, k, s->id);
    session_unlock(owner);
    return CKR_OK;
out:
    key_release(k);
    return rv;
}

/* Of a key that is dead. Who names it at this moment sees that it is dead, or is seen here, since one of both
 * comes first: all four are sequentially consistent. */
static void key_unindex(struct library *l, struct key *k, uint16_t slot)
{
    if (!atomic_load(&k->named))
        return;
    key_lock(k);
    for (int i = 0; i < KEY_INDEXES; i++)
        index_remove(l->keys, k, (enum key_index)i, slot);
    key_unlock(k);
}

bool key_destroy(struct object *o)
{
    struct library *l = library_now();
    struct key *k = o->of;
    struct session *s;

    if (!object_remove(l->objects, object_handle(o)))
        return false;
    s = session_lock_any(k->session);
    session_unlink(s, k);
    session_unlock(s);
    key_unindex(l, k, o->slot);
    return true;
}

void keys_end_session(struct session *s)
{
    struct library *l = library_now();
    struct key *k;

    /* A key that another thread is destroying stays valid as long as it is linked here, since unlinking needs
     * our lock. */
    while ((k = s->keys) != NULL) {
        struct object *o = object_get(l->objects, object_handle(k->object));
        session_unlink(s, k);
        if (o == NULL)
            continue; /* its destroyer does the rest */
        if (object_remove(l->objects, object_handle(o)))
            key_unindex(l, k, o->slot);
        object_put(l->objects, o);
    }
}

bool key_set_text(struct key *k, enum key_index which, struct span text)
{
    struct library *l = library_now();
    uint8_t *copy = malloc(text.len + 1);

    if (copy == NULL)
        return false;
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    key_lock(k);
    atomic_store(&k->named, true);
    index_remove(l->keys, k, which, k->object->slot);
    if (k->own_text[which])
        free(k->text[which]);
    k->own_text[which] = true;
    k->text[which] = copy;
    k->text_len[which] = (uint32_t)text.len;
    index_add(l->keys, k, which, k->object->slot);
    key_unlock(k);
    return true;
}
