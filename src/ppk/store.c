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

uint8_t store_remote_inlock(struct ppk_store *s, const struct peer *peer, const char *remote)
{
    if (!remote || (peer->remote_system_id && strcmp(remote, peer->remote_system_id) == 0))
        return 0;
    for (size_t i = 0; i < s->n_remotes; i++)
        if (strcmp(remote, s->remotes[i]) == 0)
            return (uint8_t)(i + 1);
    if (s->n_remotes == REMOTES_MAX)
        return REMOTE_UNLISTED;
    char *copy = strdup(remote);
    if (!copy)
        return REMOTE_UNLISTED;
    s->remotes[s->n_remotes++] = copy;
    return (uint8_t)s->n_remotes;
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
    while (s->n_remotes)
        free(s->remotes[--s->n_remotes]);
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
