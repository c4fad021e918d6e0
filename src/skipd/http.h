/* SPDX-License-Identifier: BSD-2-Clause */
/* HTTP over TLS (libevent's evhttp over OpenSSL): connections with their bounds, who the client is, the log
 * line of each request. What a request means is told by the dialect of the listener: one file that fills a
 * struct http_dialect, and a line in http_dialects[] (http.c). */
#ifndef PPK_SKIPD_HTTP_H
#define PPK_SKIPD_HTTP_H

#include "skipd/service.h"
#include "skipd/statistics.h"

struct http_server;

/* A request until it is answered. */
struct http_exchange;

struct http_dialect {
    enum request_dialect number;
    const char *kinds[REQUEST_KINDS]; /* what the log calls its requests */
    const char *error_member;         /* of the JSON object that tells the reason of an error */
    int refused;                      /* status for those who are no client */
    bool only_certificates;           /* no PSKs */
    /* Handles a request of an authenticated client, now or later: exactly one http_answer_*() per exchange.
     * `method` is "GET" or another one
     * ("?" for those that are none of HTTP's usual ones); path and query (NULL: none) are still
     * percent-encoded and valid during the call only. False: this path is not the dialect's; the exchange is
     * untouched. */
    bool (*handle)(struct http_exchange *x, const char *method, const char *path, const char *query);
};

extern const struct http_dialect http_skip, http_etsi014;

struct service *http_service(const struct http_exchange *x);
const struct skipd_client *http_client(const struct http_exchange *x);

/* What the log line says of the request, and what it is counted as: the kind, remote system and key ID;
 * REQUEST_OTHER, NULL: as it was. */
void http_note(struct http_exchange *x, enum request_kind kind, const char *remote, const char *key_id);

/* Answers with a JSON text. */
void http_answer_json(struct http_exchange *x, const char *json);

/* Answers with a JSON text of `len` bytes in memory of secmem_alloc(), which is taken over and wiped once it
 * is sent. False: nothing of it has been sent, since the client is gone, or the server about to end. */
bool http_answer_secret(struct http_exchange *x, char *json, size_t len);

/* Answers with this status and the reason, {"error": reason} or as the dialect says. */
void http_answer_error(struct http_exchange *x, int status, const char *reason);

/* Answers 405: at this path only these methods are allowed ("GET", "GET, POST"). */
void http_answer_method(struct http_exchange *x, const char *allowed);

/* The body of the request, which is not longer than HTTP_BODY_MAX bytes; valid until it is answered. */
#define HTTP_BODY_MAX 4096
struct span http_body(const struct http_exchange *x);

/* NULL: no memory. */
struct http_server *http_server_new(struct event_base *base, struct service *service);

/* A configuration takes effect, as in service.h (which commits before). Connections of clients that are still
 * who they were stay; others are closed, after the answer if a request is being handled. */
bool http_server_prepare(struct http_server *s, const struct skipd_conf *conf, struct fault *fault);
void http_server_commit(struct http_server *s);
void http_server_abandon(struct http_server *s);

/* Listens at a socket that is bound already, and takes it over; the configuration in effect, or prepared, has
 * a listener of this kind. False with the reason in `fault`: it remains the caller's. */
bool http_server_listen(struct http_server *s, int fd, enum listen_kind kind, struct fault *fault);

/* Closes it. */
void http_server_unlisten(struct http_server *s, int fd);

/* Stops listening; what is there goes on. */
void http_server_stop(struct http_server *s);

/* Requests that are not answered yet. */
size_t http_server_pending(const struct http_server *s);

/* Gives no secrets from now on: the event loop that would send them is about to end, or has ended. */
void http_server_withhold(struct http_server *s);

/* Closes the connections. No exchange may be unanswered. */
void http_server_close(struct http_server *s);

/* To be called after the event loop was freed, which is what frees the last of the closed connections. NULL
 * is allowed. */
void http_server_free(struct http_server *s);

#endif
