/* SPDX-License-Identifier: BSD-2-Clause */
/* SKIP (draft-cisco-skip): GET only, keys in hex. */
#include "skip/dialect.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void request(const struct skip_call *call, struct text *out, struct text *body)
{
    (void)body; /* GET only */
    switch (call->request) {
    case SKIP_REQUEST_CAPABILITIES:
        text_printf(out, "/capabilities");
        break;
    case SKIP_REQUEST_KEY:
        text_printf(out, "/key?remoteSystemID=");
        message_encode(out, call->remote);
        text_printf(out, "&size=%u", call->size);
        break;
    case SKIP_REQUEST_KEY_BY_ID:
        text_printf(out, "/key/");
        message_encode(out, call->key_id);
        text_printf(out, "?remoteSystemID=");
        message_encode(out, call->remote);
        break;
    case SKIP_REQUEST_ENTROPY:
        text_printf(out, "/entropy?minentropy=%u", call->size);
        break;
    case SKIP_REQUESTS:
        break;
    }
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
    if (!reading_secret_place(r, r->root, name, &at, &len))
        return NULL;
    r->out->result = SKIP_UNREACHABLE;
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
        reading_fail(r, SKIP_NO_MEMORY, "no locked memory left");
    } else if (!hex_decode(value, r->body + at, len)) {
        fault_set(&r->out->fault, "\"%s\" of its answer has a character that is no hex digit", name);
    } else {
        secret = r->host->secret_new(value, len / 2);
        if (!secret)
            reading_fail(r, SKIP_NO_MEMORY, "no memory for the key");
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

static void read_key(struct reading *r)
{
    size_t len = 0;
    const char *id = reading_string(r, r->root, "keyId", &len);
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
    reading_key(r, value, id);
}

static void read_entropy(struct reading *r)
{
    const json_t *j = json_object_get(r->root, "minentropy");
    r->out->result = SKIP_UNREACHABLE;
    if (!json_is_integer(j)) {
        reading_fail(r, SKIP_UNREACHABLE, "\"minentropy\" of its answer is missing or no whole number");
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

static void read_capabilities(struct reading *r)
{
    struct skip_capabilities *c = calloc(1, sizeof *c);
    if (!c) {
        reading_fail(r, SKIP_NO_MEMORY, "no memory");
        return;
    }
    const json_t *remotes = json_object_get(r->root, "remoteSystemID");
    size_t n = json_array_size(remotes), i = 0;
    if (!bool_member(r, "entropy", &c->entropy) || !bool_member(r, "key", &c->key) ||
        !reading_text(r, "algorithm", json_object_get(r->root, "algorithm"), &c->algorithm) ||
        !reading_text(r, "localSystemID", json_object_get(r->root, "localSystemID"), &c->local_system_id))
        goto out;
    if (!json_is_array(remotes)) {
        reading_fail(r, SKIP_UNREACHABLE, "\"remoteSystemID\" of its answer is missing or no list");
        goto out;
    }
    c->remote_system_ids = calloc(n + 1, sizeof c->remote_system_ids[0]);
    if (!c->remote_system_ids) {
        reading_fail(r, SKIP_NO_MEMORY, "no memory");
        goto out;
    }
    while (i < n && reading_text(r, "remoteSystemID", json_array_get(remotes, i), &c->remote_system_ids[i]))
        i++;
    if (i == n) {
        r->out->capabilities = c;
        r->out->result = SKIP_OK;
        return;
    }
out:
    skip_capabilities_free(c);
}

static const struct refusal refusals[] = {
    {300, 399, SKIP_UNREACHABLE, ", a redirection, which is not followed"},
    {401, 401, SKIP_REFUSED, ": we are not authenticated"},
    {403, 403, SKIP_REFUSED, ": we are not allowed to"},
    {408, 408, SKIP_UNREACHABLE, ": timeout"},
    {429, 429, SKIP_UNREACHABLE, ": too many requests"},
    {400, 499, SKIP_REFUSED, ""},
    {500, 599, SKIP_UNREACHABLE, ""},
    {0, 999, SKIP_UNREACHABLE, ", which SKIP does not know"},
};

const struct dialect dialect_skip = {
    .name = "SKIP",
    .request = request,
    .read = {[SKIP_REQUEST_CAPABILITIES] = read_capabilities,
             [SKIP_REQUEST_KEY] = read_key,
             [SKIP_REQUEST_KEY_BY_ID] = read_key,
             [SKIP_REQUEST_ENTROPY] = read_entropy},
    .refusals = refusals,
    .absent = (const long[]){400, 404, 410, 0},
};
