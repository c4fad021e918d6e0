/* SPDX-License-Identifier: BSD-2-Clause */
/* What the SKIP client and ppk-skip.so know of each other: two tables of functions. The client gives its own
 * (arena, OpenSSL context), so that the shared object has no arena of its own and a key lies in one place;
 * the shared object exports `ppk_skip_transport`, and nothing else. */
#ifndef PPK_SKIP_TRANSPORT_H
#define PPK_SKIP_TRANSPORT_H

#include "skip/skip.h"

#include <openssl/types.h>

/* Changed with every change of this file: both sides come from one build. */
#define SKIP_TRANSPORT_VERSION 3u
#define SKIP_TRANSPORT_SYMBOL  "ppk_skip_transport"

/* Bounds of what a key source may send. */
#define SKIP_BODY_MAX   65536u /* bytes of a body */
#define SKIP_HEADER_MAX 16384u /* bytes of all header lines of an answer */
#define SKIP_KEY_ID_MAX 512u   /* characters of a keyId */

/* What the shared object uses of the process that loads it. */
struct skip_host {
    void *(*secmem_alloc)(size_t size);
    void (*secmem_free)(void *p);
    struct secret *(*secret_new)(const void *value, size_t len);
    void (*secret_free)(struct secret *s);
    size_t (*secret_len)(const struct secret *s);
    bool (*secret_open)(const struct secret *s, struct secret_view *view);
    void (*secret_close)(struct secret_view *view);
    OSSL_LIB_CTX *(*crypto_context)(void);
    bool (*crypto_alive)(void);
};

/* One request. The strings are the caller's and stay until its answer came or it was dropped. */
struct skip_call {
    enum skip_request request;
    const char *remote; /* remoteSystemID, for both kinds of key; in ETSI 014 the other SAE ID, for all */
    const char *key_id; /* for a key by its ID */
    uint32_t size;      /* bits: of a new key, or the least entropy */
};

/* What came of it. */
struct skip_answer {
    enum skip_result result;
    long status;            /* HTTP's, or 0: there was no whole answer */
    bool processed;         /* the request went out on a connection: the server may have processed it */
    uint32_t retry_after_s; /* as the server asked with 429 or 503, or 0 */
    struct secret *value;   /* key or random string; the receiver frees it */
    char *key_id;           /* of a key, verbatim; the receiver frees it */
    struct skip_capabilities *capabilities; /* with `server` NULL; the receiver frees them */
    struct fault fault; /* if result is not SKIP_OK: the reason, without profile and server */
};

/* How the connection of a server's last request came about: for an operator who looks for a fault. Texts are
 * "" and numbers 0 where it did not come so far. */
enum skip_stage { SKIP_STAGE_NAME, SKIP_STAGE_CONNECT, SKIP_STAGE_TLS, SKIP_STAGE_ANSWER };
struct skip_link {
    enum skip_stage stage; /* that failed, or SKIP_STAGE_ANSWER: the connection was good */
    char address[64];      /* that was connected to */
    int os_error;          /* why it was not, of errno.h */
    uint32_t connect_ms, tls_ms;
    bool timed_out;
    bool own_files;  /* our certificate, key or trustpoint cannot be used */
    bool wrong_name; /* the certificate is not for this host */
    char version[16], suite[64];
    char subject[256],
        issuer[256]; /* of the server's certificate, or the one of its chain that is not trusted */
    int64_t not_before, not_after;   /* of the same, as time() */
    int verify;                      /* why it is not trusted: X509_V_ERR_… */
    bool certificate_instead_of_psk; /* it showed one although a PSK is configured */
    unsigned alert;                  /* TLS alert that the server sent (RFC 8446, section 6), or 0 */
};

/* A set of kept-alive connections, one to each server of a profile, for one thread at a time. */
struct skip_wire;

struct skip_transport {
    uint32_t version;

    /* Once, before all others. `host` must stay. False with the reason in `fault`. */
    bool (*start)(const struct skip_host *host, struct fault *fault);

    /* NULL: no memory. `conf` must outlive it. */
    struct skip_wire *(*wire_new)(const struct sks_profile *conf);

    /* Goes on with another `conf`, of the same servers; nothing may be under way. */
    void (*wire_rebind)(struct skip_wire *wire, const struct sks_profile *conf);

    /* Closes its connections; drops what is under way. */
    void (*wire_free)(struct skip_wire *wire);

    /* Sends a request to a server of the profile, to be answered by `deadline`; at most one per server at a
     * time. False: it could not begin, and `out` says why. */
    bool (*wire_ask)(struct skip_wire *wire, size_t server, const struct skip_call *call, uint64_t deadline,
                     struct skip_answer *out);

    /* Waits until one of the requests is over, or `until`, or wire_wake(). True: `out` is the answer of
     * `server`. */
    bool (*wire_wait)(struct skip_wire *wire, uint64_t until, size_t *server, struct skip_answer *out);

    /* Gives up what is under way with a server, and closes that connection. True: it may have processed the
     * request. */
    bool (*wire_drop)(struct skip_wire *wire, size_t server);

    /* Tells of the connection of a server's last request, which is over. */
    void (*wire_link)(struct skip_wire *wire, size_t server, struct skip_link *out);

    /* Ends a wire_wait() now, from any thread. */
    void (*wire_wake)(struct skip_wire *wire);

    /* In a forked child: closes its copies of all sockets; the wires are lost. */
    void (*after_fork)(void);
};

/* Frees what an answer holds, a key wiped. */
void skip_answer_clear(struct skip_answer *a);

#endif
