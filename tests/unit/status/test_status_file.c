/* SPDX-License-Identifier: BSD-2-Clause */
/* Status files of whomever: what is not of its type or within its bounds is refused as a whole, each
 * allocation may fail, and sums stay within their numbers. */
#include "failing.h"
#include "status/directory.h"
#include "status/status.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char good_text[] =
    "{\"ppk-status\": 1, \"pid\": 77, \"started\": 5, \"pid-namespace\": 6, \"heartbeat\": 60, \"since\": 7,"
    " \"updated\": 8, \"executable\": \"charon\", \"version\": \"1\", \"configuration\": \"/c\","
    " \"keyrings\": [{\"name\": \"k\", \"sessions\": 2, \"peers\": 3, \"ppks-held\": 4}],"
    " \"profiles\": [{\"name\": \"p\", \"type\": \"remote\", \"local-system-id\": \"Alice\","
    "  \"last-error\": \"e\", \"last-error-at\": 9,"
    "  \"requests\": {\"capabilities\": {\"total\": 3, \"passed\": 2, \"failed\": 1, \"latency-us\": 10,"
    "   \"latency\": [1, 0, 1]}},"
    "  \"servers\": [{\"name\": \"h:1\", \"state\": \"connected\", \"failures\": 1, \"last-error\": \"x\","
    "   \"last-error-at\": 2, \"capabilities\": {\"entropy\": true, \"key\": true, \"algorithm\": \"a\","
    "   \"local-identifier\": \"l\", \"remote-identifiers\": [\"r\", \"s\"]}}]}]}";

static json_t *good_root(void)
{
    json_t *root = json_loads(good_text, 0, NULL);

    assert_non_null(root);
    /* the word for the state is the room's own */
    json_t *server =
        json_array_get(json_object_get(json_array_get(json_object_get(root, "profiles"), 0), "servers"), 0);
    json_object_set_new(server, "state", json_string(status_server_states[STATUS_SERVER_UP]));
    json_t *requests = json_object_get(json_array_get(json_object_get(root, "profiles"), 0), "requests");
    json_t *request = json_incref(json_object_get(requests, "capabilities"));
    json_object_clear(requests);
    json_object_set_new(requests, status_request_names[0], request);
    return root;
}

static bool parse(const char *text, struct status_process *p)
{
    const char *why = NULL;
    bool good = status_parse(p, text, strlen(text), &why);

    if (!good) {
        assert_non_null(why);
        assert_int_equal(p->n_keyrings + p->n_profiles, 0);
        assert_null(p->keyrings);
        assert_null(p->profiles);
        assert_null(p->executable);
    }
    return good;
}

/* Is it taken? If so, what it prints is taken again, and prints the same. */
static bool taken(const json_t *root)
{
    char *text = json_dumps(root, 0);
    struct status_process p, again;
    bool good;

    assert_non_null(text);
    good = parse(text, &p);
    free(text);
    if (!good)
        return false;
    struct text first = {0}, second = {0};
    text_printf(&first, "{");
    status_print_head(&p, &first);
    text_printf(&first, ",");
    status_print_body(&p, &first);
    text_printf(&first, "}");
    assert_false(first.failed);
    assert_true(parse(first.s, &again));
    text_printf(&second, "{");
    status_print_head(&again, &second);
    text_printf(&second, ",");
    status_print_body(&again, &second);
    text_printf(&second, "}");
    assert_string_equal(first.s, second.s);
    text_free(&first);
    text_free(&second);
    status_clear(&p);
    status_clear(&again);
    return true;
}

static void test_good(void **state)
{
    (void)state;
    json_t *root = good_root();
    char *text = json_dumps(root, 0);
    struct status_process p;

    assert_true(taken(root));
    assert_true(parse(text, &p));
    assert_int_equal(p.pid, 77);
    assert_int_equal(p.keyrings[0].n[STATUS_HELD], 4);
    assert_int_equal(p.profiles[0].requests[0].latency[2], 1);
    assert_int_equal(p.profiles[0].servers[0].state, STATUS_SERVER_UP);
    assert_string_equal(p.profiles[0].servers[0].capabilities.remotes[1], "s");
    status_clear(&p);
    free(text);
    json_decref(root);
}

/* ---- every member, replaced by everything ---- */

struct tries {
    json_t *root, *values;
    unsigned taken, refused;
};

static void value_try(struct tries *t, const json_t *was, const json_t *value)
{
    bool is = taken(t->root);

    /* A number of another kind, or a text where there was none, must not pass. */
    if (json_typeof(was) != json_typeof(value) && !(json_is_boolean(was) && json_is_boolean(value)) &&
        (json_is_number(was) || json_is_string(was) || json_is_array(was)))
        assert_false(is);
    if (is)
        t->taken++;
    else
        t->refused++;
}

static void members_try(struct tries *t, json_t *at)
{
    const char *key;
    json_t *value, *member;
    size_t i, k;
    void *next;

    if (json_is_array(at)) {
        for (i = 0; i < json_array_size(at); i++) {
            json_t *was = json_incref(json_array_get(at, i));
            json_array_foreach(t->values, k, value)
            {
                json_array_set(at, i, value);
                value_try(t, was, value);
            }
            json_array_set_new(at, i, was);
            members_try(t, was);
        }
        return;
    }
    json_object_foreach_safe(at, next, key, member)
    {
        json_t *was = json_incref(member);
        json_array_foreach(t->values, k, value)
        {
            json_object_set(at, key, value);
            if (strcmp(key, "entropy") == 0 || strcmp(key, "key") == 0) /* what is not true is false */
                (void)taken(t->root);
            else
                value_try(t, was, value);
        }
        json_object_set(at, key, was);
        members_try(t, was);
        json_decref(was);
    }
}

static void test_hostile_members(void **state)
{
    (void)state;
    char large[4098];
    struct tries t = {.root = good_root()};

    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    t.values = json_pack("[n, b, i, f, s, s, [], [n], {}]", 1, -1, 1.5, "", large);
    assert_non_null(t.values);
    members_try(&t, t.root);
    print_message("%u refused, %u taken\n", t.refused, t.taken);
    assert_true(t.refused > 200);
    assert_true(taken(t.root)); /* all is as it was */
    json_decref(t.values);
    json_decref(t.root);
}

static void test_hostile_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "[]",
        "{",
        "null",
        "{\"ppk-status\": 0}",
        "{\"ppk-status\": \"1\"}",
        "{\"ppk-status\": 1}",
        "{\"ppk-status\": 1, \"pid\": 0, \"keyrings\": [], \"profiles\": []}",
        "{\"ppk-status\": 1, \"pid\": 2147483648, \"keyrings\": [], \"profiles\": []}",
        "{\"ppk-status\": 1, \"pid\": 1, \"pid\": 2, \"keyrings\": [], \"profiles\": []}"};
    struct status_process p;
    const char *why = NULL;
    char *large;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(parse(texts[i], &p));
    assert_false(status_parse(&p, "{\"ppk-status\": 2}", 17, &why));
    assert_string_equal(why, "of another version of the token");
    large = malloc(STATUS_FILE_MAX + 1);
    memset(large, ' ', STATUS_FILE_MAX + 1);
    memcpy(large, "{}", 2);
    assert_false(status_parse(&p, large, STATUS_FILE_MAX + 1, &why));
    free(large);
    /* more of what has a bound */
    json_t *root = good_root();
    json_t *profile = json_array_get(json_object_get(root, "profiles"), 0);
    json_t *latency = json_object_get(
        json_object_get(json_object_get(profile, "requests"), status_request_names[0]), "latency");
    for (size_t i = json_array_size(latency); i < HISTOGRAM_BUCKETS; i++)
        json_array_append_new(latency, json_integer(1));
    assert_true(taken(root));
    json_array_append_new(latency, json_integer(1));
    assert_false(taken(root));
    json_decref(root);
    root = good_root();
    json_t *keyrings = json_object_get(root, "keyrings");
    for (size_t i = 0; i < 65536; i++)
        json_array_append_new(keyrings, json_null());
    assert_false(taken(root));
    json_decref(root);
}

/* ---- sums ---- */

static void test_sums(void **state)
{
    (void)state;
    json_t *root = good_root();
    char *text = json_dumps(root, 0);
    struct status_process one, other, sum = {0};

    assert_true(parse(text, &one));
    assert_true(parse(text, &other));
    other.keyrings[0].n[STATUS_HELD] = UINT64_MAX;
    other.keyrings[0].n[STATUS_PEERS] = 1;
    other.profiles[0].servers[0].state = STATUS_SERVER_DOWN;
    other.profiles[0].servers[0].failures = 9;
    other.profiles[0].last_error_at = 100;
    free(other.profiles[0].last_error);
    other.profiles[0].last_error = strdup("later");
    assert_true(status_add(&sum, &other));
    assert_true(status_add(&sum, &one));
    assert_int_equal(sum.n_keyrings, 1);
    assert_int_equal(sum.n_profiles, 1);
    assert_int_equal(sum.profiles[0].n_servers, 1);
    assert_true(sum.keyrings[0].n[STATUS_HELD] == UINT64_MAX);
    assert_int_equal(sum.keyrings[0].n[STATUS_SESSIONS], 4);
    assert_int_equal(sum.keyrings[0].n[STATUS_PEERS], 3); /* configured: the larger one */
    assert_int_equal(sum.profiles[0].servers[0].state, STATUS_SERVER_DOWN);
    assert_int_equal(sum.profiles[0].servers[0].failures, 9);
    assert_string_equal(sum.profiles[0].last_error, "later");
    assert_int_equal(sum.profiles[0].requests[0].latency[0], 2);
    assert_int_equal(sum.profiles[0].servers[0].capabilities.n_remotes, 2);
    status_end(&sum);
    assert_int_equal(sum.keyrings[0].n[STATUS_HELD], 0);
    assert_int_equal(sum.profiles[0].servers[0].state, STATUS_SERVER_IDLE);
    status_clear(&one);
    status_clear(&other);
    status_clear(&sum);
    free(text);
    json_decref(root);
}

/* ---- for want of memory ---- */

static bool memory_flow(const char *text)
{
    struct status_process one = {0}, other = {0}, sum = {0};
    struct text out = {0};
    bool good =
        parse(text, &one) && parse(text, &other) && status_add(&sum, &one) && status_add(&sum, &other);

    if (good) {
        status_print_head(&sum, &out);
        status_print_body(&sum, &out);
        good = !out.failed;
    }
    text_free(&out);
    status_clear(&one);
    status_clear(&other);
    status_clear(&sum);
    return good;
}

static void test_no_memory(void **state)
{
    (void)state;
    json_t *root = good_root();
    char *text = json_dumps(root, 0);
    long n = 0;
    bool good = false;

    for (; !good && n < 1000; n++) {
        failing_after = n;
        good = memory_flow(text);
        good = !failing_end() && good;
    }
    print_message("%ld allocations failed in turn\n", n - 1);
    assert_true(good);
    assert_true(n > 40);
    free(text);
    json_decref(root);
}

/* ---- directories ---- */

static char directory[] = "/tmp/ppk-status-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void file_write(const char *name, const char *text, size_t len)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), (ssize_t)len);
    close(fd);
}

static void test_directory(void **state)
{
    (void)state;
    struct status_directory d;
    struct fault fault = {""};
    json_t *root = good_root();
    char *text = json_dumps(root, 0), *large = calloc(1, STATUS_FILE_MAX + 1);

    assert_non_null(mkdtemp(directory));
    file_write("77-0123abcd.json", text, strlen(text));
    file_write("78-0123abcd.json", text, strlen(text)); /* another's name */
    file_write("79-0123abcd.json", "{}", 2);
    file_write("80-0123abcd.json", "", 0);
    file_write("81-0123abcd.json", large, STATUS_FILE_MAX + 1);
    file_write("082-0123abcd.json", text, strlen(text)); /* no name of a status file */
    file_write("83-0123abc.json", text, strlen(text));
    file_write(".84-0123abcd.json", text, strlen(text));
    assert_int_equal(symlink("77-0123abcd.json", path_of("85-0123abcd.json")), 0);
    assert_int_equal(mkfifo(path_of("86-0123abcd.json"), 0600), 0);
    assert_true(status_directory_read(&d, directory, &fault));
    assert_int_equal(d.n, 1);
    assert_int_equal(d.files[0].process.pid, 77);
    static const char *const told[] = {"78-0123abcd.json: not of the process that its name says",
                                       "79-0123abcd.json: not a status file",
                                       "80-0123abcd.json: not a status file",
                                       "81-0123abcd.json: too large",
                                       "85-0123abcd.json: a symbolic link",
                                       "86-0123abcd.json: not a regular file"};
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        assert_non_null(strstr(d.complaints.s, told[i]));
    assert_null(strstr(d.complaints.s, "82-"));
    assert_null(strstr(d.complaints.s, "83-"));
    assert_null(strstr(d.complaints.s, "84-"));
    status_directory_clear(&d);
    for (long n = 0; n < 200; n++) { /* whatever fails: no crash, and nothing that is not whole */
        failing_after = n;
        if (status_directory_read(&d, directory, &fault))
            for (size_t i = 0; i < d.n; i++)
                assert_int_equal(d.files[i].process.n_profiles, 1);
        status_directory_clear(&d);
        (void)failing_end();
    }
    assert_false(status_directory_read(&d, path_of("nowhere"), &fault));
    assert_non_null(strstr(fault.text, "nowhere"));
    status_directory_clear(&d);
    free(text);
    free(large);
    json_decref(root);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),          cmocka_unit_test(test_hostile_members),
        cmocka_unit_test(test_hostile_texts), cmocka_unit_test(test_sums),
        cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
