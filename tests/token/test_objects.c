/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects and their attributes: DESIGN, "One token per keyring"; PKCS#11 2.40, 4 and 5.7. */
#include "conf.h"
#include "guard.h"
#include "harness.h"
#include "oracle.h"

#include <stdlib.h>

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

/* CKA_VALUE and whatever else would show bits of the key */
static void expect_closed(CK_OBJECT_HANDLE o)
{
    uint8_t out[100];
    memset(out, 0xA5, sizeof out);
    for (int with_buffer = 0; with_buffer < 2; with_buffer++) {
        CK_ATTRIBUTE a = {CKA_VALUE, with_buffer ? out : NULL, with_buffer ? sizeof out : 0};
        expect_rv(CKR_ATTRIBUTE_SENSITIVE, f->C_GetAttributeValue(s, o, &a, 1));
        expect(a.ulValueLen == CK_UNAVAILABLE_INFORMATION, "length %lu", a.ulValueLen);
        a = (CK_ATTRIBUTE){CKA_CHECK_VALUE, with_buffer ? out : NULL, with_buffer ? sizeof out : 0};
        CK_RV rv = f->C_GetAttributeValue(s, o, &a, 1);
        expect(rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE ||
                   (rv == CKR_OK && a.ulValueLen == 0),
               "CKA_CHECK_VALUE: %s, length %lu", rv_name(rv), a.ulValueLen);
    }
    for (size_t i = 0; i < sizeof out; i++)
        if (out[i] != 0xA5) {
            expect(false, "the buffer was written at %zu", i);
            break;
        }
}

static void expect_configured_key(CK_OBJECT_HANDLE o, size_t len, CK_ULONG kind)
{
    const struct {
        CK_ATTRIBUTE_TYPE type;
        int want;
    } bools[] = {
        {CKA_TOKEN, 1},       {CKA_SENSITIVE, 1},   {CKA_ALWAYS_SENSITIVE, 1},
        {CKA_EXTRACTABLE, 0}, {CKA_MODIFIABLE, 0},  {CKA_COPYABLE, 0},
        {CKA_DERIVE, 1},      {CKA_SIGN, 1},        {CKA_VERIFY, 1},
        {CKA_ENCRYPT, 0},     {CKA_DECRYPT, 0},     {CKA_WRAP, 0},
        {CKA_UNWRAP, 0},      {CKA_DESTROYABLE, 0}, {CKA_LOCAL, 0},
    };
    for (size_t i = 0; i < sizeof bools / sizeof *bools; i++)
        expect(object_bool(s, o, bools[i].type) == bools[i].want, "attribute 0x%lx is %d, not %d",
               bools[i].type, object_bool(s, o, bools[i].type), bools[i].want);
    expect(object_bool(s, o, CKA_PRIVATE) >= 0, "no CKA_PRIVATE");
    expect(object_bool(s, o, CKA_NEVER_EXTRACTABLE) >= 0, "no CKA_NEVER_EXTRACTABLE");
    expect(object_number(s, o, CKA_CLASS) == CKO_SECRET_KEY, "class %lu", object_number(s, o, CKA_CLASS));
    expect(object_number(s, o, CKA_KEY_TYPE) == CKK_GENERIC_SECRET, "type %lu",
           object_number(s, o, CKA_KEY_TYPE));
    expect(object_number(s, o, CKA_VALUE_LEN) == len, "length %lu", object_number(s, o, CKA_VALUE_LEN));
    expect(object_number(s, o, CKA_PPK_KIND) == kind, "kind %lu", object_number(s, o, CKA_PPK_KIND));
    CK_ULONG generated = 1;
    CK_ATTRIBUTE a = {CKA_KEY_GEN_MECHANISM, &generated, sizeof generated};
    expect_ok(f->C_GetAttributeValue(s, o, &a, 1));
    expect(generated == CK_UNAVAILABLE_INFORMATION, "CKA_KEY_GEN_MECHANISM 0x%lx of a key that is not local",
           generated);
    CK_MECHANISM_TYPE allowed[32];
    size_t n = object_bytes(s, o, CKA_ALLOWED_MECHANISMS, allowed, sizeof allowed);
    require(n != (size_t)-1 && n % sizeof *allowed == 0 && n > 0, "CKA_ALLOWED_MECHANISMS: %zd bytes",
            (ssize_t)n);
    for (size_t i = 0; i < n / sizeof *allowed; i++) {
        static const CK_MECHANISM_TYPE may[] = {
            CKM_IKE2_PRF_PLUS_DERIVE, CKM_IKE_PRF_DERIVE, CKM_NSS_IKE_PRF_PLUS_DERIVE,
            CKM_NSS_IKE_PRF_DERIVE,   CKM_SHA_1_HMAC,     CKM_SHA256_HMAC,
            CKM_SHA384_HMAC,          CKM_SHA512_HMAC};
        bool known = false;
        for (size_t k = 0; k < sizeof may / sizeof *may; k++)
            known |= allowed[i] == may[k];
        expect(known, "mechanism 0x%lx is allowed", allowed[i]);
    }
    expect_closed(o);
}

static void test_manual_ppk(void **state)
{
    (void)state;
    start();
    CK_OBJECT_HANDLE one = object_by_id(s, MANUAL_1_ID, strlen(MANUAL_1_ID)),
                     two = object_by_id(s, MANUAL_2_ID, strlen(MANUAL_2_ID));
    expect(one != two, "one object for both");
    expect_case("manual PPK 1");
    expect_configured_key(one, 32, PPK_KIND_MANUAL);
    expect_bytes(one, CKA_ID, MANUAL_1_ID, strlen(MANUAL_1_ID));
    expect_bytes(one, CKA_LABEL, "alpha", 5);
    expect_bytes(one, CKA_PPK_PEER, "alpha", 5);
    expect_bytes(one, CKA_PPK_PEER_ADDRESS, "\x0a\x01\x00\x00", 4);
    expect(object_bool(s, one, CKA_PPK_REQUIRED) == 1, "required is %d",
           object_bool(s, one, CKA_PPK_REQUIRED));
    expect_case("manual PPK 2");
    expect_configured_key(two, 64, PPK_KIND_MANUAL);
    expect_bytes(two, CKA_ID, MANUAL_2_ID, strlen(MANUAL_2_ID));
    expect_bytes(two, CKA_LABEL, "beta", 4);
    expect(object_bool(s, two, CKA_PPK_REQUIRED) == 0, "required is %d",
           object_bool(s, two, CKA_PPK_REQUIRED));
    uint8_t some[64];
    CK_ATTRIBUTE profile = {CKA_PPK_SKS_PROFILE, some, sizeof some};
    expect_rv(CKR_ATTRIBUTE_TYPE_INVALID, f->C_GetAttributeValue(s, one, &profile, 1));
    expect_case("another token");
    CK_SESSION_HANDLE strict = harness_session("strict");
    struct template t = {.n = 0};
    template_text(&t, CKA_ID, MANUAL_1_ID);
    expect(object_search(strict, &t, NULL, 0, NULL) == 0, "has this token's key");
    CK_ULONG n;
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_GetObjectSize(strict, one, &n));
}

static void test_psk(void **state)
{
    (void)state;
    start();
    CK_OBJECT_HANDLE psk = object_by_label(s, "alpha/psk");
    expect_configured_key(psk, strlen(PSK_ALPHA), PPK_KIND_PSK);
    expect_bytes(psk, CKA_ID, "", 0);
    expect_bytes(psk, CKA_LABEL, "alpha/psk", 9);
    expect_bytes(psk, CKA_PPK_PEER, "alpha", 5);
    /* beta has none */
    struct template t = {.n = 0};
    template_text(&t, CKA_LABEL, "beta/psk");
    expect(object_search(s, &t, NULL, 0, NULL) == 0, "beta/psk is there");
}

static void test_peer_data(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE found[8];
    char json[1000];
    start();
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_DATA);
    template_text(&t, CKA_APPLICATION, PPK_PEER_APPLICATION);
    expect(object_search(s, &t, found, 8, NULL) == 2, "not two peers");
    template_text(&t, CKA_LABEL, "alpha");
    CK_OBJECT_HANDLE alpha = object_only(s, &t);
    template_entry(&t, CKA_LABEL)->pValue = (void *)(uintptr_t) "beta";
    template_entry(&t, CKA_LABEL)->ulValueLen = 4;
    CK_OBJECT_HANDLE beta = object_only(s, &t);
    expect(object_bool(s, alpha, CKA_PPK_REQUIRED) == 1 && object_bool(s, beta, CKA_PPK_REQUIRED) == 0,
           "required: %d, %d", object_bool(s, alpha, CKA_PPK_REQUIRED),
           object_bool(s, beta, CKA_PPK_REQUIRED));
    expect(object_number(s, alpha, CKA_PPK_KIND) == PPK_KIND_MANUAL, "kind %lu",
           object_number(s, alpha, CKA_PPK_KIND));
    expect(object_bool(s, alpha, CKA_TOKEN) == 1 && object_bool(s, alpha, CKA_MODIFIABLE) == 0,
           "not a fixed token object");
    expect_bytes(alpha, CKA_PPK_PEER, "alpha", 5);
    expect_bytes(alpha, CKA_APPLICATION, PPK_PEER_APPLICATION, strlen(PPK_PEER_APPLICATION));
    size_t n = object_bytes(s, alpha, CKA_VALUE, json, sizeof json - 1);
    require(n < sizeof json, "no CKA_VALUE");
    json[n] = '\0';
    expect(json[0] == '{' && json[n - 1] == '}' && strstr(json, "alpha") && !strchr(json, '\n'),
           "CKA_VALUE %s", json);
    expect(!strstr(json, PSK_ALPHA) && !strstr(json, MANUAL_1_HEX), "CKA_VALUE has secrets");
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    expect_rv_in(f->C_SignInit(s, &hmac, alpha), CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT);
    expect_rv(CKR_ACTION_PROHIBITED, f->C_DestroyObject(s, alpha));
    expect_rv_in(f->C_CopyObject(s, alpha, NULL, 0, &beta), CKR_ACTION_PROHIBITED,
                 CKR_FUNCTION_NOT_SUPPORTED);
}

static bool same_peer(CK_OBJECT_HANDLE o, const char *name)
{
    char got[64];
    size_t n = object_bytes(s, o, CKA_PPK_PEER, got, sizeof got);
    return n == strlen(name) && memcmp(got, name, n) == 0;
}

/* Searches by address: longest prefix; IPv6; none; of a wrong length. */
static void test_address_search(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        CK_ULONG len;
        const char *peer; /* NULL: nobody */
    } cases[] = {
        {"\x0a\x01\x01\x05", 4, "alpha"},
        {"\x0a\x01\x02\x05", 4, "beta"},
        {"\x0a\x01\xff\xff", 4, "alpha"},
        {"\x0a\x02\x02\x05", 4, NULL},
        {"\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x05", 16, "beta"},
        {"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16, NULL},
        {"\x0a\x01\x01", 3, NULL},
        {"\x0a\x01\x01\x05\x00", 5, NULL},
        {"", 0, NULL},
    };
    start();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_case("case %zu", i);
        CK_OBJECT_HANDLE found[8];
        CK_RV rv;
        struct template t = {.n = 0};
        template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
        template_number(&t, CKA_PPK_KIND, PPK_KIND_MANUAL);
        template_bytes(&t, CKA_PPK_PEER_ADDRESS, guard_frozen(cases[i].bytes, cases[i].len), cases[i].len);
        size_t n = object_search(s, &t, found, 8, &rv);
        if (cases[i].len == 4 || cases[i].len == 16)
            expect_rv(CKR_OK, rv);
        else
            expect_rv_in(rv, CKR_OK, CKR_ATTRIBUTE_VALUE_INVALID);
        expect(n == (cases[i].peer != NULL), "%zu objects", n);
        if (n == 1 && cases[i].peer)
            expect(same_peer(found[0], cases[i].peer), "not %s", cases[i].peer);
    }
    CK_SESSION_HANDLE strict = harness_session("strict");
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_PPK_KIND, PPK_KIND_MANUAL);
    template_bytes(&t, CKA_PPK_PEER_ADDRESS, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    expect(object_search(strict, &t, NULL, 0, NULL) == 1, "by IPv6 address");
}

/* ---- searches ---- */

static void test_find(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE all[32], one;
    CK_ULONG n;
    struct template t = {.n = 0};
    start();
    /* 2 manual PPKs, 1 PSK, 2 peers */
    size_t total = object_search(s, &t, all, 32, NULL);
    expect(total == 5, "%zu objects", total);
    for (size_t i = 0; i < total; i++)
        for (size_t k = 0; k < i; k++)
            expect(all[i] != all[k], "object %lu twice", all[i]);
    /* one at a time gives the same */
    expect_ok(f->C_FindObjectsInit(s, NULL, 0));
    size_t seen = 0;
    CK_OBJECT_HANDLE *place = guard_buffer(sizeof *place);
    while (f->C_FindObjects(s, place, 1, &n) == CKR_OK && n == 1)
        expect(*place == all[seen++], "another order");
    expect(seen == total && n == 0, "%zu of %zu", seen, total);
    expect_ok(f->C_FindObjects(s, &one, 1, &n)); /* after the end: still none */
    expect(n == 0, "%lu", n);
    expect_rv(CKR_OPERATION_ACTIVE, f->C_FindObjectsInit(s, NULL, 0));
    CK_OBJECT_HANDLE psk = CK_INVALID_HANDLE;
    expect_ok(f->C_FindObjectsFinal(s));
    expect_rv(CKR_OPERATION_NOT_INITIALIZED, f->C_FindObjectsFinal(s));
    expect_rv(CKR_OPERATION_NOT_INITIALIZED, f->C_FindObjects(s, &one, 1, &n));
    /* arguments */
    expect_rv(CKR_ARGUMENTS_BAD, f->C_FindObjectsInit(s, NULL, 1));
    expect_ok(f->C_FindObjectsInit(s, NULL, 0));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_FindObjects(s, NULL, 1, &n));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_FindObjects(s, &one, 1, NULL));
    expect_ok(f->C_FindObjects(s, guard_buffer(0), 0, &n));
    expect(n == 0, "%lu", n);
    expect_ok(f->C_FindObjects(s, all, 32, &n));
    expect(n == total, "%lu after bad arguments", n);
    expect_ok(f->C_FindObjectsFinal(s));
    /* A search is a snapshot of handles: a destroyed object does not crash it. */
    uint8_t value[16] = {0};
    CK_OBJECT_HANDLE key = object_import(s, value, 16);
    expect(object_search(s, &t, NULL, 0, NULL) == total + 1, "the session key is not found");
    expect_ok(f->C_FindObjectsInit(s, NULL, 0));
    expect_ok(f->C_DestroyObject(s, key));
    expect_ok(f->C_FindObjects(s, all, 32, &n));
    expect_ok(f->C_FindObjectsFinal(s));
    /* attributes that do not match, or are of another size */
    const struct {
        CK_ATTRIBUTE a;
        size_t want;
    } cases[] = {
        {{CKA_LABEL, (void *)(uintptr_t) "alpha", 5}, 2}, /* its manual PPK, its data object */
        {{CKA_LABEL, (void *)(uintptr_t) "alph", 4}, 0},
        {{CKA_LABEL, (void *)(uintptr_t) "alpha\0", 6}, 0},
        {{CKA_LABEL, (void *)(uintptr_t) "", 0}, 0},
        {{CKA_ID, (void *)(uintptr_t)MANUAL_1_ID, sizeof MANUAL_1_ID - 2}, 0},
        {{CKA_VALUE, (void *)(uintptr_t)PSK_ALPHA, sizeof PSK_ALPHA - 1}, 0}, /* else a search is an oracle */
        {{CKA_VENDOR_DEFINED | 0x1234, (void *)(uintptr_t) "x", 1}, 0},
        {{CKA_LABEL, NULL, 0}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_case("search %zu", i);
        struct template one_attribute = {.n = 1};
        one_attribute.a[0] = cases[i].a;
        if (cases[i].a.pValue)
            one_attribute.a[0].pValue = guard_frozen(cases[i].a.pValue, cases[i].a.ulValueLen);
        CK_RV rv;
        size_t got = object_search(s, &one_attribute, NULL, 0, &rv);
        expect_rv_in(rv, CKR_OK, CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_TYPE_INVALID,
                     CKR_ATTRIBUTE_SENSITIVE);
        expect(got == cases[i].want, "%zu found", got);
    }
    (void)psk;
}

static void test_find_hostile(void **state)
{
    (void)state;
    start();
    CK_OBJECT_HANDLE o;
    CK_ULONG n;
    const CK_ATTRIBUTE cases[] = {
        {CKA_LABEL, NULL, 5},
        {CKA_ID, NULL, 1},
        {CKA_CLASS, NULL, sizeof(CK_ULONG)},
        {CKA_TOKEN, NULL, 1},
        {CKA_LABEL, NULL, ~0UL},
        {CKA_PPK_PEER_ADDRESS, NULL, 4},
        {CKA_CLASS, guard_copy("\4", 1), 1},
        {CKA_TOKEN, guard_copy("\1\0\0\0", 4), 4},
        {CKA_CLASS, guard_buffer(0), 0},
        {CKA_PPK_KIND, guard_copy("\1", 1), 1},
        {CKA_LABEL, guard_buffer(100000), 100000},
        {CKA_ID, guard_buffer(100000), 100000},
        {CKA_PPK_REMOTE_SYSTEM_ID, guard_buffer(5000), 5000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_case("case %zu", i);
        CK_ATTRIBUTE a = cases[i];
        CK_RV rv = f->C_FindObjectsInit(s, &a, 1);
        if (!a.pValue && a.ulValueLen)
            expect_rv_in(rv, CKR_ARGUMENTS_BAD, CKR_ATTRIBUTE_VALUE_INVALID);
        if (rv == CKR_OK) {
            rv = f->C_FindObjects(s, &o, 1, &n);
            expect(rv != CKR_OK || n == 0, "found something");
            expect_ok(f->C_FindObjectsFinal(s));
        }
        /* and the session is as it was */
        expect_ok(f->C_FindObjectsInit(s, NULL, 0));
        expect_ok(f->C_FindObjectsFinal(s));
    }
    expect_case("counts beyond sense");
    CK_ATTRIBUTE a = {CKA_LABEL, (void *)(uintptr_t) "x", 1};
    for (int shift = 40; shift < 64; shift += 4)
        expect_rv_in(f->C_FindObjectsInit(s, &a, 1UL << shift), CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY,
                     CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID);
    expect_rv_in(f->C_FindObjectsInit(s, &a, ~0UL), CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY,
                 CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID);
    expect_case("the same attribute twice, with different values: nothing can match");
    CK_ATTRIBUTE twice[] = {{CKA_LABEL, (void *)(uintptr_t) "alpha", 5},
                            {CKA_LABEL, (void *)(uintptr_t) "beta", 4}};
    struct template t = {.n = 2};
    memcpy(t.a, twice, sizeof twice);
    CK_RV rv;
    expect(object_search(s, &t, NULL, 0, &rv) == 0, "found something");
    expect_rv_in(rv, CKR_OK, CKR_TEMPLATE_INCONSISTENT);
}

/* ---- C_GetAttributeValue ---- */

static void test_get_attributes(void **state)
{
    (void)state;
    start();
    CK_OBJECT_HANDLE o = object_by_id(s, MANUAL_1_ID, strlen(MANUAL_1_ID));
    const size_t id_len = strlen(MANUAL_1_ID);
    /* Lengths first, then values, then too short, all around errors: every entry is processed. */
    uint8_t short_buffer[4] = {9, 9, 9, 9}, id[64], value[64];
    CK_ULONG len = 0;
    CK_BBOOL sign = 7;
    CK_ATTRIBUTE a[] = {
        {CKA_VALUE, value, sizeof value},   /* sensitive */
        {CKA_ID, NULL, 12345},              /* length only */
        {CKA_MODULUS, value, sizeof value}, /* no such attribute of a secret key */
        {CKA_ID, short_buffer, sizeof short_buffer},
        {CKA_VALUE_LEN, &len, sizeof len},
        {CKA_ID, id, sizeof id},
        {CKA_SIGN, &sign, sizeof sign},
    };
    memset(value, 0xA5, sizeof value);
    expect_rv_in(f->C_GetAttributeValue(s, o, a, 7), CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID,
                 CKR_BUFFER_TOO_SMALL);
    expect(a[0].ulValueLen == CK_UNAVAILABLE_INFORMATION, "CKA_VALUE: length %lu", a[0].ulValueLen);
    expect(a[1].ulValueLen == id_len && a[1].pValue == NULL, "NULL: length %lu", a[1].ulValueLen);
    expect(a[2].ulValueLen == CK_UNAVAILABLE_INFORMATION, "CKA_MODULUS: length %lu", a[2].ulValueLen);
    expect(a[3].ulValueLen == CK_UNAVAILABLE_INFORMATION, "short buffer: length %lu", a[3].ulValueLen);
    expect(memcmp(short_buffer, "\x9\x9\x9\x9", 4) == 0, "the short buffer was written");
    expect(a[4].ulValueLen == sizeof len && len == 32, "CKA_VALUE_LEN %lu", len);
    expect(a[5].ulValueLen == id_len && memcmp(id, MANUAL_1_ID, id_len) == 0, "CKA_ID");
    expect(sign == CK_TRUE, "CKA_SIGN %d", sign);
    for (size_t i = 0; i < sizeof value; i++)
        if (value[i] != 0xA5) {
            expect(false, "written at %zu", i);
            break;
        }
    /* one error alone has its own code */
    CK_ATTRIBUTE one = {CKA_MODULUS, NULL, 0};
    expect_rv(CKR_ATTRIBUTE_TYPE_INVALID, f->C_GetAttributeValue(s, o, &one, 1));
    one = (CK_ATTRIBUTE){CKA_ID, guard_buffer(id_len - 1), id_len - 1};
    expect_rv(CKR_BUFFER_TOO_SMALL, f->C_GetAttributeValue(s, o, &one, 1));
    expect(one.ulValueLen == CK_UNAVAILABLE_INFORMATION, "length %lu", one.ulValueLen);
    one = (CK_ATTRIBUTE){CKA_ID, guard_buffer(id_len), id_len};
    expect_ok(f->C_GetAttributeValue(s, o, &one, 1));
    one = (CK_ATTRIBUTE){CKA_ID, guard_buffer(0), 0};
    expect_rv(CKR_BUFFER_TOO_SMALL, f->C_GetAttributeValue(s, o, &one, 1));
    one = (CK_ATTRIBUTE){CKA_VALUE_LEN, guard_buffer(4), 4};
    expect_rv(CKR_BUFFER_TOO_SMALL, f->C_GetAttributeValue(s, o, &one, 1));
    one = (CK_ATTRIBUTE){CKA_TOKEN, guard_buffer(8), 8}; /* more room than needed */
    expect_ok(f->C_GetAttributeValue(s, o, &one, 1));
    expect(one.ulValueLen == 1, "length %lu", one.ulValueLen);
    /* an empty value: length 0, CKR_OK, whatever the buffer */
    CK_OBJECT_HANDLE psk = object_by_label(s, "alpha/psk");
    one = (CK_ATTRIBUTE){CKA_ID, guard_buffer(0), 0};
    expect_ok(f->C_GetAttributeValue(s, psk, &one, 1));
    expect(one.ulValueLen == 0, "length %lu", one.ulValueLen);
    /* arguments */
    expect_rv(CKR_ARGUMENTS_BAD, f->C_GetAttributeValue(s, o, NULL, 1));
    expect_rv_in(f->C_GetAttributeValue(s, o, NULL, 0), CKR_OK, CKR_ARGUMENTS_BAD);
    expect_rv_in(f->C_GetAttributeValue(s, o, &one, 0), CKR_OK, CKR_ARGUMENTS_BAD);
    for (CK_ULONG bad = 0; bad < 3; bad++)
        expect_rv(CKR_OBJECT_HANDLE_INVALID,
                  f->C_GetAttributeValue(s, (const CK_OBJECT_HANDLE[]){0, ~0UL, 1UL << 50}[bad], &one, 1));
    static CK_ATTRIBUTE many[5000];
    for (size_t i = 0; i < 5000; i++)
        many[i] = (CK_ATTRIBUTE){CKA_LABEL, NULL, 0};
    expect_rv_in(f->C_GetAttributeValue(s, o, many, 5000), CKR_OK, CKR_ARGUMENTS_BAD);
    CK_ULONG size = 0;
    expect_rv_in(f->C_GetObjectSize(s, o, &size), CKR_OK, CKR_FUNCTION_NOT_SUPPORTED,
                 CKR_INFORMATION_SENSITIVE);
    expect_error(f->C_GetObjectSize(s, o, NULL));
}

/* All 2^16 lower attribute types and the vendor's: nothing that is answered contains bits of the key. */
static void test_no_attribute_leaks(void **state)
{
    (void)state;
    static const struct {
        CK_ATTRIBUTE_TYPE base;
        unsigned n;
    } ranges[] = {{0, 0x2000},
                  {0x40000000, 0x1000},
                  {CKA_PPK_VENDOR, 256},
                  {CKA_VENDOR_DEFINED, 0x2000},
                  {0xCE534350, 256}};
    uint8_t key[64];
    unsigned long answered = 0;
    start();
    CK_OBJECT_HANDLE two = object_by_id(s, MANUAL_2_ID, strlen(MANUAL_2_ID)),
                     psk = object_by_label(s, "alpha/psk");
    oracle_unhex(MANUAL_2_HEX, key, sizeof key);
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
        for (unsigned i = 0; i < ranges[r].n; i++) {
            uint8_t out[600];
            size_t n = object_bytes(s, two, ranges[r].base + i, out, sizeof out);
            answered += n != (size_t)-1;
            expect_case("attribute 0x%lx", ranges[r].base + i);
            if (n != (size_t)-1 && n >= 4)
                for (size_t k = 0; k + 4 <= sizeof key; k++)
                    expect(memmem(out, n, key + k, 4) == NULL, "has the key's bytes %zu to %zu", k, k + 3);
            n = object_bytes(s, psk, ranges[r].base + i, out, sizeof out);
            if (n != (size_t)-1 && n >= 6)
                expect(memmem(out, n, "cisco1", 6) == NULL, "has the PSK");
        }
    expect_case("%s", "");
    expect(answered >= 20, "only %lu attributes were answered", answered);
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
        TOKEN_TEST(test_manual_ppk),     TOKEN_TEST(test_psk),
        TOKEN_TEST(test_peer_data),      TOKEN_TEST(test_address_search),
        TOKEN_TEST(test_find),           TOKEN_TEST(test_find_hostile),
        TOKEN_TEST(test_get_attributes), TOKEN_TEST(test_no_attribute_leaks),
        TOKEN_TEST(test_create),         TOKEN_TEST(test_create_refused),
        TOKEN_TEST(test_change),         TOKEN_TEST(test_configured_keys_are_fixed),
        TOKEN_TEST(test_handles),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
