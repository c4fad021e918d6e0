/* SPDX-License-Identifier: BSD-2-Clause */
/* Type 6 secrets of a configuration: sealed, opened by the master key file, the credential, or later by a
 * PIN. */
#include "config/type6.h"
#include "keyring/keyring.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PPK "0123456789abcdef0123456789ABCDEF"

static char directory[] = "/tmp/ppk-unlock-XXXXXX";
static char key_path[64];

static void file_write(const char *path, const char *content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    (void)close(fd);
}

static int setup(void **state)
{
    (void)state;
    (void)unsetenv("CREDENTIALS_DIRECTORY");
    if (mkdtemp(directory) == NULL)
        return -1;
    (void)snprintf(key_path, sizeof key_path, "%s/ppk-master-key", directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(key_path);
    return rmdir(directory);
}

/* A configuration with three Type 6 secrets under the key, and a clear one. */
static void input_make(struct text *out, const char *master, const char *master_of_last,
                       const char *first_line)
{
    struct type6 *t = type6_new(master, strlen(master)),
                 *last = type6_new(master_of_last, strlen(master_of_last));

    assert_non_null(t);
    assert_non_null(last);
    text_printf(out, "%s\nkeyring k\n peer p\n  ppk manual id a key 6 ", first_line);
    assert_true(type6_seal(t, PPK, 32, out, NULL));
    text_printf(out, "\n  ppk manual id b key " PPK "\n  pre-shared-key 6 ");
    assert_true(type6_seal(t, "psk", 3, out, NULL));
    text_printf(out, "\nsks profile s type remote\n kme server ipv4 127.0.0.1 port 1\n tls psk id i key 6 ");
    assert_true(type6_seal(last, "0123456789abcdef", 16, out, NULL));
    text_printf(out, "\nkeyring l\n key-encryption-key card key 6 ");
    assert_true(type6_seal(t, "fedcba9876543210", 16, out, NULL));
    text_printf(out, "\n");
    type6_free(t);
    type6_free(last);
}

static void assert_opened(const struct configuration *c)
{
    struct secret *ppk = secret_new(PPK, 32), *psk = secret_new("psk", 3),
                  *tls = secret_new("0123456789abcdef", 16), *kek = secret_new("fedcba9876543210", 16);

    assert_false(c->sealed);
    assert_true(secret_equal(c->keyrings[0].peers[0].manual[0].key.value, ppk));
    assert_true(secret_equal(c->keyrings[0].peers[0].psk.value, psk));
    assert_true(secret_equal(c->profiles[0].psk.value, tls));
    assert_true(secret_equal(c->keyrings[1].keks[0].key.value, kek));
    assert_non_null(c->keyrings[0].peers[0].psk.sealed); /* "show" shows the text as it stands */
    secret_free(ppk);
    secret_free(psk);
    secret_free(tls);
    secret_free(kek);
}

static struct configuration *parsed(const struct text *input)
{
    struct text errors = {0};
    struct configuration *c = configuration_parse("t", input->s, input->len, &errors);

    if (c == NULL)
        fail_msg("%s", errors.s);
    return c;
}

static void test_pin(void **state)
{
    struct fault fault = {""};
    struct configuration *c;
    struct text input = {0};

    (void)state;
    input_make(&input, "master", "master", "");
    c = parsed(&input);
    assert_true(c->sealed);
    assert_null(c->profiles[0].psk.value);
    assert_non_null(c->keyrings[0].peers[0].manual[1].key.value); /* the clear one */
    assert_false(configuration_unlock(c, "wrong", 5, &fault));
    assert_string_equal(fault.text,
                        "t:9: the Type 6 secret is damaged, or was encrypted under another master key");
    assert_true(c->sealed);
    assert_false(configuration_unlock(c, "", 0, &fault));
    assert_null(c->keyrings[0].peers[0].psk.value);
    if (!configuration_unlock(c, "master", 6, &fault))
        fail_msg("%s", fault.text);
    assert_opened(c);
    assert_true(configuration_unlock(c, "anything", 8, &fault)); /* nothing is left to open */
    configuration_free(c);
    text_free(&input);
}

static void test_all_or_none(void **state)
{
    struct fault fault = {""};
    struct configuration *c;
    struct text input = {0};

    (void)state;
    input_make(&input, "master", "another", "");
    c = parsed(&input);
    assert_false(configuration_unlock(c, "master", 6, &fault));
    assert_false(configuration_unlock(c, "another", 7, &fault));
    assert_true(c->sealed);
    assert_null(c->profiles[0].psk.value);
    assert_null(c->keyrings[0].peers[0].manual[0].key.value);
    assert_null(c->keyrings[0].peers[0].psk.value);
    configuration_free(c);
    text_free(&input);
}

static void test_master_key_file(void **state)
{
    struct configuration *c;
    struct text input = {0}, errors = {0};
    char line[128];

    (void)state;
    (void)snprintf(line, sizeof line, "master-key file %s", key_path);
    input_make(&input, "master", "master", line);
    file_write(key_path, "master\n");
    c = parsed(&input);
    assert_opened(c);
    configuration_free(c);
    file_write(key_path, "wrong\n");
    assert_null(configuration_parse("t", input.s, input.len, &errors));
    assert_string_equal(errors.s,
                        "t:9: the Type 6 secret is damaged, or was encrypted under another master key\n");
    text_free(&errors);
    assert_int_equal(chmod(key_path, 0644), 0);
    assert_null(configuration_parse("t", input.s, input.len, &errors));
    assert_non_null(strstr(errors.s, "t:1: "));
    text_free(&errors);
    assert_int_equal(unlink(key_path), 0);
    text_free(&input);
}

static void test_credential(void **state)
{
    struct configuration *c;
    struct text input = {0}, errors = {0};

    (void)state;
    input_make(&input, "master", "master", "");
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", directory, 1), 0);
    c = parsed(&input); /* there is no credential of the name */
    assert_true(c->sealed);
    configuration_free(c);
    file_write(key_path, "master");
    c = parsed(&input);
    assert_opened(c);
    configuration_free(c);
    file_write(key_path, "wrong");
    assert_null(configuration_parse("t", input.s, input.len, &errors));
    text_free(&errors);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    text_free(&input);
}

static void test_join(void **state)
{
    struct type6 *right = type6_new("master", 6), *wrong = type6_new("wrong", 5);
    struct text input = {0}, sealed = {0}, none = {0};
    struct fault fault = {""};
    struct configuration *c;

    (void)state;
    input_make(&input, "master", "master", "");
    c = parsed(&input);
    assert_false(configuration_type6_join(c, wrong, &fault));
    assert_non_null(strstr(fault.text, "t:9: "));
    assert_true(configuration_type6_join(c, right, &fault));
    assert_true(type6_seal(right, "x", 1, &sealed, NULL));
    assert_memory_equal(sealed.s, c->profiles[0].psk.sealed, 22); /* the same salt */
    configuration_free(c);
    text_printf(&none, "keyring k\n");
    c = parsed(&none);
    assert_true(configuration_type6_join(c, wrong, &fault));
    configuration_free(c);
    text_free(&input);
    text_free(&sealed);
    text_free(&none);
    type6_free(right);
    type6_free(wrong);
}

static _Atomic bool unlocked;

/* What the token's threads do meanwhile: each finds a secret either sealed, or whole. */
static void *reader(void *context)
{
    const struct configuration *c = context;
    size_t seen = 0;

    do {
        const struct peer *p = keyring_peer_by_name(&c->keyrings[0], "p", 1);
        struct secret *psk = p->psk.value;
        struct text out = {0};

        if (psk != NULL && secret_len(psk) == 3)
            seen++;
        configuration_print(c, NULL, NULL, &out);
        text_free(&out);
    } while (!unlocked || c->sealed || seen == 0);
    return NULL;
}

static void test_readers(void **state)
{
    struct fault fault = {""};
    struct configuration *c;
    struct text input = {0};
    pthread_t threads[4];

    (void)state;
    input_make(&input, "master", "master", "");
    c = parsed(&input);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader, c), 0);
    assert_true(configuration_unlock(c, "master", 6, &fault));
    unlocked = true;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_opened(c);
    configuration_free(c);
    text_free(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pin),
        cmocka_unit_test(test_all_or_none),
        cmocka_unit_test(test_master_key_file),
        cmocka_unit_test(test_credential),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_readers),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
