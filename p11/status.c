/* SPDX-License-Identifier: BSD-2-Clause */
/* What this process publishes of itself. */
#include "p11/gate.h"
#include "p11/generation.h"
#include "status/publisher.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)STATUS_REQUESTS == (int)SKIP_REQUESTS, "the names of the requests are SKIP's");

static bool text_copy(char **to, const char *from)
{
    if (from == NULL || from[0] == '\0')
        return true;
    *to = strdup(from);
    return *to != NULL;
}

static bool capabilities_collect(struct status_server *to, const struct skip_capabilities *c)
{
    if (c == NULL)
        return true;
    to->told = true;
    to->capabilities.entropy = c->entropy;
    to->capabilities.key = c->key;
    for (char **id = c->remote_system_ids; id != NULL && *id != NULL; id++)
        if (!status_remote_add(&to->capabilities, *id))
            return false;
    return text_copy(&to->capabilities.algorithm, c->algorithm) &&
           text_copy(&to->capabilities.local, c->local_system_id);
}

static bool server_collect(struct skip_profile *from, size_t i, struct status_profile *to)
{
    struct skip_server_status status;
    struct skip_capabilities *capabilities = skip_profile_capabilities(from, i);
    struct status_server *s;
    bool good;

    skip_profile_status(from, i, &status);
    s = status_server_add(to, status.server);
    good =
        s != NULL && capabilities_collect(s, capabilities) && text_copy(&s->last_error, status.reason.text);
    skip_capabilities_free(capabilities);
    if (!good)
        return false;
    s->state = status.failures > 0 ? STATUS_SERVER_DOWN
               : status.asked      ? STATUS_SERVER_UP
                                   : STATUS_SERVER_IDLE;
    s->failures = status.failures;
    s->last_error_at = status.reason_at;
    return true;
}

static bool profile_collect(struct skip_profile *from, struct status_process *out)
{
    const struct sks_profile *conf = skip_profile_conf(from);
    struct status_profile *to = status_profile_add(out, conf->name);
    struct skip_counts counts;
    struct fault error;

    if (to == NULL)
        return false;
    skip_profile_counts(from, &counts);
    for (size_t i = 0; i < SKIP_REQUESTS; i++) {
        struct status_request *r = &to->requests[i];
        r->total = counts.total[i];
        r->passed = counts.passed[i];
        r->failed = counts.failed[i];
        r->latency_us = counts.latency_us[i];
        memcpy(r->latency, counts.latency[i], sizeof r->latency);
    }
    skip_profile_last_error(from, &error, &to->last_error_at);
    for (size_t i = 0; i < conf->n_servers; i++)
        if (!server_collect(from, i, to))
            return false;
    return text_copy(&to->type, conf->type == SKS_ETSI014 ? "etsi014" : "remote") &&
           text_copy(&to->local_system_id, conf->local_system_id) && text_copy(&to->last_error, error.text);
}

static bool slot_collect(struct slot *s, struct status_process *out)
{
    const struct keyring *k = slot_keyring(s);
    struct status_keyring *to = status_keyring_add(out, s->name);
    struct ppk_store_counts c;

    if (to == NULL)
        return false;
    ppk_store_counts(s->store, &c);
    pthread_mutex_lock(&s->lock);
    to->n[STATUS_SESSIONS] = s->sessions;
    pthread_mutex_unlock(&s->lock);
    to->n[STATUS_PEERS] = k->n_peers;
    for (size_t i = 0; i < k->n_peers; i++) {
        to->n[STATUS_PEERS_DYNAMIC] += k->peers[i].dynamic != NULL;
        to->n[STATUS_PEERS_REQUIRED] += peer_ppk_required(&k->peers[i]);
        to->n[STATUS_MANUAL] += k->peers[i].n_manual;
    }
    to->n[STATUS_HELD] = c.held;
    to->n[STATUS_UNUSED] = c.unused;
    to->n[STATUS_POOLED] = c.pooled;
    to->n[STATUS_FETCHED] = c.fetched;
    to->n[STATUS_FETCHED_BY_ID] = c.fetched_by_id;
    to->n[STATUS_USED] = c.used;
    to->n[STATUS_EXPIRED] = c.expired;
    to->n[STATUS_DESTROYED] = c.destroyed;
    to->n[STATUS_MISMATCHES] = c.mismatches;
    to->n[STATUS_FAILURES] = c.failures;
    to->n[STATUS_FAILURES_REQUIRED] = c.failures_required;
    to->n[STATUS_SAS_DYNAMIC] = atomic_load(&s->sas_dynamic);
    to->n[STATUS_SAS_MANUAL] = atomic_load(&s->sas_manual);
    to->n[STATUS_AUTH_FAILURES] = atomic_load(&s->auth_failures);
    to->n[STATUS_AUTH_FAILURES_REQUIRED] = atomic_load(&s->auth_failures_required);
    return true;
}

static bool all_collect(struct library *l, struct status_process *out)
{
    const struct generation *g = atomic_load(&l->now);
    bool good = text_copy(&out->configuration, l->path);

    for (size_t i = 0; good && i < atomic_load(&l->n_slots); i++)
        good = slot_collect(atomic_load(&l->slots[i]), out);
    for (size_t i = 0; good && i < g->configuration->n_profiles; i++)
        good = profile_collect(g->profiles[i], out);
    return good;
}

bool status_last(struct library *l, struct status_process *out)
{
    return atomic_load(&l->now) != NULL && all_collect(l, out);
}

/* Comes in as a call of the application does, so that C_Finalize waits for it, and it for C_Finalize. */
static bool status_collected(void *context, struct status_process *out)
{
    struct library *l = context;
    bool good = false;

    if (gate_enter() != CKR_OK)
        return false;
    library_use();
    if (library_now() == l)
        good = all_collect(l, out);
    gate_leave();
    return good;
}

bool status_make(struct library *l, bool threads)
{
    const char *configured = atomic_load(&l->now)->configuration->status_directory;
    const char *environment = secure_getenv("PPK_STATUS_DIR");
    const char *directory = environment != NULL && environment[0] != '\0' ? environment
                            : configured != NULL                          ? configured
                                                                          : STATUS_DIRECTORY;

    if (strcmp(directory, CONFIGURATION_STATUS_OFF) == 0)
        return true;
    l->publisher = status_publisher_new(directory, threads, status_collected, l);
    return l->publisher != NULL;
}
