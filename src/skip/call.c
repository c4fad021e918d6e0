/* SPDX-License-Identifier: BSD-2-Clause */
/* One request of a profile, over as many of its servers as it takes. Each server is asked once at most: first
 * for its capabilities, where they are not known, then for what is wanted. The next one is asked when one is
 * busy or broken, or silent for longer than the profile's hedge delay; what a server says of the request
 * itself (no such key, refused) is final. */
#include "base/clock.h"
#include "base/log.h"
#include "skip/capabilities.h"
#include "skip/profile.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHARE_MIN_MS 50u /* the least time that a server gets when several share what is left */

enum stage { STAGE_NONE, STAGE_CAPABILITIES, STAGE_REQUEST, STAGE_OVER };

/* What is under way with one server. */
struct attempt {
    enum stage stage;
    struct skip_call call;
    char *remote; /* the key source's only remote system, where none was named */
    uint64_t began, bound;
    uint64_t sent_us; /* when the last request went out, on clock_us() */
    bool capabilities_tried;
    bool probing; /* others leave this server alone meanwhile */
};

struct course {
    struct skip_profile *profile;
    const struct skip_transport *transport;
    struct skip_wire *wire;
    const struct skip_call *wanted;
    size_t only; /* server, or SIZE_MAX */
    uint64_t deadline;
    struct attempt *attempts; /* one per server */
    size_t running;
    bool asked;               /* what is wanted went to a server at least once */
    bool lost;                /* a server may have given away the key that was asked for by its ID */
    enum skip_result verdict; /* SKIP_OK as long as there is none */
    struct text reasons;
};

static void count(struct course *c, enum skip_request request, bool good)
{
    struct skip_counters *counters = c->profile->counters;
    atomic_fetch_add(good ? &counters->passed[request] : &counters->failed[request], 1);
}

static void count_latency(struct course *c, enum skip_request request, uint64_t sent_us)
{
    struct skip_counters *counters = c->profile->counters;
    uint64_t us = clock_us() - sent_us;
    atomic_fetch_add(&counters->latency_us[request], us);
    atomic_fetch_add(&counters->latency[request][histogram_bucket(us)], 1);
}

static void reason_add(struct course *c, size_t i, const struct fault *fault)
{
    text_printf(&c->reasons, "%s%s: %s", c->reasons.len ? "; " : "", c->profile->servers[i].name,
                fault->text);
}

/* ---- capabilities ---- */

enum permission { PERMISSION_GIVEN, PERMISSION_ASK, PERMISSION_DENIED, PERMISSION_WAIT };

/* May the server be asked for what is wanted, by what is known of it? With the lock held. */
static enum permission permission_locked(struct course *c, size_t i, struct fault *fault)
{
    const struct skip_server *s = &c->profile->servers[i];
    struct attempt *a = &c->attempts[i];
    bool known = s->capabilities || s->capabilities_absent;
    uint64_t age = clock_ms() - s->capabilities_at;
    if (!known && s->capabilities_asked)
        return PERMISSION_WAIT;
    if (!a->capabilities_tried && (!known || (age > SKIP_CAPS_FRESH_MS && !s->capabilities_asked)))
        return PERMISSION_ASK;
    if (!s->capabilities) {
        if (c->wanted->request == SKIP_REQUEST_ENTROPY || c->wanted->remote)
            return PERMISSION_GIVEN;
        fault_set(fault,
                  "remote-system-id is not configured, and the key source does not tell its capabilities");
        return PERMISSION_DENIED;
    }
    struct skip_call call = *c->wanted;
    bool allowed = true;
    if (call.request != SKIP_REQUEST_ENTROPY && !call.remote) {
        call.remote = skip_capabilities_only_remote(s->capabilities, fault);
        allowed = call.remote != NULL;
    }
    allowed =
        allowed && skip_capabilities_allow(s->capabilities, &call, c->profile->conf->local_system_id, fault);
    if (!allowed)
        return a->capabilities_tried || age < SKIP_CAPS_AGAIN_MS ? PERMISSION_DENIED : PERMISSION_ASK;
    if (call.remote && !c->wanted->remote) {
        free(a->remote);
        a->remote = strdup(call.remote);
        if (!a->remote) {
            fault_set(fault, "no memory");
            return PERMISSION_DENIED;
        }
    }
    return PERMISSION_GIVEN;
}

/* The same, waiting if another thread is asking for the capabilities, unless something else of ours is under
 * way meanwhile. */
static enum permission permission(struct course *c, size_t i, struct fault *fault)
{
    struct skip_profile *p = c->profile;
    struct skip_server *s = &p->servers[i];
    struct attempt *a = &c->attempts[i];
    uint64_t until = p->conf->hedge_ms ? a->began + p->conf->hedge_ms : a->bound;
    if (c->wanted->request == SKIP_REQUEST_CAPABILITIES)
        return PERMISSION_GIVEN;
    pthread_mutex_lock(&p->lock);
    unsigned failures = s->failures;
    enum permission result = permission_locked(c, i, fault);
    while (result == PERMISSION_WAIT) {
        if (c->running > 0 || !skip_profile_wait_locked(p, until < c->deadline ? until : c->deadline)) {
            result = PERMISSION_ASK;
        } else if (s->failures > failures) {
            *fault = s->reason; /* who asked was not answered */
            result = PERMISSION_WAIT;
            break;
        } else {
            result = permission_locked(c, i, fault);
        }
    }
    if (result == PERMISSION_ASK)
        s->capabilities_asked = true;
    pthread_mutex_unlock(&p->lock);
    return result;
}

static void capabilities_end(struct course *c, size_t i)
{
    struct skip_profile *p = c->profile;
    pthread_mutex_lock(&p->lock);
    p->servers[i].capabilities_asked = false;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* Keeps what the server said of its capabilities; NULL: that it has none to tell. */
static void capabilities_keep(struct course *c, size_t i, struct skip_capabilities *capabilities)
{
    struct skip_profile *p = c->profile;
    struct skip_server *s = &p->servers[i];
    pthread_mutex_lock(&p->lock);
    struct skip_capabilities *old = s->capabilities;
    bool news = !capabilities && !s->capabilities_absent;
    s->capabilities = capabilities;
    s->capabilities_absent = !capabilities;
    s->capabilities_at = clock_ms();
    pthread_mutex_unlock(&p->lock);
    skip_capabilities_free(old);
    if (news)
        log_write(LOG_LEVEL_WARNING,
                  "sks profile %s: %s: does not tell its capabilities: system IDs are not checked",
                  p->conf->name, s->name);
}

/* ---- attempts ---- */

static void attempt_fail(struct course *c, size_t i, const struct fault *fault, uint32_t retry_after_s)
{
    c->attempts[i].stage = STAGE_OVER;
    reason_add(c, i, fault);
    skip_server_failed(c->profile, i, fault, retry_after_s);
}

static void attempt_verdict(struct course *c, size_t i, enum skip_result verdict, const struct fault *fault)
{
    c->attempts[i].stage = STAGE_OVER;
    c->verdict = verdict;
    reason_add(c, i, fault);
}

/* Takes the next step with a server: capabilities, or what is wanted. */
static void attempt_advance(struct course *c, size_t i)
{
    struct attempt *a = &c->attempts[i];
    struct skip_answer answer;
    struct fault fault = {""};
    switch (permission(c, i, &fault)) {
    case PERMISSION_GIVEN:
        a->call = *c->wanted;
        if (!a->call.remote)
            a->call.remote = a->remote;
        a->stage = STAGE_REQUEST;
        c->asked = true;
        break;
    case PERMISSION_ASK:
        a->call = (struct skip_call){.request = SKIP_REQUEST_CAPABILITIES, .remote = c->wanted->remote};
        a->stage = STAGE_CAPABILITIES;
        a->capabilities_tried = true;
        break;
    case PERMISSION_DENIED:
        skip_server_good(c->profile, i);
        attempt_verdict(c, i, SKIP_REFUSED, &fault);
        return;
    case PERMISSION_WAIT:
        a->stage = STAGE_OVER;
        reason_add(c, i, &fault);
        return;
    }
    atomic_fetch_add(&c->profile->counters->total[a->call.request], 1);
    a->sent_us = clock_us();
    if (c->transport->wire_ask(c->wire, i, &a->call, a->bound, &answer)) {
        c->running++;
        return;
    }
    count(c, a->call.request, false);
    if (a->stage == STAGE_CAPABILITIES)
        capabilities_end(c, i);
    if (answer.result == SKIP_NO_MEMORY)
        attempt_verdict(c, i, SKIP_NO_MEMORY, &answer.fault);
    else
        attempt_fail(c, i, &answer.fault, 0);
}

/* The server to be asked next: in the order of the configuration those that are well or whose time aside is
 * over; if there is none and what is under way is `silent` (or nothing), the one whose time is over first,
 * since a tunnel that cannot come up has nothing to lose. */
static bool server_choose(struct course *c, bool silent, size_t *out)
{
    struct skip_profile *p = c->profile;
    uint64_t now = clock_ms();
    size_t last_resort = SIZE_MAX, choice = SIZE_MAX;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; choice == SIZE_MAX && i < p->conf->n_servers; i++) {
        const struct skip_server *s = &p->servers[i];
        if (c->attempts[i].stage != STAGE_NONE || (c->only != SIZE_MAX && c->only != i))
            continue;
        if (s->failures == 0 || (s->aside_until <= now && !s->probed))
            choice = i;
        else if (last_resort == SIZE_MAX || s->aside_until < p->servers[last_resort].aside_until)
            last_resort = i;
    }
    if (choice == SIZE_MAX && silent)
        choice = last_resort;
    if (choice != SIZE_MAX && p->servers[choice].failures > 0)
        p->servers[choice].probed = c->attempts[choice].probing = true;
    pthread_mutex_unlock(&p->lock);
    *out = choice;
    return choice != SIZE_MAX;
}

/* Until when a server may take its time: without hedging, the servers that could be asked share what is left.
 */
static uint64_t attempt_bound(const struct course *c, uint64_t now)
{
    size_t left = 0;
    if (c->profile->conf->hedge_ms || c->only != SIZE_MAX)
        return c->deadline;
    for (size_t i = 0; i < c->profile->conf->n_servers; i++)
        left += c->attempts[i].stage == STAGE_NONE;
    uint64_t share = clock_left_ms(c->deadline) / (left ? left : 1);
    uint64_t bound = now + (share < SHARE_MIN_MS ? SHARE_MIN_MS : share);
    return bound < c->deadline ? bound : c->deadline;
}

/* An answer came. True: it is what was wanted. */
static bool answer_take(struct course *c, size_t i, struct skip_answer *answer)
{
    struct attempt *a = &c->attempts[i];
    bool capabilities = a->call.request == SKIP_REQUEST_CAPABILITIES, step = a->stage == STAGE_CAPABILITIES;
    bool denied = answer->status == 401 || answer->status == 403;
    c->running--;
    count(c, a->call.request, answer->result == SKIP_OK);
    if (answer->result == SKIP_OK)
        count_latency(c, a->call.request, a->sent_us);
    if (answer->result == SKIP_OK || answer->result == SKIP_REFUSED || answer->result == SKIP_NO_SUCH_KEY)
        skip_server_good(c->profile, i);
    if (capabilities && answer->result == SKIP_OK) {
        struct skip_capabilities *kept =
            step ? answer->capabilities : skip_capabilities_copy(answer->capabilities);
        if (kept)
            capabilities_keep(c, i, kept);
    } else if (step && answer->result == SKIP_REFUSED && !denied) {
        capabilities_keep(c, i, NULL);
    }
    if (step)
        capabilities_end(c, i);

    if (!step && answer->result == SKIP_OK)
        return true;
    if (step && (answer->result == SKIP_OK || (answer->result == SKIP_REFUSED && !denied)))
        attempt_advance(c, i);
    else if (answer->result == SKIP_UNREACHABLE)
        attempt_fail(c, i, &answer->fault, answer->retry_after_s);
    else
        attempt_verdict(c, i, answer->result, &answer->fault);
    if (answer->result == SKIP_UNREACHABLE && answer->processed && a->call.request == SKIP_REQUEST_KEY_BY_ID)
        c->lost = true;
    return false;
}

/* Gives up what is still under way: it lost against a faster server, or the time is over. Who has had less
 * than the hedge delay is not the worse for it. */
static void course_drop(struct course *c, bool interrupted)
{
    uint32_t hedge_ms = c->profile->conf->hedge_ms;
    for (size_t i = 0; i < c->profile->conf->n_servers; i++) {
        struct attempt *a = &c->attempts[i];
        if (a->stage == STAGE_CAPABILITIES || a->stage == STAGE_REQUEST) {
            bool processed = c->transport->wire_drop(c->wire, i);
            uint64_t took = clock_ms() - a->began;
            struct fault fault;
            count(c, a->call.request, false);
            if (a->stage == STAGE_CAPABILITIES)
                capabilities_end(c, i);
            if (processed && a->call.request == SKIP_REQUEST_KEY_BY_ID)
                c->lost = true;
            fault_set(&fault, "no answer after %llu ms", (unsigned long long)took);
            if (!interrupted && took >= hedge_ms)
                attempt_fail(c, i, &fault, 0);
            else if (!interrupted)
                reason_add(c, i, &fault);
            a->stage = STAGE_OVER;
        }
        if (a->probing) {
            pthread_mutex_lock(&c->profile->lock);
            c->profile->servers[i].probed = false;
            pthread_mutex_unlock(&c->profile->lock);
        }
        free(a->remote);
    }
}

/* Asks servers until one gives what is wanted, all have been asked, one's word is final, or the time is over.
 * True: `out` is the answer. */
static bool course_run(struct course *c, struct skip_answer *out, size_t *server)
{
    uint32_t hedge_ms = c->profile->conf->hedge_ms;
    uint64_t silent_at = 0; /* when what is under way has been silent for too long */
    bool failed = false;    /* one has just turned out to be busy or broken */
    for (;;) {
        uint64_t now = clock_ms();
        size_t i = 0;
        bool silent = c->running == 0 || (hedge_ms && now >= silent_at);
        bool due = (silent || failed) && c->verdict == SKIP_OK && now < c->deadline;
        failed = false;
        if (due && server_choose(c, silent, &i)) {
            c->attempts[i].began = now;
            c->attempts[i].bound = attempt_bound(c, now);
            attempt_advance(c, i);
            silent_at = clock_ms() + hedge_ms;
            continue;
        }
        if (c->running == 0 || now >= c->deadline)
            return false;
        bool hedging = hedge_ms && c->verdict == SKIP_OK && silent_at > now && silent_at < c->deadline;
        if (c->transport->wire_wait(c->wire, hedging ? silent_at : c->deadline, &i, out)) {
            bool good = answer_take(c, i, out);
            failed = c->attempts[i].stage == STAGE_OVER;
            if (good) {
                c->attempts[i].stage = STAGE_OVER;
                *server = i;
                return true;
            }
            memset(out, 0, sizeof *out);
        } else if (skip_profile_interrupted(c->profile)) {
            return false;
        }
    }
}

/* What all the servers' words come to. */
static enum skip_result course_result(const struct course *c, bool good)
{
    if (good)
        return SKIP_OK;
    if (c->verdict == SKIP_OK)
        return SKIP_UNREACHABLE;
    /* Another server may have had it, and have given it away unheard. */
    if (c->verdict == SKIP_NO_SUCH_KEY && c->lost)
        return SKIP_UNREACHABLE;
    return c->verdict;
}

/* Is there such a request in what the profile's key source speaks? */
static bool dialect_allows(const struct sks_profile *conf, const struct skip_call *wanted,
                           struct fault *fault)
{
    bool entropy = wanted->request == SKIP_REQUEST_ENTROPY;
    if (conf->type != SKS_ETSI014 || (!entropy && wanted->remote))
        return true;
    fault_set(fault,
              entropy
                  ? "ETSI 014 gives no entropy"
                  : "remote-system-id is not configured, and ETSI 014 serves each remote system by its ID");
    return false;
}

enum skip_result skip_call_run(struct skip_profile *p, const struct skip_call *wanted, size_t only,
                               uint64_t deadline, struct skip_answer *out, size_t *server,
                               struct fault *fault)
{
    struct course c = {.profile = p, .wanted = wanted, .only = only};
    enum skip_result result = SKIP_UNREACHABLE;
    struct fault why = {""};
    uint64_t bound = clock_ms() + p->conf->timeout_ms;
    bool good = false, interrupted = false;
    memset(out, 0, sizeof *out);
    c.deadline = deadline < bound ? deadline : bound;
    if (!dialect_allows(p->conf, wanted, &why)) {
        result = SKIP_REFUSED;
        goto out;
    }
    if (p->conf->psk_id && !atomic_load_explicit(&p->conf->psk.value, memory_order_acquire)) {
        fault_set(&why, "log in first: the TLS PSK is a Type 6 secret, and the master key is not known yet");
        result = SKIP_REFUSED;
        goto out;
    }
    c.attempts = calloc(p->conf->n_servers, sizeof c.attempts[0]);
    if (!c.attempts) {
        fault_set(&why, "no memory");
        result = SKIP_NO_MEMORY;
        goto out;
    }
    c.wire = skip_profile_wire_take(p, wanted->request, c.deadline, &result, &why);
    if (!c.wire)
        goto out;
    c.transport = p->transport;
    good = course_run(&c, out, server);
    interrupted = skip_profile_interrupted(p);
    course_drop(&c, interrupted);
    skip_profile_wire_give(p, wanted->request, c.wire);
    result = course_result(&c, good);
    fault_set(&why, "%s",
              c.reasons.len ? c.reasons.s
              : interrupted ? "interrupted"
                            : "no server could be asked in time");
out:
    if (result != SKIP_OK) {
        fault_set(fault, "sks profile %s: %s", p->conf->name, why.text);
        if (!c.asked) {
            atomic_fetch_add(&p->counters->total[wanted->request], 1);
            count(&c, wanted->request, false);
        }
        pthread_mutex_lock(&p->lock);
        p->last_error = why;
        p->last_error_at = (int64_t)time(NULL);
        pthread_mutex_unlock(&p->lock);
    }
    text_free(&c.reasons);
    free(c.attempts);
    return result;
}
