/* SPDX-License-Identifier: BSD-2-Clause */
#include "made_up.h"

#include <time.h>

struct fake fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

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

static bool fake_start(const struct skip_host *host, struct fault *why)
{
    (void)host, (void)why;
    return true;
}

static struct skip_wire *fake_new(const struct sks_profile *of)
{
    pthread_condattr_t attributes;
    struct skip_wire *w = calloc(1, sizeof *w);
    (void)of;
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

/* ---- the profile ---- */

static struct kme_server servers[SERVERS] = {{KME_IPV4, (char *)"192.0.2.1", 1},
                                             {KME_IPV6, (char *)"2001:db8::2", 2},
                                             {KME_HOSTNAME, (char *)"kme", 3}};
struct sks_profile conf;
struct skip_profile *profile;
struct fault fault;
const char *last_server;

int setup(void **state)
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

int teardown(void **state)
{
    (void)state;
    conf.n_servers = SERVERS; /* some tests ask fewer of them */
    skip_profile_free(profile);
    skip_loader_use(NULL);
    return fake.live ? -1 : 0;
}

enum skip_result get(const char *key_id, const char *remote)
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

void assert_counts(enum skip_request r, uint64_t total, uint64_t passed, uint64_t failed)
{
    struct skip_counts c;
    skip_profile_counts(profile, &c);
    assert_int_equal(c.total[r], total);
    assert_int_equal(c.passed[r], passed);
    assert_int_equal(c.failed[r], failed);
}
