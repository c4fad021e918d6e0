/* SPDX-License-Identifier: BSD-2-Clause */
#include "status/file.h"

#include "status/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *status_file_read(int directory, const char *name, struct text *text, struct stat *s)
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

static bool write_all(int fd, const char *s, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, s, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s += n;
        len -= (size_t)n;
    }
    return true;
}

static int new_file(int directory, const char *name)
{
    return openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, STATUS_FILE_MODE);
}

bool status_file_put(int directory, const char *aside, const char *name, const struct text *text, uid_t owner)
{
    int fd = new_file(directory, aside);
    bool good;

    if (fd < 0 && errno == EEXIST && unlinkat(directory, aside, 0) == 0)
        fd = new_file(directory, aside);
    if (fd < 0)
        return false;
    (void)fchmod(fd, STATUS_FILE_MODE); /* whatever the host's umask */
    good = owner == geteuid() || fchown(fd, owner, (gid_t)-1) == 0;
    good = good && write_all(fd, text->s, text->len);
    good = close(fd) == 0 && good && renameat(directory, aside, directory, name) == 0;
    if (!good) {
        int kept = errno;
        (void)unlinkat(directory, aside, 0);
        errno = kept;
    }
    return good;
}
