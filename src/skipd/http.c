/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/http.h"

#include "base/clock.h"
#include "base/log.h"
#include "skipd/buffer.h"
#include "skipd/http_server.h"
#include "skipd/tls.h"

#include <event2/bufferevent_ssl.h>
#include <event2/http_struct.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct http_exchange {
    struct http_server *server;
    const struct http_dialect *dialect;
    struct evhttp_request *req;
    const struct skipd_conf *conf; /* a reference, for the client */
    const struct skipd_client *client;
    struct quota *quota; /* with this request counted */
    uint64_t began;
    char from[80];
    enum request_kind kind;
    char remote[SYSTEM_ID_MAX + 1];
    char key_id[2 * KEY_ID_MAX + 1];
};

struct service *http_service(const struct http_exchange *x)
{
    return http_server_service(x->server);
}

const struct skipd_client *http_client(const struct http_exchange *x)
{
    return x->client;
}

void http_note(struct http_exchange *x, enum request_kind kind, const char *remote, const char *key_id)
{
    if (kind != REQUEST_OTHER)
        x->kind = kind;
    if (remote != NULL)
        snprintf(x->remote, sizeof x->remote, "%s", remote);
    if (key_id != NULL)
        snprintf(x->key_id, sizeof x->key_id, "%s", key_id);
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
    connection_rest(c);
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
    case 429:
        return "Too Many Requests";
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
    log_write(status < 500 ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
              "client '%s' (%s): %s%s%s%s%s%s: %d%s%s (%llu ms)", x->client != NULL ? x->client->name : "?",
              x->from, x->dialect->kinds[x->kind], x->remote[0] != '\0' ? " remote '" : "", x->remote,
              x->remote[0] != '\0' ? "'" : "", x->key_id[0] != '\0' ? " id " : "", x->key_id, status,
              reason != NULL ? " " : "", reason != NULL ? reason : "",
              (unsigned long long)(clock_ms() - x->began));
}

/* libevent makes a TLS record of each piece of memory that is to be sent, here of the head and of the body.
 * One piece is one record, and wakes the client once. Where there is no memory, they go as they are. */
static void output_join(struct evbuffer *out)
{
    const size_t len = evbuffer_get_length(out);
    struct evbuffer *joined = evbuffer_new();
    char *bytes = secmem_alloc(len); /* there is a key in it */

    /* The draining wipes the body that was. */
    if (bytes != NULL && buffer_add_secret(joined, bytes, len) &&
        evbuffer_copyout(out, bytes, len) == (ev_ssize_t)len && evbuffer_drain(out, len) == 0)
        evbuffer_add_buffer(out, joined);
    if (joined != NULL)
        evbuffer_free(joined);
}

/* Sends `body` (NULL: nothing) and ends the exchange. */
static void finish(struct http_exchange *x, int status, const char *reason, struct evbuffer *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(x->req);
    struct evhttp_connection *connection = evhttp_request_get_connection(x->req);
    const struct connection *c = connection_of(x->req);

    log_answer(x, status, reason);
    statistics_request(x->client != NULL ? x->client->name : NULL, x->dialect->number, x->kind, status);
    evhttp_add_header(headers, "Content-Type", "application/json");
    evhttp_add_header(headers, "Cache-Control", "no-store");
    if (status == 429 || status == 503)
        evhttp_add_header(headers, "Retry-After", "1");
    if (http_server_is_stopped(x->server) || (c != NULL && c->retired))
        evhttp_add_header(headers, "Connection", "close");
    evhttp_request_set_on_complete_cb(x->req, on_complete, NULL);
    http_server_count(x->server, -1);
    if (x->quota != NULL)
        quota_answered(x->quota);
    evhttp_send_reply(x->req, status, status_text(status), body);
    if (connection != NULL)
        output_join(bufferevent_get_output(evhttp_connection_get_bufferevent(connection)));
    skipd_conf_free(x->conf);
    free(x);
}

void http_answer_json(struct http_exchange *x, const char *json)
{
    struct evbuffer *body = evbuffer_new();

    if (body != NULL && evbuffer_add(body, json, strlen(json)) == 0)
        finish(x, 200, NULL, body);
    else
        finish(x, 503, "no memory", NULL);
    if (body != NULL)
        evbuffer_free(body);
}

/* Why what is answered now would not reach the client; NULL: it will, as far as can be known. */
static const char *why_lost(const struct http_exchange *x)
{
    if (http_server_withholds(x->server))
        return "this key source is ending; the client has not got the key";
    return client_gone(x->req) ? "the client is gone; it has not got the key" : NULL;
}

bool http_answer_secret(struct http_exchange *x, char *json, size_t len)
{
    struct evbuffer *body = NULL;
    const char *lost = why_lost(x);

    if (lost != NULL) {
        secmem_free(json);
        finish(x, 503, lost, NULL);
        return false;
    }
    body = evbuffer_new();
    if (!buffer_add_secret(body, json, len)) {
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
    struct fault who = {0};

    if (c->client == NULL)
        connection_identify(c); /* as the configuration is now */
    if (c->client == NULL) {
        tls_describe(bufferevent_openssl_get_ssl(c->bev), &who);
        fault_prefix(&who, "no client of this key source");
        http_answer_error(x, x->dialect->refused, who.text);
        return false;
    }
    x->client = c->client;
    if (c->quota == NULL || c->surplus || quota_connections(c->quota) > x->conf->max_connections_per_client) {
        evhttp_add_header(evhttp_request_get_output_headers(x->req), "Connection", "close");
        http_answer_error(x, 503, "too many connections of this client");
        return false;
    }
    return true;
}

/* May this client ask now? False: the reason is told. */
static bool admit(struct http_exchange *x, struct connection *c)
{
    const struct request_limit *limit = &x->client->limit;

    switch (quota_request(c->quota, limit)) {
    case QUOTA_OK:
        x->quota = c->quota;
        return true;
    case QUOTA_IN_FLIGHT:
        http_answer_error(x, 429, "too many requests of this client are under way");
        return false;
    case QUOTA_RATE:
        break;
    }
    http_answer_error(x, 429, "too many requests of this client in a second");
    return false;
}

void http_request(struct evhttp_request *req, void *context)
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
    c->busy = true;
    x->server = s;
    x->conf = skipd_conf_ref(http_server_conf(s));
    x->dialect = face->dialect;
    x->req = req;
    x->began = clock_ms();
    x->kind = REQUEST_OTHER;
    snprintf(x->from, sizeof x->from, "%s", tls_from(bufferevent_openssl_get_ssl(c->bev)));
    http_server_count(s, 1);
    if (!authenticate(x, c) || !admit(x, c))
        return;
    if (path == NULL ||
        !x->dialect->handle(x, method_name(evhttp_request_get_command(req)), path, evhttp_uri_get_query(uri)))
        http_answer_error(x, 404, "no such path");
}
