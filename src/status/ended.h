/* SPDX-License-Identifier: BSD-2-Clause */
/* What processes have counted that use the token no more: sums, in one file for each user, so that what is
 * shown of all processes never goes backwards when one of them ends.
 *
 * The file is text of lines of its own, which the token reads back when a process adds its counters to it:
 * for that it needs no parser of what others write. */
#ifndef PPK_STATUS_ENDED_H
#define PPK_STATUS_ENDED_H

#include "status/status.h"

#include <sys/types.h>

struct status_ended {
    struct status_process sum; /* counters of keyrings, requests of profiles; nothing that is true only now */
    uint64_t processes;
    char last[STATUS_NAME_ROOM]; /* the status file whose counters were added last: it may be there for a
                                    moment yet */
};

/* Is this the name of such a file: "ended-UID.txt"? */
bool status_ended_name_is(const char *name);

/* Takes the text in. False: it is none, and *out is empty. */
bool status_ended_parse(struct status_ended *out, const char *text, size_t len);
void status_ended_print(const struct status_ended *e, struct text *out);
void status_ended_clear(struct status_ended *e);

/* Adds the counters of `p`, whose status file is `file`, to the file of the user `owner`, unless there are
 * none, or it was the last that was added. Waits for others who do the same, but not longer than 100 ms.
 * False with errno, and nothing is added. */
bool status_ended_add(int directory, uid_t owner, const char *file, const struct status_process *p);

#endif
