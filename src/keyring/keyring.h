/* SPDX-License-Identifier: BSD-2-Clause */
/* What the token's configuration means: keyrings of peers, IKEv2 profiles, sks profiles (the client's view of
 * key sources). A configuration is immutable once loaded, but for its Type 6 secrets, which open once the
 * master key is known. */
#ifndef PPK_KEYRING_KEYRING_H
#define PPK_KEYRING_KEYRING_H

#include "base/bytes.h"
#include "base/fault.h"
#include "base/secret.h"
#include "config/address.h"

#include <stdatomic.h>
#include <stdint.h>

/* A secret of the configuration. */
struct config_secret {
    _Atomic(struct secret *)
        value;    /* NULL as long as it is Type 6 and sealed; then set once, until the configuration goes */
    char *sealed; /* its Type 6 text, or NULL */
    unsigned line;
};

enum kme_kind { KME_IPV4, KME_IPV6, KME_HOSTNAME };

/* kme server {ipv4|ipv6|hostname} HOST port N */
struct kme_server {
    enum kme_kind kind;
    char *host; /* without brackets */
    uint16_t port;
};

enum sks_type { SKS_REMOTE /* SKIP */, SKS_ETSI014 };
enum ppk_id_format {
    PPK_ID_RAW /* CKA_ID = the bytes that the hex keyId means */,
    PPK_ID_TEXT /* = the keyId's text, verbatim */
};
enum psk_hash { PSK_SHA256, PSK_SHA384 };

/* Defaults of an sks profile. */
#define SKS_TIMEOUT_MS 2000
#define SKS_KEY_SIZE   256
#define SKS_LIFETIME_S 3600
#define SKS_LOOKUPS    64
#define SKS_LOOKUPS_S  2000

/* sks profile NAME type {remote|etsi014}; the latter has a certificate, no PSK, and no entropy */
struct sks_profile {
    char *name;
    enum sks_type type;
    struct kme_server *servers; /* in the order of the file; at least one */
    size_t n_servers;
    char *local_system_id;   /* or NULL */
    char *trustpoint;        /* PEM file of CAs, or NULL: the system's (not used if there is a PSK) */
    char *certificate, *key; /* PEM files of the client's certificate, or NULL, NULL */
    char *psk_id;            /* TLS PSK identity, or NULL: certificates */
    struct config_secret psk;
    enum psk_hash psk_hash; /* default PSK_SHA384 */
    uint32_t timeout_ms;    /* total bound of one call, over all servers; default 2000 */
    uint32_t hedge_ms;      /* a silent server is waited for so long before the next is asked; 0: its share */
    uint32_t key_size;      /* bits; default 256 */
    uint32_t prefetch;      /* unused PPKs kept ready per peer; default 0 */
    uint32_t lifetime_s;    /* of a PPK, from its arrival; default 3600 */
    uint32_t lookups;       /* by ID, under way at once; default 64 */
    uint32_t lookups_s;     /* by ID, that find nothing, in a second; default 2000 */
    enum ppk_id_format id_format; /* default PPK_ID_RAW */
    bool entropy;                 /* mix GET /entropy into C_GenerateRandom */
    unsigned line;
};

/* ppk manual id ID key … [required] */
struct manual_ppk {
    struct span id; /* owned by the configuration */
    struct config_secret key;
    bool required;
    unsigned line;
};

enum { PEER_NAME_MAX = 127 }; /* bytes */

struct peer {
    char *name;
    struct keyring *keyring;
    struct address_group *groups; /* may be none */
    size_t n_groups;
    char *remote_system_id;      /* or NULL: the key source's only remote system, if it has just one (never
                                    with SKS_ETSI014) */
    struct sks_profile *dynamic; /* or NULL */
    bool dynamic_required;
    struct manual_ppk *manual; /* IDs are unique in a keyring */
    size_t n_manual;
    struct config_secret psk; /* present if value or sealed is set */
    unsigned line;
};

/* key-encryption-key NAME key …: of a line card, which takes session keys that are wrapped under it */
struct kek {
    char *name;
    struct config_secret key; /* 16, 24 or 32 bytes */
    unsigned line;
};

struct keyring {
    char *name; /* 1 to 32 bytes of UTF-8: it is the token's label */
    struct peer *peers;
    size_t n_peers;
    struct kek *keks; /* names are unique among them and the peers */
    size_t n_keks;
    bool derived_sensitive; /* derived-keys sensitive: what is derived from PPKs and PSKs never leaves,
                               whatever a template asks, but wrapped under one of `keks` */
    unsigned line;
    struct keyring_index *index; /* private: peers by name, address and system ID; NULL: there are none */
};

/* ikev2 profile NAME */
struct ikev2_profile {
    char *name;
    struct keyring *keyring;     /* or NULL */
    struct keyring *keyring_ppk; /* or NULL */
    struct address_group *matches;
    size_t n_matches;
    unsigned line;
};

#define CONFIGURATION_STATUS_OFF "off"

struct configuration {
    char *path;
    struct keyring *keyrings; /* in the order of the file: the slots 0, 1, … */
    size_t n_keyrings;
    struct sks_profile *profiles;
    size_t n_profiles;
    struct ikev2_profile *ikev2;
    size_t n_ikev2;
    char *master_key_file;             /* or NULL */
    char *status_directory;            /* or NULL: the default; or CONFIGURATION_STATUS_OFF */
    char *log_file;                    /* or NULL: the system's log */
    const char *log_level;             /* static text, or NULL: the default */
    _Atomic bool sealed;               /* there are Type 6 secrets that are not open yet */
    struct configuration_index *index; /* private: keyrings and profiles by name */
};

/* Reads, checks and resolves a configuration file: grammar, references, unique names and IDs, sizes (a PPK of
 * at least 32 bytes), files' permissions (the file itself, and key, certificate and master key files that it
 * names). Secrets of Type 6 are opened at once if `master-key file`, or the systemd credential
 * "ppk-master-key", is at hand; else they stay sealed. The caller owns the result. NULL: `errors` then has
 * one line "FILE:LINE: what is wrong" for each mistake, in the order of the lines. */
struct configuration *configuration_load(const char *path, struct text *errors);

/* The same from a buffer (tests, fuzzers), without the check of permissions of `name` itself. */
struct configuration *configuration_parse(const char *name, const char *buffer, size_t len,
                                          struct text *errors);

/* Wipes and frees; NULL is allowed. */
void configuration_free(struct configuration *c);

/* Opens the sealed secrets with a master key. False with the reason in `fault` (nothing is opened then). Not
 * to be called by two threads at once; readers may run meanwhile. */
bool configuration_unlock(struct configuration *c, const void *master_key, size_t len, struct fault *fault);

/* The master key that is at hand: from `master-key file`, or else the systemd credential "ppk-master-key".
 * The caller frees it. NULL: it cannot be read (the reason is in `fault`), or there is none (`fault` is left
 * as it is). */
struct secret *configuration_master_key(const struct configuration *c, struct fault *fault);

/* Opens a Type 6 secret of the configuration with `t`, if it has any: what `t` then seals has the same salt.
 * False with the reason in `fault`: it is under another master key. */
struct type6;
bool configuration_type6_join(const struct configuration *c, struct type6 *t, struct fault *fault);

/* The hedge delay of a profile that names none: even the last server has half of the timeout. One: 0. */
uint32_t sks_profile_hedge_ms(const struct sks_profile *p);

/* ---- one reading of a configuration and the next ---- */

/* Have both the same value, or the same Type 6 text as long as they are sealed? */
bool config_secret_same(const struct config_secret *a, const struct config_secret *b);

/* Does a connection made for one profile serve the other? (As far as the configuration says: see
 * sks_profile_stamp() for the files that it names.) */
bool sks_profile_same_servers(const struct sks_profile *a, const struct sks_profile *b);

/* What tells a file from what it was before: identity, size, times. Begins as zeros. */
struct file_stamp {
    uint64_t hash;
    bool missing; /* some file cannot be found */
    bool fresh;   /* some file changed just now, and may still be being written */
};
void file_stamp_add(struct file_stamp *s, const char *path); /* NULL: no file */

/* Of the files that a profile names, and of all that a configuration names: not of the configuration itself,
 * whose stamp has to be taken before it is read. */
void sks_profile_stamp(const struct sks_profile *p, struct file_stamp *s);
void configuration_stamp(const struct configuration *c, struct file_stamp *s);

/* The keyring of this name, or NULL. */
struct keyring *configuration_keyring(const struct configuration *c, const char *name, size_t len);
struct sks_profile *configuration_profile(const struct configuration *c, const char *name, size_t len);

/* Appends the configuration in its own language: all of it (`command` NULL), or the top level's commands that
 * begin with the keyword `command` ("keyring", "sks", "ikev2"), and of those, unless `name` is NULL, the one
 * of this name. Clear secrets are shown as <removed>, those of Type 6 as they stand. */
void configuration_print(const struct configuration *c, const char *command, const char *name,
                         struct text *out);

/* The language itself, for its manual page. */
const struct config_language *configuration_language(void);

/* The peer of this name; by longest prefix for an address (`len` 4 or 16 bytes; an IPv4-mapped IPv6 address
 * counts as IPv4); the n-th (from *cursor = 0) with this remote system ID. NULL: none (any more). O(1) in the
 * number of peers by name. */
struct peer *keyring_peer_by_name(const struct keyring *k, const char *name, size_t len);
struct peer *keyring_peer_by_address(const struct keyring *k, const uint8_t *address, size_t len);
struct peer *keyring_peer_by_system_id(const struct keyring *k, const char *id, size_t len, size_t *cursor);

/* The key-encryption key of this name, or NULL. O(1) */
struct kek *keyring_kek_by_name(const struct keyring *k, const char *name, size_t len);

/* Must an IKE SA with this peer not be without a PPK? (any of its ppk commands says "required") */
bool peer_ppk_required(const struct peer *p);

#endif
