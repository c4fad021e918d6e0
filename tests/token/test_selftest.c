/* SPDX-License-Identifier: BSD-2-Clause */
/* The token refuses to work with cryptography that gives wrong answers. This program stands in front of
 * libcrypto for the module: the functions below are called instead of OpenSSL's, and falsify a result. */
#include "harness.h"

#include <dlfcn.h>
#include <openssl/types.h>

static int spoil; /* which call is falsified: the first is 1; 0: none */
static int calls;

__attribute__((visibility("default"))) int HMAC_Final(HMAC_CTX *c, unsigned char *out, unsigned int *len)
{
    static int (*real)(HMAC_CTX *, unsigned char *, unsigned int *);

    if (real == NULL)
        *(void **)&real = dlsym(dlopen("libcrypto.so.3", RTLD_NOW), "HMAC_Final");
    const int good = real(c, out, len);
    if (++calls == spoil)
        out[0] ^= 1;
    return good;
}

__attribute__((visibility("default"))) int EVP_CipherUpdate(EVP_CIPHER_CTX *c, unsigned char *out, int *len,
                                                            const unsigned char *in, int n)
{
    static int (*real)(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int);

    if (real == NULL)
        *(void **)&real = dlsym(dlopen("libcrypto.so.3", RTLD_NOW), "EVP_CipherUpdate");
    const int good = real(c, out, len, in, n);
    if (++calls == spoil && *len > 0)
        out[0] ^= 1;
    return good;
}

static CK_OBJECT_HANDLE the_ppk(CK_SESSION_HANDLE session)
{
    CK_BYTE id[] = "one";
    CK_ATTRIBUTE wanted = {CKA_ID, id, sizeof id - 1};
    CK_OBJECT_HANDLE key = 0;
    CK_ULONG n = 0;

    assert_int_equal(f->C_FindObjectsInit(session, &wanted, 1), CKR_OK);
    assert_int_equal(f->C_FindObjects(session, &key, 1, &n), CKR_OK);
    assert_int_equal(f->C_FindObjectsFinal(session), CKR_OK);
    assert_int_equal(n, 1);
    return key;
}

/* Nothing that needs a hash works before all of them have given the known answers. */
static void wrong_answers(void **state)
{
    static const char *const names[] = {"HMAC-SHA-1",   "HMAC-SHA-256", "HMAC-SHA-384",
                                        "HMAC-SHA-512", "prf+",         "prf+"};
    CK_BYTE seed[] = "seed";
    CK_IKE2_PRF_PLUS_DERIVE_PARAMS params = {
        .prfMechanism = CKM_SHA256_HMAC, .pSeedData = seed, .ulSeedDataLen = sizeof seed};
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0},
                 prf_plus = {CKM_IKE2_PRF_PLUS_DERIVE, &params, sizeof params};
    CK_ULONG len = 32;
    CK_ATTRIBUTE template = {CKA_VALUE_LEN, &len, sizeof len};
    CK_OBJECT_HANDLE derived = 0;
    char expected[100];

    (void)state;
    spoil = calls = 0;
    assert_int_equal(f->C_Initialize(NULL), CKR_OK);
    const CK_SESSION_HANDLE session = harness_session_rw("k");
    const CK_OBJECT_HANDLE key = the_ppk(session);
    assert_int_equal(calls, 0); /* OpenSSL takes its time for the first */
    for (int i = 0; i < (int)(sizeof names / sizeof names[0]); i++) {
        snprintf(expected, sizeof expected, "self-test: %s gives a wrong answer", names[i]);
        for (int call = 0; call < 4; call++) {
            harness_log_clear();
            calls = 0;
            spoil = i + 1;
            CK_RV rv = call == 0   ? f->C_SignInit(session, &hmac, key)
                       : call == 1 ? f->C_VerifyInit(session, &hmac, key)
                       : call == 2 ? f->C_DeriveKey(session, &prf_plus, key, &template, 1, &derived)
                                   : f->C_SeedRandom(session, seed, sizeof seed);
            assert_int_equal(rv, CKR_FUNCTION_FAILED);
            assert_non_null(strstr(harness_log(), expected));
        }
    }
    spoil = calls = 0;
    assert_int_equal(f->C_DeriveKey(session, &prf_plus, key, &template, 1, &derived), CKR_OK);
    assert_true(calls > (int)(sizeof names / sizeof names[0]));
    calls = 0;
    assert_int_equal(f->C_DeriveKey(session, &prf_plus, key, &template, 1, &derived), CKR_OK);
    assert_int_equal(calls, 1); /* once is enough */
    assert_int_equal(f->C_Finalize(NULL), CKR_OK);
}

/* Key wrap is tested when it is first needed, too. */
static void wrong_wraps(void **state)
{
    CK_BYTE wrapped[40];

    (void)state;
    assert_int_equal(f->C_Initialize(NULL), CKR_OK);
    const CK_SESSION_HANDLE session = harness_session_rw("k");
    CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP_KWP, NULL, 0};
    for (int i = 0; i < 2; i++) {
        CK_ULONG len = sizeof wrapped;
        harness_log_clear();
        calls = 0;
        spoil = i + 1;
        assert_int_equal(f->C_WrapKey(session, &mechanism, 1, 1, wrapped, &len), CKR_FUNCTION_FAILED);
        assert_non_null(strstr(harness_log(), "self-test: AES key wrap gives a wrong answer"));
    }
    spoil = calls = 0;
    CK_ULONG len = sizeof wrapped;
    assert_int_equal(f->C_WrapKey(session, &mechanism, 1, 1, wrapped, &len), CKR_WRAPPING_KEY_HANDLE_INVALID);
    assert_int_equal(calls, 2);
    assert_int_equal(f->C_Finalize(NULL), CKR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_answers), cmocka_unit_test(wrong_wraps)};

    harness_load();
    harness_conf("keyring k\n peer p\n  ppk manual id one key hex %064d\n", 7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
