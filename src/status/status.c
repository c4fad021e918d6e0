/* SPDX-License-Identifier: BSD-2-Clause */
#include "status/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const status_keyring_names[STATUS_NUMBERS] = {
#define STATUS_NAME(constant, name) [STATUS_##constant] = (name),
    STATUS_KEYRING_NUMBERS(STATUS_NAME)
#undef STATUS_NAME
};

const char *const status_request_names[STATUS_REQUESTS] = {"capabilities", "key", "key-by-id", "entropy"};

const char *const status_server_states[STATUS_SERVER_DOWN + 1] = {
    [STATUS_SERVER_IDLE] = "idle", [STATUS_SERVER_UP] = "up", [STATUS_SERVER_DOWN] = "down"};

static void capabilities_clear(struct status_capabilities *c)
{
    free(c->algorithm);
    free(c->local);
    for (size_t i = 0; i < c->n_remotes; i++)
        free(c->remotes[i]);
    free((void *)c->remotes);
    memset(c, 0, sizeof *c);
}

static void profile_clear(struct status_profile *p)
{
    for (size_t i = 0; i < p->n_servers; i++) {
        free(p->servers[i].name);
        free(p->servers[i].last_error);
        capabilities_clear(&p->servers[i].capabilities);
    }
    free(p->servers);
    free(p->name);
    free(p->type);
    free(p->local_system_id);
    free(p->last_error);
}

void status_clear(struct status_process *p)
{
    for (size_t i = 0; i < p->n_keyrings; i++)
        free(p->keyrings[i].name);
    for (size_t i = 0; i < p->n_profiles; i++)
        profile_clear(&p->profiles[i]);
    free(p->keyrings);
    free(p->profiles);
    free(p->executable);
    free(p->version);
    free(p->configuration);
    memset(p, 0, sizeof *p);
}

/* The array with room for one more zeroed element, or NULL. */
static void *grown(void *array, size_t n, size_t size)
{
    void *bigger = array;

    if ((n & (n - 1)) == 0) /* 0 or a power of two: full */
        bigger = reallocarray(array, n == 0 ? 1 : 2 * n, size);
    if (bigger != NULL)
        memset((char *)bigger + n * size, 0, size);
    return bigger;
}

struct status_keyring *status_keyring_add(struct status_process *p, const char *name)
{
    struct status_keyring *all = grown(p->keyrings, p->n_keyrings, sizeof *all);

    if (all == NULL)
        return NULL;
    p->keyrings = all;
    all[p->n_keyrings].name = strdup(name);
    return all[p->n_keyrings].name != NULL ? &all[p->n_keyrings++] : NULL;
}

struct status_profile *status_profile_add(struct status_process *p, const char *name)
{
    struct status_profile *all = grown(p->profiles, p->n_profiles, sizeof *all);

    if (all == NULL)
        return NULL;
    p->profiles = all;
    all[p->n_profiles].name = strdup(name);
    return all[p->n_profiles].name != NULL ? &all[p->n_profiles++] : NULL;
}

struct status_server *status_server_add(struct status_profile *p, const char *name)
{
    struct status_server *all = grown(p->servers, p->n_servers, sizeof *all);

    if (all == NULL)
        return NULL;
    p->servers = all;
    all[p->n_servers].name = strdup(name);
    return all[p->n_servers].name != NULL ? &all[p->n_servers++] : NULL;
}

bool status_remote_add(struct status_capabilities *c, const char *name)
{
    char **all = grown((void *)c->remotes, c->n_remotes, sizeof(char *));

    if (all == NULL)
        return false;
    c->remotes = all;
    all[c->n_remotes] = strdup(name);
    return all[c->n_remotes] != NULL && ++c->n_remotes > 0;
}

/* ---- as text ---- */

static void print_string(struct text *out, const char *name, const char *value)
{
    if (value == NULL)
        return;
    text_printf(out, ",\"%s\":", name);
    text_append_json(out, value, strlen(value));
}

static void print_error(struct text *out, const char *error, int64_t at)
{
    if (error == NULL)
        return;
    print_string(out, "last-error", error);
    text_printf(out, ",\"last-error-at\":%" PRId64, at);
}

void status_print_head(const struct status_process *p, struct text *out)
{
    text_printf(out, "\"ppk-status\":%d,\"pid\":%" PRIu64 ",\"started\":%" PRIu64, STATUS_VERSION, p->pid,
                p->started);
    text_printf(out,
                ",\"pid-namespace\":%" PRIu64 ",\"heartbeat\":%" PRIu64 ",\"since\":%" PRId64
                ",\"updated\":%" PRId64,
                p->pid_namespace, p->heartbeat, p->since, p->updated);
    print_string(out, "executable", p->executable);
    print_string(out, "version", p->version);
    print_string(out, "configuration", p->configuration);
}

static void print_request(const struct status_request *r, const char *name, struct text *out)
{
    size_t last = HISTOGRAM_BUCKETS;

    text_printf(out,
                "\"%s\":{\"total\":%" PRIu64 ",\"passed\":%" PRIu64 ",\"failed\":%" PRIu64
                ",\"latency-us\":%" PRIu64 ",\"latency\":[",
                name, r->total, r->passed, r->failed, r->latency_us);
    while (last > 0 && r->latency[last - 1] == 0)
        last--;
    for (size_t i = 0; i < last; i++)
        text_printf(out, "%s%" PRIu64, i > 0 ? "," : "", r->latency[i]);
    text_printf(out, "]}");
}

static void print_server(const struct status_server *s, struct text *out)
{
    text_printf(out, "{\"name\":");
    text_append_json(out, s->name, strlen(s->name));
    text_printf(out, ",\"state\":\"%s\",\"failures\":%" PRIu64, status_server_states[s->state], s->failures);
    print_error(out, s->last_error, s->last_error_at);
    if (s->told) {
        text_printf(out, ",\"capabilities\":{\"entropy\":%s,\"key\":%s",
                    s->capabilities.entropy ? "true" : "false", s->capabilities.key ? "true" : "false");
        print_string(out, "algorithm", s->capabilities.algorithm);
        print_string(out, "local-identifier", s->capabilities.local);
        text_printf(out, ",\"remote-identifiers\":[");
        for (size_t i = 0; i < s->capabilities.n_remotes; i++) {
            text_printf(out, "%s", i > 0 ? "," : "");
            text_append_json(out, s->capabilities.remotes[i], strlen(s->capabilities.remotes[i]));
        }
        text_printf(out, "]}");
    }
    text_printf(out, "}");
}

static void print_profile(const struct status_profile *p, struct text *out)
{
    text_printf(out, "{\"name\":");
    text_append_json(out, p->name, strlen(p->name));
    print_string(out, "type", p->type);
    print_string(out, "local-system-id", p->local_system_id);
    print_error(out, p->last_error, p->last_error_at);
    text_printf(out, ",\"requests\":{");
    for (size_t i = 0; i < STATUS_REQUESTS; i++) {
        text_printf(out, "%s", i > 0 ? "," : "");
        print_request(&p->requests[i], status_request_names[i], out);
    }
    text_printf(out, "},\"servers\":[");
    for (size_t i = 0; i < p->n_servers; i++) {
        text_printf(out, "%s", i > 0 ? "," : "");
        print_server(&p->servers[i], out);
    }
    text_printf(out, "]}");
}

void status_print_body(const struct status_process *p, struct text *out)
{
    text_printf(out, "\"keyrings\":[");
    for (size_t i = 0; i < p->n_keyrings; i++) {
        text_printf(out, "%s{\"name\":", i > 0 ? "," : "");
        text_append_json(out, p->keyrings[i].name, strlen(p->keyrings[i].name));
        for (size_t k = 0; k < STATUS_NUMBERS; k++)
            text_printf(out, ",\"%s\":%" PRIu64, status_keyring_names[k], p->keyrings[i].n[k]);
        text_printf(out, "}");
    }
    text_printf(out, "],\"profiles\":[");
    for (size_t i = 0; i < p->n_profiles; i++) {
        text_printf(out, "%s", i > 0 ? "," : "");
        print_profile(&p->profiles[i], out);
    }
    text_printf(out, "]");
}
