/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/service.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "skipd/delivery.h"
#include "skipd/link.h"
#include "skipd/statistics.h"
#include "skipd/tls.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

/* Delivered keys whose IDs may be kept: as many as keys may wait, and no fewer than this. */
#define DELIVERED_MIN 1000000

/* The way to a peer. */
struct way {
    struct link *link; /* NULL: it has no address */
    SSL_CTX *tls;      /* while it is prepared: what the link gets */
    bool fresh;        /* the link was made for this configuration */
};

struct generation {
    const struct skipd_conf *conf; /* a reference; NULL: none */
    struct way *ways;              /* to conf->peers, in their order */
};

struct service {
    struct event_base *base;
    struct generation now, next; /* next: while it is prepared */
    struct store_queue *queue;
    const struct seal *seal;
    struct deliveries *deliveries;
};

/* A new key on its way: to the peer, and then to the client. */
struct birth {
    struct link_put put;
    uint8_t *key; /* working memory */
    service_done *done;
    void *context;
    char peer[65];
    uint64_t began; /* clock_ms(); 0: no other key source has a part in it */
};

/* A key from a peer: on its way into the store. */
struct keeping {
    struct store_op op;
    struct service *service;
    uint8_t *key; /* working memory */
    size_t key_len;
    uint64_t number;
    char peer[65]; /* who it came from; "": another client of ours */
    service_kept *done;
    void *context;
};

const struct skipd_conf *service_conf(const struct service *s)
{
    return s->now.conf;
}

struct store_queue *service_queue(const struct service *s)
{
    return s->queue;
}

static void refuse(service_done *done, void *context, enum service_status status, const char *reason)
{
    done(context, &(struct service_answer){.status = status, .reason = reason});
}

static struct seal_label label_of(const struct store_row *row)
{
    return (struct seal_label){{row->id, row->id_len}, row->initiator, row->responder};
}

static void copy_id(char to[static SYSTEM_ID_MAX + 1], const char *id)
{
    size_t len = strnlen(id, SYSTEM_ID_MAX);

    memcpy(to, id, len);
    memset(to + len, 0, SYSTEM_ID_MAX + 1 - len);
}

/* ---- new keys ---- */

static void birth_free(struct birth *b)
{
    secmem_free(b->key);
    free(b);
}

/* The peer (or our own store) has said what became of the key: `reason` NULL: it is safe there. */
static void birth_end(struct birth *b, enum service_status status, const char *reason)
{
    struct service_answer answer = {.status = status, .reason = reason};

    if (status == SERVICE_OK) {
        answer.id = (struct span){b->put.message.id, b->put.message.id_len};
        answer.key = b->put.message.key;
    }
    /* A client that is gone: nobody will ever ask for this key, and it expires at the peer. */
    b->done(b->context, &answer);
    birth_free(b);
}

static void birth_result(void *context, enum sync_result result, const char *down)
{
    static const char *const REASONS[SYNC_RESULTS] = {
        [SYNC_CONFLICT] = "has another key of this ID", [SYNC_DELIVERED] = "has had this key already",
        [SYNC_UNKNOWN] = "does not serve this system",  [SYNC_FULL] = "holds as many keys as it can",
        [SYNC_FAILED] = "could not store the key",
    };
    struct birth *b = context;
    struct fault reason = {0};
    enum service_status status = SERVICE_UNAVAILABLE;

    if (b->began != 0)
        statistics_sent(b->peer, down != NULL ? SYNC_NO_ANSWER : result, clock_ms() - b->began);
    if (down == NULL && result == SYNC_OK) {
        birth_end(b, SERVICE_OK, NULL);
        return;
    }
    if (down == NULL && (result == SYNC_UNKNOWN))
        status = SERVICE_NO_SYSTEM;
    fault_set(&reason, "key source of '%s' %s", b->peer, down != NULL ? down : REASONS[result]);
    birth_end(b, status, reason.text);
}

/* Both systems are clients of this key source. */
static void birth_kept_here(void *context, uint64_t number, enum sync_result result)
{
    (void)number;
    birth_result(context, result, NULL);
}

static bool bits_ok(const struct skipd_conf *c, uint32_t bits)
{
    return bits % 8 == 0 && bits >= c->key_size_min && bits <= c->key_size_max;
}

static struct birth *birth_new(const struct skipd_client *client, const char *remote, uint32_t bits)
{
    struct birth *b = calloc(1, sizeof *b);
    struct sync_put *m = NULL;

    if (b == NULL)
        return NULL;
    m = &b->put.message;
    b->key = secmem_alloc(bits / 8);
    if (b->key == NULL || !crypto_random_private(b->key, bits / 8) || !crypto_random(m->id, KEY_ID_LEN)) {
        birth_free(b);
        return NULL;
    }
    /* a random UUID (RFC 4122, 4.4), as ETSI GS QKD 014 has it */
    m->id[6] = (uint8_t)((m->id[6] & 0x0f) | 0x40);
    m->id[8] = (uint8_t)((m->id[8] & 0x3f) | 0x80);
    m->id_len = KEY_ID_LEN;
    m->key = (struct span){b->key, bits / 8};
    copy_id(m->initiator, client->system_id);
    copy_id(m->responder, remote);
    return b;
}

struct service_route service_route(const struct service *s, const struct skipd_client *client,
                                   const char *remote)
{
    const struct skipd_conf *c = s->now.conf;
    bool self = strcmp(remote, client->system_id) == 0;
    bool here = !self && skipd_conf_is_local(c, remote);
    const struct skipd_peer *peer = here || self ? NULL : skipd_conf_peer_for(c, remote);

    if (!here && peer == NULL)
        return (struct service_route){SERVICE_NO_SYSTEM, "remoteSystemID: no such system", NULL};
    if (client->remotes.n > 0 && !names_match(&client->remotes, remote))
        return (struct service_route){SERVICE_FORBIDDEN, "remoteSystemID: not for this client", NULL};
    if (peer != NULL && s->now.ways[peer - c->peers].link == NULL)
        return (struct service_route){
            SERVICE_UNAVAILABLE, "the key source of this system has no address in the configuration", peer};
    return (struct service_route){SERVICE_OK, NULL, peer};
}

bool service_link_is_up(const struct service *s, const struct skipd_peer *peer, const char **why)
{
    const struct link *l = peer != NULL ? s->now.ways[peer - s->now.conf->peers].link : NULL;

    *why = peer != NULL ? "has no address in the configuration" : "";
    return peer == NULL || (l != NULL && link_is_up(l, why));
}

void service_key_new(struct service *s, const struct skipd_client *client, const char *remote, uint32_t bits,
                     service_done *done, void *context)
{
    const struct skipd_conf *c = s->now.conf;
    struct service_route route = service_route(s, client, remote);
    const struct skipd_peer *peer = route.peer;
    struct birth *b = NULL;

    if (bits == 0)
        bits = c->key_size;
    if (!bits_ok(c, bits)) {
        refuse(done, context, SERVICE_BAD_REQUEST,
               "size: not a multiple of 8 bits, or not between the sizes that are served");
        return;
    }
    if (route.status != SERVICE_OK) {
        refuse(done, context, route.status, route.reason);
        return;
    }
    b = birth_new(client, remote, bits);
    if (b == NULL) {
        refuse(done, context, SERVICE_UNAVAILABLE, "no memory for another key, or no randomness");
        return;
    }
    b->done = done;
    b->context = context;
    copy_id(b->put.message.initiator, client->system_id);
    memcpy(b->peer, peer != NULL ? peer->name : "this", strlen(peer != NULL ? peer->name : "this"));
    /* The key is owed for the lifetime from its delivery on, which is at most the time that the peer has for
     * confirming later than its storage there; a second for the rest of the way. */
    b->put.message.ttl_s = c->lifetime_s + c->sync_timeout_ms / 1000 + 2;
    b->put.done = birth_result;
    b->put.context = b;
    if (peer == NULL) {
        service_keep(s, NULL, &b->put.message, birth_kept_here, b);
    } else {
        b->began = clock_ms();
        link_put(s->now.ways[peer - c->peers].link, &b->put);
    }
}

/* ---- keys by ID ---- */

void service_key_by_id(struct service *s, const struct skipd_client *client, const char *remote,
                       struct span id, service_done *done, void *context)
{
    if (client->remotes.n > 0 && !names_match(&client->remotes, remote))
        refuse(done, context, SERVICE_FORBIDDEN, "remoteSystemID: not for this client");
    else
        deliver_key(s->deliveries, id, remote, client->system_id, done, context);
}

/* ---- keys from peers ---- */

/* There is an ID like this already: is it the same key (a repeated message), or another one? */
static enum sync_result same_key(const struct keeping *k)
{
    struct seal_label label = label_of(&k->op.row);
    enum sync_result r = SYNC_FAILED;
    uint8_t *key = NULL;

    if (k->op.row.found_len != k->key_len + SEAL_OVERHEAD)
        return SYNC_CONFLICT;
    key = secmem_alloc(k->key_len);
    if (key == NULL)
        return SYNC_FAILED;
    switch (seal_open(k->service->seal, &label, (struct span){k->op.row.found, k->op.row.found_len}, key)) {
    case SEAL_OPENED:
        r = CRYPTO_memcmp(key, k->key, k->key_len) == 0 ? SYNC_OK : SYNC_CONFLICT;
        break;
    case SEAL_DAMAGED:
        r = SYNC_CONFLICT;
        break;
    case SEAL_FAILED:
        break;
    }
    secmem_free(key);
    return r;
}

static void kept(struct store_op *op)
{
    struct keeping *k = (struct keeping *)op;
    enum sync_result r = SYNC_FAILED;

    switch (op->result) {
    case STORE_OK:
        r = SYNC_OK;
        break;
    case STORE_EXISTS:
        r = same_key(k);
        break;
    case STORE_DELIVERED:
        r = SYNC_DELIVERED;
        break;
    case STORE_FULL:
        r = SYNC_FULL;
        break;
    default:
        break;
    }
    if (k->peer[0] != '\0')
        statistics_received(k->peer, r);
    k->done(k->context, k->number, r);
    secmem_free(k->key);
    free(k);
}

/* May `from` give keys of this initiator, and is the responder ours? Whatever a peer's globs match, it never
 * speaks for our own clients. */
static bool keep_allowed(const struct service *s, const struct skipd_peer *from, const struct sync_put *put)
{
    const struct skipd_conf *c = s->now.conf;

    return skipd_conf_is_local(c, put->responder) &&
           skipd_conf_is_local(c, put->initiator) == (from == NULL) &&
           (from == NULL || skipd_conf_peer_for(c, put->initiator) == from);
}

void service_keep(struct service *s, const struct skipd_peer *from, const struct sync_put *put,
                  service_kept *done, void *context)
{
    struct keeping *k = NULL;
    struct store_row *row = NULL;
    struct seal_label label;

    if (!keep_allowed(s, from, put)) {
        if (from != NULL)
            statistics_received(from->name, SYNC_UNKNOWN);
        done(context, put->number, SYNC_UNKNOWN);
        return;
    }
    k = calloc(1, sizeof *k);
    if (k != NULL)
        k->key = secmem_alloc(put->key.len);
    if (k == NULL || k->key == NULL || put->key.len + SEAL_OVERHEAD > sizeof k->op.row.sealed)
        goto bad;
    memcpy(k->key, put->key.data, put->key.len);
    k->key_len = put->key.len;
    k->service = s;
    k->number = put->number;
    if (from != NULL)
        memcpy(k->peer, from->name, strlen(from->name));
    k->done = done;
    k->context = context;
    k->op.kind = STORE_OP_PUT;
    k->op.done = kept;
    row = &k->op.row;
    memcpy(row->id, put->id, put->id_len);
    row->id_len = put->id_len;
    copy_id(row->initiator, put->initiator);
    copy_id(row->responder, put->responder);
    row->ttl_ms = (uint64_t)put->ttl_s * 1000;
    row->limit = s->now.conf->max_keys;
    row->limit_rows = row->limit + (row->limit > DELIVERED_MIN ? row->limit : DELIVERED_MIN);
    row->sealed_len = put->key.len + SEAL_OVERHEAD;
    label = label_of(row);
    if (seal_close(s->seal, &label, put->key, row->sealed) && store_queue_add(s->queue, &k->op))
        return;
bad:
    if (k != NULL)
        secmem_free(k->key);
    free(k);
    if (from != NULL)
        statistics_received(from->name, SYNC_FAILED);
    done(context, put->number, SYNC_FAILED);
}

/* ---- the rest ---- */

bool service_entropy(uint32_t bits, uint8_t *out)
{
    EVP_RAND_CTX *rand = RAND_get0_private(crypto_context());

    /* The generator gives 256 bits of security from each seeding: for full entropy it is seeded anew for
     * every 256 bits. */
    for (size_t done = 0, len = bits / 8; done < len;) {
        size_t n = len - done < 32 ? len - done : 32;

        if (rand == NULL || EVP_RAND_generate(rand, out + done, n, 256, 1, NULL, 0) != 1) {
            OPENSSL_cleanse(out, len);
            return false;
        }
        done += n;
    }
    return true;
}

void service_remotes(const struct service *s, const struct skipd_client *client,
                     void (*visit)(void *context, const char *pattern), void *context)
{
    const struct skipd_conf *c = s->now.conf;

    /* a client's own globs are narrower than, or as wide as, what the peers serve */
    for (size_t i = 0; i < client->remotes.n; i++)
        visit(context, client->remotes.list[i]);
    if (client->remotes.n > 0)
        return;
    for (size_t i = 0; i < c->n_peers; i++)
        for (size_t j = 0; j < c->peers[i].remotes.n; j++)
            visit(context, c->peers[i].remotes.list[j]);
    for (size_t i = 0; i < c->n_clients; i++)
        if (strcmp(c->clients[i].system_id, client->system_id) != 0)
            visit(context, c->clients[i].system_id);
}

struct service *service_new(struct event_base *base, struct store_queue *queue, const struct seal *seal)
{
    struct service *s = calloc(1, sizeof *s);

    if (s == NULL || (s->deliveries = deliveries_new(base, queue, seal)) == NULL) {
        free(s);
        return NULL;
    }
    s->base = base;
    s->queue = queue;
    s->seal = seal;
    return s;
}

/* ---- configurations ---- */

static void generation_drop(struct generation *g)
{
    for (size_t i = 0; g->conf != NULL && g->ways != NULL && i < g->conf->n_peers; i++)
        SSL_CTX_free(g->ways[i].tls);
    free(g->ways);
    skipd_conf_free(g->conf);
    *g = (struct generation){0};
}

/* The way to the peer of this name, or NULL. */
static struct way *way_find(const struct generation *g, const char *peer)
{
    for (size_t i = 0; g->conf != NULL && i < g->conf->n_peers; i++)
        if (strcmp(g->conf->peers[i].name, peer) == 0)
            return &g->ways[i];
    return NULL;
}

static bool way_prepare(struct service *s, struct way *way, const struct skipd_peer *peer,
                        struct fault *fault)
{
    const struct way *before = way_find(&s->now, peer->name);

    if (peer->n_addresses == 0)
        return true;
    way->tls = tls_client_context(s->next.conf, peer, fault);
    if (way->tls == NULL)
        return false;
    way->link = before != NULL ? before->link : NULL;
    if (way->link != NULL)
        return true;
    way->fresh = true;
    way->link = link_new(s->base);
    if (way->link == NULL)
        fault_set(fault, "no memory");
    return way->link != NULL;
}

bool service_prepare(struct service *s, const struct skipd_conf *conf, struct fault *fault)
{
    s->next.conf = skipd_conf_ref(conf);
    s->next.ways = calloc(conf->n_peers + 1, sizeof *s->next.ways);
    if (s->next.ways == NULL) {
        fault_set(fault, "no memory");
        return false;
    }
    for (size_t i = 0; i < conf->n_peers; i++)
        if (!way_prepare(s, &s->next.ways[i], &conf->peers[i], fault))
            return false;
    return true;
}

void service_commit(struct service *s)
{
    struct generation old = s->now;

    s->now = s->next;
    s->next = (struct generation){0};
    for (size_t i = 0; i < s->now.conf->n_peers; i++) {
        struct way *way = &s->now.ways[i];

        if (way->link != NULL)
            link_configure(way->link, s->now.conf, &s->now.conf->peers[i], way->tls);
        way->tls = NULL;
    }
    for (size_t i = 0; old.conf != NULL && i < old.conf->n_peers; i++) {
        const struct way *way = way_find(&s->now, old.conf->peers[i].name);

        if (way == NULL || way->link != old.ways[i].link)
            link_free(old.ways[i].link, "is not in the configuration any more");
    }
    generation_drop(&old);
}

void service_abandon(struct service *s)
{
    for (size_t i = 0; s->next.ways != NULL && i < s->next.conf->n_peers; i++)
        if (s->next.ways[i].fresh)
            link_free(s->next.ways[i].link, "");
    generation_drop(&s->next);
}

void service_stop(struct service *s)
{
    for (size_t i = 0; s->now.conf != NULL && i < s->now.conf->n_peers; i++) {
        link_free(s->now.ways[i].link, "is not asked any more: this key source is ending");
        s->now.ways[i].link = NULL;
    }
    deliveries_stop(s->deliveries);
}

void service_free(struct service *s)
{
    if (s == NULL)
        return;
    service_stop(s);
    generation_drop(&s->now);
    deliveries_free(s->deliveries);
    free(s);
}
