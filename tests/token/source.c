/* SPDX-License-Identifier: BSD-2-Clause */
#include "source.h"

#include "oracle.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- certificates ---- */

struct identity {
    X509 *cert;
    EVP_PKEY *key;
};

static void extension_add(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (!e || !X509_add_ext(cert, e, -1))
        abort();
    X509_EXTENSION_free(e);
}

/* A certificate of `issuer` (NULL: of itself, a CA) for the subjectAltName `san` */
static struct identity identity_make(const char *name, const char *san, const struct identity *issuer)
{
    struct identity i = {X509_new(), EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")};
    if (!i.cert || !i.key)
        abort();
    X509 *by = issuer ? issuer->cert : i.cert;
    uint64_t serial = 0;
    RAND_bytes((unsigned char *)&serial, 7);
    X509_set_version(i.cert, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(i.cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(i.cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(i.cert), 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(i.cert), "CN", MBSTRING_ASC, (const unsigned char *)name,
                               -1, -1, 0);
    X509_set_issuer_name(i.cert, X509_get_subject_name(by));
    X509_set_pubkey(i.cert, i.key);
    extension_add(i.cert, by, NID_basic_constraints, issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    extension_add(i.cert, by, NID_subject_key_identifier, "hash");
    if (san)
        extension_add(i.cert, by, NID_subject_alt_name, san);
    if (!X509_sign(i.cert, issuer ? issuer->key : i.key, EVP_sha256()))
        abort();
    return i;
}

/* ---- TLS ---- */

static struct tls {
    SSL_CTX *good, *wrong_name, *unknown_ca, *no_psk, *wrong_psk;
} tls;

static int psk_find(SSL *ssl, const unsigned char *identity, size_t len, SSL_SESSION **out)
{
    uint8_t psk[64];
    size_t n = oracle_unhex(SOURCE_PSK_HEX, psk, sizeof psk);
    *out = NULL;
    if (len != strlen(SOURCE_PSK_ID) || memcmp(identity, SOURCE_PSK_ID, len) != 0)
        return 1;
    if (SSL_get_SSL_CTX(ssl) == tls.wrong_psk)
        psk[0] ^= 1;
    static const unsigned char aes_256_gcm_sha384[] = {0x13, 0x02};
    SSL_SESSION *s = SSL_SESSION_new();
    if (!s || !SSL_SESSION_set1_master_key(s, psk, n) ||
        !SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION) ||
        !SSL_SESSION_set_cipher(s, SSL_CIPHER_find(ssl, aes_256_gcm_sha384)))
        abort();
    *out = s;
    return 1;
}

static SSL_CTX *context_make(const struct identity *who, bool psk)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    if (!c)
        abort();
    SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
    if (who && (!SSL_CTX_use_certificate(c, who->cert) || !SSL_CTX_use_PrivateKey(c, who->key)))
        abort();
    if (psk)
        SSL_CTX_set_psk_find_session_callback(c, psk_find);
    return c;
}

static void tls_prepare(const char *trustpoint)
{
    struct identity ca = identity_make("Test CA", NULL, NULL),
                    other_ca = identity_make("Other CA", NULL, NULL);
    struct identity good = identity_make("key source", "IP:127.0.0.1,DNS:localhost", &ca);
    struct identity elsewhere = identity_make("elsewhere", "IP:192.0.2.1,DNS:elsewhere.example", &ca);
    struct identity foreign = identity_make("key source", "IP:127.0.0.1,DNS:localhost", &other_ca);
    FILE *f = fopen(trustpoint, "w");
    if (!f || !PEM_write_X509(f, ca.cert) || fclose(f) != 0)
        abort();
    const struct identity all[] = {ca, other_ca, good, elsewhere, foreign};
    tls = (struct tls){
        .good = context_make(&good, true),
        .wrong_name = context_make(&elsewhere, false),
        .unknown_ca = context_make(&foreign, false),
        .no_psk = context_make(&good, false),
        .wrong_psk = context_make(NULL, true),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        X509_free(all[i].cert);
        EVP_PKEY_free(all[i].key);
    }
}

static void tls_free(void)
{
    SSL_CTX *const all[] = {tls.good, tls.wrong_name, tls.unknown_ca, tls.no_psk, tls.wrong_psk};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        SSL_CTX_free(all[i]);
}

/* ---- HTTP ---- */

static struct source *shared;

/* Over what follows and the texts in the shared memory */
static pthread_mutex_t books_lock = PTHREAD_MUTEX_INITIALIZER;
/* The IDs that were asked for by ID; each is delivered once. */
static char (*delivered)[520];
static size_t n_delivered;

static bool deliver_once(const char *hex)
{
    bool first = true;
    pthread_mutex_lock(&books_lock);
    for (size_t i = 0; i < n_delivered && first; i++)
        first = strcasecmp(delivered[i], hex) != 0;
    if (first) {
        delivered = realloc(delivered, (n_delivered + 1) * sizeof *delivered);
        if (!delivered)
            abort();
        snprintf(delivered[n_delivered++], sizeof *delivered, "%s", hex);
    }
    pthread_mutex_unlock(&books_lock);
    return first;
}

struct connection {
    int fd;
    SSL *ssl; /* NULL: without TLS */
};

static int connection_write(struct connection *c, const void *data, size_t len)
{
    if (c->ssl)
        return SSL_write(c->ssl, data, (int)len);
    return (int)send(c->fd, data, len, MSG_NOSIGNAL);
}

static bool connection_send(struct connection *c, const char *data, size_t len)
{
    bool drip = atomic_load(&shared->mode) == SOURCE_DRIP;
    for (size_t i = 0; i < len;) {
        size_t part = drip ? 1 : len - i < 16384 ? len - i : 16384;
        if (drip)
            usleep(50000);
        if (connection_write(c, data + i, part) <= 0)
            return false;
        i += part;
    }
    return true;
}

static bool answer(struct connection *c, int status, const char *headers, const char *body, size_t cut)
{
    char head[512];
    size_t len = strlen(body);
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d Status\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n",
                     status, headers, len);
    return connection_send(c, head, (size_t)n) && connection_send(c, body, len - (cut < len ? cut : len)) &&
           cut == 0;
}

static void to_hex(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        sprintf(out + 2 * i, "%02x", bytes[i]);
}

static void substitute(char *out, size_t room, const char *body, const char *id, const char *key)
{
    size_t n = 0;
    while (*body && n + 1 < room) {
        const char *by = NULL;
        size_t skip = 0;
        if (strncmp(body, "@KEY@", 5) == 0)
            by = key, skip = 5;
        else if (strncmp(body, "@ID@", 4) == 0)
            by = id, skip = 4;
        else if (strncmp(body, "@OTHER@", 7) == 0)
            by = "ffffffffffffffffffffffffffffffff", skip = 7;
        if (by) {
            n += (size_t)snprintf(out + n, room - n, "%s", by);
            body += skip;
        } else {
            out[n++] = *body++;
        }
    }
    out[n < room ? n : room - 1] = '\0';
}

/* A request for a key; id_hex "": a new one */
static bool answer_key(struct connection *c, const char *id_hex, const char *query)
{
    uint8_t id[260], key[512];
    char id_text[521], key_text[1025], body[16384];
    size_t id_len = 16, bits = 256;
    const char *size = strstr(query, "size="), *remote = strstr(query, "remoteSystemID=");
    if (size)
        bits = strtoul(size + 5, NULL, 10);
    if (remote) {
        pthread_mutex_lock(&books_lock);
        snprintf(shared->last_remote, sizeof shared->last_remote, "%.*s", (int)strcspn(remote + 15, "&"),
                 remote + 15);
        pthread_mutex_unlock(&books_lock);
    }
    if (*id_hex) {
        atomic_fetch_add(&shared->by_id, 1);
        snprintf(id_text, sizeof id_text, "%s", id_hex);
        id_len = strlen(id_hex) / 2;
        if (id_len > sizeof id)
            id_len = sizeof id;
        for (size_t i = 0; i < id_len; i++)
            sscanf(id_hex + 2 * i, "%2hhx", &id[i]);
    } else {
        atomic_fetch_add(&shared->new_keys, 1);
        atomic_store(&shared->last_size, (unsigned)(size ? bits : 0));
        source_fresh_id(id);
        to_hex(id, 16, id_text);
    }
    size_t key_len = bits / 8 <= sizeof key ? bits / 8 : sizeof key;
    source_key(id, id_len, key, key_len);
    to_hex(key, key_len, key_text);
    if (atomic_load(&shared->delay_ms))
        usleep(atomic_load(&shared->delay_ms) * 1000);

    switch (atomic_load(&shared->mode)) {
    case SOURCE_CANNED:
        substitute(body, sizeof body, shared->body, id_text, key_text);
        return answer(c, atomic_load(&shared->status), shared->headers, body,
                      (size_t)atomic_load(&shared->cut));
    case SOURCE_HUGE: {
        static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"keyId\":\"";
        char block[4096];
        memset(block, 'a', sizeof block);
        if (!connection_send(c, head, sizeof head - 1))
            return false;
        for (int i = 0; i < 25000 && connection_send(c, block, sizeof block); i++) /* 100 MB */
            ;
        return false;
    }
    case SOURCE_NESTED: {
        char *deep = malloc(200100);
        if (!deep)
            abort();
        memset(deep, '[', 100000);
        memset(deep + 100000, ']', 100000);
        deep[200000] = '\0';
        bool kept = answer(c, 200, "", deep, 0);
        free(deep);
        return kept;
    }
    default:
        break;
    }
    if (*id_hex && (id[0] == 0 || !deliver_once(id_hex)))
        return answer(c, 400, "", "{\"error\":\"no such key\"}", 0);
    snprintf(body, sizeof body, "{\"keyId\":\"%s\",\"key\":\"%s\"}", id_text, key_text);
    return answer(c, 200, "", body, 0);
}

/* Answers one request; false: the connection ends. */
static bool serve(struct connection *c, char *request)
{
    atomic_fetch_add(&shared->requests, 1);
    char *path = strchr(request, ' ');
    char *end = path ? strchr(path + 1, ' ') : NULL;
    if (!end)
        return false;
    *path++ = *end = '\0';
    char *query = strchr(path, '?');
    if (query)
        *query++ = '\0';
    else
        query = end;
    if (strcmp(request, "GET") != 0)
        return answer(c, 405, "", "{}", 0);
    if (atomic_load(&shared->mode) == SOURCE_CLOSE)
        return false;
    if (strcmp(path, "/capabilities") == 0) {
        atomic_fetch_add(&shared->capabilities, 1);
        return answer(c, 200, "",
                      "{\"entropy\":true,\"key\":true,\"algorithm\":\"test\",\"localSystemID\":\"Alice\","
                      "\"remoteSystemID\":[\"Bob\",\"peer*\"]}",
                      0);
    }
    if (strcmp(path, "/entropy") == 0) {
        atomic_fetch_add(&shared->entropy, 1);
        char body[200], hex[65] = "";
        uint8_t bytes[32];
        RAND_bytes(bytes, sizeof bytes);
        to_hex(bytes, sizeof bytes, hex);
        snprintf(body, sizeof body, "{\"randomStr\":\"%s\",\"minentropy\":256}", hex);
        return answer(c, 200, "", body, 0);
    }
    if (strcmp(path, "/key") == 0)
        return answer_key(c, "", query);
    if (strncmp(path, "/key/", 5) == 0)
        return answer_key(c, path + 5, query);
    return answer(c, 404, "", "{}", 0);
}

static void wait_until_closed(int fd)
{
    char byte;
    for (int i = 0; i < 600; i++) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 100) > 0 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0)
            return;
    }
}

static SSL_CTX *context_of_mode(int mode)
{
    switch (mode) {
    case SOURCE_WRONG_NAME:
        return tls.wrong_name;
    case SOURCE_UNKNOWN_CA:
        return tls.unknown_ca;
    case SOURCE_NO_PSK:
        return tls.no_psk;
    case SOURCE_WRONG_PSK:
        return tls.wrong_psk;
    default:
        return tls.good;
    }
}

static void *connection_run(void *argument)
{
    struct connection c = {(int)(intptr_t)argument, NULL};
    int mode = atomic_load(&shared->mode);
    atomic_fetch_add(&shared->connections, 1);
    if (mode == SOURCE_HANG) {
        wait_until_closed(c.fd);
        goto out;
    }
    if (mode == SOURCE_PLAIN) { /* whatever comes, a TLS greeting for instance */
        char some[4096];
        if (recv(c.fd, some, sizeof some, 0) > 0)
            answer(&c, 200, "", "{\"keyId\":\"01020304\",\"key\":\"00\"}", 0);
        goto out;
    } else {
        c.ssl = SSL_new(context_of_mode(mode));
        SSL_set_fd(c.ssl, c.fd);
        if (SSL_accept(c.ssl) <= 0)
            goto out;
    }
    if (mode == SOURCE_HANG_TLS) {
        wait_until_closed(c.fd);
        goto out;
    }
    for (bool more = true; more;) {
        char request[8192];
        size_t n = 0;
        char *end = NULL;
        while (!end && n < sizeof request - 1) {
            int got = c.ssl ? SSL_read(c.ssl, request + n, (int)(sizeof request - 1 - n))
                            : (int)recv(c.fd, request + n, sizeof request - 1 - n, 0);
            if (got <= 0)
                goto out;
            n += (size_t)got;
            request[n] = '\0';
            end = strstr(request, "\r\n\r\n");
        }
        more = end && serve(&c, request);
    }
out:
    if (c.ssl) {
        SSL_shutdown(c.ssl);
        SSL_free(c.ssl);
    }
    close(c.fd);
    return NULL;
}

/* ---- the process ---- */

_Noreturn static void run(int listener, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    signal(SIGPIPE, SIG_IGN);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (;;) {
        int fd = accept(listener, NULL, NULL), on = 1;
        if (fd >= 0)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* head and body are two writes */
        pthread_t t;
        if (fd >= 0 && pthread_create(&t, &detached, connection_run, (void *)(intptr_t)fd) != 0)
            close(fd);
    }
}

struct source *source_start(const char *directory)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        abort();
    snprintf(shared->trustpoint, sizeof shared->trustpoint, "%s/ca.pem", directory);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(listener, 128) != 0 ||
        getsockname(listener, (struct sockaddr *)&a, &len) != 0) {
        perror("key source");
        abort();
    }
    shared->port = ntohs(a.sin_port);
    pid_t parent = getpid();
    tls_prepare(shared->trustpoint);
    pid_t child = fork(); /* not at once into the shared memory, where the child would write its 0 */
    if (child == 0)
        run(listener, parent);
    if (child < 0)
        abort();
    shared->pid = child;
    tls_free();
    close(listener);
    return shared;
}

void source_stop(struct source *s)
{
    if (!s)
        return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    munmap(s, sizeof *s);
}

void source_reset(struct source *s)
{
    atomic_store(&s->mode, SOURCE_GOOD);
    atomic_store(&s->delay_ms, 0);
    atomic_store(&s->cut, 0);
    atomic_store(&s->status, 200);
    s->headers[0] = s->body[0] = s->last_remote[0] = '\0';
    atomic_store(&s->connections, 0);
    atomic_store(&s->requests, 0);
    atomic_store(&s->capabilities, 0);
    atomic_store(&s->new_keys, 0);
    atomic_store(&s->by_id, 0);
    atomic_store(&s->entropy, 0);
    atomic_store(&s->last_size, 0);
}

unsigned source_key_requests(const struct source *s)
{
    return atomic_load(&s->new_keys) + atomic_load(&s->by_id);
}

void source_key(const void *id, size_t id_len, void *key, size_t key_len)
{
    static const char root[] = "the root of the test key source's keys";
    oracle_prf_plus(&oracle_prfs[1], root, sizeof root - 1, id, id_len, key, key_len);
}

void source_fresh_id(uint8_t id[16])
{
    if (RAND_bytes(id, 16) != 1)
        abort();
    if (id[0] == 0)
        id[0] = 1;
}
