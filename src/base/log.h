/* SPDX-License-Identifier: BSD-2-Clause */
/* The log. Goes to the system's log socket (/dev/log, identifier "ppk-pkcs11") unless the environment says
 * otherwise: PPK_LOG=[DEST:]LEVEL, DEST one of syslog, stderr, none, or file=PATH; LEVEL one of error,
 * warning, notice, info, debug, trace. Uses no state of the C library's syslog(), which belongs to the host.
 * Lines are cut at 1,000 bytes and made printable. A file that cannot be opened is made up for by the
 * system's log. */
#ifndef PPK_BASE_LOG_H
#define PPK_BASE_LOG_H

#include <stdbool.h>

#define LOG_PATH_MAX 511 /* bytes of a file's name */

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_TRACE
};

/* Reads PPK_LOG (secure_getenv) and takes `identifier` (static text) as the name in front of each line;
 * `fallback` is used where PPK_LOG is not set, in its syntax (NULL: "syslog:notice"). May be called again. */
void log_open(const char *identifier, const char *fallback);

/* The name of the n-th level, as in PPK_LOG. */
const char *log_level_name(unsigned level);

/* From now on, of lines of one kind (one format) not more than `lines` are written in `interval_ms`; how many
 * more there were is told behind the next one, or by log_flush(). Nothing is held
 * back at the levels debug and trace. 0: no limit, which is the default. */
void log_limit(unsigned lines, unsigned interval_ms);

/* Tells of lines that were held back. */
void log_flush(void);

/* Is a line of this level written anywhere? For callers whose text is costly to make. */
bool log_wanted(enum log_level level);

/* Writes one line. Thread-safe; never blocks for long, never fails visibly; keeps errno. Never a secret. */
__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *format, ...);

/* Sends lines to a function instead (tests, a shared object that logs through its host); NULL: back to
 * normal. */
void log_divert(void (*sink)(enum log_level level, const char *line, void *context), void *context);

#endif
