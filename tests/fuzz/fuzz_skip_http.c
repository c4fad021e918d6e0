/* SPDX-License-Identifier: BSD-2-Clause */
/* Hostile key sources: what one sends as its answer, octet by octet, through libcurl and the transport. The
 * linker puts __wrap_curl_easy_setopt() in front of libcurl's, in this program only: the URL begins with
 * "http:", and on each connection the answer waits already. The
 * first octet chooses request and dialect; a second request follows on what is left of the connection. */
#define CURL_DISABLE_TYPECHECK
#include "answer.h"
#include "base/clock.h"
#include "skip/loader.h"

#include <curl/curl.h>
#include <fcntl.h>
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

/* ---- connections without the kernel's work, which is most of it ---- */

/* A connection is a copy of `always`, which can be read and written at any time, and what it is for the
 * kernel is never looked at. What libcurl makes to wake itself, and never uses, are copies of `never`. */
static int always[2], never[2];

#define FDS 64

static struct {
    bool open;
    size_t taken; /* octets of the answer */
} connections[FDS];

static bool is_connection(int fd)
{
    return fd >= 0 && fd < FDS && connections[fd].open;
}

static int copy_of(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    const int fd = copy_of(always[0]);

    (void)context, (void)purpose, (void)address;
    if (fd < 0 || fd >= FDS)
        abort();
    connections[fd].open = true;
    connections[fd].taken = 0;
    return fd;
}

/* In front of the C library's, for libcurl. (By assembler's names, since the C library declares some with
 * types that ISO C does not have.) */
#define FOR_LIBCURL(name) __attribute__((visibility("default"))) name##_here
int FOR_LIBCURL(connect)(int fd, const struct sockaddr *address, socklen_t len) __asm__("connect");
int FOR_LIBCURL(socketpair)(int domain, int type, int protocol, int pair[2]) __asm__("socketpair");
ssize_t FOR_LIBCURL(recv)(int fd, void *out, size_t len, int flags) __asm__("recv");
ssize_t FOR_LIBCURL(send)(int fd, const void *data, size_t len, int flags) __asm__("send");

int connect_here(int fd, const struct sockaddr *address, socklen_t len)
{
    return is_connection(fd) ? 0 : (int)syscall(SYS_connect, fd, address, len);
}

int socketpair_here(int domain, int type, int protocol, int pair[2])
{
    (void)domain, (void)type, (void)protocol;
    pair[0] = copy_of(never[0]);
    pair[1] = copy_of(never[1]);
    return pair[0] < 0 || pair[1] < 0 ? -1 : 0;
}

ssize_t recv_here(int fd, void *out, size_t len, int flags)
{
    if (!is_connection(fd))
        return syscall(SYS_recvfrom, fd, out, len, flags, NULL, NULL);
    const size_t left = answer_len - connections[fd].taken, n = left < len ? left : len;
    if (n > 0)
        memcpy(out, answer + connections[fd].taken, n);
    if ((flags & MSG_PEEK) == 0)
        connections[fd].taken += n;
    return (ssize_t)n;
}

ssize_t send_here(int fd, const void *data, size_t len, int flags)
{
    return is_connection(fd) ? (ssize_t)len : syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
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
    if (syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, always) != 0 ||
        syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, never) != 0 ||
        shutdown(always[1], SHUT_WR) != 0)
        abort();
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
    memset(connections, 0, sizeof connections);
    return 0;
}
