/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside a profile at work: its servers' state, its wires, its counts. Private to this room. */
#ifndef PPK_SKIP_PROFILE_H
#define PPK_SKIP_PROFILE_H

#include "skip/loader.h"

#include <pthread.h>

#define SKIP_WIRES_MAX    80u    /* requests at once per profile; others wait their turn */
#define SKIP_WIRE_IDLE_MS 60000u /* a wire that was not needed for so long is closed */
#define SKIP_ASIDE_MIN_MS                                                                                    \
    500u /* a server that failed is left alone for so long, twice as long each further time, */
#define SKIP_ASIDE_MAX_MS  60000u  /* but not longer */
#define SKIP_CAPS_FRESH_MS 600000u /* capabilities are asked for again after that, */
#define SKIP_CAPS_AGAIN_MS 5000u   /* or, if they forbid a request, after that */

/* A server; guarded by the profile's lock. */
struct skip_server {
    char *name;           /* HOST:PORT; constant */
    unsigned failures;    /* in a row; 0: it is well */
    uint64_t aside_until; /* clock_ms() time, of a server with failures */
    bool probed;          /* a request is under way to find out whether it is well again */
    struct fault reason;  /* of its last failure */
    struct fault told;    /* the last one that was logged */
    int64_t reason_at;    /* seconds since 1970 */
    bool asked;           /* it has answered, or failed to */

    struct skip_capabilities *capabilities;
    bool capabilities_absent; /* it says that it does not know the path: nothing can be checked */
    bool capabilities_asked;  /* somebody is asking */
    uint64_t capabilities_at; /* when they came */
};

/* What is counted; lives on in the profile that takes the place of this one. */
struct skip_counters {
    _Atomic unsigned refs;
    _Atomic uint64_t total[SKIP_REQUESTS], passed[SKIP_REQUESTS], failed[SKIP_REQUESTS];
    _Atomic uint64_t latency[SKIP_REQUESTS][HISTOGRAM_BUCKETS], latency_us[SKIP_REQUESTS];
};

struct skip_profile {
    const struct sks_profile *conf;
    struct skip_server *servers;

    pthread_mutex_t lock;   /* never held over the network */
    pthread_cond_t changed; /* a wire came back, capabilities came, a server's state changed, an interrupt */
    bool interrupted;
    const struct skip_transport *transport; /* whose wires these are */
    struct {
        struct skip_wire *wire;
        uint64_t since;
    } idle[SKIP_WIRES_MAX]; /* the most recently used one is last */
    size_t n_idle;
    struct skip_wire *busy[SKIP_WIRES_MAX];
    size_t n_busy;
    size_t n_lookups; /* of those: for keys by their ID, of which anybody can cause many */

    struct fault last_error; /* of the last request that failed, over all servers */
    int64_t last_error_at;   /* seconds since 1970 */
    struct skip_counters *counters;
};

/* Waits for a change, with the lock held, until `until`. False: that time is over, or the profile was
 * interrupted. */
bool skip_profile_wait_locked(struct skip_profile *p, uint64_t until);

/* A wire for this thread's request, in the time until `deadline`; NULL with *result and the reason. */
struct skip_wire *skip_profile_wire_take(struct skip_profile *p, enum skip_request request, uint64_t deadline,
                                         enum skip_result *result, struct fault *fault);
void skip_profile_wire_give(struct skip_profile *p, enum skip_request request, struct skip_wire *wire);

/* What a server did: logs when its state changes. `retry_after_s`: how long it wants to be left alone, or 0.
 */
void skip_server_failed(struct skip_profile *p, size_t i, const struct fault *reason, uint32_t retry_after_s);
void skip_server_good(struct skip_profile *p, size_t i);

/* Makes one request of the profile: servers in turn, hedged, checked against the capabilities, by `deadline`
 * (clock_ms()) and within the profile's timeout. `only`: the one server to ask, or SIZE_MAX. On SKIP_OK `out`
 * is the answer and *server who gave it. */
enum skip_result skip_call_run(struct skip_profile *p, const struct skip_call *wanted, size_t only,
                               uint64_t deadline, struct skip_answer *out, size_t *server,
                               struct fault *fault);

#endif
