/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/delivery.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024
/* What the store has not taken back is given to it again after this. */
#define RETRY_MS 250

struct delivery {
    struct store_op op;
    struct deliveries *all;
    service_done *done;
    void *context;
    uint64_t until;           /* clock_ms(): the key is worth giving back, once it was taken */
    struct delivery *owed;    /* the next of those that the store has not taken back */
    struct delivery *next;    /* in its bucket; or of those that wait */
    struct delivery *waiting; /* for what becomes of this one, in the order in which they came */
};

struct deliveries {
    struct store_queue *queue;
    const struct seal *seal;
    struct hash_key hash;
    struct event *retry;   /* pending while somebody is owed */
    struct delivery *owed; /* what the store has not taken back */
    bool ending;
    struct delivery *under_way[BUCKETS]; /* one for each key */
};

static void refuse(const struct delivery *d, enum service_status status, const char *reason)
{
    d->done(d->context, &(struct service_answer){.status = status, .reason = reason});
}

static struct delivery **bucket_of(struct deliveries *all, const struct delivery *d)
{
    return &all->under_way[hash_bytes(&all->hash, (struct span){d->op.row.id, d->op.row.id_len}) % BUCKETS];
}

static bool same_key(const struct store_row *a, const struct store_row *b)
{
    return a->id_len == b->id_len && memcmp(a->id, b->id, a->id_len) == 0 &&
           strcmp(a->initiator, b->initiator) == 0 && strcmp(a->responder, b->responder) == 0;
}

static void taken(struct store_op *op);

/* Asks the store. If that takes no more, refuses, and those that wait get their turn. */
static void begin(struct delivery *d)
{
    struct deliveries *all = d->all;
    struct delivery *next = NULL;

    for (; d != NULL; d = next) {
        next = d->waiting;
        d->op.kind = STORE_OP_TAKE;
        d->op.done = taken;
        if (store_queue_add(all->queue, &d->op)) {
            struct delivery **bucket = bucket_of(all, d);

            d->next = *bucket;
            *bucket = d;
            return;
        }
        refuse(d, SERVICE_UNAVAILABLE, "the store is busy");
        if (next != NULL)
            next->waiting = next->next;
        free(d);
    }
}

/* Answers all that wait for what becomes of this one. */
static void refuse_waiting(struct delivery *d, enum service_status status, const char *reason)
{
    struct delivery *next = d->waiting;

    d->waiting = NULL;
    for (struct delivery *w = next; w != NULL; w = next) {
        next = w->next;
        refuse(w, status, reason);
        free(w);
    }
}

/* The end of what was under way. If the client has the key, so do those that wait learn; else the next one
 * asks for himself: the key may be there (it was given back, or has come only now). */
static void end(struct delivery *d, bool delivered)
{
    struct delivery **at = bucket_of(d->all, d), *next = NULL;

    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    if (delivered)
        refuse_waiting(d, SERVICE_NO_KEY, "keyId: this key has been delivered already");
    next = d->waiting;
    free(d);
    if (next != NULL) {
        next->waiting = next->next;
        begin(next);
    }
}

/* The store has not taken the key back: it is tried again, at intervals, while it would be there, and nobody
 * is kept waiting for that. False: it is not tried again. */
static bool owe(struct delivery *d)
{
    struct deliveries *all = d->all;
    const struct timeval pause = {.tv_usec = RETRY_MS * 1000};

    if (all->ending || clock_left_ms(d->until) == 0 ||
        (!event_pending(all->retry, EV_TIMEOUT, NULL) && event_add(all->retry, &pause) != 0))
        return false;
    d->owed = all->owed;
    all->owed = d;
    refuse_waiting(d, SERVICE_UNAVAILABLE, "the store has not taken the key back yet");
    return true;
}

static void restored(struct store_op *op)
{
    struct delivery *d = (struct delivery *)op;

    if (op->result == STORE_FAILED && owe(d))
        return;
    if (op->result != STORE_OK)
        log_write(LOG_LEVEL_WARNING, "a key that was not handed over could not be kept: %s",
                  op->result == STORE_FAILED ? op->fault.text : "it has expired");
    end(d, false);
}

/* Nothing of the key has left: it is owed to its client as before. */
static void give_back(struct delivery *d)
{
    memcpy(d->op.row.sealed, d->op.row.found, d->op.row.found_len);
    d->op.row.sealed_len = d->op.row.found_len;
    d->op.kind = STORE_OP_RESTORE;
    d->op.done = restored;
    d->until = clock_ms() + d->op.row.left_ms;
    store_queue_add(d->all->queue, &d->op);
}

static void give_back_again(struct deliveries *all)
{
    struct delivery *next = all->owed;

    all->owed = NULL;
    for (struct delivery *d = next; d != NULL; d = next) {
        next = d->owed;
        store_queue_add(all->queue, &d->op);
    }
}

static void retry_due(evutil_socket_t fd, short events, void *context)
{
    (void)fd;
    (void)events;
    give_back_again(context);
}

/* False: nothing has left, so that it can be asked for again. */
static bool hand_over(struct delivery *d)
{
    struct store_row *row = &d->op.row;
    struct seal_label label = {{row->id, row->id_len}, row->initiator, row->responder};
    size_t len = row->found_len > SEAL_OVERHEAD ? row->found_len - SEAL_OVERHEAD : 0;
    uint8_t *key = secmem_alloc(len > 0 ? len : 1);
    struct service_answer answer = {.id = {row->id, row->id_len}, .key = {key, len}};
    bool gone = false;

    if (key == NULL) {
        refuse(d, SERVICE_UNAVAILABLE, "no memory for the key");
        return false;
    }
    switch (seal_open(d->all->seal, &label, (struct span){row->found, row->found_len}, key)) {
    case SEAL_OPENED:
        answer.status = SERVICE_OK;
        gone = d->done(d->context, &answer);
        break;
    case SEAL_DAMAGED:
        log_write(LOG_LEVEL_ERROR, "store: a key is damaged, or of another master key");
        refuse(d, SERVICE_FAILED, "the key could not be read");
        gone = true;
        break;
    case SEAL_FAILED:
        log_write(LOG_LEVEL_ERROR, "a key could not be opened, and is kept: no memory, or OpenSSL failed");
        refuse(d, SERVICE_UNAVAILABLE, "the key cannot be opened now");
        break;
    }
    secmem_free(key);
    return gone;
}

static void taken(struct store_op *op)
{
    struct delivery *d = (struct delivery *)op;

    switch (op->result) {
    case STORE_OK:
        if (hand_over(d))
            end(d, true);
        else
            give_back(d);
        return;
    case STORE_FAILED:
        refuse(d, SERVICE_FAILED, "the key could not be read or erased");
        break;
    case STORE_DELIVERED:
        refuse(d, SERVICE_NO_KEY, "keyId: this key has been delivered already");
        break;
    default:
        refuse(d, SERVICE_NO_KEY, "keyId: no such key");
        break;
    }
    end(d, op->result == STORE_DELIVERED);
}

void deliver_key(struct deliveries *all, struct span id, const char *initiator, const char *responder,
                 service_done *done, void *context)
{
    struct delivery *d = calloc(1, sizeof *d), *other = NULL;

    if (d == NULL || id.len > KEY_ID_MAX) {
        free(d);
        done(context, &(struct service_answer){.status = SERVICE_UNAVAILABLE, .reason = "no memory"});
        return;
    }
    d->all = all;
    d->done = done;
    d->context = context;
    memcpy(d->op.row.id, id.data, id.len);
    d->op.row.id_len = id.len;
    memcpy(d->op.row.initiator, initiator, strnlen(initiator, SYSTEM_ID_MAX));
    memcpy(d->op.row.responder, responder, strnlen(responder, SYSTEM_ID_MAX));
    for (other = *bucket_of(all, d); other != NULL && !same_key(&other->op.row, &d->op.row);)
        other = other->next;
    if (other == NULL) {
        begin(d);
    } else {
        struct delivery **last = &other->waiting;

        while (*last != NULL)
            last = &(*last)->next;
        *last = d;
    }
}

struct deliveries *deliveries_new(struct event_base *base, struct store_queue *queue, const struct seal *seal)
{
    struct deliveries *all = calloc(1, sizeof *all);

    if (all == NULL || (all->retry = evtimer_new(base, retry_due, all)) == NULL) {
        free(all);
        return NULL;
    }
    all->queue = queue;
    all->seal = seal;
    hash_key_make(&all->hash);
    return all;
}

void deliveries_stop(struct deliveries *all)
{
    all->ending = true;
    evtimer_del(all->retry);
    give_back_again(all);
}

void deliveries_free(struct deliveries *all)
{
    if (all == NULL)
        return;
    event_free(all->retry);
    free(all);
}
