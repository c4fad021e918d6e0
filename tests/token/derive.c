/* SPDX-License-Identifier: BSD-2-Clause */
#include "derive.h"

#include "guard.h"

void derive_template(struct template *t, CK_ULONG value_len)
{
    template_secret(t);
    template_bool(t, CKA_SENSITIVE, false);
    template_bool(t, CKA_EXTRACTABLE, true);
    template_bool(t, CKA_DERIVE, true);
    template_bool(t, CKA_SIGN, true);
    if (value_len)
        template_number(t, CKA_VALUE_LEN, value_len);
}

CK_RV derive_any(CK_SESSION_HANDLE s, CK_MECHANISM_TYPE type, const void *parameter, size_t len,
                 CK_OBJECT_HANDLE base, struct template *t, CK_OBJECT_HANDLE *out)
{
    CK_MECHANISM m = {type, parameter ? guard_frozen(parameter, len) : NULL, len};
    return f->C_DeriveKey(s, guard_frozen(&m, sizeof m), base, guard_frozen(t->a, t->n * sizeof *t->a), t->n,
                          out);
}

CK_RV derive_prf_plus(CK_SESSION_HANDLE s, bool nss, const struct oracle_prf *prf, CK_OBJECT_HANDLE base,
                      CK_OBJECT_HANDLE seed_key, const void *seed, size_t seed_len, struct template *t,
                      CK_OBJECT_HANDLE *out)
{
    CK_IKE2_PRF_PLUS_DERIVE_PARAMS p = {.prfMechanism = prf->hmac,
                                        .bHasSeedKey = seed_key != 0,
                                        .hSeedKey = seed_key,
                                        .pSeedData = seed ? guard_frozen(seed, seed_len) : NULL,
                                        .ulSeedDataLen = seed ? seed_len : 0};
    return derive_any(s, nss ? CKM_NSS_IKE_PRF_PLUS_DERIVE : CKM_IKE2_PRF_PLUS_DERIVE, &p, sizeof p, base, t,
                      out);
}

CK_RV derive_prf(CK_SESSION_HANDLE s, bool nss, const struct oracle_prf *prf, enum derive_kind kind,
                 CK_OBJECT_HANDLE base, CK_OBJECT_HANDLE new_key, const void *ni, size_t ni_len,
                 const void *nr, size_t nr_len, struct template *t, CK_OBJECT_HANDLE *out)
{
    CK_IKE_PRF_DERIVE_PARAMS p = {.prfMechanism = prf->hmac,
                                  .bDataAsKey = kind == DERIVE_DATA_AS_KEY,
                                  .bRekey = kind == DERIVE_REKEY,
                                  .pNi = ni ? guard_frozen(ni, ni_len) : NULL,
                                  .ulNiLen = ni ? ni_len : 0,
                                  .pNr = nr ? guard_frozen(nr, nr_len) : NULL,
                                  .ulNrLen = nr ? nr_len : 0,
                                  .hNewKey = new_key};
    return derive_any(s, nss ? CKM_NSS_IKE_PRF_DERIVE : CKM_IKE_PRF_DERIVE, &p, sizeof p, base, t, out);
}

bool expect_key_at(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, const void *want, size_t len, const char *file,
                   int line)
{
    static _Thread_local uint8_t got[20000];
    size_t n = object_bytes(s, o, CKA_VALUE, got, sizeof got);
    return expect_at(n == len && memcmp(got, want, len) == 0, "the derived key", file, line,
                     "%zd bytes%s, expected %zu", (ssize_t)n, n == len ? " of another value" : "", len);
}
