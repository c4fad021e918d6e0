/* SPDX-License-Identifier: BSD-2-Clause */
/* The link to a peer that does not do its part: a server here, in the same event loop, that says HELLO and
 * reads only if it is told to. */
#include "skipd/link.h"

#include "base/clock.h"
#include "skipd/frames.h"
#include "skipd/tls.h"

#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT   LINK_WINDOW
#define WAIT_MS 20000

struct world {
    char directory[32], path[64], master[64];
    int dns; /* the socket of a name server; -1: there is none */
    struct event *dns_event;
    const char *addresses; /* that its answers have: so many octets */
    size_t addresses_len;
    unsigned asked;
    uint16_t port;
    struct event_base *base;
    struct skipd_conf *server_conf;
    SSL_CTX *server_tls;
    struct evconnlistener *listener;
    struct bufferevent *server; /* its last connection, or NULL */
    bool reads, guesses, hangs; /* guesses: the numbers of its PONGs; hangs: its store */
    unsigned accepted, pings;
    struct link *link;
    struct link_put puts[COUNT];
    unsigned failed, kept;
    char down[200]; /* of the last one that failed */
};

static uint8_t key[SYNC_KEY_MAX];

static void file_write(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    assert_int_equal(fchmod(fileno(f), 0600), 0);
    fputs(text, f);
    fclose(f);
}

static struct skipd_conf *conf_load(struct world *w, const char *name, const char *rest)
{
    struct text errors = {0};
    struct skipd_conf *c = NULL;
    char text[1000];

    snprintf(text, sizeof text,
             "system-id %s\nlisten ipv4 127.0.0.1 port 0\nstore sqlite keys.db\nmaster-key file master\n"
             "client c\n tls psk id c key hex 00112233445566778899aabbccddeeff\n%s",
             name, rest);
    file_write(w->path, text);
    c = skipd_conf_load(w->path, &errors);
    if (c == NULL)
        fail_msg("%s", errors.s);
    text_free(&errors);
    return c;
}

/* ---- the server ---- */

static bool server_message(void *context, const struct sync_message *m)
{
    struct world *w = context;
    struct sync_message answer = {.type = SYNC_PONG, .ping = m->ping};

    if (m->type == SYNC_PUT)
        answer = (struct sync_message){.type = SYNC_ACK, .ack = {m->put.number, SYNC_OK}};
    if (m->type == SYNC_PING)
        w->pings++;
    if (m->type == SYNC_PING && w->guesses)
        answer.ping.number++;
    if (m->type != SYNC_HELLO && (m->type != SYNC_PUT || !w->hangs))
        frames_send(bufferevent_get_output(w->server), &answer);
    return true;
}

static void server_read(struct bufferevent *bev, void *context)
{
    frames_receive(bufferevent_get_input(bev), server_message, context);
}

static void server_event(struct bufferevent *bev, short what, void *context)
{
    struct world *w = context;
    struct sync_message hello = {.type = SYNC_HELLO, .hello = {"Bob"}};

    if ((what & BEV_EVENT_CONNECTED) != 0) {
        if (!w->reads)
            bufferevent_disable(bev, EV_READ);
        frames_send(bufferevent_get_output(bev), &hello);
    } else {
        w->server = w->server == bev ? NULL : w->server;
        bufferevent_free(bev);
    }
}

static void server_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int len,
                          void *context)
{
    struct world *w = context;

    (void)listener;
    (void)from;
    (void)len;
    if (w->server != NULL)
        bufferevent_free(w->server);
    w->accepted++;
    w->server = bufferevent_openssl_socket_new(w->base, fd, SSL_new(w->server_tls), BUFFEREVENT_SSL_ACCEPTING,
                                               BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    bufferevent_setcb(w->server, server_read, NULL, server_event, w);
    bufferevent_enable(w->server, EV_READ | EV_WRITE);
}

static void server_start(struct world *w)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    struct fault fault = {0};

    w->server_conf = conf_load(w, "Bob", "peer Alice\n tls psk id link key a-key-of-the-link\n");
    w->server_tls = tls_server_context(w->server_conf, TLS_PEERS, &fault);
    assert_non_null(w->server_tls);
    w->listener = evconnlistener_new_bind(w->base, server_accept, w, LEV_OPT_CLOSE_ON_FREE, 16,
                                          (struct sockaddr *)&in, sizeof in);
    assert_non_null(w->listener);
    assert_int_equal(getsockname(evconnlistener_get_fd(w->listener), (struct sockaddr *)&in, &len), 0);
    w->port = ntohs(in.sin_port);
}

/* ---- the name server ---- */

static char resolv_conf[64];

/* libevent's way to /etc/resolv.conf */
__attribute__((visibility("default"))) int open(const char *path, int flags, ...);
int open(const char *path, int flags, ...)
{
    va_list args;
    int mode = 0;

    va_start(args, flags);
    if ((flags & O_CREAT) != 0)
        mode = va_arg(args, int);
    va_end(args);
    if (strcmp(path, "/etc/resolv.conf") == 0 && resolv_conf[0] != '\0')
        path = resolv_conf;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* Answers questions for addresses of IPv4. */
static void dns_read(evutil_socket_t fd, short events, void *context)
{
    static const uint8_t ADDRESS[] = {0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4};
    struct world *w = context;
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    uint8_t m[512];
    ssize_t n = recvfrom(fd, m, 200, 0, (struct sockaddr *)&from, &from_len);
    size_t len = (size_t)n;

    (void)events;
    assert_true(n > 16);
    w->asked++;
    m[2] = 0x81;
    m[3] = 0x80;
    for (size_t i = 0; m[n - 3] == 1 && i < w->addresses_len; i += 4) {
        memcpy(m + len, ADDRESS, sizeof ADDRESS);
        memcpy(m + len + sizeof ADDRESS, w->addresses + i, 4);
        len += sizeof ADDRESS + 4;
        m[7]++;
    }
    sendto(fd, m, len, 0, (struct sockaddr *)&from, from_len);
}

/* A socket of UDP; returns its port. */
static uint16_t udp_open(int *fd)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;

    *fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(*fd, (struct sockaddr *)&in, &len), 0);
    return ntohs(in.sin_port);
}

static uint16_t dns_start(struct world *w, const char *addresses, size_t len)
{
    uint16_t port = udp_open(&w->dns);

    w->addresses = addresses;
    w->addresses_len = len;
    w->dns_event = event_new(w->base, w->dns, EV_READ | EV_PERSIST, dns_read, w);
    event_add(w->dns_event, NULL);
    return port;
}

/* One or two name servers (0: no second one) that are asked for names from now on. */
static void resolv_conf_write(const struct world *w, uint16_t first, uint16_t second)
{
    char text[100];

    snprintf(resolv_conf, sizeof resolv_conf, "%s/resolv.conf", w->directory);
    snprintf(text, sizeof text, "nameserver 127.0.0.1:%u\n", first);
    if (second != 0)
        snprintf(text + strlen(text), sizeof text - strlen(text), "nameserver 127.0.0.1:%u\n", second);
    file_write(resolv_conf, text);
}

/* ---- the link ---- */

static void put_done(void *context, enum sync_result result, const char *down)
{
    struct world *w = context;

    if (result == SYNC_OK)
        w->kept++;
    else
        w->failed++;
    if (down != NULL)
        snprintf(w->down, sizeof w->down, "%s", down);
}

static void put(struct world *w, size_t i, size_t key_len)
{
    struct sync_put *m = &w->puts[i].message;

    w->puts[i] = (struct link_put){.done = put_done, .context = w};
    m->ttl_s = 60;
    m->id_len = 16;
    memcpy(m->id, &i, sizeof i);
    strcpy(m->initiator, "Alice");
    strcpy(m->responder, "Bob");
    m->key = (struct span){key, key_len};
    link_put(w->link, &w->puts[i]);
}

/* `top`: commands of the top level; `more`: of the peer. */
static void configure(struct world *w, const char *top, const char *more)
{
    const char *address = w->dns >= 0 ? "hostname bob.test" : "ipv4 127.0.0.1";
    struct fault fault = {0};
    struct skipd_conf *c = NULL;
    SSL_CTX *tls = NULL;
    char rest[400];

    snprintf(rest, sizeof rest, "%speer Bob\n tls psk id link key a-key-of-the-link\n address %s port %u\n%s",
             top, address, w->port, more);
    c = conf_load(w, "Alice", rest);
    tls = tls_client_context(c, &c->peers[0], &fault);
    assert_non_null(tls);
    link_configure(w->link, c, &c->peers[0], tls);
    skipd_conf_free(c);
}

/* Turns the event loop until *what is at least `least` (WAIT_MS at most). */
static void wait_for(struct world *w, const unsigned *what, unsigned least)
{
    const uint64_t end = clock_ms() + WAIT_MS;

    while (*what < least) {
        assert_true(clock_ms() < end);
        event_base_loop(w->base, EVLOOP_ONCE);
    }
}

static void wait_up(struct world *w)
{
    const uint64_t end = clock_ms() + WAIT_MS;
    const char *why = NULL;

    while (!link_is_up(w->link, &why)) {
        assert_true(clock_ms() < end);
        event_base_loop(w->base, EVLOOP_ONCE);
    }
}

static int world_begin(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    strcpy(w->directory, "/tmp/skipd-link-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    snprintf(w->path, sizeof w->path, "%s/skipd.conf", w->directory);
    snprintf(w->master, sizeof w->master, "%s/master", w->directory);
    file_write(w->master, "master key\n");
    w->dns = -1;
    w->base = event_base_new();
    w->link = link_new(w->base);
    server_start(w);
    *state = w;
    return 0;
}

static int world_end(void **state)
{
    struct world *w = *state;

    link_free(w->link, "is gone");
    if (w->server != NULL)
        bufferevent_free(w->server);
    evconnlistener_free(w->listener);
    if (w->dns_event != NULL)
        event_free(w->dns_event);
    if (w->dns >= 0)
        close(w->dns);
    if (resolv_conf[0] != '\0')
        unlink(resolv_conf);
    resolv_conf[0] = '\0';
    event_base_loop(w->base, EVLOOP_NONBLOCK);
    event_base_free(w->base);
    SSL_CTX_free(w->server_tls);
    skipd_conf_free(w->server_conf);
    unlink(w->path);
    unlink(w->master);
    rmdir(w->directory);
    free(w);
    return 0;
}

/* ---- what is asked of it ---- */

static void keys_are_kept(void **state)
{
    struct world *w = *state;

    w->reads = true;
    configure(w, "", "");
    wait_up(w);
    for (size_t i = 0; i < 100; i++)
        put(w, i, 32);
    wait_for(w, &w->kept, 100);
    wait_for(w, &w->pings, 2); /* and it stays up */
    assert_int_equal(w->failed, 0);
    assert_int_equal(w->accepted, 1);
}

static void a_peer_that_does_not_read_takes_little_memory(void **state)
{
    struct world *w = *state;
    struct secret_stats before, after;

    configure(w, "sync-timeout 60000\n", "");
    wait_up(w);
    secret_stats_read(&before);
    for (size_t i = 0; i < COUNT; i++)
        put(w, i, SYNC_KEY_MAX);
    secret_stats_read(&after);
    assert_true(after.working_bytes - before.working_bytes < 1 << 20);
    /* the connection is made anew, and what is on its way is sent there */
    w->reads = true;
    wait_for(w, &w->kept, COUNT);
    assert_int_equal(w->accepted, 2);
    assert_int_equal(w->failed, 0);
}

static void a_pong_that_was_not_asked_for_is_out_of_turn(void **state)
{
    struct world *w = *state;

    w->reads = w->guesses = true;
    configure(w, "", "");
    wait_for(w, &w->accepted, 2);
}

static void a_key_that_cannot_be_sent_fails_at_once(void **state)
{
    struct world *w = *state;
    void **all = NULL, **p = NULL;

    w->reads = true;
    configure(w, "", "");
    wait_up(w);
    for (size_t size = 65536; size >= sizeof p; size /= 2)
        while ((p = secmem_alloc(size)) != NULL) {
            *p = (void *)all;
            all = p;
        }
    put(w, 0, 32);
    for (; all != NULL; all = p) {
        p = *all;
        secmem_free((void *)all);
    }
    assert_int_equal(w->failed, 1);
    assert_non_null(strstr(w->down, "memory"));
    put(w, 1, 32);
    wait_for(w, &w->kept, 1);
}

static void a_shorter_timeout_counts_for_all(void **state)
{
    struct world *w = *state;
    uint64_t began = 0;

    w->reads = w->hangs = true;
    configure(w, "sync-timeout 15000\n", "");
    wait_up(w);
    put(w, 0, 32);
    began = clock_ms();
    configure(w, "sync-timeout 200\n", "");
    put(w, 1, 32);
    wait_for(w, &w->failed, 2);
    assert_true(clock_ms() - began >= 200 && clock_ms() - began < 5000);
    assert_non_null(strstr(w->down, "within 200 ms"));
    /* a longer one counts for those that come */
    put(w, 2, 32);
    configure(w, "sync-timeout 15000\n", "");
    put(w, 3, 32);
    wait_for(w, &w->failed, 3);
    assert_true(clock_ms() - began < 10000);
    assert_int_equal(w->accepted, 1);
}

static void who_it_said_that_it_is_still_counts(void **state)
{
    struct world *w = *state;
    const uint64_t end = clock_ms() + WAIT_MS;
    const char *why = "";

    w->reads = true;
    configure(w, "", " remote-system-id Bob\n");
    wait_up(w);
    configure(w, "", " remote-system-id Carol\n remote-system-id Bo*\n");
    assert_true(link_is_up(w->link, &why));
    assert_int_equal(w->accepted, 1);
    configure(w, "", " remote-system-id Carol\n");
    assert_false(link_is_up(w->link, &why));
    while (strstr(why, "it says that it is 'Bob'") == NULL) {
        assert_true(clock_ms() < end && !link_is_up(w->link, &why));
        event_base_loop(w->base, EVLOOP_ONCE);
        link_is_up(w->link, &why);
    }
}

/* Nobody listens at the first one, and the second is none for TCP. */
static const char SOME_ADDRESSES[] = "\x7f\0\0\5\xff\xff\xff\xff\x7f\0\0\1";

static void each_address_of_a_name_is_tried(void **state)
{
    struct world *w = *state;

    w->reads = true;
    resolv_conf_write(w, dns_start(w, SOME_ADDRESSES, 12), 0);
    configure(w, "", "");
    put(w, 0, 32);
    wait_up(w);
    wait_for(w, &w->kept, 1); /* it has waited for the address that answers */
    assert_int_equal(w->failed, 0);
    assert_int_equal(w->asked, 2);
    /* a link that breaks is made anew by another look-up */
    bufferevent_free(w->server);
    w->server = NULL;
    wait_for(w, &w->accepted, 2);
    wait_up(w);
    assert_int_equal(w->asked, 4);
}

static void another_name_server_is_noticed(void **state)
{
    struct world *w = *state;
    uint16_t port = dns_start(w, SOME_ADDRESSES + 8, 4);
    const uint64_t end = clock_ms() + WAIT_MS;
    const char *why = "";

    resolv_conf_write(w, 1, 0); /* nobody is there */
    configure(w, "", "");
    while (why[0] == '\0') {
        assert_true(clock_ms() < end && !link_is_up(w->link, &why));
        event_base_loop(w->base, EVLOOP_ONCE);
    }
    resolv_conf_write(w, port, 0);
    wait_up(w);
}

static void a_name_server_that_is_silent_is_passed_over(void **state)
{
    struct world *w = *state;
    int silent = -1;
    uint16_t port = dns_start(w, SOME_ADDRESSES + 8, 4);

    resolv_conf_write(w, udp_open(&silent), port);
    configure(w, "", "");
    wait_up(w);
    close(silent);
}

static void a_lookup_is_given_up(void **state)
{
    struct world *w = *state;
    uint16_t port = udp_open(&w->dns); /* silent */

    resolv_conf_write(w, port, 0);
    configure(w, "sync-timeout 10000\n", "");
    put(w, 0, 32);
    wait_for(w, &w->failed, 1);
    assert_non_null(strstr(w->down, "is down: "));
    /* and again, in the midst of the next one */
    configure(w, "", " address ipv4 127.0.0.1 port 1\n");
    event_base_loop(w->base, EVLOOP_NONBLOCK);
}

int main(void)
{
    const struct rlimit lock = {32 << 20, 32 << 20};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_are_kept, world_begin, world_end),
        cmocka_unit_test_setup_teardown(a_peer_that_does_not_read_takes_little_memory, world_begin,
                                        world_end),
        cmocka_unit_test_setup_teardown(a_pong_that_was_not_asked_for_is_out_of_turn, world_begin, world_end),
        cmocka_unit_test_setup_teardown(a_key_that_cannot_be_sent_fails_at_once, world_begin, world_end),
        cmocka_unit_test_setup_teardown(a_shorter_timeout_counts_for_all, world_begin, world_end),
        cmocka_unit_test_setup_teardown(who_it_said_that_it_is_still_counts, world_begin, world_end),
        cmocka_unit_test_setup_teardown(each_address_of_a_name_is_tried, world_begin, world_end),
        cmocka_unit_test_setup_teardown(another_name_server_is_noticed, world_begin, world_end),
        cmocka_unit_test_setup_teardown(a_name_server_that_is_silent_is_passed_over, world_begin, world_end),
        cmocka_unit_test_setup_teardown(a_lookup_is_given_up, world_begin, world_end),
    };

    signal(SIGPIPE, SIG_IGN);
    setrlimit(RLIMIT_MEMLOCK, &lock);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
