/* SPDX-License-Identifier: BSD-2-Clause */
/* What the admin listener answers: HTTP/1.1 (RFC 9112) as far as reading one request of GET or HEAD needs it;
 * each answer ends its connection. */
#include "base/clock.h"
#include "skipd/admin.h"
#include "skipd/statistics.h"

#include <string.h>

/* {"status":"ok","store":{…},"links":[…]}; true: the store is well. */
static bool health(const struct service *s, struct text *out)
{
    const struct skipd_conf *conf = service_conf(s);
    struct store_queue_state store = {0};
    size_t down = 0;
    bool well = false;

    store_queue_state(service_queue(s), &store);
    well = store.fault.text[0] == '\0';
    for (size_t i = 0; i < conf->n_peers; i++) {
        const char *why = NULL;

        down += conf->peers[i].n_addresses > 0 && !service_link_is_up(s, &conf->peers[i], &why);
    }
    text_printf(out, "{\"status\":\"%s\",\"uptime\":%llu,\"store\":{\"ok\":%s,\"reason\":",
                !well      ? "failed"
                : down > 0 ? "degraded"
                           : "ok",
                (unsigned long long)(clock_ms() - statistics_totals()->began_ms) / 1000,
                well ? "true" : "false");
    text_append_json(out, store.fault.text, strlen(store.fault.text));
    text_printf(out, ",\"queue\":%zu,\"keys\":%llu},\"links\":[", store.depth,
                (unsigned long long)store.waiting);
    for (size_t i = 0; i < conf->n_peers; i++) {
        const struct skipd_peer *p = &conf->peers[i];
        const char *why = "";
        bool up = service_link_is_up(s, p, &why);

        text_printf(out, "%s{\"peer\":", i > 0 ? "," : "");
        text_append_json(out, p->name, strlen(p->name));
        text_printf(out, ",\"up\":%s,\"reason\":", up ? "true" : "false");
        text_append_json(out, why, strlen(why));
        text_printf(out, "}");
    }
    text_printf(out, "]}\n");
    return well;
}

static int answer_page(const struct service *s, struct text *out)
{
    admin_page(s, out);
    return 200;
}

static int answer_metrics(const struct service *s, struct text *out)
{
    admin_metrics(s, out);
    return 200;
}

static int answer_health(const struct service *s, struct text *out)
{
    return health(s, out) ? 200 : 503;
}

static const struct {
    const char *path, *type;
    int (*answer)(const struct service *s, struct text *out); /* returns the status */
} PATHS[] = {
    {"/", "text/html; charset=utf-8", answer_page},
    {"/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8", answer_metrics},
    {"/health", "application/json", answer_health},
};

/* ---- requests ---- */

/* The length of the line at the start of `len` bytes, without its end; the head always ends in one. */
static size_t line_len(const char *s, size_t len)
{
    const char *end = memmem(s, len, "\r\n", 2);

    return end != NULL ? (size_t)(end - s) : len;
}

/* The request line: method, and path without its query. */
static bool request_line_read(const char *line, size_t len, struct span *method, struct span *path)
{
    const char *first = memchr(line, ' ', len), *second = NULL, *query = NULL;

    if (first == NULL)
        return false;
    *method = (struct span){(const uint8_t *)line, (size_t)(first - line)};
    len -= (size_t)(++first - line);
    second = memchr(first, ' ', len);
    if (second == NULL || first[0] != '/' || len - (size_t)(second - first) != 9 ||
        (memcmp(second, " HTTP/1.1", 9) != 0 && memcmp(second, " HTTP/1.0", 9) != 0))
        return false;
    query = memchr(first, '?', (size_t)(second - first));
    *path = (struct span){(const uint8_t *)first, (size_t)((query != NULL ? query : second) - first)};
    return true;
}

/* The value of the one header Host. False: there is none, or there are several. */
static bool host_read(const char *lines, size_t len, struct span *host)
{
    unsigned n = 0;

    while (len > 0) {
        size_t line = line_len(lines, len), start = 5, end = line;

        if (line >= 5 && strncasecmp(lines, "Host:", 5) == 0) {
            while (start < end && (lines[start] == ' ' || lines[start] == '\t'))
                start++;
            while (end > start && (lines[end - 1] == ' ' || lines[end - 1] == '\t'))
                end--;
            *host = (struct span){(const uint8_t *)lines + start, end - start};
            n++;
        }
        line = line + 2 < len ? line + 2 : len;
        lines += line;
        len -= line;
    }
    return n == 1;
}

static bool span_is(struct span s, const char *text)
{
    return s.len == strlen(text) && strncasecmp((const char *)s.data, text, s.len) == 0;
}

/* A browser may have been led here by somebody's name that resolves to a loopback address: only the names of
 * this machine are good. */
static bool host_good(struct span host)
{
    const char *text = (const char *)host.data;
    size_t name = 0, digits = 0;

    while (name < host.len && (host.data[0] == '[' ? name == 0 || text[name - 1] != ']' : text[name] != ':'))
        name++;
    if (name < host.len && text[name] != ':')
        return false;
    host.len = name;
    while (digits < name && strchr("0123456789.", text[digits]) != NULL)
        digits++;
    return span_is(host, "localhost") || span_is(host, "[::1]") ||
           (digits == name && name > 4 && strncmp(text, "127.", 4) == 0);
}

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 421:
        return "Misdirected Request";
    default:
        return "Service Unavailable";
    }
}

static void response(struct text *out, int status, const char *type, const struct text *body, bool head_only)
{
    text_printf(out,
                "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%sConnection: close\r\n"
                "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
                "Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'; style-src "
                "'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n\r\n",
                status, status_text(status), type, body->len, status == 405 ? "Allow: GET, HEAD\r\n" : "");
    if (!head_only && body->len > 0)
        text_append(out, body->s, body->len);
}

static void refusal(struct text *out, int status, const char *reason)
{
    struct text body = {0};

    text_printf(&body, "%s\n", reason);
    response(out, status, "text/plain; charset=utf-8", &body, false);
    text_free(&body);
}

void admin_answer(const struct service *s, const char *head, size_t len, bool any_host, struct text *out)
{
    size_t first = line_len(head, len);
    struct span method = {0}, path = {0}, host = {0};
    struct text body = {0};
    bool has_host = false;
    int status = 0;

    if (memchr(head, '\0', len) != NULL || !request_line_read(head, first, &method, &path)) {
        refusal(out, 400, "no HTTP request");
        return;
    }
    has_host = first + 2 < len && host_read(head + first + 2, len - first - 2, &host);
    if (!any_host && (!has_host || !host_good(host))) {
        refusal(out, 421, "this host is not served here");
        return;
    }
    if (!span_equal(method, (struct span){(const uint8_t *)"GET", 3}) &&
        !span_equal(method, (struct span){(const uint8_t *)"HEAD", 4})) {
        refusal(out, 405, "only GET and HEAD");
        return;
    }
    for (size_t i = 0; i < sizeof PATHS / sizeof PATHS[0]; i++) {
        if (path.len != strlen(PATHS[i].path) || memcmp(path.data, PATHS[i].path, path.len) != 0)
            continue;
        status = PATHS[i].answer(s, &body);
        if (body.failed)
            refusal(out, 503, "no memory");
        else
            response(out, status, PATHS[i].type, &body, method.len == 4);
        text_free(&body);
        return;
    }
    refusal(out, 404, "no such path: there are /, /metrics and /health");
}
