/* SPDX-License-Identifier: BSD-2-Clause */
/* What only the whole file tells: references, duplicates, what a profile must have. */
#include "keyring/builder.h"

#include <string.h>

static void reference_resolve(struct configuration *c, const struct reference *r,
                              struct config_errors *errors)
{
    struct sks_profile *profile;
    struct keyring *keyring;
    struct peer *peer;

    if (r->name == NULL)
        return;
    if (r->kind == REFERENCE_DYNAMIC) {
        profile = configuration_profile(c, r->name, strlen(r->name));
        if (profile == NULL)
            config_error(errors, r->line, "there is no sks profile \"%s\"", r->name);
        peer = &c->keyrings[r->owner].peers[r->member];
        peer->dynamic = profile;
        if (profile != NULL && profile->type == SKS_ETSI014 && peer->remote_system_id == NULL)
            config_error(errors, r->line,
                         "peer \"%s\" needs a remote-system-id: sks profile \"%s\" is of type etsi014",
                         peer->name, profile->name);
        return;
    }
    keyring = configuration_keyring(c, r->name, strlen(r->name));
    if (keyring == NULL)
        config_error(errors, r->line, "there is no keyring \"%s\"", r->name);
    if (r->kind == REFERENCE_KEYRING)
        c->ikev2[r->owner].keyring = keyring;
    else
        c->ikev2[r->owner].keyring_ppk = keyring;
}

uint32_t sks_profile_hedge_ms(const struct sks_profile *p)
{
    return p->n_servers > 1 ? p->timeout_ms / (2 * (uint32_t)p->n_servers) : 0;
}

static void profile_check(struct sks_profile *p, struct config_errors *errors)
{
    if (p->hedge_ms == HEDGE_DEFAULT)
        p->hedge_ms = sks_profile_hedge_ms(p);
    if (p->n_servers == 0)
        config_error(errors, p->line, "sks profile \"%s\" has no kme server", p->name);
    if (p->type == SKS_ETSI014 && p->certificate == NULL && p->psk_id == NULL)
        config_error(errors, p->line, "sks profile \"%s\" is of type etsi014, and has no tls certificate",
                     p->name);
    if (p->hedge_ms > p->timeout_ms)
        config_error(errors, p->line, "sks profile \"%s\": hedge %u is longer than timeout %u", p->name,
                     p->hedge_ms, p->timeout_ms);
}

static bool is_sealed(const struct config_secret *s)
{
    return s->sealed != NULL && s->value == NULL;
}

void builder_resolve(struct builder *b, struct config_errors *errors)
{
    struct configuration *c = b->conf;

    configuration_index_build(c, errors);
    if (c->index == NULL || c->index->profiles == NULL)
        return;
    for (size_t i = 0; i < b->n_references; i++)
        reference_resolve(c, &b->references[i], errors);
    for (size_t i = 0; i < c->n_profiles; i++) {
        profile_check(&c->profiles[i], errors);
        c->sealed = c->sealed || is_sealed(&c->profiles[i].psk);
    }
    for (size_t i = 0; i < c->n_keyrings; i++) {
        struct keyring *k = &c->keyrings[i];

        for (size_t j = 0; j < k->n_peers; j++) {
            k->peers[j].keyring = k;
            c->sealed = c->sealed || is_sealed(&k->peers[j].psk);
            for (size_t m = 0; m < k->peers[j].n_manual; m++)
                c->sealed = c->sealed || is_sealed(&k->peers[j].manual[m].key);
        }
        for (size_t j = 0; j < k->n_keks; j++)
            c->sealed = c->sealed || is_sealed(&k->keks[j].key);
        keyring_index_build(k, errors);
    }
}
