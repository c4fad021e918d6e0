/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct listener {
    struct skipd_listen what;
    int fd;
    bool fresh; /* made for the configuration that is prepared */
};

struct list {
    struct listener *all;
    size_t n;
};

struct listeners {
    struct http_server *http;
    struct keeper *keeper;
    struct list now, next; /* next: while it is prepared */
};

/* Returns the socket, or -1 with the reason in `fault`. */
static int socket_bind(const struct skipd_listen *l, struct fault *fault)
{
    const struct sockaddr *address = (const struct sockaddr *)&l->address;
    const int one = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (address->sa_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
        if (bind(fd, address, l->address_len) == 0)
            return fd;
    }
    fault_set(fault, "%s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* "ADDRESS:PORT" */
static void address_print(const struct sockaddr_storage *a, socklen_t len, struct text *out)
{
    char host[INET6_ADDRSTRLEN] = "?", port[8] = "?";

    getnameinfo((const struct sockaddr *)a, len, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    text_printf(out, a->ss_family == AF_INET ? "%s:%s" : "[%s]:%s", host, port);
}

void listeners_print(const struct listeners *all, struct text *out)
{
    static const char *const WORDS[] = {
        [LISTEN_SKIP] = "listen", [LISTEN_ETSI014] = "listen-etsi014", [LISTEN_PEERS] = "listen-peers"};

    for (size_t i = 0; i < all->now.n; i++) {
        struct sockaddr_storage a = {0};
        socklen_t len = sizeof a;

        if (getsockname(all->now.all[i].fd, (struct sockaddr *)&a, &len) != 0)
            continue;
        text_printf(out, "%s ", WORDS[all->now.all[i].what.kind]);
        address_print(&a, len, out);
        text_printf(out, "\n");
    }
}

/* ---- configurations ---- */

static bool is_same(const struct skipd_listen *a, const struct skipd_listen *b)
{
    return a->kind == b->kind && a->address_len == b->address_len &&
           memcmp(&a->address, &b->address, a->address_len) == 0;
}

/* The first one in `list` that is the same and that `taken` has not, or NULL. */
static const struct listener *find(const struct list *list, const struct skipd_listen *what,
                                   const struct list *taken)
{
    for (size_t i = 0; i < list->n; i++) {
        bool free_to_take = is_same(&list->all[i].what, what);

        for (size_t j = 0; free_to_take && j < taken->n; j++)
            free_to_take = taken->all[j].fd != list->all[i].fd;
        if (free_to_take)
            return &list->all[i];
    }
    return NULL;
}

static bool open_one(struct listeners *all, struct listener *l, struct fault *fault)
{
    bool ok = false;

    l->fd = socket_bind(&l->what, fault);
    if (l->fd < 0)
        return false;
    l->fresh = true;
    ok = l->what.kind == LISTEN_PEERS ? keeper_listen(all->keeper, l->fd, fault)
                                      : http_server_listen(all->http, l->fd, l->what.kind, fault);
    if (!ok)
        close(l->fd);
    return ok;
}

static void close_one(struct listeners *all, const struct listener *l)
{
    if (l->what.kind == LISTEN_PEERS)
        keeper_unlisten(all->keeper, l->fd);
    else
        http_server_unlisten(all->http, l->fd);
}

bool listeners_prepare(struct listeners *all, const struct skipd_conf *conf, struct fault *fault)
{
    struct text where = {0};

    all->next.all = calloc(conf->n_listens + 1, sizeof *all->next.all);
    if (all->next.all == NULL) {
        fault_set(fault, "no memory");
        return false;
    }
    for (size_t i = 0; i < conf->n_listens; i++) {
        struct listener *l = &all->next.all[i];
        const struct listener *before = find(&all->now, &conf->listens[i], &all->next);

        l->what = conf->listens[i];
        if (before != NULL) {
            l->fd = before->fd;
        } else if (!open_one(all, l, fault)) {
            address_print(&l->what.address, l->what.address_len, &where);
            fault_prefix(fault, "line %u: listen at %s", l->what.line, where.s != NULL ? where.s : "");
            text_free(&where);
            return false;
        }
        all->next.n++;
    }
    return true;
}

void listeners_commit(struct listeners *all)
{
    for (size_t i = 0; i < all->now.n; i++) {
        bool stays = false;

        for (size_t j = 0; j < all->next.n; j++)
            stays = stays || all->next.all[j].fd == all->now.all[i].fd;
        if (!stays)
            close_one(all, &all->now.all[i]);
    }
    free(all->now.all);
    all->now = all->next;
    all->next = (struct list){0};
    for (size_t i = 0; i < all->now.n; i++)
        all->now.all[i].fresh = false;
}

void listeners_abandon(struct listeners *all)
{
    for (size_t i = 0; i < all->next.n; i++)
        if (all->next.all[i].fresh)
            close_one(all, &all->next.all[i]);
    free(all->next.all);
    all->next = (struct list){0};
}

struct listeners *listeners_new(struct http_server *http, struct keeper *keeper)
{
    struct listeners *all = calloc(1, sizeof *all);

    if (all != NULL)
        *all = (struct listeners){.http = http, .keeper = keeper};
    return all;
}

void listeners_free(struct listeners *all)
{
    if (all == NULL)
        return;
    listeners_abandon(all);
    free(all->now.all);
    free(all);
}
