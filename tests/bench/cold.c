/* SPDX-License-Identifier: BSD-2-Clause */
/* ppk-bench-cold MODULE: loads a module, searches once for what is not there, ends. Linked with nothing but
 * the C library, so that what the process costs is the module's. Prints the nanoseconds of C_Initialize, and
 * what of it is in the way of a quick start. */
#include "bench.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct subject s = {.bare = false};
    char why[256] = "usage: ppk-bench-cold MODULE";

    if (argc != 2 || !module_load(&s, argv[1], why, sizeof why) ||
        !module_first_search(&s, why, sizeof why)) {
        (void)fprintf(stderr, "ppk-bench-cold: %s\n", why);
        return 1;
    }
    (void)printf("%llu\n", (unsigned long long)s.init_ns);
    return 0;
}
