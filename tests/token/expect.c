/* SPDX-License-Identifier: BSD-2-Clause */
#include "expect.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define NAME(x)                                                                                              \
    {                                                                                                        \
        x, #x                                                                                                \
    }
static const struct {
    CK_RV rv;
    const char *name;
} names[] = {
    NAME(CKR_OK),
    NAME(CKR_CANCEL),
    NAME(CKR_HOST_MEMORY),
    NAME(CKR_SLOT_ID_INVALID),
    NAME(CKR_GENERAL_ERROR),
    NAME(CKR_FUNCTION_FAILED),
    NAME(CKR_ARGUMENTS_BAD),
    NAME(CKR_NO_EVENT),
    NAME(CKR_NEED_TO_CREATE_THREADS),
    NAME(CKR_CANT_LOCK),
    NAME(CKR_ATTRIBUTE_READ_ONLY),
    NAME(CKR_ATTRIBUTE_SENSITIVE),
    NAME(CKR_ATTRIBUTE_TYPE_INVALID),
    NAME(CKR_ATTRIBUTE_VALUE_INVALID),
    NAME(CKR_ACTION_PROHIBITED),
    NAME(CKR_DATA_INVALID),
    NAME(CKR_DATA_LEN_RANGE),
    NAME(CKR_DEVICE_ERROR),
    NAME(CKR_DEVICE_MEMORY),
    NAME(CKR_DEVICE_REMOVED),
    NAME(CKR_FUNCTION_CANCELED),
    NAME(CKR_FUNCTION_NOT_PARALLEL),
    NAME(CKR_FUNCTION_NOT_SUPPORTED),
    NAME(CKR_KEY_HANDLE_INVALID),
    NAME(CKR_KEY_SIZE_RANGE),
    NAME(CKR_KEY_TYPE_INCONSISTENT),
    NAME(CKR_KEY_NOT_NEEDED),
    NAME(CKR_KEY_CHANGED),
    NAME(CKR_KEY_NEEDED),
    NAME(CKR_KEY_INDIGESTIBLE),
    NAME(CKR_KEY_FUNCTION_NOT_PERMITTED),
    NAME(CKR_KEY_NOT_WRAPPABLE),
    NAME(CKR_KEY_UNEXTRACTABLE),
    NAME(CKR_MECHANISM_INVALID),
    NAME(CKR_MECHANISM_PARAM_INVALID),
    NAME(CKR_OBJECT_HANDLE_INVALID),
    NAME(CKR_OPERATION_ACTIVE),
    NAME(CKR_OPERATION_NOT_INITIALIZED),
    NAME(CKR_PIN_INCORRECT),
    NAME(CKR_PIN_INVALID),
    NAME(CKR_PIN_LEN_RANGE),
    NAME(CKR_PIN_EXPIRED),
    NAME(CKR_PIN_LOCKED),
    NAME(CKR_SESSION_CLOSED),
    NAME(CKR_SESSION_COUNT),
    NAME(CKR_SESSION_HANDLE_INVALID),
    NAME(CKR_SESSION_PARALLEL_NOT_SUPPORTED),
    NAME(CKR_SESSION_READ_ONLY),
    NAME(CKR_SESSION_EXISTS),
    NAME(CKR_SESSION_READ_ONLY_EXISTS),
    NAME(CKR_SESSION_READ_WRITE_SO_EXISTS),
    NAME(CKR_SIGNATURE_INVALID),
    NAME(CKR_SIGNATURE_LEN_RANGE),
    NAME(CKR_TEMPLATE_INCOMPLETE),
    NAME(CKR_TEMPLATE_INCONSISTENT),
    NAME(CKR_TOKEN_NOT_PRESENT),
    NAME(CKR_TOKEN_NOT_RECOGNIZED),
    NAME(CKR_TOKEN_WRITE_PROTECTED),
    NAME(CKR_UNWRAPPING_KEY_HANDLE_INVALID),
    NAME(CKR_USER_ALREADY_LOGGED_IN),
    NAME(CKR_USER_NOT_LOGGED_IN),
    NAME(CKR_USER_PIN_NOT_INITIALIZED),
    NAME(CKR_USER_TYPE_INVALID),
    NAME(CKR_USER_ANOTHER_ALREADY_LOGGED_IN),
    NAME(CKR_USER_TOO_MANY_TYPES),
    NAME(CKR_WRAPPED_KEY_INVALID),
    NAME(CKR_WRAPPING_KEY_HANDLE_INVALID),
    NAME(CKR_RANDOM_SEED_NOT_SUPPORTED),
    NAME(CKR_RANDOM_NO_RNG),
    NAME(CKR_DOMAIN_PARAMS_INVALID),
    NAME(CKR_BUFFER_TOO_SMALL),
    NAME(CKR_SAVED_STATE_INVALID),
    NAME(CKR_INFORMATION_SENSITIVE),
    NAME(CKR_STATE_UNSAVEABLE),
    NAME(CKR_CRYPTOKI_NOT_INITIALIZED),
    NAME(CKR_CRYPTOKI_ALREADY_INITIALIZED),
    NAME(CKR_MUTEX_BAD),
    NAME(CKR_MUTEX_NOT_LOCKED),
    NAME(CKR_FUNCTION_REJECTED),
    NAME(CKR_OPERATION_CANCEL_FAILED),
};

static atomic_ulong checked, failures;
static unsigned long failures_before;
static _Thread_local char the_case[200];
void (*expect_clean)(void);

const char *rv_name(CK_RV rv)
{
    static _Thread_local char number[4][32];
    static _Thread_local unsigned turn;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].rv == rv)
            return names[i].name;
    char *s = number[turn++ % 4];
    snprintf(s, sizeof number[0], "CK_RV 0x%lx", rv);
    return s;
}

void expect_case(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(the_case, sizeof the_case, format, ap);
    va_end(ap);
}

static void complain(const char *file, int line, const char *what, const char *detail)
{
    atomic_fetch_add(&failures, 1);
    fprintf(stderr, "%s:%d: %s%s%s: %s\n", file, line, the_case, *the_case ? ": " : "", what, detail);
}

bool expect_rv_at(CK_RV rv, const CK_RV *allowed, size_t n, const char *call, const char *file, int line)
{
    atomic_fetch_add(&checked, 1);
    for (size_t i = 0; i < n; i++)
        if (rv == allowed[i])
            return true;
    char detail[400];
    int len = snprintf(detail, sizeof detail, "got %s, expected", rv_name(rv));
    for (size_t i = 0; i < n && len < (int)sizeof detail; i++)
        len +=
            snprintf(detail + len, sizeof detail - (size_t)len, "%s %s", i ? " or" : "", rv_name(allowed[i]));
    complain(file, line, call, detail);
    return false;
}

bool expect_error_at(CK_RV rv, const char *call, const char *file, int line)
{
    atomic_fetch_add(&checked, 1);
    if (rv != CKR_OK)
        return true;
    complain(file, line, call, "got CKR_OK, expected an error");
    return false;
}

bool expect_at(bool condition, const char *text, const char *file, int line, const char *format, ...)
{
    atomic_fetch_add(&checked, 1);
    if (condition)
        return true;
    char detail[600];
    va_list ap;
    va_start(ap, format);
    vsnprintf(detail, sizeof detail, format, ap);
    va_end(ap);
    complain(file, line, text, detail);
    return false;
}

unsigned long expect_checked(void)
{
    return atomic_load(&checked);
}

unsigned long expect_failures(void)
{
    return atomic_load(&failures);
}

int expect_begin(void **state)
{
    (void)state;
    expect_case("%s", "");
    failures_before = expect_failures();
    return 0;
}

int expect_end(void **state)
{
    (void)state;
    expect_case("%s", "");
    if (expect_clean)
        expect_clean();
    return expect_failures() == failures_before ? 0 : -1;
}
