/* SPDX-License-Identifier: BSD-2-Clause */
#include "skip/messages.h"

#include "skip/json_blank.h"

#include <ctype.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A key of a size that nobody asked for (GET /key/{id}) must not be shorter than what RFC 8784 wants of a PPK
 * (section 5.1: 256 bits), unless the profile itself asks for shorter ones. */
#define KEY_BITS_MIN 256u

/* Percent-encoding of all but the unreserved characters (RFC 3986, section 2.3). */
static void append_encoded(struct text *out, const char *s)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *s; s++) {
        if (strchr(unreserved, *s))
            text_append(out, s, 1);
        else
            text_printf(out, "%%%02X", (unsigned)(unsigned char)*s);
    }
}

void message_path(const struct skip_call *call, struct text *out)
{
    switch (call->request) {
    case SKIP_REQUEST_CAPABILITIES:
        text_printf(out, "/capabilities");
        break;
    case SKIP_REQUEST_KEY:
        text_printf(out, "/key?remoteSystemID=");
        append_encoded(out, call->remote);
        text_printf(out, "&size=%u", call->size);
        break;
    case SKIP_REQUEST_KEY_BY_ID:
        text_printf(out, "/key/");
        append_encoded(out, call->key_id);
        text_printf(out, "?remoteSystemID=");
        append_encoded(out, call->remote);
        break;
    case SKIP_REQUEST_ENTROPY:
        text_printf(out, "/entropy?minentropy=%u", call->size);
        break;
    case SKIP_REQUESTS:
        break;
    }
}

/* An answer while it is read. */
struct reading {
    const struct skip_host *host;
    const struct sks_profile *profile;
    const struct skip_call *call;
    const char *body;
    struct json_blank blank;
    json_t *root; /* NULL: no JSON object */
    struct skip_answer *out;
};

static void broken(struct reading *r, enum skip_result result, const char *text)
{
    r->out->result = result;
    fault_set(&r->out->fault, "%s", text);
}

/* Parses the body; false with the reason in `out`. */
static bool parse(struct reading *r, size_t len)
{
    switch (json_blank_make(r->body, len, &r->blank)) {
    case JSON_BLANK_OK:
        break;
    case JSON_BLANK_DEEP:
        broken(r, SKIP_UNREACHABLE, "its answer is no SKIP message: nested too deeply");
        return false;
    case JSON_BLANK_MANY:
        broken(r, SKIP_UNREACHABLE, "its answer is no SKIP message: too many long strings");
        return false;
    case JSON_BLANK_NO_MEMORY:
        broken(r, SKIP_NO_MEMORY, "no memory");
        return false;
    }
    json_error_t error;
    r->root = json_loadb(r->blank.text, r->blank.len, JSON_REJECT_DUPLICATES, &error);
    if (!r->root) {
        r->out->result = SKIP_UNREACHABLE;
        fault_set(&r->out->fault, "its answer is not JSON: line %d, column %d: %s", error.line, error.column,
                  error.text);
        return false;
    }
    if (!json_is_object(r->root)) {
        broken(r, SKIP_UNREACHABLE, "its answer is no JSON object");
        return false;
    }
    return true;
}

/* The string member `name`; NULL with the reason in `out`. */
static const char *string_member(struct reading *r, const char *name, size_t *len)
{
    const json_t *j = json_object_get(r->root, name);
    if (!json_is_string(j)) {
        r->out->result = SKIP_UNREACHABLE;
        fault_set(&r->out->fault, j ? "\"%s\" of its answer is no string" : "its answer has no \"%s\"", name);
        return NULL;
    }
    *len = json_string_length(j);
    return json_string_value(j);
}

static bool bool_member(struct reading *r, const char *name, bool *out)
{
    const json_t *j = json_object_get(r->root, name);
    if (!json_is_boolean(j)) {
        r->out->result = SKIP_UNREACHABLE;
        fault_set(&r->out->fault,
                  j ? "\"%s\" of its answer is neither true nor false" : "its answer has no \"%s\"", name);
        return false;
    }
    *out = json_is_true(j);
    return true;
}

/* Decodes the hex of member `name` from the body, arena to arena. NULL with the reason in `out`. */
static struct secret *secret_member(struct reading *r, const char *name)
{
    size_t len = 0, at = 0;
    const char *shown = string_member(r, name, &len);
    if (!shown)
        return NULL;
    r->out->result = SKIP_UNREACHABLE;
    if (len == 0) {
        fault_set(&r->out->fault, "\"%s\" of its answer is empty", name);
        return NULL;
    }
    if (!json_blank_find(&r->blank, shown, len, &at)) {
        /* Too short to be moved, or named by an escape sequence. */
        fault_set(&r->out->fault, "\"%s\" of its answer is no key", name);
        return NULL;
    }
    if (len % 2) {
        fault_set(&r->out->fault, "\"%s\" of its answer has an odd number of hex digits", name);
        return NULL;
    }
    if (len / 2 > SECRET_MAX) {
        fault_set(&r->out->fault, "\"%s\" of its answer is longer than %d bytes", name, SECRET_MAX);
        return NULL;
    }
    uint8_t *value = r->host->secmem_alloc(len / 2);
    struct secret *secret = NULL;
    if (!value) {
        broken(r, SKIP_NO_MEMORY, "no locked memory left");
    } else if (!hex_decode(value, r->body + at, len)) {
        fault_set(&r->out->fault, "\"%s\" of its answer has a character that is no hex digit", name);
    } else {
        secret = r->host->secret_new(value, len / 2);
        if (!secret)
            broken(r, SKIP_NO_MEMORY, "no memory for the key");
    }
    r->host->secmem_free(value);
    return secret;
}

/* Is `got` the ID that was asked for? Key sources differ in the case of their digits. */
static bool same_id(const char *asked, const char *got)
{
    size_t len = strlen(asked);
    if (len != strlen(got))
        return false;
    return hex_is(asked, len) && hex_is(got, len) ? strcasecmp(asked, got) == 0 : strcmp(asked, got) == 0;
}

static bool key_id_acceptable(const char *id, size_t len)
{
    if (len == 0 || len > SKIP_KEY_ID_MAX || len != strlen(id) || strcmp(id, ".") == 0 ||
        strcmp(id, "..") == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)id[i] < 0x20 || id[i] == 0x7f)
            return false;
    }
    return true;
}

static bool key_size_acceptable(struct reading *r, size_t len)
{
    uint32_t asked = r->call->size,
             least = r->profile->key_size < KEY_BITS_MIN ? r->profile->key_size : KEY_BITS_MIN;
    if (r->call->request == SKIP_REQUEST_KEY && len * 8 != asked) {
        fault_set(&r->out->fault, "its key has %zu bits where %u were asked for", len * 8, asked);
        return false;
    }
    if (r->call->request == SKIP_REQUEST_KEY_BY_ID && len * 8 < least) {
        fault_set(&r->out->fault, "its key has only %zu bits: at least %u are needed", len * 8, least);
        return false;
    }
    return true;
}

static void read_key(struct reading *r)
{
    size_t len = 0;
    const char *id = string_member(r, "keyId", &len);
    if (!id)
        return;
    r->out->result = SKIP_UNREACHABLE;
    if (!key_id_acceptable(id, len)) {
        fault_set(&r->out->fault, "the keyId of its answer is empty, too long, or has control characters");
        return;
    }
    if (r->call->request == SKIP_REQUEST_KEY_BY_ID && !same_id(r->call->key_id, id)) {
        fault_set(&r->out->fault, "it answered with keyId \"%.80s\", not with the one that was asked for",
                  id);
        return;
    }
    struct secret *value = secret_member(r, "key");
    if (!value)
        return;
    if (!key_size_acceptable(r, r->host->secret_len(value))) {
        r->host->secret_free(value);
        return;
    }
    r->out->key_id = strdup(id);
    if (!r->out->key_id) {
        r->host->secret_free(value);
        broken(r, SKIP_NO_MEMORY, "no memory");
        return;
    }
    r->out->value = value;
    r->out->result = SKIP_OK;
}

static void read_entropy(struct reading *r)
{
    const json_t *j = json_object_get(r->root, "minentropy");
    r->out->result = SKIP_UNREACHABLE;
    if (!json_is_integer(j)) {
        broken(r, SKIP_UNREACHABLE, "\"minentropy\" of its answer is missing or no whole number");
        return;
    }
    json_int_t bits = json_integer_value(j);
    struct secret *value = secret_member(r, "randomStr");
    if (!value)
        return;
    if (bits < 0 || (uint64_t)bits < r->call->size || (uint64_t)bits > r->host->secret_len(value) * 8) {
        fault_set(&r->out->fault,
                  "its random string of %zu bits has a minentropy of %lld bits where %u were asked for",
                  r->host->secret_len(value) * 8, (long long)bits, r->call->size);
        r->host->secret_free(value);
        return;
    }
    r->out->value = value;
    r->out->result = SKIP_OK;
}

/* Copies a system ID or algorithm name that is text; false with the reason in `out`. */
static bool copy_text(struct reading *r, const char *name, const json_t *j, char **out)
{
    if (!json_is_string(j) || json_string_length(j) > SKIP_KEY_ID_MAX) {
        r->out->result = SKIP_UNREACHABLE;
        fault_set(&r->out->fault, "\"%s\" of its answer is missing, no text, or too long", name);
        return false;
    }
    /* A system ID may look like a key, and then was moved. */
    size_t at = 0, len = json_string_length(j);
    *out = json_blank_find(&r->blank, json_string_value(j), len, &at) ? strndup(r->body + at, len)
                                                                      : strdup(json_string_value(j));
    if (!*out)
        broken(r, SKIP_NO_MEMORY, "no memory");
    return *out != NULL;
}

static void read_capabilities(struct reading *r)
{
    struct skip_capabilities *c = calloc(1, sizeof *c);
    if (!c) {
        broken(r, SKIP_NO_MEMORY, "no memory");
        return;
    }
    const json_t *remotes = json_object_get(r->root, "remoteSystemID");
    size_t n = json_array_size(remotes), i = 0;
    if (!bool_member(r, "entropy", &c->entropy) || !bool_member(r, "key", &c->key) ||
        !copy_text(r, "algorithm", json_object_get(r->root, "algorithm"), &c->algorithm) ||
        !copy_text(r, "localSystemID", json_object_get(r->root, "localSystemID"), &c->local_system_id))
        goto out;
    if (!json_is_array(remotes)) {
        broken(r, SKIP_UNREACHABLE, "\"remoteSystemID\" of its answer is missing or no list");
        goto out;
    }
    c->remote_system_ids = calloc(n + 1, sizeof c->remote_system_ids[0]);
    if (!c->remote_system_ids) {
        broken(r, SKIP_NO_MEMORY, "no memory");
        goto out;
    }
    while (i < n && copy_text(r, "remoteSystemID", json_array_get(remotes, i), &c->remote_system_ids[i]))
        i++;
    if (i == n) {
        r->out->capabilities = c;
        r->out->result = SKIP_OK;
        return;
    }
out:
    skip_capabilities_free(c);
}

/* Shows what the key source says of an error, if it does so as those that are known do; what could be a key
 * is left out. */
static void append_reason(struct reading *r, size_t len, struct text *text)
{
    static const char *const members[] = {"error", "detail", "message"};
    struct fault kept = r->out->fault;
    if (!parse(r, len)) {
        r->out->fault = kept;
        return;
    }
    for (size_t m = 0; m < sizeof members / sizeof members[0]; m++) {
        const char *s = json_string_value(json_object_get(r->root, members[m]));
        size_t n = 0, run = 0, at = 0;
        if (!s)
            continue;
        if (json_blank_find(&r->blank, s, strlen(s), &at)) {
            text_printf(text, " (with a text that is not shown, since there may be a key in it)");
            return;
        }
        char shown[161];
        for (; n < sizeof shown - 1 && s[n]; n++) {
            shown[n] = s[n];
            run = isalnum((unsigned char)s[n]) || strchr("+/=_-", s[n]) ? run + 1 : 0;
            if (run >= 20)
                memset(shown + n + 1 - run, '.', run);
        }
        shown[n] = 0;
        text_printf(text, " (\"%s\")", shown);
        OPENSSL_cleanse(shown, sizeof shown);
        return;
    }
}

/* Any status but 200: which of the three kinds of no it is (SKIP.md, Status codes). The body is never taken
 * for a message. */
static void read_refusal(struct reading *r, long status, size_t len)
{
    static const struct {
        long from, to;
        enum skip_result result;
        const char *meaning;
    } kinds[] = {
        {300, 399, SKIP_UNREACHABLE, ", a redirection, which is not followed"},
        {401, 401, SKIP_REFUSED, ": we are not authenticated"},
        {403, 403, SKIP_REFUSED, ": we are not allowed to"},
        {408, 408, SKIP_UNREACHABLE, ": timeout"},
        {429, 429, SKIP_UNREACHABLE, ": too many requests"},
        {400, 499, SKIP_REFUSED, ""},
        {500, 599, SKIP_UNREACHABLE, ""},
        {0, 999, SKIP_UNREACHABLE, ", which SKIP does not know"},
    };
    struct text text = {0};
    size_t i = 0;
    while (status < kinds[i].from || status > kinds[i].to)
        i++;
    bool absent =
        r->call->request == SKIP_REQUEST_KEY_BY_ID && (status == 400 || status == 404 || status == 410);
    if (absent)
        text_printf(&text, "it has no key of this ID: status %ld", status);
    else
        text_printf(&text, "it answered with status %ld%s", status, kinds[i].meaning);
    append_reason(r, len, &text);
    r->out->result = absent ? SKIP_NO_SUCH_KEY : kinds[i].result;
    fault_set(&r->out->fault, "%s", text.s ? text.s : "no memory");
    text_free(&text);
}

void message_read(const struct skip_host *host, const struct sks_profile *profile,
                  const struct skip_call *call, long status, const char *body, size_t len,
                  struct skip_answer *out)
{
    struct reading r = {.host = host, .profile = profile, .call = call, .body = body, .out = out};
    out->status = status;
    if (status < 0 || status > 999)
        status = 0;
    if (status != 200) {
        read_refusal(&r, status, len);
    } else if (parse(&r, len)) {
        if (call->request == SKIP_REQUEST_CAPABILITIES)
            read_capabilities(&r);
        else if (call->request == SKIP_REQUEST_ENTROPY)
            read_entropy(&r);
        else
            read_key(&r);
    }
    json_decref(r.root);
    json_blank_free(&r.blank);
}
