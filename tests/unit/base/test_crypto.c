/* SPDX-License-Identifier: BSD-2-Clause */
/* The private OpenSSL context: one for all threads, apart from the host's, and gone without a crash once
 * OpenSSL is. */
#include "base/crypto.h"
#include "base/secret.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void *get(void *arg)
{
    (void)arg;
    return crypto_context();
}

static void one_for_all(void **state)
{
    pthread_t ids[8];
    void *got[8];

    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, get, NULL), 0);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(ids[i], &got[i]), 0);
        assert_non_null(got[i]);
        assert_ptr_equal(got[i], got[0]);
    }
    assert_int_equal(OSSL_PROVIDER_available(crypto_context(), "default"), 1);
    assert_ptr_not_equal(crypto_context(), OSSL_LIB_CTX_get0_global_default());
}

static void randomness(void **state)
{
    uint8_t a[64], b[64], zeros[64] = {0};

    (void)state;
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    assert_true(crypto_random(a, sizeof a));
    assert_true(crypto_random(b, sizeof b));
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, zeros, sizeof a);
    assert_true(crypto_random_private(b, sizeof b));
    assert_memory_not_equal(a, b, sizeof a);
    assert_true(crypto_random(a, 0));
    assert_int_equal(ERR_peek_error(), 0);
}

/* After the host's OPENSSL_cleanup() all that needs OpenSSL says no, and nothing crashes. */
static void after_cleanup(void **state)
{
    uint8_t bytes[8];
    int status = 0;

    (void)state;
    (void)crypto_context();
    pid_t child = fork();
    if (child == 0) {
        struct secret *s = secret_new("value", 5);
        OPENSSL_cleanup();
        secret_free(s);
        _exit(crypto_alive() || crypto_context() || !crypto_random(bytes, sizeof bytes) ||
                      crypto_random_private(bytes, sizeof bytes)
                  ? 1
                  : 0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_for_all), cmocka_unit_test(randomness),
                                       cmocka_unit_test(after_cleanup)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
