/* SPDX-License-Identifier: BSD-2-Clause */
#include "every.h"

#include <stdlib.h>
#include <string.h>

const char *const every_name[EVERY_3_0] = {
    "C_Initialize",
    "C_Finalize",
    "C_GetInfo",
    "C_GetFunctionList",
    "C_GetSlotList",
    "C_GetSlotInfo",
    "C_GetTokenInfo",
    "C_GetMechanismList",
    "C_GetMechanismInfo",
    "C_InitToken",
    "C_InitPIN",
    "C_SetPIN",
    "C_OpenSession",
    "C_CloseSession",
    "C_CloseAllSessions",
    "C_GetSessionInfo",
    "C_GetOperationState",
    "C_SetOperationState",
    "C_Login",
    "C_Logout",
    "C_CreateObject",
    "C_CopyObject",
    "C_DestroyObject",
    "C_GetObjectSize",
    "C_GetAttributeValue",
    "C_SetAttributeValue",
    "C_FindObjectsInit",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_EncryptInit",
    "C_Encrypt",
    "C_EncryptUpdate",
    "C_EncryptFinal",
    "C_DecryptInit",
    "C_Decrypt",
    "C_DecryptUpdate",
    "C_DecryptFinal",
    "C_DigestInit",
    "C_Digest",
    "C_DigestUpdate",
    "C_DigestKey",
    "C_DigestFinal",
    "C_SignInit",
    "C_Sign",
    "C_SignUpdate",
    "C_SignFinal",
    "C_SignRecoverInit",
    "C_SignRecover",
    "C_VerifyInit",
    "C_Verify",
    "C_VerifyUpdate",
    "C_VerifyFinal",
    "C_VerifyRecoverInit",
    "C_VerifyRecover",
    "C_DigestEncryptUpdate",
    "C_DecryptDigestUpdate",
    "C_SignEncryptUpdate",
    "C_DecryptVerifyUpdate",
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_WrapKey",
    "C_UnwrapKey",
    "C_DeriveKey",
    "C_SeedRandom",
    "C_GenerateRandom",
    "C_GetFunctionStatus",
    "C_CancelFunction",
    "C_WaitForSlotEvent",
    "C_GetInterfaceList",
    "C_GetInterface",
    "C_LoginUser",
    "C_SessionCancel",
    "C_MessageEncryptInit",
    "C_EncryptMessage",
    "C_EncryptMessageBegin",
    "C_EncryptMessageNext",
    "C_MessageEncryptFinal",
    "C_MessageDecryptInit",
    "C_DecryptMessage",
    "C_DecryptMessageBegin",
    "C_DecryptMessageNext",
    "C_MessageDecryptFinal",
    "C_MessageSignInit",
    "C_SignMessage",
    "C_SignMessageBegin",
    "C_SignMessageNext",
    "C_MessageSignFinal",
    "C_MessageVerifyInit",
    "C_VerifyMessage",
    "C_VerifyMessageBegin",
    "C_VerifyMessageNext",
    "C_MessageVerifyFinal",
};
_Static_assert(sizeof every_name / sizeof *every_name == EVERY_3_0, "a function is missing");
_Static_assert(offsetof(CK_FUNCTION_LIST, C_WaitForSlotEvent) ==
                   offsetof(struct every_list, functions) + (EVERY_2_40 - 1) * sizeof(void *),
               "the lists differ");

typedef CK_RV (*function_of_ten)(CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG,
                                 CK_ULONG, CK_ULONG, CK_ULONG);

CK_RV every_call(const void *list, size_t i, const CK_ULONG arguments[10])
{
    function_of_ten function;
    memcpy(&function, &((const struct every_list *)list)->functions[i], sizeof function);
    const CK_ULONG *a = arguments;
    return function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]);
}

size_t every_find(const char *name)
{
    for (size_t i = 0; i < EVERY_3_0; i++)
        if (strcmp(every_name[i], name) == 0)
            return i;
    abort();
}

bool every_needs_no_init(size_t i)
{
    static const char *const early[] = {"C_Initialize", "C_GetFunctionList", "C_GetInterfaceList",
                                        "C_GetInterface"};
    for (size_t k = 0; k < sizeof early / sizeof *early; k++)
        if (strcmp(every_name[i], early[k]) == 0)
            return true;
    return false;
}
