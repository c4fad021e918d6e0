/* SPDX-License-Identifier: BSD-2-Clause */
/* The lookups: names and system IDs by hash, addresses by binary search among the groups of each prefix
 * length, longest first. */
#include "keyring/index.h"

#include "keyring/builder.h"

#include <stdlib.h>
#include <string.h>

static struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

/* ---- keyrings and profiles ---- */

void configuration_index_build(struct configuration *c, struct config_errors *errors)
{
    struct configuration_index *index = calloc(1, sizeof *index);
    struct table *ikev2 = table_new();

    c->index = index;
    if (index == NULL || (index->keyrings = table_new()) == NULL || (index->profiles = table_new()) == NULL ||
        ikev2 == NULL) {
        config_error(errors, 0, "no memory left");
        goto out;
    }
    for (size_t i = 0; i < c->n_keyrings; i++) {
        struct keyring *k = &c->keyrings[i];
        const struct keyring *other;

        if (k->name == NULL || table_add(index->keyrings, span_of(k->name), k))
            continue;
        other = table_get(index->keyrings, span_of(k->name));
        config_error(errors, k->line, "keyring \"%s\" is already defined in line %u", k->name,
                     other != NULL ? other->line : 0);
    }
    for (size_t i = 0; i < c->n_profiles; i++) {
        struct sks_profile *p = &c->profiles[i];
        const struct sks_profile *other;

        if (p->name == NULL || table_add(index->profiles, span_of(p->name), p))
            continue;
        other = table_get(index->profiles, span_of(p->name));
        config_error(errors, p->line, "sks profile \"%s\" is already defined in line %u", p->name,
                     other != NULL ? other->line : 0);
    }
    for (size_t i = 0; i < c->n_ikev2; i++) {
        struct ikev2_profile *p = &c->ikev2[i];
        const struct ikev2_profile *other;

        if (p->name == NULL || table_add(ikev2, span_of(p->name), p))
            continue;
        other = table_get(ikev2, span_of(p->name));
        config_error(errors, p->line, "ikev2 profile \"%s\" is already defined in line %u", p->name,
                     other != NULL ? other->line : 0);
    }
out:
    table_free(ikev2);
}

void configuration_index_free(struct configuration *c)
{
    for (size_t i = 0; i < c->n_keyrings; i++) {
        struct keyring_index *k = c->keyrings[i].index;

        if (k == NULL)
            continue;
        table_free(k->names);
        table_free(k->system_ids);
        free(k->next);
        free(k->groups);
        free(k->ranges);
        free(k);
    }
    if (c->index != NULL) {
        table_free(c->index->keyrings);
        table_free(c->index->profiles);
    }
    free(c->index);
}

/* ---- a keyring's peers ---- */

static void names_build(struct keyring *k, struct config_errors *errors)
{
    for (size_t i = 0; i < k->n_peers; i++) {
        struct peer *p = &k->peers[i];
        const struct peer *other;

        if (p->name == NULL || table_add(k->index->names, span_of(p->name), p))
            continue;
        other = table_get(k->index->names, span_of(p->name));
        config_error(errors, p->line, "peer \"%s\" is already defined in line %u", p->name,
                     other != NULL ? other->line : 0);
    }
}

/* Peers of the same system ID are chained in their order: so the last comes first here, and ends the chain.
 */
static void system_ids_build(struct keyring *k)
{
    for (size_t i = k->n_peers; i-- > 0;) {
        struct peer *p = &k->peers[i];
        const struct peer *after;

        if (p->remote_system_id == NULL)
            continue;
        after = table_remove(k->index->system_ids, span_of(p->remote_system_id));
        k->index->next[i] = after != NULL ? (size_t)(after - k->peers) : SIZE_MAX;
        (void)table_add(k->index->system_ids, span_of(p->remote_system_id), p);
    }
}

static void manual_ids_check(const struct keyring *k, struct config_errors *errors)
{
    struct table *ids = table_new();

    if (ids == NULL)
        config_error(errors, 0, "no memory left");
    for (size_t i = 0; ids != NULL && i < k->n_peers; i++) {
        for (size_t j = 0; j < k->peers[i].n_manual; j++) {
            struct manual_ppk *m = &k->peers[i].manual[j];
            const struct manual_ppk *other;

            if (m->id.data == NULL || table_add(ids, m->id, m))
                continue;
            other = table_get(ids, m->id);
            config_error(errors, m->line, "this PPK ID is already used in line %u of keyring \"%s\"",
                         other != NULL ? other->line : 0, k->name);
        }
    }
    table_free(ids);
}

static int group_compare(const void *a, const void *b)
{
    const struct group_entry *x = a, *y = b;
    int order;

    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    if (x->prefix != y->prefix)
        return x->prefix > y->prefix ? -1 : 1;
    order = memcmp(x->masked, y->masked, sizeof x->masked);
    if (order != 0)
        return order;
    return x->line < y->line ? -1 : x->line > y->line;
}

static bool groups_equal(const struct group_entry *x, const struct group_entry *y)
{
    return x->len == y->len && x->prefix == y->prefix && memcmp(x->masked, y->masked, sizeof x->masked) == 0;
}

static bool groups_build(struct keyring *k, struct config_errors *errors)
{
    struct keyring_index *index = k->index;
    size_t n = 0;

    for (size_t i = 0; i < k->n_peers; i++)
        n += k->peers[i].n_groups;
    index->groups = calloc(n > 0 ? n : 1, sizeof *index->groups);
    index->ranges = calloc(GROUP_RANGES_MAX, sizeof *index->ranges);
    if (index->groups == NULL || index->ranges == NULL)
        return false;
    for (size_t i = 0; i < k->n_peers; i++) {
        for (size_t j = 0; j < k->peers[i].n_groups; j++) {
            const struct address_group *g = &k->peers[i].groups[j];
            struct group_entry *e = &index->groups[index->n_groups++];

            address_mask(e->masked, g->bytes, g->len, g->prefix);
            e->len = g->len;
            e->prefix = g->prefix;
            e->line = g->line;
            e->peer = &k->peers[i];
        }
    }
    qsort(index->groups, n, sizeof *index->groups, group_compare);
    for (size_t i = 0; i < n; i++) {
        const struct group_entry *e = &index->groups[i];

        if (i > 0 && groups_equal(&e[-1], e))
            config_error(errors, e->line, "this address group is already the one of peer \"%s\" (line %u)",
                         e[-1].peer->name, e[-1].line);
        if (i == 0 || e[-1].len != e->len || e[-1].prefix != e->prefix)
            index->ranges[index->n_ranges++] =
                (struct group_range){.len = e->len, .prefix = e->prefix, .first = i};
        index->ranges[index->n_ranges - 1].n++;
    }
    return true;
}

void keyring_index_build(struct keyring *k, struct config_errors *errors)
{
    struct keyring_index *index = calloc(1, sizeof *index);

    k->index = index;
    if (index == NULL || (index->names = table_new()) == NULL || (index->system_ids = table_new()) == NULL ||
        (index->next = calloc(k->n_peers + 1, sizeof *index->next)) == NULL) {
        config_error(errors, 0, "no memory left");
        return;
    }
    names_build(k, errors);
    system_ids_build(k);
    manual_ids_check(k, errors);
    if (!groups_build(k, errors))
        config_error(errors, 0, "no memory left");
}
