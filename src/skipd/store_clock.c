/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/store_clock.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_read_ms(clockid_t id)
{
    struct timespec t = {0};

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct store_clock store_clock_now(void)
{
    return (struct store_clock){clock_read_ms(CLOCK_BOOTTIME), clock_read_ms(CLOCK_REALTIME)};
}

bool store_clock_boot_id(char out[static BOOT_ID_LEN + 1])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, BOOT_ID_LEN) : -1;

    if (fd >= 0)
        close(fd);
    out[n == BOOT_ID_LEN ? BOOT_ID_LEN : 0] = '\0';
    return n == BOOT_ID_LEN;
}
