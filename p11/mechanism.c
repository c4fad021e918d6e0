/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/mechanism.h"

#include "base/secret.h"

#define HMAC(name, prf, key_type)                                                                            \
    {                                                                                                        \
        CKM_##name, "CKM_" #name, CKF_SIGN | CKF_VERIFY, 1, SECRET_MAX, key_type, prf, MECHANISM_HMAC        \
    }
#define DERIVE(name, kind)                                                                                   \
    {                                                                                                        \
        CKM_##name, "CKM_" #name, CKF_DERIVE, 1, SECRET_MAX, 0, PRF_HMAC_SHA2_256, kind                      \
    }

static const struct mechanism mechanisms[] = {
    HMAC(SHA_1_HMAC, PRF_HMAC_SHA1, CKK_SHA_1_HMAC),
    HMAC(SHA256_HMAC, PRF_HMAC_SHA2_256, CKK_SHA256_HMAC),
    HMAC(SHA384_HMAC, PRF_HMAC_SHA2_384, CKK_SHA384_HMAC),
    HMAC(SHA512_HMAC, PRF_HMAC_SHA2_512, CKK_SHA512_HMAC),
    {CKM_GENERIC_SECRET_KEY_GEN, "CKM_GENERIC_SECRET_KEY_GEN", CKF_GENERATE, 8, SECRET_MAX * 8, 0,
     PRF_HMAC_SHA2_256, MECHANISM_GENERATE},
    DERIVE(IKE2_PRF_PLUS_DERIVE, MECHANISM_PRF_PLUS),
    DERIVE(IKE_PRF_DERIVE, MECHANISM_IKE_PRF),
    DERIVE(NSS_IKE_PRF_PLUS_DERIVE, MECHANISM_PRF_PLUS),
    DERIVE(NSS_IKE_PRF_DERIVE, MECHANISM_IKE_PRF),
    DERIVE(HKDF_DERIVE, MECHANISM_HKDF),
    DERIVE(EXTRACT_KEY_FROM_KEY, MECHANISM_EXTRACT),
    DERIVE(CONCATENATE_BASE_AND_KEY, MECHANISM_CONCAT_KEY),
    DERIVE(CONCATENATE_BASE_AND_DATA, MECHANISM_CONCAT_DATA),
    DERIVE(CONCATENATE_DATA_AND_BASE, MECHANISM_CONCAT_BEFORE),
    {CKM_AES_KEY_WRAP_KWP, "CKM_AES_KEY_WRAP_KWP", CKF_WRAP | CKF_UNWRAP, 16, 32, CKK_AES, PRF_HMAC_SHA2_256,
     MECHANISM_WRAP},
};

const struct mechanism *mechanism_all(size_t *n)
{
    *n = sizeof mechanisms / sizeof mechanisms[0];
    return mechanisms;
}

const struct mechanism *mechanism_find(CK_MECHANISM_TYPE type)
{
    for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++)
        if (mechanisms[i].type == type)
            return &mechanisms[i];
    return NULL;
}

bool mechanism_prf(CK_MECHANISM_TYPE hmac, enum prf *prf)
{
    const struct mechanism *m = mechanism_find(hmac);

    if (m == NULL || m->kind != MECHANISM_HMAC)
        return false;
    *prf = m->prf;
    return true;
}

bool mechanism_hash_prf(CK_MECHANISM_TYPE hash, enum prf *prf)
{
    static const struct {
        CK_MECHANISM_TYPE hash;
        enum prf prf;
    } hashes[] = {
        {CKM_SHA_1, PRF_HMAC_SHA1},
        {CKM_SHA256, PRF_HMAC_SHA2_256},
        {CKM_SHA384, PRF_HMAC_SHA2_384},
        {CKM_SHA512, PRF_HMAC_SHA2_512},
    };

    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++)
        if (hashes[i].hash == hash) {
            *prf = hashes[i].prf;
            return true;
        }
    return false;
}
