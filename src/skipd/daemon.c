/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/daemon.h"

#include "base/log.h"
#include "skipd/http.h"
#include "skipd/keeper.h"
#include "skipd/listen.h"

#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* On SIGTERM, requests under way have this long. */
#define END_MS  3000
#define STEP_MS 20

struct daemon {
    struct skipd_conf *conf;
    struct event_base *base;
    struct seal *seal;
    struct store_queue *queue;
    struct service *service;
    struct keeper *keeper;
    struct http_server *http;
    struct event *signals[3], *ending;
    unsigned end_steps;
    struct text ready;      /* "listen ADDRESS:PORT" lines */
    const char *ready_file; /* written, to be removed at the end; or NULL */
};

/* ---- the start ---- */

static bool store_ready(struct daemon *d, struct fault *fault)
{
    const struct store_kind *kind = store_kind_find(d->conf->store_kind);
    struct store *store = kind->open(d->conf->store_where, d->conf->max_keys, fault);

    if (store == NULL)
        return false;
    d->seal = seal_for_store(kind, store, d->conf->master_key, fault);
    if (d->seal == NULL) {
        kind->close(store);
        return false;
    }
    d->queue = store_queue_new(d->base, kind, store, fault);
    return d->queue != NULL;
}

static bool listen_all(struct daemon *d, struct fault *fault)
{
    for (size_t i = 0; i < d->conf->n_listens; i++) {
        const struct skipd_listen *l = &d->conf->listens[i];
        int fd = socket_bind(l, &d->ready, fault);

        if (fd < 0)
            return false;
        if (!(l->kind == LISTEN_PEERS ? keeper_listen(d->keeper, fd, fault)
                                      : http_server_listen(d->http, fd, l->kind, fault))) {
            fault_prefix(fault, "line %u", l->line);
            return false;
        }
    }
    return true;
}

/* The file appears at once as a whole. */
static bool ready_write(const struct daemon *d, const char *path, struct fault *fault)
{
    char temporary[PATH_MAX];
    FILE *f = NULL;
    bool ok = false;

    if (snprintf(temporary, sizeof temporary, "%s.new", path) < (int)sizeof temporary)
        f = fopen(temporary, "we");
    if (f != NULL) {
        ok = fwrite(d->ready.s, 1, d->ready.len, f) == d->ready.len;
        ok = fclose(f) == 0 && ok && rename(temporary, path) == 0;
    }
    if (!ok)
        fault_set(fault, "%s: %s", path, strerror(errno));
    return ok;
}

/* ---- ending ---- */

static void on_ending(evutil_socket_t fd, short events, void *context)
{
    struct daemon *d = context;
    const struct timeval step = {.tv_usec = STEP_MS * 1000};

    (void)fd;
    (void)events;
    /* one more step after the last answer was given, so that it gets out */
    if (d->end_steps++ > 0 && (http_server_pending(d->http) == 0 || d->end_steps > END_MS / STEP_MS)) {
        event_base_loopbreak(d->base);
        return;
    }
    event_add(d->ending, &step);
}

static void on_signal(evutil_socket_t number, short events, void *context)
{
    struct daemon *d = context;

    (void)events;
    if (number == SIGHUP) {
        log_write(LOG_LEVEL_NOTICE, "SIGHUP: the configuration is read at the start only");
        return;
    }
    log_write(LOG_LEVEL_NOTICE, "ending");
    http_server_stop(d->http);
    on_ending(-1, 0, d);
}

static bool signals_ready(struct daemon *d)
{
    static const int NUMBERS[] = {SIGTERM, SIGINT, SIGHUP};

    for (size_t i = 0; i < sizeof NUMBERS / sizeof NUMBERS[0]; i++) {
        d->signals[i] = evsignal_new(d->base, NUMBERS[i], on_signal, d);
        if (d->signals[i] == NULL || event_add(d->signals[i], NULL) != 0)
            return false;
    }
    d->ending = evtimer_new(d->base, on_ending, d);
    return d->ending != NULL;
}

void daemon_free(struct daemon *d)
{
    if (d == NULL)
        return;
    if (d->ready_file != NULL)
        unlink(d->ready_file);
    if (d->service != NULL)
        service_stop(d->service);
    if (d->keeper != NULL)
        keeper_stop(d->keeper);
    store_queue_free(d->queue);
    if (d->http != NULL)
        http_server_close(d->http);
    keeper_free(d->keeper);
    service_free(d->service);
    seal_free(d->seal);
    for (size_t i = 0; i < sizeof d->signals / sizeof d->signals[0]; i++)
        if (d->signals[i] != NULL)
            event_free(d->signals[i]);
    if (d->ending != NULL)
        event_free(d->ending);
    if (d->base != NULL)
        event_base_free(d->base);
    http_server_free(d->http);
    skipd_conf_free(d->conf);
    text_free(&d->ready);
    free(d);
}

/* ---- all of it ---- */

static bool parts_start(struct daemon *d, struct fault *fault)
{
    d->base = event_base_new();
    if (d->base == NULL) {
        fault_set(fault, "no event loop");
        return false;
    }
    if (!store_ready(d, fault) ||
        (d->service = service_new(d->base, d->conf, d->queue, d->seal, fault)) == NULL ||
        (d->keeper = keeper_new(d->base, d->service, fault)) == NULL ||
        (d->http = http_server_new(d->base, d->service, fault)) == NULL || !listen_all(d, fault))
        return false;
    if (!signals_ready(d)) {
        fault_set(fault, "no memory");
        return false;
    }
    return true;
}

static void announce(struct daemon *d)
{
    log_write(LOG_LEVEL_NOTICE, "key source '%s' is ready, %llu keys are waiting", d->conf->system_id,
              (unsigned long long)store_queue_waiting(d->queue));
    for (char *line = d->ready.s, *next = NULL; line != NULL && *line != '\0'; line = next) {
        next = strchr(line, '\n');
        *next++ = '\0';
        log_write(LOG_LEVEL_NOTICE, "%s", line);
    }
}

struct daemon *daemon_start(struct skipd_conf *conf, const char *ready_file, struct fault *fault)
{
    struct daemon *d = calloc(1, sizeof *d);

    if (d == NULL) {
        skipd_conf_free(conf);
        fault_set(fault, "no memory");
        return NULL;
    }
    d->conf = conf;
    if (!parts_start(d, fault) || (ready_file != NULL && !ready_write(d, ready_file, fault))) {
        daemon_free(d);
        return NULL;
    }
    d->ready_file = ready_file;
    announce(d);
    return d;
}

void daemon_run(struct daemon *d)
{
    event_base_dispatch(d->base);
}

bool daemon_check(const struct skipd_conf *conf, struct fault *fault)
{
    struct event_base *base = event_base_new();
    struct service *service = base != NULL ? service_new(base, conf, NULL, NULL, fault) : NULL;
    struct keeper *keeper = service != NULL ? keeper_new(base, service, fault) : NULL;
    struct http_server *http = keeper != NULL ? http_server_new(base, service, fault) : NULL;
    bool ok = http != NULL;

    keeper_free(keeper);
    service_free(service);
    if (base != NULL)
        event_base_free(base);
    http_server_free(http);
    return ok;
}
