/* SPDX-License-Identifier: BSD-2-Clause */
/* What a listener does when a connection cannot be accepted because there are no descriptors left. */
#ifndef PPK_SKIPD_ACCEPT_H
#define PPK_SKIPD_ACCEPT_H

#include <event2/listener.h>

/* Connections that cannot be accepted are closed, so that who connects turns to another key source at once,
 * and the event loop is not woken up for them all the time; it is logged now and then. */
void accept_guard(struct evconnlistener *listener);

/* Sends libevent's own warnings to the log. */
void accept_log_divert(void);

#endif
