/* SPDX-License-Identifier: BSD-2-Clause */
/* What ended processes have counted: the text, hostile texts, and many that add at once. */
#include "base/clock.h"
#include "status/directory.h"
#include "status/ended.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 8, TURNS = 40, GARBAGE = 20000 };

static char path[] = "/tmp/ppk-status-ended-XXXXXX";
static char total[32];

/* A process that has counted `n` of everything. */
static void counted(struct status_process *p, uint64_t n)
{
    struct status_keyring *k;
    struct status_profile *s;

    memset(p, 0, sizeof *p);
    k = status_keyring_add(p, "odd \n \"name\" \x7f");
    s = status_profile_add(p, "ks");
    assert_non_null(k);
    assert_non_null(s);
    for (size_t i = 0; i < STATUS_NUMBERS; i++)
        k->n[i] = n * (i + 1);
    s->type = strdup("remote");
    s->last_error = strdup("it said\n\"no\"");
    s->last_error_at = 1700000000;
    for (size_t i = 0; i < STATUS_REQUESTS; i++) {
        s->requests[i] =
            (struct status_request){.total = 3 * n, .passed = 2 * n, .failed = n, .latency_us = 1000 * n};
        s->requests[i].latency[i] = n;
        s->requests[i].latency[HISTOGRAM_BUCKETS - 1] = n;
    }
    assert_non_null(status_server_add(s, "127.0.0.1:1"));
}

static int directory_open(void)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static int setup(void **state)
{
    (void)state;
    memcpy(strrchr(path, '-') + 1, "XXXXXX", 6);
    (void)snprintf(total, sizeof total, "ended-%lu.txt", (unsigned long)geteuid());
    return mkdtemp(path) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    int directory = directory_open();

    (void)state;
    (void)unlinkat(directory, total, 0);
    (void)unlinkat(directory, "elsewhere", 0);
    (void)close(directory);
    return rmdir(path);
}

static void read_all(struct status_directory *d)
{
    struct fault fault = {""};

    assert_true(status_directory_read(d, path, &fault));
}

/* ---- text ---- */

static void test_round_trip(void **state)
{
    struct status_ended e = {.processes = UINT64_MAX, .last = "1-00000001.json"}, again;
    struct text text = {0}, same = {0};

    (void)state;
    counted(&e.sum, 7);
    e.sum.keyrings[0].n[STATUS_USED] = UINT64_MAX;
    status_ended_print(&e, &text);
    assert_true(status_ended_parse(&again, text.s, text.len));
    assert_string_equal(again.sum.keyrings[0].name, e.sum.keyrings[0].name);
    assert_string_equal(again.sum.profiles[0].last_error, "it said\n\"no\"");
    assert_null(again.sum.profiles[0].local_system_id);
    assert_true(again.sum.keyrings[0].n[STATUS_USED] == UINT64_MAX);
    assert_int_equal(again.sum.keyrings[0].n[STATUS_HELD], 0); /* is not a counter */
    assert_int_equal(again.sum.profiles[0].n_servers, 0);
    assert_memory_equal(again.sum.profiles[0].requests, e.sum.profiles[0].requests,
                        sizeof again.sum.profiles[0].requests);
    status_ended_print(&again, &same);
    assert_string_equal(text.s, same.s);
    status_ended_clear(&again);
    /* what is cut off anywhere else than behind a whole line is none; nor is what something follows */
    for (size_t len = 0; len < text.len; len++) {
        bool good = status_ended_parse(&again, text.s, len);
        if (good)
            assert_int_equal(text.s[len - 1], '\n');
        status_ended_clear(&again);
    }
    text_append(&text, "x", 1);
    assert_false(status_ended_parse(&again, text.s, text.len));
    assert_null(again.sum.keyrings);
    text_free(&text);
    text_free(&same);
    status_ended_clear(&e);
}

static void test_hostile(void **state)
{
    static const char *const texts[] = {
        "",
        "\n",
        "ppk-pkcs11 ended 2\nprocesses 1\nlast -\n",
        "ppk-pkcs11 ended 1\nprocesses -1\nlast -\n",
        "ppk-pkcs11 ended 1\nprocesses 18446744073709551616\nlast -\n",
        ("ppk-pkcs11 ended 1\nprocesses 1\nlast "
         "30303030303030303030303030303030303030303030303030303030303030303030\n"),
        "ppk-pkcs11 ended 1\nprocesses 1\nlast 3\n",
        "ppk-pkcs11 ended 1\nprocesses 1\nlast 003031\n",
        "ppk-pkcs11 ended 1\nprocesses 1\nlast -\nkeyring - 0 0 0 0 0 0 0 0\n",
        "ppk-pkcs11 ended 1\nprocesses 1\nlast -\nkeyring 6b 0 0 0 0 0 0 0\n",
        "ppk-pkcs11 ended 1\nprocesses 1\nlast -\nkeyring 6b 0 0 0 0 0 0 0 0 0\n",
        "ppk-pkcs11 ended 1\nprocesses 1\nlast -\nprofile 6b - - - 0\n",
        "ppk-pkcs11 ended 1\nprocesses 1\nlast -\nprofile 6b - - - 9223372036854775808\n",
        "ppk-pkcs11 ended 1\nprocesses 1\nlast -\nnonsense\n",
    };
    struct status_ended e;
    struct text text = {0};

    (void)state;
    assert_true(status_ended_parse(&e, "ppk-pkcs11 ended 1\nprocesses 1\nlast -\n", 38));
    status_ended_clear(&e);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_false(status_ended_parse(&e, texts[i], strlen(texts[i])));
        assert_true(e.sum.keyrings == NULL && e.sum.profiles == NULL);
    }
    counted(&e.sum, 5);
    status_ended_print(&e, &text);
    status_ended_clear(&e);
    srandom(8784);
    for (int i = 0; i < GARBAGE; i++) {
        char *copy = malloc(text.len); /* of this very size, for the sanitizer to see */
        assert_non_null(copy);
        memcpy(copy, text.s, text.len);
        for (int k = 0; k < 3; k++)
            copy[(size_t)random() % text.len] = "0 -\nfz\xff"[random() % 7];
        (void)status_ended_parse(&e, copy, text.len - (size_t)random() % 8);
        status_ended_clear(&e);
        free(copy);
    }
    text_free(&text);
}

/* ---- adding ---- */

static void test_many_at_once(void **state)
{
    struct status_directory d;

    (void)state;
    for (int i = 0; i < PROCESSES; i++) {
        if (fork() == 0) {
            int directory = directory_open();
            for (int turn = 0; turn < TURNS; turn++) {
                struct status_process p;
                char name[STATUS_NAME_ROOM];
                counted(&p, 1);
                (void)snprintf(name, sizeof name, "%d-%08x.json", (int)getpid(), (unsigned)turn);
                while (!status_ended_add(directory, geteuid(), name, &p))
                    ; /* not in time: nothing is added */
                status_clear(&p);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    read_all(&d);
    assert_null(d.complaints.s);
    assert_int_equal(d.n_ended, PROCESSES * TURNS);
    assert_int_equal(d.ended.keyrings[0].n[STATUS_FETCHED], PROCESSES * TURNS * (STATUS_FETCHED + 1));
    assert_int_equal(d.ended.profiles[0].requests[1].passed, 2 * PROCESSES * TURNS);
    assert_int_equal(d.ended.profiles[0].requests[1].latency[1], PROCESSES * TURNS);
    status_directory_clear(&d);
}

static void test_added_once(void **state)
{
    struct status_directory d;
    struct status_process p;
    int directory = directory_open();

    (void)state;
    counted(&p, 2);
    assert_true(status_ended_add(directory, geteuid(), "1-00000001.json", &p));
    assert_true(status_ended_add(directory, geteuid(), "1-00000001.json", &p));
    read_all(&d);
    assert_int_equal(d.n_ended, 1);
    assert_int_equal(d.ended.keyrings[0].n[STATUS_USED], 2 * (STATUS_USED + 1));
    status_directory_clear(&d);
    status_clear(&p);
    /* who has nothing to add leaves all as it is */
    memset(&p, 0, sizeof p);
    assert_non_null(status_keyring_add(&p, "k"));
    assert_true(status_ended_add(directory, geteuid(), "1-00000002.json", &p));
    read_all(&d);
    assert_int_equal(d.n_ended, 1);
    status_directory_clear(&d);
    status_clear(&p);
    (void)close(directory);
}

/* Somebody else's file, a link, a lock that is not given back, and rubbish. */
static void test_what_is_in_the_way(void **state)
{
    struct status_directory d;
    struct status_process p;
    int directory = directory_open(), fd;
    uint64_t began;

    (void)state;
    counted(&p, 1);
    assert_int_equal(symlinkat("elsewhere", directory, total), 0);
    assert_false(status_ended_add(directory, geteuid(), "1-00000001.json", &p));
    assert_int_equal(faccessat(directory, "elsewhere", F_OK, 0), -1);
    assert_int_equal(unlinkat(directory, total, 0), 0);

    fd = openat(directory, total, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "rubbish\n", 8), 8);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    began = clock_ms();
    assert_false(status_ended_add(directory, geteuid(), "1-00000001.json", &p));
    assert_in_range(clock_ms() - began, 90, 20000);
    read_all(&d);
    assert_non_null(strstr(d.complaints.s, "damaged"));
    status_directory_clear(&d);
    (void)close(fd);
    assert_true(status_ended_add(directory, geteuid(), "1-00000001.json", &p)); /* begins anew */
    read_all(&d);
    assert_int_equal(d.n_ended, 1);
    status_directory_clear(&d);

    if (geteuid() == 0) {
        fd = openat(directory, total, O_WRONLY | O_CLOEXEC);
        assert_int_equal(fchown(fd, 1, (gid_t)-1), 0);
        (void)close(fd);
        assert_false(status_ended_add(directory, geteuid(), "1-00000002.json", &p));
        read_all(&d);
        assert_non_null(strstr(d.complaints.s, "not of the user"));
        assert_int_equal(d.n_ended, 0);
        status_directory_clear(&d);
    }
    status_clear(&p);
    (void)close(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_added_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_in_the_way, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
