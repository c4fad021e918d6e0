/* SPDX-License-Identifier: BSD-2-Clause */
#include "answer.h"
#include "skip/json_blank.h"
#include "skip/messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID    "1726e9AbCDe4c3F0"
#define KEY16 "000102030405060708090a0B0c0d0E0f"
#define KEY32 KEY16 "101112131415161718191a1b1c1d1e1f"

static struct sks_profile profile = {.name = (char *)"qkd", .key_size = 256};
static const struct skip_call new_key = {.request = SKIP_REQUEST_KEY, .remote = "Bob", .size = 256};
static const struct skip_call by_id = {.request = SKIP_REQUEST_KEY_BY_ID, .remote = "Bob", .key_id = ID};
static const struct skip_call entropy = {.request = SKIP_REQUEST_ENTROPY, .size = 128};
static const struct skip_call capabilities = {.request = SKIP_REQUEST_CAPABILITIES};

static struct skip_answer read_bytes(const struct skip_call *call, long status, const char *body, size_t len)
{
    struct skip_answer a = answer_read(&profile, call, status, body, len);
    assert_null(strstr(a.fault.text, "0b0c0d"));
    assert_null(strstr(a.fault.text, "0B0c0d"));
    return a;
}

static struct skip_answer read_text(const struct skip_call *call, long status, const char *body)
{
    return read_bytes(call, status, body, strlen(body));
}

static void assert_key(const struct secret *s, size_t len)
{
    struct secret_view v;
    assert_non_null(s);
    assert_int_equal(secret_len(s), len);
    assert_true(secret_open(s, &v));
    for (size_t i = 0; i < len; i++)
        assert_int_equal(v.data[i], i % 32);
    secret_close(&v);
}

static void paths(void **state)
{
    static const struct {
        struct skip_call call;
        const char *path;
    } cases[] = {
        {{.request = SKIP_REQUEST_CAPABILITIES}, "/capabilities"},
        {{.request = SKIP_REQUEST_KEY, .remote = "Bob", .size = 256}, "/key?remoteSystemID=Bob&size=256"},
        {{.request = SKIP_REQUEST_KEY, .remote = "a b&size=8#/?%\xc3\xbc", .size = 512},
         "/key?remoteSystemID=a%20b%26size%3D8%23%2F%3F%25%C3%BC&size=512"},
        {{.request = SKIP_REQUEST_KEY_BY_ID, .remote = "Bob", .key_id = "00AaFf"},
         "/key/00AaFf?remoteSystemID=Bob"},
        {{.request = SKIP_REQUEST_KEY_BY_ID, .remote = "B", .key_id = "../KME?x=1&y\r\n"},
         "/key/..%2FKME%3Fx%3D1%26y%0D%0A?remoteSystemID=B"},
        {{.request = SKIP_REQUEST_ENTROPY, .size = 128}, "/entropy?minentropy=128"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text t = {0}, body = {0};
        message_request(&profile, &cases[i].call, &t, &body);
        assert_string_equal(t.s, cases[i].path);
        assert_int_equal(body.len, 0);
        text_free(&t);
    }
}

static void good_keys(void **state)
{
    static const struct {
        const struct skip_call *call;
        const char *body, *id;
        size_t len;
    } cases[] = {
        {&new_key, "{\"keyId\":\"" ID "\",\"key\":\"" KEY32 "\"}", ID, 32},
        {&new_key,
         " {\n\"key\" : \"" KEY32 "\" ,\r\n\t\"keyId\" : \"x\" , \"a\":{\"key\":\"" KEY16
         "\"}, \"b\":[1e9,null,\"" KEY32 "\"] }\n",
         "x", 32},
        {&new_key, "{\"keyId\":\"KME\\/7 \\u00fc\",\"key\":\"" KEY32 "\"}", "KME/7 \xc3\xbc", 32},
        {&by_id, "{\"keyId\":\"" ID "\",\"key\":\"" KEY32 "\"}", ID, 32},
        {&by_id, "{\"keyId\":\"1726E9aBcdE4C3f0\",\"key\":\"" KEY32 "\"}", "1726E9aBcdE4C3f0", 32},
        {&by_id, "{\"keyId\":\"" ID "\",\"key\":\"" KEY32 KEY32 "\"}", ID, 64},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct skip_answer a = read_text(cases[i].call, 200, cases[i].body);
        assert_string_equal(a.fault.text, "");
        assert_int_equal(a.result, SKIP_OK);
        assert_string_equal(a.key_id, cases[i].id);
        assert_key(a.value, cases[i].len);
        skip_answer_clear(&a);
    }
}

/* Each is refused with its own reason, as something that another server may do better. */
static void bad_keys(void **state)
{
#define PAIR(id, key) "{\"keyId\":" id ",\"key\":" key "}"
#define GOOD_ID       "\"" ID "\""
#define GOOD_KEY      "\"" KEY32 "\""
    static const struct {
        const struct skip_call *call;
        const char *body, *reason;
    } cases[] = {
        {&new_key, "", "not JSON"},
        {&new_key, "{\"keyId\":" GOOD_ID ",\"key\":\"" KEY16, "not JSON"},
        {&new_key, "{\"keyId\":" GOOD_ID ",\"key\":" GOOD_KEY, "not JSON"},
        {&new_key, "{\"keyId\":" GOOD_ID ",\"key\":\"" KEY16 "\\", "not JSON"},
        {&new_key, PAIR(GOOD_ID, GOOD_KEY) "x", "not JSON"},
        {&new_key, PAIR(GOOD_ID, GOOD_KEY) PAIR(GOOD_ID, GOOD_KEY), "not JSON"},
        {&new_key, PAIR(GOOD_ID, "\"\xff\xfe" KEY16 "\""), "no hex digit"},
        {&new_key, PAIR("\"\xff\xfe\"", GOOD_KEY), "not JSON"},
        {&new_key, PAIR("\"a\\u0000b\"", GOOD_KEY), "not JSON"},
        {&new_key, "<html>" KEY32 "</html>", "not JSON"},
        {&new_key, GOOD_KEY, "not JSON"},
        {&new_key, "[" PAIR(GOOD_ID, GOOD_KEY) "]", "no JSON object"},
        {&new_key, "{}", "no \"keyId\""},
        {&new_key, "{\"key\":" GOOD_KEY "}", "no \"keyId\""},
        {&new_key, "{\"keyId\":" GOOD_ID "}", "no \"key\""},
        {&new_key, PAIR("7", GOOD_KEY), "\"keyId\" of its answer is no string"},
        {&new_key, PAIR("null", GOOD_KEY), "\"keyId\" of its answer is no string"},
        {&new_key, PAIR("[" GOOD_ID "]", GOOD_KEY), "\"keyId\" of its answer is no string"},
        {&new_key, PAIR(GOOD_ID, "1234"), "\"key\" of its answer is no string"},
        {&new_key, PAIR(GOOD_ID, "null"), "\"key\" of its answer is no string"},
        {&new_key, PAIR(GOOD_ID, "{\"key\":" GOOD_KEY "}"), "\"key\" of its answer is no string"},
        {&new_key, PAIR(GOOD_ID, "[" GOOD_KEY "]"), "\"key\" of its answer is no string"},
        {&new_key, PAIR("\"\"", GOOD_KEY), "keyId of its answer is empty"},
        {&new_key, PAIR("\"..\"", GOOD_KEY), "keyId of its answer is empty"},
        {&new_key, PAIR("\"a\\r\\nb\"", GOOD_KEY), "control characters"},
        {&new_key, PAIR("\"\\u007f\"", GOOD_KEY), "control characters"},
        {&new_key, PAIR(GOOD_ID, "\"\""), "is empty"},
        {&new_key, PAIR(GOOD_ID, "\"ab\""), "is no key"},
        {&new_key, PAIR(GOOD_ID, "\"abcd\""), "16 bits where 256 were asked for"},
        {&new_key, PAIR(GOOD_ID, "\"0" KEY32 "\""), "odd number"},
        {&new_key, PAIR(GOOD_ID, "\"" KEY16 "zz\""), "no hex digit"},
        {&new_key, PAIR(GOOD_ID, "\"0x" KEY32 "\""), "no hex digit"},
        {&new_key, PAIR(GOOD_ID, "\" " KEY16 " \""), "no hex digit"},
        {&new_key, PAIR(GOOD_ID, "\"\\u0030" KEY32 "\""), "no hex digit"},
        {&new_key, PAIR(GOOD_ID, "\"" KEY16 "\""), "128 bits where 256 were asked for"},
        {&new_key, PAIR(GOOD_ID, "\"" KEY32 "00\""), "264 bits where 256 were asked for"},
        {&by_id, PAIR(GOOD_ID, "\"" KEY16 "\""), "only 128 bits"},
        {&by_id, PAIR("\"1726e9AbCDe4c3F1\"", GOOD_KEY), "not with the one that was asked for"},
        {&by_id, PAIR("\"1726e9AbCDe4c3\"", GOOD_KEY), "not with the one that was asked for"},
        {&by_id, PAIR("\"" ID "00\"", GOOD_KEY), "not with the one that was asked for"},
        {&new_key, "{\"keyId\":" GOOD_ID ",\"key\":" GOOD_KEY ",\"key\":" GOOD_KEY "}", "duplicate"},
        {&new_key, "{\"keyId\":" GOOD_ID ",\"key\":" GOOD_KEY ",\"keyId\":\"x\"}", "duplicate"},
        {&new_key, "{\"keyId\":" GOOD_ID ",\"key\":" GOOD_KEY ",\"\\u006bey\":" GOOD_KEY "}", "duplicate"},
        {&new_key, "{\"keyId\":" GOOD_ID ",\"key\":" GOOD_KEY ",\"a\":1,\"a\":1}", "duplicate"},
        {&new_key, "{\"keyId\":" GOOD_ID ",\"key\":" GOOD_KEY ",\"a\":[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}",
         "nested too deeply"},
        {&new_key, "{\"keyId\":" GOOD_ID ",\"key\":" GOOD_KEY ",\"a\":1e9999}", "not JSON"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct skip_answer a = read_text(cases[i].call, 200, cases[i].body);
        if (a.result != SKIP_UNREACHABLE || !strstr(a.fault.text, cases[i].reason))
            fail_msg("case %zu: result %d, \"%s\" lacks \"%s\"", i, (int)a.result, a.fault.text,
                     cases[i].reason);
    }
}

/* Whatever place an answer is cut at, it is no key. */
static void cut_anywhere(void **state)
{
    static const char body[] = "{\"keyId\":\"" ID "\",\"key\":\"" KEY32 "\"}";
    (void)state;
    for (size_t len = 0; len < sizeof body - 1; len++) {
        struct skip_answer a = read_bytes(&new_key, 200, body, len);
        assert_int_equal(a.result, SKIP_UNREACHABLE);
    }
}

static void long_key_id(void **state)
{
    (void)state;
    for (size_t len = SKIP_KEY_ID_MAX; len <= SKIP_KEY_ID_MAX + 1; len++) {
        struct text t = {0};
        text_printf(&t, "{\"keyId\":\"%0*d\",\"key\":\"" KEY32 "\"}", (int)len, 0);
        struct skip_answer a = read_text(&new_key, 200, t.s);
        assert_int_equal(a.result, len == SKIP_KEY_ID_MAX ? SKIP_OK : SKIP_UNREACHABLE);
        skip_answer_clear(&a);
        text_free(&t);
    }
}

static void longest_key(void **state)
{
    (void)state;
    for (size_t len = SECRET_MAX; len <= SECRET_MAX + 32; len += 32) {
        struct text t = {0};
        text_printf(&t, "{\"keyId\":\"" ID "\",\"key\":\"");
        for (size_t i = 0; i < len / 32; i++)
            text_printf(&t, KEY32);
        text_printf(&t, "\"}");
        struct skip_answer a = read_text(&by_id, 200, t.s);
        assert_int_equal(a.result, len == SECRET_MAX ? SKIP_OK : SKIP_UNREACHABLE);
        if (len == SECRET_MAX)
            assert_key(a.value, len);
        skip_answer_clear(&a);
        text_free(&t);
    }
}

static void short_keys_of_a_profile(void **state)
{
    (void)state;
    profile.key_size = 128;
    struct skip_answer a = read_text(&by_id, 200, "{\"keyId\":\"" ID "\",\"key\":\"" KEY16 "\"}");
    assert_int_equal(a.result, SKIP_OK);
    skip_answer_clear(&a);
    profile.key_size = 256;
}

static void statuses(void **state)
{
    static const struct {
        long status;
        enum skip_result by_id, other;
    } cases[] = {
        {0, SKIP_UNREACHABLE, SKIP_UNREACHABLE},   {-5, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {100, SKIP_UNREACHABLE, SKIP_UNREACHABLE}, {201, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {204, SKIP_UNREACHABLE, SKIP_UNREACHABLE}, {206, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {301, SKIP_UNREACHABLE, SKIP_UNREACHABLE}, {302, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {307, SKIP_UNREACHABLE, SKIP_UNREACHABLE}, {400, SKIP_NO_SUCH_KEY, SKIP_REFUSED},
        {401, SKIP_REFUSED, SKIP_REFUSED},         {403, SKIP_REFUSED, SKIP_REFUSED},
        {404, SKIP_NO_SUCH_KEY, SKIP_REFUSED},     {405, SKIP_REFUSED, SKIP_REFUSED},
        {408, SKIP_UNREACHABLE, SKIP_UNREACHABLE}, {410, SKIP_NO_SUCH_KEY, SKIP_REFUSED},
        {429, SKIP_UNREACHABLE, SKIP_UNREACHABLE}, {500, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {503, SKIP_UNREACHABLE, SKIP_UNREACHABLE}, {599, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {600, SKIP_UNREACHABLE, SKIP_UNREACHABLE}, {99999, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
    };
    static const char looks_like_a_key[] = "{\"keyId\":\"" ID "\",\"key\":\"" KEY32 "\"}";
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(read_text(&by_id, cases[i].status, looks_like_a_key).result, cases[i].by_id);
        assert_int_equal(read_text(&new_key, cases[i].status, looks_like_a_key).result, cases[i].other);
        assert_int_equal(read_text(&entropy, cases[i].status, looks_like_a_key).result, cases[i].other);
        assert_int_equal(read_text(&capabilities, cases[i].status, looks_like_a_key).result, cases[i].other);
    }
}

static void error_texts(void **state)
{
    static const struct {
        const char *body, *shown, *not_shown;
    } cases[] = {
        {"{\"error\":\"unknown remote system\"}", "status 400 (\"unknown remote system\")", "()"},
        {"{\"detail\":\"Key not found\"}", "(\"Key not found\")", "()"},
        {"{\"message\":\"x\",\"error\":5}", "(\"x\")", "()"},
        {"{\"error\":\"the key is " KEY32 "\"}", "not shown", "0001"},
        {"{\"error\":\"" KEY32 "\"}", "not shown", "0001"},
        {"{\"error\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}", "not shown", "AAECAw"},
        {"{\"error\":\"AAECAwQFBgcICQoLDA0ODw==\"}", "....", "AAECAw"},
        {"{\"error\":\"a\\nb\"}", "a\\x0Ab", "a\nb"},
        {"{\"detail\":[{\"msg\":\"x\"}]}", "status 400", "msg"},
        {"{\"error\":\"", "status 400", "JSON"},
        {"nothing", "status 400", "nothing"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct skip_answer a = read_text(&by_id, 400, cases[i].body);
        if (!strcasestr(a.fault.text, cases[i].shown) || strstr(a.fault.text, cases[i].not_shown))
            fail_msg("case %zu: \"%s\"", i, a.fault.text);
    }
}

static void random_strings(void **state)
{
    static const struct {
        const char *body;
        bool good;
    } cases[] = {
        {"{\"randomStr\":\"" KEY16 "\",\"minentropy\":128}", true},
        {"{\"randomStr\":\"" KEY32 "\",\"minentropy\":200}", true},
        {"{\"randomStr\":\"" KEY16 "\",\"minentropy\":127}", false},
        {"{\"randomStr\":\"" KEY16 "\",\"minentropy\":129}", false},
        {"{\"randomStr\":\"" KEY16 "\",\"minentropy\":-1}", false},
        {"{\"randomStr\":\"" KEY16 "\",\"minentropy\":\"128\"}", false},
        {"{\"randomStr\":\"" KEY16 "\",\"minentropy\":128.0}", false},
        {"{\"randomStr\":\"" KEY16 "\"}", false},
        {"{\"randomStr\":\"0001\",\"minentropy\":128}", false},
        {"{\"randomStr\":\"\",\"minentropy\":128}", false},
        {"{\"randomStr\":\"" KEY16 "q\",\"minentropy\":128}", false},
        {"{\"minentropy\":128}", false},
        {"{\"key\":\"" KEY16 "\",\"minentropy\":128}", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct skip_answer a = read_text(&entropy, 200, cases[i].body);
        assert_int_equal(a.result, cases[i].good ? SKIP_OK : SKIP_UNREACHABLE);
        assert_true(cases[i].good == (a.value != NULL));
        skip_answer_clear(&a);
    }
}

static void good_capabilities(void **state)
{
    /* A system ID that looks like a key is none. */
    (void)state;
    struct skip_answer a =
        read_text(&capabilities, 200,
                  "{\"entropy\":true,\"key\":false,\"algorithm\":\"PRNG\",\"localSystemID\":\"Alice\","
                  "\"remoteSystemID\":[\"Bob\",\"C*\",\"" KEY32 "\"],\"version\":2}");
    assert_int_equal(a.result, SKIP_OK);
    assert_true(a.capabilities->entropy);
    assert_false(a.capabilities->key);
    assert_string_equal(a.capabilities->algorithm, "PRNG");
    assert_string_equal(a.capabilities->local_system_id, "Alice");
    assert_string_equal(a.capabilities->remote_system_ids[0], "Bob");
    assert_string_equal(a.capabilities->remote_system_ids[1], "C*");
    assert_string_equal(a.capabilities->remote_system_ids[2], KEY32);
    assert_null(a.capabilities->remote_system_ids[3]);
    skip_answer_clear(&a);
}

static void bad_capabilities(void **state)
{
#define CAPS(e, k, a, l, r)                                                                                  \
    "{\"entropy\":" e ",\"key\":" k ",\"algorithm\":" a ",\"localSystemID\":" l ",\"remoteSystemID\":" r "}"
    static const char *const bodies[] = {
        "{}",
        "[]",
        CAPS("1", "true", "\"a\"", "\"l\"", "[]"),
        CAPS("true", "\"true\"", "\"a\"", "\"l\"", "[]"),
        CAPS("true", "true", "null", "\"l\"", "[]"),
        CAPS("true", "true", "\"a\"", "[\"l\"]", "[]"),
        CAPS("true", "true", "\"a\"", "\"l\"", "\"Bob\""),
        CAPS("true", "true", "\"a\"", "\"l\"", "{\"0\":\"Bob\"}"),
        CAPS("true", "true", "\"a\"", "\"l\"", "[\"Bob\",1]"),
        CAPS("true", "true", "\"a\"", "\"l\"", "[[\"Bob\"]]"),
        CAPS("true", "true", "\"a\"", "\"l\"", "[],\"key\":true"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        assert_int_equal(read_text(&capabilities, 200, bodies[i]).result, SKIP_UNREACHABLE);
}

/* No text that the parser sees holds a piece of a key, whatever is around it. */
static void blanked(void **state)
{
    static const char *const bodies[] = {
        "{\"key\":\"" KEY32 "\"}",
        "{\"randomStr\" :\n \"" KEY32 "\"}",
        "{\"x\":\"" KEY32 "\"}",
        "{\"x\":[\"" KEY32 "\"]}",
        "{\"key\":[\"q" KEY32 "\"]}",
        "{\"\\u006bey\":\"" KEY32 "\"}",
        "{\"error\":\"no " KEY32 ".\"}",
        "{\"key\":\"" KEY32,
        "\"" KEY32 "\"",
        "{\"key\":\"" KEY32 "\\\"",
        "{\"key\":\"\\\\" KEY32 "\"}",
        "{\"" KEY32 "\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct json_blank b;
        size_t len = strlen(bodies[i]);
        assert_int_equal(json_blank_make(bodies[i], len, &b), JSON_BLANK_OK);
        assert_int_equal(b.len, len);
        assert_null(memmem(b.text, len, "0405", 4));
        assert_null(memmem(b.text, len, "1c1d", 4));
        json_blank_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(good_keys),
        cmocka_unit_test(bad_keys),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(long_key_id),
        cmocka_unit_test(longest_key),
        cmocka_unit_test(short_keys_of_a_profile),
        cmocka_unit_test(statuses),
        cmocka_unit_test(error_texts),
        cmocka_unit_test(random_strings),
        cmocka_unit_test(good_capabilities),
        cmocka_unit_test(bad_capabilities),
        cmocka_unit_test(blanked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
