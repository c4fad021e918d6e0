/* SPDX-License-Identifier: BSD-2-Clause */
/* Sums over processes. */
#include "status/status.h"

#include <stdlib.h>
#include <string.h>

static void add(uint64_t *to, uint64_t n)
{
    *to = *to > UINT64_MAX - n ? UINT64_MAX : *to + n;
}

/* Copies a text over another; NULL copies nothing. */
static bool text_take(char **to, const char *from)
{
    char *copy;

    if (from == NULL)
        return true;
    copy = strdup(from);
    if (copy == NULL)
        return false;
    free(*to);
    *to = copy;
    return true;
}

static bool error_take(char **to, int64_t *to_at, const char *error, int64_t at)
{
    if (error == NULL || (*to != NULL && *to_at > at))
        return true;
    *to_at = at;
    return text_take(to, error);
}

static bool capabilities_take(struct status_server *to, const struct status_server *from)
{
    struct status_capabilities *c = &to->capabilities;

    if (to->told || !from->told)
        return true;
    to->told = true;
    c->entropy = from->capabilities.entropy;
    c->key = from->capabilities.key;
    for (size_t i = 0; i < from->capabilities.n_remotes; i++)
        if (!status_remote_add(c, from->capabilities.remotes[i]))
            return false;
    return text_take(&c->algorithm, from->capabilities.algorithm) &&
           text_take(&c->local, from->capabilities.local);
}

static bool server_add(struct status_profile *to, const struct status_server *from)
{
    struct status_server *s = NULL;

    for (size_t i = 0; i < to->n_servers && s == NULL; i++)
        if (strcmp(to->servers[i].name, from->name) == 0)
            s = &to->servers[i];
    if (s == NULL)
        s = status_server_add(to, from->name);
    if (s == NULL)
        return false;
    if (from->state > s->state)
        s->state = from->state;
    if (from->failures > s->failures)
        s->failures = from->failures;
    return error_take(&s->last_error, &s->last_error_at, from->last_error, from->last_error_at) &&
           capabilities_take(s, from);
}

static bool profile_add(struct status_process *sum, const struct status_profile *from)
{
    struct status_profile *p = NULL;

    for (size_t i = 0; i < sum->n_profiles && p == NULL; i++)
        if (strcmp(sum->profiles[i].name, from->name) == 0)
            p = &sum->profiles[i];
    if (p == NULL)
        p = status_profile_add(sum, from->name);
    if (p == NULL || !text_take(&p->type, from->type) ||
        !text_take(&p->local_system_id, from->local_system_id) ||
        !error_take(&p->last_error, &p->last_error_at, from->last_error, from->last_error_at))
        return false;
    for (size_t i = 0; i < STATUS_REQUESTS; i++) {
        add(&p->requests[i].total, from->requests[i].total);
        add(&p->requests[i].passed, from->requests[i].passed);
        add(&p->requests[i].failed, from->requests[i].failed);
        add(&p->requests[i].latency_us, from->requests[i].latency_us);
        for (size_t k = 0; k < HISTOGRAM_BUCKETS; k++)
            add(&p->requests[i].latency[k], from->requests[i].latency[k]);
    }
    for (size_t i = 0; i < from->n_servers; i++)
        if (!server_add(p, &from->servers[i]))
            return false;
    return true;
}

static bool keyring_add(struct status_process *sum, const struct status_keyring *from)
{
    struct status_keyring *k = NULL;

    for (size_t i = 0; i < sum->n_keyrings && k == NULL; i++)
        if (strcmp(sum->keyrings[i].name, from->name) == 0)
            k = &sum->keyrings[i];
    if (k == NULL)
        k = status_keyring_add(sum, from->name);
    if (k == NULL)
        return false;
    for (size_t i = 0; i < STATUS_NUMBERS; i++) {
        if (i >= STATUS_CONFIGURED_FIRST && i <= STATUS_CONFIGURED_LAST) {
            if (from->n[i] > k->n[i])
                k->n[i] = from->n[i];
        } else {
            add(&k->n[i], from->n[i]);
        }
    }
    return true;
}

bool status_add(struct status_process *sum, const struct status_process *p)
{
    for (size_t i = 0; i < p->n_keyrings; i++)
        if (!keyring_add(sum, &p->keyrings[i]))
            return false;
    for (size_t i = 0; i < p->n_profiles; i++)
        if (!profile_add(sum, &p->profiles[i]))
            return false;
    return true;
}

void status_end(struct status_process *p)
{
    for (size_t i = 0; i < p->n_keyrings; i++) {
        uint64_t *n = p->keyrings[i].n;
        n[STATUS_SESSIONS] = n[STATUS_HELD] = n[STATUS_UNUSED] = n[STATUS_POOLED] = 0;
    }
    for (size_t i = 0; i < p->n_profiles; i++)
        for (size_t k = 0; k < p->profiles[i].n_servers; k++)
            p->profiles[i].servers[k].state = STATUS_SERVER_IDLE;
}
