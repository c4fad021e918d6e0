/* SPDX-License-Identifier: BSD-2-Clause */
/* What each client uses, and whether it may use more: connections, requests under way, requests per second (a
 * bucket that holds a second's worth). So that others are served while one floods. */
#ifndef PPK_SKIPD_QUOTA_H
#define PPK_SKIPD_QUOTA_H

#include "skipd/conf.h"

struct quotas;
struct quota;

struct quotas *quotas_new(void);      /* NULL: no memory */
void quotas_free(struct quotas *all); /* NULL is allowed */

/* Forgets clients that the configuration does not have and that use nothing. */
void quotas_trim(struct quotas *all, const struct skipd_conf *conf);

/* One more connection of this client, whose quota lives as long as that; *surplus: it has `most` already.
 * NULL: no memory. */
struct quota *quota_connected(struct quotas *all, const char *client, size_t most, bool *surplus);
void quota_disconnected(struct quota *q, bool surplus);
size_t quota_connections(const struct quota *q); /* those that are no surplus */
size_t quota_surplus(const struct quota *q);

enum quota_answer { QUOTA_OK, QUOTA_IN_FLIGHT, QUOTA_RATE };

/* One more request; only QUOTA_OK counts it, until quota_answered(). */
enum quota_answer quota_request(struct quota *q, const struct request_limit *limit);
void quota_answered(struct quota *q);

#endif
