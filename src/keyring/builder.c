/* SPDX-License-Identifier: BSD-2-Clause */
/* What each command of ppk.conf does to the configuration under construction. */
#include "keyring/builder.h"
#include "config/type6.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PPK_MIN     32
#define PSK_MAX     1024
#define TLS_PSK_MIN 16
#define TLS_PSK_MAX 512
#define SERVERS_MAX 16
#define KEK_MIN     16
#define KEK_MAX     32

/* Adds a zeroed element of `size` bytes to an array; `array` is the address of the pointer to its first
 * element. NULL, and told: no memory. The pointer is copied, since it is not a void pointer. */
static void *array_add(struct config_call *call, void *array, size_t *n, size_t size)
{
    void *first;
    void *element;

    memcpy(&first, array, sizeof first);
    if ((*n & (*n - 1)) == 0) { /* 0 or a power of two: full */
        void *bigger = reallocarray(first, *n == 0 ? 1 : 2 * *n, size);

        if (bigger == NULL) {
            config_wrong(call, "no memory left");
            call->skip_level = true; /* what is in it must not go into the one before */
            return NULL;
        }
        first = bigger;
        memcpy(array, &first, sizeof first);
    }
    element = (char *)first + *n * size;
    memset(element, 0, size);
    ++*n;
    return element;
}

/* A copy of an argument. NULL, and told: no memory. */
static char *word_copy(struct config_call *call, const char *name)
{
    char *copy = strdup(config_get(call, name)->text);

    if (copy == NULL)
        config_wrong(call, "no memory left");
    return copy;
}

/* The ones at hand. A command is applied only in its level, so there is one, unless memory ran out (then
 * nothing is applied to it). */
static struct keyring *keyring_current(const struct config_call *call)
{
    const struct builder *b = call->context;

    return b->conf->n_keyrings > 0 ? &b->conf->keyrings[b->conf->n_keyrings - 1] : NULL;
}

static struct peer *peer_current(const struct config_call *call)
{
    const struct keyring *k = keyring_current(call);

    return k != NULL && k->n_peers > 0 ? &k->peers[k->n_peers - 1] : NULL;
}

static struct sks_profile *profile_current(const struct config_call *call)
{
    const struct builder *b = call->context;

    return b->conf->n_profiles > 0 ? &b->conf->profiles[b->conf->n_profiles - 1] : NULL;
}

static struct ikev2_profile *ikev2_current(const struct config_call *call)
{
    const struct builder *b = call->context;

    return b->conf->n_ikev2 > 0 ? &b->conf->ikev2[b->conf->n_ikev2 - 1] : NULL;
}

static void reference_add(struct config_call *call, enum reference_kind kind, size_t owner, size_t member,
                          const char *name)
{
    struct builder *b = call->context;
    struct reference *r = array_add(call, &b->references, &b->n_references, sizeof *r);

    if (r == NULL)
        return;
    r->kind = kind;
    r->owner = owner;
    r->member = member;
    r->line = call->line;
    r->name = word_copy(call, name);
}

/* Takes a file argument, after a look at whether it is there and can be trusted. */
static char *file_take(struct config_call *call, const char *name, enum config_file_kind kind)
{
    struct fault fault = {""};
    char *path = config_file_name(call, name);
    int fd;

    if (path == NULL) {
        config_wrong(call, "no memory left");
        return NULL;
    }
    fd = config_file_open(path, kind, &fault);
    if (fd < 0)
        config_wrong(call, "%s", fault.text);
    else
        (void)close(fd);
    return path;
}

static void secret_take(struct config_call *call, struct config_secret *s, const char *what, size_t min,
                        size_t max)
{
    struct secret *value = NULL;

    if (config_secret_take(call, "KEY", what, min, max, &value, &s->sealed))
        atomic_store(&s->value, value);
    s->line = call->line;
}

static void group_add(struct config_call *call, struct address_group **groups, size_t *n)
{
    struct address_group *g = array_add(call, groups, n, sizeof *g);

    if (g == NULL)
        return;
    *g = config_get(call, "ADDRESS")->group;
    g->line = call->line;
}

/* ---- top level ---- */

void apply_master_key(struct config_call *call)
{
    struct builder *b = call->context;

    b->conf->master_key_file = file_take(call, "FILE", CONFIG_FILE_SECRET);
}

void apply_status_directory(struct config_call *call)
{
    const char *path = config_get(call, "PATH")->text;
    struct builder *b = call->context;

    if (path[0] != '/' && strcmp(path, CONFIGURATION_STATUS_OFF) != 0)
        config_wrong(call, "'%s' is neither an absolute path nor " CONFIGURATION_STATUS_OFF, path);
    b->conf->status_directory = word_copy(call, "PATH");
}

void apply_log_file(struct config_call *call)
{
    struct builder *b = call->context;

    b->conf->log_file = config_file_name(call, "FILE");
    if (b->conf->log_file == NULL)
        config_wrong(call, "no memory left");
    else if (strlen(b->conf->log_file) > LOG_PATH_MAX)
        config_wrong(call, "the name of the log file is longer than %d bytes", LOG_PATH_MAX);
}

void apply_log_level(struct config_call *call)
{
    struct builder *b = call->context;

    b->conf->log_level = log_level_name(config_get(call, CONFIGURATION_LOG_LEVELS)->choice);
}

/* ---- keyrings and peers ---- */

void apply_keyring(struct config_call *call)
{
    struct builder *b = call->context;
    struct keyring *k = array_add(call, &b->conf->keyrings, &b->conf->n_keyrings, sizeof *k);

    if (k == NULL)
        return;
    k->name = word_copy(call, "NAME");
    k->line = call->line;
}

void apply_derived_keys(struct config_call *call)
{
    struct keyring *k = keyring_current(call);

    if (k != NULL)
        k->derived_sensitive = config_get(call, "extractable|sensitive")->choice == 1;
}

/* NAME becomes a label, which must not look as those of pre-shared keys do. */
static void label_check(struct config_call *call, const char *whose)
{
    static const char suffix[] = "/psk";
    const struct config_value *name = config_get(call, "NAME");

    if (name->len >= strlen(suffix) && strcmp(name->text + name->len - strlen(suffix), suffix) == 0)
        config_wrong(call, "%s's name must not end with %s, as the labels of pre-shared keys do", whose,
                     suffix);
}

void apply_kek(struct config_call *call)
{
    struct keyring *k = keyring_current(call);
    struct kek *kek = k != NULL ? array_add(call, &k->keks, &k->n_keks, sizeof *kek) : NULL;
    size_t len = KEK_MIN;

    if (kek == NULL)
        return;
    label_check(call, "a key-encryption key");
    kek->name = word_copy(call, "NAME");
    kek->line = call->line;
    secret_take(call, &kek->key, "key-encryption key", KEK_MIN, KEK_MAX);
    if (kek->key.sealed != NULL)
        len = type6_length(kek->key.sealed);
    else if (kek->key.value != NULL)
        len = secret_len(kek->key.value);
    if (len % 8 != 0)
        config_wrong(call, "the key-encryption key has %zu bytes; an AES key has 16, 24 or 32", len);
}

void apply_peer(struct config_call *call)
{
    struct keyring *k = keyring_current(call);
    struct peer *p = k != NULL ? array_add(call, &k->peers, &k->n_peers, sizeof *p) : NULL;

    if (p == NULL)
        return;
    label_check(call, "a peer");
    p->name = word_copy(call, "NAME");
    p->line = call->line;
}

void apply_address(struct config_call *call)
{
    struct peer *p = peer_current(call);

    if (p != NULL)
        group_add(call, &p->groups, &p->n_groups);
}

void apply_psk(struct config_call *call)
{
    struct peer *p = peer_current(call);

    if (p != NULL)
        secret_take(call, &p->psk, "pre-shared key", 1, PSK_MAX);
}

void apply_ppk_dynamic(struct config_call *call)
{
    const struct builder *b = call->context;
    struct peer *p = peer_current(call);

    if (p == NULL)
        return;
    p->dynamic_required = config_get(call, "required") != NULL;
    reference_add(call, REFERENCE_DYNAMIC, b->conf->n_keyrings - 1, keyring_current(call)->n_peers - 1,
                  "PROFILE");
}

void apply_ppk_manual(struct config_call *call)
{
    struct peer *p = peer_current(call);
    struct manual_ppk *m = p != NULL ? array_add(call, &p->manual, &p->n_manual, sizeof *m) : NULL;

    if (m == NULL)
        return;
    m->id.data = (const uint8_t *)word_copy(call, "ID");
    m->id.len = m->id.data != NULL ? config_get(call, "ID")->len : 0;
    m->required = config_get(call, "required") != NULL;
    m->line = call->line;
    secret_take(call, &m->key, "PPK", PPK_MIN, SECRET_MAX);
}

void apply_remote_system_id(struct config_call *call)
{
    struct peer *p = peer_current(call);

    if (p != NULL)
        p->remote_system_id = word_copy(call, "NAME");
}

/* ---- sks profiles ---- */

void apply_sks_profile(struct config_call *call)
{
    struct builder *b = call->context;
    struct sks_profile *p = array_add(call, &b->conf->profiles, &b->conf->n_profiles, sizeof *p);

    if (p == NULL)
        return;
    p->name = word_copy(call, "NAME");
    p->line = call->line;
    p->type = config_get(call, "remote|etsi014")->choice == 1 ? SKS_ETSI014 : SKS_REMOTE;
    p->psk_hash = PSK_SHA384;
    p->timeout_ms = SKS_TIMEOUT_MS;
    p->hedge_ms = HEDGE_DEFAULT;
    p->key_size = SKS_KEY_SIZE;
    p->lifetime_s = SKS_LIFETIME_S;
    p->lookups = SKS_LOOKUPS;
    p->lookups_s = SKS_LOOKUPS_S;
}

static bool host_check(enum kme_kind kind, const char *host)
{
    struct address_group g;

    switch (kind) {
    case KME_IPV4:
        return address_is_ipv4(host);
    case KME_IPV6:
        return strchr(host, '/') == NULL && !address_is_ipv4(host) &&
               address_group_read(&g, host, NULL, NULL);
    case KME_HOSTNAME:
        return address_is_host_name(host);
    }
    return false;
}

void apply_kme_server(struct config_call *call)
{
    static const char *const kinds[] = {"an IPv4 address", "an IPv6 address", "a host name"};
    const struct config_value *host = config_get(call, "HOST");
    enum kme_kind kind = (enum kme_kind)config_get(call, "ipv4|ipv6|hostname")->choice;
    struct sks_profile *p = profile_current(call);
    struct kme_server *s;

    if (p == NULL)
        return;
    if (p->n_servers == SERVERS_MAX) {
        config_wrong(call, "more than %d servers in sks profile \"%s\"", SERVERS_MAX, p->name);
        return;
    }
    if (!host_check(kind, host->text))
        config_wrong(call, "'%s' is not %s", host->text, kinds[kind]);
    s = array_add(call, &p->servers, &p->n_servers, sizeof *s);
    if (s == NULL)
        return;
    s->kind = kind;
    s->host = word_copy(call, "HOST");
    s->port = (uint16_t)config_get(call, "N")->number;
    for (size_t i = 0; s->host != NULL && i + 1 < p->n_servers; i++) {
        if (p->servers[i].port == s->port && p->servers[i].host != NULL &&
            strcmp(p->servers[i].host, s->host) == 0)
            config_wrong(call, "sks profile \"%s\" already has server %s port %u", p->name, s->host, s->port);
    }
}

void apply_local_system_id(struct config_call *call)
{
    struct sks_profile *p = profile_current(call);

    if (p != NULL)
        p->local_system_id = word_copy(call, "NAME");
}

static const char exclusive[] =
    "sks profile \"%s\" has both \"tls psk\" and \"tls %s\": it is the one or the other";

void apply_trustpoint(struct config_call *call)
{
    struct sks_profile *p = profile_current(call);

    if (p == NULL)
        return;
    if (p->psk_id != NULL)
        config_wrong(call, exclusive, p->name, "trustpoint");
    p->trustpoint = file_take(call, "FILE", CONFIG_FILE_PLAIN);
}

void apply_certificate(struct config_call *call)
{
    struct sks_profile *p = profile_current(call);

    if (p == NULL)
        return;
    if (p->psk_id != NULL)
        config_wrong(call, exclusive, p->name, "certificate");
    p->certificate = file_take(call, "FILE", CONFIG_FILE_PLAIN);
    p->key = file_take(call, "KEYFILE", CONFIG_FILE_SECRET);
}

void apply_tls_psk(struct config_call *call)
{
    const struct config_value *hash = config_get(call, "sha256|sha384");
    struct sks_profile *p = profile_current(call);

    if (p == NULL)
        return;
    if (p->type == SKS_ETSI014)
        config_wrong(call, "sks profile \"%s\" is of type etsi014, which uses certificates, no PSK", p->name);
    if (p->certificate != NULL || p->trustpoint != NULL)
        config_wrong(call, exclusive, p->name, p->certificate != NULL ? "certificate" : "trustpoint");
    p->psk_id = word_copy(call, "ID");
    p->psk_hash = hash != NULL && hash->choice == 0 ? PSK_SHA256 : PSK_SHA384;
    secret_take(call, &p->psk, "TLS PSK", TLS_PSK_MIN, TLS_PSK_MAX);
}

void apply_timeout(struct config_call *call)
{
    struct sks_profile *p = profile_current(call);

    if (p != NULL)
        p->timeout_ms = (uint32_t)config_get(call, "MS")->number;
}

void apply_hedge(struct config_call *call)
{
    struct sks_profile *p = profile_current(call);

    if (p != NULL)
        p->hedge_ms = (uint32_t)config_get(call, "MS")->number;
}

void apply_key_size(struct config_call *call)
{
    struct sks_profile *p = profile_current(call);

    if (p == NULL)
        return;
    p->key_size = (uint32_t)config_get(call, "BITS")->number;
    if (p->key_size % 8 != 0)
        config_wrong(call, "key-size %u is not a multiple of 8 bits", p->key_size);
}

void apply_prefetch(struct config_call *call)
{
    struct sks_profile *p = profile_current(call);

    if (p != NULL)
        p->prefetch = (uint32_t)config_get(call, "N")->number;
}

void apply_lifetime(struct config_call *call)
{
    struct sks_profile *p = profile_current(call);

    if (p != NULL)
        p->lifetime_s = (uint32_t)config_get(call, "SECONDS")->number;
}

void apply_max_lookups(struct config_call *call)
{
    struct sks_profile *p = profile_current(call);

    if (p == NULL)
        return;
    p->lookups = (uint32_t)config_get(call, "N")->number;
    p->lookups_s = (uint32_t)config_get(call, "RATE")->number;
}

void apply_id_format(struct config_call *call)
{
    struct sks_profile *p = profile_current(call);

    if (p != NULL)
        p->id_format = config_get(call, "raw|text")->choice == 1 ? PPK_ID_TEXT : PPK_ID_RAW;
}

void apply_entropy(struct config_call *call)
{
    struct sks_profile *p = profile_current(call);

    if (p == NULL)
        return;
    p->entropy = true;
    if (p->type == SKS_ETSI014)
        config_wrong(call, "sks profile \"%s\" is of type etsi014, which gives no entropy", p->name);
}

/* ---- IKEv2 profiles ---- */

void apply_ikev2_profile(struct config_call *call)
{
    struct builder *b = call->context;
    struct ikev2_profile *p = array_add(call, &b->conf->ikev2, &b->conf->n_ikev2, sizeof *p);

    if (p == NULL)
        return;
    p->name = word_copy(call, "NAME");
    p->line = call->line;
}

void apply_ikev2_keyring(struct config_call *call)
{
    const struct builder *b = call->context;

    if (ikev2_current(call) != NULL)
        reference_add(call, REFERENCE_KEYRING, b->conf->n_ikev2 - 1, 0, "NAME");
}

void apply_ikev2_keyring_ppk(struct config_call *call)
{
    const struct builder *b = call->context;

    if (ikev2_current(call) != NULL)
        reference_add(call, REFERENCE_KEYRING_PPK, b->conf->n_ikev2 - 1, 0, "NAME");
}

void apply_match(struct config_call *call)
{
    struct ikev2_profile *p = ikev2_current(call);

    if (p != NULL)
        group_add(call, &p->matches, &p->n_matches);
}
