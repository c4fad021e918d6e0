/* SPDX-License-Identifier: BSD-2-Clause */
/* TLS towards a key source, on top of what libcurl does: PSK (RFC 8446, RFC 4279 and 5487), and that no
 * plaintext stays behind. */
#ifndef PPK_SKIP_TLS_H
#define PPK_SKIP_TLS_H

#include "skip/transport.h"

#include <openssl/ssl.h>

/* What the callbacks of a connection need; must outlive its SSL_CTX. */
struct tls_peer {
    const struct skip_host *host;
    const struct sks_profile *profile;
    bool certificate_seen; /* the server sent a certificate although we have a PSK: rejected */
    bool psk_missing;      /* the PSK could not be opened */
    struct skip_link seen; /* what the connection's handshake has shown */
    uint64_t began;        /* when that began, or 0 */
    SSL_SESSION *offered;  /* the PSK as TLS 1.3 has it, as long as the handshake lasts */
};

/* Once, before all others. False if OpenSSL fails. */
bool tls_start(void);

/* TLS 1.2 suites and TLS 1.3 suites of a profile, as OpenSSL names them. */
const char *tls_suites_12(const struct sks_profile *profile);
const char *tls_suites_13(const struct sks_profile *profile);

/* Prepares a context: false if OpenSSL fails. */
bool tls_prepare(SSL_CTX *ctx, struct tls_peer *peer);

/* Wipes what a handshake that did not end well has left of the PSK. */
void tls_forget(struct tls_peer *peer);

#endif
