/* SPDX-License-Identifier: BSD-2-Clause */
/* That the cryptography underneath gives the known answers. May be run by several threads at once. */
#ifndef PPK_P11_SELFTEST_H
#define PPK_P11_SELFTEST_H

#include <stdbool.h>

/* HMAC with each hash (RFC 2202, RFC 4231) and prf+ (which is HKDF-Expand: RFC 5869), before their first use:
 * not in C_Initialize, since OpenSSL takes five times as long as that to compute a process's first HMAC, and
 * reads the host's openssl.cnf for it, which may load modules, us among them. Once it has passed, it is not
 * run again in the process. To be called under no lock. False: the log tells what failed. */
bool selftest_prf(void);

/* AES key wrap both ways (RFC 5649), before its first use. As above. */
bool selftest_wrap(void);

#endif
