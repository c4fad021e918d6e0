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

/* The line of something named: its member at `line_at`. */
static unsigned line_of(const void *value, size_t line_at)
{
    return *(const unsigned *)((const char *)value + line_at);
}

/* Adds something to the table of its kind; a name that is there already is a mistake. */
static void name_add(struct table *t, const char *kind, const char *name, void *value, size_t line_at,
                     struct config_errors *errors)
{
    const void *other;

    if (name == NULL || table_add(t, span_of(name), value))
        return;
    other = table_get(t, span_of(name));
    if (other != NULL)
        config_error(errors, line_of(value, line_at), "%s \"%s\" is already defined in line %u", kind, name,
                     line_of(other, line_at));
    else
        config_error(errors, 0, "no memory left");
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
    for (size_t i = 0; i < c->n_keyrings; i++)
        name_add(index->keyrings, "keyring", c->keyrings[i].name, &c->keyrings[i],
                 offsetof(struct keyring, line), errors);
    for (size_t i = 0; i < c->n_profiles; i++)
        name_add(index->profiles, "sks profile", c->profiles[i].name, &c->profiles[i],
                 offsetof(struct sks_profile, line), errors);
    for (size_t i = 0; i < c->n_ikev2; i++)
        name_add(ikev2, "ikev2 profile", c->ikev2[i].name, &c->ikev2[i], offsetof(struct ikev2_profile, line),
                 errors);
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
        table_free(k->keks);
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

/* Peers of the same system ID are chained in their order: so the last comes first here, and ends the chain.
 */
static bool system_ids_build(struct keyring *k)
{
    for (size_t i = k->n_peers; i-- > 0;) {
        struct peer *p = &k->peers[i];
        const struct peer *after;

        if (p->remote_system_id == NULL)
            continue;
        after = table_remove(k->index->system_ids, span_of(p->remote_system_id));
        k->index->next[i] = after != NULL ? (size_t)(after - k->peers) : SIZE_MAX;
        if (!table_add(k->index->system_ids, span_of(p->remote_system_id), p))
            return false;
    }
    return true;
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

/* Their names are labels, as those of the peers are. */
static void keks_build(struct keyring *k, struct config_errors *errors)
{
    for (size_t i = 0; i < k->n_keks; i++) {
        struct kek *kek = &k->keks[i];
        const struct peer *same = kek->name == NULL ? NULL : table_get(k->index->names, span_of(kek->name));

        name_add(k->index->keks, "key-encryption-key", kek->name, kek, offsetof(struct kek, line), errors);
        if (same != NULL)
            config_error(errors, kek->line, "key-encryption-key \"%s\" has the name of a peer (line %u)",
                         kek->name, same->line);
    }
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
    if (index == NULL || (index->names = table_new()) == NULL || (index->keks = table_new()) == NULL ||
        (index->system_ids = table_new()) == NULL ||
        (index->next = calloc(k->n_peers + 1, sizeof *index->next)) == NULL) {
        config_error(errors, 0, "no memory left");
        return;
    }
    for (size_t i = 0; i < k->n_peers; i++)
        name_add(index->names, "peer", k->peers[i].name, &k->peers[i], offsetof(struct peer, line), errors);
    keks_build(k, errors);
    manual_ids_check(k, errors);
    if (!system_ids_build(k) || !groups_build(k, errors))
        config_error(errors, 0, "no memory left");
}
