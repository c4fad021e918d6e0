/* SPDX-License-Identifier: BSD-2-Clause */
/* ETSI GS QKD 014 V1.1.1, REST-based key delivery: status, enc_keys, dec_keys. An SAE ID is a system ID, and
 * a key_ID the UUID of the key ID's 16 bytes: so a key that was made in SKIP is fetched here, and the other
 * way round. One key at a time. */
#include "base/base64.h"
#include "skipd/http.h"

#include <jansson.h>
#include <limits.h>
#include <string.h>

#define UUID_TEXT 36 /* characters of a UUID with its hyphens */

/* What a request asks for. */
struct wish {
    const char *sae; /* the other SAE */
    uint32_t number, size;
    uint8_t key_id[KEY_ID_LEN];
};

/* The standard has 400, 401 and 503. */
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
        return 401;
    case SERVICE_UNAVAILABLE:
    case SERVICE_FAILED:
        break;
    }
    return 503;
}

/* ---- UUIDs ---- */

static bool hyphen_at(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

/* Reads a UUID of `len` characters (RFC 4122, 3), also one without hyphens. */
static bool uuid_read(const char *text, size_t len, uint8_t id[static KEY_ID_LEN])
{
    char hex[2 * KEY_ID_LEN];
    size_t n = 0;

    if (len == sizeof hex)
        return hex_is(text, len) && hex_decode(id, text, len);
    if (len != UUID_TEXT)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (hyphen_at(i) != (text[i] == '-'))
            return false;
        if (text[i] != '-')
            hex[n++] = text[i];
    }
    return hex_is(hex, sizeof hex) && hex_decode(id, hex, sizeof hex);
}

/* Writes UUID_TEXT characters. */
static void uuid_write(char *out, const uint8_t id[static KEY_ID_LEN])
{
    for (size_t i = 0; i < KEY_ID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        hex_encode(out, &id[i], 1);
        out += 2;
    }
}

/* ---- what is asked for ---- */

/* A number of a request's body; if it is missing, *out stays. */
static bool member_number(const json_t *root, const char *name, uint32_t *out, struct fault *fault)
{
    const json_t *j = json_object_get(root, name);

    if (j == NULL || json_is_null(j))
        return true;
    if (!json_is_integer(j) || json_integer_value(j) < 0 || json_integer_value(j) > INT_MAX) {
        fault_set(fault, "%s: no number, or out of range", name);
        return false;
    }
    *out = (uint32_t)json_integer_value(j);
    return true;
}

/* A list that must be empty, or not there. */
static bool member_empty(const json_t *root, const char *name, const char *otherwise, struct fault *fault)
{
    const json_t *j = json_object_get(root, name);

    if (j == NULL || json_is_null(j) || (json_is_array(j) && json_array_size(j) == 0))
        return true;
    fault_set(fault, "%s: %s", name, json_is_array(j) ? otherwise : "no list");
    return false;
}

static bool key_id_set(struct wish *w, const char *text, size_t len, struct fault *fault)
{
    if (uuid_read(text, len, w->key_id))
        return true;
    fault_set(fault, "key_ID: no UUID");
    return false;
}

static bool enc_keys_members(const json_t *root, struct wish *w, struct fault *fault)
{
    return member_number(root, "number", &w->number, fault) && member_number(root, "size", &w->size, fault) &&
           member_empty(root, "additional_slave_SAE_IDs", "keys are shared with one SAE", fault) &&
           member_empty(root, "extension_mandatory", "not all extension_mandatory parameters are supported",
                        fault);
}

static bool dec_keys_members(const json_t *root, struct wish *w, struct fault *fault)
{
    const json_t *ids = json_object_get(root, "key_IDs");
    const json_t *id = json_object_get(json_array_get(ids, 0), "key_ID");

    if (json_array_size(ids) == 0) {
        fault_set(fault, "key_IDs: missing, or no list, or empty");
        return false;
    }
    w->number = (uint32_t)json_array_size(ids);
    if (!json_is_string(id)) {
        fault_set(fault, "key_ID: missing, or no text");
        return false;
    }
    return key_id_set(w, json_string_value(id), json_string_length(id), fault);
}

/* Reads the body of a POST, of which `members` takes what it knows; none is an empty object. */
static bool body_read(const struct http_exchange *x,
                      bool (*members)(const json_t *root, struct wish *w, struct fault *fault),
                      struct wish *w, struct fault *fault)
{
    struct span body = http_body(x);
    json_error_t error = {0};
    json_t *root = body.len == 0
                       ? json_object()
                       : json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, &error);
    bool ok = false;

    if (root == NULL)
        fault_set(fault, "the body is not JSON: line %d column %d: %s", error.line, error.column, error.text);
    else if (!json_is_object(root))
        fault_set(fault, "the body is no JSON object");
    else
        ok = members(root, w, fault);
    json_decref(root);
    return ok;
}

static bool query_number_read(const char *query, const char *name, uint32_t *out, struct fault *fault)
{
    enum query_result r = query_number(query, name, out);

    if (r == QUERY_FOUND || r == QUERY_ABSENT)
        return true;
    fault_set(fault, "%s: %s", name, r == QUERY_TWICE ? "it is there twice" : "malformed");
    return false;
}

static bool enc_keys_query(const char *query, struct wish *w, struct fault *fault)
{
    return query_number_read(query, "number", &w->number, fault) &&
           query_number_read(query, "size", &w->size, fault);
}

static bool dec_keys_query(const char *query, struct wish *w, struct fault *fault)
{
    char text[UUID_TEXT + 1];

    switch (query_value(query, "key_ID", text, sizeof text)) {
    case QUERY_FOUND:
        return key_id_set(w, text, strlen(text), fault);
    case QUERY_ABSENT:
        fault_set(fault, "key_ID: missing");
        return false;
    case QUERY_TWICE:
        fault_set(fault, "key_ID: it is there twice");
        return false;
    case QUERY_MALFORMED:
        break;
    }
    fault_set(fault, "key_ID: no UUID");
    return false;
}

/* ---- answers ---- */

/* {"keys":[{"key_ID":"…","key":"…"}]} */
static bool on_key(void *context, const struct service_answer *answer)
{
    static const char HEAD[] = "{\"keys\":[{\"key_ID\":\"", MIDDLE[] = "\",\"key\":\"", TAIL[] = "\"}]}";
    struct http_exchange *x = context;
    char hex[2 * KEY_ID_LEN + 1] = "";
    char *json = NULL, *end = NULL;

    if (answer->status != SERVICE_OK) {
        http_answer_error(x, http_status(answer->status), answer->reason);
        return true;
    }
    /* ours are, and what was asked for was of that length */
    if (answer->id.len != KEY_ID_LEN) {
        http_answer_error(x, 503, "the ID of this key is no UUID");
        return false;
    }
    hex_encode(hex, answer->id.data, answer->id.len);
    http_note(x, REQUEST_OTHER, NULL, hex);
    json = secmem_alloc(sizeof HEAD + UUID_TEXT + sizeof MIDDLE + BASE64_LEN(answer->key.len) + sizeof TAIL);
    if (json == NULL) {
        http_answer_error(x, 503, "no memory for the answer");
        return false;
    }
    end = mempcpy(json, HEAD, sizeof HEAD - 1);
    uuid_write(end, answer->id.data);
    end = mempcpy(end + UUID_TEXT, MIDDLE, sizeof MIDDLE - 1);
    base64_encode(end, answer->key.data, answer->key.len);
    end = mempcpy(end + BASE64_LEN(answer->key.len), TAIL, sizeof TAIL - 1);
    return http_answer_secret(x, json, (size_t)(end - json));
}

static void answer_enc_keys(struct http_exchange *x, const struct wish *w)
{
    service_key_new(http_service(x), http_client(x), w->sae, w->size, on_key, x);
}

static void answer_dec_keys(struct http_exchange *x, const struct wish *w)
{
    char hex[2 * KEY_ID_LEN + 1] = "";

    hex_encode(hex, w->key_id, KEY_ID_LEN);
    http_note(x, REQUEST_OTHER, NULL, hex);
    service_key_by_id(http_service(x), http_client(x), w->sae, (struct span){w->key_id, KEY_ID_LEN}, on_key,
                      x);
}

static void add_text(struct text *json, const char *name, const char *value)
{
    text_printf(json, "\"%s\":", name);
    text_append_json(json, value, strlen(value));
    text_printf(json, ",");
}

/* Keys are made when they are asked for: as many are ready as the store may hold, as long as they can be
 * synchronized. */
static void answer_status(struct http_exchange *x, const struct wish *w)
{
    const struct skipd_conf *c = service_conf(http_service(x));
    struct service_route route = service_route(http_service(x), http_client(x), w->sae);
    struct text json = {0};
    const char *why = "";
    bool up = false;

    if (route.status != SERVICE_OK && route.status != SERVICE_UNAVAILABLE) {
        http_answer_error(x, http_status(route.status), route.reason);
        return;
    }
    up = service_link_is_up(http_service(x), route.peer, &why);
    text_printf(&json, "{");
    add_text(&json, "source_KME_ID", c->system_id);
    add_text(&json, "target_KME_ID", route.peer != NULL ? route.peer->name : c->system_id);
    add_text(&json, "master_SAE_ID", http_client(x)->system_id);
    add_text(&json, "slave_SAE_ID", w->sae);
    text_printf(&json,
                "\"key_size\":%u,\"stored_key_count\":%u,\"max_key_count\":%u,\"max_key_per_request\":1,"
                "\"max_key_size\":%u,\"min_key_size\":%u,\"max_SAE_ID_count\":0}",
                c->key_size, up ? c->max_keys : 0, c->max_keys, c->key_size_max, c->key_size_min);
    if (json.failed)
        http_answer_error(x, 503, "no memory");
    else
        http_answer_json(x, json.s);
    text_free(&json);
}

/* ---- requests ---- */

struct method {
    const char *name;
    enum request_kind kind;
    enum permission needs;
    /* GET's query and POST's body; NULL: there are no parameters, and no POST */
    bool (*query)(const char *query, struct wish *w, struct fault *fault);
    bool (*members)(const json_t *root, struct wish *w, struct fault *fault);
    void (*answer)(struct http_exchange *x, const struct wish *w);
};

static const struct method METHODS[] = {
    {"status", REQUEST_CAPABILITIES, PERMIT_CAPABILITIES, NULL, NULL, answer_status},
    {"enc_keys", REQUEST_KEY, PERMIT_KEY, enc_keys_query, enc_keys_members, answer_enc_keys},
    {"dec_keys", REQUEST_KEY_BY_ID, PERMIT_KEY_ID, dec_keys_query, dec_keys_members, answer_dec_keys},
};

/* The method and the other SAE's ID of "/api/v1/keys/SAE/METHOD". NULL: another path; `sae` is "" if it is
 * none. */
static const struct method *path_read(const char *path, char sae[static SYSTEM_ID_MAX + 1])
{
    static const char PREFIX[] = "/api/v1/keys/";
    const char *slash = NULL;

    if (strncmp(path, PREFIX, sizeof PREFIX - 1) != 0)
        return NULL;
    path += sizeof PREFIX - 1;
    slash = strchr(path, '/');
    if (slash == NULL)
        return NULL;
    if (!percent_decode(path, (size_t)(slash - path), sae, SYSTEM_ID_MAX + 1) || !system_id_is_concrete(sae))
        sae[0] = '\0';
    for (size_t i = 0; i < sizeof METHODS / sizeof METHODS[0]; i++)
        if (strcmp(slash + 1, METHODS[i].name) == 0)
            return &METHODS[i];
    return NULL;
}

static bool handle(struct http_exchange *x, const char *method, const char *path, const char *query)
{
    char sae[SYSTEM_ID_MAX + 1] = "";
    const struct method *m = path_read(path, sae);
    struct wish w = {.sae = sae, .number = 1};
    struct fault fault = {0};
    bool post = strcmp(method, "POST") == 0;

    if (m == NULL)
        return false;
    http_note(x, m->kind, sae, NULL);
    if ((!post && strcmp(method, "GET") != 0) || (post && m->members == NULL)) {
        http_answer_method(x, m->members != NULL ? "GET, POST" : "GET");
        return true;
    }
    if ((http_client(x)->permissions & m->needs) == 0) {
        http_answer_error(x, 401, "this client may not use this method");
        return true;
    }
    if (sae[0] == '\0')
        fault_set(&fault, "the SAE ID is malformed");
    else if (post)
        (void)body_read(x, m->members, &w, &fault);
    else if (m->query != NULL)
        (void)m->query(query, &w, &fault);
    if (fault.text[0] == '\0' && w.number != 1)
        fault_set(&fault, "number: one key is given at a time, not %u", w.number);
    if (fault.text[0] != '\0')
        http_answer_error(x, 400, fault.text);
    else
        m->answer(x, &w);
    return true;
}

const struct http_dialect http_etsi014 = {.number = DIALECT_ETSI014,
                                          .kinds = {"request", "status", "enc_keys", "dec_keys", "entropy"},
                                          .error_member = "message",
                                          .refused = 401,
                                          .only_certificates = true,
                                          .handle = handle};
