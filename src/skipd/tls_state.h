/* SPDX-License-Identifier: BSD-2-Clause */
/* What tls.c and tls_party.c share: what is known of a context and of a connection. */
#ifndef PPK_SKIPD_TLS_STATE_H
#define PPK_SKIPD_TLS_STATE_H

#include "skipd/tls.h"

/* A context's; freed with it, which is when its last connection is. */
struct tls_settings {
    const struct skipd_conf *conf; /* a reference */
    struct tls_party *parties;
    size_t n_parties;
};

/* A connection's. */
struct tls_state {
    const struct tls_party *psk_party; /* whose PSK OpenSSL was given */
    bool sha256;                       /* the PSK is bound to SHA-256 */
    bool established;
    char from[80];
    struct fault failure;
    tls_established *on_established;
    tls_closed *on_closed;
    void *watcher; /* the context of both */
};

/* NULL: there was no memory for it. */
struct tls_state *tls_state_of(const SSL *ssl);

const struct tls_settings *tls_settings_of(const SSL_CTX *ctx);

const struct tls_party *tls_party_by_psk(const struct tls_settings *s, const char *id, size_t len);

#endif
