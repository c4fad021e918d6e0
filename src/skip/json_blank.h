/* SPDX-License-Identifier: BSD-2-Clause */
/* Keeps keys out of a JSON parser's memory: copies a JSON text with each string that may be a key replaced by
 * an ordinal of the same length. The parser then checks the structure, and the ordinal leads back to the
 * original. */
#ifndef PPK_SKIP_JSON_BLANK_H
#define PPK_SKIP_JSON_BLANK_H

#include <stdbool.h>
#include <stddef.h>

/* Strings that are moved are at least this long (an ordinal's length) and values of a member "key" or
 * "randomStr"; or hold at least JSON_BLANK_LONG hex digits or JSON_BLANK_LONG64 of base64's in a row, in
 * whatever place but that of a "keyId" or "key_ID". */
#define JSON_BLANK_MIN    4u
#define JSON_BLANK_LONG   24u
#define JSON_BLANK_LONG64 40u
#define JSON_BLANK_DEPTH  16u

enum json_blank_result { JSON_BLANK_OK, JSON_BLANK_DEEP, JSON_BLANK_MANY, JSON_BLANK_NO_MEMORY };

struct json_blank {
    char *text; /* `len` bytes, without secrets; no terminator */
    size_t len;
    struct {
        size_t at, len; /* in the original, without the quotes */
    } * moved;
    size_t n_moved;
};

/* The caller gives the result back with json_blank_free() in any case. The original must stay as it is. */
enum json_blank_result json_blank_make(const char *json, size_t len, struct json_blank *out);
void json_blank_free(struct json_blank *b);

/* The place in the original of a string of the parsed text: as it is if it was not moved. False: it was not
 * moved. */
bool json_blank_find(const struct json_blank *b, const char *string, size_t len, size_t *at);

#endif
