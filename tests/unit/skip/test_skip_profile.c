/* SPDX-License-Identifier: BSD-2-Clause */
/* A profile at work, over a transport that is made up: each server does what the test says, and all requests
 * are recorded. */
#include "skip/profile.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVERS 3u
#define NEVER   UINT32_MAX

/* What a server does with a request. */
struct behaviour {
    enum skip_result result;
    uint32_t delay_ms; /* NEVER: no answer */
    bool untouched;    /* it fails before the request went out */
    long status;
    uint32_t retry_after_s;
    const char *text; /* of the fault; NULL: "made up" */
};

static struct {
    pthread_mutex_t lock;
    struct behaviour key[SERVERS], capabilities[SERVERS];
    const char *remotes[4]; /* of all capabilities */
    char log[4096];         /* "0c 0k 1i ": server and kind of each request */
    unsigned live, wires;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct skip_wire {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken;
    struct {
        bool asked;
        struct skip_call call;
        struct behaviour behaviour;
        uint64_t due, deadline;
    } lines[SERVERS];
};

static bool fake_start(const struct skip_host *host, struct fault *fault)
{
    (void)host, (void)fault;
    return true;
}

static struct skip_wire *fake_new(const struct sks_profile *conf)
{
    pthread_condattr_t attributes;
    struct skip_wire *w = calloc(1, sizeof *w);
    (void)conf;
    assert_non_null(w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &attributes);
    pthread_mutex_lock(&fake.lock);
    fake.live++;
    fake.wires++;
    pthread_mutex_unlock(&fake.lock);
    return w;
}

static void fake_free(struct skip_wire *w)
{
    for (size_t i = 0; i < SERVERS; i++)
        assert_false(w->lines[i].asked);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
    pthread_mutex_lock(&fake.lock);
    fake.live--;
    pthread_mutex_unlock(&fake.lock);
}

static bool fake_ask(struct skip_wire *w, size_t i, const struct skip_call *call, uint64_t deadline,
                     struct skip_answer *out)
{
    static const char kinds[] = "ckie";
    char what[8];
    (void)out;
    assert_false(w->lines[i].asked);
    pthread_mutex_lock(&fake.lock);
    w->lines[i].behaviour = call->request == SKIP_REQUEST_CAPABILITIES ? fake.capabilities[i] : fake.key[i];
    snprintf(what, sizeof what, "%zu%c ", i, kinds[call->request]);
    if (strlen(fake.log) + 4 < sizeof fake.log)
        strcat(fake.log, what);
    pthread_mutex_unlock(&fake.lock);
    w->lines[i].asked = true;
    w->lines[i].call = *call;
    w->lines[i].deadline = deadline;
    w->lines[i].due =
        w->lines[i].behaviour.delay_ms == NEVER ? UINT64_MAX : clock_ms() + w->lines[i].behaviour.delay_ms;
    return true;
}

static struct skip_capabilities *fake_capabilities(void)
{
    struct skip_capabilities *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->key = c->entropy = true;
    c->algorithm = strdup("fake");
    c->local_system_id = strdup("Alice");
    c->remote_system_ids = calloc(4, sizeof c->remote_system_ids[0]);
    pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; fake.remotes[i]; i++)
        c->remote_system_ids[i] = strdup(fake.remotes[i]);
    pthread_mutex_unlock(&fake.lock);
    return c;
}

static void fake_answer(const struct skip_call *call, const struct behaviour *b, struct skip_answer *out)
{
    memset(out, 0, sizeof *out);
    out->result = b->result;
    out->status = b->status;
    out->retry_after_s = b->retry_after_s;
    out->processed = !b->untouched;
    if (b->result != SKIP_OK) {
        fault_set(&out->fault, "%s", b->text ? b->text : "made up");
        return;
    }
    if (call->request == SKIP_REQUEST_CAPABILITIES) {
        out->capabilities = fake_capabilities();
        return;
    }
    out->value = secret_new(call->remote ? call->remote : "", call->remote ? strlen(call->remote) : 0);
    if (call->request != SKIP_REQUEST_ENTROPY)
        out->key_id = strdup(call->key_id ? call->key_id : "new");
}

static bool fake_wait(struct skip_wire *w, uint64_t until, size_t *server, struct skip_answer *out)
{
    for (;;) {
        uint64_t now = clock_ms(), next = until;
        for (size_t i = 0; i < SERVERS; i++) {
            if (!w->lines[i].asked)
                continue;
            uint64_t over = w->lines[i].due < w->lines[i].deadline ? w->lines[i].due : w->lines[i].deadline;
            if (over <= now) {
                struct behaviour late = {.result = SKIP_UNREACHABLE};
                *server = i;
                w->lines[i].asked = false;
                fake_answer(&w->lines[i].call, w->lines[i].due <= now ? &w->lines[i].behaviour : &late, out);
                return true;
            }
            next = over < next ? over : next;
        }
        if (now >= until)
            return false;
        struct timespec t = {(time_t)(next / 1000), (long)(next % 1000) * 1000000};
        pthread_mutex_lock(&w->lock);
        if (!w->woken)
            pthread_cond_timedwait(&w->changed, &w->lock, &t);
        bool woken = w->woken;
        w->woken = false;
        pthread_mutex_unlock(&w->lock);
        if (woken)
            return false;
    }
}

static bool fake_drop(struct skip_wire *w, size_t i)
{
    w->lines[i].asked = false;
    return !w->lines[i].behaviour.untouched;
}

static void fake_wake(struct skip_wire *w)
{
    pthread_mutex_lock(&w->lock);
    w->woken = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void fake_fork(void)
{
}

static const struct skip_transport transport = {
    .version = SKIP_TRANSPORT_VERSION,
    .start = fake_start,
    .wire_new = fake_new,
    .wire_free = fake_free,
    .wire_ask = fake_ask,
    .wire_wait = fake_wait,
    .wire_drop = fake_drop,
    .wire_wake = fake_wake,
    .after_fork = fake_fork,
};

/* ---- the tests ---- */

static struct kme_server servers[SERVERS] = {{KME_IPV4, (char *)"192.0.2.1", 1},
                                             {KME_IPV6, (char *)"2001:db8::2", 2},
                                             {KME_HOSTNAME, (char *)"kme", 3}};
static struct sks_profile conf;
static struct skip_profile *profile;
static struct fault fault;
static const char *last_server;

static int setup(void **state)
{
    (void)state;
    conf = (struct sks_profile){.name = (char *)"qkd",
                                .servers = servers,
                                .n_servers = SERVERS,
                                .timeout_ms = 1000,
                                .key_size = 256,
                                .lookups = SKS_LOOKUPS};
    memset(fake.key, 0, sizeof fake.key);
    memset(fake.capabilities, 0, sizeof fake.capabilities);
    memset(fake.remotes, 0, sizeof fake.remotes);
    fake.remotes[0] = "*";
    fake.log[0] = 0;
    fake.wires = 0;
    skip_loader_use(&transport);
    profile = skip_profile_new(&conf);
    return profile ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    conf.n_servers = SERVERS; /* some tests ask fewer of them */
    skip_profile_free(profile);
    skip_loader_use(NULL);
    return fake.live ? -1 : 0;
}

static enum skip_result get(const char *key_id, const char *remote)
{
    struct skip_key key;
    uint64_t deadline = clock_ms() + 60000;
    fault.text[0] = 0;
    enum skip_result result = key_id ? skip_key_by_id(profile, key_id, remote, deadline, &key, &fault)
                                     : skip_key_new(profile, remote, 0, deadline, &key, &fault);
    if (result == SKIP_OK) {
        assert_string_equal(fault.text, "");
        assert_string_equal(key.key_id, key_id ? key_id : "new");
        assert_non_null(key.value);
        last_server = key.server;
    } else {
        assert_null(key.value);
        assert_non_null(strstr(fault.text, "sks profile qkd: "));
    }
    skip_key_clear(&key);
    return result;
}

static void assert_counts(enum skip_request r, uint64_t total, uint64_t passed, uint64_t failed)
{
    struct skip_counts c;
    skip_profile_counts(profile, &c);
    assert_int_equal(c.total[r], total);
    assert_int_equal(c.passed[r], passed);
    assert_int_equal(c.failed[r], failed);
}

static void first_server_is_asked(void **state)
{
    (void)state;
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    assert_string_equal(last_server, "192.0.2.1:1");
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(fake.log, "0c 0k 0i ");
    assert_int_equal(fake.wires, 1);
    assert_counts(SKIP_REQUEST_CAPABILITIES, 1, 1, 0);
    assert_counts(SKIP_REQUEST_KEY, 1, 1, 0);
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 1, 1, 0);
}

static void broken_fails_over(void **state)
{
    (void)state;
    fake.key[0].result = fake.key[1].result = SKIP_UNREACHABLE;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "kme:3");
    assert_string_equal(fake.log, "0c 0i 1c 1i 2c 2i ");
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 3, 1, 2);
    /* Both are set aside now. */
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(fake.log, "0c 0i 1c 1i 2c 2i 2i ");
}

static void all_broken(void **state)
{
    struct skip_server_status status;
    (void)state;
    for (size_t i = 0; i < SERVERS; i++)
        fake.key[i].result = SKIP_UNREACHABLE;
    assert_int_equal(get("00ff", "Bob"), SKIP_UNREACHABLE);
    assert_non_null(strstr(fault.text, "192.0.2.1:1: made up; [2001:db8::2]:2: made up; kme:3: made up"));
    assert_string_equal(fake.log, "0c 0i 1c 1i 2c 2i ");
    /* As a last resort each is asked again, once. */
    assert_int_equal(get("00ff", "Bob"), SKIP_UNREACHABLE);
    assert_string_not_equal(fake.log, "0c 0i 1c 1i 2c 2i ");
    assert_int_equal(strlen(fake.log), 9 * 3);
    skip_profile_status(profile, 1, &status);
    assert_string_equal(status.server, "[2001:db8::2]:2");
    assert_int_equal(status.failures, 1);
    assert_in_range(status.aside_ms, 1, SKIP_ASIDE_MIN_MS * 2);
    assert_string_equal(status.reason.text, "made up");
}

static void words_are_final(void **state)
{
    static const struct {
        enum skip_result result;
        long status;
    } cases[] = {{SKIP_NO_SUCH_KEY, 400}, {SKIP_REFUSED, 403}, {SKIP_REFUSED, 400}};
    (void)state;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct skip_server_status status;
        fake.log[0] = 0;
        fake.key[0] = (struct behaviour){.result = cases[i].result, .status = cases[i].status};
        assert_int_equal(get("00ff", "Bob"), cases[i].result);
        assert_string_equal(fake.log, "0i ");
        skip_profile_status(profile, 0, &status);
        assert_int_equal(status.failures, 0);
    }
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 4, 1, 3);
}

/* "No such key" of the second means nothing if the first may have given it away without our hearing it. */
static void lost_key(void **state)
{
    (void)state;
    fake.key[0].result = SKIP_UNREACHABLE;
    fake.key[1] = (struct behaviour){.result = SKIP_NO_SUCH_KEY, .status = 400};
    assert_int_equal(get("00ff", "Bob"), SKIP_UNREACHABLE);
    assert_non_null(strstr(fault.text, "192.0.2.1:1"));
    assert_non_null(strstr(fault.text, "[2001:db8::2]:2"));
}

static void not_lost_key(void **state)
{
    (void)state;
    fake.key[0] = (struct behaviour){.result = SKIP_UNREACHABLE, .untouched = true};
    fake.key[1] = (struct behaviour){.result = SKIP_NO_SUCH_KEY, .status = 400};
    assert_int_equal(get("00ff", "Bob"), SKIP_NO_SUCH_KEY);
}

static void time_is_shared(void **state)
{
    uint64_t start = clock_ms();
    (void)state;
    conf.timeout_ms = 300;
    fake.capabilities[0].delay_ms = NEVER;
    fake.key[1].delay_ms = NEVER;
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    assert_string_equal(last_server, "kme:3");
    assert_in_range(clock_ms() - start, 150, 299);
}

static void time_is_bounded(void **state)
{
    uint64_t start = clock_ms();
    struct skip_key key;
    (void)state;
    conf.timeout_ms = 200;
    for (size_t i = 0; i < SERVERS; i++)
        fake.key[i].delay_ms = NEVER;
    assert_int_equal(get("00ff", "Bob"), SKIP_UNREACHABLE);
    assert_in_range(clock_ms() - start, 195, 290);
    conf.timeout_ms = 5000;
    start = clock_ms();
    assert_int_equal(skip_key_new(profile, "Bob", 0, start + 100, &key, &fault), SKIP_UNREACHABLE);
    assert_in_range(clock_ms() - start, 95, 190);
    assert_int_equal(skip_key_new(profile, "Bob", 0, start, &key, &fault), SKIP_UNREACHABLE);
}

static void silent_is_hedged(void **state)
{
    uint64_t start;
    struct skip_server_status status;
    (void)state;
    conf.hedge_ms = 50;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    fake.log[0] = 0;
    fake.key[0].delay_ms = NEVER;
    start = clock_ms();
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "[2001:db8::2]:2");
    assert_in_range(clock_ms() - start, 48, 150);
    assert_string_equal(fake.log, "0i 1c 1i ");
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 3, 2, 1);
    /* It is set aside: the next does not wait for it. */
    skip_profile_status(profile, 0, &status);
    assert_int_equal(status.failures, 1);
    start = clock_ms();
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_in_range(clock_ms() - start, 0, 40);
}

/* The first one may still win the race. */
static void slow_may_win(void **state)
{
    (void)state;
    conf.hedge_ms = 30;
    fake.key[0].delay_ms = 400;
    fake.key[1].delay_ms = fake.key[2].delay_ms = 900;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "192.0.2.1:1");
    assert_string_equal(fake.log, "0c 0i 1c 1i 2c 2i ");
}

/* Who was asked only just before another won is no worse for that; who was silent too long is. */
static void a_late_one_is_not_blamed(void **state)
{
    struct skip_server_status status;
    (void)state;
    conf.hedge_ms = 300;
    conf.n_servers = 2;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    fake.key[0].delay_ms = 320;
    fake.key[1].delay_ms = NEVER;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "192.0.2.1:1");
    assert_string_equal(fake.log, "0c 0i 0i 1c 1i ");
    skip_profile_status(profile, 1, &status);
    assert_int_equal(status.failures, 0);
    fake.key[0].delay_ms = NEVER;
    fake.key[1].delay_ms = 0;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "[2001:db8::2]:2");
    skip_profile_status(profile, 0, &status);
    assert_int_equal(status.failures, 1);
}

/* Another's no is not waited out if a hedged one has it. */
static void hedged_no(void **state)
{
    (void)state;
    conf.hedge_ms = 30;
    conf.n_servers = 2;
    fake.key[0].delay_ms = 150;
    fake.key[1] = (struct behaviour){.result = SKIP_NO_SUCH_KEY, .status = 400};
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "192.0.2.1:1");
}

static void all_silent_hedged(void **state)
{
    uint64_t start = clock_ms();
    (void)state;
    conf.hedge_ms = 30;
    conf.timeout_ms = 250;
    for (size_t i = 0; i < SERVERS; i++)
        fake.capabilities[i].delay_ms = NEVER;
    assert_int_equal(get("00ff", "Bob"), SKIP_UNREACHABLE);
    assert_in_range(clock_ms() - start, 245, 350);
    assert_string_equal(fake.log, "0c 1c 2c ");
    assert_counts(SKIP_REQUEST_CAPABILITIES, 3, 0, 3);
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 1, 0, 1);
}

static void comes_back(void **state)
{
    struct skip_server_status status;
    (void)state;
    conf.n_servers = 2;
    fake.key[0].result = SKIP_UNREACHABLE;
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    fake.key[0].result = SKIP_OK;
    skip_profile_status(profile, 0, &status);
    usleep((useconds_t)(status.aside_ms + 5) * 1000);
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    assert_string_equal(last_server, "192.0.2.1:1");
    skip_profile_status(profile, 0, &status);
    assert_int_equal(status.failures, 0);
    assert_int_equal(status.aside_ms, 0);
}

static unsigned lines_of(const char *path, const char *what)
{
    char line[512];
    unsigned n = 0;
    log_flush();
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        n += strstr(line, what) != NULL;
    fclose(f);
    return n;
}

static void fail_once_more(const char *text)
{
    struct skip_server_status status;
    fake.key[0] = (struct behaviour){.result = text ? SKIP_UNREACHABLE : SKIP_OK, .text = text};
    skip_profile_status(profile, 0, &status);
    usleep((useconds_t)(status.aside_ms + 5) * 1000);
    for (int i = 0; i < 2; i++) /* the second time as the last resort */
        assert_int_equal(get(NULL, "Bob"), text ? SKIP_UNREACHABLE : SKIP_OK);
}

/* Of a server's state each change is told, and each other reason, but not each failure. */
static void changes_are_told(void **state)
{
    char path[] = "/tmp/ppk-test-XXXXXX", sink[64];
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    close(fd);
    snprintf(sink, sizeof sink, "file=%s:notice", path);
    log_open("test", sink);
    conf.n_servers = 1;
    fail_once_more("no answer after 7 ms");
    fail_once_more("no answer after 13 ms");
    assert_int_equal(lines_of(path, "qkd"), 1);
    assert_int_equal(lines_of(path, "192.0.2.1:1: no answer after 7 ms; set aside"), 1);
    fail_once_more("its certificate has expired");
    assert_int_equal(lines_of(path, "qkd"), 2);
    assert_int_equal(lines_of(path, "its certificate has expired; still set aside"), 1);
    fail_once_more(NULL);
    assert_int_equal(lines_of(path, "qkd"), 3);
    assert_int_equal(lines_of(path, "answers again"), 1);
    log_open("test", "none");
    unlink(path);
}

static void asks_to_be_left_alone(void **state)
{
    struct skip_server_status status;
    (void)state;
    fake.key[0] = (struct behaviour){.result = SKIP_UNREACHABLE, .status = 429, .retry_after_s = 7};
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    skip_profile_status(profile, 0, &status);
    assert_in_range(status.aside_ms, 6000, 7000);
}

static void capabilities_are_held_against(void **state)
{
    (void)state;
    fake.remotes[0] = "Bob[12]";
    fake.remotes[1] = "Carol";
    assert_int_equal(get(NULL, "Bob1"), SKIP_OK);
    assert_int_equal(get(NULL, "Bob3"), SKIP_REFUSED);
    assert_non_null(
        strstr(fault.text,
               "192.0.2.1:1: remote system \"Bob3\" is not among those that it serves (Bob[12], Carol)"));
    assert_string_equal(fake.log, "0c 0k ");
    assert_int_equal(get(NULL, NULL), SKIP_REFUSED);
    assert_non_null(strstr(fault.text, "remote-system-id is not configured"));
    assert_counts(SKIP_REQUEST_KEY, 3, 1, 2);
    conf.local_system_id = (char *)"Eve";
    assert_int_equal(get(NULL, "Carol"), SKIP_REFUSED);
    conf.local_system_id = (char *)"Alice";
    assert_int_equal(get(NULL, "Carol"), SKIP_OK);
}

static void only_remote_is_taken(void **state)
{
    struct skip_key key;
    struct secret_view view;
    (void)state;
    fake.remotes[0] = "Bob";
    assert_int_equal(skip_key_new(profile, NULL, 0, clock_ms() + 1000, &key, &fault), SKIP_OK);
    /* The made-up key is the name of the remote system. */
    assert_true(secret_open(key.value, &view));
    assert_int_equal(view.len, 3);
    assert_memory_equal(view.data, "Bob", 3);
    secret_close(&view);
    skip_key_clear(&key);
}

static void capabilities_absent(void **state)
{
    (void)state;
    fake.capabilities[0] = (struct behaviour){.result = SKIP_REFUSED, .status = 404};
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    assert_int_equal(get(NULL, "Carol"), SKIP_OK);
    assert_string_equal(fake.log, "0c 0k 0k ");
    assert_int_equal(get(NULL, NULL), SKIP_REFUSED);
    assert_non_null(strstr(fault.text, "does not tell its capabilities"));
}

static void capabilities_denied(void **state)
{
    (void)state;
    fake.capabilities[0] = (struct behaviour){.result = SKIP_REFUSED, .status = 403};
    assert_int_equal(get(NULL, "Bob"), SKIP_REFUSED);
    assert_string_equal(fake.log, "0c ");
    assert_counts(SKIP_REQUEST_KEY, 1, 0, 1);
}

static void capabilities_got(void **state)
{
    struct skip_capabilities *c;
    (void)state;
    assert_int_equal(skip_capabilities_get(profile, 2, NULL, clock_ms() + 1000, &c, &fault), SKIP_OK);
    assert_string_equal(c->server, "kme:3");
    assert_string_equal(c->local_system_id, "Alice");
    skip_capabilities_free(c);
    fake.capabilities[1].result = SKIP_UNREACHABLE;
    assert_int_equal(skip_capabilities_get(profile, 1, NULL, clock_ms() + 1000, &c, &fault),
                     SKIP_UNREACHABLE);
    assert_null(c);
    assert_non_null(strstr(fault.text, "[2001:db8::2]:2: made up"));
    assert_string_equal(fake.log, "2c 1c ");
}

static void sealed_psk(void **state)
{
    (void)state;
    conf.psk_id = (char *)"alice";
    conf.psk.sealed = (char *)"AQAA";
    assert_int_equal(get(NULL, "Bob"), SKIP_REFUSED);
    assert_non_null(strstr(fault.text, "log in first"));
    assert_string_equal(fake.log, "");
    assert_counts(SKIP_REQUEST_KEY, 1, 0, 1);
}

static void entropy(void **state)
{
    struct secret *s = NULL;
    (void)state;
    assert_int_equal(skip_entropy(profile, 256, clock_ms() + 1000, &s, &fault), SKIP_OK);
    assert_non_null(s);
    secret_free(s);
    fake.key[0].result = fake.key[1].result = fake.key[2].result = SKIP_UNREACHABLE;
    assert_int_equal(skip_entropy(profile, 256, clock_ms() + 1000, &s, &fault), SKIP_UNREACHABLE);
    assert_null(s);
    assert_counts(SKIP_REQUEST_ENTROPY, 4, 1, 3);
}

static void *one_get(void *context)
{
    struct skip_key key;
    struct fault own;
    char id[16];
    snprintf(id, sizeof id, "%04zx", (size_t)(uintptr_t)context);
    enum skip_result result = skip_key_by_id(profile, id, "Bob", clock_ms() + 5000, &key, &own);
    skip_key_clear(&key);
    return (void *)(uintptr_t)result;
}

static void join_all(const pthread_t *threads, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_int_equal((uintptr_t)result, SKIP_OK);
    }
}

/* Of many at once, one asks for the capabilities, and no more than SKIP_WIRES_MAX are under way. */
static void many_at_once(void **state)
{
    pthread_t threads[96];
    (void)state;
    conf.timeout_ms = 5000;
    fake.capabilities[0].delay_ms = 30;
    fake.key[0].delay_ms = 10;
    for (size_t i = 0; i < 96; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, one_get, (void *)(uintptr_t)i), 0);
    join_all(threads, 96);
    assert_in_range(fake.wires, 1, SKIP_WIRES_MAX);
    assert_counts(SKIP_REQUEST_CAPABILITIES, 1, 1, 0);
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 96, 96, 0);
}

static unsigned lookups_logged(void)
{
    unsigned n = 0;
    pthread_mutex_lock(&fake.lock);
    for (const char *at = fake.log; (at = strstr(at, "0i ")); at += 3)
        n++;
    pthread_mutex_unlock(&fake.lock);
    return n;
}

/* However many keys are asked for by their ID, and however slowly that goes: who wants a new key gets it. */
static void lookups_leave_room(void **state)
{
    pthread_t threads[96];
    (void)state;
    conf.timeout_ms = 10000;
    conf.n_servers = 1;
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    fake.key[0].delay_ms = 1000;
    for (size_t i = 0; i < 96; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, one_get, (void *)(uintptr_t)i), 0);
    while (lookups_logged() < SKS_LOOKUPS)
        usleep(1000);
    pthread_mutex_lock(&fake.lock);
    fake.key[0].delay_ms = 0;
    pthread_mutex_unlock(&fake.lock);
    uint64_t start = clock_ms();
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    assert_in_range(clock_ms() - start, 0, 500);
    assert_int_equal(lookups_logged(), SKS_LOOKUPS);
    join_all(threads, 96);
}

/* Servers come and go meanwhile; every request finds one that is well. */
static void many_over_flapping(void **state)
{
    pthread_t threads[32];
    (void)state;
    conf.timeout_ms = 5000;
    conf.hedge_ms = 20;
    for (unsigned round = 0; round < 10; round++) {
        pthread_mutex_lock(&fake.lock);
        for (size_t i = 0; i < SERVERS; i++) {
            fake.key[i].result = round % SERVERS == i ? SKIP_UNREACHABLE : SKIP_OK;
            fake.key[i].delay_ms = (round + 1) % SERVERS == i ? NEVER : 1;
        }
        pthread_mutex_unlock(&fake.lock);
        for (size_t i = 0; i < 32; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, one_get, (void *)(uintptr_t)i), 0);
        join_all(threads, 32);
    }
    struct skip_counts c;
    skip_profile_counts(profile, &c);
    assert_int_equal(c.passed[SKIP_REQUEST_KEY_BY_ID], 320);
    for (size_t i = 0; i < SKIP_REQUESTS; i++)
        assert_int_equal(c.total[i], c.passed[i] + c.failed[i]);
}

static void *interrupt_soon(void *context)
{
    (void)context;
    usleep(50000);
    skip_profile_interrupt(profile);
    return NULL;
}

static void interrupted(void **state)
{
    pthread_t interrupter, threads[8];
    uint64_t start = clock_ms();
    (void)state;
    conf.timeout_ms = 10000;
    fake.capabilities[0].delay_ms = NEVER;
    assert_int_equal(pthread_create(&interrupter, NULL, interrupt_soon, NULL), 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, one_get, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < 8; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_int_equal((uintptr_t)result, SKIP_UNREACHABLE);
    }
    pthread_join(interrupter, NULL);
    assert_in_range(clock_ms() - start, 40, 1000);
    assert_int_equal(get(NULL, "Bob"), SKIP_UNREACHABLE);
    assert_non_null(strstr(fault.text, "interrupted"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(first_server_is_asked),
        TEST(broken_fails_over),
        TEST(all_broken),
        TEST(words_are_final),
        TEST(lost_key),
        TEST(not_lost_key),
        TEST(time_is_shared),
        TEST(time_is_bounded),
        TEST(silent_is_hedged),
        TEST(slow_may_win),
        TEST(a_late_one_is_not_blamed),
        TEST(hedged_no),
        TEST(all_silent_hedged),
        TEST(comes_back),
        TEST(changes_are_told),
        TEST(asks_to_be_left_alone),
        TEST(only_remote_is_taken),
        TEST(capabilities_are_held_against),
        TEST(capabilities_absent),
        TEST(capabilities_denied),
        TEST(capabilities_got),
        TEST(sealed_psk),
        TEST(entropy),
        TEST(many_at_once),
        TEST(lookups_leave_room),
        TEST(many_over_flapping),
        TEST(interrupted),
    };
    log_open("test", "none");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
