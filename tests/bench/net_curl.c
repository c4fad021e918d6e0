/* SPDX-License-Identifier: BSD-2-Clause */
/* Bare libcurl as a SKIP client: what the token's fetches are compared with, and the load of the key
 * sources. */
#include "net.h"
#include "net_threads.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAX = 2048 };

struct request {
    CURL *easy;
    char url[NET_URL_MAX];
    char answer[ANSWER_MAX];
    size_t len;
};

static size_t on_body(char *data, size_t size, size_t n, void *context)
{
    struct request *r = context;

    if (size * n > sizeof r->answer - 1 - r->len)
        return 0;
    memcpy(r->answer + r->len, data, size * n);
    r->len += size * n;
    r->answer[r->len] = '\0';
    return size * n;
}

static bool request_prepare(struct request *r, const struct net_source *s)
{
    CURL *e = r->easy = curl_easy_init();

    return e && curl_easy_setopt(e, CURLOPT_PRIVATE, r) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, 10000L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CAINFO, s->ca) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSLCERT, s->certificate) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSLKEY, s->key) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, r) == CURLE_OK;
}

static bool request_begin(struct request *r, const struct net_source *s, const char *id)
{
    (void)snprintf(r->url, sizeof r->url, "%s/key%s%s?remoteSystemID=%s", s->base, id ? "/" : "",
                   id ? id : "", s->remote);
    r->len = 0;
    r->answer[0] = '\0';
    return curl_easy_setopt(r->easy, CURLOPT_URL, r->url) == CURLE_OK;
}

/* Takes the ID out of an answer. */
static bool ids_add(struct net_ids *ids, const char *answer)
{
    const char *id = strstr(answer, "\"keyId\"");

    id = id ? strchr(id + 7, '"') : NULL;
    size_t len = id ? strcspn(id + 1, "\"") : 0;
    if (!id || len == 0 || len > NET_ID_MAX)
        return false;
    if (ids->n == ids->room) {
        size_t room = ids->room ? 2 * ids->room : 1024;
        void *more = reallocarray(ids->all, room, sizeof *ids->all);
        if (!more)
            return false;
        ids->all = more;
        ids->room = room;
    }
    memcpy(ids->all[ids->n], id + 1, len);
    ids->all[ids->n++][len] = '\0';
    return true;
}

static bool request_end(struct request *r, CURLcode code, struct net_ids *ids)
{
    long status = 0;

    (void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK || status != 200) {
        (void)fprintf(stderr, "ppk-bench-net: %s: %s, status %ld: %.100s\n", r->url, curl_easy_strerror(code),
                      status, r->answer);
        return false;
    }
    return !ids || ids_add(ids, r->answer);
}

struct net_client {
    const struct net_source *source;
    struct request request;
};

struct net_client *net_client_new(const struct net_source *s)
{
    struct net_client *c = calloc(1, sizeof *c);

    if (!c || !request_prepare(&c->request, s)) {
        net_client_free(c);
        return NULL;
    }
    c->source = s;
    return c;
}

void net_client_free(struct net_client *c)
{
    if (c)
        curl_easy_cleanup(c->request.easy);
    free(c);
}

static uint64_t client_get(struct net_client *c, const char *id, struct net_ids *ids)
{
    uint64_t before = now_ns();

    if (!request_begin(&c->request, c->source, id))
        return 0;
    CURLcode code = curl_easy_perform(c->request.easy);
    uint64_t took = now_ns() - before;
    return request_end(&c->request, code, ids) ? took : 0;
}

uint64_t net_client_new_key(struct net_client *c, struct net_ids *ids)
{
    return client_get(c, NULL, ids);
}

uint64_t net_client_by_id(struct net_client *c, const char *id)
{
    return client_get(c, id, NULL);
}

struct clients {
    struct net_client *const *all; /* one for each thread */
    const char (*ids)[NET_ID_MAX + 1];
};

static bool clients_one(void *context, unsigned thread, size_t i)
{
    struct clients *c = context;

    return net_client_by_id(c->all[thread], c->ids[i]) != 0;
}

uint64_t net_clients_by_id(struct net_client *const *clients, unsigned threads, size_t n,
                           const char (*ids)[NET_ID_MAX + 1])
{
    return net_threads(threads, n, clients_one, &(struct clients){clients, ids});
}

struct net_crowd {
    const struct net_source *source;
    CURLM *multi;
    unsigned n;
    struct request requests[];
};

struct net_crowd *net_crowd_new(const struct net_source *s, unsigned parallel)
{
    struct net_crowd *c = calloc(1, sizeof *c + parallel * sizeof c->requests[0]);

    if (!c)
        return NULL;
    c->source = s;
    c->multi = curl_multi_init();
    bool good = c->multi && curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)parallel) == CURLM_OK;
    for (; good && c->n < parallel; c->n++)
        good = request_prepare(&c->requests[c->n], s);
    if (!good) {
        net_crowd_free(c);
        return NULL;
    }
    return c;
}

void net_crowd_free(struct net_crowd *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < c->n; i++)
        curl_easy_cleanup(c->requests[i].easy);
    curl_multi_cleanup(c->multi);
    free(c);
}

/* What is to be done by all together. */
struct work {
    size_t n, begun, done;
    const char (*by_id)[NET_ID_MAX + 1]; /* or NULL: new keys */
    struct net_ids *ids;
};

static bool crowd_begin(struct net_crowd *c, struct request *r, struct work *w)
{
    const char *id = w->by_id ? w->by_id[w->begun] : NULL;

    w->begun++;
    return request_begin(r, c->source, id) && curl_multi_add_handle(c->multi, r->easy) == CURLM_OK;
}

static bool crowd_reap(struct net_crowd *c, struct work *w)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
        struct request *r = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
        (void)curl_multi_remove_handle(c->multi, r->easy);
        w->done++;
        if (!request_end(r, code, w->ids) || (w->begun < w->n && !crowd_begin(c, r, w)))
            return false;
    }
    return true;
}

static uint64_t crowd_work(struct net_crowd *c, struct work *w)
{
    uint64_t before = now_ns();
    int running = 0;
    bool good = true;

    for (unsigned i = 0; good && i < c->n && w->begun < w->n; i++)
        good = crowd_begin(c, &c->requests[i], w);
    while (good && w->done < w->n)
        good = curl_multi_perform(c->multi, &running) == CURLM_OK && crowd_reap(c, w) &&
               (w->done == w->n || curl_multi_poll(c->multi, NULL, 0, 1000, NULL) == CURLM_OK);
    return good ? now_ns() - before : 0;
}

uint64_t net_crowd_new_keys(struct net_crowd *c, size_t n, struct net_ids *ids)
{
    return crowd_work(c, &(struct work){.n = n, .ids = ids});
}

uint64_t net_crowd_by_id(struct net_crowd *c, size_t n, const char (*ids)[NET_ID_MAX + 1])
{
    return crowd_work(c, &(struct work){.n = n, .by_id = ids});
}
