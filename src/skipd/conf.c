/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration of skipd: how it is read and checked, and what it answers. */
#include "skipd/conf_private.h"

#include "config/config.h"
#include "config/type6.h"

#include <arpa/inet.h>
#include <fnmatch.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *conf_grow(void *list, size_t *n, size_t size)
{
    char *p = reallocarray(list, *n + 1, size);

    if (p == NULL)
        abort();
    memset(p + *n * size, 0, size);
    ++*n;
    return p;
}

char *conf_copy(const char *s)
{
    char *p = strdup(s);

    if (p == NULL)
        abort();
    return p;
}

/* ---- what is checked once all is read ---- */

static void master_key_read(struct skipd_conf *c, struct config_errors *errors)
{
    const char *credentials = secure_getenv("CREDENTIALS_DIRECTORY");
    struct fault fault = {0};

    if (c->master_key_file == NULL && credentials != NULL &&
        asprintf(&c->master_key_file, "%s/skipd-master-key", credentials) < 0)
        abort();
    if (c->master_key_file == NULL) {
        config_error(errors, 0, "no master-key file, and no systemd credential skipd-master-key");
        return;
    }
    c->master_key = config_master_key_read(c->master_key_file, &fault);
    if (c->master_key == NULL)
        config_error(errors, 0, "%s", fault.text);
}

/* Opens a Type 6 PSK. */
static void identity_unseal(struct identity *i, struct type6 *type6, struct config_errors *errors)
{
    struct fault fault = {0};

    if (i->psk_sealed == NULL || type6 == NULL)
        return;
    i->psk = type6_open(type6, i->psk_sealed, &fault);
    if (i->psk == NULL) {
        config_error(errors, i->psk_line, "%s", fault.text);
        return;
    }
    if (secret_len(i->psk) < 16 || secret_len(i->psk) > 256)
        config_error(errors, i->psk_line, "a TLS PSK has 16 to 256 bytes, this one %zu", secret_len(i->psk));
}

static void secrets_unseal(struct skipd_conf *c, struct config_errors *errors)
{
    struct secret_view view = {0};
    struct type6 *type6 = NULL;

    if (c->master_key == NULL || !secret_open(c->master_key, &view))
        return;
    type6 = type6_new(view.data, view.len);
    secret_close(&view);
    for (size_t i = 0; i < c->n_clients; i++)
        identity_unseal(&c->clients[i].identity, type6, errors);
    for (size_t i = 0; i < c->n_peers; i++)
        identity_unseal(&c->peers[i].identity, type6, errors);
    type6_free(type6);
}

/* Is there a way to prove, and what that takes? */
static void identity_check(const struct skipd_conf *c, const struct identity *i, const char *what,
                           const char *name, unsigned line, struct config_errors *errors)
{
    if (i->psk_id == NULL && i->n_names == 0 && !i->server_auth_only)
        config_error(errors, line,
                     "%s '%s' has neither 'tls psk' nor 'certificate': nobody could prove to be it", what,
                     name);
    if (i->n_names > 0 && c->trustpoint == NULL)
        config_error(errors, line, "%s '%s' has a certificate, but there is no 'tls trustpoint'", what, name);
    if ((i->n_names > 0 || i->server_auth_only) && c->certificate == NULL)
        config_error(errors, line, "%s '%s' uses certificates, but there is no 'tls certificate' of our own",
                     what, name);
}

static void clients_check(struct skipd_conf *c, struct config_errors *errors)
{
    unsigned anonymous = 0;

    for (size_t i = 0; i < c->n_clients; i++) {
        struct skipd_client *client = &c->clients[i];

        identity_check(c, &client->identity, "client", client->name, client->line, errors);
        for (size_t j = 0; client->identity.psk_id != NULL && j < i; j++)
            if (c->clients[j].identity.psk_id != NULL &&
                strcmp(c->clients[j].identity.psk_id, client->identity.psk_id) == 0)
                config_error(errors, client->identity.psk_line, "client '%s' has the same PSK identity",
                             c->clients[j].name);
        if (client->identity.server_auth_only && anonymous++ > 0)
            config_error(errors, client->line, "only one client can be server-auth-only");
        if (client->limit.in_flight == 0)
            client->limit = c->limit;
        if (client->permissions == 0)
            client->permissions = PERMIT_ALL;
        if (client->system_id == NULL && c->system_id != NULL)
            client->system_id = conf_copy(c->system_id);
    }
}

static void peers_check(struct skipd_conf *c, struct config_errors *errors)
{
    for (size_t i = 0; i < c->n_peers; i++) {
        struct skipd_peer *p = &c->peers[i];

        identity_check(c, &p->identity, "peer", p->name, p->line, errors);
        if (p->remotes.n == 0) {
            p->remotes.list = conf_grow(p->remotes.list, &p->remotes.n, sizeof *p->remotes.list);
            p->remotes.list[0] = conf_copy(p->name);
        }
        for (size_t j = 0; p->identity.psk_id != NULL && j < i; j++)
            if (c->peers[j].identity.psk_id != NULL &&
                strcmp(c->peers[j].identity.psk_id, p->identity.psk_id) == 0)
                config_error(errors, p->identity.psk_line, "peer '%s' has the same PSK identity",
                             c->peers[j].name);
        for (size_t j = 0; j < p->remotes.n; j++)
            if (c->system_id != NULL && strcmp(p->remotes.list[j], c->system_id) == 0)
                config_error(errors, p->line, "peer '%s' serves our own system ID", p->name);
    }
}

unsigned skipd_listen_port(const struct skipd_listen *l)
{
    return l->address.ss_family == AF_INET    ? ntohs(((const struct sockaddr_in *)&l->address)->sin_port)
           : l->address.ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)&l->address)->sin6_port)
                                              : 0;
}

static void listens_check(const struct skipd_conf *c, struct config_errors *errors)
{
    bool served = false;

    for (size_t i = 0; i < c->n_listens; i++) {
        const struct skipd_listen *l = &c->listens[i];

        served = served || l->kind == LISTEN_SKIP || l->kind == LISTEN_ETSI014;
        for (size_t j = 0; l->kind == LISTEN_ADMIN && skipd_listen_port(l) != 0 && j < c->n_listens; j++)
            if (c->listens[j].kind != LISTEN_ADMIN &&
                skipd_listen_port(l) == skipd_listen_port(&c->listens[j]))
                config_error(errors, l->line, "the port of the 'listen' in line %u is no admin port",
                             c->listens[j].line);
        if (l->kind == LISTEN_ETSI014 && (c->certificate == NULL || c->trustpoint == NULL))
            config_error(errors, l->line,
                         "ETSI 014 is spoken with certificates on both sides: 'tls certificate' and 'tls "
                         "trustpoint' are needed");
    }
    if (!served)
        config_error(errors, 0, "no 'listen' for clients");
}

static void check(struct skipd_conf *c, struct config_errors *errors)
{
    if (c->system_id == NULL)
        config_error(errors, 0, "no system-id");
    if (c->store_kind == NULL)
        config_error(errors, 0, "no store");
    if (c->stores > 1)
        config_error(errors, 0, "%u stores: there can be one", c->stores);
    listens_check(c, errors);
    if (c->n_clients == 0)
        config_error(errors, 0, "no client");
    clients_check(c, errors);
    peers_check(c, errors);
    master_key_read(c, errors);
    secrets_unseal(c, errors);
}

struct skipd_conf *skipd_conf_load(const char *path, struct text *errors)
{
    struct skipd_conf *c = calloc(1, sizeof *c);
    struct config_errors mistakes = {0};

    if (c == NULL)
        abort();
    c->references = 1;
    c->max_keys = 1000000;
    c->lifetime_s = 3600;
    c->key_size = 256;
    c->key_size_min = 128;
    c->key_size_max = 4096;
    c->sync_timeout_ms = 1500;
    c->max_connections = 1000;
    c->max_connections_per_client = 250;
    c->limit = (struct request_limit){128, 5000};
    c->handshake_timeout_s = 5;
    c->idle_timeout_s = 60;
    if (config_read_file(&skipd_language, c, path, &mistakes) || mistakes.count > 0)
        check(c, &mistakes);
    if (mistakes.count > 0) {
        config_errors_print(&mistakes, path, errors);
        skipd_conf_free(c);
        c = NULL;
    }
    config_errors_free(&mistakes);
    return c;
}

static void names_free(struct names *n)
{
    for (size_t i = 0; i < n->n; i++)
        free(n->list[i]);
    free(n->list);
}

static void identity_free(struct identity *i)
{
    free(i->psk_id);
    free(i->psk_sealed);
    secret_free(i->psk);
    for (size_t j = 0; j < i->n_names; j++)
        free(i->names[j].text);
    free(i->names);
}

static void conf_wipe(struct skipd_conf *c)
{
    for (size_t i = 0; i < c->n_clients; i++) {
        free(c->clients[i].name);
        free(c->clients[i].system_id);
        names_free(&c->clients[i].remotes);
        identity_free(&c->clients[i].identity);
    }
    for (size_t i = 0; i < c->n_peers; i++) {
        free(c->peers[i].name);
        for (size_t j = 0; j < c->peers[i].n_addresses; j++)
            free(c->peers[i].addresses[j].host);
        free(c->peers[i].addresses);
        names_free(&c->peers[i].remotes);
        identity_free(&c->peers[i].identity);
    }
    free(c->clients);
    free(c->peers);
    free(c->listens);
    free(c->system_id);
    free(c->certificate);
    free(c->key);
    free(c->trustpoint);
    free(c->store_kind);
    free(c->store_where);
    free(c->master_key_file);
    secret_free(c->master_key);
    free(c);
}

const struct skipd_conf *skipd_conf_ref(const struct skipd_conf *c)
{
    ((struct skipd_conf *)c)->references++;
    return c;
}

void skipd_conf_free(const struct skipd_conf *c)
{
    struct skipd_conf *own = (struct skipd_conf *)c;

    if (own != NULL && --own->references == 0)
        conf_wipe(own);
}

bool names_match(const struct names *globs, const char *id)
{
    for (size_t i = 0; i < globs->n; i++)
        if (fnmatch(globs->list[i], id, 0) == 0)
            return true;
    return false;
}

bool skipd_conf_is_local(const struct skipd_conf *c, const char *system_id)
{
    if (strcmp(c->system_id, system_id) == 0)
        return true;
    for (size_t i = 0; i < c->n_clients; i++)
        if (strcmp(c->clients[i].system_id, system_id) == 0)
            return true;
    return false;
}

const struct skipd_peer *skipd_conf_peer_for(const struct skipd_conf *c, const char *system_id)
{
    for (size_t i = 0; i < c->n_peers; i++)
        for (size_t j = 0; j < c->peers[i].remotes.n; j++)
            if (strcmp(c->peers[i].remotes.list[j], system_id) == 0)
                return &c->peers[i];
    for (size_t i = 0; i < c->n_peers; i++)
        if (names_match(&c->peers[i].remotes, system_id))
            return &c->peers[i];
    return NULL;
}
