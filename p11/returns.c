/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/returns.h"

#include "base/log.h"

#include <stdlib.h>

static const char *const functions[] = {
#define FUNCTION_TEXT(name, ...) #name,
    RETURNS(FUNCTION_TEXT)
#undef FUNCTION_TEXT
};

#define NAME(rv)                                                                                             \
    {                                                                                                        \
        rv, #rv                                                                                              \
    }
static const struct {
    CK_RV rv;
    const char *name;
} names[] = {
    NAME(CKR_OK),
    NAME(CKR_HOST_MEMORY),
    NAME(CKR_SLOT_ID_INVALID),
    NAME(CKR_GENERAL_ERROR),
    NAME(CKR_FUNCTION_FAILED),
    NAME(CKR_ARGUMENTS_BAD),
    NAME(CKR_NO_EVENT),
    NAME(CKR_ATTRIBUTE_READ_ONLY),
    NAME(CKR_ATTRIBUTE_SENSITIVE),
    NAME(CKR_ATTRIBUTE_TYPE_INVALID),
    NAME(CKR_ATTRIBUTE_VALUE_INVALID),
    NAME(CKR_ACTION_PROHIBITED),
    NAME(CKR_DEVICE_ERROR),
    NAME(CKR_FUNCTION_NOT_PARALLEL),
    NAME(CKR_FUNCTION_NOT_SUPPORTED),
    NAME(CKR_KEY_HANDLE_INVALID),
    NAME(CKR_KEY_SIZE_RANGE),
    NAME(CKR_KEY_TYPE_INCONSISTENT),
    NAME(CKR_KEY_FUNCTION_NOT_PERMITTED),
    NAME(CKR_KEY_NOT_WRAPPABLE),
    NAME(CKR_KEY_UNEXTRACTABLE),
    NAME(CKR_MECHANISM_INVALID),
    NAME(CKR_MECHANISM_PARAM_INVALID),
    NAME(CKR_OBJECT_HANDLE_INVALID),
    NAME(CKR_OPERATION_ACTIVE),
    NAME(CKR_OPERATION_NOT_INITIALIZED),
    NAME(CKR_PIN_INCORRECT),
    NAME(CKR_SESSION_CLOSED),
    NAME(CKR_SESSION_HANDLE_INVALID),
    NAME(CKR_SESSION_PARALLEL_NOT_SUPPORTED),
    NAME(CKR_SESSION_READ_ONLY),
    NAME(CKR_SIGNATURE_INVALID),
    NAME(CKR_SIGNATURE_LEN_RANGE),
    NAME(CKR_TEMPLATE_INCOMPLETE),
    NAME(CKR_TEMPLATE_INCONSISTENT),
    NAME(CKR_UNWRAPPING_KEY_HANDLE_INVALID),
    NAME(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT),
    NAME(CKR_WRAPPED_KEY_INVALID),
    NAME(CKR_WRAPPED_KEY_LEN_RANGE),
    NAME(CKR_WRAPPING_KEY_HANDLE_INVALID),
    NAME(CKR_WRAPPING_KEY_TYPE_INCONSISTENT),
    NAME(CKR_USER_ALREADY_LOGGED_IN),
    NAME(CKR_USER_NOT_LOGGED_IN),
    NAME(CKR_USER_PIN_NOT_INITIALIZED),
    NAME(CKR_USER_TYPE_INVALID),
    NAME(CKR_BUFFER_TOO_SMALL),
    NAME(CKR_CRYPTOKI_NOT_INITIALIZED),
    NAME(CKR_CRYPTOKI_ALREADY_INITIALIZED),
};

const char *returns_name(CK_RV rv)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].rv == rv)
            return names[i].name;
    return "?";
}

#ifdef PPK_CHECK_RETURNS
#define ALLOWED(name, ...) static const CK_RV allowed_##name[] = {__VA_ARGS__};
RETURNS(ALLOWED)
#undef ALLOWED

static const struct {
    const CK_RV *rvs;
    size_t n;
} allowed[] = {
#define ALLOWED(name, ...) {allowed_##name, sizeof allowed_##name / sizeof allowed_##name[0]},
    RETURNS(ALLOWED)
#undef ALLOWED
};

static void check(enum function function, CK_RV rv)
{
    for (size_t i = 0; i < allowed[function].n; i++)
        if (allowed[function].rvs[i] == rv)
            return;
    log_write(LOG_LEVEL_ERROR, "%s: 0x%lx (%s) is not a value that it may return", functions[function], rv,
              returns_name(rv));
    abort();
}
#else
static void check(enum function function, CK_RV rv)
{
    (void)function;
    (void)rv;
}
#endif

const char *returns_function(enum function function)
{
    return functions[function];
}

CK_RV returns_checked(enum function function, CK_RV rv)
{
    check(function, rv);
    return rv;
}

CK_RV returns_answer(enum function function, CK_RV rv)
{
    if (log_wanted(LOG_LEVEL_TRACE))
        log_write(LOG_LEVEL_TRACE, "%s = %s", functions[function], returns_name(rv));
    return returns_checked(function, rv);
}
