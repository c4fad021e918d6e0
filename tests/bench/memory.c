/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory.h"

#include <stdio.h>
#include <unistd.h>

double resident_bytes(void)
{
    unsigned long size = 0, resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (f) {
        if (fscanf(f, "%lu %lu %lu", &size, &resident, &shared) != 3) /* NOLINT(cert-err34-c) */
            resident = shared = 0;
        (void)fclose(f);
    }
    return (double)(resident - shared) * (double)sysconf(_SC_PAGESIZE);
}
