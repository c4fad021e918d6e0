/* SPDX-License-Identifier: BSD-2-Clause */
/* Each allocation of a load fails in turn: the load fails with a text, or succeeds with everything in place;
 * nothing leaks (the sanitizer looks) and nothing crashes. */
#include "config/type6.h"
#include "failing.h"
#include "keyring/keyring.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

/* The linker puts these in front of the real ones (--wrap), as failing.c's. */
void *__real_secmem_alloc(size_t size);
struct secret *__real_secret_new(const void *value, size_t len);
void *__wrap_secmem_alloc(size_t size);
struct secret *__wrap_secret_new(const void *value, size_t len);

void *__wrap_secmem_alloc(size_t size)
{
    return failing_now() ? NULL : __real_secmem_alloc(size);
}
struct secret *__wrap_secret_new(const void *value, size_t len)
{
    return failing_now() ? NULL : __real_secret_new(value, len);
}

static const char input[] =
    "keyring a\n derived-keys sensitive\n"
    " peer one\n  address 10.0.0.0/8\n  address 2001:db8::/32\n  remote-system-id X\n"
    "  ppk dynamic s required\n  ppk manual id i key 0123456789abcdef0123456789abcdef\n"
    "  pre-shared-key hex 00ff\n"
    " peer two\n  remote-system-id X\n  ppk manual id j key hex "
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
    "  pre-shared-key 6 AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhsCpX34FEI02Cxpdjuk2e8r0EFnB48nHWK9Zo_bxQRGAdw\n"
    "keyring b\n peer three\n  address 10.0.0.0/9\n"
    "sks profile s type remote\n kme server ipv4 127.0.0.1 port 1\n kme server hostname h port 1\n"
    " kme server ipv6 ::1 port 1\n local-system-id L\n tls psk id i key 0123456789abcdef\n"
    "sks profile t type remote\n kme server ipv4 127.0.0.1 port 1\n tls trustpoint /etc/passwd\n"
    "ikev2 profile p\n keyring a\n keyring ppk b\n match address ::/0\n match address 0.0.0.0/0\n";
static const char wrong[] =
    "keyring a\n peer p\n  bogus\n  ppk dynamic nix\n  ppk manual id x key y\n"
    "keyring a\nsks profile s type remote\npeer q\n address 1\n ppk manual id x key y z\n";

static void test_load(void **state)
{
    bool loaded = false;
    long n;

    (void)state;
    for (n = 1; !loaded; n++) {
        struct text errors = {0}, out = {0};
        struct configuration *c;
        bool failed;

        assert_true(n < 5000);
        failing_after = n - 1;
        c = configuration_parse("t", input, strlen(input), &errors);
        failed = failing_end();
        if (c == NULL) {
            assert_true(failed);
            assert_true(errors.failed || errors.len > 0);
        } else {
            /* whatever could be done without is there all the same */
            assert_int_equal(c->n_keyrings, 2);
            assert_non_null(keyring_peer_by_name(&c->keyrings[0], "two", 3));
            configuration_print(c, NULL, NULL, &out);
            assert_non_null(strstr(out.s, " keyring ppk b\n"));
            loaded = !failed;
        }
        text_free(&out);
        text_free(&errors);
        configuration_free(c);
    }
    print_message("%ld allocations failed in turn\n", n - 2);
    assert_true(n > 60);
}

static void test_errors(void **state)
{
    bool all = false;

    (void)state;
    for (long n = 1; !all; n++) {
        struct text errors = {0};

        assert_true(n < 5000);
        failing_after = n - 1;
        assert_null(configuration_parse("t", wrong, strlen(wrong), &errors));
        all = !failing_end();
        text_free(&errors);
    }
}

static void test_unlock(void **state)
{
    struct text errors = {0};
    struct configuration *c = configuration_parse("t", input, strlen(input), &errors);
    bool unlocked = false;

    (void)state;
    assert_non_null(c);
    for (long n = 1; !unlocked; n++) {
        struct fault fault = {""};

        assert_true(n < 500);
        failing_after = n - 1;
        unlocked = configuration_unlock(c, "correct horse", 13, &fault);
        (void)failing_end();
        assert_int_equal(c->sealed, !unlocked);
        assert_int_equal(c->keyrings[0].peers[1].psk.value != NULL, unlocked);
        assert_int_equal(fault.text[0] == '\0', unlocked);
    }
    configuration_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_unlock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
