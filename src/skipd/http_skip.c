/* SPDX-License-Identifier: BSD-2-Clause */
/* SKIP (draft-cisco-skip): capabilities, key, key by ID, entropy. */
#include "skipd/http.h"

#include <stdio.h>
#include <string.h>

#define ENTROPY_BITS 256 /* if the client does not say */

static int http_status(enum service_status status)
{
    switch (status) {
    case SERVICE_OK:
        return 200;
    case SERVICE_BAD_REQUEST:
    case SERVICE_NO_SYSTEM:
    case SERVICE_NO_KEY:
        return 400;
    case SERVICE_FORBIDDEN:
        return 403;
    case SERVICE_UNAVAILABLE:
        return 503;
    case SERVICE_FAILED:
        break;
    }
    return 500;
}

/* Writes a JSON text into memory that is large enough, without a terminator. */
static char *put_text(char *at, const char *text)
{
    return mempcpy(at, text, strlen(text));
}

static char *put_hex(char *at, struct span bytes)
{
    hex_encode(at, bytes.data, bytes.len);
    return at + 2 * bytes.len;
}

/* {"keyId":"…","key":"…"} */
static bool on_key(void *context, const struct service_answer *answer)
{
    struct http_exchange *x = context;
    char id[2 * KEY_ID_MAX + 1] = "";
    char *json = NULL, *end = NULL;

    if (answer->status != SERVICE_OK) {
        http_answer_error(x, http_status(answer->status), answer->reason);
        return true;
    }
    hex_encode(id, answer->id.data, answer->id.len);
    http_note(x, REQUEST_OTHER, NULL, id);
    json = secmem_alloc(2 * (answer->id.len + answer->key.len) + 32);
    if (json == NULL) {
        http_answer_error(x, 503, "no memory for the answer");
        return false;
    }
    end = put_text(json, "{\"keyId\":\"");
    end = put_hex(end, answer->id);
    end = put_text(end, "\",\"key\":\"");
    end = put_hex(end, answer->key);
    end = put_text(end, "\"}");
    return http_answer_secret(x, json, (size_t)(end - json));
}

/* The concrete remoteSystemID of the query. False: answered. */
static bool remote_of(struct http_exchange *x, enum request_kind kind, const char *query,
                      char remote[static SYSTEM_ID_MAX + 1])
{
    enum query_result r = query_value(query, "remoteSystemID", remote, SYSTEM_ID_MAX + 1);

    http_note(x, kind, r == QUERY_FOUND ? remote : NULL, NULL);
    if (r == QUERY_FOUND && system_id_is_concrete(remote))
        return true;
    http_answer_error(x, 400,
                      r == QUERY_ABSENT  ? "remoteSystemID is missing"
                      : r == QUERY_TWICE ? "remoteSystemID is there twice"
                                         : "remoteSystemID is malformed");
    return false;
}

static void handle_key(struct http_exchange *x, const char *query)
{
    char remote[SYSTEM_ID_MAX + 1];
    uint32_t bits = 0;

    if (!remote_of(x, REQUEST_KEY, query, remote))
        return;
    switch (query_number(query, "size", &bits)) {
    case QUERY_ABSENT:
        break;
    case QUERY_FOUND:
        if (bits > 0)
            break;
        /* fall through */
    default:
        http_answer_error(x, 400, "size is malformed");
        return;
    }
    service_key_new(http_service(x), http_client(x), remote, bits, on_key, x);
}

static void handle_key_id(struct http_exchange *x, const char *text, const char *query)
{
    char remote[SYSTEM_ID_MAX + 1], hex[2 * KEY_ID_MAX + 1] = "";
    uint8_t id[KEY_ID_MAX];
    size_t len = key_id_decode(text, id);

    if (len == 0) {
        http_note(x, REQUEST_KEY_BY_ID, NULL, NULL);
        http_answer_error(x, 400, "keyId is malformed");
        return;
    }
    hex_encode(hex, id, len);
    http_note(x, REQUEST_KEY_BY_ID, NULL, hex);
    if (remote_of(x, REQUEST_KEY_BY_ID, query, remote))
        service_key_by_id(http_service(x), http_client(x), remote, (struct span){id, len}, on_key, x);
}

/* {"randomStr":"…","minentropy":N} */
static void handle_entropy(struct http_exchange *x, const char *query)
{
    uint32_t bits = ENTROPY_BITS;
    enum query_result r = query_number(query, "minentropy", &bits);
    uint8_t *bytes = NULL;
    char *json = NULL, *end = NULL;

    http_note(x, REQUEST_ENTROPY, NULL, NULL);
    if (r == QUERY_MALFORMED || r == QUERY_TWICE || bits == 0) {
        http_answer_error(x, 400, "minentropy is malformed");
        return;
    }
    bits = (bits + 7) / 8 * 8;
    if (bits > SERVICE_ENTROPY_MAX) {
        http_answer_error(x, 503, "that much entropy is not given at once");
        return;
    }
    bytes = secmem_alloc(bits / 8);
    json = secmem_alloc(bits / 4 + 64);
    if (bytes == NULL || json == NULL || !service_entropy(bits, bytes)) {
        secmem_free(bytes);
        secmem_free(json);
        http_answer_error(x, 503, "no entropy now");
        return;
    }
    end = put_text(json, "{\"randomStr\":\"");
    end = put_hex(end, (struct span){bytes, bits / 8});
    end += snprintf(end, 40, "\",\"minentropy\":%u}", bits);
    secmem_free(bytes);
    http_answer_secret(x, json, (size_t)(end - json));
}

struct remotes {
    struct text json;
    size_t n;
};

static void add_remote(void *context, const char *pattern)
{
    struct remotes *r = context;

    text_printf(&r->json, "%s", r->n++ > 0 ? "," : "");
    text_append_json(&r->json, pattern, strlen(pattern));
}

static void handle_capabilities(struct http_exchange *x)
{
    const struct skipd_client *client = http_client(x);
    struct remotes r = {0};

    http_note(x, REQUEST_CAPABILITIES, NULL, NULL);
    text_printf(&r.json, "{\"entropy\":%s,\"key\":%s,\"algorithm\":\"skipd-sync-tls13\",\"localSystemID\":",
                (client->permissions & PERMIT_ENTROPY) != 0 ? "true" : "false",
                (client->permissions & (PERMIT_KEY | PERMIT_KEY_ID)) != 0 ? "true" : "false");
    text_append_json(&r.json, client->system_id, strlen(client->system_id));
    text_printf(&r.json, ",\"remoteSystemID\":[");
    service_remotes(http_service(x), client, add_remote, &r);
    text_printf(&r.json, "]}");
    if (r.json.failed)
        http_answer_error(x, 503, "no memory");
    else
        http_answer_json(x, r.json.s);
    text_free(&r.json);
}

static bool handle(struct http_exchange *x, const char *method, const char *path, const char *query)
{
    static const enum permission needs[] = {
        [SKIP_PATH_CAPABILITIES] = PERMIT_CAPABILITIES,
        [SKIP_PATH_KEY] = PERMIT_KEY,
        [SKIP_PATH_KEY_ID] = PERMIT_KEY_ID,
        [SKIP_PATH_ENTROPY] = PERMIT_ENTROPY,
    };
    const char *rest = NULL;
    enum skip_path what = skip_path_of(path, &rest);

    if (what == SKIP_PATH_UNKNOWN)
        return false;
    if (strcmp(method, "GET") != 0) {
        http_answer_method(x, "GET");
        return true;
    }
    if ((http_client(x)->permissions & needs[what]) == 0) {
        http_answer_error(x, 403, "this client may not use this method");
        return true;
    }
    switch (what) {
    case SKIP_PATH_CAPABILITIES:
        handle_capabilities(x);
        break;
    case SKIP_PATH_KEY:
        handle_key(x, query);
        break;
    case SKIP_PATH_KEY_ID:
        handle_key_id(x, rest, query);
        break;
    default:
        handle_entropy(x, query);
        break;
    }
    return true;
}

const struct http_dialect http_skip = {.number = DIALECT_SKIP,
                                       .kinds = {"request", "capabilities", "key", "key by ID", "entropy"},
                                       .error_member = "error",
                                       .refused = 403,
                                       .handle = handle};
