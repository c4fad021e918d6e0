/* SPDX-License-Identifier: BSD-2-Clause */
/* Time for what outlives the process. While the machine runs, CLOCK_BOOTTIME counts (it also runs while
 * suspended, and nobody can set it); a boot ID tells whether a stored time belongs to this boot. Only across
 * a reboot the wall clock has to do. */
#ifndef PPK_SKIPD_STORE_CLOCK_H
#define PPK_SKIPD_STORE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define BOOT_ID_LEN 36

struct store_clock {
    int64_t boot_ms; /* since boot */
    int64_t wall_ms; /* since 1970 */
};

/* The time on both clocks. */
struct store_clock store_clock_now(void);

/* The ID of this boot as text, terminated. False: the system does not tell. */
bool store_clock_boot_id(char out[static BOOT_ID_LEN + 1]);

#endif
