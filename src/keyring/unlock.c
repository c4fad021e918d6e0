/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening the Type 6 secrets of a configuration: all of them, or none. */
#include "config/type6.h"
#include "keyring/builder.h"

#include <stdlib.h>

/* Collects the sealed secrets at `out`, or only counts them. */
static size_t sealed_collect(struct configuration *c, struct config_secret **out)
{
    size_t n = 0;

#define COLLECT(secret)                                                                                      \
    do {                                                                                                     \
        if ((secret)->sealed != NULL && (secret)->value == NULL) {                                           \
            if (out != NULL)                                                                                 \
                out[n] = (secret);                                                                           \
            n++;                                                                                             \
        }                                                                                                    \
    } while (0)
    for (size_t i = 0; i < c->n_profiles; i++)
        COLLECT(&c->profiles[i].psk);
    for (size_t i = 0; i < c->n_keyrings; i++) {
        for (size_t j = 0; j < c->keyrings[i].n_peers; j++) {
            struct peer *p = &c->keyrings[i].peers[j];

            COLLECT(&p->psk);
            for (size_t m = 0; m < p->n_manual; m++)
                COLLECT(&p->manual[m].key);
        }
    }
#undef COLLECT
    return n;
}

static struct type6 *type6_from(const struct secret *master_key, struct fault *fault)
{
    struct secret_view view = {0};
    struct type6 *t = NULL;

    if (secret_open(master_key, &view))
        t = type6_new(view.data, view.len);
    secret_close(&view);
    if (t == NULL)
        fault_set(fault,
                  "the master key cannot be used: it has to have 1 to 512 bytes, and memory must be left");
    return t;
}

bool configuration_open(struct configuration *c, const struct secret *master_key, unsigned *line,
                        struct fault *fault)
{
    size_t n = sealed_collect(c, NULL), opened = 0;
    struct config_secret **sealed = calloc(n + 1, sizeof *sealed);
    struct secret **values = calloc(n + 1, sizeof(struct secret *));
    struct type6 *t = NULL;

    *line = 0;
    if (sealed == NULL || values == NULL) {
        fault_set(fault, "no memory left");
        goto out;
    }
    t = type6_from(master_key, fault);
    if (t == NULL)
        goto out;
    (void)sealed_collect(c, sealed);
    while (opened < n && (values[opened] = type6_open(t, sealed[opened]->sealed, fault)) != NULL)
        opened++;
    if (opened < n) {
        *line = sealed[opened]->line;
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        atomic_store(&sealed[i]->value, values[i]);
        values[i] = NULL;
    }
    c->sealed = false;
out:
    for (size_t i = 0; values != NULL && i < opened; i++)
        secret_free(values[i]);
    free(values);
    free(sealed);
    type6_free(t);
    return opened == n && !c->sealed;
}

bool configuration_unlock(struct configuration *c, const void *master_key, size_t len, struct fault *fault)
{
    struct secret *key = secret_new(master_key, len);
    unsigned line = 0;
    bool good;

    if (key == NULL) {
        fault_set(fault, "the master key is too long, or no secret memory is left");
        return false;
    }
    good = configuration_open(c, key, &line, fault);
    if (!good && line > 0)
        fault_prefix(fault, "%s:%u", c->path, line);
    secret_free(key);
    return good;
}
