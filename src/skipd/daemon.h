/* SPDX-License-Identifier: BSD-2-Clause */
/* The key source as a whole: its parts in the order in which they are made and ended. */
#ifndef PPK_SKIPD_DAEMON_H
#define PPK_SKIPD_DAEMON_H

#include "skipd/conf.h"

struct daemon;

/* Starts all parts with this configuration, and writes the ready-file (NULL: none): the lines of
 * listeners_print(). On SIGHUP, the configuration is read again from `path`. The names outlive it. NULL with
 * the reason in `fault`. */
struct daemon *daemon_start(const char *path, const struct skipd_conf *conf, const char *ready_file,
                            struct fault *fault);

/* Serves until SIGTERM or SIGINT has come, and requests under way are answered. */
void daemon_run(struct daemon *d);

/* Closes all; NULL is allowed. */
void daemon_free(struct daemon *d);

/* Does TLS accept the files that the configuration names? Opens nothing else. */
bool daemon_check(const struct skipd_conf *conf, struct fault *fault);

#endif
