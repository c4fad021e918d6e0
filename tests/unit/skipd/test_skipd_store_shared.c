/* SPDX-License-Identifier: BSD-2-Clause */
/* Several stores on one PostgreSQL (SKIPD_POSTGRESQL): one key goes to one of them, also when connections
 * break at the worst moment. */
#include "skipd/store.h"

#include "base/log.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define STORES 8
#define KEYS   200

static const struct store_kind *const kind = &store_postgresql;
static const char *where;

static void database_do(const char *sql)
{
    PGconn *db = PQconnectdb(where);
    PGresult *r = PQexec(db, sql);

    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(db));
    PQclear(r);
    PQfinish(db);
}

static int clean(void **state)
{
    (void)state;
    database_do("SET client_min_messages = error; DROP TABLE IF EXISTS skipd_value, skipd_key, skipd_fact");
    return 0;
}

static struct store *open_at(const char *conninfo)
{
    struct fault fault = {0};
    struct store *s = kind->open(conninfo, &fault);

    if (s == NULL)
        fail_msg("%s", fault.text);
    return s;
}

static struct store_row row(unsigned n)
{
    struct store_row r = {.limit = 100000,
                          .limit_rows = 200000,
                          .id_len = 16,
                          .initiator = "Alice",
                          .responder = "Bob",
                          .sealed_len = 60,
                          .ttl_ms = 60000};

    snprintf((char *)r.id, sizeof r.id, "id %08u", n);
    snprintf((char *)r.sealed, sizeof r.sealed, "value %08u", n);
    return r;
}

static enum store_result one(struct store *s,
                             enum store_result (*op)(struct store *, struct store_row *, struct fault *),
                             struct store_row *r)
{
    struct fault fault = {0};
    enum store_result result = STORE_FAILED;

    if (!kind->begin(s, &fault))
        fail_msg("%s", fault.text);
    result = op(s, r, &fault);
    if (!kind->commit(s, &fault))
        fail_msg("%s", fault.text);
    return result;
}

/* ---- many at once ---- */

static atomic_uint got[KEYS], failures;
static pthread_barrier_t together;

struct taker {
    struct store *store;
    unsigned index;
};

static void *taker(void *argument)
{
    struct taker *t = argument;
    struct store *s = t->store;
    struct fault fault = {0};

    pthread_barrier_wait(&together);
    for (unsigned n = 0; n < KEYS; n += 10) {
        unsigned mine[10] = {0};

        if (!kind->begin(s, &fault)) {
            failures++;
            continue;
        }
        for (unsigned i = 0; i < 10; i++) {
            struct store_row r = row(n + i);
            enum store_result result = kind->take(s, &r, &fault);

            mine[i] = result == STORE_OK && memcmp(r.found, r.sealed, r.sealed_len) == 0;
            failures += result != STORE_OK && result != STORE_DELIVERED;
        }
        if ((n / 10 + t->index) % 4 == 0) {
            kind->rollback(s); /* whoever waits for them gets them now */
            continue;
        }
        if (!kind->commit(s, &fault))
            failures++;
        else
            for (unsigned i = 0; i < 10; i++)
                got[n + i] += mine[i];
    }
    return NULL;
}

static void a_key_goes_to_one_of_many(void **state)
{
    struct store *stores[STORES];
    struct taker takers[STORES];
    pthread_t threads[STORES];

    (void)state;
    for (unsigned i = 0; i < STORES; i++) {
        stores[i] = open_at(where);
        takers[i] = (struct taker){stores[i], i};
    }
    for (unsigned n = 0; n < KEYS; n++) {
        struct store_row r = row(n);

        assert_int_equal(one(stores[n % STORES], kind->put, &r), STORE_OK);
        got[n] = 0;
    }
    failures = 0;
    pthread_barrier_init(&together, NULL, STORES);
    for (unsigned i = 0; i < STORES; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, taker, &takers[i]), 0);
    for (unsigned i = 0; i < STORES; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failures, 0);
    for (unsigned n = 0; n < KEYS; n++) {
        struct store_row r = row(n);

        /* those that were rolled back by all are there still */
        if (got[n] == 0) {
            assert_int_equal(one(stores[0], kind->take, &r), STORE_OK);
        } else {
            assert_int_equal(got[n], 1);
            assert_int_equal(one(stores[n % STORES], kind->take, &r), STORE_DELIVERED);
            assert_int_equal(one(stores[n % STORES], kind->put, &r), STORE_DELIVERED);
        }
    }
    for (unsigned i = 0; i < STORES; i++)
        kind->close(stores[i]);
}

static void *opener(void *argument)
{
    struct fault fault = {0};

    pthread_barrier_wait(&together);
    *(struct store **)argument = kind->open(where, &fault);
    return NULL;
}

/* The tables, and the facts: who is first is right for all. */
static void many_start_at_once(void **state)
{
    struct store *stores[STORES] = {NULL};
    pthread_t threads[STORES];
    struct fault fault = {0};
    uint8_t value[4];

    (void)state;
    pthread_barrier_init(&together, NULL, STORES);
    for (unsigned i = 0; i < STORES; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, opener, &stores[i]), 0);
    for (unsigned i = 0; i < STORES; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < STORES; i++) {
        const uint8_t mine[4] = {(uint8_t)i, 1, 2, 3};

        assert_non_null(stores[i]);
        assert_int_equal(kind->fact_write(stores[i], "salt", (struct span){mine, 4}, &fault), STORE_OK);
        assert_int_equal(kind->fact_read(stores[i], "salt", value, 4, &fault), STORE_OK);
        assert_int_equal(value[0], 0);
    }
    for (unsigned i = 0; i < STORES; i++)
        kind->close(stores[i]);
}

static void only_the_taker_can_put_back(void **state)
{
    struct store *a = open_at(where), *b = open_at(where);
    struct store_row r = row(1);
    struct fault fault = {0};

    (void)state;
    assert_int_equal(one(a, kind->put, &r), STORE_OK);
    assert_int_equal(one(a, kind->take, &r), STORE_OK);
    assert_true(kind->begin(b, &fault));
    assert_int_equal(kind->restore(b, &r, &fault), STORE_NOT_FOUND);
    assert_true(kind->commit(b, &fault));
    assert_true(kind->begin(a, &fault));
    assert_int_equal(kind->restore(a, &r, &fault), STORE_OK);
    assert_true(kind->commit(a, &fault));
    assert_int_equal(one(b, kind->take, &r), STORE_OK);
    /* a second time, as after a lost answer: b has it */
    assert_true(kind->begin(a, &fault));
    assert_int_equal(kind->restore(a, &r, &fault), STORE_NOT_FOUND);
    assert_true(kind->commit(a, &fault));
    assert_int_equal(one(a, kind->take, &r), STORE_DELIVERED);
    kind->close(a);
    kind->close(b);
}

/* Another one fetches them: whoever counts too many looks again, though not each time. */
static void room_that_another_makes_is_seen(void **state)
{
    struct store *a = open_at(where), *b = open_at(where);
    enum store_result result = STORE_FULL;
    struct store_row r;

    (void)state;
    for (unsigned n = 0; n < 3; n++) {
        r = row(n);
        r.limit = 3;
        assert_int_equal(one(a, kind->put, &r), STORE_OK);
    }
    for (unsigned n = 0; n < 3; n++) {
        r = row(n);
        assert_int_equal(one(b, kind->take, &r), STORE_OK);
    }
    for (unsigned i = 0; i < 30 && result == STORE_FULL; i++) {
        r = row(3);
        r.limit = 3;
        result = one(a, kind->put, &r);
        usleep(100000);
    }
    assert_int_equal(result, STORE_OK);
    kind->close(a);
    kind->close(b);
}

/* ---- connections that break ---- */

static void a_dead_connection_is_replaced(void **state)
{
    struct store *s = open_at(where);
    struct store_row r = row(1), second = row(2);
    struct fault fault = {0};

    (void)state;
    assert_int_equal(one(s, kind->put, &r), STORE_OK);
    database_do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'skipd'");
    usleep(50000);
    assert_int_equal(one(s, kind->put, &second), STORE_OK); /* nobody notices */
    assert_true(kind->begin(s, &fault));
    assert_int_equal(kind->take(s, &r, &fault), STORE_OK);
    database_do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'skipd'");
    usleep(50000);
    assert_false(kind->commit(s, &fault)); /* in a transaction: it has not happened */
    kind->rollback(s);
    assert_int_equal(one(s, kind->take, &r), STORE_OK);
    assert_int_equal(one(s, kind->take, &r), STORE_DELIVERED);
    kind->close(s);
}

/* A socket in front of the database's, that cuts one connection at a COMMIT: before it has reached the
 * database, or after it was done. */
enum cut { CUT_NONE, CUT_BEFORE, CUT_AFTER };

struct proxy {
    char directory[40], path[80], conninfo[200], target[108];
    int listener;
    atomic_int cut;
    atomic_bool ending;
    pthread_t thread;
};

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* One connection, until it ends or is cut. */
static void relay(struct proxy *p, int client)
{
    int server = connect_to(p->target);
    struct pollfd fds[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    bool cutting = false;
    char data[65536];

    while (server >= 0 && !p->ending) {
        if (poll(fds, 2, 20) <= 0)
            continue;
        for (int i = 0; i < 2; i++) {
            ssize_t n = fds[i].revents != 0 ? read(fds[i].fd, data, sizeof data) : -2;

            if (n == 0 || n == -1 || (i == 1 && n > 0 && cutting))
                goto over;
            if (n < 0)
                continue;
            if (i == 0 && p->cut != CUT_NONE && memmem(data, (size_t)n, "COMMIT", 7) != NULL) {
                cutting = true;
                if (p->cut == CUT_BEFORE)
                    goto over;
            }
            if (write(fds[1 - i].fd, data, (size_t)n) != n)
                goto over;
        }
    }
over:
    if (cutting)
        p->cut = CUT_NONE;
    if (server >= 0)
        close(server);
    close(client);
}

static void *proxy_run(void *argument)
{
    struct proxy *p = argument;

    while (!p->ending) {
        struct pollfd l = {p->listener, POLLIN, 0};

        if (poll(&l, 1, 20) > 0)
            relay(p, accept(p->listener, NULL, NULL));
    }
    return NULL;
}

static void proxy_start(struct proxy *p)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const char *host = strstr(where, "host=");

    memset(p, 0, sizeof *p);
    assert_non_null(host);
    host += 5;
    snprintf(p->target, sizeof p->target, "%.*s/.s.PGSQL.5432", (int)strcspn(host, " "), host);
    strcpy(p->directory, "/tmp/skipd-proxy-XXXXXX");
    assert_non_null(mkdtemp(p->directory));
    snprintf(p->path, sizeof p->path, "%s/.s.PGSQL.5432", p->directory);
    snprintf(p->conninfo, sizeof p->conninfo, "host=%s user=skipd dbname=postgres", p->directory);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", p->path);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(p->listener, 10), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, proxy_run, p), 0);
}

static void proxy_end(struct proxy *p)
{
    p->ending = true;
    pthread_join(p->thread, NULL);
    close(p->listener);
    unlink(p->path);
    rmdir(p->directory);
}

/* Whether the COMMIT was done or not: what its answer did not confirm has not happened, and happens once. */
static void a_commit_without_an_answer(enum cut cut)
{
    struct proxy p;
    struct store *s = NULL, *other = open_at(where);
    struct store_row old = row(1), new = row(2), returned = row(3);
    struct fault fault = {0};

    proxy_start(&p);
    s = open_at(p.conninfo);
    assert_int_equal(one(s, kind->put, &old), STORE_OK);
    assert_int_equal(one(s, kind->put, &returned), STORE_OK);
    assert_int_equal(one(s, kind->take, &returned), STORE_OK);
    p.cut = cut;
    assert_true(kind->begin(s, &fault));
    assert_int_equal(kind->take(s, &old, &fault), STORE_OK);
    assert_int_equal(kind->put(s, &new, &fault), STORE_OK);
    assert_int_equal(kind->restore(s, &returned, &fault), STORE_OK);
    assert_false(kind->commit(s, &fault));
    kind->rollback(s);
    assert_int_equal(p.cut, CUT_NONE);
    if (cut == CUT_AFTER) { /* others see that it has happened, and take what there is */
        assert_int_equal(one(other, kind->take, &old), STORE_DELIVERED);
        assert_int_equal(one(other, kind->take, &returned), STORE_OK);
    }
    /* the same again, as the queue does */
    assert_int_equal(one(s, kind->put, &new), cut == CUT_AFTER ? STORE_EXISTS : STORE_OK);
    assert_int_equal(one(s, kind->take, &old), STORE_OK);
    assert_memory_equal(old.found, old.sealed, old.sealed_len);
    assert_true(kind->begin(s, &fault));
    assert_int_equal(kind->restore(s, &returned, &fault), cut == CUT_AFTER ? STORE_NOT_FOUND : STORE_OK);
    assert_true(kind->commit(s, &fault));
    assert_int_equal(one(other, kind->take, &old), STORE_DELIVERED);
    assert_int_equal(one(other, kind->take, &new), STORE_OK);
    assert_int_equal(one(other, kind->take, &returned), cut == CUT_AFTER ? STORE_DELIVERED : STORE_OK);
    kind->close(s);
    kind->close(other);
    s = open_at(where);
    assert_int_equal(kind->waiting(s), 0);
    kind->close(s);
    proxy_end(&p);
}

static void a_commit_that_did_not_arrive(void **state)
{
    (void)state;
    a_commit_without_an_answer(CUT_BEFORE);
}

static void a_commit_whose_answer_was_lost(void **state)
{
    (void)state;
    a_commit_without_an_answer(CUT_AFTER);
}

static void another_takes_what_is_unclear(void **state)
{
    struct proxy p;
    struct store *s = NULL, *other = open_at(where);
    struct store_row r = row(1);
    struct fault fault = {0};

    (void)state;
    proxy_start(&p);
    s = open_at(p.conninfo);
    assert_int_equal(one(s, kind->put, &r), STORE_OK);
    p.cut = CUT_BEFORE;
    assert_true(kind->begin(s, &fault));
    assert_int_equal(kind->take(s, &r, &fault), STORE_OK);
    assert_false(kind->commit(s, &fault));
    kind->rollback(s);
    assert_int_equal(one(other, kind->take, &r), STORE_OK); /* it has not happened: another may have it */
    assert_int_equal(one(s, kind->take, &r), STORE_DELIVERED);
    kind->close(s);
    kind->close(other);
    proxy_end(&p);
}

static void what_cannot_be_trusted_is_refused(void **state)
{
    struct fault fault = {0};

    (void)state;
    assert_null(kind->open("host=/nonexistent user=skipd", &fault));
    assert_true(strncmp(fault.text, "postgresql: store: connect: ", 28) == 0);
    assert_false(kind->check("password=sesame=sesame user", &fault));
    assert_null(strstr(fault.text, "sesame"));
    assert_false(kind->check("host=db.example.net sslmode=require", &fault));
    assert_non_null(strstr(fault.text, "verify-full"));
    assert_false(kind->check("host=127.0.0.1,db.example.net sslmode=prefer", &fault));
    assert_true(kind->check("host=db.example.net", &fault));
    assert_true(kind->check("host=127.0.0.1 sslmode=disable", &fault));
    assert_true(kind->check("postgresql://skipd@db.example.net/keys?sslmode=verify-full", &fault));
}

/* Where the database is on this machine, by the very words of the configuration. */
static void weak_modes_are_for_this_machine(void **state)
{
    static const char *const GOOD[] = {
        "host=127.5.5.5", "host=::1",           "host=localhost,127.0.0.1,/run/postgresql",
        "host=@socket",   "hostaddr=127.0.0.1", "host=localhost hostaddr=127.0.0.1"};
    static const char *const BAD[] = {"",
                                      "host=''",
                                      "service=remote",
                                      "host=127.0.0.1 service=remote",
                                      "host=127.db.example.com",
                                      "host=127.0.0.1.example.com",
                                      "host=localhost.example.com",
                                      "host=db.example.com hostaddr=127.0.0.1",
                                      "host=127.0.0.1 hostaddr=192.0.2.1",
                                      "hostaddr=127.0.0.1,192.0.2.1"};
    static const char *const ELSEWHERE[] = {"PGSERVICE", "PGHOSTADDR"};
    struct fault fault = {0};
    char text[100];

    (void)state;
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        snprintf(text, sizeof text, "%s sslmode=disable", GOOD[i]);
        assert_true(kind->check(text, &fault));
        for (size_t j = 0; j < 2; j++) {
            setenv(ELSEWHERE[j], "192.0.2.1", 1);
            assert_false(kind->check(text, &fault));
            unsetenv(ELSEWHERE[j]);
        }
    }
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        snprintf(text, sizeof text, "%s sslmode=disable", BAD[i]);
        if (kind->check(text, &fault))
            fail_msg("%s", text);
        assert_non_null(strstr(fault.text, "verify-full"));
        snprintf(text, sizeof text, "%s sslmode=verify-full", BAD[i]);
        assert_true(kind->check(text, &fault));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(many_start_at_once, clean),
        cmocka_unit_test_teardown(a_key_goes_to_one_of_many, clean),
        cmocka_unit_test_teardown(only_the_taker_can_put_back, clean),
        cmocka_unit_test_teardown(room_that_another_makes_is_seen, clean),
        cmocka_unit_test_teardown(a_dead_connection_is_replaced, clean),
        cmocka_unit_test_teardown(a_commit_that_did_not_arrive, clean),
        cmocka_unit_test_teardown(a_commit_whose_answer_was_lost, clean),
        cmocka_unit_test_teardown(another_takes_what_is_unclear, clean),
        cmocka_unit_test_teardown(what_cannot_be_trusted_is_refused, clean),
        cmocka_unit_test(weak_modes_are_for_this_machine),
    };

    where = getenv("SKIPD_POSTGRESQL");
    if (where == NULL) {
        fputs("SKIPD_POSTGRESQL is not set\n", stderr);
        return 1;
    }
    log_open("test", "none:info");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
