/* SPDX-License-Identifier: BSD-2-Clause */
/* C_CreateObject, C_CopyObject, C_SetAttributeValue, C_DestroyObject (PKCS#11 2.40, 4.1 and 5.7), with
 * templates of all kinds. */
#include "conf.h"
#include "guard.h"
#include "harness.h"
#include "oracle.h"

static CK_SESSION_HANDLE s; /* read-write, on "main" */

static void start(void)
{
    harness_conf("%s", CONF_MANUAL);
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("main");
}

static void expect_bytes(CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type, const void *want, size_t len)
{
    uint8_t got[600];
    size_t n = object_bytes(s, o, type, got, sizeof got);
    expect(n == len && memcmp(got, want, len) == 0, "attribute 0x%lx: %zd bytes \"%.*s\"", type, (ssize_t)n,
           n < sizeof got ? (int)n : 0, (const char *)got);
}

/* ---- C_CreateObject ---- */

static void test_create(void **state)
{
    (void)state;
    uint8_t value[64];
    start();
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)i;
    CK_OBJECT_HANDLE o = object_import(s, guard_frozen(value, 33), 33);
    const struct {
        CK_ATTRIBUTE_TYPE type;
        int want;
    } bools[] = {{CKA_TOKEN, 0},
                 {CKA_SENSITIVE, 0},
                 {CKA_ALWAYS_SENSITIVE, 0},
                 {CKA_EXTRACTABLE, 1},
                 {CKA_NEVER_EXTRACTABLE, 0},
                 {CKA_LOCAL, 0},
                 {CKA_DERIVE, 1},
                 {CKA_SIGN, 1},
                 {CKA_DESTROYABLE, 1}};
    for (size_t i = 0; i < sizeof bools / sizeof *bools; i++)
        expect(object_bool(s, o, bools[i].type) == bools[i].want, "attribute 0x%lx is %d", bools[i].type,
               object_bool(s, o, bools[i].type));
    expect(object_number(s, o, CKA_VALUE_LEN) == 33, "length %lu", object_number(s, o, CKA_VALUE_LEN));
    expect_bytes(o, CKA_VALUE, value, 33);
    expect_bytes(o, CKA_LABEL, "", 0);
    expect_bytes(o, CKA_ID, "", 0);
    expect_ok(f->C_DestroyObject(s, o));
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_DestroyObject(s, o));

    /* sensitive or not extractable: not readable; ALWAYS_ and NEVER_ are false for what came from outside */
    for (int kind = 0; kind < 2; kind++) {
        struct template t;
        template_secret(&t);
        template_bytes(&t, CKA_VALUE, value, 32);
        template_bool(&t, kind ? CKA_SENSITIVE : CKA_EXTRACTABLE, kind);
        template_text(&t, CKA_LABEL, "a label");
        template_bytes(&t, CKA_ID, "\0\1\2", 3);
        require_ok(f->C_CreateObject(s, t.a, t.n, &o));
        CK_ATTRIBUTE a = {CKA_VALUE, value, sizeof value};
        expect_rv(CKR_ATTRIBUTE_SENSITIVE, f->C_GetAttributeValue(s, o, &a, 1));
        expect(object_bool(s, o, CKA_ALWAYS_SENSITIVE) == 0 && object_bool(s, o, CKA_NEVER_EXTRACTABLE) == 0,
               "ALWAYS_SENSITIVE or NEVER_EXTRACTABLE");
        expect_bytes(o, CKA_LABEL, "a label", 7);
        expect_bytes(o, CKA_ID, "\0\1\2", 3);
    }
    /* the HMAC key types */
    for (size_t i = 0; i < 4; i++) {
        struct template t;
        template_secret(&t);
        t.numbers[1] = oracle_prfs[i].key_type;
        template_bytes(&t, CKA_VALUE, value, 32);
        template_bool(&t, CKA_SIGN, true);
        expect_case("%s", oracle_prfs[i].name);
        expect_ok(f->C_CreateObject(s, t.a, t.n, &o));
        expect(object_number(s, o, CKA_KEY_TYPE) == oracle_prfs[i].key_type, "type 0x%lx",
               object_number(s, o, CKA_KEY_TYPE));
    }
    /* a caller's ID may be a PPK's: his key is a session object, and the PPK stays what it is */
    expect_case("an ID twice");
    struct template t;
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, value, 32);
    template_text(&t, CKA_ID, MANUAL_1_ID);
    CK_RV rv = f->C_CreateObject(s, t.a, t.n, &o);
    if (rv == CKR_OK) {
        expect(object_number(s, o, CKA_PPK_KIND) == CK_UNAVAILABLE_INFORMATION, "claims to be a PPK");
        struct template by_id = {.n = 0};
        template_text(&by_id, CKA_ID, MANUAL_1_ID);
        template_bool(&by_id, CKA_TOKEN, true);
        expect(object_only(s, &by_id) != o, "replaced the PPK");
    }
    /* in a read-only session, too: it is a session object */
    CK_SESSION_HANDLE ro = harness_session("main");
    object_import(ro, value, 32);
}

static void test_create_refused(void **state)
{
    (void)state;
    static uint8_t value[100000];
    static CK_ULONG number;
    start();
    enum { C = CKA_CLASS, K = CKA_KEY_TYPE, V = CKA_VALUE };
    const CK_RV incomplete[] = {CKR_TEMPLATE_INCOMPLETE}, bad_value[] = {CKR_ATTRIBUTE_VALUE_INVALID},
                bad_pointer[] = {CKR_ARGUMENTS_BAD, CKR_ATTRIBUTE_VALUE_INVALID};
    const CK_RV bad_type[] = {CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT},
                read_only[] = {CKR_ATTRIBUTE_READ_ONLY},
                not_mine[] = {CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_TYPE_INVALID};
    const CK_RV inconsistent[] = {CKR_TEMPLATE_INCONSISTENT};
    const CK_RV no_token[] = {CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT,
                              CKR_TOKEN_WRITE_PROTECTED};
    const CK_RV no_class[] = {CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT,
                              CKR_FUNCTION_NOT_SUPPORTED};
    const CK_RV size[] = {CKR_KEY_SIZE_RANGE, CKR_ATTRIBUTE_VALUE_INVALID};
    /* Each changes the good template: takes out (len = GONE), or sets or adds an attribute. */
    enum { GONE = 0x10000 };
#define RVS(x) x, sizeof(x) / sizeof(CK_RV)
    const struct {
        const char *what;
        CK_ATTRIBUTE_TYPE type;
        const void *value;
        CK_ULONG len;
        bool twice; /* add it though it is there */
        const CK_RV *rvs;
        size_t n_rvs;
    } cases[] = {
        {"no class", C, NULL, GONE, false, RVS(incomplete)},
        {"no key type", K, NULL, GONE, false, RVS(incomplete)},
        {"no value", V, NULL, GONE, false, RVS(incomplete)},
        {"class of 4 bytes", C, "\4\0\0\0", 4, false, RVS(bad_value)},
        {"class of 0 bytes", C, "", 0, false, RVS(bad_value)},
        {"class of 9 bytes", C, "\4\0\0\0\0\0\0\0\0", 9, false, RVS(bad_value)},
        {"key type of 1 byte", K, "\x10", 1, false, RVS(bad_value)},
        {"token of 4 bytes", CKA_TOKEN, "\0\0\0\0", 4, false, RVS(bad_value)},
        {"sign of 0 bytes", CKA_SIGN, "", 0, false, RVS(bad_value)},
        {"sign = 2", CKA_SIGN, "\2", 1, false, RVS(bad_value)},
        {"class NULL", C, NULL, 8, false, RVS(bad_pointer)},
        {"token NULL", CKA_TOKEN, NULL, 1, false, RVS(bad_pointer)},
        {"value NULL", V, NULL, 32, false, RVS(bad_pointer)},
        {"label NULL", CKA_LABEL, NULL, 5, false, RVS(bad_pointer)},
        {"label of ULONG_MAX", CKA_LABEL, NULL, ~0UL, false, RVS(bad_pointer)},
        {"token object", CKA_TOKEN, "\1", 1, false, RVS(no_token)},
        {"a data object", C, "\0\0\0\0\0\0\0\0", 8, false, RVS(no_class)},
        {"a certificate", C, "\1\0\0\0\0\0\0\0", 8, false, RVS(no_class)},
        {"a private key", C, "\3\0\0\0\0\0\0\0", 8, false, RVS(no_class)},
        {"an unknown class", C, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, false, RVS(no_class)},
        {"an unknown key type", K, "\x77\x77\x77\0\0\0\0\0", 8, false, RVS(no_class)},
        {"an RSA key", K, "\0\0\0\0\0\0\0\0", 8, false, RVS(no_class)},
        {"an unknown attribute", 0x7777, "x", 1, false, RVS(bad_type)},
        {"an unknown vendor attribute", CKA_VENDOR_DEFINED | 0x4711, "x", 1, false, RVS(bad_type)},
        {"an RSA attribute", CKA_MODULUS, "x", 1, false, RVS(bad_type)},
        {"local", CKA_LOCAL, "\1", 1, false, RVS(read_only)},
        {"always sensitive", CKA_ALWAYS_SENSITIVE, "\1", 1, false, RVS(read_only)},
        {"never extractable", CKA_NEVER_EXTRACTABLE, "\1", 1, false, RVS(read_only)},
        {"key generation mechanism", CKA_KEY_GEN_MECHANISM, "\x50\3\0\0\0\0\0\0", 8, false, RVS(read_only)},
        {"kind", CKA_PPK_KIND, "\1\0\0\0\0\0\0\0", 8, false, RVS(read_only)},
        {"peer", CKA_PPK_PEER, "alpha", 5, false, RVS(not_mine)},
        {"class twice", C, "\2\0\0\0\0\0\0\0", 8, true, RVS(inconsistent)},
        {"token twice", CKA_TOKEN, "\1", 1, true, RVS(inconsistent)},
        {"value twice", V, "0123456789", 10, true, RVS(inconsistent)},
        {"a value of no bytes", V, "", 0, false, RVS(size)},
        {"a value of 100,000 bytes", V, value, sizeof value, false, RVS(size)},
        {"allowed mechanisms of 5 bytes", CKA_ALLOWED_MECHANISMS, "12345", 5, false, RVS(bad_value)},
        {"allowed mechanisms NULL", CKA_ALLOWED_MECHANISMS, NULL, 16, false, RVS(bad_pointer)},
    };
    struct template empty = {.n = 0};
    size_t before = object_search(s, &empty, NULL, 0, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct template t;
        CK_OBJECT_HANDLE o = 4711;
        template_secret(&t);
        template_bytes(&t, CKA_VALUE, value, 32);
        CK_ATTRIBUTE *a = template_entry(&t, cases[i].type);
        if (cases[i].len == GONE) {
            *a = t.a[--t.n];
        } else {
            const void *copy = cases[i].value ? guard_frozen(cases[i].value, cases[i].len) : NULL;
            if (a && !cases[i].twice)
                *a = (CK_ATTRIBUTE){cases[i].type, (void *)(uintptr_t)copy, cases[i].len};
            else
                template_bytes(&t, cases[i].type, copy, cases[i].len);
        }
        CK_ATTRIBUTE *frozen = guard_frozen(t.a, t.n * sizeof *t.a);
        expect_case("%s", cases[i].what);
        expect_rv_at(f->C_CreateObject(s, frozen, t.n, &o), cases[i].rvs, cases[i].n_rvs, "C_CreateObject",
                     __FILE__, __LINE__);
    }
    expect_case("arguments");
    struct template t;
    CK_OBJECT_HANDLE o;
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, value, 32);
    expect_rv(CKR_ARGUMENTS_BAD, f->C_CreateObject(s, t.a, t.n, NULL));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_CreateObject(s, NULL, t.n, &o));
    expect_rv_in(f->C_CreateObject(s, NULL, 0, &o), CKR_TEMPLATE_INCOMPLETE, CKR_ARGUMENTS_BAD);
    for (int shift = 40; shift < 64; shift += 4) /* must be refused before it is walked */
        expect_rv_in(f->C_CreateObject(s, t.a, 1UL << shift, &o), CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY,
                     CKR_TEMPLATE_INCONSISTENT);
    /* another CKA_VALUE_LEN than the value's is no key of the value's length */
    number = 16;
    template_bytes(&t, CKA_VALUE_LEN, &number, sizeof number);
    expect_error(f->C_CreateObject(s, t.a, t.n, &o));
    expect_case("after all");
    expect(object_search(s, &empty, NULL, 0, NULL) == before, "something was created");
}

/* ---- copy, change, destroy ---- */

static CK_RV set_bool(CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type, bool value)
{
    CK_BBOOL b = value;
    CK_ATTRIBUTE a = {type, &b, 1};
    return f->C_SetAttributeValue(s, o, &a, 1);
}

static void test_change(void **state)
{
    (void)state;
    uint8_t value[32] = {1};
    start();
    CK_OBJECT_HANDLE o = object_import(s, value, 32), copy = 0;
    CK_ATTRIBUTE label = {CKA_LABEL, (void *)(uintptr_t) "new", 3};
    expect_ok(f->C_SetAttributeValue(s, o, &label, 1));
    expect_bytes(o, CKA_LABEL, "new", 3);
    CK_ATTRIBUTE a = {CKA_VALUE, value, 32};
    expect_rv_in(f->C_SetAttributeValue(s, o, &a, 1), CKR_ATTRIBUTE_READ_ONLY);
    CK_ULONG number = 16;
    a = (CK_ATTRIBUTE){CKA_VALUE_LEN, &number, sizeof number};
    expect_rv_in(f->C_SetAttributeValue(s, o, &a, 1), CKR_ATTRIBUTE_READ_ONLY);
    number = CKK_SHA256_HMAC;
    a = (CK_ATTRIBUTE){CKA_KEY_TYPE, &number, sizeof number};
    expect_rv_in(f->C_SetAttributeValue(s, o, &a, 1), CKR_ATTRIBUTE_READ_ONLY);
    a = (CK_ATTRIBUTE){CKA_CLASS, &number, sizeof number};
    expect_rv_in(f->C_SetAttributeValue(s, o, &a, 1), CKR_ATTRIBUTE_READ_ONLY);
    expect_rv(CKR_ATTRIBUTE_READ_ONLY, set_bool(o, CKA_TOKEN, true));
    expect_rv(CKR_ATTRIBUTE_READ_ONLY, set_bool(o, CKA_LOCAL, true));
    expect_rv_in(set_bool(o, CKA_NEVER_EXTRACTABLE, true), CKR_ATTRIBUTE_READ_ONLY);
    expect_rv_in(set_bool(o, 0x7777, true), CKR_ATTRIBUTE_TYPE_INVALID);
    expect_rv_in(f->C_SetAttributeValue(s, o, NULL, 1), CKR_ARGUMENTS_BAD);
    a = (CK_ATTRIBUTE){CKA_LABEL, NULL, 4};
    expect_rv_in(f->C_SetAttributeValue(s, o, &a, 1), CKR_ARGUMENTS_BAD, CKR_ATTRIBUTE_VALUE_INVALID);
    a = (CK_ATTRIBUTE){CKA_SIGN, value, 2};
    expect_rv_in(f->C_SetAttributeValue(s, o, &a, 1), CKR_ATTRIBUTE_VALUE_INVALID);
    /* all or nothing: the first is good, the second is not */
    CK_ATTRIBUTE two[] = {{CKA_LABEL, (void *)(uintptr_t) "half", 4}, {CKA_VALUE, value, 32}};
    expect_error(f->C_SetAttributeValue(s, o, two, 2));
    expect_bytes(o, CKA_LABEL, "new", 3);
    /* one way only */
    expect_ok(set_bool(o, CKA_SENSITIVE, true));
    expect_rv(CKR_ATTRIBUTE_READ_ONLY, set_bool(o, CKA_SENSITIVE, false));
    expect(object_bool(s, o, CKA_SENSITIVE) == 1, "not sensitive any more");
    a = (CK_ATTRIBUTE){CKA_VALUE, value, 32};
    expect_rv(CKR_ATTRIBUTE_SENSITIVE, f->C_GetAttributeValue(s, o, &a, 1));
    expect_ok(set_bool(o, CKA_EXTRACTABLE, false));
    expect_rv(CKR_ATTRIBUTE_READ_ONLY, set_bool(o, CKA_EXTRACTABLE, true));
    expect(object_bool(s, o, CKA_EXTRACTABLE) == 0, "extractable again");
    expect(object_bool(s, o, CKA_ALWAYS_SENSITIVE) == 0 && object_bool(s, o, CKA_NEVER_EXTRACTABLE) == 0,
           "history is rewritten");

    /* A copy is not less protected, whatever its template says. */
    CK_RV rv = f->C_CopyObject(s, o, NULL, 0, &copy);
    if (rv != CKR_FUNCTION_NOT_SUPPORTED && expect_rv(CKR_OK, rv)) {
        expect(copy != o && object_bool(s, copy, CKA_SENSITIVE) == 1 &&
                   object_bool(s, copy, CKA_EXTRACTABLE) == 0,
               "less protected");
        CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
        CK_ATTRIBUTE clear = {CKA_SENSITIVE, &no, 1}, extract = {CKA_EXTRACTABLE, &yes, 1},
                     token = {CKA_TOKEN, &yes, 1};
        expect_rv_in(f->C_CopyObject(s, o, &clear, 1, &copy), CKR_ATTRIBUTE_READ_ONLY,
                     CKR_TEMPLATE_INCONSISTENT);
        expect_rv_in(f->C_CopyObject(s, o, &extract, 1, &copy), CKR_ATTRIBUTE_READ_ONLY,
                     CKR_TEMPLATE_INCONSISTENT);
        expect_rv_in(f->C_CopyObject(s, o, &token, 1, &copy), CKR_ATTRIBUTE_VALUE_INVALID,
                     CKR_TEMPLATE_INCONSISTENT, CKR_TOKEN_WRITE_PROTECTED, CKR_ATTRIBUTE_READ_ONLY);
    }
    /* CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE = FALSE bind their maker, too. */
    struct template t;
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, value, 32);
    template_bool(&t, CKA_MODIFIABLE, false);
    template_bool(&t, CKA_COPYABLE, false);
    template_bool(&t, CKA_DESTROYABLE, false);
    require_ok(f->C_CreateObject(s, t.a, t.n, &o));
    expect_rv(CKR_ACTION_PROHIBITED, f->C_SetAttributeValue(s, o, &label, 1));
    expect_rv_in(f->C_CopyObject(s, o, NULL, 0, &copy), CKR_ACTION_PROHIBITED, CKR_FUNCTION_NOT_SUPPORTED);
    expect_rv(CKR_ACTION_PROHIBITED, f->C_DestroyObject(s, o));
}

/* What the configuration made, nobody changes, copies or destroys. */
static void test_configured_keys_are_fixed(void **state)
{
    (void)state;
    start();
    const CK_OBJECT_HANDLE fixed[] = {object_by_id(s, MANUAL_1_ID, strlen(MANUAL_1_ID)),
                                      object_by_label(s, "alpha/psk")};
    for (size_t i = 0; i < 2; i++) {
        CK_OBJECT_HANDLE o = fixed[i], copy = 0;
        expect_case("key %zu", i);
        const CK_ATTRIBUTE_TYPE types[] = {CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_MODIFIABLE,
                                           CKA_COPYABLE,  CKA_DESTROYABLE, CKA_ENCRYPT,
                                           CKA_WRAP,      CKA_TOKEN,       CKA_DERIVE};
        for (size_t k = 0; k < sizeof types / sizeof *types; k++)
            for (int v = 0; v < 2; v++)
                expect_rv_in(set_bool(o, types[k], v), CKR_ACTION_PROHIBITED, CKR_ATTRIBUTE_READ_ONLY);
        CK_ATTRIBUTE label = {CKA_LABEL, (void *)(uintptr_t) "mine", 4};
        expect_rv_in(f->C_SetAttributeValue(s, o, &label, 1), CKR_ACTION_PROHIBITED);
        expect_rv_in(f->C_CopyObject(s, o, NULL, 0, &copy), CKR_ACTION_PROHIBITED,
                     CKR_FUNCTION_NOT_SUPPORTED);
        expect_rv_in(f->C_CopyObject(s, o, &label, 1, &copy), CKR_ACTION_PROHIBITED,
                     CKR_FUNCTION_NOT_SUPPORTED);
        CK_BBOOL no = CK_FALSE;
        CK_ATTRIBUTE session = {CKA_TOKEN, &no, 1};
        expect_rv_in(f->C_CopyObject(s, o, &session, 1, &copy), CKR_ACTION_PROHIBITED,
                     CKR_FUNCTION_NOT_SUPPORTED);
        expect_rv(CKR_ACTION_PROHIBITED, f->C_DestroyObject(s, o));
        expect(object_bool(s, o, CKA_SENSITIVE) == 1 && object_bool(s, o, CKA_EXTRACTABLE) == 0,
               "it has changed");
    }
    CK_SESSION_HANDLE ro = harness_session("main");
    expect_rv_in(f->C_DestroyObject(ro, fixed[0]), CKR_ACTION_PROHIBITED, CKR_SESSION_READ_ONLY);
}

/* The one thing that an IKE stack may tell of a PPK, and of nothing else. */
static void test_outcome(void **state)
{
    const uint8_t value[32] = {0x5a};
    CK_BBOOL yes = CK_TRUE, odd = 2;
    CK_ULONG number = 1;
    CK_ATTRIBUTE outcome = {CKA_PPK_OUTCOME, &yes, 1};
    const CK_ATTRIBUTE bad[] = {{CKA_PPK_OUTCOME, NULL, 1},
                                {CKA_PPK_OUTCOME, &yes, 0},
                                {CKA_PPK_OUTCOME, &odd, 1},
                                {CKA_PPK_OUTCOME, &number, sizeof number}};
    const CK_ATTRIBUTE two[] = {{CKA_PPK_OUTCOME, &yes, 1}, {CKA_LABEL, (void *)(uintptr_t) "mine", 4}};
    CK_OBJECT_HANDLE manual, psk;

    (void)state;
    start();
    manual = object_by_id(s, MANUAL_1_ID, strlen(MANUAL_1_ID));
    psk = object_by_label(s, "alpha/psk");
    expect_rv(CKR_OK, f->C_SetAttributeValue(s, manual, &outcome, 1));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CK_ATTRIBUTE a = bad[i];
        expect_case("value %zu", i);
        expect_rv(CKR_ATTRIBUTE_VALUE_INVALID, f->C_SetAttributeValue(s, manual, &a, 1));
    }
    expect_case("elsewhere");
    expect_rv(CKR_ACTION_PROHIBITED, f->C_SetAttributeValue(s, manual, (CK_ATTRIBUTE[]){two[0], two[1]}, 2));
    expect_rv(CKR_ACTION_PROHIBITED, f->C_SetAttributeValue(s, manual, (CK_ATTRIBUTE[]){two[1], two[0]}, 2));
    expect_rv(CKR_ACTION_PROHIBITED, f->C_SetAttributeValue(s, psk, &outcome, 1));
    expect_error(f->C_SetAttributeValue(s, object_import(s, value, 32), &outcome, 1));
    expect_rv(CKR_ATTRIBUTE_TYPE_INVALID, f->C_GetAttributeValue(s, manual, &outcome, 1));
    expect(outcome.ulValueLen == CK_UNAVAILABLE_INFORMATION, "it can be read");
    expect_bytes(manual, CKA_ID, MANUAL_1_ID, strlen(MANUAL_1_ID));
    expect_bytes(psk, CKA_LABEL, "alpha/psk", 9);
}

/* An object destroyed in one session is gone in all; its handle never comes again. */
static void test_handles(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    uint8_t value[32] = {0};
    start();
    CK_OBJECT_HANDLE last = 0, first = object_import(s, value, 32);
    last = first;
    for (int i = 0; i < MANY; i++) {
        CK_OBJECT_HANDLE o = object_import(s, value, 32);
        expect(o > last || o != first, "handle %lu again", o);
        if (o == last || o == first)
            break;
        last = o;
        expect_ok(f->C_DestroyObject(s, o));
    }
    CK_SESSION_HANDLE other = harness_session("main");
    expect_ok(f->C_DestroyObject(other, first));
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    expect_rv(CKR_KEY_HANDLE_INVALID, f->C_SignInit(s, &hmac, first));
    /* an operation that has the key goes on, or ends with an error; the key is not mixed up with another */
    CK_OBJECT_HANDLE o = object_import(s, value, 32);
    expect_ok(f->C_SignInit(s, &hmac, o));
    expect_ok(f->C_DestroyObject(other, o));
    uint8_t mac[32], want[64];
    CK_ULONG n = 32;
    CK_RV rv = f->C_Sign(s, value, 3, mac, &n);
    oracle_hmac(&oracle_prfs[1], value, 32, value, 3, want);
    if (rv == CKR_OK)
        expect(memcmp(mac, want, 32) == 0, "another MAC");
    else
        expect_rv_in(rv, CKR_KEY_HANDLE_INVALID, CKR_OPERATION_NOT_INITIALIZED, CKR_OBJECT_HANDLE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_create),  TOKEN_TEST(test_create_refused),
        TOKEN_TEST(test_change),  TOKEN_TEST(test_configured_keys_are_fixed),
        TOKEN_TEST(test_handles), TOKEN_TEST(test_outcome),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
