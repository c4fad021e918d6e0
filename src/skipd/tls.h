/* SPDX-License-Identifier: BSD-2-Clause */
/* TLS of the key source: contexts for those who connect to us and for peers that we connect to, with PSKs and
 * with certificates; and who it is that has proved himself at the other end. */
#ifndef PPK_SKIPD_TLS_H
#define PPK_SKIPD_TLS_H

#include "skipd/conf.h"

#include <openssl/ssl.h>

/* Somebody who may be at the other end. */
struct tls_party {
    const struct identity *identity;
    const void *who; /* the client or peer */
};

/* Whom connections are accepted from. */
enum tls_whom {
    TLS_CLIENTS,                /* by PSK or certificate, by TLS 1.2 and 1.3 with SKIP's suites */
    TLS_CLIENTS_BY_CERTIFICATE, /* the same without PSKs */
    TLS_PEERS,                  /* by TLS 1.3 */
};

/* A context for accepting connections. Who has no PSK must show a certificate, unless a client is
 * server_auth_only. It holds a reference to the configuration, as does each of its connections. NULL with the
 * reason in `fault`. */
SSL_CTX *tls_server_context(const struct skipd_conf *conf, enum tls_whom whom, struct fault *fault);

/* A context for connecting to a peer, by TLS 1.3: by its PSK if it has one, else by certificates. */
SSL_CTX *tls_client_context(const struct skipd_conf *conf, const struct skipd_peer *peer,
                            struct fault *fault);

/* Who is at the other end, once the handshake is done; NULL: nobody that we know. `by` is the connection's
 * own context, or one of a later configuration: then, whom this one would make of him with what he has
 * proved. Where certificates are used and the party has no `certificate` names, `host` is what its
 * certificate must be for (client side; NULL: no such party matches). */
const struct tls_party *tls_party_of(const SSL *ssl, const SSL_CTX *by, const char *host);

/* How the other end proved himself, for the log: "PSK identity 'x'", "certificate CN=x", "nothing". */
void tls_describe(const SSL *ssl, struct fault *out);

/* Why the handshake failed, "" if it did not (yet). */
const char *tls_failure(const SSL *ssl);
bool tls_is_established(const SSL *ssl);

/* The address of the other end ("127.0.0.1 port 12345"), "?" before the handshake. */
const char *tls_from(const SSL *ssl);

/* Attaches somebody's context to a connection, and tells him when the handshake is done (from within OpenSSL,
 * so that he may not use or free the connection, but shut its socket down), and when it is freed: from where
 * it was, whether the handshake was ever done, and why not. */
typedef void tls_established(void *context);
typedef void tls_closed(void *context, const char *from, bool established, const char *failure);
bool tls_watch(SSL *ssl, tls_established *established, tls_closed *closed, void *context);

/* The context of tls_watch(), or NULL. */
void *tls_watcher(const SSL *ssl);

#endif
