/* SPDX-License-Identifier: BSD-2-Clause */
/* A slab is a mapping of its own, between two inaccessible pages: a head with a bitmap of the slots in use,
 * then the slots. A slab belongs to one of several shards, each with its lock, and threads are spread over
 * the shards, so that they seldom meet.
 *
 * Locked memory is the host's, too: secrets in place take at most three eighths of RLIMIT_MEMLOCK and working
 * memory fills up to a half; beyond that it grows only where a call would fail otherwise. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#define poison(p, n)   __asan_poison_memory_region((p), (n))
#define unpoison(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define poison(p, n)   ((void)(p), (void)(n))
#define unpoison(p, n) ((void)(p), (void)(n))
#endif

enum {
    PAGE = 4096,
    HEAD = 256,
    SMALL_SLAB = 16 * 1024, /* locked memory is scarce */
    LARGE_SLAB = 64 * 1024,
    SHARDS = 8,
    CLASSES = 16,
    WORDS = 24, /* of the bitmap */
    SLOTS_MAX = WORDS * 64,
    SEAL_KEY = 32,
    UNLOCKED_MAX = 256 * 1024,     /* of working memory, where nothing can be locked */
    LOCKED_MAX = 64 * 1024 * 1024, /* where RLIMIT_MEMLOCK is unlimited */
    RETRY_MS = 1000,               /* after mlock() has failed below our own limit */
};

/* Slot sizes. In place, a secret has 8 bytes before it; sealed, 32: so 32-byte keys take 40 and 64 bytes. */
static const uint16_t class_sizes[CLASSES] = {32,  40,  64,  80,   96,   128,  160,  256,
                                              384, 544, 800, 1056, 1552, 2080, 3104, ARENA_SLOT_MAX};

struct slab {
    struct shard *owner; /* NULL: wiped by a fork */
    struct slab *next, *prev;
    size_t size; /* of the mapping between the guard pages */
    uint32_t slot_size;
    uint16_t slots;
    uint16_t used;
    uint16_t hint; /* no word of the bitmap before this one has a free slot */
    uint8_t kind;
    uint8_t class;
    bool listed; /* has a free slot, and is in its shard's list */
    bool locked;
    uint64_t bitmap[WORDS];
};
_Static_assert(sizeof(struct slab) <= HEAD, "a slab's head");
/* Of sealed secrets of at most 8 bytes, which are rare, a slab could hold more than its bitmap can. */
_Static_assert(SLOTS_MAX >= (SMALL_SLAB - HEAD) / 32 && SLOTS_MAX >= (LARGE_SLAB - HEAD) / 64,
               "a slab's bitmap");

struct shard {
    pthread_mutex_t lock;
    struct arena *arena;
    struct slab *open[ARENA_KINDS][CLASSES]; /* slabs with a free slot */
    _Atomic uint32_t free[ARENA_KINDS];      /* free slots: is it worth to look here? */
    _Atomic uint32_t empty[ARENA_KINDS];     /* slabs kept though nothing is in them */
    size_t slots_used[ARENA_KINDS];
    size_t bytes_used[ARENA_KINDS];
} __attribute__((aligned(THREAD_LINE)));

struct arena {
    struct shard shards[SHARDS];
    _Atomic size_t locked;     /* bytes */
    _Atomic size_t unlocked;   /* bytes of working memory that could not be locked */
    _Atomic size_t limit;      /* of locked bytes, or 0: not known yet */
    _Atomic uint64_t retry_at; /* do not try to lock before this time */
    _Atomic bool must_warn, has_warned;
    _Atomic(uint8_t *) seal_key;
};

#define SHARD_INIT                                                                                           \
    {                                                                                                        \
        .lock = PTHREAD_MUTEX_INITIALIZER, .arena = &the_arena                                               \
    }
static struct arena the_arena = {.shards = {SHARD_INIT, SHARD_INIT, SHARD_INIT, SHARD_INIT, SHARD_INIT,
                                            SHARD_INIT, SHARD_INIT, SHARD_INIT}};

static unsigned my_shard(void)
{
    return thread_number() % SHARDS;
}

/* --- mappings
 * ------------------------------------------------------------------------------------------------- */

/* Half of what the process may lock. */
static size_t lock_limit(struct arena *a)
{
    size_t limit = atomic_load_explicit(&a->limit, memory_order_relaxed);
    struct rlimit r;

    if (limit)
        return limit;
    limit = LOCKED_MAX;
    if (getrlimit(RLIMIT_MEMLOCK, &r) == 0 && r.rlim_cur != RLIM_INFINITY && r.rlim_cur / 2 < limit)
        limit = r.rlim_cur / 2;
    limit = limit ? limit : 1;
    atomic_store_explicit(&a->limit, limit, memory_order_relaxed);
    return limit;
}

/* What of it secrets in place may fill. */
static size_t place_limit(struct arena *a)
{
    return lock_limit(a) / 4 * 3;
}

/* Is there no use in trying to lock `size` bytes more, within `limit` for us in all? Asked first, as a
 * mapping is dear. */
static bool lock_hopeless(struct arena *a, size_t size, size_t limit)
{
    uint64_t retry_at = atomic_load_explicit(&a->retry_at, memory_order_relaxed);

    return atomic_load_explicit(&a->locked, memory_order_relaxed) + size > limit ||
           (retry_at != 0 && retry_at > clock_ms());
}

/* Locks a slab's pages, within `limit` bytes for us in all. */
static bool lock_pages(struct arena *a, void *pages, size_t size, size_t limit)
{
    size_t before = atomic_fetch_add(&a->locked, size);

    if (before + size <= limit && !lock_hopeless(a, 0, limit)) {
        if (mlock(pages, size) == 0)
            return true;
        atomic_store_explicit(&a->retry_at, clock_ms() + RETRY_MS, memory_order_relaxed);
    }
    atomic_fetch_sub(&a->locked, size);
    return false;
}

static bool lock_slab(struct arena *a, struct slab *s, enum arena_kind kind, size_t size)
{
    size_t limit = lock_limit(a);

    if (kind == ARENA_PLACE)
        return lock_pages(a, s, size, place_limit(a));
    /* Working memory: a call fails without it, so it may have more than our share, and in the end a bounded
     * part unlocked. */
    if (lock_pages(a, s, size, limit) || lock_pages(a, s, size, limit * 2))
        return true;
    return false;
}

/* May working memory of this size be left unlocked? */
static bool bear_unlocked(struct arena *a, size_t size)
{
    if (atomic_fetch_add(&a->unlocked, size) + size > UNLOCKED_MAX) {
        atomic_fetch_sub(&a->unlocked, size);
        return false;
    }
    if (!atomic_exchange(&a->has_warned, true))
        atomic_store(&a->must_warn, true);
    return true;
}

/* `size` bytes at a multiple of `align`, kept out of core dumps and of forked children, between inaccessible
 * pages. */
static void *map_guarded(size_t size, size_t align)
{
    size_t whole = size + align + (size_t)2 * PAGE;
    uint8_t *map = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (map == MAP_FAILED)
        return NULL;
    uint8_t *at = map + PAGE + (align - ((uintptr_t)map + PAGE) % align) % align;
    if (at - PAGE > map)
        (void)munmap(map, (size_t)(at - PAGE - map));
    if (map + whole > at + size + PAGE)
        (void)munmap(at + size + PAGE, (size_t)(map + whole - (at + size + PAGE)));
    if (mprotect(at, size, PROT_READ | PROT_WRITE) == 0 && madvise(at, size, MADV_DONTDUMP) == 0 &&
        madvise(at, size, MADV_WIPEONFORK) == 0)
        return at;
    (void)munmap(at - PAGE, size + (size_t)2 * PAGE);
    return NULL;
}

static void unmap_guarded(void *at, size_t size)
{
    unpoison(at, size);
    (void)munmap((uint8_t *)at - PAGE, size + (size_t)2 * PAGE);
}

/* --- slabs
 * ---------------------------------------------------------------------------------------------------- */

static size_t slab_align(enum arena_kind kind)
{
    return kind == ARENA_SEALED ? LARGE_SLAB : SMALL_SLAB;
}

static struct slab *slab_of(enum arena_kind kind, const void *slot)
{
    size_t into = (uintptr_t)slot & (slab_align(kind) - 1);

    return (struct slab *)(void *)((uint8_t *)(uintptr_t)slot - into); /* NOLINT(performance-no-int-to-ptr) */
}

/* A slab for one size; of ARENA_WORK also for a single slot that no class is large enough for. NULL: no
 * memory or not lockable. */
static struct slab *slab_new(struct shard *owner, enum arena_kind kind, unsigned class, size_t slot_size)
{
    struct arena *a = owner->arena;
    size_t size = slab_align(kind);

    if (slot_size > size - HEAD)
        size = (HEAD + slot_size + PAGE - 1) / PAGE * PAGE;
    if (kind == ARENA_PLACE && lock_hopeless(a, size, place_limit(a)))
        return NULL;
    struct slab *s = map_guarded(size, slab_align(kind));
    if (!s)
        return NULL;
    bool locked = kind != ARENA_SEALED && lock_slab(a, s, kind, size);
    if (!locked && kind != ARENA_SEALED && (kind != ARENA_WORK || !bear_unlocked(a, size))) {
        unmap_guarded(s, size);
        return NULL;
    }
    s->owner = owner;
    s->size = size;
    s->slot_size = (uint32_t)slot_size;
    const size_t fitting = (size - HEAD) / slot_size;
    s->slots = (uint16_t)(fitting < SLOTS_MAX ? fitting : SLOTS_MAX);
    s->kind = (uint8_t)kind;
    s->class = (uint8_t) class;
    s->locked = locked;
    poison((uint8_t *)s + HEAD, size - HEAD);
    return s;
}

static void slab_free(struct slab *s)
{
    struct arena *a = s->owner->arena;

    if (s->locked)
        atomic_fetch_sub(&a->locked, s->size);
    else if (s->kind == ARENA_WORK)
        atomic_fetch_sub(&a->unlocked, s->size);
    unmap_guarded(s, s->size); /* all its slots are wiped; unmapping unlocks */
}

static void slab_list(struct slab *s)
{
    struct slab **open = &s->owner->open[s->kind][s->class];

    s->prev = NULL;
    s->next = *open;
    if (*open)
        (*open)->prev = s;
    *open = s;
    s->listed = true;
}

static void slab_unlist(struct slab *s)
{
    if (s->prev)
        s->prev->next = s->next;
    else
        s->owner->open[s->kind][s->class] = s->next;
    if (s->next)
        s->next->prev = s->prev;
    s->listed = false;
}

/* Takes a free slot of a listed slab; its shard is locked. */
static void *slab_take(struct slab *s)
{
    struct shard *h = s->owner;
    unsigned w = s->hint;

    while (s->bitmap[w] == UINT64_MAX)
        w++;
    unsigned bit = (unsigned)__builtin_ctzll(~s->bitmap[w]);
    s->bitmap[w] |= UINT64_C(1) << bit;
    s->hint = (uint16_t)w;
    if (s->used++ == 0)
        atomic_fetch_sub_explicit(&h->empty[s->kind], 1, memory_order_relaxed);
    if (s->used == s->slots)
        slab_unlist(s);
    h->slots_used[s->kind]++;
    h->bytes_used[s->kind] += s->slot_size;
    atomic_store_explicit(&h->free[s->kind],
                          atomic_load_explicit(&h->free[s->kind], memory_order_relaxed) - 1,
                          memory_order_relaxed);
    return (uint8_t *)s + HEAD + (size_t)(w * 64 + bit) * s->slot_size;
}

/* Gives a slot back; its shard is locked. False: it was not in use. */
static bool slab_give(struct slab *s, void *slot)
{
    struct shard *h = s->owner;
    uint32_t offset = (uint32_t)((uint8_t *)slot - (uint8_t *)s) - HEAD; /* 32 bits divide faster */
    uint32_t i = offset / s->slot_size;

    if (offset % s->slot_size != 0 || i >= s->slots || !(s->bitmap[i / 64] >> (i % 64) & 1))
        return false;
    unpoison(slot, s->slot_size);
    OPENSSL_cleanse(slot, s->slot_size);
    poison(slot, s->slot_size);
    s->bitmap[i / 64] &= ~(UINT64_C(1) << (i % 64));
    if (i / 64 < s->hint)
        s->hint = (uint16_t)(i / 64);
    s->used--;
    h->slots_used[s->kind]--;
    h->bytes_used[s->kind] -= s->slot_size;
    if (s->class < CLASSES)
        atomic_fetch_add_explicit(&h->free[s->kind], 1, memory_order_relaxed);
    return true;
}

/* --- slots
 * ---------------------------------------------------------------------------------------------------- */

static unsigned class_of(size_t size)
{
    unsigned c = 0;

    while (c < CLASSES && class_sizes[c] < size)
        c++;
    return c;
}

/* A slot of exactly this class from one shard. */
static void *take_class(struct shard *h, enum arena_kind kind, unsigned class, bool may_grow)
{
    void *slot = NULL;

    (void)pthread_mutex_lock(&h->lock);
    struct slab *s = h->open[kind][class];
    if (!s && may_grow) {
        s = slab_new(h, kind, class, class_sizes[class]);
        if (s) {
            slab_list(s);
            atomic_fetch_add_explicit(&h->free[kind], s->slots, memory_order_relaxed);
            atomic_fetch_add_explicit(&h->empty[kind], 1, memory_order_relaxed);
        }
    }
    if (s)
        slot = slab_take(s);
    (void)pthread_mutex_unlock(&h->lock);
    return slot;
}

/* Whatever slot is large enough, anywhere: used where no more memory can be locked. */
static void *take_anywhere(struct arena *a, enum arena_kind kind, unsigned class)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *h = &a->shards[i];
        if (atomic_load_explicit(&h->free[kind], memory_order_relaxed) == 0)
            continue;
        for (unsigned c = class; c < CLASSES; c++) {
            void *slot = take_class(h, kind, c, false);
            if (slot)
                return slot;
        }
    }
    return NULL;
}

/* Gives up an empty slab of a locked shard. */
static void drop_empty(struct slab *s)
{
    struct shard *h = s->owner;

    atomic_fetch_sub_explicit(&h->free[s->kind], s->slots, memory_order_relaxed);
    atomic_fetch_sub_explicit(&h->empty[s->kind], 1, memory_order_relaxed);
    slab_unlist(s);
    slab_free(s);
}

/* Gives up all empty slabs of a kind, for the sake of another size. Were there any? */
static bool reclaim(struct arena *a, enum arena_kind kind)
{
    bool any = false;

    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *h = &a->shards[i];
        if (atomic_load_explicit(&h->empty[kind], memory_order_relaxed) == 0)
            continue;
        (void)pthread_mutex_lock(&h->lock);
        for (unsigned c = 0; c < CLASSES; c++) {
            for (struct slab *s = h->open[kind][c], *next; s; s = next) {
                next = s->next;
                if (s->used != 0)
                    continue;
                drop_empty(s);
                any = true;
            }
        }
        (void)pthread_mutex_unlock(&h->lock);
    }
    return any;
}

/* One that is larger than the classes: a slab of its own. */
static void *take_large(struct shard *h, enum arena_kind kind, size_t size)
{
    void *slot = NULL;

    (void)pthread_mutex_lock(&h->lock);
    struct slab *s = slab_new(h, kind, CLASSES, size);
    if (s) {
        s->slots = 1;
        s->used = 1;
        s->bitmap[0] = 1;
        h->slots_used[kind]++;
        h->bytes_used[kind] += size;
        slot = (uint8_t *)s + HEAD;
    }
    (void)pthread_mutex_unlock(&h->lock);
    return slot;
}

static void *take(struct shard *h, enum arena_kind kind, unsigned class, size_t size)
{
    if (class == CLASSES)
        return take_large(h, kind, size);
    void *slot = take_class(h, kind, class, true);
    return slot || kind == ARENA_SEALED ? slot : take_anywhere(h->arena, kind, class);
}

void *arena_alloc(enum arena_kind kind, size_t size)
{
    struct arena *a = &the_arena;
    struct shard *h = &a->shards[my_shard()];
    size_t rounded = kind == ARENA_WORK ? (size + 15) & ~(size_t)15 : size;
    int kept = errno;
    void *slot = NULL;

    if (size == 0 || size > (kind == ARENA_WORK ? ARENA_WORK_MAX : ARENA_SLOT_MAX))
        return NULL;
    unsigned class = class_of(rounded);
    if (kind == ARENA_WORK) {
        while (class < CLASSES && class_sizes[class] % 16 != 0)
            class ++;
    }
    slot = take(h, kind, class, rounded);
    if (!slot && kind != ARENA_SEALED && reclaim(a, kind))
        slot = take(h, kind, class, rounded);
    if (slot)
        unpoison(slot, size);
    if (atomic_load_explicit(&a->must_warn, memory_order_relaxed) && atomic_exchange(&a->must_warn, false))
        log_write(LOG_LEVEL_WARNING,
                  "no memory can be locked (RLIMIT_MEMLOCK): keys in use may be swapped out");
    errno = kept;
    return slot;
}

void arena_free(enum arena_kind kind, void *slot)
{
    struct slab *s = slab_of(kind, slot);
    struct shard *h = s->owner;
    int kept = errno;

    if (!h)
        return;
    (void)pthread_mutex_lock(&h->lock);
    bool was_used = slab_give(s, slot);
    if (was_used && s->class == CLASSES) {
        slab_free(s);
    } else if (was_used) {
        if (!s->listed)
            slab_list(s);
        if (s->used == 0)
            atomic_fetch_add_explicit(&h->empty[kind], 1, memory_order_relaxed);
        if (s->used == 0 && (s->next || s->prev)) /* one empty slab of a size is kept for the next use */
            drop_empty(s);
    }
    (void)pthread_mutex_unlock(&h->lock);
    if (!was_used)
        log_write(LOG_LEVEL_ERROR, "secret memory was given back twice");
    errno = kept;
}

const uint8_t *arena_seal_key(const void *slot)
{
    struct arena *a = slot ? slab_of(ARENA_SEALED, slot)->owner->arena : &the_arena;
    uint8_t *now = atomic_load_explicit(&a->seal_key, memory_order_acquire);

    if (now || slot)
        return now;
    uint8_t *made = arena_alloc(ARENA_WORK, SEAL_KEY);
    if (made && !crypto_random_private(made, SEAL_KEY)) {
        arena_free(ARENA_WORK, made);
        made = NULL;
    }
    if (!made)
        return NULL;
    if (atomic_compare_exchange_strong(&a->seal_key, &now, made))
        return made;
    arena_free(ARENA_WORK, made);
    return now;
}

void secret_stats_read(struct secret_stats *stats)
{
    struct arena *a = &the_arena;

    *stats = (struct secret_stats){.locked_bytes = atomic_load(&a->locked),
                                   .unlocked_bytes = atomic_load(&a->unlocked)};
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *h = &a->shards[i];
        (void)pthread_mutex_lock(&h->lock);
        stats->secrets += h->slots_used[ARENA_PLACE] + h->slots_used[ARENA_SEALED];
        stats->sealed += h->slots_used[ARENA_SEALED];
        stats->working_bytes += h->bytes_used[ARENA_WORK];
        (void)pthread_mutex_unlock(&h->lock);
    }
}

void secret_after_fork(void)
{
    struct arena *a = &the_arena;

    crypto_after_fork(); /* secrets are sealed with it */
    /* The mappings stay, all zeros: whoever still holds a pointer finds nothing there, and may even give it
     * back. */
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *h = &a->shards[i];
        (void)pthread_mutex_init(&h->lock, NULL); /* a thread that is not here may have held it */
        memset(h->open, 0, sizeof h->open);
        memset(h->slots_used, 0, sizeof h->slots_used);
        memset(h->bytes_used, 0, sizeof h->bytes_used);
        for (unsigned k = 0; k < ARENA_KINDS; k++) {
            atomic_store(&h->free[k], 0);
            atomic_store(&h->empty[k], 0);
        }
    }
    atomic_store(&a->locked, 0);
    atomic_store(&a->unlocked, 0);
    atomic_store(&a->limit, 0);
    atomic_store(&a->retry_at, 0);
    atomic_store(&a->must_warn, false);
    atomic_store(&a->has_warned, false);
    atomic_store(&a->seal_key, NULL);
}
