/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppkctl/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The configuration's, if it can be read and says so; the caller frees it. */
static char *directory_configured(const struct options *o)
{
    struct text errors = {0};
    struct configuration *c = access(o->config, R_OK) == 0 ? configuration_load(o->config, &errors) : NULL;
    char *directory = c != NULL && c->status_directory != NULL ? strdup(c->status_directory) : NULL;

    configuration_free(c);
    text_free(&errors);
    return directory;
}

/* Leaves only the process that was asked for. */
static bool process_only(struct status_directory *d, uint64_t pid)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->n; i++) {
        if (d->files[i].process.pid == pid)
            d->files[kept++] = d->files[i];
        else
            status_clear(&d->files[i].process);
    }
    d->n = kept;
    d->n_ended = 0; /* nobody knows which */
    status_clear(&d->ended);
    if (kept == 0)
        say("process %" PRIu64 " has published no status", pid);
    return kept > 0;
}

bool view_read(struct view *v, const struct options *o)
{
    const char *environment = secure_getenv("PPK_STATUS_DIR");
    bool given = environment != NULL && environment[0] != '\0';
    char *configured = given ? NULL : directory_configured(o);
    const char *directory = given ? environment : configured != NULL ? configured : STATUS_DIRECTORY;
    struct fault fault = {""};
    bool good = false;

    memset(v, 0, sizeof *v);
    (void)snprintf(v->path, sizeof v->path, "%s", directory);
    if (strcmp(directory, CONFIGURATION_STATUS_OFF) == 0) {
        say("%s: status is off", given ? "$PPK_STATUS_DIR" : o->config);
        goto out;
    }
    if (!status_directory_read(&v->directory, directory, &fault)) {
        say("status: %s", fault.text);
        goto out;
    }
    if (v->directory.complaints.s != NULL)
        say("left out:\n%s", v->directory.complaints.s);
    if (o->process != 0 && !process_only(&v->directory, o->process))
        goto out;
    good = status_add(&v->sum, &v->directory.ended);
    for (size_t i = 0; good && i < v->directory.n; i++) {
        good = status_add(&v->sum, &v->directory.files[i].process);
        *(v->directory.files[i].life == PROCESS_DEAD ? &v->dead : &v->live) += 1;
    }
    v->ended = v->directory.n_ended + v->dead;
    if (!good)
        say("no memory left");
out:
    free(configured);
    return good;
}

void view_clear(struct view *v)
{
    status_directory_clear(&v->directory);
    status_clear(&v->sum);
}

void view_text(struct text *out, const char *s)
{
    char shown[4096];

    if (s == NULL)
        s = "-";
    text_append(out, shown, text_printable(shown, sizeof shown, s, strlen(s)));
}

void view_time(struct text *out, int64_t at)
{
    time_t t = (time_t)at;
    struct tm utc;

    if (at <= 0 || gmtime_r(&t, &utc) == NULL) {
        text_printf(out, "-");
        return;
    }
    text_printf(out, "%04d-%02d-%02d %02d:%02d:%02d UTC", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                utc.tm_hour, utc.tm_min, utc.tm_sec);
}

const char *view_life(enum process_life life)
{
    static const char *const words[] = {
        [PROCESS_LIVE] = "live", [PROCESS_DEAD] = "dead", [PROCESS_SILENT] = "silent"};

    return words[life];
}
