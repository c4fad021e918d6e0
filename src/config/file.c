/* SPDX-License-Identifier: BSD-2-Clause */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MASTER_KEY_MAX 512

int config_file_open(const char *path, enum config_file_kind kind, struct fault *fault)
{
    /* O_NONBLOCK: a FIFO in the file's place must not block us before it can be refused */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;

    if (fd < 0) {
        fault_set(fault, "%s: %s", path, strerrordesc_np(errno));
        return -1;
    }
    if (fstat(fd, &st) != 0) {
        fault_set(fault, "%s: %s", path, strerrordesc_np(errno));
    } else if (!S_ISREG(st.st_mode)) {
        fault_set(fault, "%s: is not a regular file", path);
    } else if (st.st_uid != 0 && st.st_uid != geteuid()) {
        fault_set(fault, "%s: belongs to user %u; it has to belong to root or to user %u, who reads it", path,
                  st.st_uid, geteuid());
    } else if ((st.st_mode & S_IWOTH) != 0) {
        fault_set(fault, "%s: others can write it (mode %04o); it has to be protected with chmod o-w", path,
                  st.st_mode & 07777);
    } else if ((st.st_mode & S_IWGRP) != 0) {
        fault_set(fault, "%s: its group can write it (mode %04o); it has to be protected with chmod g-w",
                  path, st.st_mode & 07777);
    } else if (kind == CONFIG_FILE_SECRET && (st.st_mode & S_IROTH) != 0) {
        fault_set(
            fault,
            "%s: holds a secret, but others can read it (mode %04o); it has to be protected with chmod o-r",
            path, st.st_mode & 07777);
    } else {
        return fd;
    }
    (void)close(fd);
    return -1;
}

struct secret *config_master_key_read(const char *path, struct fault *fault)
{
    struct secret *key = NULL;
    char *buffer = NULL;
    size_t len = 0;
    ssize_t n = 0;
    int fd = config_file_open(path, CONFIG_FILE_SECRET, fault);

    if (fd < 0)
        return NULL;
    buffer = secmem_alloc(MASTER_KEY_MAX + 3); /* the key, a line end, and one to see that it is longer */
    if (buffer == NULL) {
        fault_set(fault, "%s: no secret memory left", path);
        goto out;
    }
    while (len < MASTER_KEY_MAX + 3) {
        n = read(fd, buffer + len, MASTER_KEY_MAX + 3 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    if (n < 0) {
        fault_set(fault, "%s: %s", path, strerrordesc_np(errno));
        goto out;
    }
    if (len > 0 && buffer[len - 1] == '\n')
        len--;
    if (len > 0 && buffer[len - 1] == '\r')
        len--;
    if (len == 0 || len > MASTER_KEY_MAX) {
        fault_set(fault, "%s: a master key has 1 to %d bytes", path, MASTER_KEY_MAX);
        goto out;
    }
    key = secret_new(buffer, len);
    if (key == NULL)
        fault_set(fault, "%s: no secret memory left", path);
out:
    secmem_free(buffer);
    (void)close(fd);
    return key;
}
