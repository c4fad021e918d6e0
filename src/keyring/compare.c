/* SPDX-License-Identifier: BSD-2-Clause */
/* What two readings of a configuration have in common, and whether its files have changed since one. */
#include "keyring/keyring.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* A file that changed less than this ago may still be being written. */
#define FRESH_NS 200000000

static bool text_same(const char *a, const char *b)
{
    return a != NULL && b != NULL ? strcmp(a, b) == 0 : a == b;
}

bool config_secret_same(const struct config_secret *a, const struct config_secret *b)
{
    const struct secret *va = atomic_load(&a->value), *vb = atomic_load(&b->value);

    if (va != NULL && vb != NULL)
        return secret_equal(va, vb);
    return va == vb && text_same(a->sealed, b->sealed);
}

bool sks_profile_same_servers(const struct sks_profile *a, const struct sks_profile *b)
{
    if (a->type != b->type || a->n_servers != b->n_servers || a->psk_hash != b->psk_hash ||
        !text_same(a->trustpoint, b->trustpoint) || !text_same(a->certificate, b->certificate) ||
        !text_same(a->key, b->key) || !text_same(a->psk_id, b->psk_id) ||
        !text_same(a->local_system_id, b->local_system_id) || !config_secret_same(&a->psk, &b->psk))
        return false;
    for (size_t i = 0; i < a->n_servers; i++)
        if (a->servers[i].kind != b->servers[i].kind || a->servers[i].port != b->servers[i].port ||
            strcmp(a->servers[i].host, b->servers[i].host) != 0)
            return false;
    return true;
}

/* Mixes a number into a hash; nobody chooses these numbers to collide. */
static void mix(uint64_t *hash, uint64_t n)
{
    *hash = (*hash ^ n) * UINT64_C(0x9e3779b97f4a7c15);
    *hash ^= *hash >> 32;
}

void file_stamp_add(struct file_stamp *s, const char *path)
{
    struct timespec now;
    struct stat st;

    if (path == NULL)
        return;
    if (stat(path, &st) != 0) {
        mix(&s->hash, 1);
        s->missing = true;
        return;
    }
    mix(&s->hash, st.st_dev);
    mix(&s->hash, st.st_ino);
    mix(&s->hash, (uint64_t)st.st_size);
    mix(&s->hash, (uint64_t)st.st_mtim.tv_sec);
    mix(&s->hash, (uint64_t)st.st_mtim.tv_nsec);
    mix(&s->hash, (uint64_t)st.st_ctim.tv_sec); /* permissions, too */
    mix(&s->hash, (uint64_t)st.st_ctim.tv_nsec);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    const int64_t age =
        (now.tv_sec - st.st_ctim.tv_sec) * INT64_C(1000000000) + now.tv_nsec - st.st_ctim.tv_nsec;
    s->fresh |= age >= 0 && age < FRESH_NS;
}

void sks_profile_stamp(const struct sks_profile *p, struct file_stamp *s)
{
    file_stamp_add(s, p->trustpoint);
    file_stamp_add(s, p->certificate);
    file_stamp_add(s, p->key);
}

void configuration_stamp(const struct configuration *c, struct file_stamp *s)
{
    file_stamp_add(s, c->master_key_file);
    for (size_t i = 0; i < c->n_profiles; i++)
        sks_profile_stamp(&c->profiles[i], s);
}
