/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_ref.h"

#include <sys/random.h>

#define TAG_LEN 32
#define REF_LEN (TAG_LEN + sizeof(uint64_t))

static uint8_t tag[TAG_LEN];

bool ppk_ref_init(void)
{
    return getrandom(tag, sizeof tag, 0) == (ssize_t)sizeof tag;
}

chunk_t ppk_ref_create(const struct ppk_sa *sa)
{
    chunk_t reference = chunk_alloc(REF_LEN);

    memcpy(reference.ptr, tag, TAG_LEN);
    memcpy(reference.ptr + TAG_LEN, &sa->serial, sizeof sa->serial);
    return reference;
}

bool ppk_ref_is(chunk_t bytes)
{
    return bytes.len == REF_LEN && memeq_const(bytes.ptr, tag, TAG_LEN);
}

struct ppk_sa *ppk_ref_resolve(chunk_t bytes)
{
    struct ppk_sa *sa = ppk_sa_get(ppk_sa_thread(), false);
    uint64_t serial;

    if (!sa || !sa->have_key || !ppk_ref_is(bytes))
        return NULL;
    memcpy(&serial, bytes.ptr + TAG_LEN, sizeof serial);
    return serial && serial == sa->serial ? sa : NULL;
}
