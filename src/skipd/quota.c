/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/quota.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

/* Tokens are counted in thousandths, since time is in milliseconds. */
#define TOKEN 1000

struct quota {
    char client[65];
    size_t connections, surplus, requests;
    uint64_t tokens, filled; /* filled: clock_ms() */
    struct quota *next;
};

struct quotas {
    struct quota *first;
};

struct quotas *quotas_new(void)
{
    return calloc(1, sizeof(struct quotas));
}

void quotas_free(struct quotas *all)
{
    struct quota *next = NULL;

    for (struct quota *q = all != NULL ? all->first : NULL; q != NULL; q = next) {
        next = q->next;
        free(q);
    }
    free(all);
}

void quotas_trim(struct quotas *all, const struct skipd_conf *conf)
{
    for (struct quota **at = &all->first, *q = NULL; (q = *at) != NULL;) {
        bool used = q->connections > 0 || q->surplus > 0 || q->requests > 0;

        for (size_t i = 0; !used && i < conf->n_clients; i++)
            used = strcmp(conf->clients[i].name, q->client) == 0;
        if (used) {
            at = &q->next;
        } else {
            *at = q->next;
            free(q);
        }
    }
}

struct quota *quota_connected(struct quotas *all, const char *client, size_t most, bool *surplus)
{
    struct quota *q = all->first;

    while (q != NULL && strcmp(q->client, client) != 0)
        q = q->next;
    if (q == NULL) {
        q = calloc(1, sizeof *q);
        if (q == NULL)
            return NULL;
        memcpy(q->client, client, strnlen(client, sizeof q->client - 1));
        q->tokens = UINT64_MAX; /* a full bucket, whatever it holds */
        q->next = all->first;
        all->first = q;
    }
    *surplus = q->connections >= most;
    ++*(*surplus ? &q->surplus : &q->connections);
    return q;
}

void quota_disconnected(struct quota *q, bool surplus)
{
    --*(surplus ? &q->surplus : &q->connections);
}

size_t quota_connections(const struct quota *q)
{
    return q->connections;
}

size_t quota_surplus(const struct quota *q)
{
    return q->surplus;
}

enum quota_answer quota_request(struct quota *q, const struct request_limit *limit)
{
    const uint64_t full = (uint64_t)limit->per_second * TOKEN, now = clock_ms();
    const uint64_t since = now - q->filled < TOKEN ? now - q->filled : TOKEN;

    q->filled = now;
    q->tokens = q->tokens < full ? q->tokens + since * limit->per_second : full;
    if (q->tokens > full)
        q->tokens = full;
    if (q->requests >= limit->in_flight)
        return QUOTA_IN_FLIGHT;
    if (q->tokens < TOKEN)
        return QUOTA_RATE;
    q->tokens -= TOKEN;
    q->requests++;
    return QUOTA_OK;
}

void quota_answered(struct quota *q)
{
    q->requests--;
}
