/* SPDX-License-Identifier: BSD-2-Clause */
/* Which process is it, and does it still live? */
#ifndef PPK_STATUS_PROCESS_H
#define PPK_STATUS_PROCESS_H

#include <stdint.h>

/* Field 22 of /proc/self/stat: when this process began, in clock ticks since the system did; 0: not told. */
uint64_t process_started(void);

/* The inode of this process' PID namespace; 0: not told. */
uint64_t process_namespace(void);

enum process_life {
    PROCESS_LIVE,
    PROCESS_DEAD,
    PROCESS_SILENT /* it may live, but has not written for three heartbeats */
};

/* The life of who wrote a status file: `updated` is the file's own time (of the file system), `now` that of
 * the wall clock, both in seconds since 1970. */
struct status_process;
enum process_life process_life(const struct status_process *p, int64_t updated, int64_t now);

#endif
