/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/object.h"

#include "base/thread.h"

#include <stdalign.h>
#include <stdlib.h>

/* A handle: generation (32 bits) << 24 | index. Generations begin at 1, so that no handle is 0. */
#define INDEX_BITS 24
#define INDEX_MASK ((1UL << INDEX_BITS) - 1)
#define CHUNK      256U /* objects that are allocated at once */
#define CHUNKS     ((1U << INDEX_BITS) / CHUNK)
#define LANES      16U /* free lists */

/* word: generation << 32 | ALIVE | references */
#define ALIVE            0x80000000UL
#define REFS(word)       ((word)&0x7fffffffUL)
#define GENERATION(word) ((word) >> 32)

struct lane {
    alignas(THREAD_LINE) pthread_mutex_t lock;
    struct object *free; /* linked by `of` */
};

struct objects {
    _Atomic(struct object *) *chunks;
    _Atomic uint32_t n_chunks;
    void (*release)(struct object *o);
    pthread_mutex_t grow;
    struct lane lanes[LANES];
};

static struct lane *lane(struct objects *t)
{
    return &t->lanes[thread_number() % LANES];
}

struct objects *objects_new(void (*release)(struct object *o))
{
    struct objects *t = aligned_alloc(alignof(struct objects), sizeof *t);

    if (t == NULL)
        return NULL;
    /* calloc: pages of the directory that are never touched cost nothing */
    t->chunks = calloc(CHUNKS, sizeof *t->chunks);
    if (t->chunks == NULL) {
        free(t);
        return NULL;
    }
    atomic_init(&t->n_chunks, 0);
    t->release = release;
    pthread_mutex_init(&t->grow, NULL);
    for (unsigned i = 0; i < LANES; i++) {
        pthread_mutex_init(&t->lanes[i].lock, NULL);
        t->lanes[i].free = NULL;
    }
    return t;
}

void objects_free(struct objects *t)
{
    struct object *o;
    uint32_t cursor = 0;

    if (t == NULL)
        return;
    while ((o = objects_next(t, &cursor)) != NULL) {
        object_remove(t, object_handle(o));
        object_put(t, o);
    }
    for (uint32_t i = 0; i < t->n_chunks; i++)
        free(t->chunks[i]);
    for (unsigned i = 0; i < LANES; i++)
        pthread_mutex_destroy(&t->lanes[i].lock);
    pthread_mutex_destroy(&t->grow);
    free((void *)t->chunks);
    free(t);
}

/* A new chunk, whose objects go onto the free list of `l`, which the caller has locked. */
static bool grow(struct objects *t, struct lane *l)
{
    struct object *chunk = NULL;
    uint32_t n;

    pthread_mutex_lock(&t->grow);
    n = atomic_load(&t->n_chunks);
    if (n < CHUNKS)
        chunk = calloc(CHUNK, sizeof *chunk);
    if (chunk != NULL) {
        for (uint32_t i = CHUNK; i-- > 0;) {
            atomic_init(&chunk[i].word, 1UL << 32);
            chunk[i].index = n * CHUNK + i;
            chunk[i].of = l->free;
            l->free = &chunk[i];
        }
        atomic_store_explicit(&t->chunks[n], chunk, memory_order_release);
        atomic_store_explicit(&t->n_chunks, n + 1, memory_order_release);
    }
    pthread_mutex_unlock(&t->grow);
    return chunk != NULL;
}

struct object *object_reserve(struct objects *t)
{
    struct lane *l = lane(t);
    struct object *o = NULL;

    pthread_mutex_lock(&l->lock);
    if (l->free != NULL || grow(t, l)) {
        o = l->free;
        l->free = o->of;
    }
    pthread_mutex_unlock(&l->lock);
    return o;
}

void object_unreserve(struct objects *t, struct object *o)
{
    struct lane *l = lane(t);

    pthread_mutex_lock(&l->lock);
    o->of = l->free;
    l->free = o;
    pthread_mutex_unlock(&l->lock);
}

CK_OBJECT_HANDLE object_handle(const struct object *o)
{
    return GENERATION(atomic_load_explicit(&o->word, memory_order_relaxed)) << INDEX_BITS | o->index;
}

void object_publish(struct object *o, enum object_kind kind, uint16_t slot, void *of)
{
    uint64_t word = atomic_load_explicit(&o->word, memory_order_relaxed);

    o->of = of;
    o->slot = slot;
    o->kind = (uint8_t)kind;
    atomic_store_explicit(&o->word, word | ALIVE | 1, memory_order_release);
}

CK_OBJECT_HANDLE object_add(struct objects *t, enum object_kind kind, uint16_t slot, void *of)
{
    struct object *o = object_reserve(t);
    CK_OBJECT_HANDLE handle;

    if (o == NULL)
        return CK_INVALID_HANDLE;
    handle = object_handle(o);
    object_publish(o, kind, slot, of);
    return handle;
}

static struct object *object_at(struct objects *t, uint64_t index)
{
    struct object *chunk = atomic_load_explicit(&t->chunks[index / CHUNK], memory_order_acquire);

    return chunk == NULL ? NULL : &chunk[index % CHUNK];
}

/* Adds a reference if the object is alive, and (unless 0) of this generation. */
static bool object_ref(struct object *o, uint64_t generation)
{
    uint64_t word = atomic_load_explicit(&o->word, memory_order_acquire);

    do {
        if ((word & ALIVE) == 0 || (generation != 0 && GENERATION(word) != generation))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&o->word, &word, word + 1, memory_order_acquire,
                                                    memory_order_acquire));
    return true;
}

struct object *object_get(struct objects *t, CK_OBJECT_HANDLE handle)
{
    struct object *o = object_at(t, handle & INDEX_MASK);
    const uint64_t generation = handle >> INDEX_BITS;

    return o != NULL && generation != 0 && object_ref(o, generation) ? o : NULL;
}

void object_put(struct objects *t, struct object *o)
{
    uint64_t word;

    if (o == NULL)
        return;
    word = atomic_fetch_sub_explicit(&o->word, 1, memory_order_acq_rel) - 1;
    if (REFS(word) != 0)
        return;
    t->release(o);
    /* The next user gets another handle; an object whose generations are used up is left alone for ever. */
    if (GENERATION(word) == UINT32_MAX)
        return;
    atomic_store_explicit(&o->word, (GENERATION(word) + 1) << 32, memory_order_release);
    object_unreserve(t, o);
}

struct object object_shadow(CK_OBJECT_HANDLE handle, enum object_kind kind, uint16_t slot, void *of)
{
    return (struct object){.word = (handle >> INDEX_BITS) << 32 | ALIVE,
                           .of = of,
                           .index = (uint32_t)(handle & INDEX_MASK),
                           .slot = slot,
                           .kind = (uint8_t)kind};
}

bool object_alive(const struct object *o)
{
    return (atomic_load(&o->word) & ALIVE) != 0;
}

bool object_remove(struct objects *t, CK_OBJECT_HANDLE handle)
{
    struct object *o = object_at(t, handle & INDEX_MASK);
    uint64_t word;

    if (o == NULL)
        return false;
    word = atomic_load_explicit(&o->word, memory_order_acquire);
    do {
        if ((word & ALIVE) == 0 || GENERATION(word) != handle >> INDEX_BITS)
            return false;
    } while (!atomic_compare_exchange_weak(&o->word, &word, word & ~ALIVE));
    object_put(t, o);
    return true;
}

struct object *objects_next(struct objects *t, uint32_t *cursor)
{
    const uint32_t end = atomic_load_explicit(&t->n_chunks, memory_order_acquire) * CHUNK;

    while (*cursor < end) {
        struct object *o = object_at(t, (*cursor)++);
        if (o != NULL && object_ref(o, 0))
            return o;
    }
    return NULL;
}
