/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/base64.h"

#include <openssl/crypto.h>

#define BAD 0x100u

/* All ones if low <= c <= high, else 0, without a branch; c, low, high are at most 255. */
static unsigned in_range(unsigned c, unsigned low, unsigned high)
{
    return ~(((c - low) | (high - c)) >> 16) & 0xffffu;
}

/* A character's six bits; or BAD. */
static unsigned value_of(unsigned c)
{
    unsigned upper = in_range(c, 'A', 'Z'), lower = in_range(c, 'a', 'z'), digit = in_range(c, '0', '9');
    unsigned plus = in_range(c, '+', '+'), slash = in_range(c, '/', '/');
    unsigned value = (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (digit & (c - '0' + 52)) |
                     (plus & 62u) | (slash & 63u);

    return (value & 63u) | (~(upper | lower | digit | plus | slash) & BAD);
}

static char character_of(unsigned v)
{
    return (char)((in_range(v, 0, 25) & (v + 'A')) | (in_range(v, 26, 51) & (v - 26 + 'a')) |
                  (in_range(v, 52, 61) & (v - 52 + '0')) | (in_range(v, 62, 62) & '+') |
                  (in_range(v, 63, 63) & '/'));
}

bool base64_decode(uint8_t *out, size_t *out_len, const char *text, size_t len)
{
    /* where a text ends is no secret */
    size_t pad = len < 4 || text[len - 1] != '=' ? 0 : text[len - 2] != '=' ? 1 : 2;
    size_t used = 0;
    unsigned bad = len % 4 != 0 ? BAD : 0;

    for (size_t i = 0; i + 4 <= len; i += 4) {
        size_t missing = i + 4 == len ? pad : 0;
        unsigned bits = 0;

        for (size_t j = 0; j < 4; j++) {
            unsigned v = j < 4 - missing ? value_of((unsigned char)text[i + j]) : 0;

            bad |= v & BAD;
            bits = bits << 6 | (v & 63u);
        }
        if (missing > 0)
            bad |= (bits & ((1u << (8 * missing)) - 1)) != 0 ? BAD : 0;
        for (size_t j = 0; j < 3 - missing; j++)
            out[used++] = (uint8_t)(bits >> (16 - 8 * j));
    }
    *out_len = used;
    if (bad == 0)
        return true;
    OPENSSL_cleanse(out, len / 4 * 3);
    *out_len = 0;
    return false;
}

void base64_encode(char *out, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        unsigned bits = (unsigned)bytes[i] << 16 | (n > 1 ? (unsigned)bytes[i + 1] << 8 : 0) |
                        (n > 2 ? (unsigned)bytes[i + 2] : 0);

        for (size_t j = 0; j < 4; j++)
            *out++ = (char)(j <= n ? character_of(bits >> (18 - 6 * j) & 63u) : '=');
    }
}
