/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PPK_P11_WRAP_H
#define PPK_P11_WRAP_H

#include "base/bytes.h"

enum { WRAP_MAX = 32 + 8 }; /* bytes of a wrapped key */

/* AES key wrap with padding (RFC 5649), or unwrap, of at most 32 bytes: in -> out, which has room for
 * WRAP_MAX bytes and, if what is wrapped is a secret, lies in secret memory, since OpenSSL works in it.
 * False: it is no wrapped key, or there is no memory. */
bool wrap_compute(struct span kek, bool wrap, struct span in, uint8_t *out, size_t *out_len);

#endif
