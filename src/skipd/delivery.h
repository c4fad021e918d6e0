/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys by ID on their way out of the store: erased, and then handed over; or given back, if nothing was sent
 * (the client has gone away, there is no memory), again and again until the store has taken it. Of several
 * requests for one key, one is under way, and the others wait for what becomes of it: so nobody is told
 * "delivered already" of a key that is about to be given back. */
#ifndef PPK_SKIPD_DELIVERY_H
#define PPK_SKIPD_DELIVERY_H

#include "skipd/seal.h"
#include "skipd/service.h"
#include "skipd/store_queue.h"

struct deliveries;

/* `queue` and `seal` outlive it. NULL: no memory. */
struct deliveries *deliveries_new(struct event_base *base, struct store_queue *queue,
                                  const struct seal *seal);

/* The event loop has ended. What the store has not taken back is given to it once more, with its last
 * operations. */
void deliveries_stop(struct deliveries *all);

/* After the store's last operation was reported. NULL is allowed. */
void deliveries_free(struct deliveries *all);

/* The key that `initiator` was given under this ID for `responder`. Calls `done` once, perhaps at once. */
void deliver_key(struct deliveries *all, struct span id, const char *initiator, const char *responder,
                 service_done *done, void *context);

#endif
