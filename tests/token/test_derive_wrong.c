/* SPDX-License-Identifier: BSD-2-Clause */
/* The IKE mechanisms with lengths, parameters and templates that are wrong, or just not; everything behind
 * guard pages. */
#include "conf.h"
#include "derive.h"
#include "guard.h"

static CK_SESSION_HANDLE s;
static uint8_t big[20000];

static void start(void)
{
    s = harness_start(CONF_MANUAL);
}

static void drop(CK_OBJECT_HANDLE o)
{
    if (o)
        expect_ok(f->C_DestroyObject(s, o));
    guard_release();
}

/* ---- lengths ---- */

static void test_lengths(void **state)
{
    (void)state;
    uint8_t key[32] = {42}, seed[5] = "seed";
    static uint8_t want[20000];
    start();
    CK_OBJECT_HANDLE base = object_import(s, key, 32), o;
    for (size_t i = 0; i < 4; i++) {
        const struct oracle_prf *prf = &oracle_prfs[i];
        const CK_ULONG most = 255 * prf->size;
        const CK_ULONG lengths[] = {1, prf->size - 1, prf->size, prf->size + 1, 4096, most};
        struct template t;
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            expect_case("%s, %lu bytes", prf->name, lengths[k]);
            derive_template(&t, lengths[k]);
            o = 0;
            CK_RV rv = derive_prf_plus(s, false, prf, base, 0, seed, 5, &t, &o);
            if (lengths[k] <= 4096)
                expect_rv(CKR_OK, rv);
            else
                expect_rv_in(rv, CKR_OK, CKR_KEY_SIZE_RANGE); /* a token may have a limit of its own */
            if (rv == CKR_OK) {
                oracle_prf_plus(prf, key, 32, seed, 5, want, lengths[k]);
                expect_key(s, o, want, lengths[k]);
            }
            drop(rv == CKR_OK ? o : 0);
        }
        const CK_ULONG wrong[] = {most + 1, 1UL << 31, 1UL << 32, (1UL << 32) + 32, ~0UL, ~0UL - 31};
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
            expect_case("%s, %lu bytes", prf->name, wrong[k]);
            derive_template(&t, wrong[k]);
            expect_rv(CKR_KEY_SIZE_RANGE, derive_prf_plus(s, false, prf, base, 0, seed, 5, &t, &o));
        }
        expect_case("%s, no or zero length", prf->name);
        derive_template(&t, 0);
        expect_rv(CKR_TEMPLATE_INCOMPLETE, derive_prf_plus(s, false, prf, base, 0, seed, 5, &t, &o));
        template_number(&t, CKA_VALUE_LEN, 0);
        expect_rv_in(derive_prf_plus(s, false, prf, base, 0, seed, 5, &t, &o), CKR_KEY_SIZE_RANGE,
                     CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT);
        /* CKM_IKE_PRF_DERIVE: the prf's length, or none given */
        const CK_ULONG other[] = {prf->size - 1, prf->size + 1, 1, 2 * prf->size, ~0UL};
        for (size_t k = 0; k < sizeof other / sizeof *other; k++)
            for (int kind = 0; kind < 3; kind++) {
                expect_case("%s, kind %d, %lu bytes", prf->name, kind, other[k]);
                derive_template(&t, other[k]);
                expect_rv(CKR_KEY_SIZE_RANGE,
                          derive_prf(s, false, prf, (enum derive_kind)kind, base,
                                     kind == DERIVE_REKEY ? base : 0, seed, 5, seed, 5, &t, &o));
            }
    }
    guard_release();
}

/* ---- wrong parameters ---- */

static CK_RV plus(const CK_IKE2_PRF_PLUS_DERIVE_PARAMS *p, CK_OBJECT_HANDLE base)
{
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    derive_template(&t, 32);
    CK_RV rv = derive_any(s, CKM_IKE2_PRF_PLUS_DERIVE, p, sizeof *p, base, &t, &o);
    guard_release();
    return rv;
}

static CK_RV prf_(const CK_IKE_PRF_DERIVE_PARAMS *p, CK_OBJECT_HANDLE base)
{
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    derive_template(&t, 0);
    CK_RV rv = derive_any(s, CKM_IKE_PRF_DERIVE, p, sizeof *p, base, &t, &o);
    guard_release();
    return rv;
}

static void test_wrong_parameters(void **state)
{
    (void)state;
    uint8_t key[32] = {1}, seed[8] = {2};
    CK_ULONG handles[5];
    CK_OBJECT_HANDLE o, destroyed, foreign, data;
    start();
    CK_OBJECT_HANDLE base = object_import(s, key, 32), good = object_import(s, key, 32);
    destroyed = object_import(s, key, 32);
    expect_ok(f->C_DestroyObject(s, destroyed));
    CK_SESSION_HANDLE strict = harness_session("strict");
    foreign = object_import(strict, key, 32);
    struct template peers = {.n = 0};
    template_number(&peers, CKA_CLASS, CKO_DATA);
    template_text(&peers, CKA_LABEL, "alpha");
    data = object_only(s, &peers);
    handles[0] = 0, handles[1] = ~0UL, handles[2] = destroyed, handles[3] = foreign, handles[4] = data;

    /* the struct: NULL, or of another size */
    static const CK_MECHANISM_TYPE types[] = {CKM_IKE2_PRF_PLUS_DERIVE, CKM_NSS_IKE_PRF_PLUS_DERIVE,
                                              CKM_IKE_PRF_DERIVE, CKM_NSS_IKE_PRF_DERIVE, CKM_HKDF_DERIVE};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t size = i < 2   ? sizeof(CK_IKE2_PRF_PLUS_DERIVE_PARAMS)
                      : i < 4 ? sizeof(CK_IKE_PRF_DERIVE_PARAMS)
                              : sizeof(CK_HKDF_PARAMS);
        const size_t lengths[] = {0, 1, size - 8, size - 1, size + 1, size + 8, 2 * size};
        struct template t;
        derive_template(&t, 32);
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            expect_case("mechanism 0x%lx, parameter of %zu bytes", types[i], lengths[k]);
            memset(big, 0, lengths[k]);
            expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], big, lengths[k], base, &t, &o));
            expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], NULL, lengths[k], base, &t, &o));
        }
        expect_case("mechanism 0x%lx, a length beyond sense", types[i]);
        expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], NULL, size, base, &t, &o));
        CK_MECHANISM m = {types[i], guard_buffer(8), ~0UL};
        expect_rv(CKR_MECHANISM_PARAM_INVALID, f->C_DeriveKey(s, &m, base, t.a, t.n, &o));
        guard_release();
    }
    expect_case("%s", "");
    /* prf+ */
    const CK_IKE2_PRF_PLUS_DERIVE_PARAMS p = {CKM_SHA256_HMAC, CK_FALSE, 0, seed, sizeof seed};
    CK_IKE2_PRF_PLUS_DERIVE_PARAMS q = p;
    expect_ok(plus(&q, base));
    for (size_t i = 0; i < 5; i++) {
        expect_case("handle %zu", i);
        q = p;
        q.bHasSeedKey = CK_TRUE;
        q.hSeedKey = handles[i];
        expect_rv_in(plus(&q, base), CKR_KEY_HANDLE_INVALID, CKR_MECHANISM_PARAM_INVALID);
        q.bHasSeedKey = CK_FALSE; /* then it is not looked at */
        expect_ok(plus(&q, base));
        q = p;
        expect_rv(CKR_KEY_HANDLE_INVALID, plus(&q, handles[i]));
    }
    static const CK_MECHANISM_TYPE no_prf[] = {0,
                                               CKM_SHA256,
                                               CKM_AES_CMAC,
                                               CKM_SHA256_HMAC_GENERAL,
                                               CKM_MD5_HMAC,
                                               0x2cc /* XCBC */,
                                               CKM_IKE2_PRF_PLUS_DERIVE,
                                               ~0UL,
                                               CKM_SHA256_HMAC | 1UL << 32,
                                               CKM_SHA224_HMAC};
    for (size_t i = 0; i < sizeof no_prf / sizeof *no_prf; i++) {
        expect_case("prf 0x%lx", no_prf[i]);
        q = p;
        q.prfMechanism = no_prf[i];
        expect_rv(CKR_MECHANISM_PARAM_INVALID, plus(&q, base));
        CK_IKE_PRF_DERIVE_PARAMS x = {no_prf[i], CK_FALSE, CK_FALSE, seed, 8, seed, 8, 0};
        expect_rv(CKR_MECHANISM_PARAM_INVALID, prf_(&x, base));
    }
    expect_case("NULL with a length");
    q = p;
    q.pSeedData = NULL;
    expect_rv_in(plus(&q, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
    q.ulSeedDataLen = ~0UL;
    expect_rv_in(plus(&q, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
    expect_case("a pointer, no length");
    q = p;
    q.pSeedData = guard_buffer(0);
    q.ulSeedDataLen = 0;
    CK_RV rv = plus(&q, base); /* prf+(K, "") is defined, if odd */
    expect_rv_in(rv, CKR_OK, CKR_MECHANISM_PARAM_INVALID);
    expect_case("lengths that wrap around");
    q = p;
    for (int shift = 48; shift < 64; shift++) {
        q.ulSeedDataLen = 1UL << shift;
        expect_rv_in(plus(&q, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
        q.ulSeedDataLen = ~0UL << (shift - 40);
        expect_rv_in(plus(&q, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
    }
    /* prf */
    const CK_IKE_PRF_DERIVE_PARAMS a = {CKM_SHA256_HMAC, CK_FALSE, CK_FALSE, seed, 8, seed, 8, 0};
    CK_IKE_PRF_DERIVE_PARAMS b = a;
    expect_case("prf");
    expect_ok(prf_(&b, base));
    b.bDataAsKey = b.bRekey = CK_TRUE;
    expect_rv(CKR_ARGUMENTS_BAD, prf_(&b, base));
    b.hNewKey = good;
    expect_rv(CKR_ARGUMENTS_BAD, prf_(&b, base));
    for (size_t i = 0; i < 5; i++) {
        expect_case("hNewKey %zu", i);
        b = a;
        b.bRekey = CK_TRUE;
        b.hNewKey = handles[i];
        expect_rv_in(prf_(&b, base), CKR_KEY_HANDLE_INVALID, CKR_MECHANISM_PARAM_INVALID);
        b.bRekey = CK_FALSE;
        expect_ok(prf_(&b, base));
        b = a;
        expect_rv(CKR_KEY_HANDLE_INVALID, prf_(&b, handles[i]));
    }
    for (int which = 0; which < 2; which++)
        for (int kind = 0; kind < 3; kind++) {
            expect_case("nonce %d, kind %d", which, kind);
            b = a;
            b.bDataAsKey = kind == DERIVE_DATA_AS_KEY;
            b.bRekey = kind == DERIVE_REKEY;
            b.hNewKey = good;
            *(which ? &b.pNr : &b.pNi) = NULL;
            expect_rv_in(prf_(&b, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
            *(which ? &b.ulNrLen : &b.ulNiLen) = 0;
            expect_ok(prf_(&b, base));
            *(which ? &b.ulNrLen : &b.ulNiLen) = ~0UL;
            expect_rv_in(prf_(&b, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
            *(which ? &b.pNr : &b.pNi) = seed;
            expect_rv_in(prf_(&b, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
            *(which ? &b.ulNrLen : &b.ulNiLen) = ~0UL - 7; /* 8 more is 0 */
            expect_rv_in(prf_(&b, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
        }
    expect_case("arguments of C_DeriveKey");
    struct template t;
    derive_template(&t, 32);
    CK_MECHANISM m = {CKM_IKE2_PRF_PLUS_DERIVE, (void *)(uintptr_t)&p, sizeof p};
    expect_rv(CKR_ARGUMENTS_BAD, f->C_DeriveKey(s, NULL, base, t.a, t.n, &o));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_DeriveKey(s, &m, base, t.a, t.n, NULL));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_DeriveKey(s, &m, base, NULL, t.n, &o));
    expect_rv_in(f->C_DeriveKey(s, &m, base, NULL, 0, &o), CKR_TEMPLATE_INCOMPLETE);
    static const CK_MECHANISM_TYPE no_derive[] = {
        CKM_SHA256_HMAC, CKM_GENERIC_SECRET_KEY_GEN, CKM_RSA_PKCS, 0x4030,
        0x4031,          CKM_XOR_BASE_AND_DATA,      ~0UL};
    for (size_t i = 0; i < sizeof no_derive / sizeof *no_derive; i++) {
        expect_case("mechanism 0x%lx", no_derive[i]);
        m.mechanism = no_derive[i];
        expect_rv(CKR_MECHANISM_INVALID, f->C_DeriveKey(s, &m, base, t.a, t.n, &o));
    }
    expect_case("CKA_DERIVE = FALSE");
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, key, 32);
    template_bool(&t, CKA_DERIVE, false);
    require_ok(f->C_CreateObject(s, t.a, t.n, &o));
    expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED, plus(&p, o));
    expect_case("CKA_ALLOWED_MECHANISMS without this one");
    CK_MECHANISM_TYPE only[] = {CKM_SHA256_HMAC};
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, key, 32);
    template_bool(&t, CKA_DERIVE, true);
    template_bytes(&t, CKA_ALLOWED_MECHANISMS, only, sizeof only);
    require_ok(f->C_CreateObject(s, t.a, t.n, &o));
    expect_rv_in(plus(&p, o), CKR_MECHANISM_INVALID, CKR_KEY_FUNCTION_NOT_PERMITTED);
}

static void test_wrong_templates(void **state)
{
    (void)state;
    uint8_t key[32] = {1}, seed[8] = {2};
    start();
    CK_OBJECT_HANDLE base = object_import(s, key, 32), o;
    const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *value;
        CK_ULONG len;
    } cases[] = {
        {CKA_CLASS, "\2\0\0\0\0\0\0\0", 8},
        {CKA_CLASS, "\4", 1},
        {CKA_CLASS, NULL, 8},
        {CKA_KEY_TYPE, "\0\0\0\0\0\0\0\0", 8},
        {CKA_KEY_TYPE, NULL, 8},
        {CKA_TOKEN, "\1", 1},
        {CKA_TOKEN, NULL, 1},
        {CKA_TOKEN, "\0\0", 2},
        {CKA_VALUE, "0123456789abcdef0123456789abcdef", 32},
        {CKA_VALUE, NULL, 0},
        {CKA_VALUE_LEN, "\x20", 1},
        {CKA_VALUE_LEN, "\x20\0\0\0", 4},
        {CKA_VALUE_LEN, NULL, 8},
        {CKA_LOCAL, "\1", 1},
        {CKA_ALWAYS_SENSITIVE, "\1", 1},
        {CKA_NEVER_EXTRACTABLE, "\1", 1},
        {CKA_PPK_KIND, "\1\0\0\0\0\0\0\0", 8},
        {0x7777, "x", 1},
        {CKA_MODULUS, "x", 1},
        {CKA_LABEL, NULL, 3},
        {CKA_SENSITIVE, "", 0},
        {CKA_EXTRACTABLE, "\1\1", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct template t;
        expect_case("case %zu, attribute 0x%lx", i, cases[i].type);
        derive_template(&t, 32);
        CK_ATTRIBUTE *a = template_entry(&t, cases[i].type),
                     bad = {cases[i].type, cases[i].value ? guard_frozen(cases[i].value, cases[i].len) : NULL,
                            cases[i].len};
        if (a)
            *a = bad;
        else
            t.a[t.n++] = bad;
        expect_rv_in(derive_prf_plus(s, false, &oracle_prfs[1], base, 0, seed, 8, &t, &o),
                     CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_READ_ONLY,
                     CKR_ATTRIBUTE_TYPE_INVALID, CKR_ARGUMENTS_BAD, CKR_TOKEN_WRITE_PROTECTED,
                     CKR_KEY_SIZE_RANGE, CKR_SESSION_READ_ONLY);
        guard_release();
    }
    /* nothing was made by all that */
    struct template mine;
    template_secret(&mine);
    expect(object_search(s, &mine, NULL, 0, NULL) == 1, "objects were left behind");
    /* without class and key type: a generic secret */
    struct template t = {.n = 0};
    template_number(&t, CKA_VALUE_LEN, 32);
    expect_ok(derive_prf_plus(s, false, &oracle_prfs[1], base, 0, seed, 8, &t, &o));
    expect(object_number(s, o, CKA_CLASS) == CKO_SECRET_KEY &&
               object_number(s, o, CKA_KEY_TYPE) == CKK_GENERIC_SECRET,
           "not a generic secret");
    /* an HMAC key of its type serves that HMAC only */
    derive_template(&t, 32);
    t.numbers[1] = CKK_SHA256_HMAC;
    expect_ok(derive_prf_plus(s, false, &oracle_prfs[1], base, 0, seed, 8, &t, &o));
    CK_MECHANISM m = {CKM_SHA_1_HMAC, NULL, 0};
    expect_rv(CKR_KEY_TYPE_INCONSISTENT, f->C_SignInit(s, &m, o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_lengths),
        TOKEN_TEST(test_wrong_parameters),
        TOKEN_TEST(test_wrong_templates),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
