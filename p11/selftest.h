/* SPDX-License-Identifier: BSD-2-Clause */
/* That the cryptography underneath gives the known answers. May be run by several threads at once. */
#ifndef PPK_P11_SELFTEST_H
#define PPK_P11_SELFTEST_H

#include <stdbool.h>

/* HMAC with each hash (RFC 2202, RFC 4231) and prf+ (which is HKDF-Expand: RFC 5869). Once it has passed, it
 * is not run again in the process. False: the log tells what failed. */
bool selftest_prf(void);

/* AES key wrap both ways (RFC 5649), before its first use: OpenSSL takes longer to prepare its ciphers than
 * all of C_Initialize. As above. */
bool selftest_wrap(void);

#endif
