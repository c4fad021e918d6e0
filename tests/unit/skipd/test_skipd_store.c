/* SPDX-License-Identifier: BSD-2-Clause */
/* What store.h promises: on SQLite; on PostgreSQL where the environment has SKIPD_POSTGRESQL, a connection
 * string to a database of the test's own. */
#include "skipd/store.h"

#include <libpq-fe.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static const struct store_kind *kind = &store_sqlite;
static char directory[] = "/tmp/skipd-store-XXXXXX";
static char path[200];
static struct fault fault;

static int make_directory(void **state)
{
    (void)state;
    if (getenv("SKIPD_POSTGRESQL") != NULL) {
        kind = &store_postgresql;
        snprintf(path, sizeof path, "%s", getenv("SKIPD_POSTGRESQL"));
        return 0;
    }
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/keys.db", directory);
    return 0;
}

static int clean(void **state)
{
    char more[sizeof path + 8];
    PGconn *db = NULL;

    (void)state;
    if (kind == &store_postgresql) {
        db = PQconnectdb(path);
        PQclear(PQexec(db, "SET client_min_messages = error;"
                           "DROP TABLE IF EXISTS skipd_value, skipd_key, skipd_fact"));
        PQfinish(db);
        return 0;
    }
    unlink(path);
    snprintf(more, sizeof more, "%s-wal", path);
    unlink(more);
    return 0;
}

static int remove_directory(void **state)
{
    clean(state);
    return kind == &store_sqlite ? rmdir(directory) : 0;
}

static uint64_t limit, limit_rows; /* of the rows of the test at hand */

static struct store *reopen(struct store *s, uint64_t keys)
{
    limit = keys;
    limit_rows = 2 * keys;
    if (s != NULL)
        kind->close(s);
    s = kind->open(path, &fault);
    if (s == NULL)
        fail_msg("%s", fault.text);
    return s;
}

static struct store_row row(unsigned n)
{
    struct store_row r = {.limit = limit,
                          .limit_rows = limit_rows,
                          .id_len = 16,
                          .initiator = "Alice",
                          .responder = "Bob",
                          .sealed_len = 60,
                          .ttl_ms = 60000};

    snprintf((char *)r.id, sizeof r.id, "id %08u", n);
    snprintf((char *)r.sealed, sizeof r.sealed, "value %08u", n);
    return r;
}

/* One operation in a transaction of its own. */
static enum store_result one(struct store *s,
                             enum store_result (*op)(struct store *, struct store_row *, struct fault *),
                             struct store_row *r)
{
    enum store_result result = STORE_FAILED;

    assert_true(kind->begin(s, &fault));
    result = op(s, r, &fault);
    assert_true(kind->commit(s, &fault));
    return result;
}

static void a_key_is_taken_once(void **state)
{
    struct store *s = reopen(NULL, 100);
    struct store_row r = row(1), again = row(1);

    (void)state;
    assert_int_equal(one(s, kind->take, &again), STORE_NOT_FOUND);
    assert_int_equal(one(s, kind->put, &r), STORE_OK);
    assert_int_equal(kind->waiting(s), 1);
    assert_int_equal(one(s, kind->take, &again), STORE_OK);
    assert_int_equal(again.found_len, r.sealed_len);
    assert_memory_equal(again.found, r.sealed, r.sealed_len);
    assert_in_range(again.left_ms, r.ttl_ms - 30000, r.ttl_ms);
    assert_int_equal(kind->waiting(s), 0);
    assert_int_equal(one(s, kind->take, &again), STORE_DELIVERED);
    assert_int_equal(again.found_len, 0);
    s = reopen(s, 100);
    assert_int_equal(one(s, kind->take, &again), STORE_DELIVERED);
    kind->close(s);
}

static void a_repeated_put_brings_nothing_back(void **state)
{
    struct store *s = reopen(NULL, 100);
    struct store_row r = row(1), other = row(1);

    (void)state;
    memset(other.sealed, 'x', other.sealed_len);
    assert_int_equal(one(s, kind->put, &r), STORE_OK);
    assert_int_equal(one(s, kind->put, &other), STORE_EXISTS);
    assert_memory_equal(other.found, r.sealed, r.sealed_len);
    assert_int_equal(one(s, kind->take, &r), STORE_OK);
    assert_memory_equal(r.found, r.sealed, r.sealed_len); /* the first */
    assert_int_equal(one(s, kind->put, &other), STORE_DELIVERED);
    assert_int_equal(one(s, kind->take, &r), STORE_DELIVERED);
    kind->close(s);
}

static void a_key_belongs_to_two_systems(void **state)
{
    struct store *s = reopen(NULL, 100);
    struct store_row r = row(1), other = row(1);

    (void)state;
    assert_int_equal(one(s, kind->put, &r), STORE_OK);
    strcpy(other.initiator, "Carol");
    assert_int_equal(one(s, kind->take, &other), STORE_NOT_FOUND);
    assert_int_equal(one(s, kind->put, &other), STORE_EXISTS);
    assert_int_equal(other.found_len, 0);
    other = row(1);
    strcpy(other.responder, "Bo");
    assert_int_equal(one(s, kind->take, &other), STORE_NOT_FOUND);
    other = row(1);
    other.id_len = 15;
    assert_int_equal(one(s, kind->take, &other), STORE_NOT_FOUND);
    assert_int_equal(one(s, kind->take, &r), STORE_OK);
    kind->close(s);
}

static void a_take_can_be_undone(void **state)
{
    struct store *s = reopen(NULL, 100);
    struct store_row r = row(1);

    (void)state;
    assert_int_equal(one(s, kind->put, &r), STORE_OK);
    assert_true(kind->begin(s, &fault));
    assert_int_equal(kind->restore(s, &r, &fault), STORE_NOT_FOUND); /* it is there: nothing to undo */
    assert_true(kind->commit(s, &fault));
    assert_int_equal(one(s, kind->take, &r), STORE_OK);
    assert_true(kind->begin(s, &fault));
    assert_int_equal(kind->restore(s, &r, &fault), STORE_OK);
    assert_true(kind->commit(s, &fault));
    assert_int_equal(kind->waiting(s), 1);
    assert_int_equal(one(s, kind->take, &r), STORE_OK);
    assert_memory_equal(r.found, r.sealed, r.sealed_len);
    kind->close(s);
}

static void a_rollback_leaves_nothing(void **state)
{
    struct store *s = reopen(NULL, 3);
    struct store_row r = row(1), second = row(2);

    (void)state;
    assert_int_equal(one(s, kind->put, &r), STORE_OK);
    assert_true(kind->begin(s, &fault));
    assert_int_equal(kind->put(s, &second, &fault), STORE_OK);
    assert_int_equal(kind->take(s, &r, &fault), STORE_OK);
    kind->rollback(s);
    assert_int_equal(kind->waiting(s), 1);
    assert_int_equal(one(s, kind->take, &second), STORE_NOT_FOUND);
    assert_int_equal(one(s, kind->take, &r), STORE_OK);
    /* and it is counted right against the limit */
    for (unsigned n = 3; n < 6; n++) {
        r = row(n);
        assert_int_equal(one(s, kind->put, &r), STORE_OK);
    }
    r = row(6);
    assert_int_equal(one(s, kind->put, &r), STORE_FULL);
    s = reopen(s, 4);
    r = row(6);
    assert_int_equal(one(s, kind->put, &r), STORE_OK);
    r = row(7);
    assert_int_equal(one(s, kind->put, &r), STORE_FULL);
    kind->close(s);
}

static enum store_result put_of(struct store *s, unsigned n)
{
    struct store_row r = row(n);

    return one(s, kind->put, &r);
}

static enum store_result take_of(struct store *s, unsigned n)
{
    struct store_row r = row(n);

    return one(s, kind->take, &r);
}

/* Those that wait have their bound, and all rows another one. */
static void delivered_keys_take_no_place(void **state)
{
    struct store *s = reopen(NULL, 2);
    struct store_row r = row(4);

    (void)state;
    limit_rows = 6;
    for (unsigned n = 0; n < 4; n++) {
        assert_int_equal(put_of(s, n), STORE_OK);
        assert_int_equal(take_of(s, n), STORE_OK);
    }
    assert_int_equal(put_of(s, 4), STORE_OK);
    assert_int_equal(put_of(s, 5), STORE_OK);
    assert_int_equal(put_of(s, 6), STORE_FULL);
    assert_int_equal(put_of(s, 5), STORE_EXISTS); /* what is there already is told as ever */
    assert_int_equal(put_of(s, 0), STORE_DELIVERED);
    limit_rows = 7;
    assert_int_equal(put_of(s, 6), STORE_FULL); /* two wait */
    assert_int_equal(take_of(s, 4), STORE_OK);
    limit_rows = 6;
    assert_int_equal(put_of(s, 6), STORE_FULL); /* one waits, but there are six rows */
    s = reopen(s, 2);
    limit_rows = 6;
    assert_int_equal(put_of(s, 6), STORE_FULL);
    limit_rows = 7;
    assert_int_equal(put_of(s, 6), STORE_OK);
    /* what is given back waits again */
    assert_true(kind->begin(s, &fault));
    assert_int_equal(kind->restore(s, &r, &fault), kind == &store_sqlite ? STORE_OK : STORE_NOT_FOUND);
    assert_true(kind->commit(s, &fault));
    limit_rows = 8;
    assert_int_equal(put_of(s, 7), STORE_FULL);
    kind->close(s);
}

static void keys_expire(void **state)
{
    struct store *s = reopen(NULL, 10000);
    struct store_row r = row(0), lasting = row(STORE_EXPIRE_AT_ONCE + 500);
    bool more = false;

    (void)state;
    assert_int_equal(one(s, kind->put, &lasting), STORE_OK);
    assert_true(kind->begin(s, &fault));
    for (unsigned n = 0; n < STORE_EXPIRE_AT_ONCE + 500; n++) {
        r = row(n);
        r.ttl_ms = 1;
        assert_int_equal(kind->put(s, &r, &fault), STORE_OK);
    }
    assert_true(kind->commit(s, &fault));
    usleep(20000);
    r = row(7);
    assert_int_equal(one(s, kind->take, &r), STORE_NOT_FOUND); /* expired, though its row is there */
    assert_true(kind->begin(s, &fault));
    assert_int_equal(kind->expire(s, &more, &fault), STORE_OK);
    assert_true(more);
    assert_int_equal(kind->expire(s, &more, &fault), STORE_OK);
    assert_false(more);
    assert_true(kind->commit(s, &fault));
    assert_int_equal(kind->waiting(s), 1);
    assert_int_equal(one(s, kind->take, &lasting), STORE_OK);
    kind->close(s);
}

/* A put that was sent twice may be read after the key was delivered and has expired. */
static void a_tombstone_outlives_its_key(void **state)
{
    struct store *s = reopen(NULL, 10);
    struct store_row r = row(1), again = row(1);
    bool more = false;

    (void)state;
    r.ttl_ms = 200;
    assert_int_equal(one(s, kind->put, &r), STORE_OK);
    assert_int_equal(one(s, kind->take, &r), STORE_OK);
    usleep(250000);
    assert_true(kind->begin(s, &fault));
    assert_int_equal(kind->expire(s, &more, &fault), STORE_OK);
    assert_true(kind->commit(s, &fault));
    assert_int_equal(one(s, kind->put, &again), STORE_DELIVERED);
    assert_int_equal(one(s, kind->take, &again), STORE_DELIVERED);
    kind->close(s);
}

static void facts_are_kept(void **state)
{
    struct store *s = reopen(NULL, 10);
    uint8_t value[4] = {0};

    (void)state;
    assert_int_equal(kind->fact_read(s, "salt", value, 4, &fault), STORE_NOT_FOUND);
    assert_int_equal(kind->fact_write(s, "salt", (struct span){(const uint8_t *)"abcd", 4}, &fault),
                     STORE_OK);
    s = reopen(s, 10);
    assert_int_equal(kind->fact_read(s, "salt", value, 4, &fault), STORE_OK);
    assert_memory_equal(value, "abcd", 4);
    assert_ptr_equal(store_kind_find(kind == &store_sqlite ? "sqlite" : "postgresql"), kind);
    assert_int_equal(kind->fact_read(s, "salt", value, 3, &fault), STORE_FAILED);
    kind->close(s);
}

/* As many keys as the disk takes; then failures, and nothing half done; then, with room again, all goes on.
 */
static void a_full_disk_is_survived(void **state)
{
    struct store *s = reopen(NULL, 100000);
    struct rlimit before, small;
    unsigned stored = 0;
    enum store_result r = STORE_OK;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 200000;
    setrlimit(RLIMIT_FSIZE, &small);
    while (stored < 10000) {
        struct store_row k = row(stored);

        k.sealed_len = 1000;
        if (!kind->begin(s, &fault))
            break;
        r = kind->put(s, &k, &fault);
        if (r != STORE_OK || !kind->commit(s, &fault)) {
            kind->rollback(s);
            break;
        }
        stored++;
    }
    assert_in_range(stored, 5, 1000);
    assert_true(strncmp(fault.text, "store: ", 7) == 0);
    assert_int_equal(kind->waiting(s), stored);
    setrlimit(RLIMIT_FSIZE, &before);
    for (unsigned n = 0; n < stored + 1; n++) {
        struct store_row k = row(n);

        assert_int_equal(one(s, kind->take, &k), n < stored ? STORE_OK : STORE_NOT_FOUND);
    }
    s = reopen(s, 100000);
    assert_int_equal(kind->waiting(s), 0);
    kind->close(s);
}

/* What is written to a file that is not in its place any more would not be there after a restart. */
static void a_file_that_is_taken_away_is_noticed(void **state)
{
    (void)state;
    for (int log = 0; log < 2; log++) {
        struct store *s = reopen(NULL, 100);
        struct store_row k = row(1), other = row(2);
        char file[sizeof path + 8], away[sizeof file + 8];

        snprintf(file, sizeof file, "%s%s", path, log ? "-wal" : "");
        snprintf(away, sizeof away, "%s.away", file);
        assert_true(kind->begin(s, &fault));
        assert_int_equal(kind->put(s, &k, &fault), STORE_OK);
        assert_true(kind->commit(s, &fault));
        assert_int_equal(rename(file, away), 0);
        for (int replaced = 0; replaced < 2; replaced++) {
            assert_true(kind->begin(s, &fault));
            assert_int_equal(kind->put(s, &other, &fault), STORE_OK);
            fault.text[0] = 0;
            assert_false(kind->commit(s, &fault));
            assert_non_null(strstr(fault.text, "was removed, or another file is in its place"));
            kind->rollback(s);
            FILE *f = fopen(file, "we");
            assert_non_null(f);
            fclose(f);
        }
        assert_int_equal(rename(away, file), 0);
        assert_true(kind->begin(s, &fault));
        assert_int_equal(kind->put(s, &other, &fault), STORE_OK);
        assert_true(kind->commit(s, &fault));
        s = reopen(s, 100);
        kind->close(s);
        clean(state);
    }
}

static void no_store_is_refused_with_the_reason(void **state)
{
    (void)state;
    assert_null(kind->open("/nonexistent/keys.db", &fault));
    assert_non_null(strstr(fault.text, "/nonexistent/keys.db"));
    assert_null(kind->open(directory, &fault));
    assert_null(store_kind_find("papyrus"));
}

/* systemd's state directories are links; but the file itself may be none. */
static void a_folder_may_be_a_link_and_the_file_not(void **state)
{
    char folder[64], there[80];
    struct store *s;

    (void)state;
    snprintf(folder, sizeof folder, "%s.link", directory);
    snprintf(there, sizeof there, "%s/keys.db", folder);
    assert_int_equal(symlink(directory, folder), 0);
    s = kind->open(there, &fault);
    assert_non_null(s);
    kind->close(s);
    assert_int_equal(unlink(folder), 0);
    assert_int_equal(symlink(path, folder), 0);
    assert_null(kind->open(folder, &fault));
    assert_int_equal(unlink(folder), 0);
}

static void a_file_that_is_no_store_is_refused(void **state)
{
    FILE *f = fopen(path, "w");

    (void)state;
    for (int i = 0; i < 1000; i++)
        fputs("this is no database", f);
    fclose(f);
    assert_null(kind->open(path, &fault));
    assert_non_null(strstr(fault.text, "not a database"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_key_is_taken_once, clean),
        cmocka_unit_test_teardown(a_repeated_put_brings_nothing_back, clean),
        cmocka_unit_test_teardown(a_key_belongs_to_two_systems, clean),
        cmocka_unit_test_teardown(a_take_can_be_undone, clean),
        cmocka_unit_test_teardown(a_rollback_leaves_nothing, clean),
        cmocka_unit_test_teardown(delivered_keys_take_no_place, clean),
        cmocka_unit_test_teardown(keys_expire, clean),
        cmocka_unit_test_teardown(a_tombstone_outlives_its_key, clean),
        cmocka_unit_test_teardown(facts_are_kept, clean),
    };
    const struct CMUnitTest of_files[] = {
        cmocka_unit_test_teardown(a_full_disk_is_survived, clean),
        cmocka_unit_test_teardown(a_file_that_is_taken_away_is_noticed, clean),
        cmocka_unit_test_teardown(no_store_is_refused_with_the_reason, clean),
        cmocka_unit_test_teardown(a_folder_may_be_a_link_and_the_file_not, clean),
        cmocka_unit_test_teardown(a_file_that_is_no_store_is_refused, clean),
    };
    int failed = cmocka_run_group_tests(tests, make_directory, remove_directory);

    if (kind == &store_sqlite) {
        strcpy(directory, "/tmp/skipd-store-XXXXXX");
        failed += cmocka_run_group_tests(of_files, make_directory, remove_directory);
    }
    return failed;
}
