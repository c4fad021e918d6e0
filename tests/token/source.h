/* SPDX-License-Identifier: BSD-2-Clause */
/* A key source for the tests: a SKIP server (draft-cisco-skip) over TLS 1.3 on 127.0.0.1 in a process of its
 * own, with a PSK and with certificates. What it does wrong, on demand, and what it was asked is in shared
 * memory. Its keys follow from their IDs, so that a test knows which PPK the token should hold. Start it
 * before threads exist. */
#ifndef TOKEN_SOURCE_H
#define TOKEN_SOURCE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SOURCE_PSK_ID  "token-tests"
#define SOURCE_PSK_HEX "6b1f3c9d8e7a5b4c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c"

enum source_mode {
    SOURCE_GOOD,
    SOURCE_HANG,       /* takes the connection, says nothing */
    SOURCE_HANG_TLS,   /* TLS, then nothing */
    SOURCE_DRIP,       /* one byte of the answer every 50 ms */
    SOURCE_CLOSE,      /* TLS, reads the request, closes */
    SOURCE_PLAIN,      /* an HTTP answer without TLS */
    SOURCE_WRONG_NAME, /* a certificate for another host */
    SOURCE_UNKNOWN_CA, /* a certificate of another CA */
    SOURCE_NO_PSK,     /* knows no PSK, shows a (good) certificate */
    SOURCE_WRONG_PSK,  /* knows another PSK of this identity, and no certificate */
    SOURCE_CANNED,     /* /key and /key/{id} get `status` and `body` */
    SOURCE_HUGE,       /* … an endless body */
    SOURCE_NESTED,     /* … a body of 100,000 brackets */
};

struct source {
    uint16_t port;
    pid_t pid;
    char trustpoint[256]; /* PEM file of the CA */

    _Atomic int mode;
    _Atomic unsigned delay_ms; /* before each answer to /key and /key/{id} */
    /* for SOURCE_CANNED; @KEY@ and @ID@ in the body are filled in (the right ones), @OTHER@ is another ID */
    _Atomic int status;
    _Atomic int cut; /* so many bytes fewer are sent than Content-Length says */
    char headers[256];
    char body[8192];

    _Atomic unsigned connections, requests;
    _Atomic unsigned capabilities, new_keys, by_id, entropy;
    char last_remote[256];      /* remoteSystemID= of the last request for a key, as it came */
    _Atomic unsigned last_size; /* size= of the last GET /key, or 0 */
};

/* Starts it, with its files in `directory`; NULL never (aborts). It ends with this process. */
struct source *source_start(const char *directory);
void source_stop(struct source *s);

/* Zeroes the counters and goes back to SOURCE_GOOD without delay. */
void source_reset(struct source *s);

/* Requests for keys so far: new_keys + by_id. */
unsigned source_key_requests(const struct source *s);

/* The key that belongs to an ID (its bytes): what the source gives for it. */
void source_key(const void *id, size_t id_len, void *key, size_t key_len);

/* An ID that exists at the source (GET /key/{id} answers once): 16 bytes, another one each time. IDs that
 * begin with a zero byte exist never. */
void source_fresh_id(uint8_t id[16]);

#endif
