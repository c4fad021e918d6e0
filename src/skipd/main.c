/* SPDX-License-Identifier: BSD-2-Clause */
/* skipd: the key source. */
#include "base/crypto.h"
#include "base/log.h"
#include "config/config.h"
#include "skipd/http.h"
#include "skipd/keeper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define CONF_DEFAULT "/etc/ppk-pkcs11/skipd.conf"
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

struct options {
    const char *conf, *ready_file;
    bool check_only, syslog, manual, completion;
};

/* ---- the process ---- */

/* What libevent frees may have been a key: nothing goes back to the heap unwiped. */
static void wiping_free(void *p)
{
    if (p != NULL)
        OPENSSL_cleanse(p, malloc_usable_size(p));
    free(p);
}

static void *wiping_realloc(void *p, size_t size)
{
    void *q = NULL;
    size_t have = p != NULL ? malloc_usable_size(p) : 0;

    if (size == 0) {
        wiping_free(p);
        return NULL;
    }
    q = malloc(size);
    if (q == NULL || p == NULL)
        return q;
    memcpy(q, p, have < size ? have : size);
    wiping_free(p);
    return q;
}

static void process_harden(void)
{
    const struct rlimit none = {0, 0};

    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on files is to be an error of the store like a full disk */
    event_set_mem_functions(malloc, wiping_realloc, wiping_free);
}

/* ---- the store ---- */

/* The store key, from the store's own salt. A sealed word tells whether this is the master key that the store
 * was made with. */
static struct seal *seal_ready(const struct store_kind *kind, struct store *store,
                               const struct secret *master_key, struct fault *fault)
{
    static const char WORD[] = "skipd store";
    const struct span word = {(const uint8_t *)WORD, sizeof WORD};
    const struct seal_label label = {{(const uint8_t *)"check", 5}, "", ""};
    uint8_t salt[SEAL_SALT_LEN], check[sizeof WORD + SEAL_OVERHEAD], opened[sizeof WORD];
    enum store_result r = kind->fact_read(store, "salt", salt, sizeof salt, fault);
    struct seal *seal = NULL;

    /* what is written first counts: another key source may be starting on the same store */
    if (r == STORE_NOT_FOUND && crypto_random(salt, sizeof salt)) {
        r = kind->fact_write(store, "salt", (struct span){salt, sizeof salt}, fault);
        if (r == STORE_OK)
            r = kind->fact_read(store, "salt", salt, sizeof salt, fault);
    }
    if (r != STORE_OK || (seal = seal_new(master_key, salt, fault)) == NULL)
        return NULL;
    r = kind->fact_read(store, "check", check, sizeof check, fault);
    if (r == STORE_NOT_FOUND && seal_close(seal, &label, word, check)) {
        r = kind->fact_write(store, "check", (struct span){check, sizeof check}, fault);
        if (r == STORE_OK)
            r = kind->fact_read(store, "check", check, sizeof check, fault);
    }
    if (r != STORE_OK)
        goto bad;
    if (!seal_open(seal, &label, (struct span){check, sizeof check}, opened)) {
        fault_set(fault, "store: it was made with another master key");
        goto bad;
    }
    return seal;
bad:
    seal_free(seal);
    return NULL;
}

static bool store_ready(struct daemon *d, struct fault *fault)
{
    const struct store_kind *kind = store_kind_find(d->conf->store_kind);
    struct store *store = kind->open(d->conf->store_where, d->conf->max_keys, fault);

    if (store == NULL)
        return false;
    d->seal = seal_ready(kind, store, d->conf->master_key, fault);
    if (d->seal == NULL) {
        kind->close(store);
        return false;
    }
    d->queue = store_queue_new(d->base, kind, store, fault);
    return d->queue != NULL;
}

/* ---- listening ---- */

/* Binds, and adds the address, with the port that it has got, to the list of what is ready. Returns the
 * socket or -1. */
static int socket_bind(const struct skipd_listen *l, struct text *ready, struct fault *fault)
{
    struct sockaddr_storage a = l->address;
    socklen_t len = sizeof a;
    char host[INET6_ADDRSTRLEN] = "";
    const void *address = NULL;
    uint16_t port = 0;
    const int one = 1;
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (a.ss_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    }
    address = a.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&a)->sin_addr
                                     : (void *)&((struct sockaddr_in6 *)&a)->sin6_addr;
    inet_ntop(a.ss_family, address, host, sizeof host);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, l->address_len) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
        fault_set(fault, "line %u: listen at %s: %s", l->line, host, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    port = ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
                                        : ((struct sockaddr_in6 *)&a)->sin6_port);
    text_printf(ready, a.ss_family == AF_INET ? "%s %s:%u\n" : "%s [%s]:%u\n",
                l->peers ? "listen-peers" : "listen", host, port);
    return fd;
}

static bool listen_all(struct daemon *d, struct fault *fault)
{
    for (size_t i = 0; i < d->conf->n_listens; i++) {
        const struct skipd_listen *l = &d->conf->listens[i];
        int fd = socket_bind(l, &d->ready, fault);

        if (fd < 0)
            return false;
        if (!(l->peers ? keeper_listen(d->keeper, fd, fault) : http_server_listen(d->http, fd, fault))) {
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

static void daemon_end(struct daemon *d)
{
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
}

/* ---- the start ---- */

static bool daemon_start(struct daemon *d, const struct options *o, struct fault *fault)
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
    if (o->ready_file == NULL)
        return true;
    d->ready_file = o->ready_file;
    return ready_write(d, o->ready_file, fault);
}

static int usage(FILE *to, int status)
{
    fputs("usage: skipd [-c FILE] [-t] [-f] [--syslog] [--ready-file FILE]\n"
          "  -c, --config FILE      configuration (default: " CONF_DEFAULT ")\n"
          "  -t, --test             check the configuration and end\n"
          "  -f, --foreground       stay in the foreground (always so; for habit)\n"
          "      --syslog           log to the system's log instead of stderr\n"
          "      --manual           print the manual page skipd.conf(5), in mdoc, and end\n"
          "      --completion       print the completion of this command line for bash, and end\n"
          "      --ready-file FILE  written once all listeners are open: a line \"listen ADDRESS:PORT\" for "
          "each\n"
          "  -h, --help             show this text\n"
          "Environment: PPK_LOG=[DEST:]LEVEL\n",
          to);
    return status;
}

/* All that have an argument want a file. */
static const struct option LONG[] = {
    {"config", required_argument, NULL, 'c'},
    {"test", no_argument, NULL, 't'},
    {"foreground", no_argument, NULL, 'f'},
    {"syslog", no_argument, NULL, 's'},
    {"ready-file", required_argument, NULL, 'r'},
    {"help", no_argument, NULL, 'h'},
    {"manual", no_argument, NULL, 'm'},
    {"completion", no_argument, NULL, 'b'},
    {NULL, 0, NULL, 0},
};

/* True: go on. Else *status is the exit status. */
static bool options_read(int argc, char **argv, struct options *o, int *status)
{
    int c = 0;

    while ((c = getopt_long(argc, argv, "c:tfh", LONG, NULL)) != -1) {
        switch (c) {
        case 'c':
            o->conf = optarg;
            break;
        case 't':
            o->check_only = true;
            break;
        case 'f':
            break;
        case 's':
            o->syslog = true;
            break;
        case 'r':
            o->ready_file = optarg;
            break;
        case 'm':
            o->manual = true;
            break;
        case 'b':
            o->completion = true;
            break;
        case 'h':
            *status = usage(stdout, 0);
            return false;
        default:
            *status = usage(stderr, 2);
            return false;
        }
    }
    if (optind < argc) {
        *status = usage(stderr, 2);
        return false;
    }
    return true;
}

/* Does TLS accept the files that the configuration names? */
static bool tls_check(struct daemon *d, struct fault *fault)
{
    d->base = event_base_new();
    d->service = d->base != NULL ? service_new(d->base, d->conf, NULL, NULL, fault) : NULL;
    if (d->service == NULL)
        return false;
    d->keeper = keeper_new(d->base, d->service, fault);
    d->http = d->keeper != NULL ? http_server_new(d->base, d->service, fault) : NULL;
    return d->http != NULL;
}

/* The script that completes the command line in bash. */
static void completion(struct text *out)
{
    text_printf(out, "# SPDX-License-Identifier: BSD-2-Clause\n"
                     "# Completion of skipd's command line in bash. Made from the table of the options.\n"
                     "_skipd()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]}\n    COMPREPLY=()\n"
                     "    case ${COMP_WORDS[COMP_CWORD - 1]} in\n    -c");
    for (const struct option *o = LONG; o->name != NULL; o++)
        if (o->has_arg == required_argument)
            text_printf(out, " | --%s", o->name);
    text_printf(out,
                ")\n        compopt -o filenames\n        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                "        return ;;\n    esac\n    COMPREPLY=($(compgen -W '");
    for (const struct option *o = LONG; o->name != NULL; o++)
        text_printf(out, "%s--%s", o == LONG ? "" : " ", o->name);
    text_printf(out, "' -- \"$cur\"))\n}\ncomplete -F _skipd skipd\n");
}

/* What is made from the tables: the manual page skipd.conf(5), or the completion. */
static int made_print(const struct options *o)
{
    struct text page = {0};
    bool ok = false;

    if (o->manual)
        config_manual(&skipd_language, &page);
    else
        completion(&page);
    ok = !page.failed && page.s != NULL && fputs(page.s, stdout) >= 0 && fflush(stdout) == 0;
    text_free(&page);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct options o = {.conf = CONF_DEFAULT};
    struct daemon d = {0};
    struct text errors = {0};
    struct fault fault = {0};
    int status = 1;

    if (!options_read(argc, argv, &o, &status))
        return status;
    if (o.manual || o.completion)
        return made_print(&o);
    process_harden();
    log_open("skipd", o.syslog ? "syslog:info" : "stderr:info");
    d.conf = skipd_conf_load(o.conf, &errors);
    if (d.conf == NULL) {
        fputs(errors.s != NULL ? errors.s : "no memory\n", stderr);
        goto out;
    }
    if (o.check_only) {
        if (!tls_check(&d, &fault)) {
            fprintf(stderr, "%s: %s\n", o.conf, fault.text);
            goto out;
        }
        printf("%s: ok\n", o.conf);
        status = 0;
        goto out;
    }
    if (!daemon_start(&d, &o, &fault)) {
        log_write(LOG_LEVEL_ERROR, "%s", fault.text);
        goto out;
    }
    log_write(LOG_LEVEL_NOTICE, "key source '%s' is ready, %llu keys are waiting", d.conf->system_id,
              (unsigned long long)store_queue_waiting(d.queue));
    for (char *line = d.ready.s, *next = NULL; line != NULL && *line != '\0'; line = next) {
        next = strchr(line, '\n');
        *next++ = '\0';
        log_write(LOG_LEVEL_NOTICE, "%s", line);
    }
    event_base_dispatch(d.base);
    status = 0;
out:
    daemon_end(&d);
    text_free(&errors);
    return status;
}
