/* SPDX-License-Identifier: BSD-2-Clause */
#include "answer.h"
#include "skip/capabilities.h"
#include "skip/messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UUID  "bc490419-7d60-487f-adc1-4ddcc177c139"
#define HEX   "bc4904197d60487fadc14ddcc177c139"
#define KEY32 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY16 "AAECAwQFBgcICQoLDA0ODw=="

static const struct sks_profile profile = {.name = (char *)"qkd", .type = SKS_ETSI014, .key_size = 256};
static const struct skip_call new_key = {.request = SKIP_REQUEST_KEY, .remote = "Bob", .size = 256};
static const struct skip_call by_id = {.request = SKIP_REQUEST_KEY_BY_ID, .remote = "Bob", .key_id = HEX};
static const struct skip_call by_text = {.request = SKIP_REQUEST_KEY_BY_ID, .remote = "Bob", .key_id = UUID};
static const struct skip_call status_call = {.request = SKIP_REQUEST_CAPABILITIES, .remote = "Bob"};
static const struct skip_call entropy = {.request = SKIP_REQUEST_ENTROPY, .size = 256};

static struct skip_answer read_text(const struct skip_call *call, long status, const char *body)
{
    struct skip_answer a = answer_read(&profile, call, status, body, strlen(body));
    assert_null(strstr(a.fault.text, "BgcICQoLDA0O"));
    return a;
}

static void requests(void **state)
{
    static const struct {
        struct skip_call call;
        const char *path, *body;
    } cases[] = {
        {{.request = SKIP_REQUEST_CAPABILITIES, .remote = "Bob"}, "/api/v1/keys/Bob/status", NULL},
        {{.request = SKIP_REQUEST_KEY, .remote = "Bob", .size = 256},
         "/api/v1/keys/Bob/enc_keys",
         "{\"number\":1,\"size\":256}"},
        {{.request = SKIP_REQUEST_KEY, .remote = "../a b?\xc3\xbc/", .size = 512},
         "/api/v1/keys/..%2Fa%20b%3F%C3%BC%2F/enc_keys",
         "{\"number\":1,\"size\":512}"},
        {{.request = SKIP_REQUEST_KEY_BY_ID, .remote = "Bob", .key_id = HEX},
         "/api/v1/keys/Bob/dec_keys",
         "{\"key_IDs\":[{\"key_ID\":\"" UUID "\"}]}"},
        {{.request = SKIP_REQUEST_KEY_BY_ID, .remote = "Bob", .key_id = "BC4904197D60487FADC14DDCC177C139"},
         "/api/v1/keys/Bob/dec_keys",
         "{\"key_IDs\":[{\"key_ID\":\"" UUID "\"}]}"},
        {{.request = SKIP_REQUEST_KEY_BY_ID, .remote = "Bob", .key_id = UUID},
         "/api/v1/keys/Bob/dec_keys",
         "{\"key_IDs\":[{\"key_ID\":\"" UUID "\"}]}"},
        {{.request = SKIP_REQUEST_KEY_BY_ID, .remote = "Bob", .key_id = "a\"},{\"b\\\r\n"},
         "/api/v1/keys/Bob/dec_keys",
         "{\"key_IDs\":[{\"key_ID\":\"a\\\"},{\\\"b\\\\\\r\\n\"}]}"},
        {{.request = SKIP_REQUEST_KEY_BY_ID,
          .remote = "Bob",
          .key_id = "bc490419-7d60-487f-adc1-4ddcc177c13-"},
         "/api/v1/keys/Bob/dec_keys",
         "{\"key_IDs\":[{\"key_ID\":\"bc490419-7d60-487f-adc1-4ddcc177c13-\"}]}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text path = {0}, body = {0};
        message_request(&profile, &cases[i].call, &path, &body);
        assert_string_equal(path.s, cases[i].path);
        if (cases[i].body)
            assert_string_equal(body.s, cases[i].body);
        else
            assert_int_equal(body.len, 0);
        text_free(&path);
        text_free(&body);
    }
}

#define KEYS(id, key) "{\"keys\":[{\"key_ID\":" id ",\"key\":" key "}]}"
#define GOOD_ID       "\"" UUID "\""
#define GOOD_KEY      "\"" KEY32 "\""

static void good_keys(void **state)
{
    static const struct {
        const struct skip_call *call;
        const char *body, *id;
        size_t len;
    } cases[] = {
        {&new_key, KEYS(GOOD_ID, GOOD_KEY), HEX, 32},
        {&new_key, KEYS("\"BC490419-7D60-487F-ADC1-4DDCC177C139\"", GOOD_KEY), HEX, 32},
        {&new_key, KEYS("\"" HEX "\"", GOOD_KEY), HEX, 32},
        {&new_key, KEYS("\"KME\\/7\"", GOOD_KEY), "KME/7", 32},
        {&new_key, KEYS("\"bc4904197d60-487f-adc1-4ddcc177c139-\"", GOOD_KEY),
         "bc4904197d60-487f-adc1-4ddcc177c139-", 32},
        {&new_key,
         "{ \"key_container_extension\":{\"key\":\"" KEY32 "\"},\"keys\":[ {\"key\":" GOOD_KEY
         ",\"key_extension\":null,\"key_ID\" : " GOOD_ID ",\"key_ID_extension\":[1,{\"a\":\"" KEY32
         "\"}]}]}\n",
         HEX, 32},
        {&by_id, KEYS(GOOD_ID, GOOD_KEY), HEX, 32},
        {&by_id, KEYS("\"BC490419-7D60-487F-ADC1-4DDCC177C139\"", "\"" KEY32 "\""), HEX, 32},
        /* as it was asked for, so that it is found again by that */
        {&by_text, KEYS(GOOD_ID, GOOD_KEY), UUID, 32},
        {&by_id,
         KEYS(GOOD_ID,
              "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==\""),
         HEX, 64},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct skip_answer a = read_text(cases[i].call, 200, cases[i].body);
        struct secret_view v;
        if (a.result != SKIP_OK)
            fail_msg("case %zu: %s", i, a.fault.text);
        assert_string_equal(a.key_id, cases[i].id);
        assert_int_equal(secret_len(a.value), cases[i].len);
        assert_true(secret_open(a.value, &v));
        for (size_t j = 0; j < v.len; j++)
            assert_int_equal(v.data[j], j % 32);
        secret_close(&v);
        skip_answer_clear(&a);
    }
}

/* A slash may be written "\/", wherever it is. */
static void escaped_slashes(void **state)
{
    struct skip_answer a =
        read_text(&new_key, 200, KEYS(GOOD_ID, "\"\\/\\/\\/\\//////////////////////////////////////\\/8=\""));
    struct secret_view v;
    (void)state;
    assert_string_equal(a.fault.text, "");
    assert_int_equal(secret_len(a.value), 32);
    assert_true(secret_open(a.value, &v));
    for (size_t i = 0; i < v.len; i++)
        assert_int_equal(v.data[i], 0xff);
    secret_close(&v);
    skip_answer_clear(&a);
}

static void bad_keys(void **state)
{
    static const struct {
        const struct skip_call *call;
        const char *body, *reason;
    } cases[] = {
        {&new_key, "", "not JSON"},
        {&new_key, "[]", "no JSON object"},
        {&new_key, "{}", "\"keys\" of its answer is missing or no list"},
        {&new_key, "{\"keys\":null}", "no list"},
        {&new_key, "{\"keys\":{\"key_ID\":" GOOD_ID ",\"key\":" GOOD_KEY "}}", "no list"},
        {&new_key, "{\"key_ID\":" GOOD_ID ",\"key\":" GOOD_KEY "}", "no list"},
        {&new_key, "{\"keyId\":\"" HEX "\",\"key\":" GOOD_KEY "}", "no list"},
        {&new_key, "{\"keys\":[]}", "0 members"},
        {&new_key, "{\"keys\":[1]}", "no objects"},
        {&new_key, "{\"keys\":[[" GOOD_KEY "]]}", "no objects"},
        {&new_key,
         "{\"keys\":[{\"key_ID\":" GOOD_ID ",\"key\":" GOOD_KEY "},{\"key_ID\":" GOOD_ID ",\"key\":" GOOD_KEY
         "}]}",
         "2 members"},
        {&new_key, "{\"keys\":[{\"key\":" GOOD_KEY "}]}", "no \"key_ID\""},
        {&new_key, "{\"keys\":[{\"key_ID\":" GOOD_ID "}]}", "no \"key\""},
        {&new_key, KEYS("7", GOOD_KEY), "\"key_ID\" of its answer is no string"},
        {&new_key, KEYS("\"\"", GOOD_KEY), "key_ID of its answer is empty"},
        {&new_key, KEYS("\"..\"", GOOD_KEY), "key_ID of its answer is empty"},
        {&new_key, KEYS("\"a\\nb\"", GOOD_KEY), "control characters"},
        {&new_key, KEYS(GOOD_ID, "null"), "\"key\" of its answer is no string"},
        {&new_key, KEYS(GOOD_ID, "[" GOOD_KEY "]"), "\"key\" of its answer is no string"},
        {&new_key, KEYS(GOOD_ID, "\"\""), "is empty"},
        {&new_key, KEYS(GOOD_ID, "\"AA=\""), "is no key"},
        {&new_key, KEYS(GOOD_ID, "\"AA==\""), "8 bits where 256 were asked for"},
        {&new_key, KEYS(GOOD_ID, "\"" KEY16 "\""), "128 bits where 256 were asked for"},
        {&by_id, KEYS(GOOD_ID, "\"" KEY16 "\""), "only 128 bits"},
        {&new_key, KEYS(GOOD_ID, "\"" KEY32 "=\""), "no base64"},
        {&new_key, KEYS(GOOD_ID, "\"" KEY16 KEY16 "\""), "no base64"},
        {&new_key, KEYS(GOOD_ID, "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\""), "no base64"},
        {&new_key, KEYS(GOOD_ID, "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\""), "no base64"},
        {&new_key, KEYS(GOOD_ID, "\" AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\""), "no base64"},
        {&new_key, KEYS(GOOD_ID, "\"-_ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\""), "no base64"},
        {&new_key, KEYS(GOOD_ID, "\"\\u0041AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\""), "no base64"},
        {&new_key, KEYS(GOOD_ID, "\"\\n" KEY32 "\""), "no base64"},
        {&new_key, KEYS(GOOD_ID, "\"\\\\" KEY32 "\""), "no base64"},
        {&new_key, KEYS(GOOD_ID, "\"\xff\xfe" KEY16 "\""), "no base64"},
        {&by_id, KEYS("\"bc490419-7d60-487f-adc1-4ddcc177c138\"", GOOD_KEY),
         "not with the one that was asked for"},
        {&by_id, KEYS("\"x\"", GOOD_KEY), "not with the one that was asked for"},
        {&new_key, "{\"keys\":[{\"key_ID\":" GOOD_ID ",\"key\":" GOOD_KEY ",\"key\":" GOOD_KEY "}]}",
         "duplicate"},
        {&new_key, "{\"keys\":[{\"key_ID\":" GOOD_ID ",\"key\":" GOOD_KEY ",\"\\u006bey\":" GOOD_KEY "}]}",
         "duplicate"},
        {&new_key, "{\"keys\":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}", "nested too deeply"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct skip_answer a = read_text(cases[i].call, 200, cases[i].body);
        if (a.result != SKIP_UNREACHABLE || !strstr(a.fault.text, cases[i].reason))
            fail_msg("case %zu: result %d, \"%s\" lacks \"%s\"", i, (int)a.result, a.fault.text,
                     cases[i].reason);
    }
}

/* The longest key is taken, a longer one is not. */
static void long_keys(void **state)
{
    (void)state;
    for (size_t len = SECRET_MAX - 1; len <= SECRET_MAX + 5; len++) {
        struct text body = {0};
        size_t groups = len / 3, rest = len % 3;
        text_printf(&body, "{\"keys\":[{\"key_ID\":" GOOD_ID ",\"key\":\"");
        for (size_t i = 0; i < groups; i++)
            text_append(&body, "AAAA", 4);
        text_printf(&body, "%s\"}]}", rest == 0 ? "" : rest == 1 ? "AA==" : "AAA=");
        struct skip_answer a = read_text(&by_id, 200, body.s);
        assert_int_equal(a.result, len <= SECRET_MAX ? SKIP_OK : SKIP_UNREACHABLE);
        if (len > SECRET_MAX)
            assert_non_null(strstr(a.fault.text, "longer than 4096 bytes"));
        skip_answer_clear(&a);
        text_free(&body);
    }
}

static void cut_anywhere(void **state)
{
    static const char body[] = KEYS(GOOD_ID, GOOD_KEY);
    (void)state;
    for (size_t len = 0; len < sizeof body - 1; len++) {
        char cut[sizeof body];
        memcpy(cut, body, len);
        cut[len] = '\0';
        struct skip_answer a = read_text(&new_key, 200, cut);
        assert_int_equal(a.result, SKIP_UNREACHABLE);
    }
}

/* What no key has, is no key, whatever the body says. */
static void statuses(void **state)
{
    static const struct {
        long status;
        enum skip_result new_key, by_id;
    } cases[] = {
        {0, SKIP_UNREACHABLE, SKIP_UNREACHABLE},   {201, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {204, SKIP_UNREACHABLE, SKIP_UNREACHABLE}, {302, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {400, SKIP_REFUSED, SKIP_NO_SUCH_KEY},     {401, SKIP_REFUSED, SKIP_REFUSED},
        {403, SKIP_REFUSED, SKIP_REFUSED},         {404, SKIP_REFUSED, SKIP_NO_SUCH_KEY},
        {405, SKIP_REFUSED, SKIP_REFUSED},         {408, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {409, SKIP_UNREACHABLE, SKIP_NO_SUCH_KEY}, {410, SKIP_REFUSED, SKIP_NO_SUCH_KEY},
        {412, SKIP_UNREACHABLE, SKIP_NO_SUCH_KEY}, {429, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {500, SKIP_UNREACHABLE, SKIP_UNREACHABLE}, {503, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {504, SKIP_UNREACHABLE, SKIP_UNREACHABLE}, {999, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
        {-7, SKIP_UNREACHABLE, SKIP_UNREACHABLE},  {12345, SKIP_UNREACHABLE, SKIP_UNREACHABLE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct skip_answer a = read_text(&new_key, cases[i].status, KEYS(GOOD_ID, GOOD_KEY));
        struct skip_answer b = read_text(&by_id, cases[i].status, "{\"message\":\"that is not here\"}");
        assert_int_equal(a.result, cases[i].new_key);
        assert_int_equal(b.result, cases[i].by_id);
        assert_non_null(strstr(b.fault.text, "that is not here"));
    }
    /* a key in an error is not shown */
    struct skip_answer a = read_text(&new_key, 503, "{\"message\":\"" KEY32 "\"}");
    assert_non_null(strstr(a.fault.text, "not shown"));
    a = read_text(&entropy, 200, "{\"randomStr\":\"00\",\"minentropy\":256}");
    assert_int_equal(a.result, SKIP_REFUSED);
}

#define STATUS_IDS                                                                                           \
    "\"source_KME_ID\":\"A\",\"target_KME_ID\":\"B\",\"master_SAE_ID\":\"Alice\",\"slave_SAE_ID\":\"Bob\""

static void status_good(void **state)
{
    struct fault fault = {""};
    struct skip_answer a =
        read_text(&status_call, 200,
                  "{" STATUS_IDS ",\"key_size\":352,\"stored_key_count\":25000,\"max_key_count\":100000,"
                  "\"max_key_per_request\":128,\"max_key_size\":1024,\"min_key_size\":128,"
                  "\"max_SAE_ID_count\":0}");
    (void)state;
    assert_int_equal(a.result, SKIP_OK);
    const struct skip_capabilities *c = a.capabilities;
    assert_true(c->key);
    assert_false(c->entropy);
    assert_string_equal(c->local_system_id, "Alice");
    assert_string_equal(c->remote_system_ids[0], "Bob");
    assert_null(c->remote_system_ids[1]);
    assert_true(c->delivery.told);
    assert_int_equal(c->delivery.size, 352);
    assert_int_equal(c->delivery.size_min, 128);
    assert_int_equal(c->delivery.size_max, 1024);
    assert_int_equal(c->delivery.stored, 25000);
    assert_int_equal(c->delivery.room, 100000);

    /* what it allows */
    struct skip_capabilities *copy = skip_capabilities_copy(c);
    assert_non_null(copy);
    static const struct {
        const char *remote;
        uint32_t size;
        bool good;
    } cases[] = {{"Bob", 128, true},   {"Bob", 1024, true},   {"Bob", 120, false},
                 {"Bob", 1032, false}, {"Carol", 4096, true}, {"B*", 4096, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct skip_call call = {
            .request = SKIP_REQUEST_KEY, .remote = cases[i].remote, .size = cases[i].size};
        assert_int_equal(skip_capabilities_allow(copy, &call, NULL, &fault), cases[i].good);
    }
    assert_non_null(strstr(fault.text, "at most 1024 bits"));
    assert_true(skip_capabilities_allow(copy, &by_id, "Alice", &fault));
    assert_false(skip_capabilities_allow(copy, &by_id, "Eve", &fault));
    assert_non_null(strstr(fault.text, "takes us for system \"Alice\""));
    assert_false(skip_capabilities_allow(copy, &entropy, NULL, &fault));
    skip_capabilities_free(copy);
    skip_answer_clear(&a);
    /* numbers that are not told limit nothing */
    a = read_text(&status_call, 200, "{" STATUS_IDS "}");
    assert_int_equal(a.result, SKIP_OK);
    assert_true(skip_capabilities_allow(a.capabilities, &new_key, NULL, &fault));
    skip_answer_clear(&a);
}

static void status_bad(void **state)
{
    static const char *const cases[][2] = {
        {"{}", "\"master_SAE_ID\" of its answer is missing"},
        {"{\"master_SAE_ID\":\"Alice\"}", "\"slave_SAE_ID\" of its answer is missing"},
        {"{\"master_SAE_ID\":1,\"slave_SAE_ID\":\"Bob\"}", "\"master_SAE_ID\""},
        {"{\"master_SAE_ID\":\"Alice\",\"slave_SAE_ID\":\"Carol\"}", "slave_SAE_ID \"Carol\""},
        {"{" STATUS_IDS ",\"key_size\":\"352\"}", "\"key_size\" of its answer is no number"},
        {"{" STATUS_IDS ",\"max_key_size\":-1}", "\"max_key_size\""},
        {"{" STATUS_IDS ",\"min_key_size\":4294967296}", "\"min_key_size\""},
        {"{" STATUS_IDS ",\"stored_key_count\":1.5}", "\"stored_key_count\""},
        {"{" STATUS_IDS ",\"max_key_count\":[]}", "\"max_key_count\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct skip_answer a = read_text(&status_call, 200, cases[i][0]);
        if (a.result != SKIP_UNREACHABLE || !strstr(a.fault.text, cases[i][1]))
            fail_msg("case %zu: result %d, \"%s\"", i, (int)a.result, a.fault.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests), cmocka_unit_test(good_keys),   cmocka_unit_test(escaped_slashes),
        cmocka_unit_test(bad_keys), cmocka_unit_test(long_keys),   cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(statuses), cmocka_unit_test(status_good), cmocka_unit_test(status_bad),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
