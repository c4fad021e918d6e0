/* SPDX-License-Identifier: BSD-2-Clause */
/* What skipd does to its own process before anything else. */
#ifndef PPK_SKIPD_PROCESS_H
#define PPK_SKIPD_PROCESS_H

/* No core dumps, no signals from broken pipes or limits on files, and memory that is wiped when libevent
 * gives it back. To be called first. */
void process_harden(void);

#endif
