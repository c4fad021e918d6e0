/* SPDX-License-Identifier: BSD-2-Clause */
/* The trace of calls, `log level trace`: every function has its line, also with arguments that no one would
 * give; what is named is named, what is not is a number; and no value of a key is in it. */
#include "conf.h"
#include "every.h"
#include "harness.h"

#include <dlfcn.h>
#include <stdlib.h>

static const void *list_3_0;

static void start(void)
{
    char log[200];
    snprintf(log, sizeof log, "file=%s/log:trace", harness_directory());
    setenv("PPK_LOG", log, 1);
    harness_conf("%s", CONF_MANUAL);
    harness_log_clear();
    require_ok(f->C_Initialize(NULL));
}

#define expect_logged(text)                                                                                  \
    do {                                                                                                     \
        const char *log_ = harness_log();                                                                    \
        expect(strstr(log_, text) != NULL, "not traced: %s in\n%s", text, log_);                             \
    } while (0)

static bool skipped(const char *name)
{
    static const char *const others[] = {"C_Initialize", "C_Finalize", "C_WaitForSlotEvent"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i]) == 0)
            return true;
    return false;
}

static void test_every_function(void **state)
{
    (void)state;
    static const CK_ULONG zeros[10];
    char line[80];
    start();
    CK_SESSION_HANDLE s = harness_session("main");
    for (int round = 0; round < 3; round++) { /* no session; a session; not initialized */
        for (size_t i = 0; i < EVERY_3_0; i++) {
            CK_ULONG arguments[10] = {round == 1 ? s : 0};
            if (skipped(every_name[i]) || every_needs_no_init(i) ||
                (round == 1 && (strcmp(every_name[i], "C_GetInfo") == 0 /* has a pointer first */ ||
                                strcmp(every_name[i], "C_CloseSession") == 0)))
                continue;
            harness_log_clear();
            CK_RV rv = every_call(list_3_0, i, round == 2 ? zeros : arguments);
            expect_case("%s, round %d", every_name[i], round);
            /* what the token does not have is one function under many names */
            snprintf(line, sizeof line, "trace: unsupported = %s", rv_name(rv));
            if (strstr(harness_log(), line) != NULL)
                continue;
            snprintf(line, sizeof line, "trace: %s(", every_name[i]);
            expect_logged(line);
            snprintf(line, sizeof line, " = %s, ", rv_name(rv));
            expect_logged(line);
        }
        if (round == 1)
            expect_ok(f->C_Finalize(NULL));
    }
}

static void search(CK_SESSION_HANDLE s, struct template *t)
{
    harness_log_clear();
    if (f->C_FindObjectsInit(s, t->a, t->n) == CKR_OK)
        expect_ok(f->C_FindObjectsFinal(s));
}

static void test_templates(void **state)
{
    (void)state;
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        CK_ULONG value;
        const char *wanted;
    } numbers[] = {
        {CKA_CLASS, CKO_DATA, "CKA_CLASS=CKO_DATA"},
        {CKA_CLASS, CKO_CERTIFICATE, "CKA_CLASS=CKO_CERTIFICATE"},
        {CKA_CLASS, CKO_SECRET_KEY, "CKA_CLASS=CKO_SECRET_KEY"},
        {CKA_CLASS, 0x99, "CKA_CLASS=0x99"},
        {CKA_KEY_TYPE, CKK_AES, "CKA_KEY_TYPE=CKK_AES"},
        {CKA_KEY_TYPE, CKK_RSA, "CKA_KEY_TYPE=CKK_RSA"},
        {CKA_KEY_TYPE, 0x77, "CKA_KEY_TYPE=0x77"},
        {CKA_KEY_GEN_MECHANISM, CKM_GENERIC_SECRET_KEY_GEN,
         "CKA_KEY_GEN_MECHANISM=CKM_GENERIC_SECRET_KEY_GEN"},
        {CKA_KEY_GEN_MECHANISM, 0x12345, "CKA_KEY_GEN_MECHANISM=mechanism 0x12345"},
        {CKA_VALUE_LEN, 17, "CKA_VALUE_LEN=17"},
    };
    char text[100];
    start();
    CK_SESSION_HANDLE s = harness_session("main");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct template t = {.n = 0};
        template_number(&t, numbers[i].type, numbers[i].value);
        search(s, &t);
        expect_logged(numbers[i].wanted);
    }
    memset(text, 'x', sizeof text);
    struct template t = {.n = 0};
    template_bool(&t, CKA_TOKEN, true);
    template_bool(&t, CKA_PRIVATE, false);
    template_text(&t, CKA_LABEL, "a \"label\"\n");
    template_bytes(&t, CKA_ID, "\1\2\xff", 3);
    template_number(&t, 0x8123456, 1);
    search(s, &t);
    expect_logged("{CKA_TOKEN=CK_TRUE, CKA_PRIVATE=CK_FALSE, CKA_LABEL=\"a");
    expect_logged("CKA_ID=0102ff, attribute 0x8123456=8 bytes}");
    expect(strstr(harness_log(), "\"label\"\n\"") == NULL, "a line is broken");
    memset(&t, 0, sizeof t);
    template_bytes(&t, CKA_LABEL, text, sizeof text);
    template_bytes(&t, CKA_ID, text, sizeof text);
    template_bytes(&t, CKA_TOKEN, text, 2);
    template_bytes(&t, CKA_CLASS, text, 3);
    search(s, &t);
    expect_logged("FindObjectsInit(");
    /* a value that the token itself found to be none */
    CK_ATTRIBUTE many[40];
    for (size_t i = 0; i < 40; i++)
        many[i] = (CK_ATTRIBUTE){CKA_LABEL, NULL, 0};
    CK_OBJECT_HANDLE key = object_by_id(s, MANUAL_1_ID, strlen(MANUAL_1_ID));
    many[1].type = CKA_VALUE;
    harness_log_clear();
    expect_rv(CKR_ATTRIBUTE_SENSITIVE, f->C_GetAttributeValue(s, key, many, 40));
    expect_logged("CKA_VALUE=unavailable");
    expect_logged(", ...}");
    harness_log_clear();
    expect_error(f->C_FindObjectsInit(s, NULL, 3));
    expect_logged("3 attributes");
    /* what a key is made of is not told */
    uint8_t value[32] = "a value that must not be traced";
    harness_log_clear();
    object_import(s, value, sizeof value);
    expect_logged("CKA_VALUE=32 bytes");
    expect(strstr(harness_log(), "must not be") == NULL, "the value is traced");
}

static void test_mechanisms_and_users(void **state)
{
    (void)state;
    static const struct {
        CK_USER_TYPE user;
        const char *wanted;
    } users[] = {{CKU_SO, "CKU_SO"},
                 {CKU_USER, "CKU_USER"},
                 {CKU_CONTEXT_SPECIFIC, "CKU_CONTEXT_SPECIFIC"},
                 {7, "0x7"}};
    CK_MECHANISM unknown = {0x99999, NULL, 0}, with = {CKM_SHA256_HMAC, &unknown, sizeof unknown},
                 good = {CKM_SHA256_HMAC, NULL, 0};
    CK_MECHANISM_INFO info;
    start();
    CK_SESSION_HANDLE s = harness_session("main");
    CK_OBJECT_HANDLE key = object_by_id(s, MANUAL_1_ID, strlen(MANUAL_1_ID));
    for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
        harness_log_clear();
        (void)f->C_Login(s, users[i].user, (CK_UTF8CHAR_PTR)(uintptr_t) "1234", 4);
        expect_logged(users[i].wanted);
        expect(strstr(harness_log(), "1234") == NULL, "the PIN is traced");
    }
    harness_log_clear();
    expect_error(f->C_SignInit(s, &unknown, key));
    expect_logged("mechanism 0x99999");
    expect_error(f->C_SignInit(s, &with, key));
    expect_logged("CKM_SHA256_HMAC(24 bytes)");
    harness_log_clear();
    expect_error(f->C_SignInit(s, NULL, key));
    expect_logged("mechanism, object");
    expect_ok(f->C_SignInit(s, &good, key));
    expect_logged("CKM_SHA256_HMAC, object");
    expect_error(f->C_GetMechanismInfo(harness_slot("main"), 0x99999, &info));
    expect_logged("mechanism 0x99999");
    expect_ok(f->C_GetMechanismInfo(harness_slot("main"), CKM_SHA256_HMAC, &info));
    expect_logged("slot");
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_every_function), TOKEN_TEST(test_templates),
                                       TOKEN_TEST(test_mechanisms_and_users)};
    CK_C_GetInterface get = NULL;
    CK_INTERFACE *interface = NULL;
    *(void **)&get = dlsym(harness_load(), "C_GetInterface");
    if (get == NULL ||
        get((CK_UTF8CHAR_PTR)(uintptr_t) "PKCS 11", &(CK_VERSION){3, 0}, &interface, 0) != CKR_OK)
        return 1;
    list_3_0 = interface->pFunctionList;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
