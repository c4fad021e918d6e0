/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses, netmasks and prefixes as operators write them. */
#include "config/address.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

static const struct {
    const char *text, *mask;
    const char *printed; /* NULL: refused, with `why` */
    const char *why;
} groups[] = {
    {"10.0.0.1", "255.0.0.0", "10.0.0.1 255.0.0.0", NULL},
    {"10.0.0.1", NULL, "10.0.0.1 255.255.255.255", NULL},
    {"10.0.0.0/8", NULL, "10.0.0.0 255.0.0.0", NULL},
    {"0.0.0.0", "0.0.0.0", "0.0.0.0 0.0.0.0", NULL},
    {"0.0.0.0/0", NULL, "0.0.0.0 0.0.0.0", NULL},
    {"192.0.2.1", "255.255.255.254", "192.0.2.1 255.255.255.254", NULL},
    {"192.0.2.129/25", NULL, "192.0.2.129 255.255.255.128", NULL},
    {"2001:DB8::1", NULL, "2001:db8::1/128", NULL},
    {"2001:db8::/32", NULL, "2001:db8::/32", NULL},
    {"::/0", NULL, "::/0", NULL},
    {"::ffff:10.0.0.0/104", NULL, "10.0.0.0 255.0.0.0", NULL}, /* IPv4-mapped: is IPv4 */
    {"::ffff:10.0.0.1", NULL, "10.0.0.1 255.255.255.255", NULL},
    {"::ffff:0:0/95", NULL, "::ffff:0.0.0.0/95", NULL}, /* holds more than the mapped ones */
    {"10.0.0.1", "255.0.255.0", NULL, "'255.0.255.0' is not a netmask"},
    {"10.0.0.1", "0.255.255.255", NULL, "'0.255.255.255' is not a netmask"},
    {"10.0.0.1", "0.0.0.1", NULL, "'0.0.0.1' is not a netmask"},
    {"10.0.0.1", "255.0.0", NULL, "'255.0.0' is not a netmask"},
    {"10.0.0.1", "8", NULL, "'8' is not a netmask"},
    {"10.0.0.0/8", "255.0.0.0", NULL, "'255.0.0.0' is not a netmask"},
    {"10.0.0.0/33", NULL, NULL, "'10.0.0.0/33' has no prefix length of 0 to 32"},
    {"10.0.0.0/", NULL, NULL, "'10.0.0.0/' has no prefix length"},
    {"10.0.0.0/-1", NULL, NULL, "has no prefix length"},
    {"10.0.0.0/8x", NULL, NULL, "has no prefix length"},
    {"10.0.0.0/00000008", NULL, NULL, "has no prefix length"},
    {"::/129", NULL, NULL, "has no prefix length of 0 to 128"},
    {"10.0.0", NULL, NULL, "'10.0.0' is not an IPv4 or IPv6 address"},
    {"10.0.0.256", NULL, NULL, "is not an IPv4 or IPv6 address"},
    {"", NULL, NULL, "is not an IPv4 or IPv6 address"},
    {"/8", NULL, NULL, "is not an IPv4 or IPv6 address"},
    {"1:2:3:4:5:6:7:8:9:a:b:c:d:e:f:1:2:3:4:5:6:7:8:9", NULL, NULL, "is not an address"},
};

static void test_groups(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        struct fault fault = {""};
        struct address_group g;
        struct text out = {0};

        if (address_group_read(&g, groups[i].text, groups[i].mask, &fault) != (groups[i].printed != NULL))
            fail_msg("%s %s: %s", groups[i].text, groups[i].mask != NULL ? groups[i].mask : "", fault.text);
        if (groups[i].printed == NULL) {
            if (strstr(fault.text, groups[i].why) == NULL)
                fail_msg("%s: '%s' instead of '%s'", groups[i].text, fault.text, groups[i].why);
            continue;
        }
        address_group_print(&g, &out);
        assert_string_equal(out.s, groups[i].printed);
        text_free(&out);
    }
}

static void test_mask(void **state)
{
    const uint8_t ones[16] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

    (void)state;
    for (unsigned prefix = 0; prefix <= 128; prefix++) {
        uint8_t masked[16];
        unsigned count = 0;

        address_mask(masked, ones, 16, prefix);
        for (unsigned bit = 0; bit < 128; bit++) {
            bool set = (masked[bit / 8] >> (7 - bit % 8) & 1) != 0;

            assert_int_equal(set, bit < prefix);
            count += set;
        }
        assert_int_equal(count, prefix);
    }
}

static void test_host_names(void **state)
{
    static const char *const good[] = {"localhost", "kme.example.com",      "kme.example.com.", "a-b_c.d",
                                       "1a",        "xn--bcher-kva.example"};
    static const char *const bad[] = {"",    "10.0.0.1", "1.2", "a..b", "-a",        "a-",   "a b",
                                      "a/b", ".a",       "a:b", "kme%", "b\xc3\xbc", "127.1"};
    char label[80];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!address_is_host_name(good[i]))
            fail_msg("'%s' is refused", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (address_is_host_name(bad[i]))
            fail_msg("'%s' is taken", bad[i]);
    }
    memset(label, 'a', sizeof label);
    label[64] = '\0';
    assert_false(address_is_host_name(label));
    label[63] = '\0';
    assert_true(address_is_host_name(label));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_host_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
