/* SPDX-License-Identifier: BSD-2-Clause */
/* The language of skipd.conf: its commands, and what each does to the configuration that is read. */
#include "skipd/conf_private.h"

#include "config/config.h"
#include "config/type6.h"
#include "skipd/store.h"
#include "skipd/sync_message.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { TOP, CLIENT, PEER };

#define NO_LOOPBACK "the admin listener is for this machine only: 127.0.0.0/8, ::1, or a Unix socket"

static const char *word(const struct config_call *call, const char *name)
{
    const struct config_value *v = config_get(call, name);

    return v != NULL ? v->text : NULL;
}

static uint32_t number(const struct config_call *call, const char *name)
{
    return (uint32_t)config_get(call, name)->number;
}

/* A file's name, as it counts from the configuration's directory. */
static void set_file(struct config_call *call, char **where, const char *name)
{
    free(*where);
    *where = config_file_name(call, name);
    if (*where == NULL)
        abort(); /* as conf_grow() */
}

static void apply_system_id(struct config_call *call)
{
    struct skipd_conf *c = call->context;
    const char *id = word(call, "NAME");

    if (!system_id_is_concrete(id)) {
        config_wrong(call, "a system ID has no *, ?, [, ], \\ or control characters");
        return;
    }
    if (c->system_id == NULL)
        c->system_id = conf_copy(id);
    c->system_id_line = call->line;
}

static void address_set(struct config_call *call, struct skipd_listen *l, int family)
{
    const struct config_value *address = config_get(call, family == AF_INET ? "A.B.C.D" : "IPV6");
    uint16_t port = htons((uint16_t)number(call, "N"));

    if (family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port};

        memcpy(&in.sin_addr, address->group.bytes, 4);
        memcpy(&l->address, &in, sizeof in);
        l->address_len = sizeof in;
    } else {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port};

        memcpy(&in6.sin6_addr, address->group.bytes, 16);
        memcpy(&l->address, &in6, sizeof in6);
        l->address_len = sizeof in6;
    }
}

static struct skipd_listen *listen_new(struct config_call *call, enum listen_kind kind)
{
    struct skipd_conf *c = call->context;
    struct skipd_listen *l = NULL;

    c->listens = conf_grow(c->listens, &c->n_listens, sizeof *c->listens);
    l = &c->listens[c->n_listens - 1];
    l->kind = kind;
    l->line = call->line;
    return l;
}

static void listen_add(struct config_call *call, int family, enum listen_kind kind)
{
    address_set(call, listen_new(call, kind), family);
}

static void apply_listen_ipv4(struct config_call *call)
{
    listen_add(call, AF_INET, LISTEN_SKIP);
}

static void apply_listen_ipv6(struct config_call *call)
{
    listen_add(call, AF_INET6, LISTEN_SKIP);
}

static void apply_listen_peers_ipv4(struct config_call *call)
{
    listen_add(call, AF_INET, LISTEN_PEERS);
}

static void apply_listen_peers_ipv6(struct config_call *call)
{
    listen_add(call, AF_INET6, LISTEN_PEERS);
}

static void apply_listen_etsi014_ipv4(struct config_call *call)
{
    listen_add(call, AF_INET, LISTEN_ETSI014);
}

static void apply_listen_etsi014_ipv6(struct config_call *call)
{
    listen_add(call, AF_INET6, LISTEN_ETSI014);
}

static void apply_admin_unix(struct config_call *call)
{
    struct skipd_listen *l = listen_new(call, LISTEN_ADMIN);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *mode = word(call, "MODE");
    char *path = config_file_name(call, "PATH"), *end = NULL;

    l->mode = mode != NULL ? (unsigned)strtoul(mode, &end, 8) : 0660;
    if (mode != NULL && (*end != '\0' || mode[0] == '-' || l->mode > 0777))
        config_wrong(call, "a mode is three octal digits, as of chmod(1)");
    if (path == NULL)
        abort();
    if (strlen(path) >= sizeof un.sun_path)
        config_wrong(call, "the name of a socket has at most %zu bytes", sizeof un.sun_path - 1);
    else
        memcpy(un.sun_path, path, strlen(path));
    free(path);
    memcpy(&l->address, &un, sizeof un);
    l->address_len = sizeof un;
}

static void apply_admin_ipv4(struct config_call *call)
{
    listen_add(call, AF_INET, LISTEN_ADMIN);
    if (config_get(call, "A.B.C.D")->group.bytes[0] != 127)
        config_wrong(call, NO_LOOPBACK);
}

static void apply_admin_ipv6(struct config_call *call)
{
    listen_add(call, AF_INET6, LISTEN_ADMIN);
    if (memcmp(config_get(call, "IPV6")->group.bytes, &in6addr_loopback, sizeof in6addr_loopback) != 0)
        config_wrong(call, NO_LOOPBACK);
}

static void apply_certificate_file(struct config_call *call)
{
    struct skipd_conf *c = call->context;

    set_file(call, &c->certificate, "FILE");
    set_file(call, &c->key, "KEY");
}

static void apply_trustpoint(struct config_call *call)
{
    struct skipd_conf *c = call->context;

    set_file(call, &c->trustpoint, "FILE");
}

static void apply_store(struct config_call *call)
{
    struct skipd_conf *c = call->context;
    const char *name = store_kind_name(config_get(call, STORE_WORDS)->choice), *where = word(call, "WHERE");
    const struct store_kind *kind = store_kind_find(name);
    struct fault fault = {0};

    if (kind->check != NULL && !kind->check(where, &fault))
        config_wrong(call, "%s", fault.text);
    c->stores++;
    c->store_line = call->line;
    free(c->store_kind);
    c->store_kind = conf_copy(name);
    if (kind->is_file) {
        set_file(call, &c->store_where, "WHERE");
    } else {
        free(c->store_where);
        c->store_where = conf_copy(where);
    }
}

static void apply_master_key(struct config_call *call)
{
    struct skipd_conf *c = call->context;

    set_file(call, &c->master_key_file, "FILE");
    c->master_key_line = call->line;
}

static void apply_max_keys(struct config_call *call)
{
    ((struct skipd_conf *)call->context)->max_keys = number(call, "N");
}

static void apply_lifetime(struct config_call *call)
{
    ((struct skipd_conf *)call->context)->lifetime_s = number(call, "SECONDS");
}

static void apply_key_size(struct config_call *call)
{
    struct skipd_conf *c = call->context;
    const struct config_value *min = config_get(call, "MIN"), *max = config_get(call, "MAX");

    c->key_size = number(call, "BITS");
    if (min != NULL)
        c->key_size_min = (uint32_t)min->number;
    if (max != NULL)
        c->key_size_max = (uint32_t)max->number;
    if (c->key_size % 8 != 0 || c->key_size_min % 8 != 0 || c->key_size_max % 8 != 0)
        config_wrong(call, "key sizes are multiples of 8 bits");
    else if (c->key_size < c->key_size_min || c->key_size > c->key_size_max)
        config_wrong(call, "the key size %u is not between its minimum %u and maximum %u", c->key_size,
                     c->key_size_min, c->key_size_max);
}

static void apply_sync_timeout(struct config_call *call)
{
    ((struct skipd_conf *)call->context)->sync_timeout_ms = number(call, "MS");
}

static void apply_max_connections(struct config_call *call)
{
    struct skipd_conf *c = call->context;
    const struct config_value *each = config_get(call, "EACH");

    c->max_connections = number(call, "N");
    if (each != NULL)
        c->max_connections_per_client = (uint32_t)each->number;
}

static void apply_max_requests(struct config_call *call)
{
    struct skipd_conf *c = call->context;
    struct request_limit *limit = c->client != NULL ? &c->client->limit : &c->limit;

    limit->in_flight = number(call, "N");
    limit->per_second = number(call, "RATE");
}

static void apply_handshake_timeout(struct config_call *call)
{
    ((struct skipd_conf *)call->context)->handshake_timeout_s = number(call, "SECONDS");
}

static void apply_idle_timeout(struct config_call *call)
{
    ((struct skipd_conf *)call->context)->idle_timeout_s = number(call, "SECONDS");
}

static void apply_client(struct config_call *call)
{
    struct skipd_conf *c = call->context;
    const char *name = word(call, "NAME");

    for (size_t i = 0; i < c->n_clients; i++)
        if (strcmp(c->clients[i].name, name) == 0)
            config_wrong(call, "client '%s' is in line %u already", name, c->clients[i].line);
    c->clients = conf_grow(c->clients, &c->n_clients, sizeof *c->clients);
    c->client = &c->clients[c->n_clients - 1];
    c->peer = NULL;
    c->client->name = conf_copy(name);
    c->client->line = call->line;
}

static void apply_peer(struct config_call *call)
{
    struct skipd_conf *c = call->context;
    const char *name = word(call, "NAME");

    for (size_t i = 0; i < c->n_peers; i++)
        if (strcmp(c->peers[i].name, name) == 0)
            config_wrong(call, "peer '%s' is in line %u already", name, c->peers[i].line);
    c->peers = conf_grow(c->peers, &c->n_peers, sizeof *c->peers);
    c->peer = &c->peers[c->n_peers - 1];
    c->client = NULL;
    c->peer->name = conf_copy(name);
    c->peer->line = call->line;
}

/* The identity of the level at hand. */
static struct identity *identity_at_hand(struct config_call *call)
{
    struct skipd_conf *c = call->context;

    return c->client != NULL ? &c->client->identity : &c->peer->identity;
}

static void apply_psk(struct config_call *call)
{
    struct identity *i = identity_at_hand(call);
    const struct config_value *hash = config_get(call, "sha256|sha384");

    if (i->psk_id != NULL)
        return; /* CONFIG_ONCE has told it */
    i->psk_id = conf_copy(word(call, "ID"));
    i->psk_line = call->line;
    i->psk_hash = hash == NULL ? PSK_HASH_ANY : hash->choice == 0 ? PSK_HASH_SHA256 : PSK_HASH_SHA384;
    config_secret_take(call, "KEY", "TLS PSK", 16, 256, &i->psk, &i->psk_sealed);
}

static void apply_certificate_name(struct config_call *call)
{
    struct identity *i = identity_at_hand(call);
    struct certificate_name *n = NULL;

    i->names = conf_grow(i->names, &i->n_names, sizeof *i->names);
    n = &i->names[i->n_names - 1];
    n->field = (enum certificate_field)config_get(call, "subject|san|fingerprint")->choice;
    n->text = conf_copy(word(call, "TEXT"));
    if (n->field == CERTIFICATE_FINGERPRINT && (strlen(n->text) != 64 || !hex_is(n->text, 64)))
        config_wrong(call, "a fingerprint is the SHA-256 of the certificate in 64 hex digits");
}

static void apply_server_auth_only(struct config_call *call)
{
    identity_at_hand(call)->server_auth_only = true;
}

static void apply_remote(struct config_call *call)
{
    struct skipd_conf *c = call->context;
    struct names *n = c->client != NULL ? &c->client->remotes : &c->peer->remotes;

    n->list = conf_grow(n->list, &n->n, sizeof *n->list);
    n->list[n->n - 1] = conf_copy(word(call, "PATTERN"));
}

static void apply_client_system_id(struct config_call *call)
{
    struct skipd_conf *c = call->context;

    if (!system_id_is_concrete(word(call, "NAME")))
        config_wrong(call, "a system ID has no *, ?, [, ], \\ or control characters");
    free(c->client->system_id);
    c->client->system_id = conf_copy(word(call, "NAME"));
}

static void apply_permit(struct config_call *call)
{
    struct skipd_conf *c = call->context;

    c->client->permissions |= 1U << config_get(call, "capabilities|key|key-id|entropy")->choice;
}

static void address_add(struct config_call *call, enum peer_address_kind kind, const char *argument)
{
    struct skipd_peer *p = ((struct skipd_conf *)call->context)->peer;

    p->addresses = conf_grow(p->addresses, &p->n_addresses, sizeof *p->addresses);
    p->addresses[p->n_addresses - 1] =
        (struct peer_address){conf_copy(word(call, argument)), kind, (uint16_t)number(call, "N")};
}

static void apply_address_ipv4(struct config_call *call)
{
    address_add(call, PEER_IPV4, "A.B.C.D");
}

static void apply_address_ipv6(struct config_call *call)
{
    address_add(call, PEER_IPV6, "IPV6");
}

static void apply_address_hostname(struct config_call *call)
{
    address_add(call, PEER_HOSTNAME, "HOST");
}

static const struct config_level LEVELS[] = {
    {"", "The key source itself."},
    {"client NAME", "An encryptor that may ask for keys, and how it proves who it is."},
    {"peer NAME", "Another key source that keys are shared with, and how it proves who it is."},
};

static const struct config_command COMMANDS[] = {
    {CONFIG_IN(TOP), "system-id <NAME:255>", 0, CONFIG_ONCE,
     "The system ID of this key source's encryptors, as SKIP's localSystemID.", apply_system_id, NULL},
    {CONFIG_IN(TOP), "listen ipv4 <A.B.C.D:ipv4> port <N:0-65535>", 0, 0,
     "Serves SKIP at this address.\nPort 0 takes a free one.", apply_listen_ipv4, NULL},
    {CONFIG_IN(TOP), "listen ipv6 <IPV6:ipv6> port <N:0-65535>", 0, 0, "The same for IPv6.",
     apply_listen_ipv6, NULL},
    {CONFIG_IN(TOP), "listen peers ipv4 <A.B.C.D:ipv4> port <N:0-65535>", 0, 0,
     "Takes keys from other key sources at this address.", apply_listen_peers_ipv4, NULL},
    {CONFIG_IN(TOP), "listen peers ipv6 <IPV6:ipv6> port <N:0-65535>", 0, 0, "The same for IPv6.",
     apply_listen_peers_ipv6, NULL},
    {CONFIG_IN(TOP), "listen etsi014 ipv4 <A.B.C.D:ipv4> port <N:0-65535>", 0, 0,
     "Serves ETSI GS QKD 014 at this address, to clients with certificates; a client's SAE ID is its system "
     "ID.",
     apply_listen_etsi014_ipv4, NULL},
    {CONFIG_IN(TOP), "listen etsi014 ipv6 <IPV6:ipv6> port <N:0-65535>", 0, 0, "The same for IPv6.",
     apply_listen_etsi014_ipv6, NULL},
    {CONFIG_IN(TOP), "admin unix <PATH:file> [mode <MODE:4>]", 0, 0,
     "Shows operators what goes on, by HTTP at this Unix socket: a page at /, OpenMetrics at /metrics, "
     "health in "
     "JSON at /health; nothing can be changed there, and no key is shown.\nMODE is that of the file in octal "
     "digits, by default 660. Without an admin command, there is no such listener.",
     apply_admin_unix, NULL},
    {CONFIG_IN(TOP), "admin ipv4 <A.B.C.D:ipv4> port <N:0-65535>", 0, 0,
     "The same at a loopback address, for everybody on this machine.", apply_admin_ipv4, NULL},
    {CONFIG_IN(TOP), "admin ipv6 <IPV6:ipv6> port <N:0-65535>", 0, 0, "The same for IPv6.", apply_admin_ipv6,
     NULL},
    {CONFIG_IN(TOP), "tls certificate <FILE:file> key <KEY:file>", 0, CONFIG_ONCE,
     "Certificate chain and private key (PEM), for those who do not use a PSK.", apply_certificate_file,
     NULL},
    {CONFIG_IN(TOP), "tls trustpoint <FILE:file>", 0, CONFIG_ONCE,
     "The CAs (PEM) of clients' and peers' certificates.", apply_trustpoint, NULL},
    {CONFIG_IN(TOP), "store {" STORE_WORDS "} <WHERE:secret>", 0, 0,
     "Where keys are kept.\n.Cm sqlite\nis an SQLite database, and WHERE its file.\n"
     ".Cm postgresql\nis a PostgreSQL database, which the key sources of one site share; all of them have "
     "the "
     "same system ID and master key.\n"
     "WHERE is a connection string of libpq, in quotes. A database on another machine is reached by TLS with "
     "sslmode=verify-full.",
     apply_store, NULL},
    {CONFIG_IN(TOP), "master-key file <FILE:file>", 0, CONFIG_ONCE,
     "The key that the store and Type 6 secrets are encrypted under; without it, the systemd credential "
     "skipd-master-key.",
     apply_master_key, NULL},
    {CONFIG_IN(TOP), "max-keys <N:1-1000000000>", 0, CONFIG_ONCE,
     "Keys that may wait at once; more are refused until some are fetched or have expired.\nThe IDs of "
     "fetched keys are kept until these would have expired, and a minute longer: N of them, or 1000000 if "
     "that is more. Where more keys than that are fetched in one lifetime, N has to be bigger.\nDefault "
     "1000000.",
     apply_max_keys, NULL},
    {CONFIG_IN(TOP), "lifetime <SECONDS:1-604000>", 0, CONFIG_ONCE,
     "How long a key can be fetched by its ID after it was given to the initiator.\nDefault 3600.",
     apply_lifetime, NULL},
    {CONFIG_IN(TOP), "key-size <BITS:64-8192> [minimum <MIN:64-8192>] [maximum <MAX:64-8192>]", 0,
     CONFIG_ONCE,
     "Size of keys where the client does not say, and the bounds of what he may say.\nDefault 256, 128 and "
     "4096.",
     apply_key_size, NULL},
    {CONFIG_IN(TOP), "sync-timeout <MS:50-60000>", 0, CONFIG_ONCE,
     "How long a peer has for confirming that it has a key.\nDefault 1500.", apply_sync_timeout, NULL},
    {CONFIG_IN(TOP), "max-connections <N:1-100000> [per-client <EACH:1-100000>]", 0, CONFIG_ONCE,
     "Connections of clients that are open at once: in all, and of each; a few more of one are answered 503, "
     "the rest are closed.\nDefault 1000 and 250.",
     apply_max_connections, NULL},
    {CONFIG_IN(TOP) | CONFIG_IN(CLIENT), "max-requests <N:1-100000> per-second <RATE:1-1000000>", 0,
     CONFIG_ONCE,
     "Requests of one client that may be under way at once, and that are taken in a second; more are "
     "answered 429, to be "
     "repeated after a second. In a client: for this one.\nDefault 128 and 5000.",
     apply_max_requests, NULL},
    {CONFIG_IN(TOP), "handshake-timeout <SECONDS:1-600>", 0, CONFIG_ONCE,
     "How long a client has for the TLS handshake; somebody who is no client, or has too many connections, "
     "also for asking.\nDefault 5.",
     apply_handshake_timeout, NULL},
    {CONFIG_IN(TOP), "idle-timeout <SECONDS:1-3600>", 0, CONFIG_ONCE,
     "How long a connection may be without a complete request before it is closed.\nDefault 60.",
     apply_idle_timeout, NULL},
    {CONFIG_IN(TOP), "client <NAME:64>", CLIENT, 0, "Who may ask for keys.", apply_client, NULL},
    {CONFIG_IN(TOP), "peer <NAME:64>", PEER, 0, "Who keys are shared with.", apply_peer, NULL},
    {CONFIG_IN(CLIENT), "system-id <NAME:255>", 0, CONFIG_ONCE,
     "The client's own system ID, where it is not the key source's.", apply_client_system_id, NULL},
    {CONFIG_IN(CLIENT), "permit {capabilities|key|key-id|entropy}", 0, 0,
     "A method that the client may use; without this command, all.", apply_permit, NULL},
    {CONFIG_IN(CLIENT), "tls server-auth-only", 0, CONFIG_ONCE,
     "Serves whoever connects without proving who he is.\nFor networks where nobody else can connect.",
     apply_server_auth_only, NULL},
    {CONFIG_IN(CLIENT) | CONFIG_IN(PEER),
     "tls psk id <ID:255> key [0|6|hex] <KEY:secret> [hash {sha256|sha384}]", 0, CONFIG_ONCE,
     "The preshared key of TLS, of 16 to 256 bytes, and its hash in TLS 1.3 (either, if not given).",
     apply_psk, NULL},
    {CONFIG_IN(CLIENT) | CONFIG_IN(PEER), "certificate {subject|san|fingerprint} <TEXT>", 0, 0,
     "A name in the certificate: the whole subject as RFC 2253 has it, one subject alternative name (DNS, "
     "address or "
     "e-mail), or the SHA-256 fingerprint.",
     apply_certificate_name, NULL},
    {CONFIG_IN(CLIENT) | CONFIG_IN(PEER), "remote-system-id <PATTERN:255>", 0, 0,
     "Client: a remote system (glob) that it may ask for; without this command, all.\nPeer: a system (glob) "
     "that it "
     "serves; without this command, the peer's name.",
     apply_remote, NULL},
    {CONFIG_IN(PEER), "address ipv4 <A.B.C.D:ipv4> port <N:1-65535>", 0, 0,
     "Where the peer takes keys.\nWith several addresses, of key sources that share a store, the next one is "
     "tried "
     "when one cannot be reached.",
     apply_address_ipv4, NULL},
    {CONFIG_IN(PEER), "address ipv6 <IPV6:ipv6> port <N:1-65535>", 0, 0, "The same for IPv6.",
     apply_address_ipv6, NULL},
    {CONFIG_IN(PEER), "address hostname <HOST:host> port <N:1-65535>", 0, 0,
     "The same by name.\nAll addresses that the name stands for are tried in turn. It is looked up for each "
     "new connection.",
     apply_address_hostname, NULL},
};

const struct config_language skipd_language = {
    .name = "skipd.conf",
    .about = "configuration of the key source skipd",
    .intro = "The file tells\n.Xr skipd 8\nwhere it listens, which clients it serves, and which key sources "
             "it shares keys with.",
    .outro = ".Sh SEE ALSO\n.Xr skipd 8\n",
    .levels = LEVELS,
    .n_levels = sizeof LEVELS / sizeof LEVELS[0],
    .commands = COMMANDS,
    .n_commands = sizeof COMMANDS / sizeof COMMANDS[0],
};
