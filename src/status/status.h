/* SPDX-License-Identifier: BSD-2-Clause */
/* The status of a process that uses the token, as other processes see it: what it is made of, its text in a
 * file, and sums over processes. Counters and states only: no secret, and no PPK ID but in the text of a last
 * error, which the log has as well. */
#ifndef PPK_STATUS_STATUS_H
#define PPK_STATUS_STATUS_H

#include "base/bytes.h"
#include "base/histogram.h"

/* Where the files are, unless the configuration or the environment say otherwise. */
#define STATUS_DIRECTORY "/run/ppk-pkcs11/status"

#define STATUS_VERSION   1
#define STATUS_FILE_MAX  (1U << 20) /* bytes of a status file */
#define STATUS_NAME_ROOM 32         /* of a status file's name, with its end */
#define STATUS_HEARTBEAT 60         /* seconds: a file is written anew at least so often */

/* X(constant, name in the file) */
#define STATUS_KEYRING_NUMBERS(X)                                                                            \
    X(SESSIONS, "sessions")                                                                                  \
    X(PEERS, "peers")                                                                                        \
    X(PEERS_DYNAMIC, "peers-dynamic")                                                                        \
    X(PEERS_REQUIRED, "peers-required")                                                                      \
    X(MANUAL, "ppks-manual")                                                                                 \
    X(HELD, "ppks-held")                                                                                     \
    X(UNUSED, "ppks-unused")                                                                                 \
    X(POOLED, "ppks-pooled")                                                                                 \
    X(FETCHED, "ppks-fetched")                                                                               \
    X(FETCHED_BY_ID, "ppks-fetched-by-id")                                                                   \
    X(USED, "ppks-used")                                                                                     \
    X(EXPIRED, "ppks-expired")                                                                               \
    X(DESTROYED, "ppks-destroyed")                                                                           \
    X(MISMATCHES, "ppk-identity-mismatches")                                                                 \
    X(FAILURES, "ppk-retrieve-failures")                                                                     \
    X(FAILURES_REQUIRED, "ppk-retrieve-failures-required")                                                   \
    X(SAS_DYNAMIC, "ike-sas-dynamic")                                                                        \
    X(SAS_MANUAL, "ike-sas-manual")                                                                          \
    X(AUTH_FAILURES, "ppk-authentication-failures")                                                          \
    X(AUTH_FAILURES_REQUIRED, "ppk-authentication-failures-required")

enum status_keyring_number {
#define STATUS_NUMBER(constant, name) STATUS_##constant,
    STATUS_KEYRING_NUMBERS(STATUS_NUMBER)
#undef STATUS_NUMBER
        STATUS_NUMBERS,
    /* what is configured: the same in every process, so not summed up */
    STATUS_CONFIGURED_FIRST = STATUS_PEERS,
    STATUS_CONFIGURED_LAST = STATUS_MANUAL,
    /* from here on: counters; before it, what is true now */
    STATUS_COUNTED_FIRST = STATUS_FETCHED
};
extern const char *const status_keyring_names[STATUS_NUMBERS];

struct status_keyring {
    char *name;
    uint64_t n[STATUS_NUMBERS];
};

/* In the order of SKIP's: capabilities, key, key-by-id, entropy. */
enum { STATUS_REQUESTS = 4 };
extern const char *const status_request_names[STATUS_REQUESTS];

struct status_request {
    uint64_t total, passed, failed; /* total = passed + failed + under way */
    uint64_t latency_us;            /* the sum over those that passed */
    uint64_t latency[HISTOGRAM_BUCKETS];
};

enum status_server_state { STATUS_SERVER_IDLE /* not asked yet */, STATUS_SERVER_UP, STATUS_SERVER_DOWN };
extern const char *const status_server_states[STATUS_SERVER_DOWN + 1];

struct status_capabilities {
    bool entropy, key;
    char *algorithm, *local; /* or NULL */
    char **remotes;
    size_t n_remotes;
};

struct status_server {
    char *name; /* "HOST:PORT" */
    enum status_server_state state;
    uint64_t failures;     /* in a row */
    char *last_error;      /* or NULL */
    int64_t last_error_at; /* seconds since 1970 */
    bool told;             /* it has told its capabilities: */
    struct status_capabilities capabilities;
};

struct status_profile {
    char *name;
    char *type;            /* "remote", "etsi014" */
    char *local_system_id; /* configured, or NULL */
    char *last_error;      /* or NULL */
    int64_t last_error_at;
    struct status_request requests[STATUS_REQUESTS];
    struct status_server *servers;
    size_t n_servers;
};

struct status_process {
    uint64_t pid;
    uint64_t started;       /* field 22 of /proc/PID/stat: tells it from a later process of the same ID */
    uint64_t pid_namespace; /* the inode of /proc/PID/ns/pid: in another one, the ID says nothing */
    uint64_t heartbeat;     /* in seconds; 0: the file is written only when something happens */
    int64_t since, updated; /* seconds since 1970 */
    char *executable, *version, *configuration; /* or NULL */
    struct status_keyring *keyrings;
    size_t n_keyrings;
    struct status_profile *profiles;
    size_t n_profiles;
};

/* Frees what is in it. */
void status_clear(struct status_process *p);

/* Add a zeroed element with a copy of the name; NULL: no memory. */
struct status_keyring *status_keyring_add(struct status_process *p, const char *name);
struct status_profile *status_profile_add(struct status_process *p, const char *name);
struct status_server *status_server_add(struct status_profile *p, const char *name);
bool status_remote_add(struct status_capabilities *c, const char *name);

/* Appends it as JSON: the body is what the process says of keyrings and profiles ("keyrings":[…],
 * "profiles":[…]), the head all else; both without braces around. */
void status_print_head(const struct status_process *p, struct text *out);
void status_print_body(const struct status_process *p, struct text *out);

/* Reads the text of a status file, of whomever. False with the reason in *why (static text): it is not one,
 * and nothing is in `out`. */
bool status_parse(struct status_process *out, const char *text, size_t len, const char **why);

/* The process has ended: of what is true only now (sessions, PPKs held, states of servers) nothing is left.
 */
void status_end(struct status_process *p);

/* Adds the keyrings and profiles of `p` to those of the same names in `sum`; numbers stop at their largest.
 * Of what is configured the larger counts; of two servers' states, the worse; of two errors, the later.
 * False: no memory. */
bool status_add(struct status_process *sum, const struct status_process *p);

#endif
