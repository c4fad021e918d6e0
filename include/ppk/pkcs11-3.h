/* SPDX-License-Identifier: BSD-2-Clause */
/* What PKCS#11 3.0 and 3.1 add to the 2.40 that p11-kit's header declares, as far as this token and its callers
 * use it: interfaces, the IKE and HKDF mechanisms with their parameters, HMAC key types. The numbers are those of
 * the OASIS headers; a later p11-kit that has them wins. */
#ifndef PPK_PKCS11_3_H
#define PPK_PKCS11_3_H

#include <p11-kit/pkcs11.h>

#ifndef CKM_IKE2_PRF_PLUS_DERIVE
#define CKM_IKE2_PRF_PLUS_DERIVE 0x402eUL
#define CKM_IKE_PRF_DERIVE       0x402fUL

/* PKCS#11 3.1, 6.66.3: prf+(base, value(hSeedKey) | pSeedData) */
typedef struct CK_IKE2_PRF_PLUS_DERIVE_PARAMS {
    CK_MECHANISM_TYPE prfMechanism;
    CK_BBOOL bHasSeedKey;
    CK_OBJECT_HANDLE hSeedKey;
    CK_BYTE_PTR pSeedData;
    CK_ULONG ulSeedDataLen;
} CK_IKE2_PRF_PLUS_DERIVE_PARAMS;

/* PKCS#11 3.1, 6.66.4: prf(Ni|Nr, base), prf(base, Ni|Nr) or prf(base, hNewKey|Ni|Nr) */
typedef struct CK_IKE_PRF_DERIVE_PARAMS {
    CK_MECHANISM_TYPE prfMechanism;
    CK_BBOOL bDataAsKey;
    CK_BBOOL bRekey;
    CK_BYTE_PTR pNi;
    CK_ULONG ulNiLen;
    CK_BYTE_PTR pNr;
    CK_ULONG ulNrLen;
    CK_OBJECT_HANDLE hNewKey;
} CK_IKE_PRF_DERIVE_PARAMS;
#endif

/* The same two mechanisms under the vendor numbers of NSS, which is all that NSS 3.87 knows. */
#ifndef CKM_NSS_IKE_PRF_PLUS_DERIVE
#define CKM_NSS_IKE_PRF_PLUS_DERIVE 0xCE534372UL
#define CKM_NSS_IKE_PRF_DERIVE      0xCE534373UL
#endif

#ifndef CKM_HKDF_DERIVE
#define CKM_HKDF_DERIVE 0x402aUL
#define CKM_HKDF_DATA   0x402bUL
#define CKK_HKDF        0x42UL
#define CKF_HKDF_SALT_NULL 0x1UL
#define CKF_HKDF_SALT_DATA 0x2UL
#define CKF_HKDF_SALT_KEY  0x4UL

/* PKCS#11 3.1, 6.62.2 */
typedef struct CK_HKDF_PARAMS {
    CK_BBOOL bExtract;
    CK_BBOOL bExpand;
    CK_MECHANISM_TYPE prfHashMechanism;
    CK_ULONG ulSaltType;
    CK_BYTE_PTR pSalt;
    CK_ULONG ulSaltLen;
    CK_OBJECT_HANDLE hSaltKey;
    CK_BYTE_PTR pInfo;
    CK_ULONG ulInfoLen;
} CK_HKDF_PARAMS;
#endif

#ifndef CKK_SHA_1_HMAC
#define CKK_SHA_1_HMAC  0x28UL
#define CKK_SHA256_HMAC 0x2BUL
#define CKK_SHA384_HMAC 0x2CUL
#define CKK_SHA512_HMAC 0x2DUL
#endif

#ifndef CKR_OPERATION_CANCEL_FAILED
#define CKR_OPERATION_CANCEL_FAILED 0x202UL
#endif

#endif
