/* SPDX-License-Identifier: BSD-2-Clause */
/* The transport: HTTPS by libcurl. A wire is a multi handle, which keeps the connections, with an easy handle
 * for each server of the profile; it belongs to one thread at a time, so that connections are never shared
 * between profiles, nor between threads. */
#include "base/clock.h"
#include "skip/messages.h"
#include "skip/sockets.h"
#include "skip/tls.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_FIRST      4096u  /* room for a body at first; a key needs some 200 bytes */
#define POLL_MAX_MS     60000u /* poll() is asked again after that */
#define RETRY_AFTER_MAX 3600
#define SETTLE_MS       5 /* see line_check_alive() */
#define LASTING_MS      1000u
#define SETTLE_ANSWERS  2u /* the capabilities, and the first key */

enum line_state { LINE_IDLE, LINE_ASKED, LINE_OVER };

/* The connection to one server. */
struct line {
    struct skip_wire *wire;
    const struct kme_server *server;
    CURL *easy;
    enum line_state state;
    CURLcode code; /* of LINE_OVER */
    const struct skip_call *call;
    uint64_t began;
    int fd;            /* the kept-alive connection's socket, or -1 */
    unsigned answers;  /* that came over it */
    uint64_t answered; /* when the last one did */
    bool ends;         /* the server has been seen to end connections behind an answer */
    char *body;        /* in the arena */
    size_t len, room;
    size_t header_bytes;
    unsigned sent; /* how often the request went out */
    bool body_large, headers_large, no_memory, resend_refused;
    struct tls_peer tls;
    char error[CURL_ERROR_SIZE];
};

struct skip_wire {
    const struct sks_profile *profile;
    CURLM *multi;
    _Atomic bool woken;
    bool resolves;             /* a server is named by a host name */
    struct curl_slist *posted; /* headers of a POST */
    struct line lines[];
};

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

/* ---- libcurl's callbacks ---- */

static size_t on_body(char *data, size_t size, size_t n, void *context)
{
    struct line *l = context;
    size_t len = size * n, taken = 0;
    if (len > SKIP_BODY_MAX - l->len) {
        l->body_large = true;
        goto out;
    }
    if (l->len + len > l->room) {
        size_t room = l->room ? l->room : BODY_FIRST;
        while (room < l->len + len)
            room *= 2;
        char *body = host->secmem_alloc(room);
        if (!body) {
            l->no_memory = true;
            goto out;
        }
        if (l->len)
            memcpy(body, l->body, l->len);
        host->secmem_free(l->body);
        l->body = body;
        l->room = room;
    }
    if (len)
        memcpy(l->body + l->len, data, len);
    l->len += len;
    taken = len;
out:
    /* libcurl's own buffer, which it neither reads again nor wipes. */
    OPENSSL_cleanse(data, len);
    return taken;
}

static size_t on_header(char *data, size_t size, size_t n, void *context)
{
    (void)data;
    struct line *l = context;
    l->header_bytes += size * n;
    l->headers_large = l->header_bytes > SKIP_HEADER_MAX;
    return l->headers_large ? 0 : size * n;
}

/* Called when a connection stands, before the request goes out. libcurl sends a request again by itself if a
 * kept-alive connection ends without an answer; the server may have got it nevertheless, and for GET
 * /key/{id} that may not be repeated. */
static int on_request(void *context, char *remote, char *local, int remote_port, int local_port)
{
    (void)remote, (void)local, (void)remote_port, (void)local_port;
    struct line *l = context;
    if (l->sent > 0 && l->call->request == SKIP_REQUEST_KEY_BY_ID) {
        l->resend_refused = true;
        return CURL_PREREQFUNC_ABORT;
    }
    l->sent++;
    return CURL_PREREQFUNC_OK;
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct line *l = context;
    memset(&l->tls.seen, 0, sizeof l->tls.seen);
    l->tls.began = 0;
    /* libcurl makes it non-blocking, too, but goes on where it cannot: then a call would have no bound. */
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    sockets_add(fd);
    return fd;
}

static int on_close(void *context, curl_socket_t fd)
{
    struct line *l = context;
    for (size_t i = 0; i < l->wire->profile->n_servers; i++) {
        if (l->wire->lines[i].fd == fd)
            l->wire->lines[i].fd = -1;
    }
    sockets_remove(fd);
    return close(fd);
}

static CURLcode on_tls(CURL *easy, void *ctx, void *context)
{
    (void)easy;
    struct line *l = context;
    return tls_prepare(ctx, &l->tls) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

/* ---- wires ---- */

/* What is the same for all requests. */
static bool line_prepare(struct line *l)
{
    const struct sks_profile *profile = l->wire->profile;
    bool psk = profile->psk_id != NULL, good = true;
    l->easy = curl_easy_init();
    if (!l->easy)
        return false;
#define SET(option, value) good = good && curl_easy_setopt(l->easy, option, value) == CURLE_OK
    SET(CURLOPT_PRIVATE, l);
    SET(CURLOPT_ERRORBUFFER, l->error);
    SET(CURLOPT_PROTOCOLS_STR, "https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_PROXY, ""); /* whatever https_proxy says */
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* do not wait for a resolver thread whose time is over */
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_USERAGENT, "ppk-pkcs11");
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, l);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, l);
    SET(CURLOPT_PREREQFUNCTION, on_request);
    SET(CURLOPT_PREREQDATA, l);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
    SET(CURLOPT_OPENSOCKETDATA, l);
    SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
    SET(CURLOPT_CLOSESOCKETDATA, l);
    SET(CURLOPT_SSL_CTX_FUNCTION, on_tls);
    SET(CURLOPT_SSL_CTX_DATA, l);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_CIPHER_LIST, tls_suites_12(profile));
    SET(CURLOPT_TLS13_CIPHERS, tls_suites_13(profile));
    SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    /* With a PSK there is no certificate to verify; tls_prepare() rejects any. */
    SET(CURLOPT_SSL_VERIFYPEER, psk ? 0L : 1L);
    SET(CURLOPT_SSL_VERIFYHOST, psk ? 0L : 2L);
    if (!psk && profile->trustpoint) {
        SET(CURLOPT_CAINFO, profile->trustpoint);
        SET(CURLOPT_CAPATH, NULL); /* not also the system's */
        SET(CURLOPT_CA_CACHE_TIMEOUT, 0L);
    }
    if (!psk && profile->certificate) {
        SET(CURLOPT_SSLCERT, profile->certificate);
        SET(CURLOPT_SSLKEY, profile->key);
        SET(CURLOPT_KEYPASSWD, ""); /* an encrypted key file is an error, not a question at the terminal */
    }
#undef SET
    return good;
}

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

static void line_clear(struct line *l)
{
    tls_forget(&l->tls);
    host->secmem_free(l->body);
    l->body = NULL;
    l->len = l->room = l->header_bytes = 0;
    l->sent = 0;
    l->body_large = l->headers_large = l->no_memory = l->resend_refused = false;
    l->tls.certificate_seen = l->tls.psk_missing = false;
    l->error[0] = 0;
    l->call = NULL;
    l->state = LINE_IDLE;
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
                on_close(l, l->fd);
        } else {
            curl_easy_cleanup(l->easy);
        }
        line_clear(l);
    }
    if (!openssl_gone) {
        curl_slist_free_all(wire->posted);
        curl_multi_cleanup(wire->multi); /* calls on_close(), which needs the lines */
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

/* What a server's TLS alert most likely means where there is a PSK; the alerts are OpenSSL's and GnuTLS's. */
static const char *psk_hint(const char *error)
{
    static const struct {
        const char *alert, *hint;
    } hints[] = {
        {"alert illegal parameter", " (is it the same key at both ends?)"},
        {"alert decrypt error", " (is it the same key at both ends?)"},
        {"alert bad record mac", " (is it the same key at both ends?)"},
        {"alert unknown psk identity", " (it does not know the identity)"},
        {"alert handshake failure", " (does it know the identity, and the PSK's hash?)"},
        {"alert insufficient security", " (does it know the identity, and the PSK's hash?)"},
    };
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        if (strstr(error, hints[i].alert))
            return hints[i].hint;
    }
    return "";
}

/* Why there is no whole answer, in an operator's words. */
static void line_failed(const struct line *l, struct skip_answer *out)
{
    const struct sks_profile *p = l->wire->profile;
    const char *error = l->error[0] ? l->error : curl_easy_strerror(l->code);
    uint64_t took = clock_ms() - l->began;
    long os_error = 0;
    char os_text[128];
    /* libcurl keeps its first words, which may be of a dead connection that it tidied up on the way. */
    if (strncmp(error, "Send failure", 12) == 0 && l->code != CURLE_SEND_ERROR)
        error = curl_easy_strerror(l->code);
    if (l->code == CURLE_COULDNT_CONNECT &&
        curl_easy_getinfo(l->easy, CURLINFO_OS_ERRNO, &os_error) == CURLE_OK && os_error)
        error = strerror_r((int)os_error, os_text, sizeof os_text);
    /* Its words for a connection that ends just when it stands. */
    if (strncmp(error, "getpeername", 11) == 0)
        error = "it ended the connection behind the TLS handshake";
    out->result = l->no_memory || l->code == CURLE_OUT_OF_MEMORY ? SKIP_NO_MEMORY : SKIP_UNREACHABLE;
    if (l->no_memory)
        fault_set(&out->fault, "no locked memory left for its answer");
    else if (l->body_large)
        fault_set(&out->fault, "its answer is longer than %u bytes", SKIP_BODY_MAX);
    else if (l->headers_large)
        fault_set(&out->fault, "the header of its answer is longer than %u bytes", SKIP_HEADER_MAX);
    else if (l->resend_refused)
        fault_set(&out->fault,
                  "it closed the connection without an answer; a key is not asked for twice by its ID");
    else if (l->tls.certificate_seen)
        fault_set(&out->fault, "it shows a certificate, but a TLS PSK is configured: rejected");
    else if (l->tls.psk_missing)
        fault_set(&out->fault, "the TLS PSK could not be opened");
    else if (l->code == CURLE_OPERATION_TIMEDOUT && l->sent)
        fault_set(&out->fault, "no complete answer after %llu ms", (unsigned long long)took);
    else if (l->code == CURLE_OPERATION_TIMEDOUT)
        fault_set(&out->fault, "no connection after %llu ms (%s)", (unsigned long long)took, error);
    else if (strstr(error, "wrong version number") || strstr(error, "http request"))
        fault_set(&out->fault, "it does not speak TLS (is it the right port?): %s", error);
    else if (l->code == CURLE_SSL_CONNECT_ERROR && p->psk_id)
        fault_set(&out->fault, "TLS with PSK identity \"%.80s\" failed%s: %s", p->psk_id, psk_hint(error),
                  error);
    else if (l->code == CURLE_COULDNT_CONNECT)
        fault_set(&out->fault, "cannot be connected to: %s", error);
    else if (l->code == CURLE_PARTIAL_FILE)
        fault_set(&out->fault, "its answer was cut off: %s", error);
    else
        fault_set(&out->fault, "%s", error);
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

/* How far a request came that failed. */
static enum skip_stage line_stage(const struct line *l, const struct skip_link *link)
{
    if (l->code == CURLE_COULDNT_RESOLVE_HOST)
        return SKIP_STAGE_NAME;
    if (l->code == CURLE_COULDNT_CONNECT)
        return SKIP_STAGE_CONNECT;
    if (link->own_files || link->wrong_name || link->verify || link->alert ||
        link->certificate_instead_of_psk || l->code == CURLE_SSL_CONNECT_ERROR)
        return SKIP_STAGE_TLS;
    if (link->version[0])
        return SKIP_STAGE_ANSWER;
    if (l->tls.began)
        return SKIP_STAGE_TLS;
    curl_off_t resolved = 0;
    curl_easy_getinfo(l->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
    return resolved ? SKIP_STAGE_CONNECT : SKIP_STAGE_NAME;
}

static void wire_link(struct skip_wire *wire, size_t server, struct skip_link *out)
{
    struct line *l = &wire->lines[server];
    char *address = NULL;
    long os_error = 0;
    *out = l->tls.seen;
    out->connect_ms = l->tls.began > l->began ? (uint32_t)(l->tls.began - l->began) : 0;
    if (curl_easy_getinfo(l->easy, CURLINFO_PRIMARY_IP, &address) == CURLE_OK && address)
        snprintf(out->address, sizeof out->address, "%s", address);
    if (l->code != CURLE_OK && curl_easy_getinfo(l->easy, CURLINFO_OS_ERRNO, &os_error) == CURLE_OK)
        out->os_error = (int)os_error;
    out->timed_out = l->code == CURLE_OPERATION_TIMEDOUT;
    out->own_files = l->code == CURLE_SSL_CERTPROBLEM || l->code == CURLE_SSL_CACERT_BADFILE;
    out->wrong_name = l->code == CURLE_PEER_FAILED_VERIFICATION && !out->verify && !wire->profile->psk_id;
    out->stage = l->code == CURLE_OK ? SKIP_STAGE_ANSWER : line_stage(l, out);
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
