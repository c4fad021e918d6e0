/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages between key sources. A frame is
 *
 *   octets 0-1   length of what follows the header, big-endian
 *   octet 2      type
 *   octet 3      version of the protocol, 1
 *
 * and then, in the order of the structs below: numbers big-endian; texts and byte strings with their length
 * in front (one octet; a key: two). Nothing may follow the last member. How they are used is told in
 * docs/skipd-sync.md. */
#ifndef PPK_SKIPD_SYNC_MESSAGE_H
#define PPK_SKIPD_SYNC_MESSAGE_H

#include "base/bytes.h"
#include "skipd/uri.h"

#define SYNC_VERSION    1
#define SYNC_HEADER_LEN 4
/* The longest frame, header included. */
#define SYNC_FRAME_MAX 2048
/* The longest key, in bytes; its shortest is 1. */
#define SYNC_KEY_MAX 1024
/* The longest lifetime of a key, in seconds. */
#define SYNC_TTL_MAX (7U * 24 * 3600)

enum sync_type { SYNC_HELLO = 1, SYNC_PUT = 2, SYNC_ACK = 3, SYNC_PING = 4, SYNC_PONG = 5 };

/* Both ends begin with it: who they are. */
struct sync_hello {
    char system_id[SYSTEM_ID_MAX + 1];
};

/* "Keep this key for your client." */
struct sync_put {
    uint64_t number; /* of the sender's, answered in the ACK */
    uint32_t ttl_s;
    uint8_t id[KEY_ID_MAX];
    size_t id_len;
    char initiator[SYSTEM_ID_MAX + 1];
    char responder[SYSTEM_ID_MAX + 1];
    struct span key; /* decoding: points into the frame */
};

enum sync_result {
    SYNC_OK,        /* on stable storage */
    SYNC_CONFLICT,  /* another key has this ID */
    SYNC_DELIVERED, /* had it, and has delivered it already */
    SYNC_UNKNOWN,   /* the responder is none of ours, or the initiator none of yours */
    SYNC_FULL,      /* no room for more keys */
    SYNC_FAILED,    /* the store failed */
    SYNC_RESULTS,
};

struct sync_ack {
    uint64_t number;
    uint8_t result; /* enum sync_result */
};

/* PING and PONG: a number, given back. The next PING comes after the PONG. */
struct sync_ping {
    uint64_t number;
};

struct sync_message {
    enum sync_type type;
    union {
        struct sync_hello hello;
        struct sync_put put;
        struct sync_ack ack;
        struct sync_ping ping;
    };
};

/* Writes a frame. Returns its length; 0 if a member is out of its bounds. */
size_t sync_encode(const struct sync_message *m, uint8_t out[static SYNC_FRAME_MAX]);

/* The length of the frame that begins with this header, or 0: not this protocol, or too long. */
size_t sync_frame_len(const uint8_t header[static SYNC_HEADER_LEN]);

/* Reads a whole frame. False: malformed. */
bool sync_decode(struct sync_message *m, const uint8_t *frame, size_t len);

#endif
