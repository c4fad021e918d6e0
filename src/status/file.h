/* SPDX-License-Identifier: BSD-2-Clause */
/* Files in a directory that users may share. */
#ifndef PPK_STATUS_FILE_H
#define PPK_STATUS_FILE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { STATUS_FILE_MODE = 0640 };

/* Reads a whole file, of up to STATUS_FILE_MAX bytes, from wherever the name leads, but not through a link,
 * nor from a FIFO or the like. NULL, or what is wrong (static text). */
const char *status_file_read(int directory, const char *name, struct text *text, struct stat *s);

/* Writes a new file, which nobody else can have made, and puts it in the place of the old one. `aside`: its
 * name while it is written; `owner`: whose it is to be, if that is another user. False, with errno: nothing
 * has changed. */
bool status_file_put(int directory, const char *aside, const char *name, const struct text *text,
                     uid_t owner);

#endif
