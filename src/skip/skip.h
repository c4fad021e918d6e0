/* SPDX-License-Identifier: BSD-2-Clause */
/* The client of key sources, which speak SKIP (draft-cisco-skip) or ETSI GS QKD 014: an sks profile at work.
 * It tries the profile's servers in turn under one bound of time, keeps connections, checks system IDs
 * against the capabilities, and counts. The transport (libcurl, TLS, JSON) is a shared object of its own,
 * ppk-skip.so, loaded at the first request. */
#ifndef PPK_SKIP_SKIP_H
#define PPK_SKIP_SKIP_H

#include "base/fault.h"
#include "base/histogram.h"
#include "keyring/keyring.h"

enum skip_result {
    SKIP_OK,
    SKIP_NO_SUCH_KEY, /* a key source said that it has no such key (400, 404, 410 on /key/{id}; ETSI 014: also
                         409, 412) */
    SKIP_REFUSED, /* it does not serve us, or not for this remote system (401, 403, other 4xx; capabilities
                     without the ID) */
    SKIP_UNREACHABLE, /* no server gave a usable answer in time (connection, TLS, 429, 5xx, timeout, malformed
                         answer) */
    SKIP_NO_MEMORY,
    SKIP_NO_TRANSPORT, /* ppk-skip.so cannot be loaded */
};

/* A profile at work. Thread-safe. */
struct skip_profile;

/* `conf` must outlive it. No connection is made. NULL: no memory. */
struct skip_profile *skip_profile_new(const struct sks_profile *conf);

/* Closes connections, wipes, frees. No request may be under way. NULL is allowed. */
void skip_profile_free(struct skip_profile *p);

const struct sks_profile *skip_profile_conf(const struct skip_profile *p);

/* A key as it came. */
struct skip_key {
    struct secret *value;
    char *key_id;       /* the server's keyId, verbatim */
    const char *server; /* "HOST:PORT" of who gave it; valid as long as the profile */
};

/* Wipes and frees what is in it. */
void skip_key_clear(struct skip_key *k);

/* GET /key?remoteSystemID=…&size=…: a new key of `size` bits (0: the profile's). `remote` NULL: the only
 * remote system of the key source's capabilities. Ends by `deadline` (clock_ms()) and within the profile's
 * timeout. On SKIP_OK the caller clears `out`; else the reason is in `fault`, which names profile and server,
 * and has been counted. */
enum skip_result skip_key_new(struct skip_profile *p, const char *remote, uint32_t size, uint64_t deadline,
                              struct skip_key *out, struct fault *fault);

/* GET /key/{key_id}?remoteSystemID=…: the existing key. Never asked again at a server that may have processed
 * it. */
enum skip_result skip_key_by_id(struct skip_profile *p, const char *key_id, const char *remote,
                                uint64_t deadline, struct skip_key *out, struct fault *fault);

/* GET /entropy?minentropy=BITS; `out` is the caller's. */
enum skip_result skip_entropy(struct skip_profile *p, uint32_t bits, uint64_t deadline, struct secret **out,
                              struct fault *fault);

/* What a key source says of itself. */
struct skip_capabilities {
    bool entropy, key;
    char *algorithm;
    char *local_system_id;
    char **remote_system_ids; /* POSIX globs; NULL-terminated */
    struct {
        bool told;                         /* only ETSI 014 does: then this is all about one remote system, */
        uint32_t size, size_min, size_max; /* of its keys, in bits; 0: not told */
        uint64_t stored, room;             /* keys that are ready, and how many could be */
    } delivery;                            /* remote_system_ids[0], which is no glob */
    const char *server;                    /* "HOST:PORT"; valid as long as the profile */
};

/* GET /capabilities of server `i`; a fresh copy that the caller frees with skip_capabilities_free(). ETSI 014
 * tells its status for one remote system, which SKIP has no use for: `remote`, or NULL. */
enum skip_result skip_capabilities_get(struct skip_profile *p, size_t i, const char *remote,
                                       uint64_t deadline, struct skip_capabilities **out,
                                       struct fault *fault);
void skip_capabilities_free(struct skip_capabilities *c);

/* Totals since the start, by kind of request. total = passed + failed + under way. */
enum skip_request {
    SKIP_REQUEST_CAPABILITIES,
    SKIP_REQUEST_KEY,
    SKIP_REQUEST_KEY_BY_ID,
    SKIP_REQUEST_ENTROPY,
    SKIP_REQUESTS
};
struct skip_counts {
    uint64_t total[SKIP_REQUESTS], passed[SKIP_REQUESTS], failed[SKIP_REQUESTS];
    /* how long those took that passed, and the sum of that */
    uint64_t latency[SKIP_REQUESTS][HISTOGRAM_BUCKETS], latency_us[SKIP_REQUESTS];
};
void skip_profile_counts(const struct skip_profile *p, struct skip_counts *out);

/* `p`, which nobody uses yet, takes the place of `old`, a profile of the same name that others may still use:
 * it counts on where that stands, and, if it has the same servers, goes on with its idle connections and what
 * is known of the servers. */
void skip_profile_succeed(struct skip_profile *p, struct skip_profile *old, bool same_servers);

/* The last request that failed, over all servers: its reason and when (seconds since 1970); "" and 0 if none
 * did. */
void skip_profile_last_error(struct skip_profile *p, struct fault *reason, int64_t *at);

/* How a server is doing; for status. */
struct skip_server_status {
    const char *server;  /* "HOST:PORT"; valid as long as the profile */
    unsigned failures;   /* in a row; 0: it is well, or was not asked yet */
    uint64_t aside_ms;   /* for how long it is still left alone after a failure */
    struct fault reason; /* of the last failure, also if it is well again; "" if there was none */
    int64_t reason_at;   /* when that was, in seconds since 1970 */
    bool asked;          /* it has answered, or failed to */
};
void skip_profile_status(struct skip_profile *p, size_t i, struct skip_server_status *out);

/* A copy of what is known of server i's capabilities, for skip_capabilities_free(); NULL: nothing. No
 * network. */
struct skip_capabilities *skip_profile_capabilities(struct skip_profile *p, size_t i);

/* Makes all requests that are under way, or come later, end at once with SKIP_UNREACHABLE: before threads
 * that may be in one are joined. */
void skip_profile_interrupt(struct skip_profile *p);
bool skip_profile_interrupted(struct skip_profile *p);

/* Ends the transport: after the last profile was freed. */
void skip_shutdown(void);

/* In a forked child, before anything else of SKIP: closes the child's copies of the connections without a
 * word to the servers. Profiles from before the fork are lost there: not to be used, not to be freed (their
 * locks may be held by threads that do not exist). */
void skip_after_fork(void);

#endif
