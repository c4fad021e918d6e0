/* SPDX-License-Identifier: BSD-2-Clause */
/* The entries: each passes the gate, calls the function of its chapter, and traces the answer. */
#pragma GCC visibility push(default)
#include "p11/cryptoki.h"
#pragma GCC visibility pop

#include "p11/find.h"
#include "p11/gate.h"
#include "p11/library.h"
#include "p11/manage.h"
#include "p11/random.h"
#include "p11/reload.h"
#include "p11/returns.h"
#include "p11/session.h"
#include "p11/sign.h"
#include "p11/trace.h"

#include <string.h>

static CK_RV enter(void)
{
    CK_RV rv = gate_enter();

    if (rv == CKR_OK)
        library_use();
    return rv;
}

/* The body of an entry: `prepare`, then `call`, if the library is initialized; what follows is for
 * trace_end(). */
#define BODY(function, prepare, call, ...)                                                                   \
    const uint64_t began = trace_begin();                                                                    \
    CK_RV rv = enter();                                                                                      \
    if (rv == CKR_OK) {                                                                                      \
        prepare;                                                                                             \
        rv = (call);                                                                                         \
        gate_leave();                                                                                        \
    }                                                                                                        \
    if (began != 0)                                                                                          \
        trace_end(began, FUNCTION_##function, rv, __VA_ARGS__);                                              \
    return returns_checked(FUNCTION_##function, rv)

#define ENTRY(function, call, ...) BODY(function, (void)0, call, __VA_ARGS__)
/* The same, of one that sees a changed configuration. */
#define ENTRY_LOOKING(function, call, ...) BODY(function, reload_look(), call, __VA_ARGS__)

CK_RV C_Initialize(void *arguments)
{
    return returns_answer(FUNCTION_C_Initialize, general_initialize(arguments));
}

CK_RV C_Finalize(void *reserved)
{
    return returns_answer(FUNCTION_C_Finalize, general_finalize(reserved));
}

CK_RV C_GetInfo(CK_INFO *info)
{
    ENTRY(C_GetInfo, general_info(info, 2, 40), "");
}

/* Functions that are of the past: every call is over when it returns. */
static CK_RV not_parallel(CK_SESSION_HANDLE session)
{
    struct slot *slot;
    CK_RV rv = session_peek(session, &slot, NULL);

    return rv == CKR_OK ? CKR_FUNCTION_NOT_PARALLEL : rv;
}

CK_RV C_GetSlotList(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *count)
{
    ENTRY_LOOKING(C_GetSlotList, slot_list(present, list, count), "N", count);
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    ENTRY(C_GetSlotInfo, slot_info(slot, info), "S", slot);
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    ENTRY(C_GetTokenInfo, slot_token_info(slot, info), "S", slot);
}

CK_RV C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved)
{
    ENTRY_LOOKING(C_WaitForSlotEvent, wait_for_slot_event(flags, slot, reserved), "fN", flags, slot);
}

CK_RV C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *count)
{
    ENTRY(C_GetMechanismList, slot_mechanism_list(slot, list, count), "SN", slot, count);
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
    ENTRY(C_GetMechanismInfo, slot_mechanism_info(slot, type, info), "Sy", slot, type);
}

CK_RV C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                    CK_SESSION_HANDLE *session)
{
    (void)application;
    (void)notify;
    ENTRY(C_OpenSession, session_open(slot, flags, session), "SfP", slot, flags, session);
}

CK_RV C_CloseSession(CK_SESSION_HANDLE session)
{
    ENTRY(C_CloseSession, session_close(session), "s", session);
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slot)
{
    ENTRY(C_CloseAllSessions, session_close_all(slot), "S", slot);
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
    ENTRY(C_GetSessionInfo, session_info(session, info), "s", session);
}

CK_RV C_SessionCancel(CK_SESSION_HANDLE session, CK_FLAGS flags)
{
    ENTRY(C_SessionCancel, session_cancel(session, flags), "sf", session, flags);
}

CK_RV C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
    ENTRY(C_Login, session_login(session, user, pin, len), "su", session, user);
}

CK_RV C_Logout(CK_SESSION_HANDLE session)
{
    ENTRY(C_Logout, session_logout(session), "s", session);
}

CK_RV C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG n,
                     CK_OBJECT_HANDLE *object)
{
    ENTRY(C_CreateObject, object_create(session, attributes, n, object), "stO", session, attributes, n,
          object);
}

CK_RV C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes, CK_ULONG n,
                   CK_OBJECT_HANDLE *copy)
{
    ENTRY(C_CopyObject, object_copy(session, object, attributes, n, copy), "sotO", session, object,
          attributes, n, copy);
}

CK_RV C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    ENTRY(C_DestroyObject, object_destroy(session, object), "so", session, object);
}

CK_RV C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG *size)
{
    ENTRY(C_GetObjectSize, object_size(session, object, size), "soN", session, object, size);
}

CK_RV C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes,
                          CK_ULONG n)
{
    ENTRY(C_GetAttributeValue, object_attributes_get(session, object, attributes, n), "sov", session, object,
          attributes, n);
}

CK_RV C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes,
                          CK_ULONG n)
{
    ENTRY(C_SetAttributeValue, object_attributes_set(session, object, attributes, n), "sot", session, object,
          attributes, n);
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG n)
{
    ENTRY_LOOKING(C_FindObjectsInit, find_init(session, attributes, n), "st", session, attributes, n);
}

CK_RV C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count)
{
    ENTRY(C_FindObjects, find_next(session, objects, max, count), "sN", session, count);
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE session)
{
    ENTRY(C_FindObjectsFinal, find_final(session), "s", session);
}

CK_RV C_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    ENTRY(C_SignInit, sign_init(session, mechanism, key, false), "smo", session, mechanism, key);
}

CK_RV C_Sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *mac, CK_ULONG *mac_len)
{
    ENTRY(C_Sign, sign_once(session, data, len, mac, mac_len), "snN", session, len, mac_len);
}

CK_RV C_SignUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG len)
{
    ENTRY(C_SignUpdate, sign_update(session, part, len), "sn", session, len);
}

CK_RV C_SignFinal(CK_SESSION_HANDLE session, CK_BYTE *mac, CK_ULONG *mac_len)
{
    ENTRY(C_SignFinal, sign_final(session, mac, mac_len), "sN", session, mac_len);
}

CK_RV C_VerifyInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    ENTRY(C_VerifyInit, verify_init(session, mechanism, key, false), "smo", session, mechanism, key);
}

CK_RV C_Verify(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *mac, CK_ULONG mac_len)
{
    ENTRY(C_Verify, verify_once(session, data, len, mac, mac_len), "snn", session, len, mac_len);
}

CK_RV C_VerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG len)
{
    ENTRY(C_VerifyUpdate, verify_update(session, part, len), "sn", session, len);
}

CK_RV C_VerifyFinal(CK_SESSION_HANDLE session, CK_BYTE *mac, CK_ULONG mac_len)
{
    ENTRY(C_VerifyFinal, verify_final(session, mac, mac_len), "sn", session, mac_len);
}

CK_RV C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *attributes, CK_ULONG n,
                    CK_OBJECT_HANDLE *key)
{
    ENTRY_LOOKING(C_GenerateKey, key_generate(session, mechanism, attributes, n, key), "smtO", session,
                  mechanism, attributes, n, key);
}

CK_RV C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                  CK_ATTRIBUTE *attributes, CK_ULONG n, CK_OBJECT_HANDLE *key)
{
    ENTRY(C_DeriveKey, key_derive(session, mechanism, base, attributes, n, key), "smotO", session, mechanism,
          base, attributes, n, key);
}

CK_RV C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
                CK_OBJECT_HANDLE key, CK_BYTE *wrapped, CK_ULONG *len)
{
    ENTRY(C_WrapKey, key_wrap(session, mechanism, wrapping, key, wrapped, len), "smooN", session, mechanism,
          wrapping, key, len);
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping,
                  CK_BYTE *wrapped, CK_ULONG len, CK_ATTRIBUTE *attributes, CK_ULONG n, CK_OBJECT_HANDLE *key)
{
    ENTRY(C_UnwrapKey, key_unwrap(session, mechanism, unwrapping, wrapped, len, attributes, n, key), "smontO",
          session, mechanism, unwrapping, len, attributes, n, key);
}

CK_RV C_SeedRandom(CK_SESSION_HANDLE session, CK_BYTE *seed, CK_ULONG len)
{
    ENTRY(C_SeedRandom, random_seed(session, seed, len), "sn", session, len);
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG len)
{
    ENTRY(C_GenerateRandom, random_generate(session, out, len), "sn", session, len);
}

CK_RV C_GetFunctionStatus(CK_SESSION_HANDLE session)
{
    ENTRY(C_GetFunctionStatus, not_parallel(session), "s", session);
}

CK_RV C_CancelFunction(CK_SESSION_HANDLE session)
{
    ENTRY(C_CancelFunction, not_parallel(session), "s", session);
}

/* What differs for callers of 3.0: C_GetInfo says so, and a NULL mechanism ends an active operation. */
static CK_RV get_info_3(CK_INFO *info)
{
    ENTRY(C_GetInfo, general_info(info, 3, 0), "");
}

static CK_RV sign_init_3(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    ENTRY(C_SignInit, sign_init(session, mechanism, key, true), "smo", session, mechanism, key);
}

static CK_RV verify_init_3(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    ENTRY(C_VerifyInit, verify_init(session, mechanism, key, true), "smo", session, mechanism, key);
}

static const CK_FUNCTION_LIST functions_2 = {
    .version = {2, 40},
    .C_Initialize = C_Initialize,
    .C_Finalize = C_Finalize,
    .C_GetInfo = C_GetInfo,
    .C_GetFunctionList = C_GetFunctionList,
    .C_GetSlotList = C_GetSlotList,
    .C_GetSlotInfo = C_GetSlotInfo,
    .C_GetTokenInfo = C_GetTokenInfo,
    .C_GetMechanismList = C_GetMechanismList,
    .C_GetMechanismInfo = C_GetMechanismInfo,
    .C_InitToken = C_InitToken,
    .C_InitPIN = C_InitPIN,
    .C_SetPIN = C_SetPIN,
    .C_OpenSession = C_OpenSession,
    .C_CloseSession = C_CloseSession,
    .C_CloseAllSessions = C_CloseAllSessions,
    .C_GetSessionInfo = C_GetSessionInfo,
    .C_GetOperationState = C_GetOperationState,
    .C_SetOperationState = C_SetOperationState,
    .C_Login = C_Login,
    .C_Logout = C_Logout,
    .C_CreateObject = C_CreateObject,
    .C_CopyObject = C_CopyObject,
    .C_DestroyObject = C_DestroyObject,
    .C_GetObjectSize = C_GetObjectSize,
    .C_GetAttributeValue = C_GetAttributeValue,
    .C_SetAttributeValue = C_SetAttributeValue,
    .C_FindObjectsInit = C_FindObjectsInit,
    .C_FindObjects = C_FindObjects,
    .C_FindObjectsFinal = C_FindObjectsFinal,
    .C_EncryptInit = C_EncryptInit,
    .C_Encrypt = C_Encrypt,
    .C_EncryptUpdate = C_EncryptUpdate,
    .C_EncryptFinal = C_EncryptFinal,
    .C_DecryptInit = C_DecryptInit,
    .C_Decrypt = C_Decrypt,
    .C_DecryptUpdate = C_DecryptUpdate,
    .C_DecryptFinal = C_DecryptFinal,
    .C_DigestInit = C_DigestInit,
    .C_Digest = C_Digest,
    .C_DigestUpdate = C_DigestUpdate,
    .C_DigestKey = C_DigestKey,
    .C_DigestFinal = C_DigestFinal,
    .C_SignInit = C_SignInit,
    .C_Sign = C_Sign,
    .C_SignUpdate = C_SignUpdate,
    .C_SignFinal = C_SignFinal,
    .C_SignRecoverInit = C_SignRecoverInit,
    .C_SignRecover = C_SignRecover,
    .C_VerifyInit = C_VerifyInit,
    .C_Verify = C_Verify,
    .C_VerifyUpdate = C_VerifyUpdate,
    .C_VerifyFinal = C_VerifyFinal,
    .C_VerifyRecoverInit = C_VerifyRecoverInit,
    .C_VerifyRecover = C_VerifyRecover,
    .C_DigestEncryptUpdate = C_DigestEncryptUpdate,
    .C_DecryptDigestUpdate = C_DecryptDigestUpdate,
    .C_SignEncryptUpdate = C_SignEncryptUpdate,
    .C_DecryptVerifyUpdate = C_DecryptVerifyUpdate,
    .C_GenerateKey = C_GenerateKey,
    .C_GenerateKeyPair = C_GenerateKeyPair,
    .C_WrapKey = C_WrapKey,
    .C_UnwrapKey = C_UnwrapKey,
    .C_DeriveKey = C_DeriveKey,
    .C_SeedRandom = C_SeedRandom,
    .C_GenerateRandom = C_GenerateRandom,
    .C_GetFunctionStatus = C_GetFunctionStatus,
    .C_CancelFunction = C_CancelFunction,
    .C_WaitForSlotEvent = C_WaitForSlotEvent,
};

static const CK_FUNCTION_LIST_3_0 functions_3 = {
    .version = {3, 0},
    .C_Initialize = C_Initialize,
    .C_Finalize = C_Finalize,
    .C_GetInfo = get_info_3,
    .C_GetFunctionList = C_GetFunctionList,
    .C_GetSlotList = C_GetSlotList,
    .C_GetSlotInfo = C_GetSlotInfo,
    .C_GetTokenInfo = C_GetTokenInfo,
    .C_GetMechanismList = C_GetMechanismList,
    .C_GetMechanismInfo = C_GetMechanismInfo,
    .C_InitToken = C_InitToken,
    .C_InitPIN = C_InitPIN,
    .C_SetPIN = C_SetPIN,
    .C_OpenSession = C_OpenSession,
    .C_CloseSession = C_CloseSession,
    .C_CloseAllSessions = C_CloseAllSessions,
    .C_GetSessionInfo = C_GetSessionInfo,
    .C_GetOperationState = C_GetOperationState,
    .C_SetOperationState = C_SetOperationState,
    .C_Login = C_Login,
    .C_Logout = C_Logout,
    .C_CreateObject = C_CreateObject,
    .C_CopyObject = C_CopyObject,
    .C_DestroyObject = C_DestroyObject,
    .C_GetObjectSize = C_GetObjectSize,
    .C_GetAttributeValue = C_GetAttributeValue,
    .C_SetAttributeValue = C_SetAttributeValue,
    .C_FindObjectsInit = C_FindObjectsInit,
    .C_FindObjects = C_FindObjects,
    .C_FindObjectsFinal = C_FindObjectsFinal,
    .C_EncryptInit = C_EncryptInit,
    .C_Encrypt = C_Encrypt,
    .C_EncryptUpdate = C_EncryptUpdate,
    .C_EncryptFinal = C_EncryptFinal,
    .C_DecryptInit = C_DecryptInit,
    .C_Decrypt = C_Decrypt,
    .C_DecryptUpdate = C_DecryptUpdate,
    .C_DecryptFinal = C_DecryptFinal,
    .C_DigestInit = C_DigestInit,
    .C_Digest = C_Digest,
    .C_DigestUpdate = C_DigestUpdate,
    .C_DigestKey = C_DigestKey,
    .C_DigestFinal = C_DigestFinal,
    .C_SignInit = sign_init_3,
    .C_Sign = C_Sign,
    .C_SignUpdate = C_SignUpdate,
    .C_SignFinal = C_SignFinal,
    .C_SignRecoverInit = C_SignRecoverInit,
    .C_SignRecover = C_SignRecover,
    .C_VerifyInit = verify_init_3,
    .C_Verify = C_Verify,
    .C_VerifyUpdate = C_VerifyUpdate,
    .C_VerifyFinal = C_VerifyFinal,
    .C_VerifyRecoverInit = C_VerifyRecoverInit,
    .C_VerifyRecover = C_VerifyRecover,
    .C_DigestEncryptUpdate = C_DigestEncryptUpdate,
    .C_DecryptDigestUpdate = C_DecryptDigestUpdate,
    .C_SignEncryptUpdate = C_SignEncryptUpdate,
    .C_DecryptVerifyUpdate = C_DecryptVerifyUpdate,
    .C_GenerateKey = C_GenerateKey,
    .C_GenerateKeyPair = C_GenerateKeyPair,
    .C_WrapKey = C_WrapKey,
    .C_UnwrapKey = C_UnwrapKey,
    .C_DeriveKey = C_DeriveKey,
    .C_SeedRandom = C_SeedRandom,
    .C_GenerateRandom = C_GenerateRandom,
    .C_GetFunctionStatus = C_GetFunctionStatus,
    .C_CancelFunction = C_CancelFunction,
    .C_WaitForSlotEvent = C_WaitForSlotEvent,
    .C_GetInterfaceList = C_GetInterfaceList,
    .C_GetInterface = C_GetInterface,
    .C_LoginUser = C_LoginUser,
    .C_SessionCancel = C_SessionCancel,
    .C_MessageEncryptInit = C_MessageEncryptInit,
    .C_EncryptMessage = C_EncryptMessage,
    .C_EncryptMessageBegin = C_EncryptMessageBegin,
    .C_EncryptMessageNext = C_EncryptMessageNext,
    .C_MessageEncryptFinal = C_MessageEncryptFinal,
    .C_MessageDecryptInit = C_MessageDecryptInit,
    .C_DecryptMessage = C_DecryptMessage,
    .C_DecryptMessageBegin = C_DecryptMessageBegin,
    .C_DecryptMessageNext = C_DecryptMessageNext,
    .C_MessageDecryptFinal = C_MessageDecryptFinal,
    .C_MessageSignInit = C_MessageSignInit,
    .C_SignMessage = C_SignMessage,
    .C_SignMessageBegin = C_SignMessageBegin,
    .C_SignMessageNext = C_SignMessageNext,
    .C_MessageSignFinal = C_MessageSignFinal,
    .C_MessageVerifyInit = C_MessageVerifyInit,
    .C_VerifyMessage = C_VerifyMessage,
    .C_VerifyMessageBegin = C_VerifyMessageBegin,
    .C_VerifyMessageNext = C_VerifyMessageNext,
    .C_MessageVerifyFinal = C_MessageVerifyFinal,
};

#define INTERFACE_NAME "PKCS 11"

/* The first is what a caller gets that does not care. */
static const CK_INTERFACE interfaces[] = {
    {(CK_UTF8CHAR *)INTERFACE_NAME, (void *)&functions_3, 0},
    {(CK_UTF8CHAR *)INTERFACE_NAME, (void *)&functions_2, 0},
};
#define INTERFACES (sizeof interfaces / sizeof interfaces[0])

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    if (list == NULL)
        return returns_answer(FUNCTION_C_GetFunctionList, CKR_ARGUMENTS_BAD);
    *list = (CK_FUNCTION_LIST *)&functions_2;
    return returns_answer(FUNCTION_C_GetFunctionList, CKR_OK);
}

CK_RV C_GetInterfaceList(CK_INTERFACE *list, CK_ULONG *count)
{
    CK_RV rv = CKR_OK;

    if (count == NULL)
        return returns_answer(FUNCTION_C_GetInterfaceList, CKR_ARGUMENTS_BAD);
    if (list != NULL && *count < INTERFACES)
        rv = CKR_BUFFER_TOO_SMALL;
    else if (list != NULL)
        memcpy(list, interfaces, sizeof interfaces);
    *count = INTERFACES;
    return returns_answer(FUNCTION_C_GetInterfaceList, rv);
}

CK_RV C_GetInterface(CK_UTF8CHAR *name, CK_VERSION *version, CK_INTERFACE **out, CK_FLAGS flags)
{
    CK_RV rv = CKR_ARGUMENTS_BAD;

    if (out == NULL)
        return returns_answer(FUNCTION_C_GetInterface, rv);
    *out = NULL;
    for (size_t i = 0; i < INTERFACES && rv != CKR_OK; i++) {
        const CK_VERSION *have = interfaces[i].pFunctionList;
        if ((name != NULL && strcmp((const char *)name, INTERFACE_NAME) != 0) ||
            (version != NULL && (version->major != have->major || version->minor != have->minor)) ||
            (flags & ~interfaces[i].flags) != 0)
            continue;
        *out = (CK_INTERFACE *)&interfaces[i];
        rv = CKR_OK;
    }
    return returns_answer(FUNCTION_C_GetInterface, rv);
}
