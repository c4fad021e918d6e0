/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/uri.h"

#include "base/bytes.h"

#include <string.h>

bool percent_decode(const char *s, size_t len, char *out, size_t room)
{
    size_t used = 0;

    if (room == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)s[i];

        if (c == '%') {
            if (len - i < 3 || !hex_decode(&c, s + i + 1, 2))
                goto bad;
            i += 2;
        }
        if (c < 0x20 || c == 0x7f || used + 1 >= room)
            goto bad;
        out[used++] = (char)c;
    }
    out[used] = '\0';
    return true;
bad:
    out[0] = '\0';
    return false;
}

enum query_result query_value(const char *query, const char *name, char *out, size_t room)
{
    bool found = false;

    out[0] = '\0';
    for (const char *p = query; p != NULL && *p != '\0';) {
        size_t len = strcspn(p, "&");
        const char *equals = memchr(p, '=', len);
        size_t name_len = equals != NULL ? (size_t)(equals - p) : len;
        char decoded[64];

        if (percent_decode(p, name_len, decoded, sizeof decoded) && strcmp(decoded, name) == 0) {
            if (found)
                return QUERY_TWICE;
            if (equals == NULL || !percent_decode(equals + 1, len - name_len - 1, out, room))
                return QUERY_MALFORMED;
            found = true;
        }
        p += len;
        if (*p == '&')
            p++;
    }
    return found ? QUERY_FOUND : QUERY_ABSENT;
}

enum query_result query_number(const char *query, const char *name, uint32_t *out)
{
    char digits[12];
    enum query_result r = query_value(query, name, digits, sizeof digits);
    size_t len = strlen(digits);
    uint32_t n = 0;

    if (r != QUERY_FOUND)
        return r;
    if (len == 0 || len > 9)
        return QUERY_MALFORMED;
    for (size_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return QUERY_MALFORMED;
        n = n * 10 + (uint32_t)(digits[i] - '0');
    }
    *out = n;
    return QUERY_FOUND;
}

enum skip_path skip_path_of(const char *path, const char **rest)
{
    static const struct {
        const char *path;
        enum skip_path means;
    } paths[] = {
        {"/capabilities", SKIP_PATH_CAPABILITIES},
        {"/key", SKIP_PATH_KEY},
        {"/entropy", SKIP_PATH_ENTROPY},
    };

    *rest = NULL;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (strcmp(path, paths[i].path) == 0)
            return paths[i].means;
    if (strncmp(path, "/key/", 5) == 0 && strchr(path + 5, '/') == NULL) {
        *rest = path + 5;
        return SKIP_PATH_KEY_ID;
    }
    return SKIP_PATH_UNKNOWN;
}

size_t key_id_decode(const char *text, uint8_t out[static KEY_ID_MAX])
{
    char hex[2 * KEY_ID_MAX + 1];
    size_t len = 0;

    if (!percent_decode(text, strlen(text), hex, sizeof hex))
        return 0;
    len = strlen(hex);
    if (!hex_is(hex, len) || !hex_decode(out, hex, len))
        return 0;
    return len / 2;
}

bool system_id_is_concrete(const char *id)
{
    size_t len = strlen(id), step = 0;

    if (len == 0 || len > SYSTEM_ID_MAX)
        return false;
    for (size_t i = 0; i < len; i += step) {
        step = utf8_step(id + i, len - i);
        if (step == 0 || (uint8_t)id[i] < 0x20 || (uint8_t)id[i] == 0x7f || strchr("*?[]\\", id[i]) != NULL)
            return false;
    }
    return true;
}
