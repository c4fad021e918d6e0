/* SPDX-License-Identifier: BSD-2-Clause */
/* Which descriptors of the process are sockets to key sources, so that a forked child can close its copies of
 * them without a word to the other side, and without looking into state that another thread was changing. */
#ifndef PPK_SKIP_SOCKETS_H
#define PPK_SKIP_SOCKETS_H

void sockets_add(int fd);
void sockets_remove(int fd); /* before it is closed */

/* In a forked child: closes all and forgets them. */
void sockets_close_all(void);

#endif
