/* SPDX-License-Identifier: BSD-2-Clause */
/* A TLS terminator with pre-shared keys for tests: relays each connection to a plain server on the loopback.
 *
 *   psk_front --backend PORT --psk ID:HEX [--hash sha256|sha384] [--tls 1.2|1.3] [--suites LIST] [--cert FILE
 * --key FILE]
 *
 * In TLS 1.3 the PSK is bound to the hash of a suite, in TLS 1.2 it goes with the suites of LIST. With --cert
 * it has a certificate to show, too. Prints its port, and serves until its standard input ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *psk_id, *hash = "sha384";
static unsigned char psk[512];
static size_t psk_len;
static uint16_t backend_port;
static SSL_CTX *ctx;

static int find_session(SSL *ssl, const unsigned char *id, size_t id_len, SSL_SESSION **session)
{
    static const unsigned char sha256[] = {0x13, 0x01}, sha384[] = {0x13, 0x02};
    *session = NULL;
    if (id_len != strlen(psk_id) || memcmp(id, psk_id, id_len) != 0)
        return 1;
    SSL_SESSION *s = SSL_SESSION_new();
    if (!s || !SSL_SESSION_set1_master_key(s, psk, psk_len) ||
        !SSL_SESSION_set_cipher(s, SSL_CIPHER_find(ssl, strcmp(hash, "sha256") == 0 ? sha256 : sha384)) ||
        !SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION))
        abort();
    *session = s;
    return 1;
}

static unsigned psk_server(SSL *ssl, const char *identity, unsigned char *out, unsigned room)
{
    (void)ssl;
    if (strcmp(identity, psk_id) != 0 || psk_len > room)
        return 0;
    memcpy(out, psk, psk_len);
    return (unsigned)psk_len;
}

static bool write_all(int fd, const char *data, ssize_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, (size_t)len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= n;
    }
    return true;
}

static void relay(SSL *ssl, int front, int back)
{
    char buffer[16384];
    for (;;) {
        struct pollfd fds[] = {{.fd = front, .events = POLLIN}, {.fd = back, .events = POLLIN}};
        if (!SSL_pending(ssl) && poll(fds, 2, 60000) <= 0)
            return;
        if (SSL_pending(ssl) || fds[0].revents) {
            int n = SSL_read(ssl, buffer, sizeof buffer);
            if (n <= 0 || !write_all(back, buffer, n))
                return;
        }
        if (fds[1].revents) {
            ssize_t n = recv(back, buffer, sizeof buffer, 0);
            if (n <= 0 || SSL_write(ssl, buffer, (int)n) != n)
                return;
        }
    }
}

static void *serve(void *context)
{
    int fd = *(int *)context;
    free(context);
    int back = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(backend_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    SSL *ssl = SSL_new(ctx);
    if (ssl && SSL_set_fd(ssl, fd) && SSL_accept(ssl) == 1 &&
        connect(back, (struct sockaddr *)&to, sizeof to) == 0) {
        fprintf(stderr, "%s %s\n", SSL_get_version(ssl), SSL_get_cipher(ssl));
        relay(ssl, fd, back);
        SSL_shutdown(ssl);
    } else {
        char text[256];
        ERR_error_string_n(ERR_peek_last_error(), text, sizeof text);
        fprintf(stderr, "failed %s\n", text);
    }
    SSL_free(ssl);
    close(fd);
    close(back);
    return NULL;
}

static void *wait_for_end(void *context)
{
    char c;
    (void)context;
    while (read(0, &c, 1) > 0)
        ;
    _exit(0);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx)
        return 1;
    SSL_CTX_set_psk_find_session_callback(ctx, find_session);
    SSL_CTX_set_psk_server_callback(ctx, psk_server);
    SSL_CTX_set_dh_auto(ctx, 1);
    for (int i = 1; i + 1 < argc; i += 2) {
        char *value = argv[i + 1];
        long len = 0;
        unsigned char *bytes;
        if (strcmp(argv[i], "--backend") == 0) {
            backend_port = (uint16_t)atoi(value);
        } else if (strcmp(argv[i], "--psk") == 0) {
            char *hex = strchr(value, ':');
            if (!hex || !(bytes = OPENSSL_hexstr2buf(hex + 1, &len)) || len > (long)sizeof psk)
                return 1;
            *hex = 0;
            psk_id = value;
            memcpy(psk, bytes, (size_t)len);
            psk_len = (size_t)len;
            OPENSSL_free(bytes);
        } else if (strcmp(argv[i], "--hash") == 0) {
            hash = value;
        } else if (strcmp(argv[i], "--tls") == 0) {
            int version = strcmp(value, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
            SSL_CTX_set_min_proto_version(ctx, version);
            SSL_CTX_set_max_proto_version(ctx, version);
        } else if (strcmp(argv[i], "--suites") == 0) {
            if (!SSL_CTX_set_cipher_list(ctx, value))
                return 1;
        } else if (strcmp(argv[i], "--cert") == 0) {
            if (SSL_CTX_use_certificate_chain_file(ctx, value) != 1)
                return 1;
        } else if (strcmp(argv[i], "--key") == 0) {
            if (SSL_CTX_use_PrivateKey_file(ctx, value, SSL_FILETYPE_PEM) != 1)
                return 1;
        }
    }
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t at_len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (!psk_id || bind(listener, (struct sockaddr *)&at, at_len) || listen(listener, 128) ||
        getsockname(listener, (struct sockaddr *)&at, &at_len))
        return 1;
    printf("%u\n", (unsigned)ntohs(at.sin_port));
    fflush(stdout);
    pthread_t id;
    pthread_create(&id, NULL, wait_for_end, NULL);
    pthread_detach(id);
    for (;;) {
        int *fd = malloc(sizeof *fd);
        if (!fd || (*fd = accept(listener, NULL, NULL)) < 0 || pthread_create(&id, NULL, serve, fd) != 0)
            return 1;
        pthread_detach(id);
    }
}
