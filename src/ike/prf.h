/* SPDX-License-Identifier: BSD-2-Clause */
/* prf and prf+ of IKEv2 (RFC 7296, 2.13) over the HMACs, and what RFC 8784 makes of them. */
#ifndef PPK_IKE_PRF_H
#define PPK_IKE_PRF_H

#include "base/bytes.h"

enum prf { PRF_HMAC_SHA1, PRF_HMAC_SHA2_256, PRF_HMAC_SHA2_384, PRF_HMAC_SHA2_512 };

#define PRF_MAX 64 /* the longest output, in bytes */

/* The output's length in bytes, which is also the preferred key size. */
size_t prf_size(enum prf prf);

/* out = prf(key, parts[0] | … | parts[n-1]); `out` has room for prf_size(). The key may be of any length,
 * also 0. False: OpenSSL failed (no memory); `out` is wiped then. */
bool prf_compute(enum prf prf, struct span key, const struct span *parts, size_t n, uint8_t *out);

/* out = the first `len` bytes of prf+(key, parts…), len at most 255 * prf_size(). False as above, or len out
 * of range. */
bool prf_plus(enum prf prf, struct span key, const struct span *parts, size_t n, uint8_t *out, size_t len);

/* The same for a key that lives on and is likely to be used again: its context may stay keyed between calls,
 * in OpenSSL's memory, which is not locked. So this is not for PPKs, nor for what was made of one. `owner` is
 * the key's address or whatever else tells it from others until prf_forget(), which wipes what is left of it;
 * no call for this owner is under way then, nor does one come after it. The number of such contexts is
 * bounded. `owner` NULL: as above. */
bool prf_compute_for(const void *owner, enum prf prf, struct span key, const struct span *parts, size_t n,
                     uint8_t *out);
bool prf_plus_for(const void *owner, enum prf prf, struct span key, const struct span *parts, size_t n,
                  uint8_t *out, size_t len);
void prf_forget(const void *owner);

/* A running prf, for MACs in several parts. NULL: no memory. */
struct prf_state;
struct prf_state *prf_begin(enum prf prf, struct span key);
bool prf_update(struct prf_state *s, struct span part);
bool prf_finish(struct prf_state *s, uint8_t *out); /* does not free */
void prf_free(struct prf_state *s);                 /* wipes; NULL is allowed */

/* In a forked child, after crypto_after_fork(): forgets the contexts that are kept ready, since they belong
 * to the old library context. */
void prf_after_fork(void);

#endif
