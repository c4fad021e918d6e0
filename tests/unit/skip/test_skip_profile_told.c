/* SPDX-License-Identifier: BSD-2-Clause */
/* What servers say of themselves, what is held against it, and entropy. */
#include "made_up.h"

static void capabilities_are_held_against(void **state)
{
    (void)state;
    fake.remotes[0] = "Bob[12]";
    fake.remotes[1] = "Carol";
    assert_int_equal(get(NULL, "Bob1"), SKIP_OK);
    assert_int_equal(get(NULL, "Bob3"), SKIP_REFUSED);
    assert_non_null(
        strstr(fault.text,
               "192.0.2.1:1: remote system \"Bob3\" is not among those that it serves (Bob[12], Carol)"));
    assert_string_equal(fake.log, "0c 0k ");
    assert_int_equal(get(NULL, NULL), SKIP_REFUSED);
    assert_non_null(strstr(fault.text, "remote-system-id is not configured"));
    assert_counts(SKIP_REQUEST_KEY, 3, 1, 2);
    conf.local_system_id = (char *)"Eve";
    assert_int_equal(get(NULL, "Carol"), SKIP_REFUSED);
    conf.local_system_id = (char *)"Alice";
    assert_int_equal(get(NULL, "Carol"), SKIP_OK);
}

static void only_remote_is_taken(void **state)
{
    struct skip_key key;
    struct secret_view view;
    (void)state;
    fake.remotes[0] = "Bob";
    assert_int_equal(skip_key_new(profile, NULL, 0, clock_ms() + 1000, &key, &fault), SKIP_OK);
    /* The made-up key is the name of the remote system. */
    assert_true(secret_open(key.value, &view));
    assert_int_equal(view.len, 3);
    assert_memory_equal(view.data, "Bob", 3);
    secret_close(&view);
    skip_key_clear(&key);
}

static void capabilities_absent(void **state)
{
    (void)state;
    fake.capabilities[0] = (struct behaviour){.result = SKIP_REFUSED, .status = 404};
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    assert_int_equal(get(NULL, "Carol"), SKIP_OK);
    assert_string_equal(fake.log, "0c 0k 0k ");
    assert_int_equal(get(NULL, NULL), SKIP_REFUSED);
    assert_non_null(strstr(fault.text, "does not tell its capabilities"));
}

static void capabilities_denied(void **state)
{
    (void)state;
    fake.capabilities[0] = (struct behaviour){.result = SKIP_REFUSED, .status = 403};
    assert_int_equal(get(NULL, "Bob"), SKIP_REFUSED);
    assert_string_equal(fake.log, "0c ");
    assert_counts(SKIP_REQUEST_KEY, 1, 0, 1);
}

static void capabilities_got(void **state)
{
    struct skip_capabilities *c;
    (void)state;
    assert_int_equal(skip_capabilities_get(profile, 2, NULL, clock_ms() + 1000, &c, &fault), SKIP_OK);
    assert_string_equal(c->server, "kme:3");
    assert_string_equal(c->local_system_id, "Alice");
    skip_capabilities_free(c);
    fake.capabilities[1].result = SKIP_UNREACHABLE;
    assert_int_equal(skip_capabilities_get(profile, 1, NULL, clock_ms() + 1000, &c, &fault),
                     SKIP_UNREACHABLE);
    assert_null(c);
    assert_non_null(strstr(fault.text, "[2001:db8::2]:2: made up"));
    assert_string_equal(fake.log, "2c 1c ");
}

static void sealed_psk(void **state)
{
    (void)state;
    conf.psk_id = (char *)"alice";
    conf.psk.sealed = (char *)"AQAA";
    assert_int_equal(get(NULL, "Bob"), SKIP_REFUSED);
    assert_non_null(strstr(fault.text, "log in first"));
    assert_string_equal(fake.log, "");
    assert_counts(SKIP_REQUEST_KEY, 1, 0, 1);
}

static void entropy(void **state)
{
    struct secret *s = NULL;
    (void)state;
    assert_int_equal(skip_entropy(profile, 256, clock_ms() + 1000, &s, &fault), SKIP_OK);
    assert_non_null(s);
    secret_free(s);
    fake.key[0].result = fake.key[1].result = fake.key[2].result = SKIP_UNREACHABLE;
    assert_int_equal(skip_entropy(profile, 256, clock_ms() + 1000, &s, &fault), SKIP_UNREACHABLE);
    assert_null(s);
    assert_counts(SKIP_REQUEST_ENTROPY, 4, 1, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_remote_is_taken),
        TEST(capabilities_are_held_against),
        TEST(capabilities_absent),
        TEST(capabilities_denied),
        TEST(capabilities_got),
        TEST(sealed_psk),
        TEST(entropy),
    };
    log_open("test", "none");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
