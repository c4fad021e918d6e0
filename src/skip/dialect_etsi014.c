/* SPDX-License-Identifier: BSD-2-Clause */
/* ETSI GS QKD 014 V1.1.1, REST-based key delivery: keys in base64, named by UUIDs. Keys are asked for by
 * POST, which all servers know; some do not take the standard's GET. A UUID without its hyphens is a keyId as
 * SKIP has it, and so the same PPK ID. */
#include "base/base64.h"
#include "skip/dialect.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define UUID_HEX  32u
#define UUID_TEXT 36u

/* Behind each of these digits a UUID's text has a hyphen. */
static bool hyphen_follows(size_t digits)
{
    return digits == 8 || digits == 12 || digits == 16 || digits == 20;
}

/* A UUID, with its hyphens or without any, as lower-case digits. False: it is none. */
static bool uuid_digits(const char *text, size_t len, char digits[static UUID_HEX + 1])
{
    size_t n = 0;
    if (len != UUID_TEXT && len != UUID_HEX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (len == UUID_TEXT && hyphen_follows(n) && text[i - 1] != '-') {
            if (text[i] != '-')
                return false;
            continue;
        }
        if (n == UUID_HEX || !isxdigit((unsigned char)text[i]))
            return false;
        digits[n++] = (char)tolower((unsigned char)text[i]);
    }
    digits[n] = 0;
    return n == UUID_HEX;
}

/* The key_ID of a request: a UUID, or what the server has instead, verbatim. */
static void append_key_id(struct text *out, const char *key_id)
{
    char digits[UUID_HEX + 1], uuid[UUID_TEXT + 1];
    size_t n = 0;
    if (!uuid_digits(key_id, strlen(key_id), digits)) {
        text_append_json(out, key_id, strlen(key_id));
        return;
    }
    for (size_t i = 0; i < UUID_HEX; i++) {
        uuid[n++] = digits[i];
        if (hyphen_follows(i + 1))
            uuid[n++] = '-';
    }
    text_append_json(out, uuid, n);
}

static void request(const struct skip_call *call, struct text *path, struct text *body)
{
    static const char *const methods[SKIP_REQUESTS] = {
        [SKIP_REQUEST_CAPABILITIES] = "status",
        [SKIP_REQUEST_KEY] = "enc_keys",
        [SKIP_REQUEST_KEY_BY_ID] = "dec_keys",
    };
    if (!methods[call->request])
        return;
    text_printf(path, "/api/v1/keys/");
    message_encode(path, call->remote);
    text_printf(path, "/%s", methods[call->request]);
    if (call->request == SKIP_REQUEST_KEY) {
        text_printf(body, "{\"number\":1,\"size\":%u}", call->size);
    } else if (call->request == SKIP_REQUEST_KEY_BY_ID) {
        text_printf(body, "{\"key_IDs\":[{\"key_ID\":");
        append_key_id(body, call->key_id);
        text_printf(body, "}]}");
    }
}

/* Some write "\/" for base64's slash, as JSON allows: takes those backslashes away, in time that depends on
 * the length only. False: another escape. */
static bool unescape(char *out, size_t *out_len, const char *in, size_t len)
{
    unsigned previous = 0, bad = 0;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned c = (unsigned char)in[i];
        unsigned backslash = ((c ^ '\\') - 1u) >> 31, slash = ((c ^ '/') - 1u) >> 31;
        bad |= previous & (slash ^ 1u);
        out[n] = (char)c;
        n += backslash ^ 1u;
        previous = backslash;
    }
    *out_len = n;
    return (bad | previous) == 0;
}

/* Decodes the base64 of member "key" of `object` from the body, arena to arena. NULL with the reason in
 * `out`.
 */
static struct secret *secret_member(struct reading *r, const json_t *object)
{
    size_t at = 0, len = 0, value_len = 0;
    struct secret *secret = NULL;
    if (!reading_secret_place(r, object, "key", &at, &len))
        return NULL;
    r->out->result = SKIP_UNREACHABLE;
    if (len > 2 * BASE64_LEN(SECRET_MAX)) {
        fault_set(&r->out->fault, "\"key\" of its answer is longer than %d bytes", SECRET_MAX);
        return NULL;
    }
    char *text = r->host->secmem_alloc(len);
    uint8_t *value = r->host->secmem_alloc(len);
    if (!text || !value) {
        reading_fail(r, SKIP_NO_MEMORY, "no locked memory left");
    } else if (!unescape(text, &len, r->body + at, len) || !base64_decode(value, &value_len, text, len)) {
        fault_set(&r->out->fault, "\"key\" of its answer is no base64");
    } else if (value_len > SECRET_MAX) {
        fault_set(&r->out->fault, "\"key\" of its answer is longer than %d bytes", SECRET_MAX);
    } else {
        secret = r->host->secret_new(value, value_len);
        if (!secret)
            reading_fail(r, SKIP_NO_MEMORY, "no memory for the key");
    }
    r->host->secmem_free(text);
    r->host->secmem_free(value);
    return secret;
}

/* Is `got` the ID that was asked for? */
static bool same_id(const char *asked, const char *got)
{
    char a[UUID_HEX + 1], g[UUID_HEX + 1];
    if (uuid_digits(asked, strlen(asked), a) && uuid_digits(got, strlen(got), g))
        return strcmp(a, g) == 0;
    return strcmp(asked, got) == 0;
}

/* {"keys":[{"key_ID":"…","key":"…"}]}: what else is there is the server's business. */
static void read_key(struct reading *r)
{
    const json_t *keys = json_object_get(r->root, "keys"), *first = json_array_get(keys, 0);
    char digits[UUID_HEX + 1];
    size_t len = 0;
    r->out->result = SKIP_UNREACHABLE;
    if (!json_is_array(keys)) {
        fault_set(&r->out->fault, "\"keys\" of its answer is missing or no list");
        return;
    }
    if (json_array_size(keys) != 1 || !json_is_object(first)) {
        fault_set(&r->out->fault,
                  "\"keys\" of its answer has %zu members, or no objects, where one key was asked for",
                  json_array_size(keys));
        return;
    }
    const char *id = reading_string(r, first, "key_ID", &len);
    if (!id)
        return;
    r->out->result = SKIP_UNREACHABLE;
    if (!key_id_acceptable(id, len)) {
        fault_set(&r->out->fault, "the key_ID of its answer is empty, too long, or has control characters");
        return;
    }
    bool asked = r->call->request == SKIP_REQUEST_KEY_BY_ID;
    if (asked && !same_id(r->call->key_id, id)) {
        fault_set(&r->out->fault, "it answered with key_ID \"%.80s\", not with the one that was asked for",
                  id);
        return;
    }
    struct secret *value = secret_member(r, first);
    if (!value)
        return;
    reading_key(r, value, asked ? r->call->key_id : uuid_digits(id, len, digits) ? digits : id);
}

/* A number of the status; 0 if it is not there, as with some servers. */
static bool number(struct reading *r, const char *name, uint64_t most, uint64_t *out)
{
    const json_t *j = json_object_get(r->root, name);
    *out = 0;
    if (!j || json_is_null(j))
        return true;
    if (json_is_integer(j) && json_integer_value(j) >= 0 && (uint64_t)json_integer_value(j) <= most) {
        *out = (uint64_t)json_integer_value(j);
        return true;
    }
    r->out->result = SKIP_UNREACHABLE;
    fault_set(&r->out->fault, "\"%s\" of its answer is no number, or out of range", name);
    return false;
}

/* The status, as far as it says what SKIP's capabilities do. */
static bool read_members(struct reading *r, struct skip_capabilities *c)
{
    uint64_t size = 0, min = 0, max = 0;
    c->key = true;
    c->delivery.told = true;
    c->algorithm = strdup("ETSI GS QKD 014");
    c->remote_system_ids = calloc(2, sizeof c->remote_system_ids[0]);
    if (!c->algorithm || !c->remote_system_ids) {
        reading_fail(r, SKIP_NO_MEMORY, "no memory");
        return false;
    }
    if (!reading_text(r, "master_SAE_ID", json_object_get(r->root, "master_SAE_ID"), &c->local_system_id) ||
        !reading_text(r, "slave_SAE_ID", json_object_get(r->root, "slave_SAE_ID"), &c->remote_system_ids[0]))
        return false;
    if (strcmp(c->remote_system_ids[0], r->call->remote) != 0) {
        r->out->result = SKIP_UNREACHABLE;
        fault_set(&r->out->fault,
                  "its status is of slave_SAE_ID \"%.80s\", not of the one that was asked for",
                  c->remote_system_ids[0]);
        return false;
    }
    bool good = number(r, "key_size", UINT32_MAX, &size) && number(r, "min_key_size", UINT32_MAX, &min) &&
                number(r, "max_key_size", UINT32_MAX, &max) &&
                number(r, "stored_key_count", INT64_MAX, &c->delivery.stored) &&
                number(r, "max_key_count", INT64_MAX, &c->delivery.room);
    c->delivery.size = (uint32_t)size;
    c->delivery.size_min = (uint32_t)min;
    c->delivery.size_max = (uint32_t)max;
    return good;
}

static void read_status(struct reading *r)
{
    struct skip_capabilities *c = calloc(1, sizeof *c);
    if (!c) {
        reading_fail(r, SKIP_NO_MEMORY, "no memory");
    } else if (read_members(r, c)) {
        r->out->capabilities = c;
        r->out->result = SKIP_OK;
    } else {
        skip_capabilities_free(c);
    }
}

/* The standard has 400, 401 and 503 only. */
static const struct refusal refusals[] = {
    {300, 399, SKIP_UNREACHABLE, ", a redirection, which is not followed"},
    {401, 401, SKIP_REFUSED, ": we are not authenticated"},
    {403, 403, SKIP_REFUSED, ": we are not allowed to"},
    {408, 408, SKIP_UNREACHABLE, ": timeout"},
    {409, 409, SKIP_UNREACHABLE, ": not in its present state"},
    {412, 412, SKIP_UNREACHABLE, ": not in its present state"},
    {429, 429, SKIP_UNREACHABLE, ": too many requests"},
    {400, 499, SKIP_REFUSED, ""},
    {503, 503, SKIP_UNREACHABLE, ": it has no keys now, or an error"},
    {504, 504, SKIP_UNREACHABLE, ": its own key source does not answer"},
    {500, 599, SKIP_UNREACHABLE, ""},
    {0, 999, SKIP_UNREACHABLE, ", which ETSI 014 does not know"},
};

/* Servers differ in what they answer to a key_ID that they have no key of. None of it may set a server aside,
 * since such IDs come from peers that are not authenticated yet. */
static const long absent[] = {400, 404, 409, 410, 412, 0};

const struct dialect dialect_etsi014 = {
    .name = "ETSI 014",
    .request = request,
    .read = {[SKIP_REQUEST_CAPABILITIES] = read_status,
             [SKIP_REQUEST_KEY] = read_key,
             [SKIP_REQUEST_KEY_BY_ID] = read_key},
    .refusals = refusals,
    .absent = absent,
};
