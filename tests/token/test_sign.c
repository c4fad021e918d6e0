/* SPDX-License-Identifier: BSD-2-Clause */
/* HMAC: C_Sign*, C_Verify* (PKCS#11 2.40, 5.11 and 5.13) against OpenSSL, buffer lengths, states of the
 * operation. */
#include "conf.h"
#include "guard.h"
#include "harness.h"
#include "oracle.h"

static CK_SESSION_HANDLE s;
static uint8_t data[70000];

static void start(void)
{
    struct oracle_random r = {1};
    oracle_fill(&r, data, sizeof data);
    s = harness_start(CONF_MANUAL);
}

static CK_MECHANISM mechanism(const struct oracle_prf *prf)
{
    return (CK_MECHANISM){prf->hmac, NULL, 0};
}

/* One MAC, made and checked in `parts` parts (0: by C_Sign and C_Verify) */
static void sign_and_verify(CK_SESSION_HANDLE session, const struct oracle_prf *prf, CK_OBJECT_HANDLE key,
                            size_t len, size_t parts, const uint8_t *want)
{
    CK_MECHANISM m = mechanism(prf);
    uint8_t *text = guard_frozen(data, len), *mac = guard_buffer(prf->size);
    CK_ULONG n = prf->size;
    if (!expect_ok(f->C_SignInit(session, &m, key)) || !expect_ok(f->C_VerifyInit(session, &m, key)))
        return;
    if (parts == 0) {
        expect_ok(f->C_Sign(session, text, len, mac, &n));
    } else {
        for (size_t i = 0, at = 0; i < parts; i++) {
            size_t part = i + 1 == parts ? len - at : (len - at) / 2;
            expect_ok(f->C_SignUpdate(session, text + at, part));
            expect_ok(f->C_VerifyUpdate(session, text + at, part)); /* both at once */
            at += part;
        }
        expect_ok(f->C_SignFinal(session, mac, &n));
    }
    expect(n == prf->size && memcmp(mac, want, n) == 0, "another MAC (%lu bytes)", n);
    uint8_t *frozen = guard_frozen(want, prf->size);
    if (parts == 0)
        expect_ok(f->C_Verify(session, text, len, frozen, prf->size));
    else
        expect_ok(f->C_VerifyFinal(session, frozen, prf->size));
    guard_release();
}

static void test_hmac(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 31, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 1000, 65537};
    start();
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
            for (size_t key_len = 1; key_len <= 257; key_len += key_len < 62 || key_len > 190 ? 61
                                                                : key_len < 66                ? 1
                                                                                              : 63)
                for (size_t parts = 0; parts < 4; parts++) {
                    uint8_t want[64];
                    const struct oracle_prf *prf = &oracle_prfs[i];
                    expect_case("%s, key of %zu, text of %zu, %zu parts", prf->name, key_len, lengths[k],
                                parts);
                    oracle_hmac(prf, data + 7, key_len, data, lengths[k], want);
                    CK_OBJECT_HANDLE key = object_import(s, data + 7, key_len);
                    sign_and_verify(s, prf, key, lengths[k], parts, want);
                    expect_ok(f->C_DestroyObject(s, key));
                }
}

static void test_hmac_configured_keys(void **state)
{
    (void)state;
    uint8_t want[64], key[64];
    start();
    for (size_t i = 0; i < 4; i++)
        for (size_t parts = 0; parts < 3; parts++) {
            expect_case("%s, %zu parts", oracle_prfs[i].name, parts);
            size_t n = oracle_unhex(MANUAL_2_HEX, key, sizeof key);
            oracle_hmac(&oracle_prfs[i], key, n, data, 100, want);
            sign_and_verify(s, &oracle_prfs[i], object_by_id(s, MANUAL_2_ID, strlen(MANUAL_2_ID)), 100, parts,
                            want);
            oracle_hmac(&oracle_prfs[i], PSK_ALPHA, strlen(PSK_ALPHA), data, 100, want);
            sign_and_verify(s, &oracle_prfs[i], object_by_label(s, "alpha/psk"), 100, parts, want);
        }
}

/* PKCS#11 2.40, 5.2: NULL asks for the length, too small says so, both leave the operation active; anything
 * else ends it. */
static void test_lengths(void **state)
{
    (void)state;
    CK_ULONG n;
    uint8_t want[64];
    start();
    CK_OBJECT_HANDLE key = object_import(s, data, 32);
    for (size_t i = 0; i < 4; i++)
        for (int final = 0; final < 2; final++) {
            const struct oracle_prf *prf = &oracle_prfs[i];
            CK_MECHANISM m = mechanism(prf);
            expect_case("%s, final %d", prf->name, final);
            oracle_hmac(prf, data, 32, data, 50, want);
            expect_ok(f->C_SignInit(s, &m, key));
            if (final)
                expect_ok(f->C_SignUpdate(s, data, 50));
            for (int again = 0; again < 2; again++) {
                n = 5;
                expect_ok(final ? f->C_SignFinal(s, NULL, &n) : f->C_Sign(s, data, 50, NULL, &n));
                expect(n == prf->size, "length %lu", n);
                const CK_ULONG few[] = {0, 1, prf->size - 1};
                for (size_t k = 0; k < 3; k++) {
                    uint8_t *out = guard_buffer(few[k]);
                    n = few[k];
                    expect_rv(CKR_BUFFER_TOO_SMALL,
                              final ? f->C_SignFinal(s, out, &n) : f->C_Sign(s, data, 50, out, &n));
                    expect(n == prf->size, "length %lu", n);
                    for (size_t x = 0; x < few[k]; x++)
                        expect(out[x] == 0xA5, "the short buffer was written");
                }
            }
            uint8_t out[100];
            memset(out, 0xA5, sizeof out);
            n = sizeof out;
            expect_ok(final ? f->C_SignFinal(s, out, &n) : f->C_Sign(s, data, 50, out, &n));
            expect(n == prf->size && memcmp(out, want, n) == 0 && out[n] == 0xA5, "another MAC (%lu bytes)",
                   n);
            expect_rv(CKR_OPERATION_NOT_INITIALIZED,
                      final ? f->C_SignFinal(s, out, &n) : f->C_Sign(s, data, 50, out, &n));
            guard_release();
        }
}

static void test_states(void **state)
{
    (void)state;
    uint8_t mac[64];
    CK_ULONG n = sizeof mac;
    CK_MECHANISM m = mechanism(&oracle_prfs[1]);
    start();
    CK_OBJECT_HANDLE key = object_import(s, data, 32);
    expect_rv(CKR_OPERATION_NOT_INITIALIZED, f->C_Sign(s, data, 1, mac, &n));
    expect_rv(CKR_OPERATION_NOT_INITIALIZED, f->C_SignUpdate(s, data, 1));
    expect_rv(CKR_OPERATION_NOT_INITIALIZED, f->C_SignFinal(s, mac, &n));
    expect_rv(CKR_OPERATION_NOT_INITIALIZED, f->C_Verify(s, data, 1, mac, 32));
    expect_rv(CKR_OPERATION_NOT_INITIALIZED, f->C_VerifyUpdate(s, data, 1));
    expect_rv(CKR_OPERATION_NOT_INITIALIZED, f->C_VerifyFinal(s, mac, 32));
    expect_ok(f->C_SignInit(s, &m, key));
    expect_rv(CKR_OPERATION_ACTIVE, f->C_SignInit(s, &m, key));
    expect_rv(CKR_OPERATION_NOT_INITIALIZED, f->C_Verify(s, data, 1, mac, 32));
    CK_SESSION_HANDLE other = harness_session("main");
    expect_rv(CKR_OPERATION_NOT_INITIALIZED, f->C_Sign(other, data, 1, mac, &n));
    expect_ok(f->C_SignInit(other, &m, key)); /* each session has its own */
    expect_ok(f->C_SignUpdate(s, data, 1));
    n = sizeof mac;
    expect_rv_in(f->C_Sign(s, data, 1, mac, &n), CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED,
                 CKR_FUNCTION_FAILED);
    n = sizeof mac;
    expect_ok(f->C_Sign(other, data, 1, mac, &n));

    /* a search and a MAC do not disturb each other */
    s = harness_session("main");
    expect_ok(f->C_FindObjectsInit(s, NULL, 0));
    expect_ok(f->C_SignInit(s, &m, key));
    n = sizeof mac;
    expect_ok(f->C_Sign(s, data, 1, mac, &n));
    CK_OBJECT_HANDLE o;
    expect_ok(f->C_FindObjects(s, &o, 1, &n));
    expect_ok(f->C_FindObjectsFinal(s));

    /* an operation ends with its session */
    expect_ok(f->C_SignInit(other, &m, key));
    expect_ok(f->C_CloseSession(other));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_SignFinal(other, mac, &n));

    /* Bad arguments end the operation (2.40, 5.2), or, as many tokens do, leave it: both ways the next
     * C_SignInit says which, and works. */
    n = sizeof mac;
    expect_ok(f->C_SignInit(s, &m, key));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_Sign(s, NULL, 5, mac, &n));
    if (f->C_SignInit(s, &m, key) == CKR_OPERATION_ACTIVE) {
        n = sizeof mac;
        expect_ok(f->C_Sign(s, data, 1, mac, &n));
        expect_ok(f->C_SignInit(s, &m, key));
    }
    expect_rv(CKR_ARGUMENTS_BAD, f->C_Sign(s, data, 5, mac, NULL));
    CK_SESSION_HANDLE third = harness_session("main");
    expect_ok(f->C_SignInit(third, &m, key));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_SignUpdate(third, NULL, 5));
    third = harness_session("main");
    expect_ok(f->C_SignInit(third, &m, key));
    expect_ok(f->C_SignUpdate(third, NULL, 0));
    expect_ok(f->C_SignUpdate(third, guard_buffer(0), 0));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_SignFinal(third, mac, NULL));
    third = harness_session("main");
    expect_ok(f->C_SignInit(third, &m, key));
    n = 32;
    uint8_t want[64];
    expect_ok(f->C_SignFinal(third, mac, &n)); /* no update at all: the MAC of nothing */
    oracle_hmac(&oracle_prfs[1], data, 32, NULL, 0, want);
    expect(memcmp(mac, want, 32) == 0, "another MAC");
    expect_ok(f->C_SignInit(third, &m, key));
    n = 32;
    expect_ok(f->C_Sign(third, NULL, 0, mac, &n));
    expect(memcmp(mac, want, 32) == 0, "another MAC");
}

static void test_verify(void **state)
{
    (void)state;
    uint8_t mac[70];
    start();
    CK_OBJECT_HANDLE key = object_import(s, data, 32);
    for (size_t i = 0; i < 4; i++) {
        const struct oracle_prf *prf = &oracle_prfs[i];
        CK_MECHANISM m = mechanism(prf);
        memset(mac, 0, sizeof mac);
        oracle_hmac(prf, data, 32, data, 50, mac);
        for (int final = 0; final < 2; final++) {
            expect_case("%s, final %d", prf->name, final);
            for (size_t byte = 0; byte < prf->size; byte++) {
                mac[byte] ^= 0x80;
                expect_ok(f->C_VerifyInit(s, &m, key));
                if (final)
                    expect_ok(f->C_VerifyUpdate(s, data, 50));
                expect_rv(CKR_SIGNATURE_INVALID, final ? f->C_VerifyFinal(s, mac, prf->size)
                                                       : f->C_Verify(s, data, 50, mac, prf->size));
                expect_rv(CKR_OPERATION_NOT_INITIALIZED, final ? f->C_VerifyFinal(s, mac, prf->size)
                                                               : f->C_Verify(s, data, 50, mac, prf->size));
                mac[byte] ^= 0x80;
            }
            const CK_ULONG wrong[] = {0, 1, prf->size - 1, prf->size + 1};
            for (size_t k = 0; k < 4; k++) {
                expect_ok(f->C_VerifyInit(s, &m, key));
                if (final)
                    expect_ok(f->C_VerifyUpdate(s, data, 50));
                uint8_t *given = guard_frozen(mac, wrong[k]);
                expect_rv_in(final ? f->C_VerifyFinal(s, given, wrong[k])
                                   : f->C_Verify(s, data, 50, given, wrong[k]),
                             CKR_SIGNATURE_LEN_RANGE);
                expect_rv(CKR_OPERATION_NOT_INITIALIZED, final ? f->C_VerifyFinal(s, mac, prf->size)
                                                               : f->C_Verify(s, data, 50, mac, prf->size));
            }
            CK_SESSION_HANDLE other = harness_session("main");
            expect_ok(f->C_VerifyInit(other, &m, key));
            expect_rv(CKR_ARGUMENTS_BAD, final ? f->C_VerifyUpdate(other, NULL, 5)
                                               : f->C_Verify(other, NULL, 5, mac, prf->size));
            other = harness_session("main");
            expect_ok(f->C_VerifyInit(other, &m, key));
            expect_rv(CKR_ARGUMENTS_BAD, final ? f->C_VerifyFinal(other, NULL, prf->size)
                                               : f->C_Verify(other, data, 50, NULL, prf->size));
        }
        guard_release();
    }
}

static void test_init(void **state)
{
    (void)state;
    start();
    CK_OBJECT_HANDLE key = object_import(s, data, 32), destroyed = object_import(s, data, 32), o;
    expect_ok(f->C_DestroyObject(s, destroyed));
    CK_OBJECT_HANDLE foreign = object_import(harness_session("strict"), data, 32);
    const CK_OBJECT_HANDLE wrong[] = {0, ~0UL, destroyed, foreign};
    for (size_t i = 0; i < 4; i++) {
        CK_MECHANISM m = mechanism(&oracle_prfs[i]);
        expect_case("%s", oracle_prfs[i].name);
        for (size_t k = 0; k < 4; k++) {
            expect_rv(CKR_KEY_HANDLE_INVALID, f->C_SignInit(s, &m, wrong[k]));
            expect_rv(CKR_KEY_HANDLE_INVALID, f->C_VerifyInit(s, &m, wrong[k]));
        }
        CK_ULONG parameter = 10;
        m.pParameter = &parameter, m.ulParameterLen = sizeof parameter;
        expect_rv(CKR_MECHANISM_PARAM_INVALID, f->C_SignInit(s, &m, key));
        m.pParameter = NULL;
        expect_rv(CKR_MECHANISM_PARAM_INVALID, f->C_VerifyInit(s, &m, key));
        /* key types: the generic one and its own */
        for (size_t k = 0; k < 4; k++) {
            struct template t;
            m = mechanism(&oracle_prfs[i]);
            template_secret(&t);
            t.numbers[1] = oracle_prfs[k].key_type;
            template_bytes(&t, CKA_VALUE, data, 32);
            template_bool(&t, CKA_SIGN, true);
            template_bool(&t, CKA_VERIFY, false);
            require_ok(f->C_CreateObject(s, t.a, t.n, &o));
            expect_case("%s with a key for %s", oracle_prfs[i].name, oracle_prfs[k].name);
            CK_RV rv = f->C_SignInit(s, &m, o);
            expect_rv(i == k ? CKR_OK : CKR_KEY_TYPE_INCONSISTENT, rv);
            if (rv == CKR_OK) {
                uint8_t mac[64];
                CK_ULONG n = 64;
                expect_ok(f->C_Sign(s, data, 1, mac, &n));
                expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED, f->C_VerifyInit(s, &m, o));
            }
        }
    }
    expect_case("%s", "");
    CK_MECHANISM m = mechanism(&oracle_prfs[1]);
    expect_error(f->C_SignInit(s, NULL, key));
    expect_error(f->C_VerifyInit(s, NULL, key));
    static const CK_MECHANISM_TYPE no[] = {
        CKM_SHA256_HMAC_GENERAL,  CKM_SHA_1_HMAC_GENERAL, CKM_SHA256, CKM_MD5_HMAC, CKM_AES_CMAC,
        CKM_IKE2_PRF_PLUS_DERIVE, CKM_RSA_PKCS,           ~0UL};
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        m.mechanism = no[i];
        expect_case("mechanism 0x%lx", no[i]);
        expect_rv(CKR_MECHANISM_INVALID, f->C_SignInit(s, &m, key));
        expect_rv(CKR_MECHANISM_INVALID, f->C_VerifyInit(s, &m, key));
        expect_rv(CKR_MECHANISM_INVALID,
                  f->C_SignInit(s, &m, object_by_id(s, MANUAL_1_ID, strlen(MANUAL_1_ID))));
    }
    struct template t;
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, data, 32);
    template_bool(&t, CKA_SIGN, false);
    require_ok(f->C_CreateObject(s, t.a, t.n, &o));
    m = mechanism(&oracle_prfs[1]);
    expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED, f->C_SignInit(s, &m, o));
    CK_MECHANISM_TYPE only[] = {CKM_SHA_1_HMAC};
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, data, 32);
    template_bool(&t, CKA_SIGN, true);
    template_bytes(&t, CKA_ALLOWED_MECHANISMS, only, sizeof only);
    require_ok(f->C_CreateObject(s, t.a, t.n, &o));
    expect_rv_in(f->C_SignInit(s, &m, o), CKR_MECHANISM_INVALID, CKR_KEY_FUNCTION_NOT_PERMITTED);
    m = mechanism(&oracle_prfs[0]);
    expect_ok(f->C_SignInit(s, &m, o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_hmac),    TOKEN_TEST(test_hmac_configured_keys),
        TOKEN_TEST(test_lengths), TOKEN_TEST(test_states),
        TOKEN_TEST(test_verify),  TOKEN_TEST(test_init),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
