/* SPDX-License-Identifier: BSD-2-Clause */
/* What a new configuration may change, and what has changed. */
#include "skipd/conf.h"

#include <string.h>

static bool text_is_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool skipd_conf_can_follow(const struct skipd_conf *now, const struct skipd_conf *next, struct fault *fault)
{
    const struct {
        bool same;
        unsigned line;
        const char *what;
    } fixed[] = {
        {text_is_same(now->system_id, next->system_id), next->system_id_line, "the system-id"},
        {text_is_same(now->store_kind, next->store_kind) && text_is_same(now->store_where, next->store_where),
         next->store_line, "the store"},
        {secret_equal(now->master_key, next->master_key), next->master_key_line, "the master key"},
    };

    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (!fixed[i].same) {
            fault_set(fault, "line %u: %s cannot change while skipd runs: restart it", fixed[i].line,
                      fixed[i].what);
            return false;
        }
    return true;
}

static bool identity_is_same(const struct identity *a, const struct identity *b)
{
    if (!text_is_same(a->psk_id, b->psk_id) || a->psk_hash != b->psk_hash || a->n_names != b->n_names ||
        (a->psk_id != NULL && !secret_equal(a->psk, b->psk)))
        return false;
    for (size_t i = 0; i < a->n_names; i++)
        if (a->names[i].field != b->names[i].field || strcmp(a->names[i].text, b->names[i].text) != 0)
            return false;
    return true;
}

bool skipd_peer_is_same(const struct skipd_peer *a, const struct skipd_peer *b)
{
    if (strcmp(a->name, b->name) != 0 || a->n_addresses != b->n_addresses ||
        !identity_is_same(&a->identity, &b->identity))
        return false;
    for (size_t i = 0; i < a->n_addresses; i++)
        if (a->addresses[i].kind != b->addresses[i].kind || a->addresses[i].port != b->addresses[i].port ||
            strcmp(a->addresses[i].host, b->addresses[i].host) != 0)
            return false;
    return true;
}
