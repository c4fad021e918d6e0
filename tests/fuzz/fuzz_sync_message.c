/* SPDX-License-Identifier: BSD-2-Clause */
/* What another key source sends: a frame that decodes encodes to the same octets. */
#include "skipd/sync_message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sync_message m;
    uint8_t again[SYNC_FRAME_MAX];

    if (size >= SYNC_HEADER_LEN && sync_frame_len(data) > SYNC_FRAME_MAX)
        abort();
    if (size > SYNC_FRAME_MAX || !sync_decode(&m, data, size))
        return 0;
    size_t len = sync_encode(&m, again);
    if (len != size || memcmp(again, data, size) != 0)
        abort();
    return 0;
}
