/* SPDX-License-Identifier: BSD-2-Clause */
/* skipd's HTTP side: what a client sends after the TLS handshake, octet by octet, through evhttp, the
 * dialects, the service and the queue of the store, whose rows are in memory here. The first octet chooses
 * the dialect and the client, the rest is what he sends; then he waits for the answers. */
#include "caller.h"
#include "plain_tls.h"

#include "base/clock.h"
#include "base/log.h"
#include "skipd/http.h"
#include "skipd/listen.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event_base *base;
static struct http_server *server;
static struct skipd_conf *conf;
static struct tls_party parties[4];
static int listeners[2]; /* SKIP, ETSI 014 */

/* ---- a store in memory ---- */

#define ROWS 64

struct store {
    struct store_row rows[ROWS];
    bool used[ROWS];
    size_t next;
};

static bool store_begin(struct store *s, struct fault *fault)
{
    (void)s, (void)fault;
    return true;
}

static void store_nothing(struct store *s)
{
    (void)s;
}

static size_t row_find(const struct store *s, const struct store_row *row)
{
    size_t i = 0;

    while (i < ROWS && !(s->used[i] && s->rows[i].id_len == row->id_len &&
                         memcmp(s->rows[i].id, row->id, row->id_len) == 0))
        i++;
    return i;
}

static enum store_result store_put(struct store *s, struct store_row *row, struct fault *fault)
{
    (void)fault;
    if (row_find(s, row) < ROWS)
        return STORE_EXISTS;
    s->rows[s->next] = *row;
    s->used[s->next] = true;
    s->next = (s->next + 1) % ROWS;
    return STORE_OK;
}

static enum store_result store_take(struct store *s, struct store_row *row, struct fault *fault)
{
    const size_t i = row_find(s, row);

    (void)fault;
    if (i == ROWS || strcmp(s->rows[i].initiator, row->initiator) != 0 ||
        strcmp(s->rows[i].responder, row->responder) != 0)
        return STORE_NOT_FOUND;
    memcpy(row->found, s->rows[i].sealed, s->rows[i].sealed_len);
    row->found_len = s->rows[i].sealed_len;
    s->used[i] = false;
    return STORE_OK;
}

static enum store_result store_restore(struct store *s, const struct store_row *row, struct fault *fault)
{
    (void)s, (void)row, (void)fault;
    return STORE_OK;
}

static enum store_result store_expire(struct store *s, bool *more, struct fault *fault)
{
    (void)s, (void)fault;
    *more = false;
    return STORE_OK;
}

static uint64_t store_waiting(const struct store *s)
{
    (void)s;
    return 0;
}

static const struct store_kind store_memory = {.close = store_nothing,
                                               .begin = store_begin,
                                               .commit = store_begin,
                                               .rollback = store_nothing,
                                               .put = store_put,
                                               .take = store_take,
                                               .restore = store_restore,
                                               .expire = store_expire,
                                               .waiting = store_waiting};

/* ---- the server ---- */

static const char configuration[] =
    "system-id Alice\n"
    "listen ipv4 127.0.0.1 port 0\n"
    "listen ipv4 127.0.0.2 port 0\n"
    "store sqlite unused.db\n"
    "master-key file master\n"
    "max-requests 128 per-second 1000000\n"
    "client a\n system-id Alpha\n tls psk id a key hex "
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
    "client b\n system-id Beta\n tls psk id b key hex "
    "100102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
    "client c\n system-id Gamma\n remote-system-id Al*\n permit capabilities\n"
    " max-requests 1 per-second 1000\n tls psk id c key hex "
    "200102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
    "peer Bob\n tls psk id p key hex "
    "300102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "%s\n", what);
    abort();
}

static void file_write(const char *directory, const char *name, const char *text)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "w");
    must(f != NULL && fchmod(fileno(f), 0600) == 0 && fputs(text, f) >= 0 && fclose(f) == 0, path);
}

static struct skipd_conf *conf_load(void)
{
    char directory[] = "/tmp/skipd-fuzz-XXXXXX", path[256];
    struct text errors = {0};

    must(mkdtemp(directory) != NULL, "no temporary directory");
    file_write(directory, "master", "the master key of a test\n");
    file_write(directory, "conf", configuration);
    (void)snprintf(path, sizeof path, "%s/conf", directory);
    struct skipd_conf *c = skipd_conf_load(path, &errors);
    must(c != NULL, errors.s != NULL ? errors.s : "no memory");
    c->listens[1].kind = LISTEN_ETSI014; /* in a file that would need certificates */
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/master", directory);
    (void)unlink(path);
    (void)rmdir(directory);
    return c;
}

/* At a name that the kernel chooses (unix(7), "Autobind"): who connects comes from caller.h. */
static int listen_as(enum listen_kind kind)
{
    static const struct sockaddr any = {.sa_family = AF_UNIX};
    struct fault fault = {""};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    must(fd >= 0 && bind(fd, &any, sizeof any.sa_family) == 0, "bind");
    must(http_server_listen(server, fd, kind, &fault), fault.text);
    return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const uint8_t salt[SEAL_SALT_LEN] = "salt";
    struct fault fault = {""};
    struct store *store = calloc(1, sizeof *store);

    (void)argc, (void)argv;
    log_open("fuzz", "none");
    (void)signal(SIGPIPE, SIG_IGN); /* as skipd does */
    conf = conf_load();
    struct event_config *methods = event_config_new();
    must(methods != NULL && event_config_avoid_method(methods, "epoll") == 0, "no memory");
    base = event_base_new_with_config(methods);
    event_config_free(methods);
    must(base != NULL, "no event base");
    struct store_queue *queue = store_queue_new(base, &store_memory, store, &fault);
    must(queue != NULL, fault.text);
    struct seal *seal = seal_new(conf->master_key, salt, &fault);
    must(seal != NULL, fault.text);
    struct service *service = service_new(base, queue, seal);
    must(service != NULL, "no memory");
    server = http_server_new(base, service);
    must(server != NULL, "no memory");
    must(service_prepare(service, conf, &fault) && http_server_prepare(server, conf, &fault), fault.text);
    service_commit(service);
    http_server_commit(server);
    for (size_t i = 0; i < conf->n_clients; i++)
        parties[i] = (struct tls_party){&conf->clients[i].identity, &conf->clients[i]};
    listeners[0] = listen_as(LISTEN_SKIP);
    listeners[1] = listen_as(LISTEN_ETSI014);
    return 0;
}

/* ---- the client ---- */

/* Every answer begins with a status that there is. */
static void answer_check(const char *answer, size_t len)
{
    static const char *const statuses[] = {"200", "400", "401", "403", "404", "405", "411", "413",
                                           "414", "417", "429", "500", "501", "503", "505", "100"};

    if (len < 12)
        return;
    must(memcmp(answer, "HTTP/", 5) == 0, "no HTTP answer"); /* the version is the request's */
    const char *blank = memchr(answer, ' ', len - 4);
    for (size_t i = 0; blank != NULL && i < sizeof statuses / sizeof *statuses; i++)
        if (memcmp(blank + 1, statuses[i], 3) == 0)
            return;
    must(false, "an answer with a status that there is not");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len = 0, before;

    if (size < 1)
        return 0;
    plain_party = (data[0] >> 1) % 4 < 3 ? &parties[(data[0] >> 1) % 4] : NULL;
    caller_connect(listeners[data[0] & 1], data + 1, size - 1);
    for (unsigned idle = 0; idle < 3; idle++) { /* until nothing happens any more */
        before = caller_progress();
        (void)event_base_loop(base, http_server_pending(server) > 0 ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
        if (caller_progress() != before || http_server_pending(server) > 0)
            idle = 0;
    }
    const char *answer = caller_answer(&len);
    answer_check(answer, len);
    caller_hang_up();
    for (unsigned i = 0; i < 100 && !caller_is_closed(); i++)
        (void)event_base_loop(base, EVLOOP_NONBLOCK);
    must(caller_is_closed(), "a connection is left open");
    plain_closed();
    return 0;
}
