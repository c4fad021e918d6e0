/* SPDX-License-Identifier: BSD-2-Clause */
/* Type 6 secrets: the format, and what is refused. */
#include "base/crypto.h"
#include "config/type6.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <openssl/err.h>
#include <openssl/provider.h>
#include <string.h>

/* The linker puts this in front of the real one (--wrap). */
OSSL_LIB_CTX *__real_crypto_context(void);
OSSL_LIB_CTX *__wrap_crypto_context(void);

static bool other_context;
static OSSL_LIB_CTX *the_other; /* or NULL */

OSSL_LIB_CTX *__wrap_crypto_context(void)
{
    return other_context ? the_other : __real_crypto_context();
}

static struct type6 *made(const char *key)
{
    struct type6 *t = type6_new(key, strlen(key));

    assert_non_null(t);
    return t;
}

static void assert_opens(struct type6 *t, const char *text, const void *value, size_t len)
{
    struct fault fault = {""};
    struct secret *s = type6_open(t, text, &fault);
    struct secret_view view;

    if (s == NULL)
        fail_msg("%s", fault.text);
    assert_true(secret_open(s, &view));
    assert_int_equal(view.len, len);
    assert_memory_equal(view.data, value, len);
    secret_close(&view);
    secret_free(s);
}

static void test_round_trip(void **state)
{
    static uint8_t value[SECRET_MAX + 1];
    static const size_t lengths[] = {0, 1, 2, 3, 31, 32, 33, 255, 4095, SECRET_MAX};
    struct type6 *a = made("master"), *b = made("master");

    (void)state;
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct text text = {0};

        assert_true(type6_seal(a, value, lengths[i], &text, NULL));
        assert_true(type6_is(text.s));
        assert_int_equal(type6_length(text.s), lengths[i]);
        assert_int_equal(strspn(text.s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                         text.len);
        assert_opens(a, text.s, value, lengths[i]);
        assert_opens(b, text.s, value, lengths[i]);
        text_free(&text);
    }
    struct text text = {0};
    assert_false(type6_seal(a, value, SECRET_MAX + 1, &text, NULL));
    assert_int_equal(text.len, 0);
    type6_free(a);
    type6_free(b);
}

/* Made by an independent implementation (Python's hashlib.scrypt and cryptography's AESGCM) from master key
 * "correct horse", salt 00 01 … 0f, nonce 10 11 … 1b, secret "cisco123!cisco123". */
static void test_known_answer(void **state)
{
    struct type6 *t = made("correct horse");

    (void)state;
    assert_opens(t, "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhsCpX34FEI02Cxpdjuk2e8r0EFnB48nHWK9Zo_bxQRGAdw",
                 "cisco123!cisco123", 17);
    type6_free(t);
}

static void test_salt_is_shared(void **state)
{
    struct type6 *a = made("k"), *b = made("k"), *c = made("k");
    struct text one = {0}, two = {0}, three = {0}, four = {0};

    (void)state;
    assert_true(type6_seal(a, "x", 1, &one, NULL));
    assert_true(type6_seal(a, "x", 1, &two, NULL));
    assert_true(type6_seal(b, "x", 1, &three, NULL));
    assert_opens(c, three.s, "x", 1);
    assert_true(type6_seal(c, "x", 1, &four, NULL)); /* under the salt of what was opened */
    assert_memory_equal(one.s, two.s, 22);
    assert_string_not_equal(one.s, two.s);
    assert_memory_not_equal(one.s, three.s, 22);
    assert_memory_equal(three.s, four.s, 22);
    text_free(&one);
    text_free(&two);
    text_free(&three);
    text_free(&four);
    type6_free(a);
    type6_free(b);
    type6_free(c);
}

static void test_damage(void **state)
{
    struct type6 *t = made("master"), *other = made("Master");
    struct fault fault = {""};
    struct text text = {0};

    (void)state;
    assert_true(type6_seal(t, "0123456789", 10, &text, NULL));
    assert_null(type6_open(other, text.s, &fault));
    assert_string_equal(fault.text,
                        "the Type 6 secret is damaged, or was encrypted under another master key");
    /* every character behind the salt (a changed salt is another key: one of these is enough, for it costs a
     * scrypt) */
    for (size_t i = 22; i < text.len; i++) {
        char kept = text.s[i];

        text.s[i] = kept == 'A' ? 'E' : 'A';
        assert_null(type6_open(t, text.s, &fault));
        text.s[i] = kept;
    }
    text.s[5] = text.s[5] == 'A' ? 'E' : 'A';
    assert_null(type6_open(t, text.s, &fault));
    text_free(&text);
    type6_free(t);
    type6_free(other);
}

static void test_shape(void **state)
{
    static const char *const bad[] = {
        "",
        "A",
        "AQ",
        "cisco123",
        "\xff",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",       /* an octet too short */
        "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",     /* another version */
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",    /* no length of base64 */
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", /* padding */
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+",     /* not of the alphabet */
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",   /* spare bits set */
    };
    static char longest[8192];
    struct type6 *t = made("k");

    (void)state;
    assert_true(
        type6_is("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")); /* an empty secret */
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fault fault = {""};

        if (type6_is(bad[i]) || type6_length(bad[i]) != 0)
            fail_msg("\"%s\" is taken", bad[i]);
        assert_null(type6_open(t, bad[i], &fault));
        assert_string_equal(fault.text, "not a Type 6 text");
    }
    memset(longest, 'A', sizeof longest - 1);
    longest[1] = 'Q';
    assert_false(type6_is(longest));
    type6_free(t);
}

static void test_master_key_bounds(void **state)
{
    static uint8_t key[513];
    struct type6 *t = type6_new(key, 512);

    (void)state;
    assert_non_null(t);
    type6_free(t);
    assert_null(type6_new(key, 513));
    assert_null(type6_new(key, 0));
    type6_free(NULL);
}

/* OpenSSL's error queue is the host's: it finds its own errors there, and none of ours. */
static void test_the_hosts_errors(void **state)
{
    struct type6 *t = made("master"), *fresh = made("master");
    OSSL_PROVIDER *nothing = NULL;
    struct text text = {0};

    (void)state;
    assert_true(type6_seal(t, "0123456789", 10, &text, NULL));
    the_other = OSSL_LIB_CTX_new();
    nothing = OSSL_PROVIDER_load(the_other, "null"); /* nothing can be fetched */
    assert_non_null(nothing);
    ERR_clear_error();
    ERR_raise(ERR_LIB_USER, 7);
    const unsigned long raised = ERR_peek_error();
    other_context = true;
    assert_null(type6_open(t, text.s, NULL));
    assert_null(type6_open(fresh, text.s, NULL));
    other_context = false;
    assert_int_equal(ERR_get_error(), raised);
    assert_int_equal(ERR_get_error(), 0);
    OSSL_PROVIDER_unload(nothing);
    OSSL_LIB_CTX_free(the_other);
    the_other = NULL;
    text_free(&text);
    type6_free(t);
    type6_free(fresh);
}

/* Without a context of our own nothing is done, least of all with the host's. */
static void test_no_context(void **state)
{
    struct type6 *t = made("master"), *fresh = made("master");
    struct text text = {0}, none = {0};
    struct fault fault = {""};

    (void)state;
    assert_true(type6_seal(t, "0123456789", 10, &text, NULL));
    other_context = true;
    assert_null(type6_open(t, text.s, &fault)); /* its key is at hand */
    assert_non_null(strstr(fault.text, "no memory left"));
    fault_set(&fault, "%s", "");
    assert_null(type6_open(fresh, text.s, &fault));
    assert_non_null(strstr(fault.text, "no memory left"));
    fault_set(&fault, "%s", "");
    assert_false(type6_seal(t, "x", 1, &none, &fault));
    assert_non_null(strstr(fault.text, "no memory left"));
    assert_int_equal(none.len, 0);
    other_context = false;
    assert_opens(t, text.s, "0123456789", 10);
    assert_opens(fresh, text.s, "0123456789", 10);
    text_free(&text);
    text_free(&none);
    type6_free(t);
    type6_free(fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_known_answer),
        cmocka_unit_test(test_salt_is_shared),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_master_key_bounds),
        cmocka_unit_test(test_the_hosts_errors),
        cmocka_unit_test(test_no_context),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
