/* SPDX-License-Identifier: BSD-2-Clause */
/* Hostile key sources: what one sends as its answer, octet by octet, through libcurl and the transport. The
 * linker puts __wrap_curl_easy_setopt() in front of libcurl's, in this program only: the URL begins with
 * "http:", and a connection is one end of a socketpair, in whose other end the answer waits already. The
 * first octet chooses request and dialect; a second request follows on what is left of the connection. */
#define CURL_DISABLE_TYPECHECK
#include "answer.h"
#include "base/clock.h"
#include "skip/loader.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#undef curl_easy_setopt

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...);
CURLcode __real_curl_easy_setopt(CURL *easy, CURLoption option, ...);

extern const struct skip_transport ppk_skip_transport;

static const uint8_t *answer;
static size_t answer_len;
static int ends[16]; /* ours */
static size_t n_ends;

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    int pair[2];

    (void)context, (void)purpose, (void)address;
    if (n_ends == sizeof ends / sizeof *ends ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return CURL_SOCKET_BAD;
    if (answer_len > 0 && send(pair[1], answer, answer_len, MSG_NOSIGNAL) < 0)
        abort();
    (void)shutdown(pair[1], SHUT_WR);
    ends[n_ends++] = pair[1];
    return pair[0];
}

/* In front of the C library's connect(), for libcurl: what is connected already stays so. (By an assembler's
 * name, since the C library declares it with a type that ISO C does not have.) */
__attribute__((visibility("default"))) int connect_here(int fd, const struct sockaddr *address,
                                                        socklen_t len) __asm__("connect");

int connect_here(int fd, const struct sockaddr *address, socklen_t len)
{
    int domain = AF_UNSPEC;
    socklen_t size = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX)
        return 0;
    return (int)syscall(SYS_connect, fd, address, len);
}

CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
    char url[1024];
    va_list args;

    va_start(args, option);
    void *value = va_arg(args, void *);
    va_end(args);
    switch (option) {
    case CURLOPT_URL:
        (void)snprintf(url, sizeof url, "http%s", (const char *)value + strlen("https"));
        return __real_curl_easy_setopt(easy, option, url);
    case CURLOPT_PROTOCOLS_STR:
        return __real_curl_easy_setopt(easy, option, "http");
    case CURLOPT_OPENSOCKETFUNCTION:
        return __real_curl_easy_setopt(easy, option, on_open);
    default:
        return __real_curl_easy_setopt(easy, option, value);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct fault fault = {""};

    (void)argc, (void)argv;
    (void)signal(SIGPIPE, SIG_IGN); /* the transport blocks it around libcurl by MSG_NOSIGNAL */
    if (ppk_skip_transport.start(skip_loader_host(), &fault))
        return 0;
    (void)fprintf(stderr, "%s\n", fault.text);
    exit(1);
}

static void ask(struct skip_wire *wire, struct skip_call *call)
{
    const uint64_t deadline = clock_ms() + 3000;
    struct skip_answer a;
    size_t server = 9;

    if (ppk_skip_transport.wire_ask(wire, 0, call, deadline, &a)) {
        if (!ppk_skip_transport.wire_wait(wire, deadline, &server, &a) || server != 0)
            abort(); /* a connection that has ended gives an answer, if only that it has ended */
    }
    answer_check(call, a.status, &a);
    skip_answer_clear(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kme_server server = {.kind = KME_IPV4, .host = (char *)"127.0.0.1", .port = 1};
    struct sks_profile profile = {.name = (char *)"fuzz",
                                  .key_size = 256,
                                  .servers = &server,
                                  .n_servers = 1,
                                  .timeout_ms = 3000,
                                  .lookups = SKS_LOOKUPS};
    struct skip_call call = {.remote = "Bob", .key_id = "00112233445566778899aabbccddeeff", .size = 256};

    if (size < 1)
        return 0;
    call.request = (enum skip_request)(data[0] % SKIP_REQUESTS);
    profile.type = data[0] & 0x40 ? SKS_ETSI014 : SKS_REMOTE;
    if (profile.type == SKS_ETSI014 && call.request == SKIP_REQUEST_ENTROPY)
        call.request = SKIP_REQUEST_KEY; /* ETSI 014 has none, which is seen before */
    if (call.request == SKIP_REQUEST_KEY_BY_ID)
        call.size = 0;
    answer = data + 1;
    answer_len = size - 1;
    struct skip_wire *wire = ppk_skip_transport.wire_new(&profile);
    if (wire == NULL)
        abort();
    ask(wire, &call);
    if (data[0] & 0x80)
        ask(wire, &call);
    ppk_skip_transport.wire_free(wire);
    while (n_ends > 0)
        (void)close(ends[--n_ends]);
    return 0;
}
