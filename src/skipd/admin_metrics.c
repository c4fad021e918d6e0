/* SPDX-License-Identifier: BSD-2-Clause */
/* What is counted and measured, as OpenMetrics 1.0. */
#include "base/clock.h"
#include "skipd/admin.h"
#include "skipd/statistics.h"

#include <string.h>

typedef unsigned long long ull;

static void family(struct text *out, const char *name, const char *type, const char *help)
{
    text_printf(out, "# TYPE skipd_%s %s\n# HELP skipd_%s %s\n", name, type, name, help);
}

/* A label with its value, escaped. */
static void label(struct text *out, const char *name, const char *value)
{
    char shown[1024];

    text_printable(shown, sizeof shown, value, strlen(value));
    text_printf(out, "%s=\"", name);
    for (const char *p = shown; *p != '\0'; p++)
        text_printf(out, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
    text_printf(out, "\"");
}

static void number(struct text *out, const char *name, const char *type, const char *help, uint64_t value)
{
    family(out, name, type, help);
    text_printf(out, "skipd_%s%s %llu\n", name, strcmp(type, "counter") == 0 ? "_total" : "", (ull)value);
}

/* Of what a client has ever asked for, all outcomes. */
static void client_requests(struct text *out, const struct client_counts *c)
{
    for (unsigned d = 0; d < REQUEST_DIALECTS; d++)
        for (unsigned k = 0; k < REQUEST_KINDS; k++) {
            uint64_t sum = 0;

            for (unsigned o = 0; o < REQUEST_OUTCOMES; o++)
                sum += c->requests[d][k][o];
            for (unsigned o = 0; sum > 0 && o < REQUEST_OUTCOMES; o++) {
                text_printf(out, "skipd_requests_total{");
                label(out, "client", c->name);
                text_printf(out, ",dialect=\"%s\",kind=\"%s\",outcome=\"%s\"} %llu\n",
                            request_dialect_names[d], request_kind_names[k], request_outcome_names[o],
                            (ull)c->requests[d][k][o]);
            }
        }
}

static void clients(struct text *out)
{
    const struct client_counts *c = NULL;

    family(out, "requests", "counter", "Answered requests; without a client: of those who are none.");
    for (size_t i = 0; (c = statistics_client(i)) != NULL; i++)
        client_requests(out, c);
    family(out, "deliveries", "counter",
           "Keys given to clients: new ones to initiators, by their ID to responders.");
    for (size_t i = 0; (c = statistics_client(i)) != NULL; i++)
        for (unsigned k = REQUEST_KEY; k <= REQUEST_KEY_BY_ID; k++) {
            text_printf(out, "skipd_deliveries_total{");
            label(out, "client", c->name);
            text_printf(out, ",role=\"%s\"} %llu\n", k == REQUEST_KEY ? "initiator" : "responder",
                        (ull)client_counts_sum(c, k, OUTCOME_OK));
        }
}

static void peer_results(struct text *out, const char *name, const struct peer_counts *p,
                         const uint64_t *counts, unsigned n)
{
    for (unsigned r = 0; r < n; r++) {
        text_printf(out, "skipd_%s_total{", name);
        label(out, "peer", p->name);
        text_printf(out, ",result=\"%s\"} %llu\n", sync_result_names[r], (ull)counts[r]);
    }
}

static void peer_latency(struct text *out, const struct peer_counts *p)
{
    uint64_t sum = 0;

    for (unsigned b = 0; b < STATISTICS_BUCKETS; b++) {
        sum += p->latency[b];
        text_printf(out, "skipd_sync_seconds_bucket{");
        label(out, "peer", p->name);
        if (b < STATISTICS_BUCKETS - 1)
            text_printf(out, ",le=\"%u.%03u\"} %llu\n", statistics_bounds_ms[b] / 1000,
                        statistics_bounds_ms[b] % 1000, (ull)sum);
        else
            text_printf(out, ",le=\"+Inf\"} %llu\n", (ull)sum);
    }
    text_printf(out, "skipd_sync_seconds_sum{");
    label(out, "peer", p->name);
    text_printf(out, "} %llu.%03llu\nskipd_sync_seconds_count{", (ull)p->latency_sum_ms / 1000,
                (ull)p->latency_sum_ms % 1000);
    label(out, "peer", p->name);
    text_printf(out, "} %llu\n", (ull)sum);
}

static void peers(const struct service *s, struct text *out)
{
    const struct skipd_conf *conf = service_conf(s);
    const struct peer_counts *p = NULL;

    family(out, "keys_sent", "counter", "Keys of our clients that were sent to a peer, by its answer.");
    for (size_t i = 0; (p = statistics_peer(i)) != NULL; i++)
        peer_results(out, "keys_sent", p, p->sent, SYNC_RESULTS + 1);
    family(out, "keys_received", "counter", "Keys that a peer has sent for our clients, by our answer.");
    for (size_t i = 0; (p = statistics_peer(i)) != NULL; i++)
        peer_results(out, "keys_received", p, p->received, SYNC_RESULTS);
    text_printf(out,
                "# TYPE skipd_sync_seconds histogram\n# UNIT skipd_sync_seconds seconds\n"
                "# HELP skipd_sync_seconds Time until a peer confirmed that it has a key on its disk.\n");
    for (size_t i = 0; (p = statistics_peer(i)) != NULL; i++)
        peer_latency(out, p);
    family(out, "link_up", "gauge", "Whether the link to a peer is up.");
    for (size_t i = 0; i < conf->n_peers; i++) {
        const char *why = NULL;

        if (conf->peers[i].n_addresses == 0)
            continue;
        text_printf(out, "skipd_link_up{");
        label(out, "peer", conf->peers[i].name);
        text_printf(out, "} %d\n", service_link_is_up(s, &conf->peers[i], &why));
    }
}

void admin_metrics(const struct service *s, struct text *out)
{
    const struct statistics_totals *t = statistics_totals();
    struct store_queue_state store = {0};

    store_queue_state(service_queue(s), &store);
    family(out, "build", "info", "The program, and the system ID that it serves.");
    text_printf(out, "skipd_build_info{version=\"" PPK_VERSION "\",");
    label(out, "system_id", service_conf(s)->system_id);
    text_printf(out, "} 1\n");
    number(out, "start_time_seconds", "gauge", "When the process began, in seconds since 1970.",
           t->began_unix);
    number(out, "uptime_seconds", "gauge", "How long it runs.", (clock_ms() - t->began_ms) / 1000);
    clients(out);
    peers(s, out);
    number(out, "keys_waiting", "gauge", "Keys that wait for being fetched by their ID.", store.waiting);
    number(out, "keys_limit", "gauge", "Keys that may wait.", service_conf(s)->max_keys);
    number(out, "store_queue", "gauge", "Operations of the store that are not done yet.", store.depth);
    number(out, "store_up", "gauge", "Whether the store works.", store.fault.text[0] == '\0');
    number(out, "store_failures", "counter", "Operations that the store could not do.", t->store_failures);
    number(out, "connections_open", "gauge", "Connections of clients that are open.", t->open);
    number(out, "connections", "counter", "Connections of clients that were accepted.", t->connections);
    number(out, "handshakes_failed", "counter", "Of these, those that ended before TLS was established.",
           t->handshakes_failed);
    text_printf(out, "# EOF\n");
}
