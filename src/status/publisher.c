/* SPDX-License-Identifier: BSD-2-Clause */
#include "status/publisher.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/thread.h"
#include "status/ended.h"
#include "status/file.h"
#include "status/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SOON_MS = 200, SELDOM_MS = 5000, STACK_BYTES = 256 * 1024 };

struct status_publisher {
    char *directory;
    status_collect *collect;
    void *context;
    bool threads; /* may be started */

    _Atomic bool begun;
    pthread_mutex_t lock; /* of what follows; the file is written with it only where there is no thread */
    pthread_cond_t wake;
    pthread_t thread;
    bool runs, stopping, nudged;

    /* the writer's own */
    char name[32]; /* of the file, behind a dot while it is written */
    bool published, told;
    struct status_process self;
    struct text last; /* the body that was written last */
    uint64_t written_ms;
};

struct status_publisher *status_publisher_new(const char *directory, bool threads, status_collect *collect,
                                              void *context)
{
    struct status_publisher *p = calloc(1, sizeof *p);
    pthread_condattr_t attributes;

    if (p == NULL || (p->directory = strdup(directory)) == NULL) {
        free(p);
        return NULL;
    }
    p->threads = threads;
    p->collect = collect;
    p->context = context;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    return p;
}

/* ---- the file ---- */

static int directory_open(const struct status_publisher *p)
{
    return open(p->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* The whole new file, in the place of the old one. */
static bool file_put(const struct status_publisher *p, const struct text *text)
{
    int directory = directory_open(p);
    bool good;

    if (directory < 0)
        return false;
    good = status_file_put(directory, p->name, p->name + 1, text, geteuid());
    int kept = errno;
    (void)close(directory);
    errno = kept;
    return good;
}

static char *executable_name(void)
{
    char path[1024];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

    if (n <= 0)
        return NULL;
    path[n] = '\0';
    return strdup(path);
}

/* What stays the same, at the first time. */
static bool self_know(struct status_publisher *p)
{
    uint32_t random;
    int directory;

    if (p->name[0] != '\0')
        return true;
    if (!crypto_random(&random, sizeof random))
        return false;
    p->self.pid = (uint64_t)getpid();
    p->self.started = process_started();
    p->self.pid_namespace = process_namespace();
    p->self.since = (int64_t)time(NULL);
    p->self.heartbeat = p->runs ? STATUS_HEARTBEAT : 0;
    p->self.executable = executable_name();
    p->self.version = strdup(PPK_VERSION);
    (void)snprintf(p->name, sizeof p->name, ".%" PRIu64 "-%08" PRIx32 ".json", p->self.pid, random);
    directory = directory_open(p);
    if (directory >= 0) {
        status_sweep(directory, STATUS_KEEP_S);
        (void)close(directory);
    }
    return true;
}

/* Looks, and writes what is new. True: something was. */
static bool publish(struct status_publisher *p)
{
    struct status_process now = {0};
    struct text body = {0}, all = {0};
    bool new = false;

    if (!self_know(p) || !p->collect(p->context, &now))
        goto out;
    status_print_body(&now, &body);
    if (body.failed)
        goto out;
    new = p->last.s == NULL || strcmp(p->last.s, body.s) != 0;
    if (!new &&clock_ms() - p->written_ms < STATUS_HEARTBEAT * UINT64_C(1000))
        goto out;
    now.pid = p->self.pid;
    now.started = p->self.started;
    now.pid_namespace = p->self.pid_namespace;
    now.heartbeat = p->self.heartbeat;
    now.since = p->self.since;
    now.updated = (int64_t)time(NULL);
    text_printf(&all, "{");
    char *own = now.executable; /* borrowed for the head */
    now.executable = p->self.executable;
    char *version = now.version;
    now.version = p->self.version;
    status_print_head(&now, &all);
    now.executable = own;
    now.version = version;
    text_printf(&all, ",%s}\n", body.s);
    p->written_ms = clock_ms();
    if (all.failed || !file_put(p, &all)) {
        if (!p->told)
            log_write(LOG_LEVEL_DEBUG, "status: %s: %s: nothing is published", p->directory,
                      strerrordesc_np(errno));
        p->told = true;
        goto out;
    }
    p->published = true;
    text_free(&p->last);
    p->last = body;
    body = (struct text){0};
out:
    status_clear(&now);
    text_free(&body);
    text_free(&all);
    return new;
}

/* ---- the thread ---- */

static void sleep_inlock(struct status_publisher *p, unsigned ms)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!p->stopping && !(p->nudged && ms > SOON_MS) &&
           pthread_cond_timedwait(&p->wake, &p->lock, &until) != ETIMEDOUT)
        ;
}

static void *publisher_main(void *context)
{
    struct status_publisher *p = context;
    unsigned pause = SOON_MS;

    (void)pthread_setname_np(pthread_self(), "ppk-status");
    pthread_mutex_lock(&p->lock);
    while (!p->stopping) {
        p->nudged = false;
        pthread_mutex_unlock(&p->lock);
        bool new = publish(p);
        pthread_mutex_lock(&p->lock);
        pause = new ? SOON_MS : pause * 2 < SELDOM_MS ? pause * 2 : SELDOM_MS;
        sleep_inlock(p, pause);
        if (p->nudged)
            pause = SOON_MS;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Is there a directory that this process may write into? Else there is nothing to be done, ever. */
static bool directory_usable(const struct status_publisher *p)
{
    struct stat s;

    if (lstat(p->directory, &s) == 0 && S_ISDIR(s.st_mode) &&
        faccessat(AT_FDCWD, p->directory, W_OK | X_OK, AT_EACCESS) == 0)
        return true;
    log_write(LOG_LEVEL_DEBUG, "status: %s: no directory that can be written: nothing is published",
              p->directory);
    return false;
}

void status_publisher_begin(struct status_publisher *p)
{
    if (p == NULL || atomic_load_explicit(&p->begun, memory_order_relaxed))
        return;
    pthread_mutex_lock(&p->lock);
    if (!p->begun && !p->stopping) {
        p->begun = true;
        if (!directory_usable(p)) {
            p->stopping = true;
        } else {
            p->runs = p->threads;
            if (p->runs)
                p->runs = thread_start(&p->thread, STACK_BYTES, publisher_main, p);
        }
    }
    pthread_mutex_unlock(&p->lock);
}

void status_publisher_nudge(struct status_publisher *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->nudged = true;
    if (p->runs)
        pthread_cond_signal(&p->wake);
    else if (p->begun && !p->stopping && clock_ms() - p->written_ms >= SOON_MS)
        (void)publish(p);
    pthread_mutex_unlock(&p->lock);
}

/* Hands on what was counted, and takes the file away. */
static void leave(struct status_publisher *p, const struct status_process *last)
{
    int directory = self_know(p) ? directory_open(p) : -1;

    if (directory < 0)
        return;
    if (last != NULL && !status_ended_add(directory, geteuid(), p->name + 1, last))
        log_write(LOG_LEVEL_DEBUG, "status: %s: %s: what this process counted is lost", p->directory,
                  strerrordesc_np(errno));
    if (p->published)
        (void)unlinkat(directory, p->name + 1, 0);
    (void)close(directory);
}

bool status_publisher_publishes(struct status_publisher *p)
{
    bool publishes;

    if (p == NULL)
        return false;
    pthread_mutex_lock(&p->lock);
    publishes = p->begun && !p->stopping;
    pthread_mutex_unlock(&p->lock);
    return publishes;
}

void status_publisher_stop(struct status_publisher *p, const struct status_process *last)
{
    bool publishes;

    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    publishes = p->begun && !p->stopping;
    p->stopping = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    if (p->runs)
        (void)pthread_join(p->thread, NULL);
    p->runs = false;
    if (publishes)
        leave(p, last);
    p->published = false;
}

void status_publisher_free(struct status_publisher *p)
{
    if (p == NULL)
        return;
    status_publisher_stop(p, NULL);
    status_clear(&p->self);
    text_free(&p->last);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->directory);
    free(p);
}
