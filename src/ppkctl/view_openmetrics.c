/* SPDX-License-Identifier: BSD-2-Clause */
/* Status as OpenMetrics: the sums over all processes, and those that have ended, so that no counter goes
 * backwards, and there are as many series as there are keyrings and sks profiles, however processes come and
 * go. */
#include "ppkctl/view.h"

#include <inttypes.h>
#include <stdio.h>

/* A label's value: printable, and escaped once more as the format wants it. */
static void label(struct text *out, const char *name, const char *value)
{
    struct text shown = {0};

    view_text(&shown, value);
    text_printf(out, "%s=\"", name);
    for (const char *s = shown.s; s != NULL && *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            text_append(out, "\\", 1);
        text_append(out, s, 1);
    }
    text_printf(out, "\"");
    text_free(&shown);
}

static void family(struct text *out, const char *name, const char *type, const char *unit, const char *help)
{
    text_printf(out, "# TYPE %s %s\n", name, type);
    if (unit != NULL)
        text_printf(out, "# UNIT %s %s\n", name, unit);
    text_printf(out, "# HELP %s %s\n", name, help);
}

/* The start of a sample: "NAME{OWNER="NAME"", with the brace still open. */
static void sample(struct text *out, const char *name, const char *owner, const char *owner_name)
{
    text_printf(out, "%s{", name);
    label(out, owner, owner_name);
}

/* ---- keyrings ---- */

static const struct {
    const char *name;
    bool counter;
    enum status_keyring_number number;
    const char *help;
} keyring_metrics[] = {
    {"ppk_sessions", false, STATUS_SESSIONS, "Open PKCS#11 sessions."},
    {"ppk_peers", false, STATUS_PEERS, "Configured peers."},
    {"ppk_peers_required", false, STATUS_PEERS_REQUIRED, "Configured peers that must not be without a PPK."},
    {"ppk_keys_manual", false, STATUS_MANUAL, "Configured manual PPKs."},
    {"ppk_keys_held", false, STATUS_HELD, "Dynamic PPKs that are held."},
    {"ppk_keys_unused", false, STATUS_UNUSED, "Dynamic PPKs that are held and were not used yet."},
    {"ppk_keys_pooled", false, STATUS_POOLED, "Dynamic PPKs that were fetched ahead."},
    {"ppk_keys_fetched", true, STATUS_FETCHED, "New dynamic PPKs that were fetched."},
    {"ppk_keys_fetched_by_id", true, STATUS_FETCHED_BY_ID, "Dynamic PPKs that were fetched by their ID."},
    {"ppk_keys_used", true, STATUS_USED, "Dynamic PPKs that were used."},
    {"ppk_keys_expired", true, STATUS_EXPIRED, "Dynamic PPKs that expired."},
    {"ppk_keys_destroyed", true, STATUS_DESTROYED, "Dynamic PPKs that were destroyed by a caller."},
    {"ppk_identity_mismatches", true, STATUS_MISMATCHES, "PPK IDs that no key source knew."},
    {"ppk_retrieve_failures", true, STATUS_FAILURES, "PPKs that could not be retrieved."},
    {"ppk_retrieve_failures_required", true, STATUS_FAILURES_REQUIRED,
     "PPKs that could not be retrieved, of peers that require one."},
    {"ppk_ike_sas_dynamic", true, STATUS_SAS_DYNAMIC,
     "IKE SAs that came up with a dynamic PPK, as the IKE stack told."},
    {"ppk_ike_sas_manual", true, STATUS_SAS_MANUAL,
     "IKE SAs that came up with a manual PPK, as the IKE stack told."},
    {"ppk_authentication_failures", true, STATUS_AUTH_FAILURES,
     "Authentications with a PPK that failed, as the IKE stack told."},
    {"ppk_authentication_failures_required", true, STATUS_AUTH_FAILURES_REQUIRED,
     "Authentications with a PPK that failed, of peers that require one."},
};

static void keyrings_write(const struct view *v, struct text *out)
{
    for (size_t m = 0; m < sizeof keyring_metrics / sizeof keyring_metrics[0]; m++) {
        bool counter = keyring_metrics[m].counter;
        char name[64];

        family(out, keyring_metrics[m].name, counter ? "counter" : "gauge", NULL, keyring_metrics[m].help);
        (void)snprintf(name, sizeof name, "%s%s", keyring_metrics[m].name, counter ? "_total" : "");
        for (size_t k = 0; k < v->sum.n_keyrings; k++) {
            sample(out, name, "keyring", v->sum.keyrings[k].name);
            text_printf(out, "} %" PRIu64 "\n", v->sum.keyrings[k].n[keyring_metrics[m].number]);
        }
    }
}

/* ---- requests ---- */

static uint64_t of_total(const struct status_request *r)
{
    return r->total;
}

static uint64_t of_passed(const struct status_request *r)
{
    return r->passed;
}

static uint64_t of_failed(const struct status_request *r)
{
    return r->failed;
}

static const struct {
    const char *name, *help;
    uint64_t (*of)(const struct status_request *r);
} request_metrics[] = {
    {"ppk_requests", "Requests to key sources.", of_total},
    {"ppk_requests_passed", "Requests to key sources that passed.", of_passed},
    {"ppk_requests_failed", "Requests to key sources that failed.", of_failed},
};

static void requests_write(const struct view *v, struct text *out)
{
    for (size_t m = 0; m < sizeof request_metrics / sizeof request_metrics[0]; m++) {
        char name[64];

        family(out, request_metrics[m].name, "counter", NULL, request_metrics[m].help);
        (void)snprintf(name, sizeof name, "%s_total", request_metrics[m].name);
        for (size_t k = 0; k < v->sum.n_profiles; k++) {
            const struct status_profile *p = &v->sum.profiles[k];
            for (size_t r = 0; r < STATUS_REQUESTS; r++) {
                sample(out, name, "profile", p->name);
                text_printf(out, ",kind=\"%s\"} %" PRIu64 "\n", status_request_names[r],
                            request_metrics[m].of(&p->requests[r]));
            }
        }
    }
}

/* ---- latency ---- */

#define DURATION "ppk_request_duration_seconds"
enum { EVERY = 4 /* a doubling */ };

static void duration_write(const struct status_profile *profile, size_t kind, struct text *out)
{
    const struct status_request *r = &profile->requests[kind];
    uint64_t below = 0;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        below = below > UINT64_MAX - r->latency[i] ? UINT64_MAX : below + r->latency[i];
        if (i % EVERY != 0 && i + 1 < HISTOGRAM_BUCKETS)
            continue;
        sample(out, DURATION "_bucket", "profile", profile->name);
        text_printf(out, ",kind=\"%s\",le=\"", status_request_names[kind]);
        if (i + 1 < HISTOGRAM_BUCKETS)
            text_printf(out, "%.6f", (double)histogram_limit(i) / 1e6);
        else
            text_printf(out, "+Inf");
        text_printf(out, "\"} %" PRIu64 "\n", below);
    }
    sample(out, DURATION "_count", "profile", profile->name);
    text_printf(out, ",kind=\"%s\"} %" PRIu64 "\n", status_request_names[kind], below);
    sample(out, DURATION "_sum", "profile", profile->name);
    text_printf(out, ",kind=\"%s\"} %.6f\n", status_request_names[kind], (double)r->latency_us / 1e6);
}

static void durations_write(const struct view *v, struct text *out)
{
    family(out, DURATION, "histogram", "seconds", "How long the requests took that passed.");
    for (size_t k = 0; k < v->sum.n_profiles; k++)
        for (size_t r = 0; r < STATUS_REQUESTS; r++)
            duration_write(&v->sum.profiles[k], r, out);
}

/* ---- servers, processes ---- */

static void servers_write(const struct view *v, struct text *out)
{
    family(out, "ppk_server_up", "gauge", NULL, "1: the server answered last, everywhere; 0: it failed.");
    for (size_t k = 0; k < v->sum.n_profiles; k++) {
        const struct status_profile *p = &v->sum.profiles[k];
        for (size_t s = 0; s < p->n_servers; s++) {
            if (p->servers[s].state == STATUS_SERVER_IDLE)
                continue; /* nobody knows */
            sample(out, "ppk_server_up", "profile", p->name);
            text_printf(out, ",");
            label(out, "server", p->servers[s].name);
            text_printf(out, "} %d\n", p->servers[s].state == STATUS_SERVER_UP);
        }
    }
}

void view_openmetrics(const struct view *v, struct text *out)
{
    family(out, "ppk_processes", "gauge", NULL, "Processes that use the token.");
    text_printf(out, "ppk_processes{state=\"live\"} %" PRIu64 "\nppk_processes{state=\"dead\"} %" PRIu64 "\n",
                v->live, v->dead);
    keyrings_write(v, out);
    requests_write(v, out);
    durations_write(v, out);
    servers_write(v, out);
    text_printf(out, "# EOF\n");
}
