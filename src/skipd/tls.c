/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/tls_state.h"

#include "base/crypto.h"
#include "config/config.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* SKIP's table, and the two that Cisco IOS XE uses; those with forward secrecy first. */
#define SUITES_TLS12                                                                                         \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:DHE-PSK-AES256-GCM-SHA384:DHE-PSK-AES256-"    \
    "CBC-SHA384:"                                                                                            \
    "DHE-PSK-AES256-CBC-SHA:PSK-AES256-GCM-SHA384:AES256-SHA256"
#define SUITES_TLS13        "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"
#define SUITES_TLS13_SHA256 "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
#define SUITES_TLS13_SHA384 "TLS_AES_256_GCM_SHA384"

static int state_index = -1, settings_index = -1;

static void state_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    struct tls_state *state = ptr;

    (void)parent;
    (void)ad;
    (void)index;
    (void)argl;
    (void)argp;
    if (state != NULL && state->on_closed != NULL)
        state->on_closed(state->watcher, state->from[0] != '\0' ? state->from : "?", state->established,
                         state->failure.text);
    free(state);
}

static void state_new(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    (void)parent;
    (void)ptr;
    (void)argl;
    (void)argp;
    CRYPTO_set_ex_data(ad, index, calloc(1, sizeof(struct tls_state)));
}

struct tls_state *tls_state_of(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, state_index);
}

static void settings_drop(struct tls_settings *s)
{
    if (s == NULL)
        return;
    skipd_conf_free(s->conf);
    free(s->parties);
    free(s);
}

static void settings_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    (void)parent;
    (void)ad;
    (void)index;
    (void)argl;
    (void)argp;
    settings_drop(ptr);
}

const struct tls_settings *tls_settings_of(const SSL_CTX *ctx)
{
    return SSL_CTX_get_ex_data(ctx, settings_index);
}

static const struct tls_settings *settings_of(const SSL *ssl)
{
    return tls_settings_of(SSL_get_SSL_CTX(ssl));
}

/* The reason of the last OpenSSL error; clears the queue. */
static void openssl_fault(struct fault *fault, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(e);

    fault_set(fault, "%s: %s", what,
              reason != NULL                  ? reason
              : ERR_GET_LIB(e) == ERR_LIB_SYS ? strerror(ERR_GET_REASON(e))
                                              : "OpenSSL gives no reason");
    ERR_clear_error();
}

/* ---- PSK ---- */

const struct tls_party *tls_party_by_psk(const struct tls_settings *s, const char *id, size_t len)
{
    for (size_t i = 0; i < s->n_parties; i++) {
        const char *psk_id = s->parties[i].identity->psk_id;

        if (psk_id != NULL && strlen(psk_id) == len && memcmp(psk_id, id, len) == 0)
            return &s->parties[i];
    }
    return NULL;
}

/* A session that stands for a PSK in TLS 1.3, bound to the hash. */
static SSL_SESSION *psk_session(SSL *ssl, const struct identity *identity, bool sha256)
{
    static const unsigned char AES_128[] = {0x13, 0x01}, AES_256[] = {0x13, 0x02};
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, sha256 ? AES_128 : AES_256);
    SSL_SESSION *session = SSL_SESSION_new();
    struct secret_view view = {0};
    bool ok = session != NULL && cipher != NULL && secret_open(identity->psk, &view) &&
              SSL_SESSION_set1_master_key(session, view.data, view.len) == 1 &&
              SSL_SESSION_set_cipher(session, cipher) == 1 &&
              SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1;

    secret_close(&view);
    if (ok)
        return session;
    SSL_SESSION_free(session);
    return NULL;
}

/* Server, TLS 1.3 (SSL_psk_find_session_cb_func). */
static int psk_find(SSL *ssl, const unsigned char *id, size_t len, SSL_SESSION **session)
{
    const struct tls_party *party = tls_party_by_psk(settings_of(ssl), (const char *)id, len);
    struct tls_state *state = tls_state_of(ssl);
    enum psk_hash_rule forbidden = PSK_HASH_ANY;

    *session = NULL;
    if (state == NULL)
        return 0;
    forbidden = state->sha256 ? PSK_HASH_SHA384 : PSK_HASH_SHA256;
    if (party == NULL || party->identity->psk_hash == forbidden) {
        /* OpenSSL goes on with certificates, if it can */
        fault_set(&state->failure,
                  party == NULL ? "PSK identity '%.*s' is nobody's" : "PSK '%.*s' is not for this hash",
                  (int)(len < 255 ? len : 255), (const char *)id);
        return 1;
    }
    *session = psk_session(ssl, party->identity, state->sha256);
    if (*session == NULL)
        return 0;
    state->psk_party = party;
    return 1;
}

/* Server, TLS 1.2 (SSL_psk_server_cb_func). OpenSSL asks here for TLS 1.3, too, when psk_find() found
 * nothing. */
static unsigned psk_serve(SSL *ssl, const char *id, unsigned char *psk, unsigned max_len)
{
    const struct tls_party *party = NULL;
    struct tls_state *state = tls_state_of(ssl);
    struct secret_view view = {0};
    unsigned len = 0;

    if (SSL_version(ssl) >= TLS1_3_VERSION || state == NULL)
        return 0;
    party = tls_party_by_psk(settings_of(ssl), id, strlen(id));
    if (party == NULL)
        fault_set(&state->failure, "PSK identity '%.255s' is nobody's", id);
    if (party == NULL || !secret_open(party->identity->psk, &view))
        return 0;
    if (view.len <= max_len) {
        memcpy(psk, view.data, view.len);
        len = (unsigned)view.len;
        state->psk_party = party;
    }
    secret_close(&view);
    return len;
}

/* Client, TLS 1.3 (SSL_psk_use_session_cb_func). */
static int psk_use(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *len, SSL_SESSION **session)
{
    const struct tls_party *party = settings_of(ssl)->parties;
    struct tls_state *state = tls_state_of(ssl);
    bool sha256 = party->identity->psk_hash == PSK_HASH_SHA256;

    *id = NULL;
    *len = 0;
    *session = NULL;
    if (md != NULL && !EVP_MD_is_a(md, sha256 ? "SHA256" : "SHA384"))
        return 1; /* after a HelloRetryRequest for another hash */
    if (state == NULL)
        return 0;
    *session = psk_session(ssl, party->identity, sha256);
    if (*session == NULL)
        return 0;
    state->sha256 = sha256;
    *id = (const unsigned char *)party->identity->psk_id;
    *len = strlen(party->identity->psk_id);
    state->psk_party = party;
    return 1;
}

/* The length of the first binder in the client's pre_shared_key extension (RFC 8446, 4.2.11), 0: none. */
static size_t binder_len(const unsigned char *ext, size_t len)
{
    size_t identities = 0;

    if (len < 2)
        return 0;
    identities = (size_t)(ext[0] << 8 | ext[1]);
    if (len - 2 < identities || len - 2 - identities < 3)
        return 0;
    return ext[2 + identities + 2];
}

/* A PSK works only with suites of its hash, and OpenSSL chooses the suite before it looks at the PSK. The
 * length of the client's binder tells the hash: so that only these suites are there to be chosen from
 * (SSL_client_hello_cb_fn). */
static int client_hello(SSL *ssl, int *alert, void *argument)
{
    struct tls_state *state = tls_state_of(ssl);
    const unsigned char *ext = NULL;
    size_t len = 0, binder = 0;

    (void)argument;
    if (state == NULL) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &ext, &len) == 1)
        binder = binder_len(ext, len);
    state->sha256 = binder == 32;
    if (binder == 32 || binder == 48)
        SSL_set_ciphersuites(ssl, binder == 32 ? SUITES_TLS13_SHA256 : SUITES_TLS13_SHA384);
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* ---- what is known of a connection ---- */

const char *tls_failure(const SSL *ssl)
{
    const struct tls_state *state = tls_state_of(ssl);

    return state != NULL ? state->failure.text : "";
}

bool tls_is_established(const SSL *ssl)
{
    const struct tls_state *state = tls_state_of(ssl);

    return state != NULL && state->established;
}

const char *tls_from(const SSL *ssl)
{
    const struct tls_state *state = tls_state_of(ssl);

    return state != NULL && state->from[0] != '\0' ? state->from : "?";
}

bool tls_watch(SSL *ssl, tls_established *established, tls_closed *closed, void *context)
{
    struct tls_state *state = tls_state_of(ssl);

    if (state == NULL)
        return false;
    state->on_established = established;
    state->on_closed = closed;
    state->watcher = context;
    return true;
}

void *tls_watcher(const SSL *ssl)
{
    const struct tls_state *state = tls_state_of(ssl);

    return state != NULL ? state->watcher : NULL;
}

/* ---- contexts ---- */

static void from_set(struct tls_state *state, int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[48] = "?", port[8] = "?";
    int before = errno; /* of a connection that failed: the reason, for whoever asks after us */

    if (getpeername(fd, (struct sockaddr *)&address, &len) == 0 &&
        getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(state->from, sizeof state->from, "%s port %s", host, port);
    errno = before;
}

static void info(const SSL *ssl, int where, int value)
{
    struct tls_state *state = tls_state_of(ssl);
    const int one = 1;

    if (state == NULL)
        return;
    if (state->from[0] == '\0')
        from_set(state, SSL_get_fd(ssl));
    if ((where & SSL_CB_HANDSHAKE_DONE) != 0) {
        state->established = true;
        setsockopt(SSL_get_fd(ssl), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (state->on_established != NULL)
            state->on_established(state->watcher);
    } else if ((where & SSL_CB_ALERT) != 0 && !state->established) {
        const char *way = (where & SSL_CB_READ) != 0 ? "received" : "sent";

        if (state->failure.text[0] == '\0')
            fault_set(&state->failure, "TLS alert %s: %s", way, SSL_alert_desc_string_long(value));
        else
            fault_prefix(&state->failure, "TLS alert %s: %s", way, SSL_alert_desc_string_long(value));
    } else if ((where & SSL_CB_EXIT) != 0 && value <= 0 && !state->established &&
               ERR_peek_last_error() != 0) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());

        if (state->failure.text[0] == '\0')
            fault_set(&state->failure, "TLS: %s", reason != NULL ? reason : "failed");
        else if (reason != NULL)
            fault_prefix(&state->failure, "%s", reason);
    }
}

static int key_no_password(char *buffer, int size, int writing, void *argument)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)argument;
    return -1; /* never ask at a terminal */
}

/* Our certificate chain and key, and the CAs; checks that the files can be trusted. */
static bool certificates_load(SSL_CTX *ctx, const struct skipd_conf *c, struct fault *fault)
{
    const struct {
        const char *path;
        enum config_file_kind kind;
    } files[] = {{c->certificate, CONFIG_FILE_PLAIN},
                 {c->key, CONFIG_FILE_SECRET},
                 {c->trustpoint, CONFIG_FILE_PLAIN}};

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        int fd = files[i].path != NULL ? config_file_open(files[i].path, files[i].kind, fault) : -1;

        if (files[i].path != NULL && fd < 0)
            return false;
        if (fd >= 0)
            close(fd);
    }
    SSL_CTX_set_default_passwd_cb(ctx, key_no_password);
    if (c->certificate != NULL && (SSL_CTX_use_certificate_chain_file(ctx, c->certificate) != 1 ||
                                   SSL_CTX_use_PrivateKey_file(ctx, c->key, SSL_FILETYPE_PEM) != 1 ||
                                   SSL_CTX_check_private_key(ctx) != 1)) {
        openssl_fault(fault, c->certificate);
        return false;
    }
    if (c->trustpoint != NULL && SSL_CTX_load_verify_file(ctx, c->trustpoint) != 1) {
        openssl_fault(fault, c->trustpoint);
        return false;
    }
    return true;
}

static struct tls_settings *settings_new(const struct skipd_conf *conf, size_t n_parties)
{
    struct tls_settings *s = calloc(1, sizeof *s);

    if (s == NULL || (s->parties = calloc(n_parties + 1, sizeof *s->parties)) == NULL) {
        free(s);
        return NULL;
    }
    s->conf = skipd_conf_ref(conf);
    s->n_parties = n_parties;
    return s;
}

/* Takes over the settings (NULL: there was no memory for them). */
static SSL_CTX *context_new(struct tls_settings *s, const SSL_METHOD *method, int version,
                            struct fault *fault)
{
    SSL_CTX *ctx = NULL;

    if (state_index < 0) {
        state_index = SSL_get_ex_new_index(0, NULL, state_new, NULL, state_free);
        settings_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, settings_free);
    }
    if (s != NULL && state_index >= 0 && settings_index >= 0)
        ctx = SSL_CTX_new_ex(crypto_context(), NULL, method);
    if (ctx == NULL || SSL_CTX_set_ex_data(ctx, settings_index, s) != 1) {
        openssl_fault(fault, "TLS");
        settings_drop(s);
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_options(ctx, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_info_callback(ctx, info);
    SSL_CTX_set_dh_auto(ctx, 1);
    if (SSL_CTX_set_min_proto_version(ctx, version) != 1 || SSL_CTX_set_cipher_list(ctx, SUITES_TLS12) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, SUITES_TLS13) != 1) {
        openssl_fault(fault, "TLS");
        goto bad;
    }
    if (!certificates_load(ctx, s->conf, fault))
        goto bad;
    return ctx;
bad:
    SSL_CTX_free(ctx);
    return NULL;
}

SSL_CTX *tls_server_context(const struct skipd_conf *conf, enum tls_whom whom, struct fault *fault)
{
    bool peers = whom == TLS_PEERS, psk = whom != TLS_CLIENTS_BY_CERTIFICATE, anonymous = false;
    struct tls_settings *s = settings_new(conf, peers ? conf->n_peers : conf->n_clients);
    SSL_CTX *ctx = NULL;

    for (size_t i = 0; s != NULL && i < s->n_parties; i++) {
        if (peers)
            s->parties[i] = (struct tls_party){&conf->peers[i].identity, &conf->peers[i]};
        else
            s->parties[i] = (struct tls_party){&conf->clients[i].identity, &conf->clients[i]};
        anonymous = anonymous || (s->parties[i].identity->server_auth_only && psk);
    }
    ctx = context_new(s, TLS_server_method(), peers ? TLS1_3_VERSION : TLS1_2_VERSION, fault);
    if (ctx == NULL)
        return NULL;
    /* OpenSSL wants one for PSK sessions with SSL_VERIFY_PEER */
    if (SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"skipd", 5) != 1) {
        openssl_fault(fault, "TLS");
        SSL_CTX_free(ctx);
        return NULL;
    }
    if (psk) {
        SSL_CTX_set_client_hello_cb(ctx, client_hello, NULL);
        SSL_CTX_set_psk_find_session_callback(ctx, psk_find);
        SSL_CTX_set_psk_server_callback(ctx, psk_serve);
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (anonymous ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT), NULL);
    if (conf->trustpoint != NULL)
        SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(conf->trustpoint));
    ERR_clear_error();
    return ctx;
}

/* Where the other end must use its PSK, no certificate is good. */
static int refuse_certificate(X509_STORE_CTX *store, void *argument)
{
    (void)argument;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

SSL_CTX *tls_client_context(const struct skipd_conf *conf, const struct skipd_peer *peer, struct fault *fault)
{
    const struct identity *identity = &peer->identity;
    struct tls_settings *s = settings_new(conf, 1);
    SSL_CTX *ctx = NULL;

    if (s != NULL)
        s->parties[0] = (struct tls_party){identity, peer};
    ctx = context_new(s, TLS_client_method(), TLS1_3_VERSION, fault);
    if (ctx == NULL)
        return NULL;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (identity->psk_id != NULL) {
        SSL_CTX_set_psk_use_session_callback(ctx, psk_use);
        SSL_CTX_set_cert_verify_callback(ctx, refuse_certificate, NULL);
        if (SSL_CTX_set_ciphersuites(ctx, identity->psk_hash == PSK_HASH_SHA256 ? SUITES_TLS13_SHA256
                                                                                : SUITES_TLS13_SHA384) != 1) {
            openssl_fault(fault, "TLS");
            SSL_CTX_free(ctx);
            return NULL;
        }
    }
    return ctx;
}
