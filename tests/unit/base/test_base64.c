/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

/* Exactly the bytes, so that the sanitizers see one too many. */
static bool decode(const char *text, size_t len, uint8_t *out, size_t *out_len)
{
    char *exact = malloc(len + 1);
    uint8_t *room = malloc(len / 4 * 3 + 1);
    assert_non_null(exact);
    assert_non_null(room);
    char *end = exact + 1; /* the text ends with the allocation */
    memcpy(end, text, len);
    uint8_t *at = room + 1;
    bool good = base64_decode(at, out_len, end, len);
    for (size_t i = 0; !good && i < len / 4 * 3; i++)
        assert_int_equal(at[i], 0);
    if (good)
        memcpy(out, at, *out_len);
    free(exact);
    free(room);
    return good;
}

/* RFC 4648, section 10. */
static void vectors(void **state)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        uint8_t bytes[16];
        char text[16] = "";
        size_t len = 99;
        assert_true(decode(pairs[i][1], strlen(pairs[i][1]), bytes, &len));
        assert_int_equal(len, strlen(pairs[i][0]));
        assert_memory_equal(bytes, pairs[i][0], len);
        base64_encode(text, (const uint8_t *)pairs[i][0], len);
        assert_string_equal(text, pairs[i][1]);
    }
}

/* All lengths and all byte values, against OpenSSL. */
static void against_openssl(void **state)
{
    uint8_t bytes[300], back[303];
    char ours[BASE64_LEN(sizeof bytes) + 1], theirs[BASE64_LEN(sizeof bytes) + 1];
    (void)state;
    for (size_t len = 0; len <= sizeof bytes; len++) {
        size_t n = 0;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)(i * 151 + len);
        memset(ours, 0, sizeof ours);
        base64_encode(ours, bytes, len);
        assert_int_equal(EVP_EncodeBlock((unsigned char *)theirs, bytes, (int)len), BASE64_LEN(len));
        assert_string_equal(ours, theirs);
        assert_true(decode(ours, strlen(ours), back, &n));
        assert_int_equal(n, len);
        assert_memory_equal(back, bytes, len);
    }
}

/* Each character in each place: those of the alphabet are taken, all others refused. */
static void alphabet(void **state)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (void)state;
    for (int c = 0; c < 256; c++) {
        for (size_t place = 0; place < 8; place++) {
            char text[] = "AAAAAAAA";
            uint8_t out[6];
            size_t len = 0;
            text[place] = (char)c;
            bool expected = (c && strchr(good, c)) || (c == '=' && place == 7);
            assert_int_equal(decode(text, 8, out, &len), expected);
            assert_int_equal(len, !expected ? 0 : c == '=' ? 5 : 6);
        }
    }
}

static void refused(void **state)
{
    static const char *const texts[] = {
        "A",        "AA",   "AAA",  "AAAAA",   "====",      "A===", "=AAA", "AA=A",    "AAA=AAAA",
        "AA==AAAA", "AB==", "AAB=", "AAA AAA", "AAAA\nAAA", "AAA-", "AAA_", "AAAA===="};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint8_t out[16];
        size_t len = 7;
        if (decode(texts[i], strlen(texts[i]), out, &len))
            fail_msg("\"%s\" was taken", texts[i]);
        assert_int_equal(len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(against_openssl),
        cmocka_unit_test(alphabet),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
