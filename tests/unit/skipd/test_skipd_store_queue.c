/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue over a store that is made of paper: it records transactions, and fails on demand. */
#include "skipd/store_queue.h"

#include "base/log.h"

#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct store {
    atomic_uint commits, rollbacks, puts, expires;
    atomic_uint open;    /* puts of the open transaction */
    unsigned largest;    /* puts of one committed transaction */
    atomic_uint expired; /* so many times there are more of them */
    atomic_bool fail_expire;
    atomic_bool fail_commit;
    atomic_bool held; /* a commit waits for the end of that */
};

/* A row whose ID begins so makes the store fail. */
#define POISON 0xee

static struct store paper;

static bool begin(struct store *s, struct fault *fault)
{
    (void)fault;
    s->open = 0;
    return true;
}

static bool commit(struct store *s, struct fault *fault)
{
    while (s->held)
        usleep(100);
    if (s->fail_commit) {
        fault_set(fault, "store: the paper burns");
        return false;
    }
    s->commits++;
    s->puts += s->open;
    if (s->open > s->largest)
        s->largest = s->open;
    return true;
}

static void rollback(struct store *s)
{
    s->rollbacks++;
    s->open = 0;
}

static enum store_result put(struct store *s, struct store_row *row, struct fault *fault)
{
    if (row->id[0] == POISON) {
        fault_set(fault, "store: poison");
        return STORE_FAILED;
    }
    s->open++;
    return STORE_OK;
}

static enum store_result restore(struct store *s, const struct store_row *row, struct fault *fault)
{
    (void)s;
    (void)row;
    (void)fault;
    return STORE_OK;
}

static enum store_result expire(struct store *s, bool *more, struct fault *fault)
{
    s->expires++;
    *more = s->expired > 0;
    if (s->expired > 0)
        s->expired--;
    if (s->fail_expire)
        fault_set(fault, "store: nothing goes");
    return s->fail_expire ? STORE_FAILED : STORE_OK;
}

static uint64_t waiting(const struct store *s)
{
    return s->puts;
}

static void close_paper(struct store *s)
{
    (void)s;
}

static const struct store_kind KIND = {
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .put = put,
    .take = put,
    .restore = restore,
    .expire = expire,
    .waiting = waiting,
    .close = close_paper,
};

static struct event_base *base;
static unsigned done_count, done_failed;
static pthread_t loop_thread;

static void on_done(struct store_op *op)
{
    assert_true(pthread_equal(pthread_self(), loop_thread));
    done_count++;
    if (op->result == STORE_FAILED) {
        done_failed++;
        assert_true(strncmp(op->fault.text, "store: ", 7) == 0);
    }
    free(op);
}

static struct store_op *operation(uint8_t first)
{
    struct store_op *op = calloc(1, sizeof *op);

    op->kind = STORE_OP_PUT;
    op->row.id[0] = first;
    op->row.id_len = 16;
    op->done = on_done;
    return op;
}

static void run_until(unsigned count)
{
    for (int i = 0; i < 5000 && done_count < count; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        usleep(1000);
    }
    assert_int_equal(done_count, count);
}

static struct store_queue *queue_held(bool held)
{
    struct fault fault = {0};
    struct store_queue *q = NULL;

    memset(&paper, 0, sizeof paper);
    paper.held = held;
    done_count = done_failed = 0;
    loop_thread = pthread_self();
    base = event_base_new();
    q = store_queue_new(base, &KIND, &paper, &fault);
    assert_non_null(q);
    return q;
}

static void end(struct store_queue *q)
{
    store_queue_free(q);
    event_base_free(base);
}

static void commits_in_groups(void **state)
{
    struct store_queue *q = queue_held(true);

    (void)state;
    for (unsigned i = 0; i < 500; i++)
        assert_true(store_queue_add(q, operation(0)));
    paper.held = false;
    run_until(500);
    assert_int_equal(paper.puts, 500);
    assert_int_equal(done_failed, 0);
    assert_in_range(paper.commits, 1, 3); /* what expires, what was there first, and all the rest together */
    assert_int_equal(store_queue_waiting(q), 500);
    end(q);
}

static void reports_only_what_is_committed(void **state)
{
    struct store_queue *q = queue_held(true);

    (void)state;
    assert_true(store_queue_add(q, operation(0)));
    for (int i = 0; i < 20; i++, usleep(1000))
        event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(done_count, 0);
    paper.held = false;
    run_until(1);
    assert_int_equal(paper.commits, 1);
    end(q);
}

static void one_that_fails_fails_alone(void **state)
{
    struct store_queue *q = queue_held(false);

    (void)state;
    for (unsigned i = 0; i < 50; i++)
        assert_true(store_queue_add(q, operation(i == 20 ? POISON : 0)));
    run_until(50);
    assert_int_equal(done_failed, 1);
    assert_int_equal(paper.puts, 49);
    end(q);
}

static void a_commit_that_fails_fails_all(void **state)
{
    struct store_queue *q = queue_held(false);

    (void)state;
    paper.fail_commit = true;
    for (unsigned i = 0; i < 20; i++)
        assert_true(store_queue_add(q, operation(0)));
    run_until(20);
    assert_int_equal(done_failed, 20);
    assert_int_equal(paper.puts, 0);
    paper.fail_commit = false;
    assert_true(store_queue_add(q, operation(0)));
    run_until(21);
    assert_int_equal(done_failed, 20);
    end(q);
}

static void has_a_bound(void **state)
{
    struct store_queue *q = queue_held(true);
    unsigned added = 0;
    struct store_op *op = NULL;

    (void)state;
    while (added < 100000 && store_queue_add(q, op = operation(0)))
        added++;
    assert_in_range(added, 1000, 20000);
    free(op);
    paper.held = false;
    end(q); /* carries out what was added, and reports it */
    assert_int_equal(done_count, added);
    assert_int_equal(paper.puts, added);
}

static void expires_by_itself(void **state)
{
    struct store_queue *q = queue_held(false);

    (void)state;
    for (int i = 0; i < 3000 && paper.expires == 0; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        usleep(1000);
    }
    assert_true(paper.expires > 0);
    end(q);
}

static void run_until_expired(unsigned expires)
{
    for (int i = 0; i < 5000 && paper.expires < expires; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        usleep(1000);
    }
    assert_true(paper.expires >= expires);
}

/* What is left is not left for a second; and the others have their turn meanwhile. */
static void expires_what_there_is_at_once(void **state)
{
    struct store_queue *q = queue_held(false);

    (void)state;
    paper.expired = 100;
    run_until_expired(101);
    paper.expired = UINT_MAX; /* without end */
    run_until_expired(201);
    for (unsigned i = 0; i < 500; i++)
        assert_true(store_queue_add(q, operation(0)));
    run_until(500);
    assert_int_equal(paper.puts, 500);
    assert_true(paper.expired > 0);
    end(q);
}

static void waits_where_nothing_expires(void **state)
{
    struct store_queue *q = queue_held(false);

    (void)state;
    paper.fail_expire = true;
    paper.expired = UINT_MAX;
    run_until_expired(1);
    for (int i = 0; i < 200; i++, usleep(1000))
        event_base_loop(base, EVLOOP_NONBLOCK);
    assert_in_range(paper.expires, 1, 10);
    end(q);
}

static void quiet(enum log_level level, const char *line, void *context)
{
    (void)level;
    (void)line;
    (void)context;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_in_groups),
        cmocka_unit_test(reports_only_what_is_committed),
        cmocka_unit_test(one_that_fails_fails_alone),
        cmocka_unit_test(a_commit_that_fails_fails_all),
        cmocka_unit_test(has_a_bound),
        cmocka_unit_test(expires_by_itself),
        cmocka_unit_test(expires_what_there_is_at_once),
        cmocka_unit_test(waits_where_nothing_expires),
    };

    log_divert(quiet, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
