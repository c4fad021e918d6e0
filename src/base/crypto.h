/* SPDX-License-Identifier: BSD-2-Clause */
/* OpenSSL, kept apart from the host's: a private OSSL_LIB_CTX with the default provider and no configuration
 * file. */
#ifndef PPK_BASE_CRYPTO_H
#define PPK_BASE_CRYPTO_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The private context, made at the first call (thread-safe) and never freed: the host's exit handlers may
 * have torn OpenSSL down before ours would run. NULL: no memory, or OpenSSL is torn down already. */
OSSL_LIB_CTX *crypto_context(void);

/* In a forked child, before anything else of OpenSSL's: the next crypto_context() makes a new one. The old
 * one's locks may be held for ever by threads that are not here. */
void crypto_after_fork(void);

/* May OpenSSL still be used? False once the process's exit handlers have run OPENSSL_cleanup(). Cheap. */
bool crypto_alive(void);

/* `len` random bytes. Public, for nonces and IDs: the kernel's. Private, for keys: OpenSSL's generator's.
 * False: there are none. */
bool crypto_random(void *out, size_t len);
bool crypto_random_private(void *out, size_t len);

#endif
