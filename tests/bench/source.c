/* SPDX-License-Identifier: BSD-2-Clause */
/* A key source inside the process, so that the token holds a million PPKs within seconds. The n-th new key
 * has the ID object_id(n), and what was not given has none. */
#include "at_once.h"
#include "bench.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

bool at_once_key(const struct skip_host *host, const struct skip_call *call, struct skip_answer *out)
{
    static _Atomic uint64_t given;
    uint8_t id[ID_LEN], value[2 * ID_LEN];

    if (call->key_id || call->request == SKIP_REQUEST_ENTROPY) {
        out->result = SKIP_NO_SUCH_KEY;
        return true;
    }
    object_id(given++, id);
    memcpy(value, id, ID_LEN);
    memcpy(value + ID_LEN, id, ID_LEN);
    out->value = host->secret_new(value, sizeof value);
    out->key_id = calloc(1, 2 * ID_LEN + 1);
    if (out->key_id)
        hex_encode(out->key_id, id, ID_LEN);
    return out->value && out->key_id;
}
