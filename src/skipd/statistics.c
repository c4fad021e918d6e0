/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/statistics.h"

#include "base/clock.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *const request_kind_names[REQUEST_KINDS] = {"other", "capabilities", "key", "key_by_id",
                                                       "entropy"};
const char *const request_outcome_names[REQUEST_OUTCOMES] = {
    "ok", "rejected", "forbidden", "not_found", "limited", "unavailable", "failed"};
const char *const request_dialect_names[REQUEST_DIALECTS] = {"skip", "etsi014"};
const char *const sync_result_names[SYNC_RESULTS + 1] = {
    [SYNC_OK] = "ok",           [SYNC_CONFLICT] = "conflict", [SYNC_DELIVERED] = "delivered",
    [SYNC_UNKNOWN] = "unknown", [SYNC_FULL] = "full",         [SYNC_FAILED] = "failed",
    [SYNC_NO_ANSWER] = "down"};
const uint32_t statistics_bounds_ms[STATISTICS_BUCKETS - 1] = {1,   2,   5,   10,   25,  50,
                                                               100, 250, 500, 1000, 2500};

/* Counts by name: a list in the order of coming, and a table over it. */
struct named {
    struct table *table;
    void **list;
    size_t n;
};

static struct {
    struct statistics_totals totals;
    struct named clients, peers;
    struct minute_counts minutes[STATISTICS_MINUTES]; /* a ring */
    uint64_t minute;                                  /* the present one, since the process began */
} counted;

static void *named_find(const struct named *n, const char *name)
{
    return n->table != NULL ? table_get(n->table, (struct span){(const uint8_t *)name, strlen(name)}) : NULL;
}

/* The counts of this name; `size`: of the struct, whose first member is its name. NULL: no memory. */
static void *named_get(struct named *n, const char *name, size_t size)
{
    void *counts = named_find(n, name), **list = NULL;
    char *copy = NULL;

    if (counts != NULL)
        return counts;
    if (n->table == NULL)
        n->table = table_new();
    list = n->table != NULL ? reallocarray(n->list, n->n + 1, sizeof *list) : NULL;
    if (list == NULL)
        return NULL;
    n->list = list;
    counts = calloc(1, size);
    copy = strdup(name);
    if (counts == NULL || copy == NULL ||
        !table_add(n->table, (struct span){(const uint8_t *)copy, strlen(copy)}, counts)) {
        free(counts);
        free(copy);
        return NULL;
    }
    *(char **)counts = copy;
    n->list[n->n++] = counts;
    return counts;
}

static void named_free(struct named *n)
{
    table_free(n->table);
    for (size_t i = 0; i < n->n; i++) {
        free(*(char **)n->list[i]);
        free(n->list[i]);
    }
    free(n->list);
}

/* The present minute's counts; those in between are wiped. */
static struct minute_counts *minute_now(void)
{
    uint64_t now = (clock_ms() - counted.totals.began_ms) / 60000;

    if (now > counted.minute + STATISTICS_MINUTES)
        counted.minute = now - STATISTICS_MINUTES;
    while (counted.minute < now)
        counted.minutes[++counted.minute % STATISTICS_MINUTES] = (struct minute_counts){0};
    return &counted.minutes[now % STATISTICS_MINUTES];
}

void statistics_begin(void)
{
    counted.totals.began_ms = clock_ms();
    counted.totals.began_unix = (uint64_t)time(NULL);
}

static enum request_outcome outcome_of(int status)
{
    switch (status) {
    case 200:
        return OUTCOME_OK;
    case 401:
    case 403:
        return OUTCOME_FORBIDDEN;
    case 404:
    case 405:
        return OUTCOME_NOT_FOUND;
    case 429:
        return OUTCOME_LIMITED;
    case 503:
        return OUTCOME_UNAVAILABLE;
    default:
        return status < 500 ? OUTCOME_REJECTED : OUTCOME_FAILED;
    }
}

void statistics_request(const char *client, enum request_dialect dialect, enum request_kind kind, int status)
{
    struct client_counts *c = named_get(&counted.clients, client != NULL ? client : "", sizeof *c);
    enum request_outcome outcome = outcome_of(status);

    if (outcome != OUTCOME_OK)
        minute_now()->failed++;
    else if (kind == REQUEST_KEY || kind == REQUEST_KEY_BY_ID)
        minute_now()->delivered++;
    if (c == NULL)
        return;
    c->requests[dialect][kind][outcome]++;
    c->last_ms = clock_ms();
}

void statistics_connected(void)
{
    counted.totals.connections++;
    counted.totals.open++;
}

void statistics_disconnected(bool established)
{
    counted.totals.open--;
    if (established)
        return;
    counted.totals.handshakes_failed++;
    minute_now()->failed++;
}

void statistics_sent(const char *peer, unsigned result, uint64_t ms)
{
    struct peer_counts *p = named_get(&counted.peers, peer, sizeof *p);
    size_t bucket = 0;

    if (p == NULL)
        return;
    p->sent[result]++;
    if (result != SYNC_OK)
        return;
    while (bucket < STATISTICS_BUCKETS - 1 && ms > statistics_bounds_ms[bucket])
        bucket++;
    p->latency[bucket]++;
    p->latency_sum_ms += ms;
}

void statistics_received(const char *peer, enum sync_result result)
{
    struct peer_counts *p = named_get(&counted.peers, peer, sizeof *p);

    if (p != NULL)
        p->received[result]++;
}

void statistics_store_failed(void)
{
    counted.totals.store_failures++;
}

const struct statistics_totals *statistics_totals(void)
{
    return &counted.totals;
}

const struct client_counts *statistics_client(size_t i)
{
    return i < counted.clients.n ? counted.clients.list[i] : NULL;
}

const struct peer_counts *statistics_peer(size_t i)
{
    return i < counted.peers.n ? counted.peers.list[i] : NULL;
}

const struct client_counts *statistics_client_find(const char *name)
{
    return named_find(&counted.clients, name);
}

const struct peer_counts *statistics_peer_find(const char *name)
{
    return named_find(&counted.peers, name);
}

uint64_t client_counts_sum(const struct client_counts *c, unsigned kind, unsigned outcome)
{
    uint64_t sum = 0;

    for (unsigned d = 0; d < REQUEST_DIALECTS; d++)
        for (unsigned k = 0; k < REQUEST_KINDS; k++)
            for (unsigned o = 0; o < REQUEST_OUTCOMES; o++)
                if ((kind == REQUEST_KINDS || k == kind) && (outcome == REQUEST_OUTCOMES || o == outcome))
                    sum += c->requests[d][k][o];
    return sum;
}

void statistics_minutes(struct minute_counts out[static STATISTICS_MINUTES])
{
    minute_now();
    for (uint64_t i = 0; i < STATISTICS_MINUTES; i++)
        out[i] = counted.minutes[(counted.minute + 1 + i) % STATISTICS_MINUTES];
}

void statistics_end(void)
{
    named_free(&counted.clients);
    named_free(&counted.peers);
    memset(&counted, 0, sizeof counted);
}
