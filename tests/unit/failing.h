/* SPDX-License-Identifier: BSD-2-Clause */
/* Allocations that fail when a test wants it: the linker puts failing.c in front of the C library's functions
 * (ppk_fails_allocations() in CMake), for all of our own objects in the test. */
#ifndef UNIT_FAILING_H
#define UNIT_FAILING_H

#include <stdbool.h>

/* So many allocations succeed, then one fails; below 0, none does. */
extern long failing_after;

/* One more allocation: does it fail? Also for kinds of them that a test wraps by itself. */
bool failing_now(void);

/* From now on none fails. Has one? */
bool failing_end(void);

#endif
