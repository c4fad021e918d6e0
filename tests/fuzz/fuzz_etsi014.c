/* SPDX-License-Identifier: BSD-2-Clause */
/* The same for a key source of ETSI GS QKD 014. */
#include "answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sks_profile profile = {.name = (char *)"fuzz", .type = SKS_ETSI014, .key_size = 256};

    answer_fuzz(&profile, "bc4904197d60487fadc14ddcc177c139", data, size);
    return 0;
}
