/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads the status files of all processes. */
#ifndef PPK_STATUS_DIRECTORY_H
#define PPK_STATUS_DIRECTORY_H

#include "base/fault.h"
#include "status/process.h"
#include "status/status.h"

#include <sys/types.h>

#define STATUS_DEAD_S 600 /* so long a dead process is shown */

struct status_file {
    struct status_process process;
    enum process_life life;
    uid_t owner;     /* of the file: who says so */
    int64_t updated; /* the file's own time */
};

struct status_directory {
    struct status_file *files; /* by process ID */
    size_t n;
    struct status_process ended; /* what processes counted that use the token no more */
    uint64_t n_ended;            /* how many those were */
    struct text complaints;      /* a line for each file that was left out */
};

/* Reads all files of the directory; those of processes that ended long ago are removed, where one may, and
 * what they counted is added to that of the ended ones. What is no proper status file is left out and
 * complained about. False with the reason in `fault`: it cannot be
 * read. */
bool status_directory_read(struct status_directory *out, const char *path, struct fault *fault);
void status_directory_clear(struct status_directory *d);

#endif
