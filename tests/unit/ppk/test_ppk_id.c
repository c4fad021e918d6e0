/* SPDX-License-Identifier: BSD-2-Clause */
/* The forms of a PPK ID: which keyIds are asked for, and what CKA_ID shows. */
#include "double.h"
#include "ppk/id.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>

static const uint8_t RAW[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
#define HEX "00112233445566778899aabbccddeeff"

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        size_t len;
        enum ppk_id_format format;
        const char *form[2];
    } cases[] = {
        {(const char *)RAW, 16, PPK_ID_RAW, {HEX}},
        {(const char *)RAW, 16, PPK_ID_TEXT, {HEX}},
        {HEX, 32, PPK_ID_RAW, {HEX}},
        {HEX, 32, PPK_ID_TEXT, {HEX}},
        {"00112233445566778899AABBccddeeff", 32, PPK_ID_RAW, {"00112233445566778899AABBccddeeff"}},
        {"key number 7", 12, PPK_ID_TEXT, {"key number 7", "6b6579206e756d6265722037"}},
        {"key number 7", 12, PPK_ID_RAW, {"6b6579206e756d6265722037", "key number 7"}},
        {"1234", 4, PPK_ID_RAW, {"31323334", "1234"}}, /* four digits, or the bytes 31 32 33 34? */
        {"1234", 4, PPK_ID_TEXT, {"1234", "31323334"}},
        {"0123456789abcde", 15, PPK_ID_TEXT, {"0123456789abcde", "303132333435363738396162636465"}},
        {"Schl\303\274ssel", 10, PPK_ID_TEXT, {"Schl\303\274ssel", "5363686cc3bc7373656c"}},
        {"a\0b", 3, PPK_ID_TEXT, {"610062"}}, /* a NUL is no text */
        {"a\nb", 3, PPK_ID_TEXT, {"610a62"}}, /* nor a control character */
        {"a\x7f", 2, PPK_ID_TEXT, {"617f"}},
        {"\302\205", 2, PPK_ID_TEXT, {"c285"}},             /* C1 */
        {"\300\257", 2, PPK_ID_TEXT, {"c0af"}},             /* overlong */
        {"\340\237\277", 3, PPK_ID_TEXT, {"e09fbf"}},       /* overlong */
        {"\355\240\200", 3, PPK_ID_TEXT, {"eda080"}},       /* a surrogate */
        {"\364\220\200\200", 4, PPK_ID_TEXT, {"f4908080"}}, /* beyond Unicode */
        {"\303", 1, PPK_ID_TEXT, {"c3"}},                   /* cut off */
        {".", 1, PPK_ID_RAW, {"2e"}},                       /* of a path, these are no names */
        {".", 1, PPK_ID_TEXT, {"2e"}},
        {"..", 2, PPK_ID_RAW, {"2e2e"}},
        {"..", 2, PPK_ID_TEXT, {"2e2e"}},
        {"...", 3, PPK_ID_TEXT, {"...", "2e2e2e"}},
        {".a", 2, PPK_ID_TEXT, {".a", "2e61"}},
        {"\360\237\224\221", 4, PPK_ID_RAW, {"f09f9491", "\360\237\224\221"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct id_forms f;
        id_forms_make((struct span){(const uint8_t *)cases[i].id, cases[i].len}, cases[i].format, &f);
        assert_int_equal(f.n, cases[i].form[1] ? 2 : 1);
        for (size_t k = 0; k < f.n; k++)
            assert_string_equal(f.form[k], cases[i].form[k]);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    static uint8_t longest[PPK_ID_MAX + 1];
    static char digits[2 * PPK_ID_MAX + 1];
    struct id_forms f;
    struct id_keys k;

    memset(longest, 0xa5, sizeof longest);
    id_forms_make((struct span){longest, PPK_ID_MAX}, PPK_ID_RAW, &f);
    assert_int_equal(f.n, 1);
    for (size_t i = 0; i < PPK_ID_MAX; i++)
        memcpy(digits + 2 * i, "a5", 2);
    assert_string_equal(f.form[0], digits);
    id_keys_make((struct span){longest, PPK_ID_MAX}, &k);
    assert_int_equal(k.n, 1);
    id_forms_make((struct span){longest, PPK_ID_MAX + 1}, PPK_ID_RAW, &f);
    assert_int_equal(f.n, 0);
    id_keys_make((struct span){longest, PPK_ID_MAX + 1}, &k);
    assert_int_equal(k.n, 0);
    id_forms_make((struct span){NULL, 0}, PPK_ID_RAW, &f);
    assert_int_equal(f.n, 0);
    id_keys_make((struct span){NULL, 0}, &k);
    assert_int_equal(k.n, 0);
}

static void test_keys_and_matches(void **state)
{
    (void)state;
    struct id_keys k;

    id_keys_make(span_of("00112233445566778899AABBccddeeff"), &k);
    assert_int_equal(k.n, 2);
    assert_true(span_equal(k.key[0], (struct span){RAW, 16}));
    assert_true(id_matches(span_of(HEX), true, k.key[0]));
    assert_true(id_matches((struct span){RAW, 16}, false, k.key[0]));
    assert_false(id_matches(span_of(HEX), true, k.key[1]));
    assert_false(id_matches(span_of("00112233445566778899aabbccddeefe"), true, k.key[0]));
    id_keys_make(span_of("no hex"), &k);
    assert_int_equal(k.n, 1);
    assert_true(id_matches(span_of("no hex"), false, k.key[0]));
}

static void test_shown(void **state)
{
    (void)state;
    uint8_t out[64];

    assert_int_equal(id_shown("00112233445566778899AABBCCDDEEFF", PPK_ID_RAW, out), 16);
    assert_memory_equal(out, RAW, 16);
    assert_int_equal(id_shown("00112233445566778899AABBCCDDEEFF", PPK_ID_TEXT, out), 32);
    assert_memory_equal(out, "00112233445566778899AABBCCDDEEFF", 32);
    assert_int_equal(id_shown("abc", PPK_ID_RAW, out), 3); /* odd: no hex */
    assert_memory_equal(out, "abc", 3);
    assert_int_equal(id_shown("key-7", PPK_ID_RAW, out), 5);
    assert_memory_equal(out, "key-7", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_keys_and_matches),
        cmocka_unit_test(test_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
