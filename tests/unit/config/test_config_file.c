/* SPDX-License-Identifier: BSD-2-Clause */
/* Which files are trusted. */
#include "config/config.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/ppk-config-XXXXXX";
static char path[64];

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/file", directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(directory);
}

static void file_write(const char *content, size_t len, mode_t mode)
{
    int fd;

    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static void test_modes(void **state)
{
    static const struct {
        mode_t mode;
        bool plain, secret;
        const char *why;
    } modes[] = {
        {0600, true, true, NULL},
        {0640, true, true, NULL},
        {0400, true, true, NULL},
        {0644, true, false, "others can read it"},
        {0660, false, false, "its group can write it"},
        {0602, false, false, "others can write it"},
        {0666, false, false, "others can write it"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct fault fault = {""};
        int fd;

        file_write("x", 1, modes[i].mode);
        fd = config_file_open(path, CONFIG_FILE_PLAIN, &fault);
        assert_int_equal(fd >= 0, modes[i].plain);
        if (fd >= 0)
            (void)close(fd);
        fd = config_file_open(path, CONFIG_FILE_SECRET, &fault);
        assert_int_equal(fd >= 0, modes[i].secret);
        if (fd >= 0)
            (void)close(fd);
        else
            assert_non_null(strstr(fault.text, modes[i].why));
    }
}

static void test_owner(void **state)
{
    struct fault fault = {""};

    (void)state;
    if (geteuid() != 0)
        skip();
    file_write("x", 1, 0600);
    assert_int_equal(chown(path, 12345, 0), 0);
    assert_int_equal(config_file_open(path, CONFIG_FILE_PLAIN, &fault), -1);
    assert_non_null(strstr(fault.text, "belongs to user 12345"));
}

static void test_kinds(void **state)
{
    struct fault fault = {""};

    (void)state;
    assert_int_equal(config_file_open(directory, CONFIG_FILE_PLAIN, &fault), -1);
    assert_non_null(strstr(fault.text, "is not a regular file"));
    assert_int_equal(config_file_open("/dev/null", CONFIG_FILE_PLAIN, &fault), -1);
    (void)unlink(path);
    assert_int_equal(config_file_open(path, CONFIG_FILE_PLAIN, &fault), -1);
    assert_non_null(strstr(fault.text, "No such file"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(config_file_open(path, CONFIG_FILE_PLAIN, &fault), -1); /* and does not block */
    assert_non_null(strstr(fault.text, "is not a regular file"));
}

static void test_symlink(void **state)
{
    struct fault fault = {""};
    char link[64];
    int fd;

    (void)state;
    (void)snprintf(link, sizeof link, "%s/link", directory);
    file_write("x", 1, 0600);
    assert_int_equal(symlink(path, link), 0);
    fd = config_file_open(link, CONFIG_FILE_SECRET, &fault);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(chmod(path, 0604), 0); /* what counts is the file behind it */
    assert_int_equal(config_file_open(link, CONFIG_FILE_SECRET, &fault), -1);
    assert_int_equal(unlink(link), 0);
}

static void test_master_key(void **state)
{
    static const struct {
        const char *content;
        size_t len, key;
    } keys[] = {{"secret", 6, 6}, {"secret\n", 7, 6}, {"secret\r\n", 8, 6}, {"secret\n\n", 8, 7},
                {"a\0b", 3, 3},   {"", 0, 0},         {"\n", 1, 0}};
    char big[600];

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct fault fault = {""};
        struct secret *key;

        file_write(keys[i].content, keys[i].len, 0600);
        key = config_master_key_read(path, &fault);
        assert_int_equal(key != NULL, keys[i].key > 0);
        if (key != NULL)
            assert_int_equal(secret_len(key), keys[i].key);
        else
            assert_non_null(strstr(fault.text, "1 to 512 bytes"));
        secret_free(key);
    }
    memset(big, 'k', sizeof big);
    for (size_t len = 511; len <= 516; len++) {
        struct secret *key;

        file_write(big, len, 0600);
        key = config_master_key_read(path, NULL);
        assert_int_equal(key != NULL, len <= 512);
        secret_free(key);
    }
    big[512] = '\n';
    file_write(big, 513, 0600);
    struct secret *key = config_master_key_read(path, NULL);
    assert_non_null(key);
    assert_int_equal(secret_len(key), 512);
    secret_free(key);
    file_write("secret", 6, 0644);
    assert_null(config_master_key_read(path, NULL));
}

static void apply_nothing(struct config_call *call)
{
    (void)call;
}

static void test_secrets_and_modes(void **state)
{
    static const struct config_level level = {"", ""};
    static const struct config_command commands[] = {
        {CONFIG_IN(0), "psk [0|6|hex] <KEY:secret>", 0, 0, "", apply_nothing, NULL},
        {CONFIG_IN(0), "plain", 0, 0, "", apply_nothing, NULL},
    };
    static const struct config_language l = {
        .levels = &level, .n_levels = 1, .commands = commands, .n_commands = 2};
    static const struct {
        const char *content;
        mode_t mode;
        const char *errors;
    } files[] = {
        {"plain\n", 0644, ""},
        {"psk 6 ANYTHING\n", 0644, ""},
        {"psk x\n", 0640, ""},
        {"plain\npsk x\npsk y\n", 0644, "f:2: a secret in clear, and others can read the file"},
        {"psk hex 00\n", 0604, "f:1: a secret in clear, and others can read the file"},
        {"psk x y z\n", 0644, "f:1: a secret in clear, and others can read the file"},
        {"plain\n", 0646, "f: others can write it (mode 0646)"},
        {"plain\n", 0664, "f: its group can write it (mode 0664)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct config_errors errors = {0};
        struct text out = {0};

        file_write(files[i].content, strlen(files[i].content), files[i].mode);
        (void)config_read_file(&l, NULL, path, &errors);
        config_errors_print(&errors, "f", &out);
        if (files[i].errors[0] == '\0' ? out.len > 0
                                       : out.s == NULL || strstr(out.s, files[i].errors) == NULL)
            fail_msg("%s with mode %o: %s", files[i].content, files[i].mode, out.s != NULL ? out.s : "");
        text_free(&out);
        config_errors_free(&errors);
    }
}

/* More than one chunk of the reader, lines across its borders. */
static void test_long_file(void **state)
{
    static const struct config_level level = {"", ""};
    static const struct config_command command = {CONFIG_IN(0), "plain", 0, 0, "", apply_nothing, NULL};
    static const struct config_language l = {
        .levels = &level, .n_levels = 1, .commands = &command, .n_commands = 1};
    struct config_errors errors = {0};
    struct text content = {0}, out = {0};

    (void)state;
    for (int i = 0; i < 20000; i++)
        text_printf(&content, "plain\n");
    text_printf(&content, "plane");
    file_write(content.s, content.len, 0600);
    assert_false(config_read_file(&l, NULL, path, &errors));
    config_errors_print(&errors, "f", &out);
    assert_string_equal(out.s, "f:20001: unknown command; in the top level there are: plain\n");
    text_free(&content);
    text_free(&out);
    config_errors_free(&errors);
}

/* A fault's text holds 399 bytes: of a path nearly as long, the reason is cut off, or the colon before it. */
static void test_missing_with_a_long_path(void **state)
{
    static const struct config_level level = {"", ""};
    static const struct config_command command = {CONFIG_IN(0), "plain", 0, 0, "", apply_nothing, NULL};
    static const struct config_language l = {
        .levels = &level, .n_levels = 1, .commands = &command, .n_commands = 1};
    char longest[420], expected[512];

    (void)state;
    memset(longest, 'a', sizeof longest);
    longest[0] = longest[200] = '/';
    for (size_t len = 300; len < sizeof longest; len++) {
        struct config_errors errors = {0};
        struct text out = {0};

        longest[len] = '\0';
        assert_false(config_read_file(&l, NULL, longest, &errors));
        config_errors_print(&errors, "f", &out);
        if (len < 370)
            (void)snprintf(expected, sizeof expected, "f: No such file or directory\n");
        else if (len > 397)
            (void)snprintf(expected, sizeof expected, "f: %.399s%s\n", longest, len == 398 ? ":" : "");
        else
            (void)snprintf(expected, sizeof expected, "f: %.*s\n", (int)(397 - len),
                           "No such file or directory");
        assert_string_equal(out.s, expected);
        text_free(&out);
        config_errors_free(&errors);
        longest[len] = 'a';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),      cmocka_unit_test(test_owner),
        cmocka_unit_test(test_kinds),      cmocka_unit_test(test_symlink),
        cmocka_unit_test(test_master_key), cmocka_unit_test(test_secrets_and_modes),
        cmocka_unit_test(test_long_file),  cmocka_unit_test(test_missing_with_a_long_path),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
