/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/http_server.h"

#include "base/log.h"
#include "skipd/accept.h"
#include "skipd/tls.h"

#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HEADERS_MAX 8192
#define LISTENS_MAX 64
/* So many connections of a client that has all it may have stay for a moment: a request in them is answered
 * with the reason. More are closed at once, so that one client's connections cannot take all places. */
#define TOLD_MAX 4

static const struct http_dialect *const http_dialects[] = {
    [LISTEN_SKIP] = &http_skip, [LISTEN_ETSI014] = &http_etsi014};

#define N_DIALECTS (sizeof http_dialects / sizeof http_dialects[0])

struct bound {
    struct evhttp_bound_socket *bound;
    enum listen_kind kind;
};

struct http_server {
    struct event_base *base;
    struct service *service;
    const struct skipd_conf *conf, *next; /* references; next: while it is prepared */
    struct face faces[N_DIALECTS];
    struct bound sockets[LISTENS_MAX];
    size_t n_sockets;
    struct connection *connections;
    size_t n_connections;
    struct quotas *quotas;
    bool stopped, full, withholds;
    size_t pending;
};

const struct skipd_conf *http_server_conf(const struct http_server *s)
{
    return s->conf;
}

struct service *http_server_service(const struct http_server *s)
{
    return s->service;
}

bool http_server_is_stopped(const struct http_server *s)
{
    return s->stopped;
}

bool http_server_withholds(const struct http_server *s)
{
    return s->withholds;
}

void http_server_count(struct http_server *s, int more)
{
    s->pending += (size_t)more;
}

/* ---- connections ---- */

static void timer_start(struct connection *c, uint32_t seconds)
{
    struct timeval t = {.tv_sec = (time_t)seconds};

    event_add(c->timer, &t);
}

static void listeners_enable(struct http_server *s, bool enable)
{
    for (size_t i = 0; i < s->n_sockets; i++) {
        struct evconnlistener *l = evhttp_bound_socket_get_listener(s->sockets[i].bound);

        if (enable)
            evconnlistener_enable(l);
        else
            evconnlistener_disable(l);
    }
}

/* Nothing complete came in time. Whoever sends one byte now and then gains nothing. */
static void on_timeout(evutil_socket_t fd, short events, void *context)
{
    struct connection *c = context;

    (void)fd;
    (void)events;
    /* evhttp sees the end of the connection, and frees it */
    shutdown(bufferevent_getfd(c->bev), SHUT_RDWR);
}

void connection_identify(struct connection *c)
{
    const struct tls_party *party =
        c->retired ? NULL : tls_party_of(bufferevent_openssl_get_ssl(c->bev), c->face->tls, NULL);

    c->client = party != NULL ? party->who : NULL;
    if (c->quota != NULL)
        quota_disconnected(c->quota, c->surplus);
    c->quota = quota_connected(c->server->quotas, c->client != NULL ? c->client->name : "",
                               c->server->conf->max_connections_per_client, &c->surplus);
}

/* The handshake was in time: now the first request. Who is no client, or has enough connections, has only
 * what is left of the handshake's time for it. */
static void on_established(void *context)
{
    struct connection *c = context;

    connection_identify(c);
    ERR_clear_error(); /* OpenSSL, which calls this, goes on */
    if (c->quota == NULL || quota_surplus(c->quota) > TOLD_MAX) {
        log_write(LOG_LEVEL_WARNING,
                  "client '%s' (%s): connection closed: too many connections of this client",
                  c->client != NULL ? c->client->name : "?", tls_from(bufferevent_openssl_get_ssl(c->bev)));
        shutdown(bufferevent_getfd(c->bev), SHUT_RDWR);
    } else if (c->client != NULL && !c->surplus) {
        timer_start(c, c->server->conf->idle_timeout_s);
    }
}

static void on_closed(void *context, const char *from, bool established, const char *failure)
{
    struct connection *c = context;
    struct http_server *s = c->server;

    if (!established)
        log_write(LOG_LEVEL_WARNING, "connection from %s refused: %s", from,
                  failure[0] != '\0' ? failure : "closed during the TLS handshake");
    *c->self = c->next;
    if (c->next != NULL)
        c->next->self = c->self;
    if (c->quota != NULL)
        quota_disconnected(c->quota, c->surplus);
    s->n_connections--;
    statistics_disconnected(established);
    if (s->full && !s->stopped) {
        s->full = false;
        listeners_enable(s, true);
    }
    event_free(c->timer);
    free(c);
}

/* evhttp takes a connection without TLS if it gets NULL here, so that it never does: without memory, the
 * process ends. */
static struct bufferevent *on_accept(struct event_base *base, void *context)
{
    const struct face *face = context;
    struct http_server *s = face->server;
    struct connection *c = calloc(1, sizeof *c);
    SSL *ssl = SSL_new(face->tls);
    struct bufferevent *bev = NULL;

    ERR_clear_error();
    if (c != NULL && ssl != NULL && (c->timer = evtimer_new(base, on_timeout, c)) != NULL &&
        tls_watch(ssl, on_established, on_closed, c))
        bev = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (bev == NULL) {
        log_write(LOG_LEVEL_ERROR, "no memory for a connection");
        abort();
    }
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    c->server = s;
    c->face = face;
    c->bev = bev;
    c->next = s->connections;
    c->self = &s->connections;
    if (c->next != NULL)
        c->next->self = &c->next;
    s->connections = c;
    timer_start(c, s->conf->handshake_timeout_s);
    statistics_connected();
    if (++s->n_connections >= s->conf->max_connections) {
        s->full = true;
        listeners_enable(s, false);
        log_write(LOG_LEVEL_WARNING, "%zu connections are open: no more are accepted for now",
                  s->n_connections);
    }
    return bev;
}

struct connection *connection_of(struct evhttp_request *req)
{
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    SSL *ssl = evcon != NULL ? bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(evcon)) : NULL;

    return ssl != NULL ? tls_watcher(ssl) : NULL;
}

void connection_rest(struct connection *c)
{
    c->busy = false;
    timer_start(c, c->server->conf->idle_timeout_s);
}

/* ---- the server ---- */

struct http_server *http_server_new(struct event_base *base, struct service *service)
{
    struct http_server *s = calloc(1, sizeof *s);

    if (s == NULL || (s->quotas = quotas_new()) == NULL) {
        free(s);
        return NULL;
    }
    s->base = base;
    s->service = service;
    return s;
}

/* ---- configurations ---- */

static bool face_prepare(struct http_server *s, enum listen_kind kind, const struct skipd_conf *conf,
                         struct fault *fault)
{
    struct face *f = &s->faces[kind];

    f->server = s;
    f->dialect = http_dialects[kind];
    if (f->next == NULL)
        f->next = tls_server_context(
            conf, f->dialect->only_certificates ? TLS_CLIENTS_BY_CERTIFICATE : TLS_CLIENTS, fault);
    if (f->next == NULL || f->http != NULL)
        return f->next != NULL;
    f->http = evhttp_new(s->base);
    if (f->http == NULL) {
        fault_set(fault, "no memory");
        return false;
    }
    evhttp_set_bevcb(f->http, on_accept, f);
    evhttp_set_gencb(f->http, http_request, f);
    evhttp_set_allowed_methods(f->http, UINT16_MAX);
    evhttp_set_max_headers_size(f->http, HEADERS_MAX);
    evhttp_set_max_body_size(f->http, HTTP_BODY_MAX);
    return true;
}

bool http_server_prepare(struct http_server *s, const struct skipd_conf *conf, struct fault *fault)
{
    s->next = skipd_conf_ref(conf);
    for (enum listen_kind kind = 0; kind < N_DIALECTS; kind++) {
        bool wanted = s->faces[kind].http != NULL; /* its connections may outlive its listeners */

        for (size_t i = 0; i < conf->n_listens; i++)
            wanted = wanted || conf->listens[i].kind == kind;
        if (wanted && !face_prepare(s, kind, conf, fault))
            return false;
    }
    return true;
}

/* Is whoever is there the same client still, by what he has proved? */
static void connection_review(struct connection *c)
{
    const struct tls_party *party = tls_party_of(bufferevent_openssl_get_ssl(c->bev), c->face->tls, NULL);
    const struct skipd_client *client = party != NULL ? party->who : NULL;

    if (client != NULL && strcmp(client->name, c->client->name) == 0) {
        c->client = client;
        return;
    }
    log_write(LOG_LEVEL_NOTICE,
              "client '%s' (%s): connection closed: it is no client of this name any more, by the new "
              "configuration",
              c->client->name, tls_from(bufferevent_openssl_get_ssl(c->bev)));
    c->client = NULL;
    c->retired = true;
    if (!c->busy)
        shutdown(bufferevent_getfd(c->bev), SHUT_RDWR); /* evhttp sees the end, and frees it */
}

void http_server_commit(struct http_server *s)
{
    const struct skipd_conf *old = s->conf;
    SSL_CTX *old_tls[N_DIALECTS];

    s->conf = s->next;
    s->next = NULL;
    for (size_t i = 0; i < N_DIALECTS; i++) {
        old_tls[i] = s->faces[i].tls;
        s->faces[i].tls = s->faces[i].next;
        s->faces[i].next = NULL;
        if (s->faces[i].http != NULL)
            evhttp_set_timeout(s->faces[i].http, (int)s->conf->idle_timeout_s + 10);
    }
    for (struct connection *c = s->connections; c != NULL; c = c->next)
        if (c->client != NULL)
            connection_review(c);
    for (size_t i = 0; i < N_DIALECTS; i++)
        SSL_CTX_free(old_tls[i]);
    skipd_conf_free(old);
    quotas_trim(s->quotas, s->conf);
    if (s->full && s->n_connections < s->conf->max_connections) {
        s->full = false;
        listeners_enable(s, true);
    }
}

void http_server_abandon(struct http_server *s)
{
    for (size_t i = 0; i < N_DIALECTS; i++) {
        SSL_CTX_free(s->faces[i].next);
        s->faces[i].next = NULL;
    }
    skipd_conf_free(s->next);
    s->next = NULL;
}

bool http_server_listen(struct http_server *s, int fd, enum listen_kind kind, struct fault *fault)
{
    struct evhttp_bound_socket *b = NULL;

    if (s->n_sockets < LISTENS_MAX && listen(fd, 1024) == 0)
        b = evhttp_accept_socket_with_handle(s->faces[kind].http, fd);
    if (b == NULL) {
        fault_set(fault, s->n_sockets < LISTENS_MAX ? "cannot listen" : "too many listeners");
        return false;
    }
    accept_guard(evhttp_bound_socket_get_listener(b));
    s->sockets[s->n_sockets++] = (struct bound){b, kind};
    if (s->full)
        evconnlistener_disable(evhttp_bound_socket_get_listener(b));
    return true;
}

void http_server_unlisten(struct http_server *s, int fd)
{
    for (size_t i = 0; i < s->n_sockets; i++)
        if (evhttp_bound_socket_get_fd(s->sockets[i].bound) == fd) {
            evhttp_del_accept_socket(s->faces[s->sockets[i].kind].http, s->sockets[i].bound);
            s->sockets[i] = s->sockets[--s->n_sockets];
            return;
        }
}

void http_server_stop(struct http_server *s)
{
    s->stopped = true;
    listeners_enable(s, false);
}

size_t http_server_pending(const struct http_server *s)
{
    return s->pending;
}

void http_server_withhold(struct http_server *s)
{
    s->withholds = true;
}

void http_server_close(struct http_server *s)
{
    s->stopped = true;
    for (size_t i = 0; i < N_DIALECTS; i++) {
        if (s->faces[i].http != NULL)
            evhttp_free(s->faces[i].http);
        s->faces[i].http = NULL;
    }
}

void http_server_free(struct http_server *s)
{
    if (s == NULL)
        return;
    http_server_close(s);
    for (size_t i = 0; i < N_DIALECTS; i++)
        SSL_CTX_free(s->faces[i].tls);
    skipd_conf_free(s->conf);
    quotas_free(s->quotas);
    free(s);
}
