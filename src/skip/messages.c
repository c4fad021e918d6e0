/* SPDX-License-Identifier: BSD-2-Clause */
#include "skip/messages.h"

#include "skip/dialect.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

void message_encode(struct text *out, const char *s)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *s; s++) {
        if (strchr(unreserved, *s))
            text_append(out, s, 1);
        else
            text_printf(out, "%%%02X", (unsigned)(unsigned char)*s);
    }
}

void reading_fail(struct reading *r, enum skip_result result, const char *text)
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
        reading_fail(r, SKIP_UNREACHABLE, "its answer is nested too deeply");
        return false;
    case JSON_BLANK_MANY:
        reading_fail(r, SKIP_UNREACHABLE, "its answer has too many long strings");
        return false;
    case JSON_BLANK_NO_MEMORY:
        reading_fail(r, SKIP_NO_MEMORY, "no memory");
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
        reading_fail(r, SKIP_UNREACHABLE, "its answer is no JSON object");
        return false;
    }
    return true;
}

const char *reading_string(struct reading *r, const json_t *object, const char *name, size_t *len)
{
    const json_t *j = json_object_get(object, name);
    if (!json_is_string(j)) {
        r->out->result = SKIP_UNREACHABLE;
        fault_set(&r->out->fault, j ? "\"%s\" of its answer is no string" : "its answer has no \"%s\"", name);
        return NULL;
    }
    *len = json_string_length(j);
    return json_string_value(j);
}

bool reading_secret_place(struct reading *r, const json_t *object, const char *name, size_t *at, size_t *len)
{
    const char *shown = reading_string(r, object, name, len);
    if (!shown)
        return false;
    r->out->result = SKIP_UNREACHABLE;
    if (*len == 0)
        fault_set(&r->out->fault, "\"%s\" of its answer is empty", name);
    else if (!json_blank_find(&r->blank, shown, *len, at))
        /* Too short to be moved, or named by an escape sequence. */
        fault_set(&r->out->fault, "\"%s\" of its answer is no key", name);
    else
        return true;
    return false;
}

bool reading_text(struct reading *r, const char *name, const json_t *j, char **out)
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
        reading_fail(r, SKIP_NO_MEMORY, "no memory");
    return *out != NULL;
}

bool key_id_acceptable(const char *id, size_t len)
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

void reading_key(struct reading *r, struct secret *value, const char *id)
{
    r->out->result = SKIP_UNREACHABLE;
    if (!key_size_acceptable(r, r->host->secret_len(value))) {
        r->host->secret_free(value);
        return;
    }
    r->out->key_id = strdup(id);
    if (!r->out->key_id) {
        r->host->secret_free(value);
        reading_fail(r, SKIP_NO_MEMORY, "no memory");
        return;
    }
    r->out->value = value;
    r->out->result = SKIP_OK;
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

/* Any status but 200: which of the three kinds of no it is. The body is never taken for a message. */
static void read_refusal(struct reading *r, const struct dialect *d, long status, size_t len)
{
    struct text text = {0};
    const struct refusal *kind = d->refusals;
    bool absent = false;
    while (status < kind->from || status > kind->to)
        kind++;
    for (const long *a = d->absent; r->call->request == SKIP_REQUEST_KEY_BY_ID && *a; a++)
        absent = absent || status == *a;
    if (absent)
        text_printf(&text, "it has no key of this ID: status %ld", status);
    else
        text_printf(&text, "it answered with status %ld%s", status, kind->meaning);
    append_reason(r, len, &text);
    r->out->result = absent ? SKIP_NO_SUCH_KEY : kind->result;
    fault_set(&r->out->fault, "%s", text.s ? text.s : "no memory");
    text_free(&text);
}

static const struct dialect *dialect_of(const struct sks_profile *profile)
{
    return profile->type == SKS_ETSI014 ? &dialect_etsi014 : &dialect_skip;
}

void message_request(const struct sks_profile *profile, const struct skip_call *call, struct text *path,
                     struct text *body)
{
    dialect_of(profile)->request(call, path, body);
}

void message_read(const struct skip_host *host, const struct sks_profile *profile,
                  const struct skip_call *call, long status, const char *body, size_t len,
                  struct skip_answer *out)
{
    struct reading r = {.host = host, .profile = profile, .call = call, .body = body, .out = out};
    const struct dialect *d = dialect_of(profile);
    out->status = status;
    if (status < 0 || status > 999)
        status = 0;
    if (!d->read[call->request]) {
        out->result = SKIP_REFUSED;
        fault_set(&out->fault, "%s has no such request", d->name);
    } else if (status != 200) {
        read_refusal(&r, d, status, len);
    } else if (parse(&r, len)) {
        d->read[call->request](&r);
    }
    json_decref(r.root);
    json_blank_free(&r.blank);
}
