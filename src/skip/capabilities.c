/* SPDX-License-Identifier: BSD-2-Clause */
#include "skip/capabilities.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

void skip_capabilities_free(struct skip_capabilities *c)
{
    if (!c)
        return;
    for (size_t i = 0; c->remote_system_ids && c->remote_system_ids[i]; i++)
        free(c->remote_system_ids[i]);
    free(c->remote_system_ids);
    free(c->algorithm);
    free(c->local_system_id);
    free(c);
}

struct skip_capabilities *skip_capabilities_copy(const struct skip_capabilities *c)
{
    size_t n = 0;
    while (c->remote_system_ids[n])
        n++;
    struct skip_capabilities *copy = calloc(1, sizeof *copy);
    if (!copy)
        return NULL;
    copy->entropy = c->entropy;
    copy->key = c->key;
    copy->server = c->server;
    copy->delivery = c->delivery;
    copy->algorithm = strdup(c->algorithm);
    copy->local_system_id = strdup(c->local_system_id);
    copy->remote_system_ids = calloc(n + 1, sizeof copy->remote_system_ids[0]);
    bool whole = copy->algorithm && copy->local_system_id && copy->remote_system_ids;
    for (size_t i = 0; whole && i < n; i++) {
        copy->remote_system_ids[i] = strdup(c->remote_system_ids[i]);
        whole = copy->remote_system_ids[i] != NULL;
    }
    if (whole)
        return copy;
    skip_capabilities_free(copy);
    return NULL;
}

/* What this key source serves, as an operator wants to see it in an error. */
static void append_remotes(const struct skip_capabilities *c, struct text *out)
{
    for (size_t i = 0; c->remote_system_ids[i] && out->len < 160; i++)
        text_printf(out, "%s%s", i ? ", " : "", c->remote_system_ids[i]);
}

/* ETSI 014 tells of one remote system: nothing is known of others, until they are asked for. */
static bool delivery_allows(const struct skip_capabilities *c, const struct skip_call *call,
                            struct fault *fault)
{
    bool known = call->request == SKIP_REQUEST_KEY && call->remote && c->remote_system_ids[0] &&
                 strcmp(call->remote, c->remote_system_ids[0]) == 0;
    bool small = known && c->delivery.size_min && call->size < c->delivery.size_min;
    bool large = known && c->delivery.size_max && call->size > c->delivery.size_max;
    if (!small && !large)
        return true;
    fault_set(fault, "a key of %u bits is asked for, and it gives those of %s %u bits", call->size,
              small ? "at least" : "at most", small ? c->delivery.size_min : c->delivery.size_max);
    return false;
}

bool skip_capabilities_allow(const struct skip_capabilities *c, const struct skip_call *call,
                             const char *local, struct fault *fault)
{
    if (call->request == SKIP_REQUEST_ENTROPY) {
        if (!c->entropy)
            fault_set(fault, "its capabilities say that it gives no entropy");
        return c->entropy;
    }
    if (!c->key) {
        fault_set(fault, "its capabilities say that it gives no keys");
        return false;
    }
    if (local && strcmp(local, c->local_system_id) != 0) {
        fault_set(fault, "it takes us for system \"%s\", but local-system-id is \"%s\"", c->local_system_id,
                  local);
        return false;
    }
    if (c->delivery.told)
        return delivery_allows(c, call, fault);
    for (size_t i = 0; call->remote && c->remote_system_ids[i]; i++) {
        if (fnmatch(c->remote_system_ids[i], call->remote, 0) == 0)
            return true;
    }
    if (!call->remote)
        return true;
    struct text text = {0};
    append_remotes(c, &text);
    fault_set(fault, "remote system \"%s\" is not among those that it serves (%s)", call->remote,
              text.s ? text.s : "none");
    text_free(&text);
    return false;
}

const char *skip_capabilities_only_remote(const struct skip_capabilities *c, struct fault *fault)
{
    const char *only = c->remote_system_ids[0];
    if (only && !c->remote_system_ids[1] && !strpbrk(only, "*?["))
        return only;
    struct text text = {0};
    append_remotes(c, &text);
    fault_set(
        fault,
        "remote-system-id is not configured, and the key source does not serve just one remote system (%s)",
        text.s ? text.s : "none");
    text_free(&text);
    return NULL;
}
