/* SPDX-License-Identifier: BSD-2-Clause */
/* The text of a request: percent-decoding (RFC 3986, 2.1), parameters of a query, and the paths of SKIP. */
#ifndef PPK_SKIPD_URI_H
#define PPK_SKIPD_URI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest system ID, in bytes (SKIP requires at least 32). */
#define SYSTEM_ID_MAX 255
/* The longest key ID, in bytes (256 hex digits); ours have KEY_ID_LEN. */
#define KEY_ID_MAX 128
#define KEY_ID_LEN 16

/* Decodes `len` characters into `out`, which has `room` bytes, and terminates it. False: an escape that is
 * none, a byte that decodes to a control character (NUL among them), or too long. A '+' is a plus. */
bool percent_decode(const char *s, size_t len, char *out, size_t room);

enum query_result {
    QUERY_FOUND,
    QUERY_ABSENT,
    QUERY_MALFORMED, /* not decodable, or longer than `room` */
    QUERY_TWICE,
};

/* The decoded value of parameter `name` of a query "a=b&c=d" (NULL: none). Other parameters are not looked
 * into. */
enum query_result query_value(const char *query, const char *name, char *out, size_t room);

/* The same for a decimal number of at most nine digits. */
enum query_result query_number(const char *query, const char *name, uint32_t *out);

enum skip_path {
    SKIP_PATH_UNKNOWN,
    SKIP_PATH_CAPABILITIES,
    SKIP_PATH_KEY,
    SKIP_PATH_KEY_ID,
    SKIP_PATH_ENTROPY,
};

/* Which of SKIP's paths is this (without its query)? For SKIP_PATH_KEY_ID, *rest is what follows "/key/",
 * still encoded. */
enum skip_path skip_path_of(const char *path, const char **rest);

/* Decodes a key ID: hex digits of any case, percent-encoded or not. Returns its length in bytes, 0 if it is
 * malformed. */
size_t key_id_decode(const char *text, uint8_t out[static KEY_ID_MAX]);

/* Can this be a concrete system ID: 1 to SYSTEM_ID_MAX bytes of printable characters in UTF-8 (a database
 * takes nothing else as text), none of them special in a glob? */
bool system_id_is_concrete(const char *id);

#endif
