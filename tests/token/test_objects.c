/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects and their attributes: DESIGN, "One token per keyring"; PKCS#11 2.40, 4 and 5.7. */
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
    /* alpha: required, with a PSK; beta: neither */
    static const char *const members[2][4] = {
        {"\"peer\":\"alpha\"", "\"required\":true", "\"pre-shared-key\":true", "10.1.0.0"},
        {"\"peer\":\"beta\"", "\"required\":false", "\"pre-shared-key\":false", "10.1.2.0"}};
    for (size_t i = 0; i < 2; i++) {
        n = object_bytes(s, i ? beta : alpha, CKA_VALUE, json, sizeof json - 1);
        require(n < sizeof json, "no CKA_VALUE");
        json[n] = '\0';
        for (size_t k = 0; k < 4; k++)
            expect(strstr(json, members[i][k]) != NULL, "%s is not in %s", members[i][k], json);
    }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_manual_ppk),     TOKEN_TEST(test_psk),
        TOKEN_TEST(test_peer_data),      TOKEN_TEST(test_address_search),
        TOKEN_TEST(test_find),           TOKEN_TEST(test_find_hostile),
        TOKEN_TEST(test_get_attributes), TOKEN_TEST(test_no_attribute_leaks),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
