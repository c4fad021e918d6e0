/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/listen.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
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
    struct admin *admin;
    struct list now, next; /* next: while it is prepared */
};

/* Takes away the file of a socket that nobody listens at. */
static void stale_remove(const struct sockaddr_un *un)
{
    struct stat st = {0};
    int fd = -1;

    if (lstat(un->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)un, sizeof *un) != 0 && errno == ECONNREFUSED)
        unlink(un->sun_path);
    if (fd >= 0)
        close(fd);
}

static int unix_bind(const struct skipd_listen *l, struct fault *fault)
{
    struct sockaddr_un un;
    mode_t before = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool ok = false;

    memcpy(&un, &l->address, sizeof un);
    stale_remove(&un);
    before = umask(0777); /* nobody gets in before the mode is what it is to be */
    ok = fd >= 0 && bind(fd, (struct sockaddr *)&un, sizeof un) == 0;
    umask(before);
    if (!ok || chmod(un.sun_path, l->mode) != 0) {
        fault_set(fault, "%s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* Returns the socket, or -1 with the reason in `fault`. */
static int socket_bind(const struct skipd_listen *l, struct fault *fault)
{
    const struct sockaddr *address = (const struct sockaddr *)&l->address;
    const int one = 1;
    int fd = -1;

    if (address->sa_family == AF_UNIX)
        return unix_bind(l, fault);
    fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
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

/* "ADDRESS:PORT", or the name of a Unix socket */
static void address_print(const struct sockaddr_storage *a, socklen_t len, struct text *out)
{
    char host[INET6_ADDRSTRLEN] = "?", port[8] = "?";

    if (a->ss_family == AF_UNIX) {
        text_printf(out, "%s", ((const struct sockaddr_un *)a)->sun_path);
        return;
    }
    getnameinfo((const struct sockaddr *)a, len, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    text_printf(out, a->ss_family == AF_INET ? "%s:%s" : "[%s]:%s", host, port);
}

void listeners_print(const struct listeners *all, struct text *out)
{
    static const char *const WORDS[] = {[LISTEN_SKIP] = "listen",
                                        [LISTEN_ETSI014] = "listen-etsi014",
                                        [LISTEN_PEERS] = "listen-peers",
                                        [LISTEN_ADMIN] = "listen-admin"};

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

static bool address_is_same(const struct skipd_listen *a, const struct skipd_listen *b)
{
    return a->address_len == b->address_len && memcmp(&a->address, &b->address, a->address_len) == 0;
}

/* The mode of a Unix socket can be changed. */
static bool is_same(const struct skipd_listen *a, const struct skipd_listen *b)
{
    return a->kind == b->kind && address_is_same(a, b);
}

static unsigned times_in(const struct skipd_conf *conf, const struct skipd_listen *what)
{
    unsigned n = 0;

    for (size_t i = 0; i < conf->n_listens; i++)
        n += address_is_same(&conf->listens[i], what);
    return n;
}

/* The socket of a listener of another kind at this address, which is to go. */
static const struct listener *predecessor(const struct listeners *all, const struct skipd_conf *conf,
                                          const struct skipd_listen *what)
{
    for (size_t i = 0; skipd_listen_port(what) != 0 && i < all->now.n; i++)
        if (address_is_same(&all->now.all[i].what, what) && times_in(conf, what) == 1)
            return &all->now.all[i];
    return NULL;
}

/* Is there a listener that is to go, at another address (perhaps an overlapping one) with the same port? */
static bool port_is_ours(const struct listeners *all, const struct skipd_conf *conf,
                         const struct skipd_listen *what)
{
    const unsigned port = skipd_listen_port(what);

    for (size_t i = 0; port != 0 && i < all->now.n; i++) {
        const struct skipd_listen *other = &all->now.all[i].what;

        if (other->address.ss_family == what->address.ss_family && skipd_listen_port(other) == port &&
            times_in(conf, other) == 0)
            return true;
    }
    return false;
}

/* Returns the socket, or -1 with the reason in `fault`. */
static int socket_get(const struct listeners *all, const struct skipd_conf *conf,
                      const struct skipd_listen *what, struct fault *fault)
{
    const struct listener *before = predecessor(all, conf, what);
    struct fault why = {0};
    int fd = -1;

    if (before != NULL) {
        fd = fcntl(before->fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            fault_set(fault, "%s", strerror(errno));
        return fd;
    }
    fd = socket_bind(what, &why);
    if (fd < 0)
        fault_set(fault, "%s%s", why.text,
                  port_is_ours(all, conf, what) ? ", by a listener that is to go: that takes a restart" : "");
    return fd;
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

static bool open_one(struct listeners *all, const struct skipd_conf *conf, struct listener *l,
                     struct fault *fault)
{
    bool ok = false;

    l->fd = socket_get(all, conf, &l->what, fault);
    if (l->fd < 0)
        return false;
    l->fresh = true;
    ok = l->what.kind == LISTEN_PEERS   ? keeper_listen(all->keeper, l->fd, fault)
         : l->what.kind == LISTEN_ADMIN ? admin_listen(all->admin, l->fd, fault)
                                        : http_server_listen(all->http, l->fd, l->what.kind, fault);
    if (!ok)
        close(l->fd);
    return ok;
}

static void close_one(struct listeners *all, const struct listener *l)
{
    switch (l->what.kind) {
    case LISTEN_PEERS:
        keeper_unlisten(all->keeper, l->fd);
        break;
    case LISTEN_ADMIN:
        admin_unlisten(all->admin, l->fd);
        break;
    default:
        http_server_unlisten(all->http, l->fd);
        break;
    }
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
        } else if (!open_one(all, conf, l, fault)) {
            address_print(&l->what.address, l->what.address_len, &where);
            fault_prefix(fault, "line %u: listen at %s", l->what.line, where.s != NULL ? where.s : "");
            text_free(&where);
            return false;
        }
        all->next.n++;
    }
    return true;
}

static void mode_change(const struct skipd_listen *l)
{
    const char *path = ((const struct sockaddr_un *)&l->address)->sun_path;

    if (chmod(path, l->mode) != 0)
        log_write(LOG_LEVEL_ERROR, "mode of %s: %s", path, strerror(errno));
}

void listeners_commit(struct listeners *all)
{
    for (size_t i = 0; i < all->now.n; i++) {
        bool stays = false;

        for (size_t j = 0; j < all->next.n; j++) {
            if (all->next.all[j].fd != all->now.all[i].fd)
                continue;
            stays = true;
            if (all->next.all[j].what.mode != all->now.all[i].what.mode)
                mode_change(&all->next.all[j].what);
        }
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

struct listeners *listeners_new(struct http_server *http, struct keeper *keeper, struct admin *admin)
{
    struct listeners *all = calloc(1, sizeof *all);

    if (all != NULL)
        *all = (struct listeners){.http = http, .keeper = keeper, .admin = admin};
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
