/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void decodes(void **state)
{
    static const struct {
        const char *in, *out; /* out NULL: malformed */
    } cases[] = {
        {"", ""},         {"Bob", "Bob"},         {"B%6fb", "Bob"},
        {"B%6Fb", "Bob"}, {"a+b", "a+b"},         {"%20", " "},
        {"%", NULL},      {"%4", NULL},           {"%zz", NULL},
        {"%00", NULL},    {"a%0ab", NULL},        {"%7f", NULL},
        {"a\tb", NULL},   {"%c3%a4", "ä"},        {"%25", "%"},
        {"%2541", "%41"}, {"1234567", "1234567"}, {"12345678", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[8] = "xxxxxxx";

        assert_int_equal(percent_decode(cases[i].in, strlen(cases[i].in), out, sizeof out),
                         cases[i].out != NULL);
        assert_string_equal(out, cases[i].out != NULL ? cases[i].out : "");
    }
}

static void does_not_read_beyond(void **state)
{
    /* an escape that the length cuts off */
    char out[8];

    (void)state;
    assert_false(percent_decode("a%41", 3, out, sizeof out));
    assert_false(percent_decode("a%41", 2, out, sizeof out));
    assert_true(percent_decode("a%41", 4, out, sizeof out));
    assert_string_equal(out, "aA");
    assert_false(percent_decode("", 0, out, 0));
}

static void finds_values(void **state)
{
    static const struct {
        const char *query;
        enum query_result result;
        const char *value;
    } cases[] = {
        {NULL, QUERY_ABSENT, ""},
        {"", QUERY_ABSENT, ""},
        {"size=256", QUERY_ABSENT, ""},
        {"id=Bob", QUERY_FOUND, "Bob"},
        {"size=256&id=Bob", QUERY_FOUND, "Bob"},
        {"id=Bob&size=256", QUERY_FOUND, "Bob"},
        {"&&id=Bob&&", QUERY_FOUND, "Bob"},
        {"%69d=B%6fb", QUERY_FOUND, "Bob"},
        {"id=", QUERY_FOUND, ""},
        {"id=a=b", QUERY_FOUND, "a=b"},
        {"id=a%26b", QUERY_FOUND, "a&b"},
        {"ID=Bob", QUERY_ABSENT, ""},
        {"xid=Bob&idx=Bob", QUERY_ABSENT, ""},
        {"id", QUERY_MALFORMED, ""},
        {"id=%", QUERY_MALFORMED, ""},
        {"id=0123456789012345", QUERY_MALFORMED, ""},
        {"id=a&id=a", QUERY_TWICE, NULL},
        {"%zz=1&id=Bob", QUERY_FOUND, "Bob"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[16];

        assert_int_equal(query_value(cases[i].query, "id", out, sizeof out), cases[i].result);
        if (cases[i].value != NULL)
            assert_string_equal(out, cases[i].value);
    }
}

static void finds_numbers(void **state)
{
    static const char *const BAD[] = {"n=",           "n=-1", "n=+1",   "n=1.0", "n=0x1",
                                      "n=1234567890", "n= 1", "n=1%20", "n=a"};
    uint32_t n = 7;

    (void)state;
    assert_int_equal(query_number("m=1", "n", &n), QUERY_ABSENT);
    assert_int_equal(n, 7);
    assert_int_equal(query_number("n=0256", "n", &n), QUERY_FOUND);
    assert_int_equal(n, 256);
    assert_int_equal(query_number("n=999999999", "n", &n), QUERY_FOUND);
    assert_int_equal(n, 999999999);
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        assert_int_equal(query_number(BAD[i], "n", &n), QUERY_MALFORMED);
}

static void knows_paths(void **state)
{
    static const struct {
        const char *path;
        enum skip_path means;
        const char *rest;
    } cases[] = {
        {"/capabilities", SKIP_PATH_CAPABILITIES, NULL},
        {"/key", SKIP_PATH_KEY, NULL},
        {"/entropy", SKIP_PATH_ENTROPY, NULL},
        {"/key/ab", SKIP_PATH_KEY_ID, "ab"},
        {"/key/", SKIP_PATH_KEY_ID, ""},
        {"/key/ab/", SKIP_PATH_UNKNOWN, NULL},
        {"/key/a/b", SKIP_PATH_UNKNOWN, NULL},
        {"/", SKIP_PATH_UNKNOWN, NULL},
        {"", SKIP_PATH_UNKNOWN, NULL},
        {"/keys", SKIP_PATH_UNKNOWN, NULL},
        {"key", SKIP_PATH_UNKNOWN, NULL},
        {"/KEY", SKIP_PATH_UNKNOWN, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *rest = NULL;

        assert_int_equal(skip_path_of(cases[i].path, &rest), cases[i].means);
        if (cases[i].rest == NULL)
            assert_null(rest);
        else
            assert_string_equal(rest, cases[i].rest);
    }
}

static void decodes_key_ids(void **state)
{
    uint8_t id[KEY_ID_MAX];
    char text[2 * KEY_ID_MAX + 3];

    (void)state;
    assert_int_equal(key_id_decode("00fFAb", id), 3);
    assert_memory_equal(id, "\x00\xff\xab", 3);
    assert_int_equal(key_id_decode("%300", id), 1);
    assert_int_equal(key_id_decode("1726E9ab8C2d1726E9ab8C2d1726E9ab8C2d1726E9ab8C2d", id), 24);
    assert_int_equal(key_id_decode("", id), 0);
    assert_int_equal(key_id_decode("abc", id), 0);
    assert_int_equal(key_id_decode("zz", id), 0);
    assert_int_equal(key_id_decode("a ", id), 0);
    memset(text, 'a', sizeof text);
    text[2 * KEY_ID_MAX] = '\0';
    assert_int_equal(key_id_decode(text, id), KEY_ID_MAX);
    text[2 * KEY_ID_MAX] = 'a';
    text[2 * KEY_ID_MAX + 2] = '\0';
    assert_int_equal(key_id_decode(text, id), 0);
}

static void knows_concrete_ids(void **state)
{
    static const char *const BAD[] = {"", "*", "a*", "a?", "[a]", "a]", "a\\", "a\nb", "\x7f",
                                      /* no UTF-8: stray, cut off, overlong, a surrogate, beyond U+10FFFF */
                                      "Ali\xff", "\x80", "\xc3", "ab\xe2\x82", "\xc0\xaf", "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80"};
    char longest[SYSTEM_ID_MAX + 2];

    (void)state;
    assert_true(system_id_is_concrete("Alice"));
    assert_true(system_id_is_concrete("site 1/rack-2.example_ä"));
    assert_true(system_id_is_concrete("\xe2\x82\xac \xf0\x9f\x94\x91"));
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        assert_false(system_id_is_concrete(BAD[i]));
    memset(longest, 'a', sizeof longest);
    longest[SYSTEM_ID_MAX] = '\0';
    assert_true(system_id_is_concrete(longest));
    longest[SYSTEM_ID_MAX] = 'a';
    longest[SYSTEM_ID_MAX + 1] = '\0';
    assert_false(system_id_is_concrete(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes),
        cmocka_unit_test(does_not_read_beyond),
        cmocka_unit_test(finds_values),
        cmocka_unit_test(finds_numbers),
        cmocka_unit_test(knows_paths),
        cmocka_unit_test(decodes_key_ids),
        cmocka_unit_test(knows_concrete_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
