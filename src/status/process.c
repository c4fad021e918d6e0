/* SPDX-License-Identifier: BSD-2-Clause */
#include "status/process.h"

#include "status/status.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads /proc/PID/stat: the state's letter, and field 22. False: there is no such process, or it is hidden.
 */
static bool stat_read(pid_t pid, char *state, uint64_t *started)
{
    char path[64], text[1024], *at;
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    at = strrchr(text, ')'); /* ends the name, which may hold anything */
    if (at == NULL || strlen(at) < 3)
        return false;
    *state = at[2];
    at++; /* field 3 follows the blank */
    for (int field = 3; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return false;
    *started = strtoull(at + 1, NULL, 10);
    return true;
}

uint64_t process_started(void)
{
    uint64_t started;
    char state;

    return stat_read(getpid(), &state, &started) ? started : 0;
}

uint64_t process_namespace(void)
{
    struct stat s;

    return stat("/proc/self/ns/pid", &s) == 0 ? s.st_ino : 0;
}

/* Has it ended? One that has, and is only waited for, counts as ended. */
static bool ended(const struct status_process *p)
{
    uint64_t started;
    char state;

    if (stat_read((pid_t)p->pid, &state, &started))
        return state == 'Z' || state == 'X' || started != p->started;
    /* Hidden, or none: signal 0 is none, and tells. */
    return kill((pid_t)p->pid, 0) != 0 && errno == ESRCH;
}

enum process_life process_life(const struct status_process *p, int64_t updated, int64_t now)
{
    if (p->pid_namespace == process_namespace() && ended(p))
        return PROCESS_DEAD;
    if (p->heartbeat > 0 && updated < now && (uint64_t)(now - updated) / 3 > p->heartbeat)
        return PROCESS_SILENT;
    return PROCESS_LIVE;
}
