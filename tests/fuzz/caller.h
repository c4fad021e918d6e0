/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FUZZ_CALLER_H
#define FUZZ_CALLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One connection in memory, for libevent (with its method poll): the kernel's sockets would take most of a
 * target's time. This program's accept4(), poll(), readv(), writev(), ioctl() and shutdown() stand in front
 * of the C library's, and are those for every other descriptor. */

/* Somebody connects to the socket `listener`, sends this, and then no more. The data have to stay. */
void caller_connect(int listener, const uint8_t *data, size_t len);

/* What he has got, and how much. Valid until he connects again. */
const char *caller_answer(size_t *len);

/* Changes when something has moved in one of the directions. */
size_t caller_progress(void);

/* He takes no more, and is gone. */
void caller_hang_up(void);

/* Whether the server has closed the connection. */
bool caller_is_closed(void);

#endif
