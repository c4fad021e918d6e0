/* SPDX-License-Identifier: BSD-2-Clause */
/* Base64 (RFC 4648, section 4) of keys: in time that depends on the length only. */
#ifndef PPK_BASE_BASE64_H
#define PPK_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters that `len` bytes take, padding included. */
#define BASE64_LEN(len) (((len) + 2) / 3 * 4)

/* Decodes `len` characters, with their padding, into `out`, which has room for len / 4 * 3 bytes; *out_len is
 * how many came of it. False (and `out` wiped, *out_len 0): another length, another character, padding in
 * another place, or bits that are left over are not 0. */
bool base64_decode(uint8_t *out, size_t *out_len, const char *text, size_t len);

/* Encodes `len` bytes as BASE64_LEN(len) characters; does not terminate. */
void base64_encode(char *out, const uint8_t *bytes, size_t len);

#endif
