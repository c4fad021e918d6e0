/* SPDX-License-Identifier: BSD-2-Clause */
/* What the key source has counted since its process began: for the admin listener. Clients and peers are
 * known by their names, so that counters outlive a reload, and never go backwards. Used by the event loop's
 * thread only. If there is no memory for a new name, its counts are lost, and nothing else. */
#ifndef PPK_SKIPD_STATISTICS_H
#define PPK_SKIPD_STATISTICS_H

#include "skipd/sync_message.h"

enum request_kind {
    REQUEST_OTHER, /* no such path, or nobody's */
    REQUEST_CAPABILITIES,
    REQUEST_KEY,
    REQUEST_KEY_BY_ID,
    REQUEST_ENTROPY,
    REQUEST_KINDS
};

enum request_outcome {
    OUTCOME_OK,
    OUTCOME_REJECTED,    /* 400: malformed, no such system or key */
    OUTCOME_FORBIDDEN,   /* 401, 403 */
    OUTCOME_NOT_FOUND,   /* 404, 405 */
    OUTCOME_LIMITED,     /* 429 */
    OUTCOME_UNAVAILABLE, /* 503: the peer, or no room */
    OUTCOME_FAILED,      /* 500: the store */
    REQUEST_OUTCOMES
};

enum request_dialect { DIALECT_SKIP, DIALECT_ETSI014, REQUEST_DIALECTS };

/* How a key that was sent to a peer, or came from one, has ended: enum sync_result, or without the peer's
 * word. */
#define SYNC_NO_ANSWER SYNC_RESULTS

#define STATISTICS_BUCKETS 12
/* How far back the counts of minutes go. */
#define STATISTICS_MINUTES 180

struct client_counts {
    char *name; /* "": those who are no client */
    uint64_t requests[REQUEST_DIALECTS][REQUEST_KINDS][REQUEST_OUTCOMES];
    uint64_t last_ms; /* clock_ms() of its last request */
};

struct peer_counts {
    char *name;
    uint64_t sent[SYNC_RESULTS + 1], received[SYNC_RESULTS];
    uint64_t latency[STATISTICS_BUCKETS]; /* keys confirmed, by statistics_bounds_ms[]; not cumulative */
    uint64_t latency_sum_ms;
};

struct minute_counts {
    uint32_t delivered; /* keys */
    uint32_t failed;    /* requests that got no key or no good answer, and connections without TLS */
};

extern const char *const request_kind_names[REQUEST_KINDS];
extern const char *const request_outcome_names[REQUEST_OUTCOMES];
extern const char *const request_dialect_names[REQUEST_DIALECTS];
extern const char *const sync_result_names[SYNC_RESULTS + 1];
/* Upper bounds of the buckets but the last, in milliseconds. */
extern const uint32_t statistics_bounds_ms[STATISTICS_BUCKETS - 1];

/* ---- counting ---- */

/* The process begins now. */
void statistics_begin(void);

/* A request was answered with this HTTP status. `client` NULL: nobody's. */
void statistics_request(const char *client, enum request_dialect dialect, enum request_kind kind, int status);

/* A client's connection was accepted; and is closed: `established`: after a TLS handshake. */
void statistics_connected(void);
void statistics_disconnected(bool established);

/* A key that was sent to the peer has ended so (or SYNC_NO_ANSWER), after `ms`; one that came from it. */
void statistics_sent(const char *peer, unsigned result, uint64_t ms);
void statistics_received(const char *peer, enum sync_result result);

/* The store could not do an operation. */
void statistics_store_failed(void);

/* ---- reading ---- */

struct statistics_totals {
    uint64_t began_ms;   /* clock_ms() */
    uint64_t began_unix; /* seconds */
    uint64_t connections, handshakes_failed, store_failures;
    uint64_t open; /* connections now */
};

const struct statistics_totals *statistics_totals(void);

/* All clients and peers that anything was counted of, in the order of their first count; NULL at the end. */
const struct client_counts *statistics_client(size_t i);
const struct peer_counts *statistics_peer(size_t i);

/* The counts of this name, or NULL. */
const struct client_counts *statistics_client_find(const char *name);
const struct peer_counts *statistics_peer_find(const char *name);

/* A client's answers in both dialects: of this outcome; of this kind. REQUEST_KINDS and REQUEST_OUTCOMES: all
 * of them. */
uint64_t client_counts_sum(const struct client_counts *c, unsigned kind, unsigned outcome);

/* The last minutes; the present one is the last. */
void statistics_minutes(struct minute_counts out[static STATISTICS_MINUTES]);

/* Frees all; for tests, it begins at 0 then. */
void statistics_end(void);

#endif
