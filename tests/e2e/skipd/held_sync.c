/* SPDX-License-Identifier: BSD-2-Clause */
/* For LD_PRELOAD: while the file HELD_SYNC is there (30 s at most), nothing gets onto the disk; a byte is
 * written into it for each call that waits. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void hold(void)
{
    const char *path = getenv("HELD_SYNC");
    const struct timespec pause = {.tv_nsec = 10000000};
    int fd = path != NULL ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    (void)!write(fd, "", 1);
    close(fd);
    for (int i = 0; i < 3000 && access(path, F_OK) == 0; i++)
        nanosleep(&pause, NULL);
}

__attribute__((visibility("default"))) int fsync(int fd)
{
    hold();
    return (int)syscall(SYS_fsync, fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    hold();
    return (int)syscall(SYS_fdatasync, fd);
}
