/* SPDX-License-Identifier: BSD-2-Clause */
/* ppk-bench-cold MODULE [LABEL]: loads a module, searches once for what is not there, ends. Linked with
 * nothing but the C library, so that what the process costs is the module's. Prints the nanoseconds of
 * C_Initialize, and those of a search for LABEL. */
#include "bench.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct subject s = {.bare = false};
    char why[256] = "usage: ppk-bench-cold MODULE [LABEL]";

    if (argc < 2 || argc > 3 || !module_load(&s, argv[1], why, sizeof why) ||
        !module_first_search(&s, why, sizeof why)) {
        (void)fprintf(stderr, "ppk-bench-cold: %s\n", why);
        return 1;
    }
    uint64_t find = argc == 3 ? module_find_label(&s, argv[2]) : 0;
    (void)printf("%llu %llu\n", (unsigned long long)s.init_ns, (unsigned long long)find);
    return argc == 3 && find == 0;
}
