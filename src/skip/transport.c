/* SPDX-License-Identifier: BSD-2-Clause */
/* The transport: HTTPS by libcurl. A wire is a multi handle, which keeps the connections, with a line
 * (line.h) to each server of the profile; it belongs to one thread at a time, so that connections are never
 * shared between profiles, nor between threads. */
#include "base/clock.h"
#include "skip/line.h"
#include "skip/messages.h"
#include "skip/sockets.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define POLL_MAX_MS     60000u /* poll() is asked again after that */
#define RETRY_AFTER_MAX 3600
#define SETTLE_MS       5 /* see line_check_alive() */
#define LASTING_MS      1000u
#define SETTLE_ANSWERS  2u /* the capabilities, and the first key */

static const struct skip_host *host;

/* libcurl calls OpenSSL in here: in our own library context, whatever the host has made of the default one. A
 * resolver thread that libcurl may start inherits the signal mask, and must not be where a signal of the
 * host's is handled. */
struct entered {
    OSSL_LIB_CTX *context;
    sigset_t mask;
    bool masked;
};

static void enter(struct entered *e, bool threads)
{
    e->context = OSSL_LIB_CTX_set0_default(host->crypto_context());
    e->masked = threads;
    if (threads) {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &e->mask);
    }
    ERR_set_mark();
}

static void leave(const struct entered *e)
{
    ERR_pop_to_mark();
    if (e->masked)
        pthread_sigmask(SIG_SETMASK, &e->mask, NULL);
    OSSL_LIB_CTX_set0_default(e->context);
}

static bool transport_start(const struct skip_host *h, struct fault *fault)
{
    if (host)
        return true;
    if (!h->crypto_context()) { /* NULL would mean the application's */
        fault_set(fault, "no memory left for OpenSSL");
        return false;
    }
    host = h;
    struct entered e;
    enter(&e, true);
    /* Never undone: the host may use the same libcurl without having counted itself in. */
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    bool good = code == CURLE_OK && tls_start();
    leave(&e);
    if (!good) {
        fault_set(fault, "%s", code ? curl_easy_strerror(code) : "OpenSSL cannot be prepared");
        host = NULL;
    }
    return good;
}

/* ---- wires ---- */

static void wire_free(struct skip_wire *wire);

static bool headers_of_posts(struct skip_wire *wire)
{
    static const char *const headers[] = {"Content-Type: application/json", "Expect:"};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct curl_slist *longer = curl_slist_append(wire->posted, headers[i]);
        if (!longer)
            return false;
        wire->posted = longer;
    }
    return true;
}

static struct skip_wire *wire_new(const struct sks_profile *conf)
{
    struct skip_wire *wire = calloc(1, sizeof *wire + conf->n_servers * sizeof wire->lines[0]);
    struct entered e;
    if (!wire)
        return NULL;
    wire->profile = conf;
    enter(&e, true);
    wire->multi = curl_multi_init();
    bool good = wire->multi && headers_of_posts(wire) &&
                curl_multi_setopt(wire->multi, CURLMOPT_MAXCONNECTS, (long)conf->n_servers) == CURLM_OK;
    for (size_t i = 0; i < conf->n_servers; i++) {
        struct line *l = &wire->lines[i];
        l->wire = wire;
        l->server = &conf->servers[i];
        l->fd = -1;
        l->tls.host = host;
        l->tls.profile = conf;
        wire->resolves = wire->resolves || l->server->kind == KME_HOSTNAME;
        good = good && line_prepare(l);
    }
    leave(&e);
    if (!good) {
        wire_free(wire);
        return NULL; /* NOLINT(clang-analyzer-unix.Malloc): wire_free() keeps it only where OpenSSL is gone */
    }
    return wire;
}

static void wire_rebind(struct skip_wire *wire, const struct sks_profile *conf)
{
    wire->profile = conf;
    for (size_t i = 0; i < conf->n_servers; i++) {
        wire->lines[i].server = &conf->servers[i];
        wire->lines[i].tls.profile = conf;
    }
}

static void wire_free(struct skip_wire *wire)
{
    /* When the host's exit has torn OpenSSL down already, nothing may be freed that holds a part of it. */
    bool openssl_gone = !host->crypto_alive();
    struct entered e;
    if (!openssl_gone)
        enter(&e, false);
    for (size_t i = 0; i < wire->profile->n_servers; i++) {
        struct line *l = &wire->lines[i];
        if (!openssl_gone && l->easy && l->state == LINE_ASKED)
            curl_multi_remove_handle(wire->multi, l->easy);
        if (openssl_gone) {
            l->tls.offered = NULL;
            if (l->fd >= 0)
                line_close(l, l->fd);
        } else {
            curl_easy_cleanup(l->easy);
        }
        line_clear(l);
    }
    if (!openssl_gone) {
        curl_slist_free_all(wire->posted);
        curl_multi_cleanup(wire->multi); /* calls line_close(), which needs the lines */
        leave(&e);
        free(wire);
    }
}

/* A server may end a kept-alive connection at any time. libcurl notices a FIN before it uses the connection
 * again, but not one behind TLS's close_notify: whatever comes while nothing was asked makes the connection
 * unusable.
 *
 * Some end it behind each answer without saying so. A request for a key by its ID that crosses such an end on
 * its way cannot be repeated. So before the first ones on a connection it is waited a moment for the end; and
 * where that was too short, such requests get connections of their own from then on, until one is seen to
 * last. */
static void line_check_alive(struct line *l, const struct skip_call *call)
{
    bool once = call->request == SKIP_REQUEST_KEY_BY_ID, stale = false;
    struct pollfd fd = {.fd = l->fd, .events = POLLIN};
    char waste[256];
    if (l->fd < 0)
        return;
    bool ended = poll(&fd, 1, once && l->answers <= SETTLE_ANSWERS ? SETTLE_MS : 0) != 0;
    if (!ended && clock_ms() - l->answered > LASTING_MS)
        l->ends = false;
    stale = ended || (once && l->ends);
    if (!stale)
        return;
    shutdown(l->fd, SHUT_RD); /* so that libcurl reads an end, too; it may still send its close_notify */
    for (int i = 0; i < 64 && recv(l->fd, waste, sizeof waste, MSG_DONTWAIT) > 0; i++)
        ;
}

static bool host_acceptable(const struct kme_server *s)
{
    static const char *const allowed[] = {
        [KME_IPV4] = "0123456789.",
        [KME_IPV6] = "0123456789abcdefABCDEF:.",
        [KME_HOSTNAME] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._",
    };
    return s->host[0] && s->host[strspn(s->host, allowed[s->kind])] == 0;
}

/* GET, or the POST of a JSON text. */
static bool line_method(struct line *l, const struct text *body)
{
    if (!body->len)
        return curl_easy_setopt(l->easy, CURLOPT_HTTPGET, 1L) == CURLE_OK &&
               curl_easy_setopt(l->easy, CURLOPT_HTTPHEADER, NULL) == CURLE_OK;
    return curl_easy_setopt(l->easy, CURLOPT_POSTFIELDSIZE, (long)body->len) == CURLE_OK &&
           curl_easy_setopt(l->easy, CURLOPT_COPYPOSTFIELDS, body->s) == CURLE_OK &&
           curl_easy_setopt(l->easy, CURLOPT_HTTPHEADER, l->wire->posted) == CURLE_OK;
}

static bool wire_ask(struct skip_wire *wire, size_t server, const struct skip_call *call, uint64_t deadline,
                     struct skip_answer *out)
{
    struct line *l = &wire->lines[server];
    struct text url = {0}, body = {0};
    struct entered e;
    memset(out, 0, sizeof *out);
    out->result = SKIP_UNREACHABLE;
    uint64_t left = clock_left_ms(deadline);
    if (left == 0) {
        fault_set(&out->fault, "no time left to ask it");
        return false;
    }
    if (!host_acceptable(l->server)) {
        fault_set(&out->fault, "is no address or host name");
        return false;
    }
    bool ipv6 = l->server->kind == KME_IPV6;
    text_printf(&url, "https://%s%s%s:%u", ipv6 ? "[" : "", l->server->host, ipv6 ? "]" : "",
                (unsigned)l->server->port);
    message_request(wire->profile, call, &url, &body);
    line_clear(l);
    line_check_alive(l, call);
    l->call = call;
    l->began = clock_ms();
    long ms = left > 3600000 ? 3600000L : (long)left;
    enter(&e, false);
    bool good = !url.failed && !body.failed && line_method(l, &body) &&
                curl_easy_setopt(l->easy, CURLOPT_URL, url.s) == CURLE_OK &&
                curl_easy_setopt(l->easy, CURLOPT_TIMEOUT_MS, ms) == CURLE_OK &&
                curl_easy_setopt(l->easy, CURLOPT_CONNECTTIMEOUT_MS, ms) == CURLE_OK &&
                curl_multi_add_handle(wire->multi, l->easy) == CURLM_OK;
    leave(&e);
    text_free(&url);
    text_free(&body);
    if (!good) {
        out->result = SKIP_NO_MEMORY;
        fault_set(&out->fault, "no memory for a request");
        return false;
    }
    l->state = LINE_ASKED;
    return true;
}

static void line_finish(struct line *l, struct skip_answer *out)
{
    long status = 0;
    curl_off_t retry_after = 0;
    memset(out, 0, sizeof *out);
    out->processed = l->sent > 0;
    if (l->code == CURLE_OK) {
        curl_easy_getinfo(l->easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(l->easy, CURLINFO_RETRY_AFTER, &retry_after);
        message_read(host, l->wire->profile, l->call, status, l->body, l->len, out);
        if (status == 429 || status == 503)
            out->retry_after_s = retry_after < 0                 ? 0
                                 : retry_after > RETRY_AFTER_MAX ? RETRY_AFTER_MAX
                                                                 : (uint32_t)retry_after;
    } else {
        line_failed(l, out);
    }
    line_clear(l);
}

/* Takes what is over from libcurl. */
static void wire_collect(struct skip_wire *wire)
{
    CURLMsg *message;
    int more;
    while ((message = curl_multi_info_read(wire->multi, &more))) {
        struct line *l = NULL;
        curl_socket_t fd = CURL_SOCKET_BAD;
        CURL *easy = message->easy_handle;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE ||
            curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&l) != CURLE_OK)
            continue;
        long connects = 1;
        curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd);
        curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
        l->answers = connects > 0 ? 1 : l->answers + 1;
        l->answered = clock_ms();
        l->ends = l->ends || l->resend_refused;
        l->fd = fd == CURL_SOCKET_BAD ? -1 : fd;
        curl_multi_remove_handle(wire->multi, easy);
        l->code = code;
        l->state = LINE_OVER;
    }
}

static bool wire_wait(struct skip_wire *wire, uint64_t until, size_t *server, struct skip_answer *out)
{
    struct entered e;
    bool found = false;
    enter(&e, wire->resolves);
    while (!found) {
        int running;
        curl_multi_perform(wire->multi, &running);
        wire_collect(wire);
        for (size_t i = 0; !found && i < wire->profile->n_servers; i++) {
            if (wire->lines[i].state == LINE_OVER) {
                *server = i;
                line_finish(&wire->lines[i], out);
                found = true;
            }
        }
        uint64_t left = clock_left_ms(until);
        if (found || left == 0 || atomic_exchange_explicit(&wire->woken, false, memory_order_acquire))
            break;
        curl_multi_poll(wire->multi, NULL, 0, (int)(left < POLL_MAX_MS ? left : POLL_MAX_MS), NULL);
    }
    leave(&e);
    return found;
}

static bool wire_drop(struct skip_wire *wire, size_t server)
{
    struct line *l = &wire->lines[server];
    struct entered e;
    bool processed = l->sent > 0;
    if (l->state == LINE_ASKED) {
        enter(&e, false);
        curl_multi_remove_handle(wire->multi, l->easy);
        leave(&e);
    }
    line_clear(l);
    return processed;
}

static void wire_link(struct skip_wire *wire, size_t server, struct skip_link *out)
{
    line_link(&wire->lines[server], out);
}

static void wire_wake(struct skip_wire *wire)
{
    atomic_store_explicit(&wire->woken, true, memory_order_release);
    curl_multi_wakeup(wire->multi);
}

/* The only symbol that is exported. */
extern const struct skip_transport ppk_skip_transport;
__attribute__((visibility("default"))) const struct skip_transport ppk_skip_transport = {
    .version = SKIP_TRANSPORT_VERSION,
    .start = transport_start,
    .wire_new = wire_new,
    .wire_rebind = wire_rebind,
    .wire_free = wire_free,
    .wire_ask = wire_ask,
    .wire_wait = wire_wait,
    .wire_drop = wire_drop,
    .wire_link = wire_link,
    .wire_wake = wire_wake,
    .after_fork = sockets_close_all,
};
