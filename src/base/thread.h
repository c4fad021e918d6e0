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

#endif
