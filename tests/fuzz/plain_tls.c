/* SPDX-License-Identifier: BSD-2-Clause */
/* In place of TLS, in fuzz targets of HTTP only: the linker puts these functions in front of the real ones
 * (--wrap), so that nothing in the product knows of it. */
#include "plain_tls.h"

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <stdlib.h>

/* ---- the server's side: libevent ---- */

#define CONNECTIONS_MAX 64

static struct {
    struct bufferevent *bev;
    SSL *ssl;
} connections[CONNECTIONS_MAX];
const struct tls_party *plain_party;

struct bufferevent *__wrap_bufferevent_openssl_socket_new(struct event_base *base, evutil_socket_t fd,
                                                          SSL *ssl, enum bufferevent_ssl_state state,
                                                          int options);
SSL *__wrap_bufferevent_openssl_get_ssl(struct bufferevent *bev);
void __wrap_bufferevent_openssl_set_allow_dirty_shutdown(struct bufferevent *bev, int allow);
int __wrap_SSL_shutdown(SSL *ssl);
SSL_CTX *__wrap_tls_server_context(const struct skipd_conf *conf, enum tls_whom whom, struct fault *fault);
SSL_CTX *__real_tls_server_context(const struct skipd_conf *conf, enum tls_whom whom, struct fault *fault);
const struct tls_party *__wrap_tls_party_of(const SSL *ssl, const SSL_CTX *by, const char *host);
bool __wrap_tls_is_established(const SSL *ssl);
const char *__wrap_tls_from(const SSL *ssl);

struct bufferevent *__wrap_bufferevent_openssl_socket_new(struct event_base *base, evutil_socket_t fd,
                                                          SSL *ssl, enum bufferevent_ssl_state state,
                                                          int options)
{
    struct bufferevent *bev = bufferevent_socket_new(base, fd, options);

    (void)state;
    for (size_t i = 0; bev != NULL && i < CONNECTIONS_MAX; i++) {
        if (connections[i].bev == NULL) {
            connections[i].bev = bev;
            connections[i].ssl = ssl;
            return bev;
        }
    }
    abort();
}

void plain_closed(void)
{
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        SSL_free(connections[i].ssl);
        connections[i].bev = NULL;
        connections[i].ssl = NULL;
    }
}

SSL *__wrap_bufferevent_openssl_get_ssl(struct bufferevent *bev)
{
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (bev != NULL && connections[i].bev == bev)
            return connections[i].ssl;
    return NULL;
}

void __wrap_bufferevent_openssl_set_allow_dirty_shutdown(struct bufferevent *bev, int allow)
{
    (void)bev, (void)allow;
}

int __wrap_SSL_shutdown(SSL *ssl)
{
    (void)ssl;
    return 0;
}

/* The one that wants certificates, which there are none of here, is one with PSKs, too. */
SSL_CTX *__wrap_tls_server_context(const struct skipd_conf *conf, enum tls_whom whom, struct fault *fault)
{
    return __real_tls_server_context(conf, whom == TLS_CLIENTS_BY_CERTIFICATE ? TLS_CLIENTS : whom, fault);
}

const struct tls_party *__wrap_tls_party_of(const SSL *ssl, const SSL_CTX *by, const char *host)
{
    (void)ssl, (void)by, (void)host;
    return plain_party;
}

bool __wrap_tls_is_established(const SSL *ssl)
{
    (void)ssl;
    return true;
}

const char *__wrap_tls_from(const SSL *ssl)
{
    (void)ssl;
    return "the fuzzer";
}
