/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls of C_DeriveKey with the IKE mechanisms, every parameter behind a guard page. */
#ifndef TOKEN_DERIVE_H
#define TOKEN_DERIVE_H

#include "harness.h"
#include "oracle.h"

/* What a strict keyring (derived-keys sensitive) allows: PPKs derive from seeds as long as the prf's output,
 * and what was derived from them makes MACs of IKE identities. With their terminating zero: the identity. */
#define SEED_32  "SK_d' with SHA2-256 has 32 bytes"
#define IDENTITY "\1\0\0\0text"

/* Is SENSITIVE = FALSE, EXTRACTABLE = TRUE, DERIVE = SIGN = TRUE asked for, with this CKA_VALUE_LEN (0:
 * none)? */
void derive_template(struct template *t, CK_ULONG value_len);

/* prf+(base, value(seed_key) | seed): seed_key 0: none; seed NULL: none. `nss`: by NSS's number. */
CK_RV derive_prf_plus(CK_SESSION_HANDLE s, bool nss, const struct oracle_prf *prf, CK_OBJECT_HANDLE base,
                      CK_OBJECT_HANDLE seed_key, const void *seed, size_t seed_len, struct template *t,
                      CK_OBJECT_HANDLE *out);

enum derive_kind {
    DERIVE_DATA_AS_KEY, /* prf(Ni|Nr, base) */
    DERIVE_PRF,         /* prf(base, Ni|Nr) */
    DERIVE_REKEY,       /* prf(base, new_key|Ni|Nr) */
};
CK_RV derive_prf(CK_SESSION_HANDLE s, bool nss, const struct oracle_prf *prf, enum derive_kind kind,
                 CK_OBJECT_HANDLE base, CK_OBJECT_HANDLE new_key, const void *ni, size_t ni_len,
                 const void *nr, size_t nr_len, struct template *t, CK_OBJECT_HANDLE *out);

/* C_DeriveKey with the mechanism's parameter behind a guard page. */
CK_RV derive_any(CK_SESSION_HANDLE s, CK_MECHANISM_TYPE type, const void *parameter, size_t len,
                 CK_OBJECT_HANDLE base, struct template *t, CK_OBJECT_HANDLE *out);

/* The key's CKA_VALUE is this. */
bool expect_key_at(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, const void *want, size_t len, const char *file,
                   int line);
#define expect_key(s, o, want, len) expect_key_at(s, o, want, len, __FILE__, __LINE__)

#endif
