/* SPDX-License-Identifier: BSD-2-Clause */
#include "status/directory.h"

#include "status/ended.h"
#include "status/file.h"
#include "status/publisher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILES_MAX = 4096, ENTRIES_MAX = 10000, USERS_MAX = 256, TRIES = 5 };

/* Is it a file of a process that ended long ago, and may this process take it away? */
static bool may_fold(const struct status_file *f, int64_t now)
{
    return f->life != PROCESS_LIVE && now - f->updated > STATUS_DEAD_S &&
           (geteuid() == 0 || geteuid() == f->owner) && kill((pid_t)f->process.pid, 0) != 0 && errno == ESRCH;
}

/* Takes one file in; NULL, or what is wrong with it. */
static const char *file_take(struct status_directory *d, int directory, const char *name)
{
    struct status_file *all, *f;
    struct text text = {0};
    struct stat s = {0};
    const char *why = status_file_read(directory, name, &text, &s);
    int64_t now = (int64_t)time(NULL);

    if (why != NULL)
        goto out;
    why = "no memory";
    all = reallocarray(d->files, d->n + 1, sizeof *all);
    if (all == NULL)
        goto out;
    d->files = all;
    f = &all[d->n];
    memset(f, 0, sizeof *f);
    if (!status_parse(&f->process, text.s != NULL ? text.s : "", text.len, &why))
        goto out;
    if (f->process.pid != strtoul(name, NULL, 10)) {
        status_clear(&f->process);
        why = "not of the process that its name says";
        goto out;
    }
    f->owner = s.st_uid;
    f->updated = s.st_mtime;
    f->life = process_life(&f->process, s.st_mtime, now);
    if (f->life == PROCESS_DEAD)
        status_end(&f->process);
    why = NULL;
    if (may_fold(f, now) && status_ended_add(directory, f->owner, name, &f->process) &&
        unlinkat(directory, name, 0) == 0)
        status_clear(&f->process);
    else
        d->n++;
out:
    text_free(&text);
    return why;
}

static int by_pid(const void *a, const void *b)
{
    uint64_t x = ((const struct status_file *)a)->process.pid,
             y = ((const struct status_file *)b)->process.pid;

    return x < y ? -1 : x > y;
}

/* Takes in what ended processes of one user counted. `last`: see status/ended.h. */
static const char *ended_take(struct status_directory *d, int directory, const char *name,
                              char last[static STATUS_NAME_ROOM])
{
    struct status_ended e = {0};
    struct text text = {0};
    struct stat s = {0};
    const char *why = status_file_read(directory, name, &text, &s);

    if (why == NULL && s.st_uid != strtoul(name + strlen("ended-"), NULL, 10))
        why = "not of the user that its name says";
    if (why == NULL && text.len > 0 && !status_ended_parse(&e, text.s, text.len))
        why = "damaged";
    if (why == NULL && !status_add(&d->ended, &e.sum))
        why = "no memory";
    if (why == NULL) {
        d->n_ended += e.processes;
        memcpy(last, e.last, sizeof e.last);
    }
    status_ended_clear(&e);
    text_free(&text);
    return why;
}

static void complain(struct status_directory *d, const char *path, const char *name, const char *why)
{
    if (why != NULL && strcmp(why, strerrordesc_np(ENOENT)) != 0) /* gone meanwhile */
        text_printf(&d->complaints, "%s/%s: %s\n", path, name, why);
}

/* Changes when anything is added to what ended processes counted. */
static uint64_t ended_state(DIR *d)
{
    const struct dirent *entry;
    uint64_t state = 0;
    struct stat s;

    rewinddir(d);
    for (int n = 0; n < ENTRIES_MAX && (entry = readdir(d)) != NULL; n++)
        if (status_ended_name_is(entry->d_name) &&
            fstatat(dirfd(d), entry->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0)
            state += (uint64_t)s.st_ino * 1000003 + (uint64_t)s.st_mtim.tv_sec * 1000000007 +
                     (uint64_t)s.st_mtim.tv_nsec;
    return state;
}

static bool is_among(const char *name, char names[][STATUS_NAME_ROOM], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void all_take(struct status_directory *out, DIR *d, const char *path)
{
    char last[USERS_MAX][STATUS_NAME_ROOM];
    const struct dirent *entry;
    size_t users = 0;

    rewinddir(d);
    for (int n = 0; n < ENTRIES_MAX && users < USERS_MAX && (entry = readdir(d)) != NULL; n++) {
        if (!status_ended_name_is(entry->d_name))
            continue;
        last[users][0] = '\0';
        complain(out, path, entry->d_name, ended_take(out, dirfd(d), entry->d_name, last[users]));
        users++;
    }
    rewinddir(d);
    while (out->n < FILES_MAX && (entry = readdir(d)) != NULL)
        if (status_file_name_is(entry->d_name) && !is_among(entry->d_name, last, users))
            complain(out, path, entry->d_name, file_take(out, dirfd(d), entry->d_name));
}

bool status_directory_read(struct status_directory *out, const char *path, struct fault *fault)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = NULL;

    memset(out, 0, sizeof *out);
    if (fd >= 0) {
        status_sweep(fd, STATUS_KEEP_S);
        d = fdopendir(fd);
    }
    if (d == NULL) {
        fault_set(fault, "%s: %s", path, strerrordesc_np(errno));
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    /* A process that ends meanwhile would be counted twice, or not at all: then once more. */
    for (int i = 0; i < TRIES; i++) {
        uint64_t before = ended_state(d);
        status_directory_clear(out);
        all_take(out, d, path);
        if (ended_state(d) == before)
            break;
    }
    (void)closedir(d);
    if (out->n > 0)
        qsort(out->files, out->n, sizeof *out->files, by_pid);
    return true;
}

void status_directory_clear(struct status_directory *d)
{
    for (size_t i = 0; i < d->n; i++)
        status_clear(&d->files[i].process);
    free(d->files);
    status_clear(&d->ended);
    text_free(&d->complaints);
    memset(d, 0, sizeof *d);
}
