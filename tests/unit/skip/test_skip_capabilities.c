/* SPDX-License-Identifier: BSD-2-Clause */
#include "skip/capabilities.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct skip_capabilities with(char **remotes)
{
    return (struct skip_capabilities){.entropy = true,
                                      .key = true,
                                      .algorithm = (char *)"PRNG",
                                      .local_system_id = (char *)"Alice",
                                      .remote_system_ids = remotes};
}

static void globs(void **state)
{
    static const struct {
        const char *glob, *remote;
        bool match;
    } cases[] = {
        {"Bob", "Bob", true},
        {"Bob", "bob", false},
        {"Bob", "Bobby", false},
        {"*", "anything/at.all", true},
        {"B*", "Bob", true},
        {"*", ".hidden", true},
        {"B?b", "Bob", true},
        {"B?b", "Bb", false},
        {"Bob[1-3]", "Bob2", true},
        {"Bob[1-3]", "Bob4", false},
        {"Bob[!1-3]", "Bob4", true},
        {"Bob[!1-3]", "Bob1", false},
        {"[", "x", false},
        {"\\*", "*", true},
        {"\\*", "x", false},
        {"", "Bob", false},
        {"site/*/kme", "site/a/b/kme", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *remotes[] = {(char *)"nobody", (char *)cases[i].glob, NULL};
        struct skip_capabilities c = with(remotes);
        struct skip_call call = {.request = SKIP_REQUEST_KEY, .remote = cases[i].remote, .size = 256};
        struct fault fault = {""};
        if (skip_capabilities_allow(&c, &call, NULL, &fault) != cases[i].match)
            fail_msg("%s against %s", cases[i].remote, cases[i].glob);
        if (!cases[i].match)
            assert_non_null(strstr(fault.text, cases[i].remote));
    }
}

/* A hostile glob must not take long: the lock of the profile is held meanwhile. */
static void costly_glob(void **state)
{
    char glob[SKIP_KEY_ID_MAX + 1] = "", remote[256] = "";
    (void)state;
    for (size_t i = 0; i + 3 < sizeof glob; i += 2)
        memcpy(glob + i, "*a", 3);
    glob[strlen(glob) - 1] = 'b';
    memset(remote, 'a', sizeof remote - 1);
    char *remotes[] = {glob, NULL};
    struct skip_capabilities c = with(remotes);
    struct skip_call call = {.request = SKIP_REQUEST_KEY, .remote = remote, .size = 256};
    uint64_t start = clock_ms();
    assert_false(skip_capabilities_allow(&c, &call, NULL, NULL));
    assert_true(clock_ms() - start < 1000);
}

static void what_is_served(void **state)
{
    char *remotes[] = {(char *)"Bob", NULL};
    struct skip_call key = {.request = SKIP_REQUEST_KEY_BY_ID, .remote = "Bob", .key_id = "00"};
    struct skip_call entropy = {.request = SKIP_REQUEST_ENTROPY, .size = 256};
    struct skip_capabilities c = with(remotes);
    struct fault fault = {""};
    (void)state;
    assert_true(skip_capabilities_allow(&c, &key, "Alice", &fault));
    assert_true(skip_capabilities_allow(&c, &entropy, "Alice", &fault));
    assert_false(skip_capabilities_allow(&c, &key, "Alicia", &fault));
    assert_non_null(strstr(fault.text, "Alicia"));
    c.entropy = false;
    assert_false(skip_capabilities_allow(&c, &entropy, NULL, &fault));
    assert_non_null(strstr(fault.text, "entropy"));
    c.key = false;
    assert_false(skip_capabilities_allow(&c, &key, NULL, &fault));
    assert_non_null(strstr(fault.text, "keys"));
}

static void only_remote(void **state)
{
    char *none[] = {NULL}, *one[] = {(char *)"Bob", NULL}, *two[] = {(char *)"Bob", (char *)"Carol", NULL};
    char *glob[] = {(char *)"B*", NULL}, *list[] = {(char *)"B[ab]", NULL};
    struct fault fault = {""};
    struct skip_capabilities c = with(one);
    (void)state;
    assert_string_equal(skip_capabilities_only_remote(&c, &fault), "Bob");
    char **others[] = {none, two, glob, list};
    for (size_t i = 0; i < 4; i++) {
        c = with(others[i]);
        fault.text[0] = 0;
        assert_null(skip_capabilities_only_remote(&c, &fault));
        assert_non_null(strstr(fault.text, "remote-system-id is not configured"));
    }
}

static void copies(void **state)
{
    char *remotes[] = {(char *)"Bob", (char *)"C*", NULL};
    struct skip_capabilities c = with(remotes), *copy = skip_capabilities_copy(&c);
    (void)state;
    assert_non_null(copy);
    assert_true(copy->key && copy->entropy);
    assert_string_equal(copy->local_system_id, "Alice");
    assert_string_equal(copy->remote_system_ids[1], "C*");
    assert_null(copy->remote_system_ids[2]);
    skip_capabilities_free(copy);
    skip_capabilities_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs),       cmocka_unit_test(costly_glob), cmocka_unit_test(what_is_served),
        cmocka_unit_test(only_remote), cmocka_unit_test(copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
