/* SPDX-License-Identifier: BSD-2-Clause */
#include "skip/json_blank.h"

#include "base/bytes.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An ordinal is '#', three digits, and as many '.' as it takes. */
#define MOVED_MAX 1000u

static bool name_is(const char *name, size_t len, const char *what)
{
    return len == strlen(what) && memcmp(name, what, len) == 0;
}

/* The end of the string whose content begins at `i`: the closing quote, or `len`. */
static size_t string_end(const char *json, size_t len, size_t i)
{
    while (i < len && json[i] != '"')
        i += json[i] == '\\' && i + 1 < len ? 2 : 1;
    return i < len ? i : len;
}

/* Is there something in it that could be a key in hex or in base64, or most of one? */
static bool has_long_run(const char *s, size_t len)
{
    size_t hex = 0, base64 = 0;
    for (size_t i = 0; i < len && hex < JSON_BLANK_LONG && base64 < JSON_BLANK_LONG64; i++) {
        char c = s[i], lower = (char)(c | 0x20);
        bool digit = c >= '0' && c <= '9', letter = lower >= 'a' && lower <= 'z';
        hex = digit || (letter && lower <= 'f') ? hex + 1 : 0;
        base64 = digit || letter || c == '+' || c == '/' || c == '\\' ? base64 + 1 : 0;
    }
    return hex >= JSON_BLANK_LONG || base64 >= JSON_BLANK_LONG64;
}

static bool move(struct json_blank *b, size_t at, size_t len)
{
    if (b->n_moved == MOVED_MAX)
        return false;
    char ordinal[16];
    snprintf(ordinal, sizeof ordinal, "#%03zu", b->n_moved);
    memset(b->text + at, '.', len);
    memcpy(b->text + at, ordinal, JSON_BLANK_MIN);
    b->moved[b->n_moved].at = at;
    b->moved[b->n_moved++].len = len;
    return true;
}

enum json_blank_result json_blank_make(const char *json, size_t len, struct json_blank *out)
{
    memset(out, 0, sizeof *out);
    out->text = malloc(len ? len : 1);
    out->moved = calloc(MOVED_MAX, sizeof out->moved[0]);
    if (!out->text || !out->moved)
        return JSON_BLANK_NO_MEMORY;
    out->len = len;
    size_t depth = 0, name_at = 0, name_len = 0;
    for (size_t i = 0; i < len; i++) {
        char c = json[i];
        out->text[i] = c;
        if (c == '{' || c == '[') {
            if (++depth > JSON_BLANK_DEPTH)
                return JSON_BLANK_DEEP;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
        if (c == ',' || c == '{')
            name_len = 0;
        if (c != '"')
            continue;
        size_t at = i + 1, end = string_end(json, len, at), n = end - at, after = end + 1;
        while (after < len && strchr(" \t\r\n", json[after]) && json[after])
            after++;
        bool is_name = after < len && json[after] == ':';
        bool key = !is_name && (name_is(json + name_at, name_len, "key") ||
                                name_is(json + name_at, name_len, "randomStr"));
        bool key_id = !is_name && (name_is(json + name_at, name_len, "keyId") ||
                                   name_is(json + name_at, name_len, "key_ID"));
        if (n >= JSON_BLANK_MIN && (key || (!key_id && has_long_run(json + at, n)))) {
            if (!move(out, at, n))
                return JSON_BLANK_MANY;
        } else {
            memcpy(out->text + at, json + at, n);
        }
        if (is_name) {
            name_at = at;
            name_len = n;
        }
        i = end;
        if (end < len)
            out->text[end] = '"';
    }
    return JSON_BLANK_OK;
}

void json_blank_free(struct json_blank *b)
{
    if (b->text)
        OPENSSL_cleanse(b->text, b->len);
    free(b->text);
    free(b->moved);
    memset(b, 0, sizeof *b);
}

bool json_blank_find(const struct json_blank *b, const char *string, size_t len, size_t *at)
{
    if (len < JSON_BLANK_MIN || string[0] != '#')
        return false;
    size_t n = 0;
    for (size_t i = 1; i < JSON_BLANK_MIN; i++) {
        if (string[i] < '0' || string[i] > '9')
            return false;
        n = n * 10 + (size_t)(string[i] - '0');
    }
    if (n >= b->n_moved || b->moved[n].len != len)
        return false;
    *at = b->moved[n].at;
    return true;
}
