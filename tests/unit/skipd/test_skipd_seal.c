/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/seal.h"

#include "failing.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

void *__real_secmem_alloc(size_t len);
void *__wrap_secmem_alloc(size_t len);
EVP_CIPHER_CTX *__real_EVP_CIPHER_CTX_new(void);
EVP_CIPHER_CTX *__wrap_EVP_CIPHER_CTX_new(void);

void *__wrap_secmem_alloc(size_t len)
{
    return failing_now() ? NULL : __real_secmem_alloc(len);
}

EVP_CIPHER_CTX *__wrap_EVP_CIPHER_CTX_new(void)
{
    return failing_now() ? NULL : __real_EVP_CIPHER_CTX_new();
}

static const uint8_t SALT[SEAL_SALT_LEN] = "0123456789abcdef";
static const uint8_t ID[16] = {1, 2, 3};
static const uint8_t VALUE[32] = "the key of a test, thirty-two by";

static const struct span VALUE_SPAN = {VALUE, sizeof VALUE};

static struct seal_label label(void)
{
    return (struct seal_label){{ID, sizeof ID}, "Alice", "Bob"};
}

static struct seal *seal_of(const char *master, const uint8_t *salt)
{
    struct secret *key = secret_new(master, strlen(master));
    struct fault fault = {0};
    struct seal *s = seal_new(key, salt, &fault);

    assert_non_null(s);
    secret_free(key);
    return s;
}

static void opens_what_it_closed(void **state)
{
    const size_t sizes[] = {1, 16, 32, 1024};
    struct seal *s = seal_of("master", SALT);
    const struct seal_label l = label();
    static const uint8_t value[1024] = {9, 8, 7};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t sealed[1024 + SEAL_OVERHEAD], opened[1024];

        assert_true(seal_close(s, &l, (struct span){value, sizes[i]}, sealed));
        assert_int_equal(seal_open(s, &l, (struct span){sealed, sizes[i] + SEAL_OVERHEAD}, opened),
                         SEAL_OPENED);
        assert_memory_equal(opened, value, sizes[i]);
    }
    seal_free(s);
}

static void never_seals_the_same_way(void **state)
{
    struct seal *s = seal_of("master", SALT);
    const struct seal_label l = label();
    uint8_t a[sizeof VALUE + SEAL_OVERHEAD], b[sizeof a];

    (void)state;
    assert_true(seal_close(s, &l, VALUE_SPAN, a) && seal_close(s, &l, VALUE_SPAN, b));
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + 12, VALUE, sizeof VALUE);
    seal_free(s);
}

static void notices_damage(void **state)
{
    struct seal *s = seal_of("master", SALT);
    const struct seal_label l = label();
    uint8_t sealed[sizeof VALUE + SEAL_OVERHEAD], opened[sizeof VALUE];
    static const uint8_t zeros[sizeof VALUE];

    (void)state;
    assert_true(seal_close(s, &l, VALUE_SPAN, sealed));
    for (size_t i = 0; i < sizeof sealed; i++) {
        sealed[i] ^= 0x40;
        memset(opened, 1, sizeof opened);
        assert_int_equal(seal_open(s, &l, (struct span){sealed, sizeof sealed}, opened), SEAL_DAMAGED);
        assert_memory_equal(opened, zeros, sizeof zeros);
        sealed[i] ^= 0x40;
    }
    for (size_t len = 0; len < sizeof sealed; len++)
        assert_int_equal(seal_open(s, &l, (struct span){sealed, len}, opened), SEAL_DAMAGED);
    seal_free(s);
}

static void belongs_to_its_label(void **state)
{
    static const uint8_t OTHER_ID[16] = {1, 2, 4};
    const struct seal_label l = label(), others[] = {
                                             {{OTHER_ID, sizeof OTHER_ID}, "Alice", "Bob"},
                                             {{ID, 15}, "Alice", "Bob"},
                                             {{ID, sizeof ID}, "Alic", "eBob"},
                                             {{ID, sizeof ID}, "Bob", "Alice"},
                                             {{ID, sizeof ID}, "", "Bob"},
                                         };
    struct seal *s = seal_of("master", SALT);
    uint8_t sealed[sizeof VALUE + SEAL_OVERHEAD], opened[sizeof VALUE];

    (void)state;
    assert_true(seal_close(s, &l, VALUE_SPAN, sealed));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(seal_open(s, &others[i], (struct span){sealed, sizeof sealed}, opened),
                         SEAL_DAMAGED);
    assert_int_equal(seal_open(s, &l, (struct span){sealed, sizeof sealed}, opened), SEAL_OPENED);
    seal_free(s);
}

static void needs_the_same_master_key_and_salt(void **state)
{
    static const uint8_t OTHER_SALT[SEAL_SALT_LEN] = "0123456789abcdeF";
    struct seal *s = seal_of("master", SALT), *same = seal_of("master", SALT), *key = seal_of("Master", SALT),
                *salt = seal_of("master", OTHER_SALT);
    const struct seal_label l = label();
    uint8_t sealed[sizeof VALUE + SEAL_OVERHEAD], opened[sizeof VALUE];

    (void)state;
    assert_true(seal_close(s, &l, VALUE_SPAN, sealed));
    assert_int_equal(seal_open(same, &l, (struct span){sealed, sizeof sealed}, opened), SEAL_OPENED);
    assert_int_equal(seal_open(key, &l, (struct span){sealed, sizeof sealed}, opened), SEAL_DAMAGED);
    assert_int_equal(seal_open(salt, &l, (struct span){sealed, sizeof sealed}, opened), SEAL_DAMAGED);
    seal_free(s);
    seal_free(same);
    seal_free(key);
    seal_free(salt);
    seal_free(NULL);
}

/* What fails now may be opened another time, and is not taken for damaged. */
static void tells_failure_from_damage(void **state)
{
    static const uint8_t zeros[sizeof VALUE];
    struct seal *s = seal_of("master", SALT);
    const struct seal_label l = label();
    uint8_t sealed[sizeof VALUE + SEAL_OVERHEAD], opened[sizeof VALUE];
    enum seal_result r = SEAL_FAILED;
    long n = 0;

    (void)state;
    assert_true(seal_close(s, &l, VALUE_SPAN, sealed));
    for (; n < 100; n++) {
        memset(opened, 1, sizeof opened);
        failing_after = n;
        r = seal_open(s, &l, (struct span){sealed, sizeof sealed}, opened);
        if (!failing_end())
            break;
        assert_int_equal(r, SEAL_FAILED);
        assert_memory_equal(opened, zeros, sizeof zeros);
    }
    assert_in_range(n, 2, 99);
    assert_int_equal(r, SEAL_OPENED);
    assert_memory_equal(opened, VALUE, sizeof VALUE);
    seal_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_what_it_closed),
        cmocka_unit_test(never_seals_the_same_way),
        cmocka_unit_test(notices_damage),
        cmocka_unit_test(belongs_to_its_label),
        cmocka_unit_test(needs_the_same_master_key_and_salt),
        cmocka_unit_test(tells_failure_from_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
