/* SPDX-License-Identifier: BSD-2-Clause */
/* The text of a status file. It may be anybody's: nothing is taken that is not of its type and within its
 * bounds. */
#include "status/status.h"

#include <jansson.h>
#include <string.h>

enum { NAME_MAX_BYTES = 4096, ELEMENTS_MAX = 65536 };

/* The number `name`; what is missing is 0, since another version may not have it. False: it is no number of
 * 0 or more. */
static bool number(const json_t *object, const char *name, uint64_t *out)
{
    const json_t *value = json_object_get(object, name);

    *out = 0;
    if (value == NULL)
        return true;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static bool moment(const json_t *object, const char *name, int64_t *out)
{
    uint64_t n;
    bool good = number(object, name, &n);

    *out = (int64_t)n;
    return good;
}

/* The text `name`, or NULL where it is missing. False: it is no text, or too long. */
static bool string(const json_t *object, const char *name, char **out)
{
    const json_t *value = json_object_get(object, name);

    *out = NULL;
    if (value == NULL)
        return true;
    if (!json_is_string(value) || json_string_length(value) > NAME_MAX_BYTES)
        return false;
    *out = strdup(json_string_value(value));
    return *out != NULL;
}

static const char *name_of(const json_t *object)
{
    const json_t *value = json_object_get(object, "name");

    return json_is_string(value) && json_string_length(value) > 0 &&
                   json_string_length(value) <= NAME_MAX_BYTES
               ? json_string_value(value)
               : NULL;
}

static bool parse_keyring(struct status_process *p, const json_t *object)
{
    const char *name = name_of(object);
    struct status_keyring *k = name != NULL ? status_keyring_add(p, name) : NULL;

    for (size_t i = 0; k != NULL && i < STATUS_NUMBERS; i++)
        if (!number(object, status_keyring_names[i], &k->n[i]))
            return false;
    return k != NULL;
}

static bool parse_request(struct status_request *r, const json_t *object)
{
    const json_t *latency = json_object_get(object, "latency");
    size_t n = json_array_size(latency);

    if (object == NULL)
        return true;
    if (!json_is_object(object) || (latency != NULL && !json_is_array(latency)) || n > HISTOGRAM_BUCKETS)
        return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *count = json_array_get(latency, i);
        if (!json_is_integer(count) || json_integer_value(count) < 0)
            return false;
        r->latency[i] = (uint64_t)json_integer_value(count);
    }
    return number(object, "total", &r->total) && number(object, "passed", &r->passed) &&
           number(object, "failed", &r->failed) && number(object, "latency-us", &r->latency_us);
}

static bool parse_capabilities(struct status_server *s, const json_t *object)
{
    const json_t *remotes = json_object_get(object, "remote-identifiers");
    struct status_capabilities *c = &s->capabilities;

    if (object == NULL)
        return true;
    if (!json_is_object(object) || !json_is_array(remotes) || json_array_size(remotes) > ELEMENTS_MAX)
        return false;
    s->told = true;
    c->entropy = json_is_true(json_object_get(object, "entropy"));
    c->key = json_is_true(json_object_get(object, "key"));
    for (size_t i = 0; i < json_array_size(remotes); i++) {
        const json_t *remote = json_array_get(remotes, i);
        if (!json_is_string(remote) || !status_remote_add(c, json_string_value(remote)))
            return false;
    }
    return string(object, "algorithm", &c->algorithm) && string(object, "local-identifier", &c->local);
}

static bool parse_state(const json_t *object, enum status_server_state *out)
{
    const char *word = json_string_value(json_object_get(object, "state"));

    for (int i = 0; word != NULL && i <= STATUS_SERVER_DOWN; i++) {
        if (strcmp(word, status_server_states[i]) == 0) {
            *out = (enum status_server_state)i;
            return true;
        }
    }
    return false;
}

static bool parse_server(struct status_profile *p, const json_t *object)
{
    const char *name = name_of(object);
    struct status_server *s = name != NULL ? status_server_add(p, name) : NULL;

    return s != NULL && parse_state(object, &s->state) && number(object, "failures", &s->failures) &&
           string(object, "last-error", &s->last_error) &&
           moment(object, "last-error-at", &s->last_error_at) &&
           parse_capabilities(s, json_object_get(object, "capabilities"));
}

static bool parse_profile(struct status_process *process, const json_t *object)
{
    const json_t *servers = json_object_get(object, "servers");
    const json_t *requests = json_object_get(object, "requests");
    const char *name = name_of(object);
    struct status_profile *p = name != NULL ? status_profile_add(process, name) : NULL;

    if (p == NULL || !json_is_array(servers) || !json_is_object(requests) ||
        json_array_size(servers) > ELEMENTS_MAX)
        return false;
    for (size_t i = 0; i < STATUS_REQUESTS; i++)
        if (!parse_request(&p->requests[i], json_object_get(requests, status_request_names[i])))
            return false;
    for (size_t i = 0; i < json_array_size(servers); i++)
        if (!parse_server(p, json_array_get(servers, i)))
            return false;
    return string(object, "type", &p->type) && string(object, "local-system-id", &p->local_system_id) &&
           string(object, "last-error", &p->last_error) && moment(object, "last-error-at", &p->last_error_at);
}

static bool parse_all(const json_t *list, struct status_process *p,
                      bool (*parse)(struct status_process *p, const json_t *object))
{
    if (!json_is_array(list) || json_array_size(list) > ELEMENTS_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!parse(p, json_array_get(list, i)))
            return false;
    return true;
}

bool status_parse(struct status_process *out, const char *text, size_t len, const char **why)
{
    json_t *root = len <= STATUS_FILE_MAX ? json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    uint64_t version = 0;
    bool good = false;

    memset(out, 0, sizeof *out);
    *why = "not a status file";
    if (!json_is_object(root) || !number(root, "ppk-status", &version) || version == 0)
        goto out;
    if (version != STATUS_VERSION) {
        *why = "of another version of the token";
        goto out;
    }
    good = number(root, "pid", &out->pid) && out->pid > 0 && out->pid <= INT32_MAX &&
           number(root, "started", &out->started) && number(root, "pid-namespace", &out->pid_namespace) &&
           number(root, "heartbeat", &out->heartbeat) && moment(root, "since", &out->since) &&
           moment(root, "updated", &out->updated) && string(root, "executable", &out->executable) &&
           string(root, "version", &out->version) && string(root, "configuration", &out->configuration) &&
           parse_all(json_object_get(root, "keyrings"), out, parse_keyring) &&
           parse_all(json_object_get(root, "profiles"), out, parse_profile);
    if (!good)
        *why = "damaged";
out:
    if (!good)
        status_clear(out);
    json_decref(root);
    return good;
}
