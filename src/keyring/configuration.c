/* SPDX-License-Identifier: BSD-2-Clause */
/* Loading a configuration, and giving it back. */
#include "keyring/builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CREDENTIAL "ppk-master-key"

struct secret *configuration_master_key(const struct configuration *c, struct fault *fault)
{
    const char *directory = secure_getenv("CREDENTIALS_DIRECTORY");
    struct secret *key = NULL;
    char *path = NULL;
    FILE *there;

    if (c->master_key_file != NULL)
        return config_master_key_read(c->master_key_file, fault);
    if (directory == NULL || asprintf(&path, "%s/" CREDENTIAL, directory) < 0)
        return NULL;
    there = fopen(path, "re");
    if (there != NULL) { /* the service may have been given other credentials only */
        (void)fclose(there);
        key = config_master_key_read(path, fault);
    }
    free(path);
    return key;
}

static void master_key_apply(struct configuration *c, struct config_errors *errors)
{
    struct fault fault = {""};
    struct secret *key = configuration_master_key(c, &fault);
    unsigned line = 0;

    if (key == NULL && fault.text[0] != '\0')
        config_error(errors, 0, "%s", fault.text);
    if (key != NULL && !configuration_open(c, key, &line, &fault))
        config_error(errors, line, "%s", fault.text);
    secret_free(key);
}

/* Reads from the buffer, or, if it is NULL, from the file. */
static struct configuration *configuration_read(const char *name, const char *buffer, size_t len,
                                                struct text *out)
{
    const struct config_language *language = configuration_language();
    struct configuration *c = calloc(1, sizeof *c);
    struct builder b = {.conf = c};
    struct config_errors errors = {0};

    if (c == NULL || (c->path = strdup(name)) == NULL) {
        config_error(&errors, 0, "no memory left");
        goto out;
    }
    if (buffer != NULL)
        (void)config_read_buffer(language, &b, name, buffer, len, &errors);
    else
        (void)config_read_file(language, &b, name, &errors);
    builder_resolve(&b, &errors);
    if (errors.count == 0 && c->sealed)
        master_key_apply(c, &errors);
out:
    for (size_t i = 0; i < b.n_references; i++)
        free(b.references[i].name);
    free(b.references);
    if (errors.count > 0) {
        config_errors_print(&errors, name, out);
        configuration_free(c);
        c = NULL;
    }
    config_errors_free(&errors);
    return c;
}

struct configuration *configuration_load(const char *path, struct text *errors)
{
    return configuration_read(path, NULL, 0, errors);
}

struct configuration *configuration_parse(const char *name, const char *buffer, size_t len,
                                          struct text *errors)
{
    return configuration_read(name, len > 0 ? buffer : "", len, errors);
}

static void config_secret_clear(struct config_secret *s)
{
    secret_free(s->value);
    free(s->sealed);
}

static void profile_clear(struct sks_profile *p)
{
    for (size_t i = 0; i < p->n_servers; i++)
        free(p->servers[i].host);
    free(p->servers);
    free(p->name);
    free(p->local_system_id);
    free(p->trustpoint);
    free(p->certificate);
    free(p->key);
    free(p->psk_id);
    config_secret_clear(&p->psk);
}

static void peer_clear(struct peer *p)
{
    for (size_t i = 0; i < p->n_manual; i++) {
        free((void *)p->manual[i].id.data);
        config_secret_clear(&p->manual[i].key);
    }
    free(p->manual);
    free(p->name);
    free(p->groups);
    free(p->remote_system_id);
    config_secret_clear(&p->psk);
}

void configuration_free(struct configuration *c)
{
    if (c == NULL)
        return;
    configuration_index_free(c);
    for (size_t i = 0; i < c->n_keyrings; i++) {
        for (size_t j = 0; j < c->keyrings[i].n_peers; j++)
            peer_clear(&c->keyrings[i].peers[j]);
        for (size_t j = 0; j < c->keyrings[i].n_keks; j++) {
            free(c->keyrings[i].keks[j].name);
            config_secret_clear(&c->keyrings[i].keks[j].key);
        }
        free(c->keyrings[i].peers);
        free(c->keyrings[i].keks);
        free(c->keyrings[i].name);
    }
    for (size_t i = 0; i < c->n_profiles; i++)
        profile_clear(&c->profiles[i]);
    for (size_t i = 0; i < c->n_ikev2; i++) {
        free(c->ikev2[i].name);
        free(c->ikev2[i].matches);
    }
    free(c->keyrings);
    free(c->profiles);
    free(c->ikev2);
    free(c->master_key_file);
    free(c->status_directory);
    free(c->log_file);
    free(c->path);
    free(c);
}
