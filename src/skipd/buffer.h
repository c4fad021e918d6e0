/* SPDX-License-Identifier: BSD-2-Clause */
/* Secrets in evbuffers. */
#ifndef PPK_SKIPD_BUFFER_H
#define PPK_SKIPD_BUFFER_H

#include <event2/buffer.h>
#include <stdbool.h>

/* Appends `len` bytes of secret memory (secmem_alloc()), which is the buffer's from now on: wiped and freed
 * once it has been sent or drained. False: no memory (`out` may be NULL, for the same reason); then it is
 * freed already. */
bool buffer_add_secret(struct evbuffer *out, void *bytes, size_t len);

#endif
