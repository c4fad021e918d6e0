/* SPDX-License-Identifier: BSD-2-Clause */
/* A store's beginning and end, and what its files share. */
#include "ppk/store_private.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

bool store_wait_inlock(struct ppk_store *s, pthread_cond_t *cond, uint64_t deadline)
{
    uint64_t left = clock_left_ms(deadline);
    struct timespec until;

    if (!left)
        return false;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    if (left > 3600000)
        left = 3600000; /* the caller looks again */
    until.tv_sec += (time_t)(left / 1000);
    until.tv_nsec += (long)(left % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(cond, &s->lock, &until);
    return true;
}

uint8_t store_remote_inlock(const struct ppk_store *s, const char *remote)
{
    if (!remote)
        return 0;
    for (size_t i = 0; i < REMOTES_MAX; i++)
        if (s->remotes[i].name && strcmp(remote, s->remotes[i].name) == 0)
            return (uint8_t)(i + 1);
    return REMOTE_UNLISTED;
}

void store_remote_take_inlock(struct ppk_store *s, struct ppk *ppk, const char *remote)
{
    size_t at = 0;

    ppk->remote = store_remote_inlock(s, remote);
    if (ppk->remote == REMOTE_UNLISTED) {
        while (at < REMOTES_MAX && s->remotes[at].name)
            at++;
        if (at < REMOTES_MAX && (s->remotes[at].name = strdup(remote)) != NULL)
            ppk->remote = (uint8_t)(at + 1);
    }
    if (ppk->remote && ppk->remote != REMOTE_UNLISTED)
        s->remotes[ppk->remote - 1].ppks++;
}

void store_remote_drop_inlock(struct ppk_store *s, struct ppk *ppk)
{
    struct remote *r = ppk->remote && ppk->remote != REMOTE_UNLISTED ? &s->remotes[ppk->remote - 1] : NULL;

    ppk->remote = REMOTE_UNLISTED;
    if (!r || --r->ppks > 0)
        return;
    free(r->name);
    r->name = NULL;
}

static bool conds_init(struct ppk_store *s)
{
    pthread_condattr_t attr;

    if (pthread_condattr_init(&attr))
        return false;
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    bool made = !pthread_cond_init(&s->changed, &attr);
    if (made && pthread_cond_init(&s->pool_work, &attr)) {
        pthread_cond_destroy(&s->changed);
        made = false;
    }
    pthread_condattr_destroy(&attr);
    return made;
}

struct ppk_store *ppk_store_new(const struct ppk_source *source, const struct ppk_events *events)
{
    struct ppk_store *s = aligned_alloc(_Alignof(struct ppk_store), sizeof *s);
    struct ppk_binding *b;

    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    if (events)
        s->events = *events;
    atomic_store(&s->next_expiry_ms, UINT64_MAX);
    if (!index_init(&s->index))
        goto no_index;
    if (pthread_mutex_init(&s->lock, NULL))
        goto no_lock;
    if (!conds_init(s))
        goto no_conds;
    s->flights = table_new();
    if (misses_init(&s->misses) && s->flights && (b = ppk_store_prepare(s, source)) != NULL) {
        ppk_store_rebind(s, b);
        return s;
    }
    ppk_store_free(s);
    return NULL;
no_conds:
    pthread_mutex_destroy(&s->lock);
no_lock:
    index_destroy(&s->index);
no_index:
    free(s);
    return NULL;
}

void ppk_store_free(struct ppk_store *s)
{
    if (!s)
        return;
    pool_stop(s);
    store_empty(s);
    misses_destroy(&s->misses);
    table_free(s->flights);
    expiry_free(&s->heap);
    if (s->binding)
        binding_unpin(s, s->binding);
    pthread_cond_destroy(&s->changed);
    pthread_cond_destroy(&s->pool_work);
    pthread_mutex_destroy(&s->lock);
    index_destroy(&s->index);
    free(s);
}

void ppk_store_counts(struct ppk_store *s, struct ppk_store_counts *out)
{
    ppk_store_expire(s);
    pthread_mutex_lock(&s->lock);
    *out = s->counts;
    pthread_mutex_unlock(&s->lock);
}
