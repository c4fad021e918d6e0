/* SPDX-License-Identifier: BSD-2-Clause */
#include "skip/profile.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "skip/capabilities.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *server_name(const struct kme_server *s)
{
    struct text t = {0};
    bool ipv6 = s->kind == KME_IPV6;
    text_printf(&t, "%s%s%s:%u", ipv6 ? "[" : "", s->host, ipv6 ? "]" : "", (unsigned)s->port);
    if (t.failed)
        text_free(&t);
    return t.s;
}

struct skip_profile *skip_profile_new(const struct sks_profile *conf)
{
    pthread_condattr_t attributes;
    struct skip_profile *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->conf = conf;
    p->servers = calloc(conf->n_servers, sizeof p->servers[0]);
    p->counters = calloc(1, sizeof *p->counters);
    if (p->counters)
        atomic_init(&p->counters->refs, 1);
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    bool good = p->servers && p->counters;
    for (size_t i = 0; good && i < conf->n_servers; i++) {
        p->servers[i].name = server_name(&conf->servers[i]);
        good = p->servers[i].name != NULL;
    }
    if (!good) {
        skip_profile_free(p);
        return NULL;
    }
    return p;
}

static void counters_release(struct skip_counters *c)
{
    if (c && atomic_fetch_sub(&c->refs, 1) == 1)
        free(c);
}

void skip_profile_succeed(struct skip_profile *p, struct skip_profile *old, bool same_servers)
{
    atomic_fetch_add(&old->counters->refs, 1);
    counters_release(p->counters);
    p->counters = old->counters;
    pthread_mutex_lock(&old->lock);
    p->last_error = old->last_error;
    p->last_error_at = old->last_error_at;
    for (size_t i = 0; same_servers && i < p->conf->n_servers; i++) {
        struct skip_server *to = &p->servers[i], *from = &old->servers[i];
        char *name = to->name;
        *to = *from;
        to->name = name;
        to->probed = to->capabilities_asked = false; /* those requests are the old one's */
        from->capabilities = NULL;
    }
    if (same_servers) {
        p->transport = old->transport;
        p->n_idle = old->n_idle;
        memcpy(p->idle, old->idle, sizeof p->idle);
        old->n_idle = 0;
    }
    pthread_mutex_unlock(&old->lock);
    for (size_t i = 0; i < p->n_idle; i++)
        p->transport->wire_rebind(p->idle[i].wire, p->conf);
}

void skip_profile_free(struct skip_profile *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_idle; i++)
        p->transport->wire_free(p->idle[i].wire);
    for (size_t i = 0; p->servers && i < p->conf->n_servers; i++) {
        free(p->servers[i].name);
        skip_capabilities_free(p->servers[i].capabilities);
    }
    free(p->servers);
    counters_release(p->counters);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

const struct sks_profile *skip_profile_conf(const struct skip_profile *p)
{
    return p->conf;
}

void skip_key_clear(struct skip_key *k)
{
    secret_free(k->value);
    free(k->key_id);
    memset(k, 0, sizeof *k);
}

void skip_answer_clear(struct skip_answer *a)
{
    secret_free(a->value);
    free(a->key_id);
    skip_capabilities_free(a->capabilities);
    memset(a, 0, sizeof *a);
}

/* ---- wires ---- */

bool skip_profile_wait_locked(struct skip_profile *p, uint64_t until)
{
    struct timespec t = {(time_t)(until / 1000), (long)(until % 1000) * 1000000};
    if (p->interrupted || clock_left_ms(until) == 0)
        return false;
    pthread_cond_timedwait(&p->changed, &p->lock, &t);
    return !p->interrupted;
}

/* Lookups leave some wires to new keys. */
static bool wire_is_due_locked(const struct skip_profile *p, bool lookup)
{
    return p->n_busy < SKIP_WIRES_MAX && !(lookup && p->n_lookups >= p->conf->lookups);
}

struct skip_wire *skip_profile_wire_take(struct skip_profile *p, enum skip_request request, uint64_t deadline,
                                         enum skip_result *result, struct fault *fault)
{
    const bool lookup = request == SKIP_REQUEST_KEY_BY_ID;
    struct skip_wire *wire = NULL;
    const struct skip_transport *transport = skip_loader_transport(fault);
    if (!transport) {
        *result = SKIP_NO_TRANSPORT;
        return NULL;
    }
    *result = SKIP_UNREACHABLE;
    pthread_mutex_lock(&p->lock);
    if (p->transport != transport)
        p->transport = transport;
    while (!wire_is_due_locked(p, lookup) && skip_profile_wait_locked(p, deadline))
        ;
    if (p->interrupted) {
        fault_set(fault, "interrupted");
    } else if (!wire_is_due_locked(p, lookup)) {
        fault_set(fault, "%zu requests are under way already", lookup ? p->n_lookups : p->n_busy);
    } else {
        /* A place among the busy ones first, the wire then, so that the lock is not held while one is made.
         */
        size_t place = p->n_busy++;
        if (p->n_idle > 0)
            wire = p->idle[--p->n_idle].wire;
        p->busy[place] = wire;
        p->n_lookups += lookup;
        if (!wire) {
            pthread_mutex_unlock(&p->lock);
            wire = transport->wire_new(p->conf);
            pthread_mutex_lock(&p->lock);
            /* The places may have moved; one that is still empty is as good as the other. */
            for (place = 0; place < p->n_busy && p->busy[place]; place++)
                ;
            p->busy[place] = wire;
            if (wire && p->interrupted)
                transport->wire_wake(wire);
            if (!wire) {
                p->busy[place] = p->busy[--p->n_busy];
                p->n_lookups -= lookup;
                pthread_cond_broadcast(&p->changed);
                *result = SKIP_NO_MEMORY;
                fault_set(fault, "no memory for a connection");
            }
        }
    }
    pthread_mutex_unlock(&p->lock);
    return wire;
}

void skip_profile_wire_give(struct skip_profile *p, enum skip_request request, struct skip_wire *wire)
{
    struct skip_wire *old = NULL;
    uint64_t now = clock_ms();
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n_busy; i++) {
        if (p->busy[i] == wire) {
            p->busy[i] = p->busy[--p->n_busy];
            p->n_lookups -= request == SKIP_REQUEST_KEY_BY_ID;
            break;
        }
    }
    if (p->n_idle > 0 && (p->n_idle == SKIP_WIRES_MAX || now - p->idle[0].since > SKIP_WIRE_IDLE_MS)) {
        old = p->idle[0].wire;
        memmove(&p->idle[0], &p->idle[1], --p->n_idle * sizeof p->idle[0]);
    }
    p->idle[p->n_idle].wire = wire;
    p->idle[p->n_idle++].since = now;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (old)
        p->transport->wire_free(old);
}

void skip_profile_interrupt(struct skip_profile *p)
{
    pthread_mutex_lock(&p->lock);
    p->interrupted = true;
    for (size_t i = 0; i < p->n_busy; i++) {
        if (p->busy[i])
            p->transport->wire_wake(p->busy[i]);
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

bool skip_profile_interrupted(struct skip_profile *p)
{
    pthread_mutex_lock(&p->lock);
    bool interrupted = p->interrupted;
    pthread_mutex_unlock(&p->lock);
    return interrupted;
}

/* ---- servers ---- */

/* How long a server is left alone after its n-th failure in a row: doubled each time, give or take a quarter,
 * so that many tokens do not come back to it at the same moment. */
static uint64_t aside_ms(unsigned failures)
{
    uint64_t ms = failures > 8 ? SKIP_ASIDE_MAX_MS : (uint64_t)SKIP_ASIDE_MIN_MS << (failures - 1);
    uint16_t jitter = 0;
    if (ms > SKIP_ASIDE_MAX_MS)
        ms = SKIP_ASIDE_MAX_MS;
    if (!crypto_random(&jitter, sizeof jitter))
        jitter = 0x8000;
    return ms * 3 / 4 + ms / 2 * jitter / 0x10000;
}

/* Is it the same but for numbers (how long it took, which line of JSON)? */
static bool reason_same(const char *a, const char *b)
{
    static const char digits[] = "0123456789";
    for (;; a++, b++) {
        a += strspn(a, digits);
        b += strspn(b, digits);
        if (*a != *b)
            return false;
        if (!*a)
            return true;
    }
}

void skip_server_failed(struct skip_profile *p, size_t i, const struct fault *reason, uint32_t retry_after_s)
{
    struct skip_server *s = &p->servers[i];
    bool news = false; /* of a server that is set aside already: tried again, it fails in another way */
    pthread_mutex_lock(&p->lock);
    bool first = s->failures == 0;
    uint64_t now = clock_ms();
    /* Requests that were under way at the same time fail together: that is one failure. */
    if (first || s->aside_until <= now) {
        news = !first && !reason_same(s->told.text, reason->text);
        uint64_t ms = aside_ms(++s->failures);
        if (ms < (uint64_t)retry_after_s * 1000)
            ms = (uint64_t)retry_after_s * 1000;
        s->aside_until = now + (ms < SKIP_ASIDE_MAX_MS ? ms : SKIP_ASIDE_MAX_MS);
    }
    if (first || news)
        s->told = *reason;
    s->probed = false;
    s->asked = true;
    s->reason = *reason;
    s->reason_at = (int64_t)time(NULL);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    log_write(first || news ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "sks profile %s: %s: %s%s", p->conf->name,
              s->name, reason->text,
              first  ? "; set aside"
              : news ? "; still set aside"
                     : "");
}

void skip_server_good(struct skip_profile *p, size_t i)
{
    struct skip_server *s = &p->servers[i];
    pthread_mutex_lock(&p->lock);
    bool again = s->failures > 0;
    s->failures = 0;
    s->probed = false;
    s->asked = true;
    if (again)
        pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (again)
        log_write(LOG_LEVEL_NOTICE, "sks profile %s: %s: answers again", p->conf->name, s->name);
}

void skip_profile_status(struct skip_profile *p, size_t i, struct skip_server_status *out)
{
    struct skip_server *s = &p->servers[i];
    pthread_mutex_lock(&p->lock);
    uint64_t left = s->failures ? clock_left_ms(s->aside_until) : 0;
    *out = (struct skip_server_status){.server = s->name,
                                       .failures = s->failures,
                                       .aside_ms = left,
                                       .reason = s->reason,
                                       .reason_at = s->reason_at,
                                       .asked = s->asked};
    pthread_mutex_unlock(&p->lock);
}

struct skip_capabilities *skip_profile_capabilities(struct skip_profile *p, size_t i)
{
    const struct skip_server *s = &p->servers[i];
    struct skip_capabilities *copy = NULL;
    pthread_mutex_lock(&p->lock);
    if (s->capabilities)
        copy = skip_capabilities_copy(s->capabilities);
    pthread_mutex_unlock(&p->lock);
    return copy;
}

void skip_profile_counts(const struct skip_profile *p, struct skip_counts *out)
{
    const struct skip_counters *c = p->counters;
    for (size_t i = 0; i < SKIP_REQUESTS; i++) {
        /* In this order, so that a request that ends meanwhile never makes the sum larger than the total. */
        for (size_t k = 0; k < HISTOGRAM_BUCKETS; k++)
            out->latency[i][k] = atomic_load(&c->latency[i][k]);
        out->latency_us[i] = atomic_load(&c->latency_us[i]);
        out->passed[i] = atomic_load(&c->passed[i]);
        out->failed[i] = atomic_load(&c->failed[i]);
        out->total[i] = atomic_load(&c->total[i]);
    }
}

void skip_profile_last_error(struct skip_profile *p, struct fault *reason, int64_t *at)
{
    pthread_mutex_lock(&p->lock);
    *reason = p->last_error;
    *at = p->last_error_at;
    pthread_mutex_unlock(&p->lock);
}

/* ---- requests ---- */

static enum skip_result key_request(struct skip_profile *p, const struct skip_call *call, uint64_t deadline,
                                    struct skip_key *out, struct fault *fault)
{
    struct skip_answer answer;
    size_t server = 0;
    memset(out, 0, sizeof *out);
    enum skip_result result = skip_call_run(p, call, SIZE_MAX, deadline, &answer, &server, fault);
    if (result == SKIP_OK) {
        out->value = answer.value;
        out->key_id = answer.key_id;
        out->server = p->servers[server].name;
    }
    return result;
}

enum skip_result skip_key_new(struct skip_profile *p, const char *remote, uint32_t size, uint64_t deadline,
                              struct skip_key *out, struct fault *fault)
{
    const struct skip_call call = {
        .request = SKIP_REQUEST_KEY, .remote = remote, .size = size ? size : p->conf->key_size};
    return key_request(p, &call, deadline, out, fault);
}

enum skip_result skip_key_by_id(struct skip_profile *p, const char *key_id, const char *remote,
                                uint64_t deadline, struct skip_key *out, struct fault *fault)
{
    const struct skip_call call = {.request = SKIP_REQUEST_KEY_BY_ID, .remote = remote, .key_id = key_id};
    return key_request(p, &call, deadline, out, fault);
}

enum skip_result skip_entropy(struct skip_profile *p, uint32_t bits, uint64_t deadline, struct secret **out,
                              struct fault *fault)
{
    const struct skip_call call = {.request = SKIP_REQUEST_ENTROPY, .size = bits};
    struct skip_answer answer;
    size_t server = 0;
    enum skip_result result = skip_call_run(p, &call, SIZE_MAX, deadline, &answer, &server, fault);
    *out = result == SKIP_OK ? answer.value : NULL;
    return result;
}

enum skip_result skip_capabilities_get(struct skip_profile *p, size_t i, const char *remote,
                                       uint64_t deadline, struct skip_capabilities **out, struct fault *fault)
{
    const struct skip_call call = {.request = SKIP_REQUEST_CAPABILITIES, .remote = remote};
    struct skip_answer answer;
    size_t server = 0;
    enum skip_result result = skip_call_run(p, &call, i, deadline, &answer, &server, fault);
    *out = NULL;
    if (result == SKIP_OK) {
        *out = answer.capabilities;
        (*out)->server = p->servers[server].name;
    }
    return result;
}

void skip_shutdown(void)
{
    /* Wires went with their profiles. What is left is libcurl's initialization, which cannot be undone while
     * the host may use the same libcurl, and the shared object, which stays mapped (-z nodelete) for threads
     * that may still be in it. */
}

void skip_after_fork(void)
{
    const struct skip_transport *transport = skip_loader_loaded();
    skip_loader_after_fork();
    if (transport)
        transport->after_fork();
}
