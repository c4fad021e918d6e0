/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/thread.h"

#include <signal.h>
#include <stdatomic.h>

static _Atomic unsigned next_number;
_Thread_local unsigned thread_number_plus_1;

bool thread_start(pthread_t *thread, size_t stack, void *(*main)(void *), void *context)
{
    pthread_attr_t attr;
    sigset_t all, before;
    bool started;

    if (pthread_attr_init(&attr) != 0)
        return false;
    (void)pthread_attr_setstacksize(&attr, stack);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread inherits it */
    started = pthread_create(thread, &attr, main, context) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return started;
}

unsigned thread_number_take(void)
{
    while (thread_number_plus_1 == 0) /* also where the count comes round */
        thread_number_plus_1 = atomic_fetch_add_explicit(&next_number, 1, memory_order_relaxed) + 1;
    return thread_number_plus_1 - 1;
}

bool wide_lock_init(struct wide_lock *l)
{
    for (size_t i = 0; i < THREAD_LANES; i++) {
        if (pthread_rwlock_init(&l->lanes[i].lock, NULL) != 0) {
            while (i > 0)
                pthread_rwlock_destroy(&l->lanes[--i].lock);
            return false;
        }
    }
    return true;
}

void wide_lock_destroy(struct wide_lock *l)
{
    for (size_t i = 0; i < THREAD_LANES; i++)
        pthread_rwlock_destroy(&l->lanes[i].lock);
}

static pthread_rwlock_t *lane_mine(struct wide_lock *l)
{
    return &l->lanes[thread_number() % THREAD_LANES].lock;
}

void wide_lock_read(struct wide_lock *l)
{
    pthread_rwlock_rdlock(lane_mine(l));
}

void wide_lock_read_end(struct wide_lock *l)
{
    pthread_rwlock_unlock(lane_mine(l));
}

void wide_lock_write(struct wide_lock *l)
{
    for (size_t i = 0; i < THREAD_LANES; i++)
        pthread_rwlock_wrlock(&l->lanes[i].lock);
}

void wide_lock_write_end(struct wide_lock *l)
{
    for (size_t i = THREAD_LANES; i-- > 0;)
        pthread_rwlock_unlock(&l->lanes[i].lock);
}
