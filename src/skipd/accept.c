/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/accept.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TELL_AGAIN_MS 10000

/* A descriptor that is given up for a moment, to take a connection with it and close that. */
static int spare = -1;

static void spare_make(void)
{
    if (spare < 0)
        spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_error(struct evconnlistener *listener, void *context)
{
    static uint64_t told, refused;
    const int error = EVUTIL_SOCKET_ERROR();
    int fd = -1;

    (void)context;
    refused++;
    if (told == 0 || clock_ms() - told >= TELL_AGAIN_MS) {
        log_write(LOG_LEVEL_WARNING, "%llu connections could not be accepted and were closed: %s",
                  (unsigned long long)refused, strerrordesc_np(error));
        told = clock_ms();
        refused = 0;
    }
    if (spare < 0 || (error != EMFILE && error != ENFILE))
        return;
    close(spare);
    fd = accept4(evconnlistener_get_fd(listener), NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        close(fd);
    spare = -1;
    spare_make();
}

void accept_guard(struct evconnlistener *listener)
{
    spare_make();
    evconnlistener_set_error_cb(listener, on_error);
}

static void on_log(int severity, const char *text)
{
    log_write(severity == EVENT_LOG_ERR    ? LOG_LEVEL_ERROR
              : severity == EVENT_LOG_WARN ? LOG_LEVEL_WARNING
                                           : LOG_LEVEL_DEBUG,
              "libevent: %s", text);
}

void accept_log_divert(void)
{
    event_set_log_callback(on_log);
}
