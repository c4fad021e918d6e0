/* SPDX-License-Identifier: BSD-2-Clause */
#include "skip/line.h"

#include "skip/sockets.h"

#include <openssl/crypto.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_FIRST 4096u /* room for a body at first; a key needs some 200 bytes */

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
        char *body = l->tls.host->secmem_alloc(room);
        if (!body) {
            l->no_memory = true;
            goto out;
        }
        if (l->len)
            memcpy(body, l->body, l->len);
        l->tls.host->secmem_free(l->body);
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

int line_close(void *line, curl_socket_t fd)
{
    struct line *l = line;
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

/* All that is the same for all requests. */
bool line_prepare(struct line *l)
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
    SET(CURLOPT_CLOSESOCKETFUNCTION, line_close);
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

void line_clear(struct line *l)
{
    tls_forget(&l->tls);
    l->tls.host->secmem_free(l->body);
    l->body = NULL;
    l->len = l->room = l->header_bytes = 0;
    l->sent = 0;
    l->body_large = l->headers_large = l->no_memory = l->resend_refused = false;
    l->tls.certificate_seen = l->tls.psk_missing = false;
    l->error[0] = 0;
    l->call = NULL;
    l->state = LINE_IDLE;
}
