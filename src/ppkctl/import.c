/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppkctl/ppkctl.h"
#include "ppkctl/router.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads a whole file ("-": stdin). The caller frees `out`, which wipes it. */
static bool whole_read(const char *path, struct text *out)
{
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    char buffer[8192];
    ssize_t n = 0;

    if (fd < 0) {
        say("%s: %s", path, strerrordesc_np(errno));
        return false;
    }
    while (out->len <= ROUTER_CONFIG_MAX && (n = read(fd, buffer, sizeof buffer)) > 0)
        text_append(out, buffer, (size_t)n);
    explicit_bzero(buffer, sizeof buffer);
    if (n < 0)
        say("%s: %s", path, strerrordesc_np(errno));
    else if (out->len > ROUTER_CONFIG_MAX)
        say("%s: is longer than %lu bytes", path, ROUTER_CONFIG_MAX);
    else if (out->failed)
        say("no memory left");
    if (fd != STDIN_FILENO)
        (void)close(fd);
    return n >= 0 && out->len <= ROUTER_CONFIG_MAX && !out->failed;
}

/* Writes a new file that nobody else can read: secrets are in it. */
static int file_put(const char *path, const struct text *t)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0;
    size_t at = 0;

    while (good && at < t->len) {
        ssize_t n = write(fd, t->s + at, t->len - at);

        good = n > 0 || (n < 0 && errno == EINTR);
        at += n > 0 ? (size_t)n : 0;
    }
    good = good && fsync(fd) == 0;
    if (!good)
        say("%s: %s", path, strerrordesc_np(errno));
    if (fd >= 0 && close(fd) == 0 && !good)
        (void)unlink(path);
    return good ? PPKCTL_OK : PPKCTL_FAILED;
}

int import_run(const struct options *o, int argc, char **argv)
{
    struct text config = {0}, out = {0}, notes = {0};
    int code = PPKCTL_FAILED;

    (void)argc;
    if (!whole_read(argv[0], &config))
        goto out;
    if (router_import(argv[0], config.s != NULL ? config.s : "", config.len, &out, &notes))
        code = o->output != NULL ? file_put(o->output, &out) : put(&out);
    if (notes.s != NULL)
        (void)fputs(notes.s, stderr);
    if (notes.failed)
        say("no memory left");
out:
    text_free(&config);
    text_free(&out);
    text_free(&notes);
    return code;
}
