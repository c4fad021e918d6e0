/* SPDX-License-Identifier: BSD-2-Clause */
/* For targets that read configurations. The arena gives its last page back, and locks a new one for the next
 * configuration: a piece of each size in use keeps it from that, which takes more time than all else. */
#include "base/secret.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

static void *warm[5];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char bytes[64];
    static const size_t sizes[] = {16, 24, 32, 64};

    (void)argc, (void)argv;
    warm[0] = secmem_alloc(1001); /* a line's */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        warm[i + 1] = secret_new(bytes, sizes[i]);
    return 0;
}
