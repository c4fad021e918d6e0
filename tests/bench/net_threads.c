/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_threads.h"

#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct crowd {
    bool (*one)(void *context, unsigned thread, size_t i);
    void *context;
    size_t n;
    _Atomic size_t next;
    _Atomic bool failed;
    pthread_barrier_t start;
};

struct member {
    struct crowd *crowd;
    unsigned number;
    pthread_t thread;
};

static void *work(void *context)
{
    const struct member *m = context;
    struct crowd *c = m->crowd;
    size_t i;

    (void)pthread_barrier_wait(&c->start);
    while ((i = c->next++) < c->n && !c->failed)
        if (!c->one(c->context, m->number, i))
            c->failed = true;
    return NULL;
}

uint64_t net_threads(unsigned threads, size_t n, bool (*one)(void *context, unsigned thread, size_t i),
                     void *context)
{
    struct member members[NET_THREADS_MAX];
    struct crowd c = {.one = one, .context = context, .n = n};

    (void)pthread_barrier_init(&c.start, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++) {
        members[i] = (struct member){.crowd = &c, .number = i};
        if (pthread_create(&members[i].thread, NULL, work, &members[i]) != 0) {
            perror("ppk-bench-net");
            exit(1);
        }
    }
    uint64_t before = now_ns();
    (void)pthread_barrier_wait(&c.start);
    for (unsigned i = 0; i < threads; i++)
        (void)pthread_join(members[i].thread, NULL);
    uint64_t took = now_ns() - before;
    (void)pthread_barrier_destroy(&c.start);
    return c.failed ? 0 : took;
}
