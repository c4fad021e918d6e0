/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppk/id.h"

#include <string.h>

/* From this many digits on, bytes that all happen to be hex digits are no raw ID: less than one in 2^56 would
 * be. */
enum { SURELY_HEX_TEXT = 16 };

/* IDs are no secrets: of most, the first byte tells that they are not hex text. */
static bool begins_like_hex(struct span id)
{
    const uint8_t c = id.data[0];

    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

void id_keys_make(struct span id, struct id_keys *out)
{
    out->n = 0;
    if (!id.len || id.len > PPK_ID_MAX)
        return;
    if (begins_like_hex(id) && hex_is((const char *)id.data, id.len) &&
        hex_decode(out->bytes, (const char *)id.data, id.len))
        out->key[out->n++] = (struct span){out->bytes, id.len / 2};
    out->key[out->n++] = id;
}

/* UTF-8 without control characters (C0, DEL, C1)? */
static bool reads_as_text(struct span id)
{
    const char *s = (const char *)id.data;

    for (size_t i = 0, step; i < id.len; i += step) {
        step = utf8_step(s + i, id.len - i);
        if (!step || id.data[i] < 0x20 || id.data[i] == 0x7f || (id.data[i] == 0xc2 && id.data[i + 1] < 0xa0))
            return false;
    }
    return true;
}

/* In a path, "." and ".." name no key: a server may take "/key/." for "/key/", and give a new one. */
static bool is_dots(struct span id)
{
    return id.len <= 2 && id.data[0] == '.' && id.data[id.len - 1] == '.';
}

void id_forms_make(struct span id, enum ppk_id_format format, struct id_forms *out)
{
    out->n = 0;
    if (!id.len || id.len > PPK_ID_MAX)
        return;
    char *verbatim = out->text, *hex = out->text + id.len + 1;
    *(char *)mempcpy(verbatim, id.data, id.len) = '\0';
    hex_encode(hex, id.data, id.len);
    hex[2 * id.len] = '\0';

    bool text = reads_as_text(id) && !is_dots(id), hex_text = hex_is(verbatim, id.len);
    bool raw = !(hex_text && id.len >= SURELY_HEX_TEXT);
    if (raw && (!text || format == PPK_ID_RAW))
        out->form[out->n++] = hex;
    if (text)
        out->form[out->n++] = verbatim;
    if (raw && text && format == PPK_ID_TEXT)
        out->form[out->n++] = hex;
}

size_t id_shown(const char *key_id, enum ppk_id_format format, uint8_t *out)
{
    size_t len = strlen(key_id);

    if (format == PPK_ID_RAW && hex_is(key_id, len) && hex_decode(out, key_id, len))
        return len / 2;
    return (size_t)((uint8_t *)mempcpy(out, key_id, len) - out);
}

bool id_matches(struct span shown, bool hex_text, struct span key)
{
    uint8_t bytes[PPK_ID_MAX / 2];

    if (!hex_text)
        return span_equal(shown, key);
    return shown.len == 2 * key.len && hex_decode(bytes, (const char *)shown.data, shown.len) &&
           memcmp(bytes, key.data, key.len) == 0;
}
