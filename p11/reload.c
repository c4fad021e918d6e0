/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/reload.h"

#include "base/clock.h"
#include "base/log.h"
#include "p11/gate.h"
#include "p11/generation.h"
#include "p11/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS  1000  /* the files are looked at so often at most; */
#define SOON_MS  50    /* again, if calls that use the configuration before the present one are under way; */
#define RETRY_MS 10000 /* and one that was wrong is read again, since the mistake may be in another file */

static void log_lines(const struct text *errors)
{
    for (const char *at = errors->s; at != NULL && *at != '\0';) {
        const char *end = strchrnul(at, '\n');
        log_write(LOG_LEVEL_ERROR, "%.*s", (int)(end - at), at);
        at = *end == '\0' ? end : end + 1;
    }
}

/* The log as the configuration wants it, unless PPK_LOG says otherwise. */
static void log_configure(const struct configuration *c)
{
    const char *level = c->log_level != NULL ? c->log_level : "notice";
    struct text setting = {0};

    if (c->log_file != NULL)
        text_printf(&setting, "file=%s:%s", c->log_file, level);
    else
        text_printf(&setting, "syslog:%s", level);
    if (!setting.failed)
        log_open(LIBRARY_LOG_NAME, setting.s);
    text_free(&setting);
}

/* Keys that are kept ready need a thread, which this application forbids: fetch when they are asked for. */
static void prefetch_forbid(struct configuration *c)
{
    for (size_t i = 0; i < c->n_profiles; i++) {
        if (c->profiles[i].prefetch > 0)
            log_write(LOG_LEVEL_NOTICE, "sks profile %s: no prefetch, since the application forbids threads",
                      c->profiles[i].name);
        c->profiles[i].prefetch = 0;
    }
}

/* Reads the file: NULL, with the mistakes in `errors`. A file that nobody named may be missing: then there is
 * no keyring. */
static struct configuration *configuration_get(const struct library *l, struct text *errors)
{
    struct configuration *c;

    if (l->path_default && access(l->path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        log_write(LOG_LEVEL_NOTICE, "no configuration (%s): no slots", l->path);
        c = configuration_parse(l->path, "", 0, errors);
    } else {
        c = configuration_load(l->path, errors);
    }
    if (c != NULL && l->no_threads)
        prefetch_forbid(c);
    return c;
}

/* Makes what was read the present generation. False, with the reason: it cannot be. */
static bool configuration_install(struct library *l, struct configuration *c, struct text *errors)
{
    struct fault fault = {""};
    struct generation *g;

    pthread_mutex_lock(&l->unlock);
    g = generation_make(l, c, &fault);
    if (g != NULL)
        generation_install(l, g);
    pthread_mutex_unlock(&l->unlock);
    if (g == NULL)
        text_printf(errors, "%s", fault.text);
    return g != NULL;
}

/* A file that has become empty (written to a full disk) or has gone is a mistake, where there were keyrings.
 */
static bool has_lost_all(const struct library *l, const struct configuration *c, struct text *errors)
{
    const struct generation *g = atomic_load(&l->now);

    if (g == NULL || g->configuration->n_keyrings == 0 || c->n_keyrings > 0)
        return false;
    text_printf(errors, "%s: there is no keyring in it, or no such file\n", l->path);
    return true;
}

/* Reads and installs. */
static bool read_file(struct library *l, struct text *errors)
{
    struct file_stamp file = {0}, named = {0};
    struct configuration *c;

    file_stamp_add(&file, l->path); /* before it is read: what is changed meanwhile is seen the next time */
    c = configuration_get(l, errors);
    l->reload.file = file;
    if (c == NULL)
        return false;
    if (has_lost_all(l, c, errors)) {
        configuration_free(c);
        return false;
    }
    configuration_stamp(c, &named);
    if (!configuration_install(l, c, errors))
        return false;
    log_configure(c);
    l->reload.named = named;
    return true;
}

CK_RV reload_first(struct library *l)
{
    struct text errors = {0};
    CK_RV rv = CKR_OK;

    if (!read_file(l, &errors)) {
        log_lines(&errors);
        log_write(LOG_LEVEL_ERROR, "C_Initialize: the configuration %s cannot be used", l->path);
        rv = CKR_GENERAL_ERROR;
    }
    atomic_store(&l->n_told, atomic_load(&l->n_slots));
    atomic_store(&l->reload.look_at, clock_ms() + LOOK_MS);
    text_free(&errors);
    return rv;
}

/* Says what is wrong: once, unless the files have changed. */
static void tell_mistakes(struct library *l, const struct text *errors, bool changed)
{
    const char *now = errors->s == NULL ? "" : errors->s;

    if (!changed && l->reload.told != NULL && strcmp(l->reload.told, now) == 0)
        return;
    log_lines(errors);
    log_write(LOG_LEVEL_ERROR, "the configuration %s has changed and cannot be used: the one before stays",
              l->path);
    free(l->reload.told);
    l->reload.told = strdup(now);
}

/* Slots whose keyring came or went. */
static void tell_events(struct library *l)
{
    const size_t n = atomic_load(&l->n_slots);
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        struct slot *s = atomic_load(&l->slots[i]);
        if (!atomic_load(&s->event))
            continue;
        any = true;
        if (!slot_view(s)->present)
            session_close_slot(s);
    }
    if (any)
        gate_event();
}

static void reload(struct library *l, bool changed)
{
    struct text errors = {0};

    if (read_file(l, &errors)) {
        gate_turn();
        tell_events(l);
        if (changed || l->reload.told != NULL)
            log_write(LOG_LEVEL_NOTICE, "the configuration %s has changed and is in effect", l->path);
        free(l->reload.told);
        l->reload.told = NULL;
    } else {
        tell_mistakes(l, &errors, changed);
        l->reload.retry_at = clock_ms() + RETRY_MS;
    }
    text_free(&errors);
}

/* Reads the files if they have changed, once whoever changes them has done so. */
static void look(struct library *l, uint64_t now)
{
    struct reload *r = &l->reload;
    const bool missing = r->missing;
    struct file_stamp file = {0}, named = {0};
    bool changed;

    file_stamp_add(&file, l->path);
    configuration_stamp(atomic_load(&l->now)->configuration, &named);
    changed = file.hash != r->file.hash || named.hash != r->named.hash;
    r->missing = file.missing;
    /* A file that is being written, or was taken away for another to come, is left in peace. */
    if (changed && (file.fresh || named.fresh || (file.missing && !missing)))
        atomic_store(&r->look_at, now + SOON_MS);
    else if (changed || (r->told != NULL && now >= r->retry_at))
        reload(l, changed);
}

/* Gives back the generation before the present one. False: it is still in use. */
static bool tidy(struct library *l)
{
    struct generation *before = atomic_load(&l->before);

    if (before == NULL)
        return true;
    if (!gate_turned())
        return false;
    atomic_store(&l->before, NULL);
    generation_retire(before);
    return true;
}

void reload_look(void)
{
    struct library *l = library_now();
    const uint64_t now = clock_ms_coarse();
    const bool due = now >= atomic_load_explicit(&l->reload.look_at, memory_order_relaxed);

    if ((!due && atomic_load_explicit(&l->before, memory_order_relaxed) == NULL) ||
        pthread_mutex_trylock(&l->reload.lock) != 0)
        return;
    if (!tidy(l)) {
        if (due)
            atomic_store(&l->reload.look_at, now + SOON_MS);
    } else if (due) {
        atomic_store(&l->reload.look_at, now + LOOK_MS);
        look(l, now);
        (void)tidy(l);
    }
    pthread_mutex_unlock(&l->reload.lock);
}
