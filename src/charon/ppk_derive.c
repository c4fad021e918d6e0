/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_derive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRF_MAX    64 /* bytes of the longest HMAC used here, SHA-512's */
#define BLOCKS_MAX 255

/* By one mechanism of the token. What comes out is a session object; it is read and destroyed. */
static CK_RV derive_prf_plus(struct ppk_session *session, const struct ppk_ask *ask,
                             struct ppk_answer *answer)
{
    CK_IKE2_PRF_PLUS_DERIVE_PARAMS params = {
        .prfMechanism = ask->prf,
        .bHasSeedKey = CK_FALSE,
        .pSeedData = ask->seed,
        .ulSeedDataLen = ask->seed_len,
    };
    CK_MECHANISM mechanism = {session->prf_plus, &params, sizeof params};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ULONG len = ask->out_len;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class},   {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &no, sizeof no},         {CKA_SENSITIVE, &no, sizeof no},
        {CKA_EXTRACTABLE, &yes, sizeof yes}, {CKA_VALUE_LEN, &len, sizeof len},
    };
    CK_ATTRIBUTE value = {CKA_VALUE, answer->out, ask->out_len};
    CK_OBJECT_HANDLE derived = CK_INVALID_HANDLE;
    CK_RV rv = session->p11->C_DeriveKey(session->handle, &mechanism, ask->key.handle, template,
                                         sizeof template / sizeof template[0], &derived);

    if (rv != CKR_OK)
        return ppk_rv_text(answer->text, "C_DeriveKey", rv);
    rv = session->p11->C_GetAttributeValue(session->handle, derived, &value, 1);
    if (rv == CKR_OK && value.ulValueLen != ask->out_len)
        rv = CKR_KEY_SIZE_RANGE;
    if (rv != CKR_OK)
        ppk_rv_text(answer->text, "C_GetAttributeValue(CKA_VALUE) of the derived key", rv);
    session->p11->C_DestroyObject(session->handle, derived);
    return rv;
}

/* T1 = prf(K, S|1), Tn = prf(K, T(n-1)|S|n): any token with C_Sign can do that. */
static CK_RV derive_hmac(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer)
{
    CK_MECHANISM mechanism = {ask->prf, NULL, 0};
    size_t done = 0, previous = 0, room = PRF_MAX + ask->seed_len + 1;
    unsigned char *data = malloc(room), block[PRF_MAX] = {0};
    CK_RV rv = CKR_OK;

    if (!data)
        return ppk_rv_text(answer->text, "malloc", CKR_HOST_MEMORY);
    for (unsigned n = 1; rv == CKR_OK && done < ask->out_len; n++) {
        size_t take = ask->out_len - done < ask->prf_len ? ask->out_len - done : ask->prf_len;
        CK_ULONG len = sizeof block;

        memcpy(data, block, previous);
        memcpy(data + previous, ask->seed, ask->seed_len);
        data[previous + ask->seed_len] = (unsigned char)n;
        rv = session->p11->C_SignInit(session->handle, &mechanism, ask->key.handle);
        if (rv != CKR_OK) {
            ppk_rv_text(answer->text, "C_SignInit", rv);
            break;
        }
        rv = session->p11->C_Sign(session->handle, data, previous + ask->seed_len + 1, block, &len);
        if (rv == CKR_OK && len != ask->prf_len)
            rv = CKR_FUNCTION_FAILED;
        if (rv != CKR_OK) {
            ppk_rv_text(answer->text, "C_Sign", rv);
            break;
        }
        memcpy(answer->out + done, block, take);
        done += take;
        previous = ask->prf_len;
    }
    explicit_bzero(data, room);
    explicit_bzero(block, sizeof block);
    free(data);
    return rv;
}

/* The token has the mechanism but does not let this key, or this result, go that way: HMAC may be open. */
static bool hmac_may_do(CK_RV rv)
{
    switch (rv) {
    case CKR_MECHANISM_INVALID:
    case CKR_MECHANISM_PARAM_INVALID:
    case CKR_KEY_FUNCTION_NOT_PERMITTED:
    case CKR_KEY_TYPE_INCONSISTENT:
    case CKR_ATTRIBUTE_SENSITIVE:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_ACTION_PROHIBITED:
    case CKR_TEMPLATE_INCONSISTENT:
        return true;
    default:
        return false;
    }
}

CK_RV ppk_derive(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer)
{
    CK_RV rv = CKR_MECHANISM_INVALID;

    answer->fact = PPK_FAILED;
    if (!ask->prf_len || ask->prf_len > PRF_MAX || !ask->out_len ||
        ask->out_len > BLOCKS_MAX * ask->prf_len) {
        snprintf(answer->text, sizeof answer->text, "prf+ of %zu bytes cannot be made", ask->out_len);
        return CKR_KEY_SIZE_RANGE;
    }
    if (ask->key.generation != session->generation) {
        snprintf(answer->text, sizeof answer->text, "the PKCS#11 module was restarted: its object is gone");
        return CKR_OBJECT_HANDLE_INVALID;
    }
    answer->out = malloc(ask->out_len);
    answer->out_len = ask->out_len;
    if (!answer->out)
        return ppk_rv_text(answer->text, "malloc", CKR_HOST_MEMORY);
    if (session->prf_plus != CK_UNAVAILABLE_INFORMATION)
        rv = derive_prf_plus(session, ask, answer);
    if (rv != CKR_OK && hmac_may_do(rv))
        rv = derive_hmac(session, ask, answer);
    if (rv == CKR_OK)
        answer->fact = PPK_YES;
    return rv;
}
