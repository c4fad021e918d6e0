/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/keeper.h"

#include "base/log.h"
#include "skipd/accept.h"
#include "skipd/frames.h"
#include "skipd/tls.h"

#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* Connections at once, in all and of one peer (each key source of its site makes one), so that no peer shuts
 * the others out; how long one may be silent (links send a PING every second), and may take for its handshake
 * and HELLO. */
#define CONNECTIONS_MAX 256
#define OF_PEER_MAX     16
#define SILENCE_S       10
#define HELLO_S         5
/* Keys of one connection that may be on their way into the store; above it, the connection is not read. */
#define KEEPING_MAX 4096
/* Octets of answers that wait for a peer that does not read them; more than a link ever waits for. */
#define UNREAD_MAX  (256 * 1024)
#define LISTENS_MAX 64

struct connection {
    struct keeper *keeper;
    struct bufferevent *bev; /* NULL: closed, and only waiting for the store */
    struct event *hello_timer;
    const struct skipd_peer *peer;     /* once it has proved who it is */
    char system_id[SYSTEM_ID_MAX + 1]; /* as it has greeted */
    bool greeted;
    bool paused;
    size_t keeping;
    struct connection *next, **self;
};

struct keeper {
    struct event_base *base;
    struct service *service;
    SSL_CTX *tls, *next; /* next: while it is prepared */
    struct evconnlistener *listeners[LISTENS_MAX];
    size_t n_listeners;
    struct connection *connections;
    size_t n_open;
};

static void connection_unlink(struct connection *c)
{
    *c->self = c->next;
    if (c->next != NULL)
        c->next->self = c->self;
    free(c);
}

static void listeners_enable(struct keeper *k, bool enable)
{
    for (size_t i = 0; i < k->n_listeners; i++)
        if (enable)
            evconnlistener_enable(k->listeners[i]);
        else
            evconnlistener_disable(k->listeners[i]);
}

/* Closes. What the store has in hand is still kept; its ACK goes nowhere, and the peer asks again. */
static void connection_close(struct connection *c, const char *reason)
{
    struct keeper *k = c->keeper;

    if (c->bev == NULL)
        return;
    log_write(c->peer != NULL ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING, "peer '%s' (%s): connection closed: %s",
              c->peer != NULL ? c->peer->name : "?", tls_from(bufferevent_openssl_get_ssl(c->bev)), reason);
    bufferevent_free(c->bev);
    c->bev = NULL;
    if (c->hello_timer != NULL)
        event_free(c->hello_timer);
    c->hello_timer = NULL;
    if (k->n_open-- == CONNECTIONS_MAX)
        listeners_enable(k, true);
    if (c->keeping == 0)
        connection_unlink(c);
}

static void on_kept(void *context, uint64_t number, enum sync_result result)
{
    struct connection *c = context;
    struct sync_message ack = {.type = SYNC_ACK, .ack = {number, (uint8_t)result}};

    c->keeping--;
    if (c->bev == NULL) {
        if (c->keeping == 0)
            connection_unlink(c);
        return;
    }
    frames_send(bufferevent_get_output(c->bev), &ack);
    if (result != SYNC_OK)
        log_write(LOG_LEVEL_WARNING, "peer '%s': a key was not taken (result %d)", c->peer->name,
                  (int)result);
    if (c->paused && c->keeping < KEEPING_MAX / 2) {
        c->paused = false;
        bufferevent_enable(c->bev, EV_READ);
        bufferevent_trigger(c->bev, EV_READ, BEV_OPT_DEFER_CALLBACKS);
    }
}

static bool on_hello(struct connection *c, const struct sync_hello *hello)
{
    const struct skipd_conf *conf = service_conf(c->keeper->service);
    struct sync_message mine = {.type = SYNC_HELLO};
    struct fault reason = {0};

    if (c->greeted) {
        connection_close(c, "a second HELLO");
        return false;
    }
    if (!names_match(&c->peer->remotes, hello->system_id)) {
        fault_set(&reason, "it says that it is '%s'", hello->system_id);
        connection_close(c, reason.text);
        return false;
    }
    c->greeted = true;
    memcpy(c->system_id, hello->system_id, sizeof c->system_id);
    event_free(c->hello_timer);
    c->hello_timer = NULL;
    strncpy(mine.hello.system_id, conf->system_id, SYSTEM_ID_MAX);
    frames_send(bufferevent_get_output(c->bev), &mine);
    log_write(LOG_LEVEL_NOTICE, "peer '%s' (%s) gives us keys from now on", c->peer->name,
              tls_from(bufferevent_openssl_get_ssl(c->bev)));
    return true;
}

static bool on_message(void *context, const struct sync_message *m)
{
    struct connection *c = context;
    struct sync_message pong = {.type = SYNC_PONG, .ping = m->ping};

    /* All that is answered comes through here first, so that this bounds it. (Not where an ACK is sent: that
     * may be in the midst of this.) */
    if (evbuffer_get_length(bufferevent_get_output(c->bev)) > UNREAD_MAX) {
        connection_close(c, "it does not read what it is answered");
        return false;
    }
    if (m->type == SYNC_HELLO)
        return on_hello(c, &m->hello);
    if (c->greeted && m->type == SYNC_PUT) {
        c->keeping++;
        service_keep(c->keeper->service, c->peer, &m->put, on_kept, c);
        if (c->keeping >= KEEPING_MAX) {
            c->paused = true;
            bufferevent_disable(c->bev, EV_READ);
            return false;
        }
        return true;
    }
    if (c->greeted && m->type == SYNC_PING) {
        frames_send(bufferevent_get_output(c->bev), &pong);
        return true;
    }
    connection_close(c, "a message out of turn");
    return false;
}

static void on_read(struct bufferevent *bev, void *context)
{
    struct connection *c = context;

    if (c->peer == NULL || c->paused)
        return;
    switch (frames_receive(bufferevent_get_input(bev), on_message, c)) {
    case FRAMES_MALFORMED:
        connection_close(c, "a malformed message");
        break;
    case FRAMES_NO_MEMORY:
        connection_close(c, "no memory for the keys that it gives"); /* it sends them again */
        break;
    default:
        break;
    }
}

static size_t connections_of(const struct keeper *k, const struct skipd_peer *peer)
{
    size_t n = 0;

    for (const struct connection *c = k->connections; c != NULL; c = c->next)
        n += c->bev != NULL && c->peer == peer;
    return n;
}

/* The handshake is done. */
static void on_established(struct connection *c)
{
    SSL *ssl = bufferevent_openssl_get_ssl(c->bev);
    const struct tls_party *party = tls_party_of(ssl, c->keeper->tls, NULL);
    struct fault why = {0};

    if (party == NULL) {
        tls_describe(ssl, &why);
        fault_prefix(&why, "no peer of ours");
        connection_close(c, why.text);
        return;
    }
    c->peer = party->who;
    if (connections_of(c->keeper, c->peer) > OF_PEER_MAX) {
        fault_set(&why, "it has %d connections already", OF_PEER_MAX);
        connection_close(c, why.text);
    }
}

static void on_event(struct bufferevent *bev, short what, void *context)
{
    struct connection *c = context;
    SSL *ssl = bufferevent_openssl_get_ssl(bev);

    if ((what & BEV_EVENT_CONNECTED) != 0) {
        on_established(c);
    } else if ((what & BEV_EVENT_TIMEOUT) != 0) {
        connection_close(c, "it is silent");
    } else {
        connection_close(c, tls_failure(ssl)[0] != '\0' ? tls_failure(ssl) : "by the other end");
    }
}

static void on_hello_timeout(evutil_socket_t fd, short events, void *context)
{
    (void)fd;
    (void)events;
    connection_close(context, "no HELLO in time");
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int len,
                      void *context)
{
    struct keeper *k = context;
    struct connection *c = calloc(1, sizeof *c);
    SSL *ssl = SSL_new(k->tls);
    struct timeval silence = {.tv_sec = SILENCE_S}, hello = {.tv_sec = HELLO_S};

    (void)listener;
    (void)address;
    (void)len;
    ERR_clear_error();
    if (c == NULL || ssl == NULL)
        goto bad;
    c->keeper = k;
    c->hello_timer = event_new(k->base, -1, 0, on_hello_timeout, c);
    if (c->hello_timer == NULL || event_add(c->hello_timer, &hello) != 0)
        goto bad;
    c->bev = bufferevent_openssl_socket_new(k->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                            BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (c->bev == NULL)
        goto bad;
    c->next = k->connections;
    c->self = &k->connections;
    if (c->next != NULL)
        c->next->self = &c->next;
    k->connections = c;
    bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
    bufferevent_set_timeouts(c->bev, &silence, &silence);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    if (++k->n_open == CONNECTIONS_MAX)
        listeners_enable(k, false);
    return;
bad:
    if (c != NULL && c->hello_timer != NULL)
        event_free(c->hello_timer);
    SSL_free(ssl);
    free(c);
    evutil_closesocket(fd);
}

struct keeper *keeper_new(struct event_base *base, struct service *service)
{
    struct keeper *k = calloc(1, sizeof *k);

    if (k == NULL)
        return NULL;
    k->base = base;
    k->service = service;
    return k;
}

/* ---- configurations ---- */

bool keeper_prepare(struct keeper *k, const struct skipd_conf *conf, struct fault *fault)
{
    k->next = tls_server_context(conf, TLS_PEERS, fault);
    return k->next != NULL;
}

/* Is whoever is there a peer still, by what he has proved and said? */
static void connection_review(struct connection *c)
{
    const struct tls_party *party = tls_party_of(bufferevent_openssl_get_ssl(c->bev), c->keeper->tls, NULL);
    const struct skipd_peer *peer = party != NULL ? party->who : NULL;

    if (peer != NULL && strcmp(peer->name, c->peer->name) == 0 &&
        (!c->greeted || names_match(&peer->remotes, c->system_id)))
        c->peer = peer;
    else
        connection_close(c, "it is no peer of this name any more, by the new configuration");
}

void keeper_commit(struct keeper *k)
{
    SSL_CTX *old = k->tls; /* with the configuration that the connections' peers are of */

    k->tls = k->next;
    k->next = NULL;
    for (struct connection *c = k->connections, *next = NULL; c != NULL; c = next) {
        next = c->next;
        if (c->bev != NULL && c->peer != NULL)
            connection_review(c);
    }
    SSL_CTX_free(old);
}

void keeper_abandon(struct keeper *k)
{
    SSL_CTX_free(k->next);
    k->next = NULL;
}

bool keeper_listen(struct keeper *k, int fd, struct fault *fault)
{
    struct evconnlistener *l = NULL;

    if (k->n_listeners < LISTENS_MAX)
        l = evconnlistener_new(k->base, on_accept, k, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 128, fd);
    if (l == NULL) {
        fault_set(fault, k->n_listeners < LISTENS_MAX ? "cannot listen" : "too many listeners");
        return false;
    }
    accept_guard(l);
    k->listeners[k->n_listeners++] = l;
    if (k->n_open >= CONNECTIONS_MAX)
        evconnlistener_disable(l);
    return true;
}

void keeper_unlisten(struct keeper *k, int fd)
{
    for (size_t i = 0; i < k->n_listeners; i++)
        if (evconnlistener_get_fd(k->listeners[i]) == fd) {
            evconnlistener_free(k->listeners[i]);
            k->listeners[i] = k->listeners[--k->n_listeners];
            return;
        }
}

void keeper_stop(struct keeper *k)
{
    for (size_t i = 0; i < k->n_listeners; i++)
        evconnlistener_free(k->listeners[i]);
    k->n_listeners = 0;
    for (struct connection *c = k->connections, *next = NULL; c != NULL; c = next) {
        next = c->next;
        connection_close(c, "this key source is ending");
    }
}

void keeper_free(struct keeper *k)
{
    if (k == NULL)
        return;
    keeper_stop(k);
    SSL_CTX_free(k->tls);
    free(k);
}
