/* SPDX-License-Identifier: BSD-2-Clause */
/* Spans, hexadecimal, texts, faults, and the clock. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fault.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void spans(void **state)
{
    const uint8_t a[] = {1, 2, 3}, b[] = {1, 2, 4};

    (void)state;
    assert_true(span_equal((struct span){a, 3}, (struct span){a, 3}));
    assert_true(span_equal((struct span){a, 2}, (struct span){b, 2}));
    assert_false(span_equal((struct span){a, 3}, (struct span){b, 3}));
    assert_false(span_equal((struct span){a, 3}, (struct span){a, 2}));
    assert_true(span_equal((struct span){NULL, 0}, (struct span){a, 0}));
}

/* Every pair of characters, against the C library's idea of a digit. */
static void hex_every_pair(void **state)
{
    (void)state;
    for (int high = 0; high < 256; high++) {
        for (int low = 0; low < 256; low++) {
            char text[3] = {(char)high, (char)low, 0};
            bool digits = strchr("0123456789abcdefABCDEF", high) && strchr("0123456789abcdefABCDEF", low) &&
                          high && low;
            uint8_t out = 0xee;
            assert_int_equal(hex_decode(&out, text, 2), digits);
            assert_int_equal(out, digits ? strtol(text, NULL, 16) : 0);
            assert_int_equal(hex_is(text, 2), digits);
        }
    }
}

static void hex_lengths(void **state)
{
    uint8_t bytes[256], back[256];
    char text[512];

    (void)state;
    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    hex_encode(text, bytes, sizeof bytes);
    assert_memory_equal(text, "000102030405060708090a0b0c0d0e0f10", 34);
    assert_memory_equal(text + 508, "feff", 4);
    assert_true(hex_decode(back, text, sizeof text));
    assert_memory_equal(back, bytes, sizeof bytes);
    memset(back, 1, sizeof back);
    assert_false(hex_decode(back, "abc", 3)); /* odd: nothing is left of it */
    assert_int_equal(back[0], 0);
    memset(back, 1, sizeof back);
    assert_false(hex_decode(back, "abcdex", 6));
    assert_memory_equal(back, ((uint8_t[]){0, 0, 0, 1}), 4);
    assert_true(hex_decode(back, "", 0));
    assert_false(hex_is("", 0));
    assert_false(hex_is("abc", 3));
}

static void utf8(void **state)
{
    static const struct {
        const char *s;
        size_t step;
    } cases[] = {
        {"a", 1},
        {"\xc3\xa9", 2},
        {"\xe2\x82\xac", 3},
        {"\xf0\x9f\x94\x91", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xc0\x80", 0},
        {"\xc1\xbf", 0},
        {"\xe0\x9f\xbf", 0},
        {"\xed\xa0\x80", 0},
        {"\xf0\x8f\xbf\xbf", 0},
        {"\xf4\x90\x80\x80", 0},
        {"\xf5\x80\x80\x80", 0},
        {"\x80", 0},
        {"\xff", 0},
        {"\xc3", 0},
        {"\xe2\x82", 0},
        {"\xe2\x28\xa1", 0},
        {"\xf0\x9f\x94", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_step(cases[i].s, strlen(cases[i].s)), cases[i].step);
    assert_int_equal(utf8_step("", 0), 0);
    assert_int_equal(utf8_step("\0", 1), 1);
}

static void printable(void **state)
{
    static const char in[] = "a\n\x1b[1m\x7f\xff\xc2\x85\xe2\x82\xac";
    char out[64];
    size_t whole = text_printable(out, sizeof out, in, sizeof in - 1);

    (void)state;
    assert_int_equal(whole, strlen(out));
    assert_string_equal(out, "a\\x0a\\x1b[1m\\x7f\\xff\\xc2\\x85\xe2\x82\xac");
    for (size_t room = 1; room < sizeof out;
         room++) { /* cut anywhere: terminated, and no half character or escape */
        memset(out, 'Z', sizeof out);
        size_t n = text_printable(out, room, in, sizeof in - 1);
        assert_true(n < room);
        assert_int_equal(strlen(out), n);
        for (size_t i = 0; i < n; i += utf8_step(out + i, n - i))
            assert_int_not_equal(utf8_step(out + i, n - i), 0);
    }
    out[0] = 'Z';
    assert_int_equal(text_printable(out, 0, in, 3), 0);
    assert_int_equal(out[0], 'Z');
}

static void texts(void **state)
{
    struct text t = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        text_printf(&t, "%d,", i);
    assert_int_equal(t.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(strlen(t.s), t.len);
    assert_memory_equal(t.s + t.len - 4, "999,", 5);
    text_append(&t, "x\0y", 3);
    assert_memory_equal(t.s + t.len - 3, "x\0y", 4);
    assert_false(t.failed);
    text_free(&t);
    assert_null(t.s);
    assert_int_equal(t.len, 0);

    text_append(&t, "", 0); /* an empty text is terminated, too */
    assert_string_equal(t.s, "");
    text_append(&t, "rest", SIZE_MAX - 10);
    assert_true(t.failed);
    text_append(&t, "more", 4);
    text_printf(&t, "more");
    assert_string_equal(t.s, "");
    text_free(&t);
    assert_false(t.failed);
    text_free(&t);
}

static void json(void **state)
{
    static const char in[] = "a\"\\\n\x01\xff\xe2\x82\xac\0z";
    struct text t = {0};

    (void)state;
    text_append_json(&t, in, sizeof in - 1);
    assert_string_equal(t.s, "\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\xe2\x82\xac\\u0000z\"");
    text_free(&t);
}

static void faults(void **state)
{
    struct fault f = {.text = ""};
    char exact[sizeof f.text];

    (void)state;
    fault_set(NULL, "nobody listens");
    fault_prefix(NULL, "nobody listens");
    errno = E2BIG;
    fault_set(&f, "no %s\n", "route");
    assert_int_equal(errno, E2BIG);
    assert_string_equal(f.text, "no route\\x0a");
    fault_prefix(&f, "profile %s", "qkd");
    assert_string_equal(f.text, "profile qkd: no route\\x0a");
    fault_set(&f, "%s again", f.text); /* the arguments may come from the fault itself */
    assert_string_equal(f.text, "profile qkd: no route\\x0a again");
    f.text[0] = '\0';
    fault_prefix(&f, "alone");
    assert_string_equal(f.text, "alone");
    memset(exact, 'x', sizeof exact - 1);
    exact[sizeof exact - 1] = '\0';
    fault_set(&f, "%s%s", exact, exact);
    assert_int_equal(strlen(f.text), sizeof f.text - 1);
    fault_prefix(&f, "%s", "front");
    assert_memory_equal(f.text, "front: xxx", 10);
    assert_int_equal(strlen(f.text), sizeof f.text - 1);
    fault_prefix(&f, "%s", exact);
    assert_int_equal(strlen(f.text), sizeof f.text - 1);
}

static void clocks(void **state)
{
    uint64_t before = clock_ms();

    (void)state;
    assert_int_not_equal(before, 0);
    (void)usleep(5000);
    assert_true(clock_ms() >= before + 4);
    assert_int_equal(clock_left_ms(before), 0);
    assert_int_equal(clock_left_ms(0), 0);
    assert_true(clock_left_ms(clock_ms() + 10000) > 5000);
    assert_true(clock_left_ms(clock_ms() + 10000) <= 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans), cmocka_unit_test(hex_every_pair), cmocka_unit_test(hex_lengths),
        cmocka_unit_test(utf8),  cmocka_unit_test(printable),      cmocka_unit_test(texts),
        cmocka_unit_test(json),  cmocka_unit_test(faults),         cmocka_unit_test(clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
