/* SPDX-License-Identifier: BSD-2-Clause */
/* C_Initialize refuses to work with cryptography that gives wrong answers. This program stands in front of
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

static void wrong_answers(void **state)
{
    static const char *const names[] = {"HMAC-SHA-1",   "HMAC-SHA-256", "HMAC-SHA-384",
                                        "HMAC-SHA-512", "prf+",         "prf+"};
    char expected[100];

    (void)state;
    for (int i = 0; i < (int)(sizeof names / sizeof names[0]); i++) {
        harness_log_clear();
        calls = 0;
        spoil = i + 1;
        assert_int_equal(f->C_Initialize(NULL), CKR_GENERAL_ERROR);
        snprintf(expected, sizeof expected, "self-test: %s gives a wrong answer", names[i]);
        assert_non_null(strstr(harness_log(), expected));
        assert_int_equal(f->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    }
    spoil = calls = 0;
    assert_int_equal(f->C_Initialize(NULL), CKR_OK);
    assert_true(calls >= (int)(sizeof names / sizeof names[0]));
    assert_int_equal(f->C_Finalize(NULL), CKR_OK);
    calls = 0;
    assert_int_equal(f->C_Initialize(NULL), CKR_OK);
    assert_int_equal(calls, 0); /* once is enough */
    assert_int_equal(f->C_Finalize(NULL), CKR_OK);
}

/* Key wrap is tested when it is first needed: OpenSSL's ciphers take more than a start should. */
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
