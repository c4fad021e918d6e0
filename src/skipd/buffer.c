/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/buffer.h"

#include "base/secret.h"

static void wiped_free(const void *data, size_t len, void *context)
{
    (void)data;
    (void)len;
    secmem_free(context);
}

bool buffer_add_secret(struct evbuffer *out, void *bytes, size_t len)
{
    if (out != NULL && evbuffer_add_reference(out, bytes, len, wiped_free, bytes) == 0)
        return true;
    secmem_free(bytes);
    return false;
}
