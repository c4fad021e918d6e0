/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/http.h"

#include "base/clock.h"
#include "base/log.h"
#include "skipd/tls.h"

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/listener.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HEADERS_MAX 8192
#define LISTENS_MAX 16

static const struct http_dialect *const http_dialects[] = {
    [LISTEN_SKIP] = &http_skip, [LISTEN_ETSI014] = &http_etsi014};

#define N_DIALECTS (sizeof http_dialects / sizeof http_dialects[0])

/* What the listeners of one dialect share. */
struct face {
    struct http_server *server;
    const struct http_dialect *dialect;
    struct tls_settings settings;
    SSL_CTX *tls;
    struct evhttp *http; /* NULL: there are no such listeners */
};

struct http_server {
    struct event_base *base;
    struct service *service;
    const struct skipd_conf *conf;
    struct tls_party *parties;
    struct face faces[N_DIALECTS];
    struct evhttp_bound_socket *sockets[LISTENS_MAX];
    size_t n_sockets;
    size_t n_connections, *n_by_client; /* the latter by the client's place in the configuration */
    bool stopped, full;
    size_t pending;
};

/* A connection: made when it is accepted, freed with its SSL object. */
struct connection {
    struct http_server *server;
    const struct face *face;
    struct bufferevent *bev;
    struct event *timer;               /* runs while no request is being handled */
    bool handshaking;                  /* the timer is that of the handshake */
    const struct skipd_client *client; /* once it has proved who it is */
};

struct http_exchange {
    struct http_server *server;
    const struct http_dialect *dialect;
    struct evhttp_request *req;
    const struct skipd_client *client;
    uint64_t began;
    char from[80];
    const char *kind;
    char remote[SYSTEM_ID_MAX + 1];
    char key_id[2 * KEY_ID_MAX + 1];
};

struct service *http_service(const struct http_exchange *x)
{
    return x->server->service;
}

const struct skipd_client *http_client(const struct http_exchange *x)
{
    return x->client;
}

void http_note(struct http_exchange *x, const char *kind, const char *remote, const char *key_id)
{
    if (kind != NULL)
        x->kind = kind;
    if (remote != NULL)
        snprintf(x->remote, sizeof x->remote, "%s", remote);
    if (key_id != NULL)
        snprintf(x->key_id, sizeof x->key_id, "%s", key_id);
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
        struct evconnlistener *l = evhttp_bound_socket_get_listener(s->sockets[i]);

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
    if (c->handshaking && tls_is_established(bufferevent_openssl_get_ssl(c->bev))) {
        /* it was in time: now the first request */
        c->handshaking = false;
        timer_start(c, c->server->conf->idle_timeout_s);
        return;
    }
    /* evhttp sees the end of the connection, and frees it */
    shutdown(bufferevent_getfd(c->bev), SHUT_RDWR);
}

static void on_closed(void *context, const char *from, bool established, const char *failure)
{
    struct connection *c = context;
    struct http_server *s = c->server;

    if (!established)
        log_write(LOG_LEVEL_WARNING, "connection from %s refused: %s", from,
                  failure[0] != '\0' ? failure : "closed during the TLS handshake");
    if (c->client != NULL)
        s->n_by_client[c->client - s->conf->clients]--;
    s->n_connections--;
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
        tls_watch(ssl, on_closed, c))
        bev = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (bev == NULL) {
        log_write(LOG_LEVEL_ERROR, "no memory for a connection");
        abort();
    }
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    c->server = s;
    c->face = face;
    c->bev = bev;
    c->handshaking = true;
    timer_start(c, s->conf->handshake_timeout_s);
    if (++s->n_connections >= s->conf->max_connections) {
        s->full = true;
        listeners_enable(s, false);
        log_write(LOG_LEVEL_WARNING, "%zu connections are open: no more are accepted for now",
                  s->n_connections);
    }
    return bev;
}

static struct connection *connection_of(struct evhttp_request *req)
{
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    SSL *ssl = evcon != NULL ? bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(evcon)) : NULL;

    return ssl != NULL ? tls_watcher(ssl) : NULL;
}

/* ---- answers ---- */

static bool header_is(const struct evkeyvalq *headers, const char *name, const char *value)
{
    const char *have = evhttp_find_header(headers, name);

    return have != NULL && strcasecmp(have, value) == 0;
}

/* Will evhttp close the connection after this request? */
static bool closes(struct evhttp_request *req)
{
    const struct evkeyvalq *in = evhttp_request_get_input_headers(req);

    return header_is(in, "Connection", "close") ||
           header_is(evhttp_request_get_output_headers(req), "Connection", "close") ||
           (req->major == 1 && req->minor == 0 && !header_is(in, "Connection", "keep-alive"));
}

/* The answer is out. evhttp closes without TLS's close_notify, which careful clients miss. */
static void on_complete(struct evhttp_request *req, void *context)
{
    struct connection *c = connection_of(req);

    (void)context;
    if (c == NULL)
        return;
    if (closes(req))
        SSL_shutdown(bufferevent_openssl_get_ssl(c->bev));
    ERR_clear_error();
    timer_start(c, c->server->conf->idle_timeout_s);
}

/* Has the client hung up? (evhttp does not look while a request is being handled.) */
static bool client_gone(struct evhttp_request *req)
{
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    struct pollfd p = {.fd = -1, .events = POLLRDHUP};

    if (evcon == NULL)
        return true;
    p.fd = bufferevent_getfd(evhttp_connection_get_bufferevent(evcon));
    return p.fd < 0 || poll(&p, 1, 0) != 0;
}

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    default:
        return "Error";
    }
}

static void log_answer(const struct http_exchange *x, int status, const char *reason)
{
    log_write(
        status < 500 ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "client '%s' (%s): %s%s%s%s%s%s: %d%s%s (%llu ms)",
        x->client != NULL ? x->client->name : "?", x->from, x->kind, x->remote[0] != '\0' ? " remote '" : "",
        x->remote, x->remote[0] != '\0' ? "'" : "", x->key_id[0] != '\0' ? " id " : "", x->key_id, status,
        reason != NULL ? " " : "", reason != NULL ? reason : "", (unsigned long long)(clock_ms() - x->began));
}

/* Sends `body` (NULL: nothing) and ends the exchange. */
static void finish(struct http_exchange *x, int status, const char *reason, struct evbuffer *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(x->req);

    log_answer(x, status, reason);
    evhttp_add_header(headers, "Content-Type", "application/json");
    evhttp_add_header(headers, "Cache-Control", "no-store");
    if (x->server->stopped)
        evhttp_add_header(headers, "Connection", "close");
    evhttp_request_set_on_complete_cb(x->req, on_complete, NULL);
    x->server->pending--;
    evhttp_send_reply(x->req, status, status_text(status), body);
    free(x);
}

void http_answer_json(struct http_exchange *x, const char *json)
{
    struct evbuffer *body = evbuffer_new();

    if (body != NULL)
        evbuffer_add(body, json, strlen(json));
    finish(x, 200, NULL, body);
    if (body != NULL)
        evbuffer_free(body);
}

static void wiped_free(const void *data, size_t len, void *context)
{
    (void)data;
    (void)len;
    secmem_free(context);
}

bool http_answer_secret(struct http_exchange *x, char *json, size_t len)
{
    struct evbuffer *body = NULL;

    if (client_gone(x->req)) {
        secmem_free(json);
        finish(x, 503, "the client is gone; it has not got the key", NULL);
        return false;
    }
    body = evbuffer_new();
    if (body == NULL || evbuffer_add_reference(body, json, len, wiped_free, json) != 0) {
        secmem_free(json);
        if (body != NULL)
            evbuffer_free(body);
        finish(x, 503, "no memory", NULL);
        return false;
    }
    finish(x, 200, NULL, body);
    evbuffer_free(body);
    return true;
}

void http_answer_error(struct http_exchange *x, int status, const char *reason)
{
    struct evbuffer *body = evbuffer_new();
    struct text json = {0};

    text_printf(&json, "{\"%s\":", x->dialect->error_member);
    text_append_json(&json, reason, strlen(reason));
    text_printf(&json, "}");
    if (body != NULL && !json.failed)
        evbuffer_add(body, json.s, json.len);
    text_free(&json);
    finish(x, status, reason, body);
    if (body != NULL)
        evbuffer_free(body);
}

void http_answer_method(struct http_exchange *x, const char *allowed)
{
    struct fault reason = {0};

    evhttp_add_header(evhttp_request_get_output_headers(x->req), "Allow", allowed);
    fault_set(&reason, "only %s", allowed);
    http_answer_error(x, 405, reason.text);
}

/* ---- requests ---- */

struct span http_body(const struct http_exchange *x)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(x->req);

    return (struct span){evbuffer_pullup(in, -1), evbuffer_get_length(in)};
}

static const char *method_name(enum evhttp_cmd_type method)
{
    switch (method) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_HEAD:
        return "HEAD";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    default:
        return "?";
    }
}

/* Who asks? False: nobody that is served; the reason is told. */
static bool authenticate(struct http_exchange *x, struct connection *c)
{
    struct http_server *s = x->server;
    const struct tls_party *party = NULL;
    struct fault who = {0};

    if (c->client == NULL) {
        party = tls_party_of(bufferevent_openssl_get_ssl(c->bev), NULL);
        if (party == NULL) {
            tls_describe(bufferevent_openssl_get_ssl(c->bev), &who);
            fault_prefix(&who, "no client of this key source");
            http_answer_error(x, x->dialect->refused, who.text);
            return false;
        }
        c->client = party->who;
        s->n_by_client[c->client - s->conf->clients]++;
    }
    x->client = c->client;
    if (s->n_by_client[c->client - s->conf->clients] > s->conf->max_connections_per_client) {
        evhttp_add_header(evhttp_request_get_output_headers(x->req), "Connection", "close");
        http_answer_error(x, 503, "too many connections of this client");
        return false;
    }
    return true;
}

static void on_request(struct evhttp_request *req, void *context)
{
    const struct face *face = context;
    struct http_server *s = face->server;
    struct connection *c = connection_of(req);
    struct http_exchange *x = calloc(1, sizeof *x);
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;

    if (c == NULL || x == NULL) { /* never without TLS */
        free(x);
        evhttp_send_reply(req, 503, "Service Unavailable", NULL);
        return;
    }
    event_del(c->timer);
    c->handshaking = false;
    x->server = s;
    x->dialect = face->dialect;
    x->req = req;
    x->began = clock_ms();
    x->kind = "request";
    snprintf(x->from, sizeof x->from, "%s", tls_from(bufferevent_openssl_get_ssl(c->bev)));
    s->pending++;
    if (!authenticate(x, c))
        return;
    if (path == NULL ||
        !x->dialect->handle(x, method_name(evhttp_request_get_command(req)), path, evhttp_uri_get_query(uri)))
        http_answer_error(x, 404, "no such path");
}

/* ---- the server ---- */

/* Prepares for listeners of this kind. */
static bool face_open(struct http_server *s, enum listen_kind kind, struct fault *fault)
{
    struct face *f = &s->faces[kind];

    if (f->http != NULL)
        return true;
    f->server = s;
    f->dialect = http_dialects[kind];
    f->settings = (struct tls_settings){.conf = s->conf,
                                        .parties = s->parties,
                                        .n_parties = s->conf->n_clients,
                                        .only_certificates = f->dialect->only_certificates};
    f->tls = tls_server_context(&f->settings, fault);
    if (f->tls == NULL)
        return false;
    f->http = evhttp_new(s->base);
    if (f->http == NULL) {
        fault_set(fault, "no memory");
        return false;
    }
    evhttp_set_bevcb(f->http, on_accept, f);
    evhttp_set_gencb(f->http, on_request, f);
    evhttp_set_allowed_methods(f->http, UINT16_MAX);
    evhttp_set_max_headers_size(f->http, HEADERS_MAX);
    evhttp_set_max_body_size(f->http, HTTP_BODY_MAX);
    evhttp_set_timeout(f->http, (int)s->conf->idle_timeout_s + 10);
    return true;
}

struct http_server *http_server_new(struct event_base *base, struct service *service, struct fault *fault)
{
    const struct skipd_conf *conf = service_conf(service);
    struct http_server *s = calloc(1, sizeof *s);

    if (s == NULL)
        goto memory;
    s->base = base;
    s->service = service;
    s->conf = conf;
    s->parties = calloc(conf->n_clients + 1, sizeof *s->parties);
    s->n_by_client = calloc(conf->n_clients + 1, sizeof *s->n_by_client);
    if (s->parties == NULL || s->n_by_client == NULL)
        goto memory;
    for (size_t i = 0; i < conf->n_clients; i++)
        s->parties[i] = (struct tls_party){&conf->clients[i].identity, &conf->clients[i]};
    for (size_t i = 0; i < conf->n_listens; i++)
        if (conf->listens[i].kind != LISTEN_PEERS && !face_open(s, conf->listens[i].kind, fault))
            goto bad;
    return s;
memory:
    fault_set(fault, "no memory");
bad:
    http_server_free(s);
    return NULL;
}

bool http_server_listen(struct http_server *s, int fd, enum listen_kind kind, struct fault *fault)
{
    struct evhttp_bound_socket *b = NULL;

    if (s->n_sockets < LISTENS_MAX && listen(fd, 1024) == 0)
        b = evhttp_accept_socket_with_handle(s->faces[kind].http, fd);
    if (b == NULL) {
        fault_set(fault, "cannot listen");
        return false;
    }
    s->sockets[s->n_sockets++] = b;
    return true;
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
    free(s->parties);
    free(s->n_by_client);
    free(s);
}
