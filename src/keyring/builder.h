/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration under construction. Private to src/keyring: language.c has the table of commands, builder.c
 * what each command does, resolve.c what is checked once the whole file is known, index.c the lookups. */
#ifndef PPK_KEYRING_BUILDER_H
#define PPK_KEYRING_BUILDER_H

#include "config/config.h"
#include "keyring/index.h"

/* A name that is to be found at the end, when the whole file is known. */
enum reference_kind { REFERENCE_DYNAMIC, REFERENCE_KEYRING, REFERENCE_KEYRING_PPK };
struct reference {
    enum reference_kind kind;
    size_t owner, member; /* keyring and peer, or IKEv2 profile: indices, since the arrays grow */
    char *name;
    unsigned line;
};

struct builder {
    struct configuration
        *conf; /* the last keyring, its last peer and the last profile are the ones at hand */
    struct reference *references;
    size_t n_references;
};

#define HEDGE_DEFAULT UINT32_MAX /* until the profile's servers and timeout are known */

/* The choice of "log level"; in the order of enum log_level. */
#define CONFIGURATION_LOG_LEVELS "error|warning|notice|info|debug|trace"

/* What the commands do; see language.c. */
void apply_master_key(struct config_call *call);
void apply_status_directory(struct config_call *call);
void apply_log_file(struct config_call *call);
void apply_log_level(struct config_call *call);
void apply_keyring(struct config_call *call);
void apply_derived_keys(struct config_call *call);
void apply_kek(struct config_call *call);
void apply_peer(struct config_call *call);
void apply_address(struct config_call *call);
void apply_psk(struct config_call *call);
void apply_ppk_dynamic(struct config_call *call);
void apply_ppk_manual(struct config_call *call);
void apply_remote_system_id(struct config_call *call);
void apply_sks_profile(struct config_call *call);
void apply_kme_server(struct config_call *call);
void apply_local_system_id(struct config_call *call);
void apply_trustpoint(struct config_call *call);
void apply_certificate(struct config_call *call);
void apply_tls_psk(struct config_call *call);
void apply_timeout(struct config_call *call);
void apply_hedge(struct config_call *call);
void apply_key_size(struct config_call *call);
void apply_prefetch(struct config_call *call);
void apply_lifetime(struct config_call *call);
void apply_max_lookups(struct config_call *call);
void apply_id_format(struct config_call *call);
void apply_entropy(struct config_call *call);
void apply_ikev2_profile(struct config_call *call);
void apply_ikev2_keyring(struct config_call *call);
void apply_ikev2_keyring_ppk(struct config_call *call);
void apply_match(struct config_call *call);

/* How each is printed; see print.c. */
void print_master_key(struct config_printer *p, const void *object);
void print_status_directory(struct config_printer *p, const void *object);
void print_log_file(struct config_printer *p, const void *object);
void print_log_level(struct config_printer *p, const void *object);
void print_keyrings(struct config_printer *p, const void *object);
void print_derived_keys(struct config_printer *p, const void *object);
void print_keks(struct config_printer *p, const void *object);
void print_peers(struct config_printer *p, const void *object);
void print_addresses(struct config_printer *p, const void *object);
void print_psk(struct config_printer *p, const void *object);
void print_ppk_dynamic(struct config_printer *p, const void *object);
void print_ppk_manual(struct config_printer *p, const void *object);
void print_remote_system_id(struct config_printer *p, const void *object);
void print_sks_profiles(struct config_printer *p, const void *object);
void print_kme_servers(struct config_printer *p, const void *object);
void print_local_system_id(struct config_printer *p, const void *object);
void print_trustpoint(struct config_printer *p, const void *object);
void print_certificate(struct config_printer *p, const void *object);
void print_tls_psk(struct config_printer *p, const void *object);
void print_timeout(struct config_printer *p, const void *object);
void print_hedge(struct config_printer *p, const void *object);
void print_key_size(struct config_printer *p, const void *object);
void print_prefetch(struct config_printer *p, const void *object);
void print_lifetime(struct config_printer *p, const void *object);
void print_max_lookups(struct config_printer *p, const void *object);
void print_id_format(struct config_printer *p, const void *object);
void print_entropy(struct config_printer *p, const void *object);
void print_ikev2_profiles(struct config_printer *p, const void *object);
void print_ikev2_keyring(struct config_printer *p, const void *object);
void print_ikev2_keyring_ppk(struct config_printer *p, const void *object);
void print_matches(struct config_printer *p, const void *object);

/* Checks and links what only the whole file tells; adds mistakes. */
void builder_resolve(struct builder *b, struct config_errors *errors);

/* Builds the lookups of keyrings and profiles by name, and then those of each keyring. Equal names, IDs and
 * groups are mistakes. */
void configuration_index_build(struct configuration *c, struct config_errors *errors);
void keyring_index_build(struct keyring *k, struct config_errors *errors);
void configuration_index_free(struct configuration *c);

/* Opens what is sealed, as configuration_unlock(); on failure *line is where the secret stands (0: none in
 * particular). */
bool configuration_open(struct configuration *c, const struct secret *master_key, unsigned *line,
                        struct fault *fault);

#endif
