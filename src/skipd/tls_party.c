/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is at the other end of a connection. */
#include "base/crypto.h"
#include "skipd/tls_state.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

static bool subject_is(X509 *certificate, const char *text)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *subject = NULL;
    long len = 0;
    bool same = false;

    if (bio != NULL && X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
        len = BIO_get_mem_data(bio, &subject);
        same = len > 0 && (size_t)len == strlen(text) && memcmp(subject, text, (size_t)len) == 0;
    }
    BIO_free(bio);
    return same;
}

static bool host_is(X509 *certificate, const char *name)
{
    const unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS;

    return X509_check_ip_asc(certificate, name, 0) == 1 ||
           X509_check_host(certificate, name, 0, flags, NULL) == 1 ||
           X509_check_email(certificate, name, 0, flags) == 1;
}

static bool fingerprint_is(X509 *certificate, const char *hex)
{
    uint8_t want[32], have[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    return hex_decode(want, hex, 64) && X509_digest(certificate, EVP_sha256(), have, &len) == 1 &&
           len == sizeof want && memcmp(want, have, sizeof want) == 0;
}

static bool certificate_is(X509 *certificate, const struct certificate_name *n)
{
    switch (n->field) {
    case CERTIFICATE_SUBJECT:
        return subject_is(certificate, n->text);
    case CERTIFICATE_SAN:
        return host_is(certificate, n->text);
    case CERTIFICATE_FINGERPRINT:
        return fingerprint_is(certificate, n->text);
    }
    return false;
}

static bool used_psk(const SSL *ssl)
{
    /* no tickets and no cache: what is resumed in TLS 1.3 is a PSK */
    if (SSL_version(ssl) >= TLS1_3_VERSION)
        return SSL_session_reused(ssl) == 1;
    return SSL_CIPHER_get_auth_nid(SSL_get_current_cipher(ssl)) == NID_auth_psk;
}

static const struct tls_party *party_by_certificate(const struct tls_settings *s, X509 *certificate,
                                                    const char *host)
{
    for (size_t i = 0; i < s->n_parties; i++) {
        const struct identity *identity = s->parties[i].identity;

        for (size_t j = 0; j < identity->n_names; j++)
            if (certificate_is(certificate, &identity->names[j]))
                return &s->parties[i];
        if (host != NULL && identity->n_names == 0 && identity->psk_id == NULL && host_is(certificate, host))
            return &s->parties[i];
    }
    return NULL;
}

static const struct tls_party *party_by_old_psk(const struct tls_settings *s, const SSL *ssl)
{
    const struct tls_state *state = tls_state_of(ssl);
    const struct identity *old = state->psk_party != NULL ? state->psk_party->identity : NULL;
    const struct tls_party *party = NULL;
    enum psk_hash_rule forbidden = state->sha256 ? PSK_HASH_SHA384 : PSK_HASH_SHA256;

    if (old != NULL)
        party = tls_party_by_psk(s, old->psk_id, strlen(old->psk_id));
    if (party == NULL || !secret_equal(old->psk, party->identity->psk))
        return NULL;
    if (SSL_version(ssl) >= TLS1_3_VERSION && party->identity->psk_hash == forbidden)
        return NULL;
    return party;
}

/* Would the other end's certificate be good for a new connection by this context? */
static bool verified_by(const SSL *ssl, const SSL_CTX *by, X509 *certificate)
{
    X509_STORE_CTX *store = X509_STORE_CTX_new_ex(crypto_context(), NULL);
    bool ok = store != NULL &&
              X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(by), certificate,
                                  SSL_get_peer_cert_chain(ssl)) == 1 &&
              X509_STORE_CTX_set_default(store, SSL_is_server(ssl) ? "ssl_client" : "ssl_server") == 1;

    if (ok) {
        X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(store), SSL_CTX_get_security_level(by));
        ok = X509_verify_cert(store) == 1;
    }
    X509_STORE_CTX_free(store);
    ERR_clear_error();
    return ok;
}

const struct tls_party *tls_party_of(const SSL *ssl, const SSL_CTX *by, const char *host)
{
    const struct tls_settings *s = tls_settings_of(by);
    const struct tls_state *state = tls_state_of(ssl);
    bool own = by == SSL_get_SSL_CTX(ssl), good = false;
    X509 *certificate = NULL;

    if (state == NULL || !state->established)
        return NULL;
    if (used_psk(ssl))
        return own ? state->psk_party : party_by_old_psk(s, ssl);
    certificate = SSL_get0_peer_certificate(ssl);
    if (certificate != NULL) {
        good = own ? SSL_get_verify_result(ssl) == X509_V_OK : verified_by(ssl, by, certificate);
        return good ? party_by_certificate(s, certificate, host) : NULL;
    }
    for (size_t i = 0; SSL_is_server(ssl) && i < s->n_parties; i++)
        if (s->parties[i].identity->server_auth_only)
            return &s->parties[i];
    return NULL;
}

void tls_describe(const SSL *ssl, struct fault *out)
{
    const struct tls_state *state = tls_state_of(ssl);
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    char subject[256] = "";

    if (state != NULL && state->established && used_psk(ssl)) {
        fault_set(out, "PSK identity '%s'",
                  state->psk_party != NULL ? state->psk_party->identity->psk_id : "");
    } else if (certificate != NULL) {
        BIO *bio = BIO_new(BIO_s_mem());

        if (bio != NULL &&
            X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
            BIO_read(bio, subject, sizeof subject - 1);
        BIO_free(bio);
        fault_set(out, "certificate '%s'", subject);
    } else {
        fault_set(out, "nothing");
    }
}
