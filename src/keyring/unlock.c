/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening the Type 6 secrets of a configuration: all of them, or none. */
#include "config/type6.h"
#include "keyring/builder.h"

#include <stdlib.h>

/* Calls `visit` for each secret that has a Type 6 text, until it returns false. */
static void sealed_each(const struct configuration *c, bool (*visit)(void *context, struct config_secret *s),
                        void *context)
{
    for (size_t i = 0; i < c->n_profiles; i++) {
        if (c->profiles[i].psk.sealed != NULL && !visit(context, &c->profiles[i].psk))
            return;
    }
    for (size_t i = 0; i < c->n_keyrings; i++) {
        for (size_t j = 0; j < c->keyrings[i].n_keks; j++) {
            struct config_secret *s = &c->keyrings[i].keks[j].key;

            if (s->sealed != NULL && !visit(context, s))
                return;
        }
        for (size_t j = 0; j < c->keyrings[i].n_peers; j++) {
            struct peer *p = &c->keyrings[i].peers[j];

            if (p->psk.sealed != NULL && !visit(context, &p->psk))
                return;
            for (size_t m = 0; m < p->n_manual; m++) {
                if (p->manual[m].key.sealed != NULL && !visit(context, &p->manual[m].key))
                    return;
            }
        }
    }
}

/* The secrets that are still sealed. */
struct collection {
    struct config_secret **list; /* NULL: they are only counted */
    size_t n;
};

static bool collect(void *context, struct config_secret *s)
{
    struct collection *sealed = context;

    if (s->value != NULL)
        return true;
    if (sealed->list != NULL)
        sealed->list[sealed->n] = s;
    sealed->n++;
    return true;
}

static bool take_first(void *context, struct config_secret *s)
{
    *(struct config_secret **)context = s;
    return false;
}

bool configuration_type6_join(const struct configuration *c, struct type6 *t, struct fault *fault)
{
    struct config_secret *first = NULL;
    struct secret *value;

    sealed_each(c, take_first, &first);
    if (first == NULL)
        return true;
    value = type6_open(t, first->sealed, fault);
    if (value == NULL)
        fault_prefix(fault, "%s:%u", c->path, first->line);
    secret_free(value);
    return value != NULL;
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
    struct collection sealed = {0};
    struct secret **values = NULL;
    struct type6 *t = NULL;
    size_t n, opened = 0;
    bool good = false;

    *line = 0;
    sealed_each(c, collect, &sealed);
    n = sealed.n;
    sealed = (struct collection){.list = calloc(n + 1, sizeof(struct config_secret *))};
    values = calloc(n + 1, sizeof(struct secret *));
    if (sealed.list == NULL || values == NULL) {
        fault_set(fault, "no memory left");
        goto out;
    }
    sealed_each(c, collect, &sealed);
    t = type6_from(master_key, fault);
    if (t == NULL)
        goto out;
    for (; opened < n; opened++) {
        const struct config_secret *s = sealed.list[opened];

        values[opened] = s != NULL ? type6_open(t, s->sealed, fault) : NULL;
        if (values[opened] == NULL) {
            *line = s != NULL ? s->line : 0;
            break;
        }
    }
    good = opened == n;
    for (size_t i = 0; i < opened; i++) {
        if (good)
            atomic_store(&sealed.list[i]->value, values[i]);
        else
            secret_free(values[i]);
    }
    c->sealed = c->sealed && !good;
out:
    free(values);
    free(sealed.list);
    type6_free(t);
    return good;
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
