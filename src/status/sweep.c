/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes away what processes left that could not do it themselves. By names and times only, so that the token
 * needs no parser of others' files: the process ID in the name, and what /proc says of it. */
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

enum { ENTRIES_MAX = 10000, RANDOM_DIGITS = 8 };

bool status_file_name_is(const char *name)
{
    size_t digits = strspn(name, "0123456789");

    return digits > 0 && digits <= 10 && name[0] != '0' && name[digits] == '-' &&
           strspn(name + digits + 1, "0123456789abcdef") == RANDOM_DIGITS &&
           strcmp(name + digits + 1 + RANDOM_DIGITS, ".json") == 0;
}

/* Nobody writes it any more: it is old, although it would be written anew with each heartbeat, and there is
 * no such process, or one that is younger than the file. */
static bool left_behind(int directory, const char *name, int64_t keep_s)
{
    const char *bare = name + (name[0] == '.');
    long pid = strtol(bare, NULL, 10);
    struct stat s;

    return status_file_name_is(bare) && fstatat(directory, name, &s, AT_SYMLINK_NOFOLLOW) == 0 &&
           time(NULL) - s.st_mtime > keep_s && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

void status_sweep(int directory, int64_t keep_s)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    const struct dirent *entry;

    if (d == NULL) {
        if (copy >= 0)
            (void)close(copy);
        return;
    }
    for (int n = 0; n < ENTRIES_MAX && (entry = readdir(d)) != NULL; n++)
        if (left_behind(directory, entry->d_name, keep_s))
            (void)unlinkat(directory, entry->d_name, 0);
    (void)closedir(d);
}
