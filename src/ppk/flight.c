/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppk/flight.h"

#include <stdlib.h>
#include <string.h>

struct flight *flight_begin_inlock(struct ppk_store *s, struct span key, uint64_t profile, const char *remote)
{
    size_t remote_size = remote ? strlen(remote) + 1 : 0;
    struct flight *f = malloc(sizeof *f + key.len + remote_size);
    pthread_condattr_t attr;

    if (!f)
        return NULL;
    *f = (struct flight){.key = {f->bytes, key.len}, .refs = 1, .profile = profile};
    memcpy(f->bytes, key.data, key.len);
    if (remote)
        f->remote = memcpy(f->bytes + key.len, remote, remote_size);
    if (pthread_condattr_init(&attr)) {
        free(f);
        return NULL;
    }
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    bool made = !pthread_cond_init(&f->ended, &attr);
    pthread_condattr_destroy(&attr);
    if (made && !table_add(s->flights, f->key, f)) {
        pthread_cond_destroy(&f->ended);
        made = false;
    }
    if (made)
        return f;
    free(f);
    return NULL;
}

void flight_leave_inlock(struct flight *f)
{
    if (--f->refs)
        return;
    ppk_release(f->ppk);
    pthread_cond_destroy(&f->ended);
    free(f);
}

void flight_end_inlock(struct ppk_store *s, struct flight *f, enum ppk_result result, struct ppk *ppk,
                       const struct fault *fault)
{
    table_remove(s->flights, f->key);
    f->done = true;
    f->result = result;
    f->ppk = ppk;
    if (ppk)
        ppk_ref(ppk);
    if (fault)
        f->fault = *fault;
    pthread_cond_broadcast(&f->ended);
    flight_leave_inlock(f);
}

bool flight_join_inlock(struct ppk_store *s, struct flight *f, uint64_t deadline)
{
    f->refs++;
    while (!f->done)
        if (!store_wait_inlock(s, &f->ended, deadline))
            return f->done;
    return true;
}

struct flight *flight_find_inlock(const struct ppk_store *s, struct span key)
{
    return table_get(s->flights, key);
}
