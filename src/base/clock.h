/* SPDX-License-Identifier: BSD-2-Clause */
/* Time. Bounds and lifetimes are measured on the monotonic clock, so that a changed wall clock neither
 * shortens nor prolongs them. */
#ifndef PPK_BASE_CLOCK_H
#define PPK_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_MONOTONIC. Never 0. */
uint64_t clock_ms(void);

/* The same as of the kernel's last tick, at most CLOCK_COARSE_MS ago: at a fifth of the price, for what is
 * asked in every call. */
enum { CLOCK_COARSE_MS = 11 }; /* a tick of CONFIG_HZ_100, rounded up */
uint64_t clock_ms_coarse(void);

/* Microseconds of the same clock, for what is measured. */
uint64_t clock_us(void);

/* Milliseconds left until `deadline_ms` (a clock_ms() time), never negative. */
uint64_t clock_left_ms(uint64_t deadline_ms);

#endif
