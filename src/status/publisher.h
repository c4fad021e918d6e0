/* SPDX-License-Identifier: BSD-2-Clause */
/* Publishes the status of this process: a file of its own in a directory that users may share.
 *
 * The counters stay where they are counted, in ordinary memory, and nobody who counts knows of this. A thread
 * of its own, begun at the first session, looks at them, often after something happened and seldom when
 * nothing does, and writes what has changed as a whole new file in the place of the old one. So a reader
 * never sees half of it, a PKCS#11 call never waits for it, and a derivation costs nothing. The file is not
 * mapped: whoever shortens a mapped one kills its process with SIGBUS, and a library must not touch signals.
 * No descriptor is kept, since a host may close those that it does not know. */
#ifndef PPK_STATUS_PUBLISHER_H
#define PPK_STATUS_PUBLISHER_H

#include "status/status.h"

/* Fills in keyrings and profiles (and the configuration's name) of a cleared structure. False: not now. */
typedef bool status_collect(void *context, struct status_process *out);

struct status_publisher;

/* Makes a publisher into the directory, which has to be there; no system call. `threads`: it may start one;
 * else the file is written by the calls below. NULL: no memory. */
struct status_publisher *status_publisher_new(const char *directory, bool threads, status_collect *collect,
                                              void *context);

/* There is something to publish: begins, the first time. After that costs a load. */
void status_publisher_begin(struct status_publisher *p);

/* Something has happened (a request, or the like that takes its time anyway): looks soon. */
void status_publisher_nudge(struct status_publisher *p);

/* Does it publish: has it begun, and is there a directory that it can write into? */
bool status_publisher_publishes(struct status_publisher *p);

/* Ends the thread and takes the file away; after that, the calls above do nothing. What the process has
 * counted, as `last` says it, is added to what ended processes counted (status/ended.h); NULL: it is not
 * known. Neither this nor status_publisher_free(), which does the same first, in a forked child for a
 * publisher of the parent's. p == NULL is allowed. */
void status_publisher_stop(struct status_publisher *p, const struct status_process *last);
void status_publisher_free(struct status_publisher *p);

/* Is this the name of a status file: "PID-XXXXXXXX.json"? (Of one that is being written: the same behind a
 * dot.) */
bool status_file_name_is(const char *name);

/* Removes the files of processes that ended more than `keep_s` seconds ago from a directory, as far as one
 * may. Their counters go with them: so it leaves those that are younger to the readers, who add them up. */
void status_sweep(int directory, int64_t keep_s);
#define STATUS_KEEP_S (7 * 24 * 3600)

#endif
