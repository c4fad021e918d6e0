/* SPDX-License-Identifier: BSD-2-Clause */
/* The store at work: a thread of its own, so that no sync to disk ever stops the event loop. Operations that
 * arrive while a transaction is being committed make up the next one (group commit). An operation is reported
 * as done only after the commit. */
#ifndef PPK_SKIPD_STORE_QUEUE_H
#define PPK_SKIPD_STORE_QUEUE_H

#include "skipd/store.h"

#include <event2/event.h>

enum store_op_kind { STORE_OP_PUT, STORE_OP_TAKE, STORE_OP_RESTORE, STORE_OP_EXPIRE };

/* An operation; the caller's, and left alone by him between store_queue_add() and `done`, which may free it.
 */
struct store_op {
    enum store_op_kind kind;
    struct store_row row;
    enum store_result result;
    struct fault fault;
    void (*done)(struct store_op *op); /* in the event loop */
    void *context;
    struct store_op *next; /* private, as is what follows */
    size_t number;
};

struct store_queue;

/* Starts the thread; takes over `store`, whatever happens. NULL with the reason in `fault`. */
struct store_queue *store_queue_new(struct event_base *base, const struct store_kind *kind,
                                    struct store *store, struct fault *fault);

/* Ends: carries out what was added, reports it, joins the thread, closes the store. NULL is allowed. */
void store_queue_free(struct store_queue *q);

/* Adds an operation. False: too many are waiting already, or the queue is ending; `op` remains the caller's.
 * What gives back is always added: there are no more of these than there were takes. */
bool store_queue_add(struct store_queue *q, struct store_op *op);

/* Keys that wait for being fetched. */
uint64_t store_queue_waiting(struct store_queue *q);

struct store_queue_state {
    uint64_t waiting;   /* keys */
    size_t depth;       /* operations that are not done yet */
    struct fault fault; /* "": keys can be kept and taken, as far as is known */
};

void store_queue_state(struct store_queue *q, struct store_queue_state *out);

#endif
