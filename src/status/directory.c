/* SPDX-License-Identifier: BSD-2-Clause */
#include "status/directory.h"

#include "status/publisher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILES_MAX = 4096 };

/* Reads the file into `text`; NULL, or what is wrong with it. */
static const char *file_read(int directory, const char *name, struct text *text, struct stat *s)
{
    /* not to be held up by a FIFO, nor led elsewhere by a link */
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    const char *why = NULL;
    char part[16384];
    ssize_t n;

    if (fd < 0)
        return errno == ELOOP ? "a symbolic link" : strerrordesc_np(errno);
    if (fstat(fd, s) != 0)
        why = strerrordesc_np(errno);
    else if (!S_ISREG(s->st_mode))
        why = "not a regular file";
    else if (s->st_size > STATUS_FILE_MAX)
        why = "too large";
    while (why == NULL && (n = read(fd, part, sizeof part)) != 0) {
        if (n < 0)
            why = strerrordesc_np(errno);
        else if (text->len + (size_t)n > STATUS_FILE_MAX)
            why = "too large";
        else
            text_append(text, part, (size_t)n);
    }
    (void)close(fd);
    return why == NULL && text->failed ? "no memory" : why;
}

/* Takes one file in; NULL, or what is wrong with it. */
static const char *file_take(struct status_directory *d, int directory, const char *name)
{
    struct status_file *all, *f;
    struct text text = {0};
    struct stat s = {0};
    const char *why = file_read(directory, name, &text, &s);

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
    f->life = process_life(&f->process, s.st_mtime, (int64_t)time(NULL));
    if (f->life == PROCESS_DEAD)
        status_end(&f->process);
    d->n++;
    why = NULL;
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

bool status_directory_read(struct status_directory *out, const char *path, struct fault *fault)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct dirent *entry;
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
    while (out->n < FILES_MAX && (entry = readdir(d)) != NULL) {
        const char *why;
        if (!status_file_name_is(entry->d_name))
            continue;
        why = file_take(out, fd, entry->d_name);
        if (why != NULL && strcmp(why, strerrordesc_np(ENOENT)) != 0) /* gone meanwhile */
            text_printf(&out->complaints, "%s/%s: %s\n", path, entry->d_name, why);
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
    text_free(&d->complaints);
    memset(d, 0, sizeof *d);
}
