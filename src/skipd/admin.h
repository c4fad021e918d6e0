/* SPDX-License-Identifier: BSD-2-Clause */
/* The admin listener: HTTP in the clear at a Unix socket or a loopback address, read-only. / is a page for
 * people, /metrics OpenMetrics, /health JSON with status 200, or 503 where no key can be stored or taken. No
 * secrets, no key IDs. */
#ifndef PPK_SKIPD_ADMIN_H
#define PPK_SKIPD_ADMIN_H

#include "skipd/service.h"

struct admin;

/* NULL: no memory. */
struct admin *admin_new(struct event_base *base, struct service *service);

/* Listens at a socket that is bound already; takes it over. False with the reason in `fault`: it remains the
 * caller's. */
bool admin_listen(struct admin *a, int fd, struct fault *fault);

/* Closes this socket, and removes its file if it is a Unix socket. */
void admin_unlisten(struct admin *a, int fd);

/* Stops listening and closes the connections; NULL is allowed. */
void admin_free(struct admin *a);

/* ---- what is shown: private to admin*.c ---- */

/* Answers a request, of which `head` is all but its body and the empty line. `any_host`: whatever its header
 * Host says. Appends the whole response. */
void admin_answer(const struct service *s, const char *head, size_t len, bool any_host, struct text *out);

/* Appends OpenMetrics 1.0. */
void admin_metrics(const struct service *s, struct text *out);

/* Appends the page in HTML. */
void admin_page(const struct service *s, struct text *out);

#endif
