/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys on their way out of a store that is made of paper and holds one key: what becomes of it if it cannot
 * be handed over, and the store does not take it back. */
#include "skipd/delivery.h"

#include "base/log.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct store {
    uint8_t sealed[STORE_SEALED_MAX];
    size_t sealed_len;
    atomic_bool there;
    atomic_bool broken; /* takes nothing back */
    atomic_uint restores;
    uint64_t left_ms;
};

static struct store paper;

static bool begin(struct store *s, struct fault *fault)
{
    (void)s;
    (void)fault;
    return true;
}

static void rollback(struct store *s)
{
    (void)s;
}

static enum store_result take(struct store *s, struct store_row *row, struct fault *fault)
{
    (void)fault;
    if (!s->there)
        return STORE_DELIVERED;
    memcpy(row->found, s->sealed, s->sealed_len);
    row->found_len = s->sealed_len;
    row->left_ms = s->left_ms;
    s->there = false;
    return STORE_OK;
}

static enum store_result restore(struct store *s, const struct store_row *row, struct fault *fault)
{
    s->restores++;
    if (s->broken) {
        fault_set(fault, "store: the paper burns");
        return STORE_FAILED;
    }
    assert_int_equal(row->sealed_len, s->sealed_len);
    assert_memory_equal(row->sealed, s->sealed, s->sealed_len);
    s->there = true;
    return STORE_OK;
}

static enum store_result expire(struct store *s, bool *more, struct fault *fault)
{
    (void)s;
    (void)fault;
    *more = false;
    return STORE_OK;
}

static uint64_t waiting(const struct store *s)
{
    return s->there;
}

static void close_paper(struct store *s)
{
    (void)s;
}

static const struct store_kind KIND = {
    .begin = begin,
    .commit = begin,
    .rollback = rollback,
    .put = take,
    .take = take,
    .restore = restore,
    .expire = expire,
    .waiting = waiting,
    .close = close_paper,
};

/* ---- OpenSSL without memory ---- */

static bool no_memory;
EVP_CIPHER_CTX *__real_EVP_CIPHER_CTX_new(void);
EVP_CIPHER_CTX *__wrap_EVP_CIPHER_CTX_new(void);

EVP_CIPHER_CTX *__wrap_EVP_CIPHER_CTX_new(void)
{
    return no_memory ? NULL : __real_EVP_CIPHER_CTX_new();
}

/* ---- a store, and those who ask ---- */

static const uint8_t ID[16] = {1, 2, 3}, VALUE[32] = "the key of a test, thirty-two by";

static struct event_base *base;
static struct store_queue *queue;
static struct seal *seal;
static struct deliveries *all;

static int make(void **state)
{
    const struct seal_label label = {{ID, sizeof ID}, "Alice", "Bob"};
    struct secret *master = secret_new("master", 6);
    struct fault fault = {0};

    (void)state;
    memset(&paper, 0, sizeof paper);
    seal = seal_new(master, (const uint8_t *)"0123456789abcdef", &fault);
    secret_free(master);
    assert_non_null(seal);
    assert_true(seal_close(seal, &label, (struct span){VALUE, sizeof VALUE}, paper.sealed));
    paper.sealed_len = sizeof VALUE + SEAL_OVERHEAD;
    paper.there = true;
    paper.left_ms = 60000;
    base = event_base_new();
    queue = store_queue_new(base, &KIND, &paper, &fault);
    assert_non_null(queue);
    all = deliveries_new(base, queue, seal);
    assert_non_null(all);
    return 0;
}

static void end_queue(void)
{
    deliveries_stop(all);
    store_queue_free(queue);
    queue = NULL;
}

static int end(void **state)
{
    (void)state;
    if (queue != NULL)
        end_queue();
    deliveries_free(all);
    seal_free(seal);
    event_base_free(base);
    return 0;
}

struct asking {
    bool gone; /* the client, before the answer */
    bool answered;
    enum service_status status;
};

static bool answered(void *context, const struct service_answer *answer)
{
    struct asking *a = context;

    assert_false(a->answered);
    a->answered = true;
    a->status = answer->status;
    if (answer->status != SERVICE_OK)
        return true;
    assert_int_equal(answer->key.len, sizeof VALUE);
    assert_memory_equal(answer->key.data, VALUE, sizeof VALUE);
    return !a->gone;
}

static void begin_asking(struct asking *a)
{
    deliver_key(all, (struct span){ID, sizeof ID}, "Alice", "Bob", answered, a);
}

static void run_ms(unsigned ms)
{
    for (unsigned i = 0; i < ms; i++, usleep(1000))
        event_base_loop(base, EVLOOP_NONBLOCK);
}

static enum service_status ask(bool gone)
{
    struct asking a = {.gone = gone};

    begin_asking(&a);
    for (int i = 0; i < 5000 && !a.answered; i++)
        run_ms(1);
    assert_true(a.answered);
    return a.status;
}

static void run_until_restores(unsigned count)
{
    for (int i = 0; i < 5000 && paper.restores < count; i++)
        run_ms(1);
    assert_true(paper.restores >= count);
}

/* ---- the tests ---- */

static void a_key_is_delivered_once(void **state)
{
    (void)state;
    assert_int_equal(ask(false), SERVICE_OK);
    assert_int_equal(ask(false), SERVICE_NO_KEY);
    assert_int_equal(paper.restores, 0);
}

static void whose_client_is_gone_is_given_back(void **state)
{
    (void)state;
    assert_int_equal(ask(true), SERVICE_OK);
    assert_int_equal(ask(false), SERVICE_OK);
    assert_int_equal(paper.restores, 1);
}

static void what_cannot_be_opened_now_is_given_back(void **state)
{
    (void)state;
    no_memory = true;
    assert_int_equal(ask(false), SERVICE_UNAVAILABLE);
    no_memory = false;
    assert_int_equal(ask(false), SERVICE_OK);
    assert_int_equal(ask(false), SERVICE_NO_KEY);
}

static void what_is_damaged_is_not(void **state)
{
    (void)state;
    paper.sealed[20] ^= 1;
    assert_int_equal(ask(false), SERVICE_FAILED);
    assert_int_equal(ask(false), SERVICE_NO_KEY);
    assert_int_equal(paper.restores, 0);
}

/* It is tried again, and nobody is kept waiting for that. */
static void is_given_back_until_the_store_takes_it(void **state)
{
    (void)state;
    paper.broken = true;
    assert_int_equal(ask(true), SERVICE_OK);
    run_until_restores(1);
    assert_int_equal(ask(false), SERVICE_UNAVAILABLE);
    run_until_restores(3);
    paper.broken = false;
    for (int i = 0; i < 5000 && !paper.there; i++)
        run_ms(1);
    assert_true(paper.there);
    assert_int_equal(ask(false), SERVICE_OK);
    assert_int_equal(ask(false), SERVICE_NO_KEY);
}

static void is_not_given_back_when_it_has_expired(void **state)
{
    unsigned tries = 0;

    (void)state;
    paper.broken = true;
    paper.left_ms = 400;
    assert_int_equal(ask(true), SERVICE_OK);
    run_until_restores(2);
    run_ms(1500);
    tries = paper.restores;
    run_ms(800);
    assert_int_equal(paper.restores, tries);
    paper.broken = false;
    assert_int_equal(ask(false), SERVICE_NO_KEY);
}

/* Also those that ask for it at that time are answered. */
static void is_given_back_once_more_at_the_end(bool broken)
{
    struct asking late = {0};

    paper.broken = true;
    assert_int_equal(ask(true), SERVICE_OK);
    run_until_restores(1);
    run_ms(20);
    begin_asking(&late);
    paper.broken = broken;
    end_queue();
    assert_true(late.answered);
    assert_int_equal(late.status, SERVICE_UNAVAILABLE);
    assert_int_equal(paper.there, !broken);
}

static void at_the_end_the_store_takes_it(void **state)
{
    (void)state;
    is_given_back_once_more_at_the_end(false);
}

static void at_the_end_the_store_does_not(void **state)
{
    (void)state;
    is_given_back_once_more_at_the_end(true);
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
        cmocka_unit_test_setup_teardown(a_key_is_delivered_once, make, end),
        cmocka_unit_test_setup_teardown(whose_client_is_gone_is_given_back, make, end),
        cmocka_unit_test_setup_teardown(what_cannot_be_opened_now_is_given_back, make, end),
        cmocka_unit_test_setup_teardown(what_is_damaged_is_not, make, end),
        cmocka_unit_test_setup_teardown(is_given_back_until_the_store_takes_it, make, end),
        cmocka_unit_test_setup_teardown(is_not_given_back_when_it_has_expired, make, end),
        cmocka_unit_test_setup_teardown(at_the_end_the_store_takes_it, make, end),
        cmocka_unit_test_setup_teardown(at_the_end_the_store_does_not, make, end),
    };

    log_divert(quiet, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
