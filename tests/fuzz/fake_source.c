/* SPDX-License-Identifier: BSD-2-Clause */
/* The key source of the token's fuzz targets. Every key begins with KEY_MARK, so that a target knows one
 * where it should not be. A key ID that begins with "f" is unknown, one that begins with "e" is refused, all
 * others exist. */
#include "at_once.h"
#include "module.h"

#include <stdio.h>
#include <string.h>

static void refuse(struct skip_answer *out, enum skip_result result, long status, const char *reason)
{
    out->result = result;
    out->status = status;
    (void)snprintf(out->fault.text, sizeof out->fault.text, "%s", reason);
}

bool at_once_key(const struct skip_host *host, const struct skip_call *call, struct skip_answer *out)
{
    static const uint8_t mark[] = KEY_MARK;
    static unsigned long keys;
    const size_t len = call->size > 0 ? call->size / 8 : 32;
    uint8_t value[1024];
    char id[33];

    if (call->key_id != NULL && call->key_id[0] == 'f') {
        refuse(out, SKIP_NO_SUCH_KEY, 404, "no such key");
        return true;
    }
    if (call->key_id != NULL && call->key_id[0] == 'e') {
        refuse(out, SKIP_REFUSED, 403, "not for this one");
        return true;
    }
    memset(value, (int)(++keys & 0xff), sizeof value);
    memcpy(value, mark, KEY_MARK_LEN);
    (void)snprintf(id, sizeof id, "%032lx", keys);
    out->value = host->secret_new(value, len > sizeof value ? sizeof value : len);
    if (call->request != SKIP_REQUEST_ENTROPY)
        out->key_id = strdup(call->key_id != NULL ? call->key_id : id);
    return out->value != NULL && (out->key_id != NULL || call->request == SKIP_REQUEST_ENTROPY);
}
