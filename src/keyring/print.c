/* SPDX-License-Identifier: BSD-2-Clause */
/* How the commands of ppk.conf are printed from what they configured. */
#include "keyring/builder.h"

#include <stdio.h>
#include <string.h>

#define COUNT(values) (sizeof(values) / sizeof(values)[0])

static const char removed[] = "<removed>";

static bool secret_is_there(const struct config_secret *s)
{
    return s->sealed != NULL || s->value != NULL;
}

static void print_one(struct config_printer *p, const char *value)
{
    if (value != NULL)
        config_print(p, &value, 1, NULL);
}

/* Prints a number unless it is the default. */
static void print_number(struct config_printer *p, uint32_t number, uint32_t fallback)
{
    char text[16];

    if (number == fallback)
        return;
    (void)snprintf(text, sizeof text, "%u", number);
    print_one(p, text);
}

static void print_groups(struct config_printer *p, const struct address_group *groups, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct text group = {0};

        address_group_print(&groups[i], &group);
        print_one(p, group.s);
        text_free(&group);
    }
}

void print_master_key(struct config_printer *p, const void *object)
{
    print_one(p, ((const struct configuration *)object)->master_key_file);
}

void print_status_directory(struct config_printer *p, const void *object)
{
    print_one(p, ((const struct configuration *)object)->status_directory);
}

void print_log_file(struct config_printer *p, const void *object)
{
    print_one(p, ((const struct configuration *)object)->log_file);
}

void print_log_level(struct config_printer *p, const void *object)
{
    print_one(p, ((const struct configuration *)object)->log_level);
}

void print_keyrings(struct config_printer *p, const void *object)
{
    const struct configuration *c = object;

    for (size_t i = 0; i < c->n_keyrings; i++)
        config_print(p, (const char *[]){c->keyrings[i].name}, 1, &c->keyrings[i]);
}

void print_derived_keys(struct config_printer *p, const void *object)
{
    if (((const struct keyring *)object)->derived_sensitive)
        print_one(p, "sensitive");
}

void print_keks(struct config_printer *p, const void *object)
{
    const struct keyring *k = object;

    for (size_t i = 0; i < k->n_keks; i++) {
        const char *sealed = k->keks[i].key.sealed;
        const char *values[] = {k->keks[i].name, sealed != NULL ? "6" : NULL,
                                sealed != NULL ? sealed : removed};

        config_print(p, values, COUNT(values), NULL);
    }
}

void print_peers(struct config_printer *p, const void *object)
{
    const struct keyring *k = object;

    for (size_t i = 0; i < k->n_peers; i++)
        config_print(p, (const char *[]){k->peers[i].name}, 1, &k->peers[i]);
}

void print_addresses(struct config_printer *p, const void *object)
{
    const struct peer *peer = object;

    print_groups(p, peer->groups, peer->n_groups);
}

void print_psk(struct config_printer *p, const void *object)
{
    const struct config_secret *s = &((const struct peer *)object)->psk;
    const char *values[] = {s->sealed != NULL ? "6" : NULL, s->sealed != NULL ? s->sealed : removed};

    if (secret_is_there(s))
        config_print(p, values, COUNT(values), NULL);
}

void print_ppk_dynamic(struct config_printer *p, const void *object)
{
    const struct peer *peer = object;

    if (peer->dynamic != NULL)
        config_print(p, (const char *[]){peer->dynamic->name, peer->dynamic_required ? "" : NULL}, 2, NULL);
}

void print_ppk_manual(struct config_printer *p, const void *object)
{
    const struct peer *peer = object;

    for (size_t i = 0; i < peer->n_manual; i++) {
        const struct manual_ppk *m = &peer->manual[i];
        const char *sealed = m->key.sealed;
        const char *values[] = {(const char *)m->id.data, sealed != NULL ? "6" : NULL,
                                sealed != NULL ? sealed : removed, m->required ? "" : NULL};

        config_print(p, values, COUNT(values), NULL);
    }
}

void print_remote_system_id(struct config_printer *p, const void *object)
{
    print_one(p, ((const struct peer *)object)->remote_system_id);
}

void print_sks_profiles(struct config_printer *p, const void *object)
{
    const struct configuration *c = object;

    for (size_t i = 0; i < c->n_profiles; i++)
        config_print(
            p,
            (const char *[]){c->profiles[i].name, c->profiles[i].type == SKS_ETSI014 ? "etsi014" : "remote"},
            2, &c->profiles[i]);
}

void print_kme_servers(struct config_printer *p, const void *object)
{
    static const char *const kinds[] = {
        [KME_IPV4] = "ipv4", [KME_IPV6] = "ipv6", [KME_HOSTNAME] = "hostname"};
    const struct sks_profile *profile = object;

    for (size_t i = 0; i < profile->n_servers; i++) {
        const struct kme_server *s = &profile->servers[i];
        char port[8];

        (void)snprintf(port, sizeof port, "%u", s->port);
        config_print(p, (const char *[]){kinds[s->kind], s->host, port}, 3, NULL);
    }
}

void print_local_system_id(struct config_printer *p, const void *object)
{
    print_one(p, ((const struct sks_profile *)object)->local_system_id);
}

void print_trustpoint(struct config_printer *p, const void *object)
{
    print_one(p, ((const struct sks_profile *)object)->trustpoint);
}

void print_certificate(struct config_printer *p, const void *object)
{
    const struct sks_profile *profile = object;

    if (profile->certificate != NULL)
        config_print(p, (const char *[]){profile->certificate, profile->key}, 2, NULL);
}

void print_tls_psk(struct config_printer *p, const void *object)
{
    const struct sks_profile *profile = object;
    const char *sealed = profile->psk.sealed;
    const char *values[] = {profile->psk_id, sealed != NULL ? "6" : NULL, sealed != NULL ? sealed : removed,
                            profile->psk_hash == PSK_SHA256 ? "sha256" : NULL};

    if (profile->psk_id != NULL)
        config_print(p, values, COUNT(values), NULL);
}

void print_timeout(struct config_printer *p, const void *object)
{
    print_number(p, ((const struct sks_profile *)object)->timeout_ms, SKS_TIMEOUT_MS);
}

void print_hedge(struct config_printer *p, const void *object)
{
    print_number(p, ((const struct sks_profile *)object)->hedge_ms, sks_profile_hedge_ms(object));
}

void print_key_size(struct config_printer *p, const void *object)
{
    print_number(p, ((const struct sks_profile *)object)->key_size, SKS_KEY_SIZE);
}

void print_prefetch(struct config_printer *p, const void *object)
{
    print_number(p, ((const struct sks_profile *)object)->prefetch, 0);
}

void print_lifetime(struct config_printer *p, const void *object)
{
    print_number(p, ((const struct sks_profile *)object)->lifetime_s, SKS_LIFETIME_S);
}

void print_max_lookups(struct config_printer *p, const void *object)
{
    const struct sks_profile *profile = object;
    char number[16], rate[16];
    const char *const values[] = {number, rate};

    if (profile->lookups == SKS_LOOKUPS && profile->lookups_s == SKS_LOOKUPS_S)
        return;
    (void)snprintf(number, sizeof number, "%u", profile->lookups);
    (void)snprintf(rate, sizeof rate, "%u", profile->lookups_s);
    config_print(p, values, COUNT(values), NULL);
}

void print_id_format(struct config_printer *p, const void *object)
{
    if (((const struct sks_profile *)object)->id_format == PPK_ID_TEXT)
        print_one(p, "text");
}

void print_entropy(struct config_printer *p, const void *object)
{
    if (((const struct sks_profile *)object)->entropy)
        config_print(p, NULL, 0, NULL);
}

void print_ikev2_profiles(struct config_printer *p, const void *object)
{
    const struct configuration *c = object;

    for (size_t i = 0; i < c->n_ikev2; i++)
        config_print(p, (const char *[]){c->ikev2[i].name}, 1, &c->ikev2[i]);
}

void print_ikev2_keyring(struct config_printer *p, const void *object)
{
    const struct ikev2_profile *profile = object;

    print_one(p, profile->keyring != NULL ? profile->keyring->name : NULL);
}

void print_ikev2_keyring_ppk(struct config_printer *p, const void *object)
{
    const struct ikev2_profile *profile = object;

    print_one(p, profile->keyring_ppk != NULL ? profile->keyring_ppk->name : NULL);
}

void print_matches(struct config_printer *p, const void *object)
{
    const struct ikev2_profile *profile = object;

    print_groups(p, profile->matches, profile->n_matches);
}

void configuration_print(const struct configuration *c, const char *command, const char *name,
                         struct text *out)
{
    struct config_printer p = {
        .out = out, .language = configuration_language(), .only_command = command, .only_name = name};

    config_print_all(&p, c);
}
