/* SPDX-License-Identifier: BSD-2-Clause */
/* Type 6 secrets: a secret in a configuration file, encrypted under the master key. The text is base64url
 * without padding of
 *
 *   octet 0       version, 0x01
 *   octets 1-16   salt of the key derivation
 *   octets 17-28  nonce
 *   then          ciphertext, as long as the secret, and the 16 octets of AES-256-GCM's tag; octets 0-28 are
 * the additional authenticated data
 *
 * with the AES key = scrypt(master key, salt, N = 16384, r = 8, p = 1). Secrets that are made together share
 * a salt, so that a file of many opens with one scrypt. */
#ifndef PPK_CONFIG_TYPE6_H
#define PPK_CONFIG_TYPE6_H

#include "base/bytes.h"
#include "base/fault.h"
#include "base/secret.h"

/* A master key at work: the AES keys that it gave, by salt. */
struct type6;

/* Takes a copy of the master key (1 to 512 bytes: a file's content without its line end, a credential, or a
 * PIN). NULL: no memory or bad length. */
struct type6 *type6_new(const void *master_key, size_t len);

/* Wipes and frees; NULL is allowed. */
void type6_free(struct type6 *t);

/* How many different salts one master key is tried with: each costs a scrypt. */
#define TYPE6_SALTS_MAX 256

/* Opens a Type 6 text. NULL with the reason in `fault`: not Type 6, damaged, or another master key. */
struct secret *type6_open(struct type6 *t, const char *text, struct fault *fault);

/* Appends the Type 6 text of `len` bytes (0 to SECRET_MAX) to `out`, under the salt that was used last (by
 * opening, too), or else a new one. */
bool type6_seal(struct type6 *t, const void *value, size_t len, struct text *out, struct fault *fault);

/* Is this the shape of a Type 6 text (alphabet, version, length)? */
bool type6_is(const char *text);

/* How many bytes the secret in a Type 6 text has; 0 if it is none. */
size_t type6_length(const char *text);

#endif
