/* SPDX-License-Identifier: BSD-2-Clause */
/* PKCS#11 2.40/3.0, "General-purpose functions": function lists and interfaces; and all functions in them
 * before C_Initialize, and with arguments that are zeros. */
#include "conf.h"
#include "every.h"
#include "harness.h"

#include <dlfcn.h>
#include <string.h>

struct interface {
    CK_UTF8CHAR *name;
    struct every_list *list;
    CK_FLAGS flags;
};

static void *module;
static CK_RV (*get_interface)(CK_UTF8CHAR *, CK_VERSION *, struct interface **, CK_FLAGS);
static CK_RV (*get_interface_list)(struct interface *, CK_ULONG *);

static const CK_ULONG zeros[10];
static void test_function_list(void **state)
{
    (void)state;
    const struct every_list *list = (const void *)f;
    expect(f->version.major == 2 && f->version.minor == 40, "version %d.%d", f->version.major,
           f->version.minor);
    for (size_t i = 0; i < EVERY_2_40; i++) {
        expect_case("%s", every_name[i]);
        expect(list->functions[i] != NULL, "is NULL");
        expect(dlsym(module, every_name[i]) == NULL || dlsym(module, every_name[i]) == list->functions[i],
               "the exported function is another one");
    }
    expect_case("%s", "");
    expect_rv(CKR_ARGUMENTS_BAD, f->C_GetFunctionList(NULL));
    CK_FUNCTION_LIST *again = NULL;
    expect_ok(f->C_GetFunctionList(&again));
    expect(again == f, "another list");
    /* All of them are exported, so that nobody finds another library's (aws-kms-pkcs11#49). */
    static const char *const exported[] = {"C_GetFunctionList", "C_GetInterfaceList", "C_GetInterface"};
    for (size_t i = 0; i < 3; i++)
        expect(dlsym(module, exported[i]) != NULL, "%s is not exported", exported[i]);
}

static void test_interfaces(void **state)
{
    (void)state;
    static CK_UTF8CHAR name[] = "PKCS 11", vendor_name[] = "Vendor Other", prefix[] = "PKCS";
    struct interface list[8], *i = NULL;
    CK_ULONG n = 0;
    require(get_interface && get_interface_list, "not exported");
    expect_rv(CKR_ARGUMENTS_BAD, get_interface_list(NULL, NULL));
    expect_rv(CKR_ARGUMENTS_BAD, get_interface_list(list, NULL));
    expect_ok(get_interface_list(NULL, &n));
    require(n >= 2 && n <= 8, "%lu interfaces", n);
    CK_ULONG few = 1;
    memset(list, 0, sizeof list);
    expect_rv(CKR_BUFFER_TOO_SMALL, get_interface_list(list, &few));
    expect(few == n && list[0].name == NULL, "count %lu", few);
    CK_ULONG many = 8;
    expect_ok(get_interface_list(list, &many));
    expect(many == n, "%lu, then %lu", n, many);
    bool v2 = false, v3 = false;
    for (CK_ULONG k = 0; k < n; k++) {
        expect(strcmp((char *)list[k].name, "PKCS 11") == 0, "the name is \"%s\"", (char *)list[k].name);
        /* Fork safe, as 3.0 defines it, is what keeps sessions in the child: ours has to initialize again. */
        expect(list[k].flags == 0, "flags 0x%lx", list[k].flags);
        v2 |= list[k].list->version.major == 2 && list[k].list->version.minor == 40;
        if (list[k].list->version.major == 3) {
            v3 = true;
            for (size_t x = 0; x < EVERY_3_0; x++)
                expect(list[k].list->functions[x] != NULL, "3.0: %s is NULL", every_name[x]);
        }
    }
    expect(v2 && v3, "2.40: %d, 3.x: %d", v2, v3);

    CK_VERSION two = {2, 40}, three = {3, 0}, nine = {9, 9}, twenty = {2, 20};
    expect_rv(CKR_ARGUMENTS_BAD, get_interface(NULL, NULL, NULL, 0));
    expect_rv(CKR_ARGUMENTS_BAD, get_interface(name, &three, NULL, 0));
    const struct {
        CK_UTF8CHAR *name;
        CK_VERSION *version;
        CK_FLAGS flags;
        int major; /* 0: none matches */
        int minor;
    } cases[] = {
        {NULL, NULL, 0, 3, 0},        {name, NULL, 0, 3, 0},          {NULL, &three, 0, 3, 0},
        {name, &three, 0, 3, 0},      {NULL, &two, 0, 2, 40},         {name, &two, 0, 2, 40},
        {NULL, &nine, 0, 0, 0},       {name, &nine, 0, 0, 0},         {name, &twenty, 0, 0, 0},
        {vendor_name, NULL, 0, 0, 0}, {vendor_name, &three, 0, 0, 0}, {prefix, NULL, 0, 0, 0},
        {NULL, NULL, 1, 0, 0},        {name, &three, 1, 0, 0},        {name, NULL, 1UL << 63, 0, 0},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        expect_case("C_GetInterface case %zu", k);
        i = NULL;
        CK_RV rv = get_interface(cases[k].name, cases[k].version, &i, cases[k].flags);
        if (!cases[k].major) {
            expect_rv_in(rv, CKR_FUNCTION_FAILED, CKR_ARGUMENTS_BAD);
            continue;
        }
        if (expect_rv(CKR_OK, rv) && expect(i != NULL, "no interface"))
            expect(i->list->version.major == cases[k].major && i->list->version.minor == cases[k].minor,
                   "version %d.%d", i->list->version.major, i->list->version.minor);
    }
}

static void test_exports(void **state)
{
    (void)state;
    char command[400], line[400];
    if (HARNESS_ASAN || HARNESS_TSAN)
        skip();
    snprintf(command, sizeof command, "nm -D --defined-only '%s'", harness_module());
    FILE *in = popen(command, "r");
    assert_non_null(in);
    int n = 0;
    while (fgets(line, sizeof line, in)) {
        char symbol[300] = "";
        sscanf(line, "%*s %*s %299s", symbol);
        expect(strncmp(symbol, "C_", 2) == 0, "%s is exported", symbol);
        n++;
    }
    expect(pclose(in) == 0, "nm failed");
    expect(n >= 3, "only %d symbols", n);
}

/* ---- before and after ---- */

static void expect_not_initialized(const void *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!every_needs_no_init(i)) {
            expect_case("%s", every_name[i]);
            expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, every_call(list, i, zeros));
        }
}

static struct every_list *list_3_0(void)
{
    static CK_UTF8CHAR name[] = "PKCS 11";
    CK_VERSION three = {3, 0};
    struct interface *i = NULL;
    require(get_interface && get_interface(name, &three, &i, 0) == CKR_OK, "no 3.0");
    return i->list;
}

static void test_not_initialized(void **state)
{
    (void)state;
    expect_not_initialized(f, EVERY_2_40);
    expect_not_initialized(list_3_0(), EVERY_3_0);
    expect_ok(f->C_Initialize(NULL));
    expect_ok(f->C_Finalize(NULL));
    expect_not_initialized(f, EVERY_2_40);
    expect_not_initialized(list_3_0(), EVERY_3_0);
}

/* ---- hostile arguments to everything ---- */

static bool begins_with_pointer(size_t i)
{
    return strcmp(every_name[i], "C_GetInfo") == 0 || every_needs_no_init(i);
}

static void test_zero_arguments(void **state)
{
    (void)state;
    CK_SESSION_HANDLE s;
    struct every_list *list = list_3_0();
    expect_ok(f->C_Initialize(NULL));
    static const CK_SESSION_HANDLE wrong[] = {0, 1UL << 40, ~0UL};
    for (size_t i = 0; i < EVERY_3_0; i++) {
        static const char *const skipped[] = {"C_Initialize", "C_Finalize", "C_WaitForSlotEvent",
                                              "C_CloseAllSessions"};
        bool skip_it = false;
        for (size_t k = 0; k < 4; k++)
            skip_it |= strcmp(every_name[i], skipped[k]) == 0;
        if (skip_it)
            continue;
        expect_case("%s", every_name[i]);
        CK_RV rv = every_call(list, i, zeros);
        expect(rv != CKR_OK, "CKR_OK for zeros");
        for (size_t k = 0; k < 3 && !begins_with_pointer(i); k++) {
            CK_ULONG a[10] = {wrong[k]};
            rv = every_call(list, i, a);
            expect(rv != CKR_OK && rv != CKR_CRYPTOKI_NOT_INITIALIZED, "session 0x%lx: %s", wrong[k],
                   rv_name(rv));
        }
    }
    expect_case("a good session, nothing else");
    s = harness_session_rw("main");
    for (size_t i = 0; i < EVERY_3_0; i++) {
        static const char *const fine[] = {"C_Initialize",       "C_Finalize",       "C_CloseSession",
                                           "C_CloseAllSessions", "C_GetSlotList",    "C_WaitForSlotEvent",
                                           "C_SeedRandom",       "C_GenerateRandom", "C_SessionCancel"};
        bool skip_it = false;
        for (size_t k = 0; k < sizeof fine / sizeof *fine; k++)
            skip_it |= strcmp(every_name[i], fine[k]) == 0;
        if (skip_it || begins_with_pointer(i))
            continue;
        expect_case("%s", every_name[i]);
        CK_ULONG a[10] = {s};
        CK_RV rv = every_call(list, i, a);
        if (strcmp(every_name[i], "C_FindObjectsInit") == 0) {
            expect_rv(CKR_OK, rv); /* no attributes: all objects */
            expect_ok(f->C_FindObjectsFinal(s));
        } else if (strstr(every_name[i], "AttributeValue")) {
            expect_rv_in(rv, CKR_OBJECT_HANDLE_INVALID, CKR_ARGUMENTS_BAD);
        } else if (strcmp(every_name[i], "C_SignInit") == 0 || strcmp(every_name[i], "C_VerifyInit") == 0) {
            /* 3.0: no mechanism ends an operation. There is none. */
            expect_rv_in(rv, CKR_OK, CKR_ARGUMENTS_BAD, CKR_OPERATION_NOT_INITIALIZED);
        } else {
            expect(rv != CKR_OK, "CKR_OK");
        }
    }
    expect_ok(f->C_Finalize(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_function_list),   TOKEN_TEST(test_interfaces),     TOKEN_TEST(test_exports),
        TOKEN_TEST(test_not_initialized), TOKEN_TEST(test_zero_arguments),
    };
    module = harness_load();
    harness_conf("%s", CONF_MANUAL);
    *(void **)&get_interface = dlsym(module, "C_GetInterface");
    *(void **)&get_interface_list = dlsym(module, "C_GetInterfaceList");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
