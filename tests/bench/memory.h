/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

/* Bytes of this process that are in memory, without the pages of programs and libraries, which come in as
 * their code is first run. */
double resident_bytes(void);

#endif
