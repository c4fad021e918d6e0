/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/admin.h"

#include "skipd/accept.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* Connections at once; how long one may last, in all; bytes of a request without its body. */
#define CONNECTIONS_MAX  16
#define CONNECTION_S     5
#define HEAD_MAX         4096
#define ADMIN_LISTEN_MAX 8

struct connection {
    struct admin *admin;
    struct bufferevent *bev;
    struct event *timer;
    bool any_host, answered;
    struct connection *next, **link; /* in the admin's list */
};

struct admin {
    struct event_base *base;
    struct service *service;
    struct admin_socket {
        struct admin *admin;
        struct sockaddr_storage address;
        struct evconnlistener *listener; /* NULL: free */
    } sockets[ADMIN_LISTEN_MAX];
    size_t n_connections;
    struct connection *connections;
};

/* ---- connections ---- */

static void listeners_enable(struct admin *a, bool enable)
{
    for (size_t i = 0; i < ADMIN_LISTEN_MAX; i++) {
        if (a->sockets[i].listener == NULL)
            continue;
        if (enable)
            evconnlistener_enable(a->sockets[i].listener);
        else
            evconnlistener_disable(a->sockets[i].listener);
    }
}

static void connection_free(struct connection *c)
{
    struct admin *a = c->admin;

    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    if (c->bev != NULL)
        bufferevent_free(c->bev);
    if (c->timer != NULL)
        event_free(c->timer);
    free(c);
    if (a->n_connections-- == CONNECTIONS_MAX)
        listeners_enable(a, true);
}

static void on_timeout(evutil_socket_t fd, short events, void *context)
{
    (void)fd;
    (void)events;
    connection_free(context);
}

static void on_event(struct bufferevent *bev, short what, void *context)
{
    (void)bev;
    (void)what;
    connection_free(context);
}

/* The answer is out. What the client still sends is read, so that it gets the answer and no reset. */
static void on_written(struct bufferevent *bev, void *context)
{
    const struct connection *c = context;

    if (c->answered)
        shutdown(bufferevent_getfd(bev), SHUT_WR);
}

static void on_read(struct bufferevent *bev, void *context)
{
    struct connection *c = context;
    struct evbuffer *in = bufferevent_get_input(bev);
    struct text answer = {0};
    struct evbuffer_ptr end;

    if (c->answered) {
        evbuffer_drain(in, evbuffer_get_length(in));
        return;
    }
    end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    if (end.pos < 0 && evbuffer_get_length(in) < HEAD_MAX)
        return;
    if (end.pos <= 0 || end.pos > HEAD_MAX)
        admin_answer(c->admin->service, "", 0, c->any_host, &answer);
    else
        admin_answer(c->admin->service, (const char *)evbuffer_pullup(in, end.pos), (size_t)end.pos,
                     c->any_host, &answer);
    if (answer.failed || answer.len == 0) {
        text_free(&answer);
        connection_free(c);
        return;
    }
    c->answered = true;
    evbuffer_drain(in, evbuffer_get_length(in));
    bufferevent_write(bev, answer.s, answer.len);
    text_free(&answer);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int len,
                      void *context)
{
    const struct admin_socket *s = context;
    struct admin *a = s->admin;
    const struct timeval most = {.tv_sec = CONNECTION_S};
    struct connection *c = calloc(1, sizeof *c);

    (void)listener;
    (void)from;
    (void)len;
    if (c == NULL) {
        close(fd);
        return;
    }
    c->admin = a;
    c->any_host = s->address.ss_family == AF_UNIX;
    c->next = a->connections;
    c->link = &a->connections;
    if (c->next != NULL)
        c->next->link = &c->next;
    a->connections = c;
    if (++a->n_connections == CONNECTIONS_MAX)
        listeners_enable(a, false);
    c->bev = bufferevent_socket_new(a->base, fd, BEV_OPT_CLOSE_ON_FREE);
    c->timer = evtimer_new(a->base, on_timeout, c);
    if (c->bev == NULL)
        close(fd);
    if (c->bev == NULL || c->timer == NULL || event_add(c->timer, &most) != 0) {
        connection_free(c);
        return;
    }
    bufferevent_setwatermark(c->bev, EV_READ, 0, HEAD_MAX + 4);
    bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* ---- the listener ---- */

struct admin *admin_new(struct event_base *base, struct service *service)
{
    struct admin *a = calloc(1, sizeof *a);

    if (a != NULL)
        *a = (struct admin){.base = base, .service = service};
    return a;
}

bool admin_listen(struct admin *a, int fd, struct fault *fault)
{
    struct admin_socket *s = NULL;
    socklen_t len = sizeof s->address;

    for (size_t i = 0; s == NULL && i < ADMIN_LISTEN_MAX; i++)
        if (a->sockets[i].listener == NULL)
            s = &a->sockets[i];
    if (s == NULL) {
        fault_set(fault, "there can be %d admin listeners", ADMIN_LISTEN_MAX);
        return false;
    }
    *s = (struct admin_socket){.admin = a};
    if (getsockname(fd, (struct sockaddr *)&s->address, &len) == 0)
        s->listener = evconnlistener_new(a->base, on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
                                         CONNECTIONS_MAX, fd);
    if (s->listener == NULL)
        fault_set(fault, "cannot listen");
    else
        accept_guard(s->listener);
    return s->listener != NULL;
}

static void socket_close(struct admin_socket *s)
{
    if (s->address.ss_family == AF_UNIX)
        unlink(((const struct sockaddr_un *)&s->address)->sun_path);
    evconnlistener_free(s->listener);
    s->listener = NULL;
}

void admin_unlisten(struct admin *a, int fd)
{
    for (size_t i = 0; i < ADMIN_LISTEN_MAX; i++)
        if (a->sockets[i].listener != NULL && evconnlistener_get_fd(a->sockets[i].listener) == fd)
            socket_close(&a->sockets[i]);
}

void admin_free(struct admin *a)
{
    if (a == NULL)
        return;
    for (struct connection *c = a->connections, *next = NULL; c != NULL; c = next) {
        next = c->next;
        connection_free(c);
    }
    for (size_t i = 0; i < ADMIN_LISTEN_MAX; i++)
        if (a->sockets[i].listener != NULL)
            socket_close(&a->sockets[i]);
    free(a);
}
