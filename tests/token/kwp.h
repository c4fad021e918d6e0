/* SPDX-License-Identifier: BSD-2-Clause */
/* Wrapped keys: the configuration with key-encryption keys, AES keys for both roles, and the line card's end
 * of it, computed by OpenSSL. */
#ifndef TOKEN_KWP_H
#define TOKEN_KWP_H

#include "conf.h"
#include "harness.h"

#define KEK_1_HEX "6a6b6c6d6e6f707172737475767778797a7b7c7d7e7f80818283848586878889"
#define KEK_2_HEX "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"

/* Tokens "cards" and, with derived-keys sensitive, "strict-cards": each has the key-encryption keys card1
 * and card2, and the keys of peer delta. */
#define CONF_KEKS                                                                                            \
    " key-encryption-key card1 key hex " KEK_1_HEX "\n"                                                      \
    " key-encryption-key card2 key hex " KEK_2_HEX "\n"                                                      \
    " peer delta\n"                                                                                          \
    "  ppk manual id " MANUAL_3_ID " key hex " MANUAL_3_HEX "\n"                                             \
    "  pre-shared-key \"" PSK_GAMMA "\"\n"
#define CONF_CARDS "keyring cards\n" CONF_KEKS "keyring strict-cards\n derived-keys sensitive\n" CONF_KEKS

/* The mechanism. */
extern CK_MECHANISM kwp;

/* An AES key of the caller's own, that may do what `attributes` (0: nothing; at the end: 0) say. */
CK_OBJECT_HANDLE kwp_import(CK_SESSION_HANDLE s, const void *value, size_t len, const CK_ATTRIBUTE_TYPE *may);

/* The line card: unwraps (RFC 5649) with its key of 16, 24 or 32 bytes. The number of bytes, or 0. */
size_t kwp_open(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t len, uint8_t out[static 64]);

/* Wraps, as who has the key can do it; `out` has room for `len` + 15 bytes. */
size_t kwp_seal(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t len, uint8_t *out);

#endif
