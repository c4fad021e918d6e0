/* SPDX-License-Identifier: BSD-2-Clause */
/* What a whole IKEv2 schedule needs besides prf and prf+, on keys that are no PPKs: pieces, concatenation,
 * HKDF. */
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

static void test_extract_and_concatenate(void **state)
{
    (void)state;
    start();
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    /* The standard's own examples */
    CK_OBJECT_HANDLE base = object_import(s, "\x32\x9f\x84\xa9", 4),
                     first = object_import(s, "\x01\x23\x45\x67", 4),
                     second = object_import(s, "\x89\xab\xcd\xef", 4);
    CK_ULONG bit = 21;
    derive_template(&t, 2);
    if (expect_ok(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, base, &t, &o)))
        expect_key(s, o, "\x95\x26", 2);
    derive_template(&t, 0);
    if (expect_ok(derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &second, sizeof second, first, &t, &o)))
        expect_key(s, o, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE_PTR)(uintptr_t) "\x89\xab\xcd\xef", 4};
    if (expect_ok(derive_any(s, CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, first, &t, &o)))
        expect_key(s, o, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    if (expect_ok(derive_any(s, CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof data, first, &t, &o)))
        expect_key(s, o, "\x89\xab\xcd\xef\x01\x23\x45\x67", 8);
    /* bits against a plain loop */
    struct oracle_random r = {365};
    for (int round = 0; round < 200; round++) {
        uint8_t value[64], want[64] = {0};
        size_t len = 1 + oracle_below(&r, 64), take = 1 + oracle_below(&r, len);
        oracle_fill(&r, value, len);
        bit = oracle_below(&r, len * 8);
        for (size_t i = 0; i < take * 8; i++) {
            size_t from = (bit + i) % (len * 8);
            want[i / 8] = (uint8_t)(want[i / 8] | ((value[from / 8] >> (7 - from % 8)) & 1) << (7 - i % 8));
        }
        expect_case("round %d: %zu of %zu bytes from bit %lu", round, take, len, bit);
        base = object_import(s, value, len);
        derive_template(&t, take);
        CK_RV rv = derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, base, &t, &o);
        if (expect_rv(CKR_OK, rv))
            expect_key(s, o, want, take);
        drop(base);
        drop(rv == CKR_OK ? o : 0);
    }
    expect_case("errors");
    base = object_import(s, "\x32\x9f\x84\xa9", 4);
    bit = 0;
    derive_template(&t, 5);
    expect_rv(CKR_KEY_SIZE_RANGE, derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, base, &t, &o));
    derive_template(&t, 0);
    expect_rv_in(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, base, &t, &o),
                 CKR_TEMPLATE_INCOMPLETE);
    derive_template(&t, 2);
    const CK_ULONG beyond[] = {32, 33, 1UL << 32, 1UL << 61, ~0UL};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)
        expect_rv_in(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &beyond[i], sizeof *beyond, base, &t, &o),
                     CKR_MECHANISM_PARAM_INVALID);
    static const CK_MECHANISM_TYPE types[] = {CKM_EXTRACT_KEY_FROM_KEY, CKM_CONCATENATE_BASE_AND_KEY,
                                              CKM_CONCATENATE_BASE_AND_DATA, CKM_CONCATENATE_DATA_AND_BASE};
    for (size_t i = 0; i < 4; i++) {
        size_t size = i < 2 ? sizeof(CK_ULONG) : sizeof data;
        expect_case("mechanism 0x%lx", types[i]);
        memset(big, 0, sizeof big);
        expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], NULL, 0, base, &t, &o));
        expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], NULL, size, base, &t, &o));
        expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], big, size - 1, base, &t, &o));
        expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], big, size + 1, base, &t, &o));
    }
    CK_OBJECT_HANDLE none = ~0UL;
    expect_case("errors of concatenation");
    expect_rv_in(derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &none, sizeof none, base, &t, &o),
                 CKR_KEY_HANDLE_INVALID, CKR_MECHANISM_PARAM_INVALID);
    data = (CK_KEY_DERIVATION_STRING_DATA){NULL, 4};
    expect_rv_in(derive_any(s, CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, base, &t, &o),
                 CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
    data = (CK_KEY_DERIVATION_STRING_DATA){big, ~0UL};
    expect_error(derive_any(s, CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, base, &t, &o));
    data.ulLen = ~0UL - 3;
    expect_error(derive_any(s, CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof data, base, &t, &o));
    derive_template(&t, 9);
    expect_rv(CKR_KEY_SIZE_RANGE,
              derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &second, sizeof second, first, &t, &o));
    /* sensitive and unextractable parts make a sensitive and unextractable whole, whatever the template says
     */
    struct template hidden;
    template_secret(&hidden);
    template_bytes(&hidden, CKA_VALUE, big, 16);
    template_bool(&hidden, CKA_SENSITIVE, true);
    template_bool(&hidden, CKA_EXTRACTABLE, false);
    template_bool(&hidden, CKA_DERIVE, true);
    CK_OBJECT_HANDLE secret;
    require_ok(f->C_CreateObject(s, hidden.a, hidden.n, &secret));
    for (int order = 0; order < 4; order++) {
        derive_template(&t, order == 2 ? 4 : 0);
        data = (CK_KEY_DERIVATION_STRING_DATA){(CK_BYTE_PTR)(uintptr_t) "x", 1};
        bit = 8;
        CK_RV rv =
            order == 0   ? derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &secret, sizeof secret, first, &t, &o)
            : order == 1 ? derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &first, sizeof first, secret, &t, &o)
            : order == 2 ? derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, secret, &t, &o)
                         : derive_any(s, CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, secret, &t, &o);
        expect_case("order %d", order);
        if (rv == CKR_OK)
            expect(object_bool(s, o, CKA_SENSITIVE) == 1 && object_bool(s, o, CKA_EXTRACTABLE) == 0 &&
                       object_bytes(s, o, CKA_VALUE, big, sizeof big) == (size_t)-1,
                   "a secret key's bits can be read");
        else
            expect_rv_in(rv, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID,
                         CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_SIZE_RANGE);
    }
}

static void test_hkdf(void **state)
{
    (void)state;
    struct oracle_random r = {5869};
    static uint8_t ikm[100], salt[100], info[100], prk[64], want[300];
    static const uint8_t nothing[64];
    start();
    for (int round = 0; round < 300; round++) {
        const struct oracle_prf *prf = &oracle_prfs[oracle_below(&r, 4)];
        size_t ikm_len = 1 + oracle_below(&r, 100), salt_len = 1 + oracle_below(&r, 100),
               info_len = oracle_below(&r, 100), out_len = 1 + oracle_below(&r, 300);
        CK_ULONG salt_type =
            (CK_ULONG[]){CKF_HKDF_SALT_NULL, CKF_HKDF_SALT_DATA, CKF_HKDF_SALT_KEY}[oracle_below(&r, 3)];
        bool extract = oracle_below(&r, 2), expand = !extract || oracle_below(&r, 2);
        oracle_fill(&r, ikm, ikm_len);
        oracle_fill(&r, salt, salt_len);
        oracle_fill(&r, info, info_len);
        CK_OBJECT_HANDLE base = object_import(s, ikm, ikm_len),
                         salt_key = salt_type == CKF_HKDF_SALT_KEY ? object_import(s, salt, salt_len) : 0,
                         o = 0;
        CK_HKDF_PARAMS p = {extract,
                            expand,
                            prf->hash,
                            salt_type,
                            salt_type == CKF_HKDF_SALT_DATA ? guard_frozen(salt, salt_len) : NULL,
                            salt_type == CKF_HKDF_SALT_DATA ? salt_len : 0,
                            salt_key,
                            info_len ? guard_frozen(info, info_len) : NULL,
                            info_len};
        const uint8_t *key = ikm;
        size_t key_len = ikm_len;
        if (extract) {
            if (salt_type == CKF_HKDF_SALT_NULL)
                oracle_hmac(prf, nothing, prf->size, ikm, ikm_len, prk);
            else
                oracle_hmac(prf, salt, salt_len, ikm, ikm_len, prk);
            key = prk, key_len = prf->size;
        }
        if (expand) {
            oracle_prf_plus(prf, key, key_len, info, info_len, want, out_len);
        } else {
            out_len = prf->size;
            memcpy(want, prk, out_len);
        }
        struct template t;
        derive_template(&t, expand ? out_len : 0);
        expect_case("round %d: %s, extract %d, expand %d, salt %lu", round, prf->name, extract, expand,
                    salt_type);
        CK_RV rv = derive_any(s, CKM_HKDF_DERIVE, &p, sizeof p, base, &t, &o);
        if (expect_rv(CKR_OK, rv))
            expect_key(s, o, want, out_len);
        drop(base);
        drop(rv == CKR_OK ? o : 0);
        if (salt_key)
            drop(salt_key);
    }
    /* wrong ones */
    uint8_t eight[8] = {0};
    const CK_HKDF_PARAMS good = {CK_TRUE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_DATA, eight, 8, 0, eight, 8};
    CK_HKDF_PARAMS cases[10];
    CK_OBJECT_HANDLE base = object_import(s, ikm, 32), o;
    for (size_t i = 0; i < 10; i++)
        cases[i] = good;
    cases[0].bExtract = cases[0].bExpand = CK_FALSE;
    cases[1].prfHashMechanism = CKM_SHA256_HMAC;
    cases[2].prfHashMechanism = ~0UL;
    cases[3].ulSaltType = 0;
    cases[4].ulSaltType = 7;
    cases[5].pSalt = NULL;
    cases[6].pInfo = NULL;
    cases[7].ulSaltType = CKF_HKDF_SALT_KEY, cases[7].hSaltKey = ~0UL;
    cases[8].ulSaltLen = ~0UL;
    cases[9].ulInfoLen = ~0UL;
    for (size_t i = 0; i < 10; i++) {
        struct template t;
        derive_template(&t, 32);
        expect_case("wrong case %zu", i);
        expect_rv_in(derive_any(s, CKM_HKDF_DERIVE, &cases[i], sizeof *cases, base, &t, &o),
                     CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_KEY_HANDLE_INVALID, CKR_HOST_MEMORY);
    }
    struct template t;
    derive_template(&t, 255 * 32 + 1);
    expect_rv(CKR_KEY_SIZE_RANGE, derive_any(s, CKM_HKDF_DERIVE, &good, sizeof good, base, &t, &o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_extract_and_concatenate),
        TOKEN_TEST(test_hkdf),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
