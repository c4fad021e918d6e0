/* SPDX-License-Identifier: BSD-2-Clause */
#include "skip/tls.h"

#include "base/clock.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* TLS 1.3: a PSK goes with one hash, that of the suite. TLS 1.2: first the draft's and Cisco's suites with
 * forward secrecy. */
const char *tls_suites_13(const struct sks_profile *profile)
{
    if (!profile->psk_id)
        return "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
    return profile->psk_hash == PSK_SHA256 ? "TLS_AES_128_GCM_SHA256" : "TLS_AES_256_GCM_SHA384";
}

const char *tls_suites_12(const struct sks_profile *profile)
{
    /* AES256-SHA256 (no forward secrecy) is last, but the draft recommends it, and some key sources have
     * nothing else. */
    if (!profile->psk_id)
        return "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
               "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
               "DHE-RSA-AES256-GCM-SHA384:AES256-GCM-SHA384:AES256-SHA256";
    return "DHE-PSK-AES256-GCM-SHA384:DHE-PSK-AES256-CBC-SHA384:DHE-PSK-AES256-CBC-SHA:PSK-AES256-GCM-SHA384";
}

static int peer_index = -1;

bool tls_start(void)
{
    if (peer_index < 0)
        peer_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return peer_index >= 0;
}

static struct tls_peer *peer_of(const SSL *ssl)
{
    return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), peer_index);
}

static bool psk_open(struct tls_peer *peer, struct secret_view *view)
{
    const struct secret *psk = atomic_load_explicit(&peer->profile->psk.value, memory_order_acquire);
    memset(view, 0, sizeof *view);
    if (psk && peer->host->secret_open(psk, view))
        return true;
    peer->psk_missing = true;
    return false;
}

/* TLS 1.2 (RFC 4279): identity and key into OpenSSL's buffers. 0: no key, the handshake fails. */
static unsigned psk_client(SSL *ssl, const char *hint, char *identity, unsigned identity_room,
                           unsigned char *psk, unsigned psk_room)
{
    (void)hint;
    struct tls_peer *peer = peer_of(ssl);
    struct secret_view view;
    unsigned len = 0;
    if (!psk_open(peer, &view))
        return 0;
    if (view.len <= psk_room && strlen(peer->profile->psk_id) < identity_room) {
        memcpy(identity, peer->profile->psk_id, strlen(peer->profile->psk_id) + 1);
        memcpy(psk, view.data, view.len);
        len = (unsigned)view.len;
    }
    peer->host->secret_close(&view);
    return len;
}

void tls_forget(struct tls_peer *peer)
{
    static const unsigned char zeros[512]; /* OpenSSL's room for a key */
    if (peer->offered) {
        SSL_SESSION_set1_master_key(peer->offered, zeros, sizeof zeros);
        SSL_SESSION_free(peer->offered);
        peer->offered = NULL;
    }
}

/* What was offered for TLS 1.3 would stay, with the PSK in it, as long as a connection that came to be
 * TLS 1.2. A session of TLS 1.3 holds other secrets by now. */
static void on_info(const SSL *ssl, int where, int value)
{
    struct tls_peer *peer = peer_of(ssl);
    if (where & SSL_CB_HANDSHAKE_START && !peer->began)
        peer->began = clock_ms();
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && (value & 0xff) != SSL_AD_CLOSE_NOTIFY)
        peer->seen.alert = (unsigned)value & 0xff;
    if (!(where & SSL_CB_HANDSHAKE_DONE))
        return;
    peer->seen.tls_ms = (uint32_t)(clock_ms() - peer->began);
    snprintf(peer->seen.version, sizeof peer->seen.version, "%s", SSL_get_version(ssl));
    snprintf(peer->seen.suite, sizeof peer->seen.suite, "%s", SSL_get_cipher_name(ssl));
    if (SSL_version(ssl) < TLS1_3_VERSION) {
        tls_forget(peer);
    } else {
        SSL_SESSION_free(peer->offered);
        peer->offered = NULL;
    }
}

/* TLS 1.3 (RFC 8446, section 4.2.11): the PSK as a session that is bound to a suite, and so to its hash. `md`
 * is set when a HelloRetryRequest has chosen the suite already. */
static int psk_use_session(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len,
                           SSL_SESSION **session)
{
    static const unsigned char aes_128_gcm_sha256[] = {0x13, 0x01}, aes_256_gcm_sha384[] = {0x13, 0x02};
    struct tls_peer *peer = peer_of(ssl);
    struct secret_view view;
    *id = NULL;
    *id_len = 0;
    *session = NULL;
    const SSL_CIPHER *cipher =
        SSL_CIPHER_find(ssl, peer->profile->psk_hash == PSK_SHA256 ? aes_128_gcm_sha256 : aes_256_gcm_sha384);
    if (!cipher || (md && EVP_MD_get_type(md) != EVP_MD_get_type(SSL_CIPHER_get_handshake_digest(cipher))))
        return 0;
    if (!psk_open(peer, &view))
        return 0;
    SSL_SESSION *s = SSL_SESSION_new();
    bool good = s && SSL_SESSION_set1_master_key(s, view.data, view.len) &&
                SSL_SESSION_set_cipher(s, cipher) && SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION);
    peer->host->secret_close(&view);
    if (!good) {
        SSL_SESSION_free(s);
        return 0;
    }
    *id = (const unsigned char *)peer->profile->psk_id;
    *id_len = strlen(peer->profile->psk_id);
    tls_forget(peer);
    if (SSL_SESSION_up_ref(s))
        peer->offered = s;
    *session = s;
    return 1;
}

/* With a PSK no certificate is ever good enough. */
static int reject_certificate(X509_STORE_CTX *store, void *context)
{
    struct tls_peer *peer = context;
    peer->certificate_seen = true;
    peer->seen.certificate_instead_of_psk = true;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

static int64_t time_of(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

/* Keeps in mind whom the server showed itself as; the verdict stays OpenSSL's. */
static int on_certificate(int good, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    struct skip_link *seen = &peer_of(ssl)->seen;
    if (!certificate || seen->verify || (good && X509_STORE_CTX_get_error_depth(store) > 0))
        return good;
    if (!good)
        seen->verify = X509_STORE_CTX_get_error(store);
    X509_NAME_oneline(X509_get_subject_name(certificate), seen->subject, sizeof seen->subject);
    X509_NAME_oneline(X509_get_issuer_name(certificate), seen->issuer, sizeof seen->issuer);
    seen->not_before = time_of(X509_get0_notBefore(certificate));
    seen->not_after = time_of(X509_get0_notAfter(certificate));
    return good;
}

bool tls_prepare(SSL_CTX *ctx, struct tls_peer *peer)
{
    if (!SSL_CTX_set_ex_data(ctx, peer_index, peer))
        return false;
    /* What a host's SSLKEYLOGFILE asks for would open a recording of our keys. */
    SSL_CTX_set_keylog_callback(ctx, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_NO_COMPRESSION);
    /* libcurl sets it; then 17 KB would be allocated, and wiped, for each answer. What was read is wiped at
     * once either way. */
    SSL_CTX_clear_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_info_callback(ctx, on_info);
    if (!peer->profile->psk_id) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_certificate);
        return true;
    }
    SSL_CTX_set_psk_use_session_callback(ctx, psk_use_session);
    SSL_CTX_set_psk_client_callback(ctx, psk_client);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, reject_certificate, peer);
    return true;
}
