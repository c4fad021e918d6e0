/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Follows each IKE_SA through charon's events. charon holds its one bus lock over every hook, so that none of
 * these may wait for a key source: what takes time is begun here and awaited where charon asks for its
 * result. */
#ifndef PPK_CHARON_LISTENER_H
#define PPK_CHARON_LISTENER_H

#include <bus/listeners/listener.h>

/* The only one. Set before it is registered: */
extern listener_t ppk_listener;

/* Cisco's SKIP extension, either way. */
void ppk_listener_configure(bool send_system_id, bool accept_system_id);

#endif
