/* SPDX-License-Identifier: BSD-2-Clause */
#include "double.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static _Atomic uint64_t forward;

uint64_t clock_ms_coarse(void)
{
    return clock_ms();
}

uint64_t clock_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 + atomic_load(&forward) + 1;
}

uint64_t clock_left_ms(uint64_t deadline_ms)
{
    uint64_t now = clock_ms();

    return deadline_ms > now ? deadline_ms - now : 0;
}

void double_clock_forward(uint64_t ms)
{
    atomic_fetch_add(&forward, ms);
}

void double_init(struct skip_profile *p, const struct sks_profile *conf)
{
    pthread_condattr_t attr;

    memset(p, 0, sizeof *p);
    p->conf = conf;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
}

void double_destroy(struct skip_profile *p)
{
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
}

void double_key(struct skip_profile *p, const char *id, uint8_t value, const char *remote)
{
    pthread_mutex_lock(&p->lock);
    assert_true(p->n_keys < DOUBLE_KEYS);
    snprintf(p->keys[p->n_keys].id, DOUBLE_ID_ROOM, "%s", id);
    snprintf(p->keys[p->n_keys].remote, sizeof p->keys[0].remote, "%s", remote ? remote : "");
    p->keys[p->n_keys++].value = value;
    pthread_mutex_unlock(&p->lock);
}

void double_close(struct skip_profile *p)
{
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    pthread_mutex_unlock(&p->lock);
}

void double_open(struct skip_profile *p)
{
    pthread_mutex_lock(&p->lock);
    p->closed = false;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void double_result(struct skip_profile *p, enum skip_result r)
{
    pthread_mutex_lock(&p->lock);
    p->result = r;
    pthread_mutex_unlock(&p->lock);
}

unsigned double_new_asked(struct skip_profile *p)
{
    pthread_mutex_lock(&p->lock);
    unsigned n = p->new_asked;
    pthread_mutex_unlock(&p->lock);
    return n;
}

unsigned double_id_asked(struct skip_profile *p)
{
    pthread_mutex_lock(&p->lock);
    unsigned n = p->id_asked;
    pthread_mutex_unlock(&p->lock);
    return n;
}

static void wait_inlock(struct skip_profile *p, const unsigned *what, unsigned n)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 10;
    int e = 0;
    while (*what < n && !e)
        e = pthread_cond_timedwait(&p->changed, &p->lock, &until);
    pthread_mutex_unlock(&p->lock);
    assert_int_equal(e, 0);
}

void double_wait_inside(struct skip_profile *p, unsigned n)
{
    pthread_mutex_lock(&p->lock);
    wait_inlock(p, &p->inside, n);
}

void double_wait_new(struct skip_profile *p, unsigned n)
{
    pthread_mutex_lock(&p->lock);
    wait_inlock(p, &p->new_asked, n);
}

/* At the gate, no longer than the deadline. */
static enum skip_result pass_inlock(struct skip_profile *p, uint64_t deadline, struct fault *fault)
{
    p->inside++;
    pthread_cond_broadcast(&p->changed);
    while (p->closed && clock_left_ms(deadline)) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t ms = clock_left_ms(deadline);
        until.tv_sec += (time_t)(ms / 1000);
        until.tv_nsec += (long)(ms % 1000) * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&p->changed, &p->lock, &until);
    }
    p->inside--;
    enum skip_result r = p->closed ? SKIP_UNREACHABLE : p->result;
    if (r != SKIP_OK)
        fault_set(fault, "sks profile %s: the double says %d", p->conf->name, (int)r);
    return r;
}

/* 32 bytes of `value`. */
static enum skip_result give(struct skip_key *out, const char *id, uint8_t value)
{
    uint8_t bytes[32];

    memset(bytes, value, sizeof bytes);
    out->value = secret_new(bytes, sizeof bytes);
    out->key_id = strdup(id);
    out->server = "double:443";
    if (out->value && out->key_id)
        return SKIP_OK;
    skip_key_clear(out);
    return SKIP_NO_MEMORY;
}

static void note(struct skip_profile *p, const char *id, const char *remote)
{
    size_t n = (p->new_asked + p->id_asked) % DOUBLE_ASKED;

    snprintf(p->asked[n], DOUBLE_ID_ROOM, "%s", id);
    snprintf(p->remotes[n], sizeof p->remotes[0], "%s", remote ? remote : "");
}

enum skip_result skip_key_new(struct skip_profile *p, const char *remote, uint32_t size, uint64_t deadline,
                              struct skip_key *out, struct fault *fault)
{
    static _Atomic unsigned serial = 1;
    char id[DOUBLE_ID_ROOM];
    uint8_t value;

    pthread_mutex_lock(&p->lock);
    note(p, "", remote);
    p->new_asked++;
    p->key_bytes = size;
    pthread_cond_broadcast(&p->changed);
    enum skip_result r = pass_inlock(p, deadline, fault);
    if (r == SKIP_OK && p->bad_remote && remote && strcmp(remote, p->bad_remote) == 0)
        r = SKIP_UNREACHABLE;
    unsigned n = serial++;
    snprintf(id, sizeof id, "%032x", n);
    if (p->next_id)
        snprintf(id, sizeof id, "%s", p->next_id);
    p->next_id = NULL;
    value = p->next_value ? p->next_value : (uint8_t)(n | 1);
    pthread_mutex_unlock(&p->lock);
    return r == SKIP_OK ? give(out, id, value) : r;
}

enum skip_result skip_key_by_id(struct skip_profile *p, const char *key_id, const char *remote,
                                uint64_t deadline, struct skip_key *out, struct fault *fault)
{
    char id[DOUBLE_ID_ROOM];
    uint8_t value = 0;

    pthread_mutex_lock(&p->lock);
    note(p, key_id, remote);
    p->id_asked++;
    pthread_cond_broadcast(&p->changed);
    enum skip_result r = pass_inlock(p, deadline, fault);
    for (size_t i = 0; r == SKIP_OK && i < p->n_keys && !value; i++) {
        if (*p->keys[i].remote && (!remote || strcmp(p->keys[i].remote, remote) != 0))
            continue;
        if (strcasecmp(p->keys[i].id, key_id) != 0)
            continue;
        value = p->keys[i].value;
        snprintf(id, sizeof id, "%s", p->keys[i].id);
    }
    if (r == SKIP_OK && !value) {
        r = SKIP_NO_SUCH_KEY;
        fault_set(fault, "sks profile %s: no such key", p->conf->name);
    }
    pthread_mutex_unlock(&p->lock);
    return r == SKIP_OK ? give(out, id, value) : r;
}

void skip_key_clear(struct skip_key *k)
{
    secret_free(k->value);
    free(k->key_id);
    *k = (struct skip_key){0};
}

static void added(void *context, struct ppk *ppk)
{
    struct world *w = context;
    unsigned handle = ++w->added;

    assert_int_equal(ppk->handle, 0);
    ppk->handle = handle;
    if (w->on_added)
        w->on_added(w, ppk);
}

static void removed(void *context, struct ppk *ppk)
{
    struct world *w = context;

    w->removed++;
    assert_int_not_equal(ppk->handle, 0);
    if (w->on_removed)
        w->on_removed(w, ppk);
}

bool skip_profile_interrupted(struct skip_profile *p)
{
    (void)p;
    return false;
}

void world_make(struct world *w, size_t n_profiles, size_t n_peers)
{
    static char names[4][8] = {"ks0", "ks1", "ks2", "ks3"};

    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    w->keyring.name = (char *)(size_t) "ring";
    w->keyring.peers = calloc(n_peers, sizeof *w->keyring.peers);
    assert_non_null(w->keyring.peers);
    w->keyring.n_peers = n_peers;
    for (size_t i = 0; i < n_profiles; i++) {
        w->profiles[i] = (struct sks_profile){.name = names[i],
                                              .timeout_ms = 5000,
                                              .key_size = 256,
                                              .lifetime_s = 3600,
                                              .lookups = SKS_LOOKUPS,
                                              .lookups_s = SKS_LOOKUPS_S};
        double_init(&w->sources[i], &w->profiles[i]);
        w->running[i] = &w->sources[i];
    }
    for (size_t i = 0; i < n_peers; i++) {
        struct peer *p = &w->keyring.peers[i];
        p->keyring = &w->keyring;
        assert_true(asprintf(&p->name, "peer%zu", i) > 0);
        p->dynamic = &w->profiles[i % n_profiles];
    }
    w->configuration = (struct configuration){
        .keyrings = &w->keyring, .n_keyrings = 1, .profiles = w->profiles, .n_profiles = n_profiles};
}

bool world_store(struct world *w)
{
    const struct ppk_events events = {.added = added, .removed = removed, .context = w};

    void **tags = calloc(w->keyring.n_peers + 1, sizeof(void *));
    const struct ppk_source source = {
        .configuration = &w->configuration, .keyring = &w->keyring, .profiles = w->running, .tags = tags};

    for (size_t i = 0; tags && i < w->keyring.n_peers; i++)
        tags[i] = &w->keyring.peers[i];
    w->store = tags ? ppk_store_new(&source, &events) : NULL;
    free((void *)tags);
    return w->store;
}

void world_end(struct world *w)
{
    ppk_store_free(w->store);
    assert_int_equal(w->added, w->removed);
    for (size_t i = 0; i < w->configuration.n_profiles; i++)
        double_destroy(&w->sources[i]);
    for (size_t i = 0; i < w->keyring.n_peers; i++)
        free(w->keyring.peers[i].name);
    free(w->keyring.peers);
    pthread_mutex_destroy(&w->lock);
}

struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}
