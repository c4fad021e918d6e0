/* SPDX-License-Identifier: BSD-2-Clause */
/* What a kind of key source speaks: how its requests look, and how an answer is read. Private to the
 * messages: one file per dialect fills a struct dialect, and messages.c does what is the same for all. */
#ifndef PPK_SKIP_DIALECT_H
#define PPK_SKIP_DIALECT_H

#include "skip/json_blank.h"
#include "skip/messages.h"

#include <jansson.h>

/* A key of a size that nobody asked for (GET /key/{id}) must not be shorter than what RFC 8784 wants of a PPK
 * (section 5.1: 256 bits), unless the profile itself asks for shorter ones. */
#define KEY_BITS_MIN 256u

/* An answer while it is read. */
struct reading {
    const struct skip_host *host;
    const struct sks_profile *profile;
    const struct skip_call *call;
    const char *body;
    struct json_blank blank;
    json_t *root; /* NULL: no JSON object */
    struct skip_answer *out;
};

/* What a status other than 200 means. */
struct refusal {
    long from, to;
    enum skip_result result;
    const char *meaning; /* follows "it answered with status N" */
};

struct dialect {
    const char *name; /* of its messages */

    /* Appends path and query; and the body, if the request is a POST. */
    void (*request)(const struct skip_call *call, struct text *path, struct text *body);

    /* Reads the body of a 200 into r->out; r->root is an object. NULL: there is no such request. */
    void (*read[SKIP_REQUESTS])(struct reading *r);

    const struct refusal *refusals; /* the first that covers a status counts; the last covers all */
    const long *absent; /* for a key by its ID: statuses that say that there is none; ends with 0 */
};

extern const struct dialect dialect_skip;
extern const struct dialect dialect_etsi014;

/* Appends with all but the unreserved characters percent-encoded (RFC 3986, section 2.3). */
void message_encode(struct text *out, const char *s);

/* What the readers are made of. Each that fails has set r->out->result and the reason. */
void reading_fail(struct reading *r, enum skip_result result, const char *text);

/* The string member `name` of an object; it may be blanked. NULL: there is none. */
const char *reading_string(struct reading *r, const json_t *object, const char *name, size_t *len);

/* The string member that is a key: where it lies in the body, and how long it is there. */
bool reading_secret_place(struct reading *r, const json_t *object, const char *name, size_t *at, size_t *len);

/* Copies a system ID or algorithm name that is text. */
bool reading_text(struct reading *r, const char *name, const json_t *j, char **out);

/* Can this be a key ID? */
bool key_id_acceptable(const char *id, size_t len);

/* Ends the reading of a key: checks its size; takes `value` (frees it on failure), and copies `id`. */
void reading_key(struct reading *r, struct secret *value, const char *id);

#endif
