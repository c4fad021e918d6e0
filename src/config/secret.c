/* SPDX-License-Identifier: BSD-2-Clause */
#include "config/syntax.h"
#include "config/type6.h"

#include <stdlib.h>
#include <string.h>

enum secret_type { SECRET_CLEAR, SECRET_TYPE6, SECRET_HEX };

static bool length_check(struct config_call *call, const char *what, size_t len, size_t min, size_t max)
{
    if (len >= min && len <= max)
        return true;
    config_wrong(call, "the %s has %zu bytes; %zu to %zu are allowed", what, len, min, max);
    return false;
}

static struct secret *secret_keep(struct config_call *call, const void *value, size_t len)
{
    struct secret *s = secret_new(value, len);

    if (s == NULL)
        config_wrong(call, "no secret memory left");
    return s;
}

static bool hex_take(struct config_call *call, const struct config_value *key, const char *what, size_t min,
                     size_t max, struct secret **value)
{
    const char *digits = key->text;
    size_t len = key->len;
    uint8_t *bytes;

    if (len > 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) {
        digits += 2;
        len -= 2;
    }
    if (!hex_is(digits, len)) {
        config_wrong(call, "the %s is not an even number of hexadecimal digits", what);
        return false;
    }
    if (!length_check(call, what, len / 2, min, max))
        return false;
    bytes = secmem_alloc(len / 2);
    if (bytes == NULL) {
        config_wrong(call, "no secret memory left");
        return false;
    }
    if (hex_decode(bytes, digits, len))
        *value = secret_keep(call, bytes, len / 2);
    secmem_free(bytes);
    return *value != NULL;
}

bool config_secret_take(struct config_call *call, const char *name, const char *what, size_t min, size_t max,
                        struct secret **value, char **sealed)
{
    const struct config_value *key = config_get(call, name);
    const struct config_value *type = config_get(call, "0|6|hex");

    *value = NULL;
    *sealed = NULL;
    if (key == NULL)
        return false;
    if (type != NULL && type->choice == SECRET_HEX)
        return hex_take(call, key, what, min, max, value);
    if (type != NULL && type->choice == SECRET_TYPE6) {
        size_t len = type6_length(key->text);

        if (!type6_is(key->text)) {
            config_wrong(call, "the %s is not a Type 6 text (\"ppkctl encrypt\" makes one)", what);
            return false;
        }
        if (!length_check(call, what, len, min, max))
            return false;
        *sealed = strdup(key->text);
        if (*sealed == NULL)
            config_wrong(call, "no memory left");
        return *sealed != NULL;
    }
    if (strcmp(key->text, "<removed>") == 0) {
        config_wrong(call, "the %s was removed from here by \"ppkctl show\"", what);
        return false;
    }
    if (!length_check(call, what, key->len, min, max))
        return false;
    *value = secret_keep(call, key->text, key->len);
    return *value != NULL;
}
