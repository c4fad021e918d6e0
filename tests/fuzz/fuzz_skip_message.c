/* SPDX-License-Identifier: BSD-2-Clause */
/* What a key source answers in SKIP: a key comes only from a body with status 200, and then is the one that
 * was asked for. */
#include "answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sks_profile profile = {.name = (char *)"fuzz", .key_size = 256};

    answer_fuzz(&profile, "00112233445566778899aabbccddeeff", data, size);
    return 0;
}
