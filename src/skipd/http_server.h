/* SPDX-License-Identifier: BSD-2-Clause */
/* What http.c (requests) and http_server.c (listeners, connections) share. */
#ifndef PPK_SKIPD_HTTP_SERVER_H
#define PPK_SKIPD_HTTP_SERVER_H

#include "skipd/http.h"
#include "skipd/quota.h"

#include <event2/http.h>
#include <openssl/ssl.h>

/* What the listeners of one dialect share. */
struct face {
    struct http_server *server;
    const struct http_dialect *dialect;
    SSL_CTX *tls, *next; /* next: while it is prepared */
    struct evhttp *http; /* NULL: there were no such listeners so far */
};

/* A connection: made when it is accepted, freed with its SSL object. */
struct connection {
    struct http_server *server;
    const struct face *face;
    struct bufferevent *bev;
    struct event *timer;               /* runs while no request is being handled */
    bool busy;                         /* a request is being handled */
    bool surplus;                      /* its client has enough without it: it is not served */
    bool retired;                      /* its client is none any more: to be closed after the answer */
    const struct skipd_client *client; /* once it has proved who it is; of the configuration in effect */
    struct quota *quota; /* the client's (or of all who are none), with this connection counted */
    struct connection *next, **self;
};

/* The configuration that is in effect, the service. */
const struct skipd_conf *http_server_conf(const struct http_server *s);
struct service *http_server_service(const struct http_server *s);
bool http_server_is_stopped(const struct http_server *s);
bool http_server_withholds(const struct http_server *s);

/* Counts requests that are being handled. */
void http_server_count(struct http_server *s, int more);

/* The connection of a request; NULL: it has no TLS, or is closed. */
struct connection *connection_of(struct evhttp_request *req);

/* Finds out who is there, now that the handshake is done, and counts the connection to him. */
void connection_identify(struct connection *c);

/* No request is being handled any more: the idle timeout begins to count. */
void connection_rest(struct connection *c);

/* evhttp's callback; `face` is the listener's. */
void http_request(struct evhttp_request *req, void *face);

#endif
