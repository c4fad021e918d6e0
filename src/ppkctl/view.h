/* SPDX-License-Identifier: BSD-2-Clause */
/* The status of the processes that use the token, as ppkctl shows it. */
#ifndef PPK_PPKCTL_VIEW_H
#define PPK_PPKCTL_VIEW_H

#include "ppkctl/ppkctl.h"
#include "status/directory.h"

struct view {
    struct status_directory directory; /* all processes, or the one that was asked for */
    struct status_process sum;         /* over them, and those that have ended */
    uint64_t live, ended;              /* how many; dead ones are among the ended */
    uint64_t dead;
    char path[256]; /* of the directory, for messages */
};

/* Reads the status directory: $PPK_STATUS_DIR, that of the configuration, or the default. False: told. */
bool view_read(struct view *v, const struct options *o);
void view_clear(struct view *v);

/* Append a text that came from elsewhere, with what a terminal must not see escaped; "-" for NULL. */
void view_text(struct text *out, const char *s);

/* Appends a moment as "2026-11-23 22:33:44 UTC", or "-" for 0. */
void view_time(struct text *out, int64_t at);

/* "live", "dead", "silent" */
const char *view_life(enum process_life life);

/* What "ppkctl show" shows of it; `name` NULL: all. False: there is nothing of this name. */
bool view_profiles(const struct view *v, const char *name, struct text *out);
void view_ppk(const struct view *v, struct text *out);
void view_statistics(const struct view *v, struct text *out);
void view_clients(const struct view *v, struct text *out);

/* All of it for programs. */
void view_json(const struct view *v, struct text *out);
void view_openmetrics(const struct view *v, struct text *out);

#endif
