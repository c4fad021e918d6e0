/* SPDX-License-Identifier: BSD-2-Clause */
/* Which values each function may return (PKCS#11 3.1, chapter 5), as a table that debug builds check every
 * answer against: a wrong return code is a mistake that no test otherwise finds. */
#ifndef PPK_P11_RETURNS_H
#define PPK_P11_RETURNS_H

#include "p11/cryptoki.h"

#define RV_ANY     CKR_OK, CKR_GENERAL_ERROR, CKR_HOST_MEMORY, CKR_FUNCTION_FAILED
#define RV_ARGS    CKR_ARGUMENTS_BAD
#define RV_READY   RV_ANY, CKR_CRYPTOKI_NOT_INITIALIZED
#define RV_DEVICE  CKR_DEVICE_ERROR, CKR_DEVICE_MEMORY, CKR_DEVICE_REMOVED
#define RV_SESSION RV_READY, RV_DEVICE, CKR_SESSION_CLOSED, CKR_SESSION_HANDLE_INVALID
#define RV_SLOT    RV_READY, RV_ARGS, CKR_SLOT_ID_INVALID
#define RV_TOKEN   RV_SLOT, RV_DEVICE, CKR_TOKEN_NOT_PRESENT, CKR_TOKEN_NOT_RECOGNIZED
#define RV_TEMPLATE                                                                                          \
    CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID,                        \
        CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT
#define RV_CANCEL CKR_FUNCTION_CANCELED
#define RV_WRITE  CKR_SESSION_READ_ONLY, CKR_TOKEN_WRITE_PROTECTED, CKR_PIN_EXPIRED
#define RV_KEY                                                                                               \
    CKR_KEY_HANDLE_INVALID, CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED,   \
        CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID, CKR_OPERATION_ACTIVE, CKR_PIN_EXPIRED,           \
        CKR_USER_NOT_LOGGED_IN
#define RV_MAC RV_SESSION, RV_ARGS, RV_CANCEL, CKR_DATA_LEN_RANGE, CKR_OPERATION_NOT_INITIALIZED
#define RV_NOT CKR_CRYPTOKI_NOT_INITIALIZED, CKR_FUNCTION_NOT_SUPPORTED

/* X(function, what it may return) */
#define RETURNS(X)                                                                                           \
    X(C_Initialize, RV_ANY, RV_ARGS, CKR_CANT_LOCK, CKR_CRYPTOKI_ALREADY_INITIALIZED,                        \
      CKR_NEED_TO_CREATE_THREADS)                                                                            \
    X(C_Finalize, RV_READY, RV_ARGS)                                                                         \
    X(C_GetInfo, RV_READY, RV_ARGS)                                                                          \
    X(C_GetFunctionList, RV_ANY, RV_ARGS)                                                                    \
    X(C_GetInterfaceList, RV_ANY, RV_ARGS, CKR_BUFFER_TOO_SMALL)                                             \
    X(C_GetInterface, RV_ANY, RV_ARGS)                                                                       \
    X(C_GetSlotList, RV_READY, RV_ARGS, CKR_BUFFER_TOO_SMALL)                                                \
    X(C_GetSlotInfo, RV_SLOT, CKR_DEVICE_ERROR)                                                              \
    X(C_GetTokenInfo, RV_TOKEN)                                                                              \
    X(C_WaitForSlotEvent, RV_READY, RV_ARGS, CKR_NO_EVENT)                                                   \
    X(C_GetMechanismList, RV_TOKEN, CKR_BUFFER_TOO_SMALL)                                                    \
    X(C_GetMechanismInfo, RV_TOKEN, CKR_MECHANISM_INVALID)                                                   \
    X(C_OpenSession, RV_TOKEN, CKR_SESSION_COUNT, CKR_SESSION_PARALLEL_NOT_SUPPORTED,                        \
      CKR_SESSION_READ_WRITE_SO_EXISTS, CKR_TOKEN_WRITE_PROTECTED)                                           \
    X(C_CloseSession, RV_SESSION)                                                                            \
    X(C_CloseAllSessions, RV_READY, RV_DEVICE, CKR_SLOT_ID_INVALID, CKR_TOKEN_NOT_PRESENT)                   \
    X(C_GetSessionInfo, RV_SESSION, RV_ARGS)                                                                 \
    X(C_SessionCancel, RV_SESSION, CKR_OPERATION_CANCEL_FAILED, CKR_TOKEN_NOT_PRESENT)                       \
    X(C_Login, RV_SESSION, RV_ARGS, RV_CANCEL, CKR_OPERATION_NOT_INITIALIZED, CKR_PIN_INCORRECT,             \
      CKR_PIN_LOCKED, CKR_SESSION_READ_ONLY_EXISTS, CKR_USER_ALREADY_LOGGED_IN,                              \
      CKR_USER_ANOTHER_ALREADY_LOGGED_IN, CKR_USER_PIN_NOT_INITIALIZED, CKR_USER_TOO_MANY_TYPES,             \
      CKR_USER_TYPE_INVALID)                                                                                 \
    X(C_Logout, RV_SESSION, CKR_USER_NOT_LOGGED_IN)                                                          \
    X(C_CreateObject, RV_SESSION, RV_ARGS, RV_TEMPLATE, RV_WRITE, CKR_USER_NOT_LOGGED_IN)                    \
    X(C_CopyObject, RV_SESSION, RV_ARGS, RV_TEMPLATE, RV_WRITE, CKR_ACTION_PROHIBITED,                       \
      CKR_OBJECT_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN)                                                     \
    X(C_DestroyObject, RV_SESSION, RV_WRITE, CKR_ACTION_PROHIBITED, CKR_OBJECT_HANDLE_INVALID)               \
    X(C_GetObjectSize, RV_SESSION, RV_ARGS, CKR_INFORMATION_SENSITIVE, CKR_OBJECT_HANDLE_INVALID)            \
    X(C_GetAttributeValue, RV_SESSION, RV_ARGS, CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID,         \
      CKR_BUFFER_TOO_SMALL, CKR_OBJECT_HANDLE_INVALID)                                                       \
    X(C_SetAttributeValue, RV_SESSION, RV_ARGS, RV_TEMPLATE, RV_WRITE, CKR_ACTION_PROHIBITED,                \
      CKR_OBJECT_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN)                                                     \
    X(C_FindObjectsInit, RV_SESSION, RV_ARGS, CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID,       \
      CKR_OPERATION_ACTIVE, CKR_PIN_EXPIRED)                                                                 \
    X(C_FindObjects, RV_SESSION, RV_ARGS, CKR_OPERATION_NOT_INITIALIZED)                                     \
    X(C_FindObjectsFinal, RV_SESSION, CKR_OPERATION_NOT_INITIALIZED)                                         \
    X(C_SignInit, RV_SESSION, RV_ARGS, RV_CANCEL, RV_KEY, CKR_OPERATION_CANCEL_FAILED)                       \
    X(C_Sign, RV_MAC, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_USER_NOT_LOGGED_IN)                        \
    X(C_SignUpdate, RV_MAC, CKR_USER_NOT_LOGGED_IN)                                                          \
    X(C_SignFinal, RV_MAC, CKR_BUFFER_TOO_SMALL, CKR_USER_NOT_LOGGED_IN)                                     \
    X(C_VerifyInit, RV_SESSION, RV_ARGS, RV_CANCEL, RV_KEY, CKR_OPERATION_CANCEL_FAILED)                     \
    X(C_Verify, RV_MAC, CKR_DATA_INVALID, CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE)                    \
    X(C_VerifyUpdate, RV_MAC)                                                                                \
    X(C_VerifyFinal, RV_MAC, CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE)                                 \
    X(C_GenerateKey, RV_SESSION, RV_ARGS, RV_CANCEL, RV_TEMPLATE, RV_WRITE, CKR_MECHANISM_INVALID,           \
      CKR_MECHANISM_PARAM_INVALID, CKR_OPERATION_ACTIVE, CKR_USER_NOT_LOGGED_IN)                             \
    X(C_DeriveKey, RV_SESSION, RV_ARGS, RV_CANCEL, RV_TEMPLATE, RV_WRITE, RV_KEY)                            \
    X(C_WrapKey, RV_SESSION, RV_ARGS, RV_CANCEL, CKR_BUFFER_TOO_SMALL, CKR_KEY_FUNCTION_NOT_PERMITTED,       \
      CKR_KEY_HANDLE_INVALID, CKR_KEY_NOT_WRAPPABLE, CKR_KEY_SIZE_RANGE, CKR_KEY_UNEXTRACTABLE,              \
      CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID, CKR_OPERATION_ACTIVE, CKR_PIN_EXPIRED,             \
      CKR_USER_NOT_LOGGED_IN, CKR_WRAPPING_KEY_HANDLE_INVALID, CKR_WRAPPING_KEY_SIZE_RANGE,                  \
      CKR_WRAPPING_KEY_TYPE_INCONSISTENT)                                                                    \
    X(C_UnwrapKey, RV_SESSION, RV_ARGS, RV_CANCEL, RV_TEMPLATE, RV_WRITE, CKR_KEY_FUNCTION_NOT_PERMITTED,    \
      CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID, CKR_OPERATION_ACTIVE,                              \
      CKR_UNWRAPPING_KEY_HANDLE_INVALID, CKR_UNWRAPPING_KEY_SIZE_RANGE,                                      \
      CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, CKR_USER_NOT_LOGGED_IN, CKR_WRAPPED_KEY_INVALID,                 \
      CKR_WRAPPED_KEY_LEN_RANGE)                                                                             \
    X(C_SeedRandom, RV_SESSION, RV_ARGS, RV_CANCEL, CKR_OPERATION_ACTIVE, CKR_RANDOM_SEED_NOT_SUPPORTED,     \
      CKR_RANDOM_NO_RNG, CKR_USER_NOT_LOGGED_IN)                                                             \
    X(C_GenerateRandom, RV_SESSION, RV_ARGS, RV_CANCEL, CKR_OPERATION_ACTIVE, CKR_RANDOM_NO_RNG,             \
      CKR_USER_NOT_LOGGED_IN)                                                                                \
    X(C_GetFunctionStatus, RV_SESSION, CKR_FUNCTION_NOT_PARALLEL)                                            \
    X(C_CancelFunction, RV_SESSION, CKR_FUNCTION_NOT_PARALLEL)                                               \
    X(unsupported, RV_NOT)

enum function {
#define FUNCTION_NAME(name, ...) FUNCTION_##name,
    RETURNS(FUNCTION_NAME)
#undef FUNCTION_NAME
};

/* Checks the answer of a function (debug builds only: aborts on one that the standard does not allow), and
 * returns it. */
CK_RV returns_checked(enum function function, CK_RV rv);

/* Traces it to the log, too: of functions whose arguments are not traced. */
CK_RV returns_answer(enum function function, CK_RV rv);

/* "C_Initialize", … */
const char *returns_function(enum function function);

/* "CKR_OK", …; of an unknown one "?" */
const char *returns_name(CK_RV rv);

#endif
