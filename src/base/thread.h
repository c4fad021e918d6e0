/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads of ours in a process that is somebody else's. */
#ifndef PPK_BASE_THREAD_H
#define PPK_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Starts `main` in a thread with a stack of `stack` bytes and all signals blocked, since they are the host's.
 * To be joined by the caller. False: there is none. */
bool thread_start(pthread_t *thread, size_t stack, void *(*main)(void *), void *context);

/* What threads write in every call is kept on lines of memory that they do not share: 128 bytes, since
 * processors fetch lines in pairs. */
#define THREAD_LINE 128

extern _Thread_local unsigned thread_number_plus_1
    __attribute__((tls_model("initial-exec"))); /* 0: none yet */
unsigned thread_number_take(void);

/* The calling thread's number: threads are counted as they first ask. What there are only a few of is chosen
 * by it, modulo how many. */
static inline unsigned thread_number(void)
{
    const unsigned n = thread_number_plus_1;

    return n == 0 ? thread_number_take() : n - 1;
}

/* A lock for what is read all the time and seldom changed: each reader locks only a part of it, which hardly
 * any other thread uses; who writes locks all parts. No nesting. */
#define THREAD_LANES 16

struct wide_lock {
    struct {
        _Alignas(THREAD_LINE) pthread_rwlock_t lock;
    } lanes[THREAD_LANES];
};

/* False: no memory. */
bool wide_lock_init(struct wide_lock *l);
void wide_lock_destroy(struct wide_lock *l);

void wide_lock_read(struct wide_lock *l);
void wide_lock_read_end(struct wide_lock *l); /* by the same thread */

void wide_lock_write(struct wide_lock *l);
void wide_lock_write_end(struct wide_lock *l);

#endif
