/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/daemon.h"

#include "base/clock.h"
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

/* Clients wait while a configuration is read. So after that as much time as it took passes this often before
 * the next one is, whatever the number of SIGHUPs. */
#define RELOAD_PAUSE 9

struct daemon {
    const char *path;              /* of the configuration */
    const struct skipd_conf *conf; /* in effect; a reference */
    struct event_base *base;
    struct seal *seal;
    struct store_queue *queue;
    struct service *service;
    struct keeper *keeper;
    struct http_server *http;
    struct admin *admin;
    struct listeners *listeners;
    struct event *signals[3], *ending, *reloading;
    uint64_t reload_from; /* not before: clock_ms() */
    bool ends, last_step;
    unsigned end_steps;
    const char *ready_file; /* written, to be removed at the end; or NULL */
};

/* ---- the start ---- */

static bool store_ready(struct daemon *d, const struct skipd_conf *conf, struct fault *fault)
{
    const struct store_kind *kind = store_kind_find(conf->store_kind);
    struct store *store = kind->open(conf->store_where, fault);

    if (store == NULL)
        return false;
    d->seal = seal_for_store(kind, store, conf->master_key, fault);
    if (d->seal == NULL) {
        kind->close(store);
        return false;
    }
    d->queue = store_queue_new(d->base, kind, store, fault);
    return d->queue != NULL;
}

/* What serves a configuration; so far, it has none. */
static bool parts_make(struct daemon *d, struct fault *fault)
{
    if ((d->service = service_new(d->base, d->queue, d->seal)) != NULL &&
        (d->keeper = keeper_new(d->base, d->service)) != NULL &&
        (d->http = http_server_new(d->base, d->service)) != NULL &&
        (d->admin = admin_new(d->base, d->service)) != NULL &&
        (d->listeners = listeners_new(d->http, d->keeper, d->admin)) != NULL)
        return true;
    fault_set(fault, "no memory");
    return false;
}

/* ---- configurations ---- */

static bool prepare(struct daemon *d, const struct skipd_conf *conf, struct fault *fault)
{
    return service_prepare(d->service, conf, fault) && keeper_prepare(d->keeper, conf, fault) &&
           http_server_prepare(d->http, conf, fault);
}

static void abandon(struct daemon *d)
{
    listeners_abandon(d->listeners);
    http_server_abandon(d->http);
    keeper_abandon(d->keeper);
    service_abandon(d->service);
}

/* All parts take the configuration, or none does. */
static bool configure(struct daemon *d, const struct skipd_conf *conf, struct fault *fault)
{
    if (!prepare(d, conf, fault) || !listeners_prepare(d->listeners, conf, fault)) {
        abandon(d);
        return false;
    }
    service_commit(d->service);
    keeper_commit(d->keeper);
    http_server_commit(d->http);
    listeners_commit(d->listeners);
    skipd_conf_free(d->conf);
    d->conf = skipd_conf_ref(conf);
    return true;
}

/* The file appears at once as a whole. */
static bool ready_write(const char *path, const struct text *lines, struct fault *fault)
{
    char temporary[PATH_MAX];
    FILE *f = NULL;
    bool ok = false;

    if (snprintf(temporary, sizeof temporary, "%s.new", path) < (int)sizeof temporary)
        f = fopen(temporary, "we");
    if (f != NULL) {
        ok = fwrite(lines->s, 1, lines->len, f) == lines->len;
        ok = fclose(f) == 0 && ok && rename(temporary, path) == 0;
    }
    if (!ok)
        fault_set(fault, "%s: %s", path, strerror(errno));
    return ok;
}

static void lines_log(enum log_level level, const char *lines)
{
    for (size_t len = 0; *lines != '\0'; lines += len + (lines[len] == '\n')) {
        len = strcspn(lines, "\n");
        log_write(level, "%.*s", (int)len, lines);
    }
}

/* Where it listens, in the log and in the ready-file. */
static bool announce(struct daemon *d, struct fault *fault)
{
    struct text lines = {0};
    bool ok = false;

    listeners_print(d->listeners, &lines);
    ok = !lines.failed && lines.s != NULL;
    if (ok) {
        lines_log(LOG_LEVEL_NOTICE, lines.s);
        ok = d->ready_file == NULL || ready_write(d->ready_file, &lines, fault);
    } else {
        fault_set(fault, "no memory");
    }
    text_free(&lines);
    return ok;
}

static void reload(struct daemon *d)
{
    struct text errors = {0};
    struct fault fault = {0};
    const struct skipd_conf *conf = skipd_conf_load(d->path, &errors);

    if (conf == NULL) {
        lines_log(LOG_LEVEL_ERROR, errors.s != NULL ? errors.s : "no memory");
    } else if (!skipd_conf_can_follow(d->conf, conf, &fault) || !configure(d, conf, &fault)) {
        log_write(LOG_LEVEL_ERROR, "%s: %s", d->path, fault.text);
        skipd_conf_free(conf);
        conf = NULL;
    }
    text_free(&errors);
    if (conf == NULL) {
        log_write(LOG_LEVEL_ERROR, "SIGHUP: the new configuration is refused, the old one stays");
        return;
    }
    skipd_conf_free(conf);
    if (!announce(d, &fault))
        log_write(LOG_LEVEL_ERROR, "%s", fault.text);
    log_write(LOG_LEVEL_NOTICE, "SIGHUP: the new configuration is in effect: %zu clients, %zu peers",
              d->conf->n_clients, d->conf->n_peers);
}

static void on_reloading(evutil_socket_t fd, short events, void *context)
{
    struct daemon *d = context;
    const uint64_t began = clock_ms();

    (void)fd;
    (void)events;
    if (d->ends)
        return;
    reload(d);
    const uint64_t ended = clock_ms();
    d->reload_from = ended + RELOAD_PAUSE * (ended - began);
}

/* SIGHUP: at once, or when the pause is over. */
static void reload_soon(struct daemon *d)
{
    const uint64_t left = clock_left_ms(d->reload_from);
    const struct timeval pause = {.tv_sec = (time_t)(left / 1000),
                                  .tv_usec = (suseconds_t)(left % 1000 * 1000)};

    if (event_pending(d->reloading, EV_TIMEOUT, NULL))
        return;
    if (left == 0 || event_add(d->reloading, &pause) != 0)
        on_reloading(-1, 0, d);
}

/* ---- ending ---- */

static void on_ending(evutil_socket_t fd, short events, void *context)
{
    struct daemon *d = context;
    const struct timeval step = {.tv_usec = STEP_MS * 1000};

    (void)fd;
    (void)events;
    /* one more step after the last answer was given, so that it gets out, and none that might not */
    if (d->last_step) {
        event_base_loopbreak(d->base);
        return;
    }
    if (http_server_pending(d->http) == 0 || ++d->end_steps > END_MS / STEP_MS) {
        d->last_step = true;
        http_server_withhold(d->http);
    }
    if (event_add(d->ending, &step) != 0)
        event_base_loopbreak(d->base); /* at once, then */
}

static void on_signal(evutil_socket_t number, short events, void *context)
{
    struct daemon *d = context;

    (void)events;
    if (number == SIGHUP) {
        reload_soon(d);
        return;
    }
    if (d->ends)
        return;
    d->ends = true;
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
    d->reloading = evtimer_new(d->base, on_reloading, d);
    return d->ending != NULL && d->reloading != NULL;
}

void daemon_free(struct daemon *d)
{
    if (d == NULL)
        return;
    if (d->ready_file != NULL)
        unlink(d->ready_file);
    admin_free(d->admin);
    if (d->service != NULL)
        service_stop(d->service);
    if (d->keeper != NULL)
        keeper_stop(d->keeper);
    if (d->http != NULL)
        http_server_withhold(d->http); /* the store gives its last answers, which nothing sends any more */
    store_queue_free(d->queue);
    if (d->http != NULL)
        http_server_close(d->http);
    listeners_free(d->listeners);
    keeper_free(d->keeper);
    service_free(d->service);
    seal_free(d->seal);
    for (size_t i = 0; i < sizeof d->signals / sizeof d->signals[0]; i++)
        if (d->signals[i] != NULL)
            event_free(d->signals[i]);
    if (d->ending != NULL)
        event_free(d->ending);
    if (d->reloading != NULL)
        event_free(d->reloading);
    if (d->base != NULL) {
        /* Connections whose callbacks are due yet are freed only when those have run. */
        event_base_loop(d->base, EVLOOP_NONBLOCK);
        event_base_free(d->base);
    }
    http_server_free(d->http);
    statistics_end();
    skipd_conf_free(d->conf);
    free(d);
}

/* ---- all of it ---- */

struct daemon *daemon_start(const char *path, const struct skipd_conf *conf, const char *ready_file,
                            struct fault *fault)
{
    struct daemon *d = calloc(1, sizeof *d);

    if (d == NULL || (d->base = event_base_new()) == NULL) {
        fault_set(fault, "no memory, or no event loop");
        goto bad;
    }
    statistics_begin();
    d->path = path;
    if (!store_ready(d, conf, fault) || !parts_make(d, fault) || !configure(d, conf, fault))
        goto bad;
    if (!signals_ready(d)) {
        fault_set(fault, "no memory");
        goto bad;
    }
    log_write(LOG_LEVEL_NOTICE, "key source '%s' is ready, %llu keys are waiting", conf->system_id,
              (unsigned long long)store_queue_waiting(d->queue));
    d->ready_file = ready_file;
    if (!announce(d, fault))
        goto bad;
    return d;
bad:
    daemon_free(d);
    return NULL;
}

void daemon_run(struct daemon *d)
{
    event_base_dispatch(d->base);
}

bool daemon_check(const struct skipd_conf *conf, struct fault *fault)
{
    struct daemon *d = calloc(1, sizeof *d);
    bool ok = false;

    if (d == NULL || (d->base = event_base_new()) == NULL) {
        fault_set(fault, "no memory, or no event loop");
    } else if (parts_make(d, fault)) {
        ok = prepare(d, conf, fault);
        abandon(d);
    }
    daemon_free(d);
    return ok;
}
