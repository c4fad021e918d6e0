/* SPDX-License-Identifier: BSD-2-Clause */
/* Spans of bytes, hexadecimal in constant time, and a growing text. */
#ifndef PPK_BASE_BYTES_H
#define PPK_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Somebody else's bytes. `data` may be NULL if `len` is 0. */
struct span {
    const uint8_t *data;
    size_t len;
};

/* Same length and bytes; NOT for secrets. */
bool span_equal(struct span a, struct span b);

/* Decodes `len` hex digits of either case into len/2 bytes at `out`, in time that depends on `len` only.
 * False (and `out` wiped) if `len` is odd or a character is no hex digit. */
bool hex_decode(uint8_t *out, const char *hex, size_t len);

/* Encodes `len` bytes as 2*len lower-case digits at `out`, in time that depends on `len` only; does not
 * terminate. */
void hex_encode(char *out, const uint8_t *bytes, size_t len);

/* Is every one of the `len` characters a hex digit (and len even and > 0)? */
bool hex_is(const char *text, size_t len);

/* A text that grows; all zeros is an empty one. After an allocation failed, `failed` stays set and appending
 * does nothing. */
struct text {
    char *s; /* terminated; NULL while empty */
    size_t len;
    size_t room;
    bool failed;
};

__attribute__((format(printf, 2, 3))) void text_printf(struct text *t, const char *format, ...);
void text_append(struct text *t, const char *s, size_t len);

/* The length in bytes of the UTF-8 character (RFC 3629) at the start of the `len` bytes: 1 to 4, or 0 if
 * there is none. */
size_t utf8_step(const char *s, size_t len);

/* Writes `len` bytes of text as something that a terminal or a log can show, into `room` bytes with the
 * terminator: control characters and bytes that are not UTF-8 become \xNN. Cut, at a character, if it does
 * not fit. Returns the length. */
size_t text_printable(char *out, size_t room, const char *s, size_t len);

/* Appends `len` bytes as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void text_append_json(struct text *t, const char *s, size_t len);

/* Wipes, frees, and leaves an empty text. */
void text_free(struct text *t);

#endif
