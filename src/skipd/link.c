/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/link.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "skipd/frames.h"
#include "skipd/resolver.h"
#include "skipd/tls.h"

#include <arpa/inet.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* Connecting takes this long at most; then the next attempt comes after a wait that doubles, with jitter. */
#define CONNECT_MS   3000
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 2000
/* The peer is asked for a sign of life this often, and given up after this long without one. */
#define PING_MS 1000
#define DEAD_MS 3500
/* Octets that wait for a peer that does not read; a link with more is made anew. Keys are in locked memory,
 * and others need that, too. */
#define UNREAD_MAX (512 * 1024)
/* How often time is looked at: while keys are on their way, and else. */
#define TICK_BUSY_MS 20
#define TICK_IDLE_MS 500

enum link_state {
    LINK_DOWN,       /* waits for the next attempt */
    LINK_CONNECTING, /* TCP, TLS, the peer's HELLO */
    LINK_UP,
};

struct link {
    struct event_base *base;
    struct resolver *resolver;     /* NULL: no name was looked up yet */
    const struct skipd_conf *conf; /* a reference */
    const struct skipd_peer *peer;
    SSL_CTX *tls;
    enum link_state state;
    bool failed;              /* to connect, since it was last up */
    size_t address, failures; /* which of the peer's is used; attempts that failed since it was last up */
    struct evutil_addrinfo *found, *at; /* what its name stands for; the next of these to be tried, or NULL */
    struct bufferevent *bev;
    struct event *tick;
    struct fault why;  /* why it is not up */
    uint64_t retry_at; /* LINK_DOWN */
    uint32_t retry_ms;
    uint64_t since;                     /* LINK_CONNECTING */
    char said[SYSTEM_ID_MAX + 1];       /* LINK_UP: who it is, by its HELLO */
    uint64_t heard, pinged;             /* LINK_UP */
    uint64_t ping;                      /* the last PING's number, */
    bool pinging;                       /* while it is unanswered */
    struct link_put *ring[LINK_WINDOW]; /* by number */
    uint64_t oldest, next;              /* numbers: everything on its way is in between */
};

static void link_connect(struct link *l);
static void link_drop(struct link *l, bool final, const char *reason);

static const struct peer_address *address_of(const struct link *l)
{
    return &l->peer->addresses[l->address];
}

/* ---- keys on their way ---- */

static void put_end(struct link *l, uint64_t number, enum sync_result result, const char *down)
{
    struct link_put *put = l->ring[number % LINK_WINDOW];

    if (put == NULL || put->message.number != number)
        return; /* ended before: a late answer */
    l->ring[number % LINK_WINDOW] = NULL;
    while (l->oldest < l->next && l->ring[l->oldest % LINK_WINDOW] == NULL)
        l->oldest++;
    put->done(put->context, result, down);
}

static void puts_fail(struct link *l, const char *down)
{
    for (uint64_t n = l->oldest, end = l->next; n < end; n++)
        put_end(l, n, SYNC_FAILED, down);
}

/* When is there something to look at again? */
static uint64_t tick_next(const struct link *l, uint64_t now)
{
    if (l->oldest < l->next)
        return TICK_BUSY_MS;
    if (l->state == LINK_DOWN && l->retry_at < now + TICK_IDLE_MS)
        return l->retry_at > now ? l->retry_at - now : 1;
    return TICK_IDLE_MS;
}

static void tick_start(struct link *l, uint64_t ms)
{
    const struct timeval t = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

    event_add(l->tick, &t);
}

bool link_is_up(const struct link *l, const char **why)
{
    *why = l->why.text;
    return l->state == LINK_UP;
}

static void put_send(struct link *l, const struct link_put *put)
{
    struct sync_message m = {.type = SYNC_PUT, .put = put->message};

    if (!frames_send(bufferevent_get_output(l->bev), &m))
        put_end(l, m.put.number, SYNC_FAILED, "cannot be sent the key: no memory");
}

void link_put(struct link *l, struct link_put *put)
{
    if (l->state == LINK_UP && evbuffer_get_length(bufferevent_get_output(l->bev)) > UNREAD_MAX)
        link_drop(l, false, "it does not read what it is sent");
    if (l->state == LINK_DOWN || (l->state == LINK_CONNECTING && l->failed)) {
        put->done(put->context, SYNC_FAILED, l->why.text);
        return;
    }
    if (l->next - l->oldest >= LINK_WINDOW) {
        put->done(put->context, SYNC_FAILED, "is busy: too many keys are on their way to it");
        return;
    }
    if (l->oldest == l->next)
        tick_start(l, TICK_BUSY_MS);
    put->message.number = l->next++;
    put->deadline = clock_ms() + l->conf->sync_timeout_ms;
    l->ring[put->message.number % LINK_WINDOW] = put;
    if (l->state == LINK_UP)
        put_send(l, put);
}

/* ---- the connection ---- */

/* Ends the connection, or the attempt at one. */
static void connection_end(struct link *l)
{
    if (l->bev != NULL)
        bufferevent_free(l->bev);
    l->bev = NULL;
    if (l->resolver != NULL)
        resolver_stop(l->resolver);
}

static void names_forget(struct link *l)
{
    if (l->found != NULL)
        evutil_freeaddrinfo(l->found);
    l->found = l->at = NULL;
}

/* After a failure: turns to what is to be tried next. Returns whether that has not failed yet. */
static bool address_next(struct link *l, bool was_up)
{
    if (!was_up && l->at != NULL)
        return true;
    names_forget(l);
    l->failures = was_up ? 0 : l->failures + 1;
    if (++l->address >= l->peer->n_addresses)
        l->address = 0;
    return l->failures < l->peer->n_addresses;
}

/* Closes; the peer's next address (or the next one of its name) is tried, at once if it has not failed yet.
 * Keys on their way fail if `final`, or all addresses have failed; else they wait for the next connection, on
 * which they are sent again: the peer knows a key by its ID, so that twice is once. */
static void link_drop(struct link *l, bool final, const char *reason)
{
    bool was_up = l->state == LINK_UP, at_once = address_next(l, was_up);
    uint64_t now = clock_ms();
    uint8_t jitter = 0;

    connection_end(l);
    l->state = LINK_DOWN;
    if (was_up || strstr(l->why.text, reason) == NULL)
        log_write(LOG_LEVEL_WARNING, "peer '%s': link is down: %s", l->peer->name, reason);
    fault_set(&l->why, "is down: %s", reason);
    l->failed = l->failed || !at_once;
    crypto_random(&jitter, 1);
    if (was_up)
        l->retry_ms = RETRY_MIN_MS;
    l->retry_at = at_once ? now : now + l->retry_ms + l->retry_ms * jitter / 512;
    l->retry_ms = l->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : l->retry_ms * 2;
    tick_start(l, tick_next(l, now));
    if (final || !at_once)
        puts_fail(l, l->why.text);
    else
        link_connect(l);
}

static bool on_hello(struct link *l, const struct sync_hello *hello)
{
    struct fault reason = {0};

    if (l->state != LINK_CONNECTING) {
        link_drop(l, false, "a second HELLO");
        return false;
    }
    if (!names_match(&l->peer->remotes, hello->system_id)) {
        /* also what we would see if somebody led our own connection back to us */
        fault_set(&reason, "it says that it is '%s'", hello->system_id);
        link_drop(l, false, reason.text);
        return false;
    }
    l->state = LINK_UP;
    memcpy(l->said, hello->system_id, sizeof l->said);
    l->why.text[0] = '\0';
    l->failed = false;
    l->retry_ms = RETRY_MIN_MS;
    l->heard = l->pinged = clock_ms();
    l->pinging = false;
    log_write(LOG_LEVEL_NOTICE, "peer '%s': link is up (%s, %s)", l->peer->name,
              SSL_get_version(bufferevent_openssl_get_ssl(l->bev)),
              SSL_get_cipher_name(bufferevent_openssl_get_ssl(l->bev)));
    for (uint64_t n = l->oldest; n < l->next; n++)
        if (l->ring[n % LINK_WINDOW] != NULL)
            put_send(l, l->ring[n % LINK_WINDOW]);
    return true;
}

static void deadlines_check(struct link *l, uint64_t now)
{
    struct fault reason = {0};

    for (uint64_t n = l->oldest; n < l->next; n++) {
        const struct link_put *put = l->ring[n % LINK_WINDOW];

        if (put == NULL)
            continue;
        if (put->deadline > now)
            break; /* deadlines come in the order of numbers */
        if (reason.text[0] == '\0')
            fault_set(&reason, "did not confirm the key within %u ms", l->conf->sync_timeout_ms);
        put_end(l, n, SYNC_FAILED, reason.text);
    }
}

/* Returns false once the connection is closed. */
static bool on_message(void *context, const struct sync_message *m)
{
    struct link *l = context;

    l->heard = clock_ms();
    /* if this process was stopped, an ACK is read late (the key's lifetime at the peer is running out), and a
     * HELLO must not have a key sent again whose time is over */
    deadlines_check(l, l->heard);
    if (m->type == SYNC_HELLO)
        return on_hello(l, &m->hello);
    if (l->state == LINK_UP && m->type == SYNC_ACK) {
        put_end(l, m->ack.number, (enum sync_result)m->ack.result, NULL);
        return l->state == LINK_UP;
    }
    if (l->state == LINK_UP && m->type == SYNC_PONG && l->pinging && m->ping.number == l->ping) {
        l->pinging = false;
        return true;
    }
    link_drop(l, false, "a message out of turn");
    return false;
}

static void on_read(struct bufferevent *bev, void *context)
{
    struct link *l = context;

    if (frames_receive(bufferevent_get_input(bev), on_message, l) == FRAMES_MALFORMED)
        link_drop(l, false, "a malformed message");
}

static void on_connected(struct link *l)
{
    SSL *ssl = bufferevent_openssl_get_ssl(l->bev);
    struct sync_message hello = {.type = SYNC_HELLO};

    if (tls_party_of(ssl, l->tls, address_of(l)->host) == NULL) {
        struct fault who = {0};

        tls_describe(ssl, &who);
        fault_prefix(&who, "not this peer's certificate");
        link_drop(l, false, who.text);
        return;
    }
    strncpy(hello.hello.system_id, l->conf->system_id, SYSTEM_ID_MAX);
    frames_send(bufferevent_get_output(l->bev), &hello);
}

static void on_event(struct bufferevent *bev, short what, void *context)
{
    struct link *l = context;
    SSL *ssl = bufferevent_openssl_get_ssl(bev);
    struct fault reason = {0};

    if ((what & BEV_EVENT_CONNECTED) != 0) {
        on_connected(l);
        return;
    }
    if (tls_failure(ssl)[0] != '\0')
        fault_set(&reason, "%s", tls_failure(ssl));
    else if ((what & BEV_EVENT_EOF) != 0 || EVUTIL_SOCKET_ERROR() == 0)
        fault_set(&reason, "it closed the connection%s",
                  tls_is_established(ssl) ? "" : " during the TLS handshake");
    else
        fault_set(&reason, "%s", evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
    link_drop(l, false, reason.text);
}

/* Starts the TCP connection of l->bev. */
static bool tcp_connect(struct link *l)
{
    const struct peer_address *p = address_of(l);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(p->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(p->port)};
    const struct evutil_addrinfo *at = NULL;

    switch (p->kind) {
    case PEER_IPV4:
        return inet_pton(AF_INET, p->host, &in.sin_addr) == 1 &&
               bufferevent_socket_connect(l->bev, (struct sockaddr *)&in, sizeof in) == 0;
    case PEER_IPV6:
        return inet_pton(AF_INET6, p->host, &in6.sin6_addr) == 1 &&
               bufferevent_socket_connect(l->bev, (struct sockaddr *)&in6, sizeof in6) == 0;
    case PEER_HOSTNAME:
        at = l->at;
        l->at = at->ai_next;
        return bufferevent_socket_connect(l->bev, at->ai_addr, (int)at->ai_addrlen) == 0;
    }
    return false;
}

/* The peer's address is known. */
static void connection_begin(struct link *l)
{
    SSL *ssl = SSL_new(l->tls);

    ERR_clear_error();
    if (ssl != NULL)
        l->bev = bufferevent_openssl_socket_new(l->base, -1, ssl, BUFFEREVENT_SSL_CONNECTING,
                                                BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (l->bev == NULL) {
        link_drop(l, true, "no memory for a connection");
        return;
    }
    if (address_of(l)->kind == PEER_HOSTNAME)
        SSL_set_tlsext_host_name(ssl, address_of(l)->host);
    bufferevent_setcb(l->bev, on_read, NULL, on_event, l);
    bufferevent_enable(l->bev, EV_READ | EV_WRITE);
    if (!tcp_connect(l))
        link_drop(l, false, evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
}

static void on_found(void *context, struct evutil_addrinfo *found, const char *why)
{
    struct link *l = context;
    struct fault reason = {0};

    if (found != NULL) {
        l->found = l->at = found;
        connection_begin(l);
    } else {
        fault_set(&reason, "%s: %s", address_of(l)->host, why);
        link_drop(l, false, reason.text);
    }
}

static void link_connect(struct link *l)
{
    const struct peer_address *p = address_of(l);

    l->state = LINK_CONNECTING;
    l->since = clock_ms();
    if (p->kind != PEER_HOSTNAME || l->at != NULL) {
        connection_begin(l);
        return;
    }
    names_forget(l);
    if (l->resolver == NULL)
        l->resolver = resolver_new(l->base);
    if (l->resolver == NULL)
        link_drop(l, true, "no memory for looking up its name");
    else
        resolver_start(l->resolver, p->host, p->port, on_found, l);
}

/* ---- time ---- */

/* Its number cannot be guessed: only who reads what we send can answer it. */
static void ping_send(struct link *l, uint64_t now)
{
    struct sync_message ping = {.type = SYNC_PING};

    crypto_random(&l->ping, sizeof l->ping);
    ping.ping.number = l->ping;
    l->pinging = true;
    l->pinged = now;
    frames_send(bufferevent_get_output(l->bev), &ping);
}

static void on_tick(evutil_socket_t fd, short events, void *context)
{
    struct link *l = context;
    uint64_t now = clock_ms();

    (void)fd;
    (void)events;
    deadlines_check(l, now);
    switch (l->state) {
    case LINK_DOWN:
        if (now >= l->retry_at)
            link_connect(l);
        break;
    case LINK_CONNECTING:
        if (now - l->since > CONNECT_MS)
            link_drop(l, true, "no connection within 3 seconds");
        break;
    case LINK_UP:
        if (now - l->heard > DEAD_MS) {
            link_drop(l, true, "it does not answer any more");
        } else if (!l->pinging && now - l->pinged >= PING_MS) {
            ping_send(l, now);
        }
        break;
    }
    tick_start(l, tick_next(l, now));
}

struct link *link_new(struct event_base *base)
{
    struct link *l = calloc(1, sizeof *l);

    if (l == NULL || (l->tick = evtimer_new(base, on_tick, l)) == NULL) {
        free(l);
        return NULL;
    }
    l->base = base;
    l->retry_ms = RETRY_MIN_MS;
    return l;
}

/* Is the connection (that is up, or being made) one to this peer still? */
static bool connection_fits(const struct link *l, const struct skipd_peer *before)
{
    if (before == NULL || !skipd_peer_is_same(before, l->peer))
        return false;
    return l->state != LINK_UP ||
           (names_match(&l->peer->remotes, l->said) &&
            tls_party_of(bufferevent_openssl_get_ssl(l->bev), l->tls, address_of(l)->host) != NULL);
}

/* A sync-timeout that is shorter now counts for what is on its way, too. (A key's lifetime was reckoned for a
 * longer wait. And deadlines stay in the order of numbers.) */
static void deadlines_shorten(struct link *l)
{
    const uint64_t latest = clock_ms() + l->conf->sync_timeout_ms;

    for (uint64_t n = l->oldest; n < l->next; n++) {
        struct link_put *put = l->ring[n % LINK_WINDOW];

        if (put != NULL && put->deadline > latest)
            put->deadline = latest;
    }
}

void link_configure(struct link *l, const struct skipd_conf *conf, const struct skipd_peer *peer,
                    SSL_CTX *tls)
{
    const struct skipd_conf *old_conf = l->conf;
    const struct skipd_peer *before = l->peer;
    SSL_CTX *old_tls = l->tls;

    l->conf = skipd_conf_ref(conf);
    l->peer = peer;
    l->tls = tls;
    deadlines_shorten(l);
    if (!connection_fits(l, before)) {
        if (before != NULL)
            log_write(LOG_LEVEL_NOTICE, "peer '%s': the link is made anew, as it is configured now",
                      peer->name);
        connection_end(l);
        names_forget(l);
        l->address = l->failures = 0;
        l->failed = false;
        l->retry_ms = RETRY_MIN_MS;
        l->why.text[0] = '\0';
        link_connect(l);
        tick_start(l, tick_next(l, clock_ms()));
    }
    SSL_CTX_free(old_tls);
    skipd_conf_free(old_conf);
}

void link_free(struct link *l, const char *why)
{
    if (l == NULL)
        return;
    event_free(l->tick);
    connection_end(l);
    names_forget(l);
    resolver_free(l->resolver);
    l->state = LINK_DOWN;
    puts_fail(l, why);
    SSL_CTX_free(l->tls);
    skipd_conf_free(l->conf);
    free(l);
}
