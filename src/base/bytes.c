/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/bytes.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* All ones if low <= c <= high, else 0, without a branch; c, low, high are at most 255. */
static unsigned in_range(unsigned c, unsigned low, unsigned high)
{
    return ~(((c - low) | (high - c)) >> 16) & 0xffffu;
}

/* The digit's value; or 0x100 in the result, if it is none. */
static unsigned hex_value(unsigned c)
{
    unsigned digit = in_range(c, '0', '9');
    unsigned lower = in_range(c, 'a', 'f');
    unsigned upper = in_range(c, 'A', 'F');
    unsigned value = (digit & (c - '0')) | (lower & (c - 'a' + 10)) | (upper & (c - 'A' + 10));

    return value | (~(digit | lower | upper) & 0x100u);
}

bool hex_decode(uint8_t *out, const char *hex, size_t len)
{
    unsigned bad = 0;

    for (size_t i = 0; i < len / 2; i++) {
        unsigned high = hex_value((unsigned char)hex[2 * i]);
        unsigned low = hex_value((unsigned char)hex[2 * i + 1]);
        bad |= high | low;
        out[i] = (uint8_t)((high & 0xfu) << 4 | (low & 0xfu));
    }
    if ((bad & 0x100u) == 0 && len % 2 == 0)
        return true;
    OPENSSL_cleanse(out, len / 2);
    return false;
}

/* '0' + v for a digit, 'a' + v - 10 above: the gap is added where 9 - v is negative. */
static char hex_digit(unsigned v)
{
    return (char)('0' + v + (((9u - v) >> 16) & ('a' - '0' - 10u)));
}

void hex_encode(char *out, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = hex_digit(bytes[i] >> 4);
        out[2 * i + 1] = hex_digit(bytes[i] & 0xfu);
    }
}

bool hex_is(const char *text, size_t len)
{
    unsigned bad = 0;

    for (size_t i = 0; i < len; i++)
        bad |= hex_value((unsigned char)text[i]);
    return len > 0 && len % 2 == 0 && (bad & 0x100u) == 0;
}

size_t utf8_step(const char *s, size_t len)
{
    const unsigned char *b = (const unsigned char *)s;
    size_t n = 0;

    if (len == 0)
        return 0;
    if (b[0] < 0x80)
        return 1;
    if (b[0] >= 0xc2 && b[0] <= 0xdf)
        n = 2;
    else if ((b[0] & 0xf0) == 0xe0)
        n = 3;
    else if (b[0] >= 0xf0 && b[0] <= 0xf4)
        n = 4;
    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    }
    /* overlong forms, surrogates, beyond U+10FFFF */
    if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) || (b[0] == 0xf0 && b[1] < 0x90) ||
        (b[0] == 0xf4 && b[1] > 0x8f))
        return 0;
    return n;
}

/* Is the character of `step` bytes a control character (C0, DEL, C1)? */
static bool is_control(const unsigned char *b, size_t step)
{
    return (step == 1 && (b[0] < 0x20 || b[0] == 0x7f)) || (step == 2 && b[0] == 0xc2 && b[1] < 0xa0);
}

size_t text_printable(char *out, size_t room, const char *s, size_t len)
{
    size_t n = 0;

    if (room == 0)
        return 0;
    for (size_t i = 0; i < len;) {
        const unsigned char *b = (const unsigned char *)s + i;
        size_t step = utf8_step(s + i, len - i);
        if (step != 0 && !is_control(b, step)) {
            if (n + step >= room)
                break;
            memcpy(out + n, b, step);
            n += step;
            i += step;
            continue;
        }
        if (n + 4 >= room)
            break;
        out[n++] = '\\';
        out[n++] = 'x';
        hex_encode(out + n, b, 1);
        n += 2;
        i++;
    }
    out[n] = '\0';
    return n;
}

/* Makes room for `more` bytes and the terminator. What was there is wiped when it moves, since it may be a
 * secret. */
static bool text_grow(struct text *t, size_t more)
{
    if (t->failed)
        return false;
    if (t->s && more < t->room - t->len)
        return true;
    if (more > SIZE_MAX / 2 - t->len - 64) {
        t->failed = true;
        return false;
    }
    size_t room = (t->len + more) * 2 + 64;
    char *s = malloc(room);
    if (!s) {
        t->failed = true;
        return false;
    }
    if (t->s) {
        memcpy(s, t->s, t->len);
        OPENSSL_cleanse(t->s, t->len);
        free(t->s);
    }
    s[t->len] = '\0';
    t->s = s;
    t->room = room;
    return true;
}

void text_append(struct text *t, const char *s, size_t len)
{
    if (!text_grow(t, len))
        return;
    if (len)
        memcpy(t->s + t->len, s, len);
    t->len += len;
    t->s[t->len] = '\0';
}

void text_printf(struct text *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        t->failed = true;
        return;
    }
    if (!text_grow(t, (size_t)n))
        return;
    va_start(args, format);
    n = vsnprintf(t->s + t->len, t->room - t->len, format, args);
    va_end(args);
    if (n > 0)
        t->len += (size_t)n;
}

void text_append_json(struct text *t, const char *s, size_t len)
{
    static const char short_forms[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

    text_append(t, "\"", 1);
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)s[i];
        size_t step = utf8_step(s + i, len - i);
        if (step == 0)
            text_append(t, "\xef\xbf\xbd", 3);
        else if (c == '"' || c == '\\')
            text_append(t, (char[]){'\\', (char)c}, 2);
        else if (c < 0x20 && short_forms[c])
            text_append(t, (char[]){'\\', short_forms[c]}, 2);
        else if (c < 0x20)
            text_printf(t, "\\u%04x", c);
        else
            text_append(t, s + i, step);
        i += step ? step : 1;
    }
    text_append(t, "\"", 1);
}

void text_free(struct text *t)
{
    if (t->s) {
        OPENSSL_cleanse(t->s, t->len);
        free(t->s);
    }
    *t = (struct text){0};
}
