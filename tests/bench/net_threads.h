/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PPK_BENCH_NET_THREADS_H
#define PPK_BENCH_NET_THREADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NET_THREADS_MAX = 64 };

/* Threads that begin at once and take turn by turn what is to be done next: one(context, thread, i) for each
 * i below n, until one says false. The nanoseconds in all, or 0: one failed. */
uint64_t net_threads(unsigned threads, size_t n, bool (*one)(void *context, unsigned thread, size_t i),
                     void *context);

#endif
