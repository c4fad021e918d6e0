/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppkctl/progress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void *progress_main(void *context)
{
    struct progress *p = context;
    struct timespec next;
    unsigned seconds = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &next);
    next.tv_sec++;
    pthread_mutex_lock(&p->lock);
    while (!p->ended) {
        if (pthread_cond_timedwait(&p->wake, &p->lock, &next) != ETIMEDOUT)
            continue;
        (void)fprintf(stderr, "\r   ... %s (%u s)", p->what, ++seconds);
        (void)fflush(stderr);
        next.tv_sec++;
    }
    pthread_mutex_unlock(&p->lock);
    if (seconds > 0)
        (void)fputs("\r\033[K", stderr);
    return NULL;
}

void progress_begin(struct progress *p, const char *what)
{
    pthread_condattr_t attributes;

    memset(p, 0, sizeof *p);
    p->what = what;
    if (isatty(STDERR_FILENO) != 1)
        return;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    p->runs = pthread_create(&p->thread, NULL, progress_main, p) == 0;
}

void progress_end(struct progress *p)
{
    if (!p->runs)
        return;
    pthread_mutex_lock(&p->lock);
    p->ended = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    (void)pthread_join(p->thread, NULL);
    p->runs = false;
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
}
