/* SPDX-License-Identifier: BSD-2-Clause */
/* What skipd.conf means: this key source, its clients, its peers. Immutable once loaded; counted, since after
 * a reload what began with the old one may still need it. */
#ifndef PPK_SKIPD_CONF_H
#define PPK_SKIPD_CONF_H

#include "base/bytes.h"
#include "base/fault.h"
#include "base/secret.h"
#include "skipd/uri.h"

#include <sys/socket.h>

struct config_language;

enum certificate_field { CERTIFICATE_SUBJECT, CERTIFICATE_SAN, CERTIFICATE_FINGERPRINT };

/* certificate {subject|san|fingerprint} TEXT */
struct certificate_name {
    enum certificate_field field;
    char *text;
};

/* The PSK's hash in TLS 1.3 (RFC 8446, 4.2.11): either, unless `hash` says which. */
enum psk_hash_rule { PSK_HASH_ANY, PSK_HASH_SHA256, PSK_HASH_SHA384 };

/* How somebody proves who he is: by a PSK, by a certificate, or (if both are given) by either. */
struct identity {
    char *psk_id; /* or NULL */
    struct secret *psk;
    char *psk_sealed; /* its Type 6 text while it is not open */
    unsigned psk_line;
    enum psk_hash_rule psk_hash;
    struct certificate_name *names;
    size_t n_names;
    bool server_auth_only; /* clients: proves nothing, and is served all the same, because the operator said
                              so */
};

/* A list of texts: globs, mostly. */
struct names {
    char **list;
    size_t n;
};

/* What a client may ask. */
enum permission {
    PERMIT_CAPABILITIES = 1,
    PERMIT_KEY = 2,
    PERMIT_KEY_ID = 4,
    PERMIT_ENTROPY = 8,
    PERMIT_ALL = 15
};

/* Requests of one client. */
struct request_limit {
    uint32_t in_flight; /* under way at once; 0 only while reading: then the configuration's */
    uint32_t per_second;
};

struct skipd_client {
    char *name;
    char *system_id;      /* the client's; never NULL once loaded (the key source's own, if it has none) */
    struct names remotes; /* globs of remote system IDs that it may ask for; none: all */
    unsigned permissions; /* enum permission; 0 only while reading: then PERMIT_ALL */
    struct request_limit limit;
    struct identity identity;
    unsigned line;
};

enum peer_address_kind { PEER_IPV4, PEER_IPV6, PEER_HOSTNAME };

struct peer_address {
    char *host;
    enum peer_address_kind kind;
    uint16_t port;
};

struct skipd_peer {
    char *name;
    struct names remotes;           /* globs of the system IDs that it serves; its name, if none are given */
    struct peer_address *addresses; /* tried in turn; any will do */
    size_t n_addresses; /* 0: it connects to us, but we cannot reach it; then keys cannot be made for it */
    struct identity identity;
    unsigned line;
};

/* What is spoken at an address. */
enum listen_kind {
    LISTEN_SKIP,
    LISTEN_ETSI014, /* ETSI GS QKD 014, with certificates on both sides */
    LISTEN_PEERS,   /* the link of other key sources */
    LISTEN_ADMIN,   /* HTTP for operators, in the clear: loopback or a Unix socket */
};

struct skipd_listen {
    struct sockaddr_storage address;
    socklen_t address_len;
    unsigned mode; /* of a Unix socket */
    enum listen_kind kind;
    unsigned line;
};

struct skipd_conf {
    unsigned references;
    char *system_id;
    unsigned system_id_line;
    struct skipd_listen *listens;
    size_t n_listens;
    struct skipd_client *clients;
    size_t n_clients;
    struct skipd_peer *peers;
    size_t n_peers;
    char *certificate, *key; /* PEM files, or NULL: PSK only */
    char *trustpoint;        /* PEM file of the CAs for clients and peers, or NULL */
    char *store_kind, *store_where;
    unsigned store_line;
    char *master_key_file; /* or NULL */
    unsigned master_key_line;
    struct secret *master_key;
    uint32_t max_keys;
    uint32_t lifetime_s;                           /* of a key, from its delivery to the initiator */
    uint32_t key_size, key_size_min, key_size_max; /* bits */
    uint32_t sync_timeout_ms;
    uint32_t max_connections, max_connections_per_client;
    struct request_limit limit; /* of clients that have none of their own */
    uint32_t handshake_timeout_s, idle_timeout_s;
    /* private: the level that is being read, `store` commands that were */
    unsigned stores;
    struct skipd_client *client;
    struct skipd_peer *peer;
};

/* The table of commands. */
extern const struct config_language skipd_language;

/* Reads and checks skipd.conf, and opens its Type 6 secrets. NULL: `errors` has a line "FILE:LINE: what is
 * wrong" for each mistake. */
struct skipd_conf *skipd_conf_load(const char *path, struct text *errors);

/* One more reference. */
const struct skipd_conf *skipd_conf_ref(const struct skipd_conf *c);

/* Gives one up; the last one wipes and frees. NULL is allowed. */
void skipd_conf_free(const struct skipd_conf *c);

/* Can `next` take effect in a process that runs with `now`? What cannot change is what the keys in the store
 * hang on: the store, the master key, and the system ID. False: `fault` has the line and the
 * reason. */
bool skipd_conf_can_follow(const struct skipd_conf *now, const struct skipd_conf *next, struct fault *fault);

/* Is it the same peer still: name, addresses and proof of identity? */
bool skipd_peer_is_same(const struct skipd_peer *a, const struct skipd_peer *b);

/* The port of an address; 0: none, or any. */
unsigned skipd_listen_port(const struct skipd_listen *l);

/* Does one of the globs match (fnmatch(3), flags 0)? */
bool names_match(const struct names *globs, const char *id);

/* Is this the system ID of one of our clients (or ours)? */
bool skipd_conf_is_local(const struct skipd_conf *c, const char *system_id);

/* The peer that serves this system: by its exact ID, else by the first glob in the order of the file. NULL:
 * none. */
const struct skipd_peer *skipd_conf_peer_for(const struct skipd_conf *c, const char *system_id);

#endif
