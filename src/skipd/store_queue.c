/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/store_queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "skipd/statistics.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Operations that may wait; of those, how many one transaction takes. */
#define QUEUE_MAX      8192
#define BATCH_MAX      1024
#define EXPIRE_EVERY_S 1
_Static_assert(STORE_EXPIRE_AT_ONCE > BATCH_MAX, "more can come than go");
/* A transaction that takes longer than this tells of a store that hangs. */
#define SLOW_MS 5000
/* A failure is told this long, if nothing was kept or taken since. */
#define FAULT_MS 30000

struct list {
    struct store_op *first, **last;
    size_t count;
};

struct store_queue {
    const struct store_kind *kind;
    struct store *store; /* the thread's */
    struct store_op *order[BATCH_MAX];
    struct event *done_event, *expire_timer;
    int done_fd;
    pthread_t thread;
    bool running;
    bool more; /* the thread's: expired rows are left */

    struct store_op expire;
    bool expiring;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    struct list todo, done;
    uint64_t waiting;
    size_t running_ops; /* of the batch at hand, and since when */
    uint64_t running_since;
    struct fault fault; /* of the last batch that failed, or "", and when it did */
    uint64_t failed_at;
    bool ending;
};

static void list_clear(struct list *l)
{
    l->first = NULL;
    l->last = &l->first;
    l->count = 0;
}

static void list_append(struct list *l, struct store_op *op)
{
    op->next = NULL;
    *l->last = op;
    l->last = &op->next;
    l->count++;
}

static void list_prepend(struct list *l, struct store_op *op)
{
    op->next = l->first;
    if (l->first == NULL)
        l->last = &op->next;
    l->first = op;
    l->count++;
}

/* Takes up to `max` from the front. */
static struct store_op *list_take(struct list *l, size_t max)
{
    struct store_op *first = l->first, *op = first;

    if (first == NULL)
        return NULL;
    for (l->count--; --max > 0 && op->next != NULL; l->count--)
        op = op->next;
    l->first = op->next;
    if (l->first == NULL)
        l->last = &l->first;
    op->next = NULL;
    return first;
}

static enum store_result perform(struct store_queue *q, struct store_op *op, struct fault *fault)
{
    switch (op->kind) {
    case STORE_OP_PUT:
        return q->kind->put(q->store, &op->row, fault);
    case STORE_OP_TAKE:
        return q->kind->take(q->store, &op->row, fault);
    case STORE_OP_RESTORE:
        return q->kind->restore(q->store, &op->row, fault);
    case STORE_OP_EXPIRE:
        return q->kind->expire(q->store, &q->more, fault);
    }
    return STORE_FAILED;
}

/* All operations from `first` to `end` (not included) in one transaction. */
static bool transact(struct store_queue *q, struct store_op *first, const struct store_op *end,
                     struct fault *fault)
{
    if (!q->kind->begin(q->store, fault))
        goto bad;
    for (struct store_op *op = first; op != end; op = op->next) {
        op->result = perform(q, op, fault);
        if (op->result == STORE_FAILED)
            goto bad;
    }
    if (q->kind->commit(q->store, fault))
        return true;
bad:
    q->kind->rollback(q->store);
    return false;
}

static int by_id(const void *a, const void *b)
{
    const struct store_op *x = *(const struct store_op *const *)a, *y = *(const struct store_op *const *)b;
    int order = memcmp(x->row.id, y->row.id, sizeof x->row.id);

    if (order == 0)
        order = (x->number > y->number) - (x->number < y->number);
    return order;
}

/* In the order of IDs, and for one ID in the order in which they came: so two processes that share a store,
 * and want the same rows, never wait for each other in a circle. */
static struct store_op *batch_sort(struct store_queue *q, struct store_op *first)
{
    size_t n = 0;

    for (struct store_op *op = first; op != NULL; op = op->next) {
        op->number = n;
        q->order[n++] = op;
    }
    qsort(q->order, n, sizeof(struct store_op *), by_id);
    for (size_t i = 0; i < n; i++)
        q->order[i]->next = i + 1 < n ? q->order[i + 1] : NULL;
    return n > 0 ? q->order[0] : NULL;
}

/* One transaction for all; if that fails, one for each, so that an operation that the store cannot do fails
 * alone. */
static void batch_run(struct store_queue *q, struct store_op *first, struct fault *why)
{
    struct fault fault = {0};

    if (transact(q, first, NULL, &fault))
        return;
    log_write(LOG_LEVEL_ERROR, "%s", fault.text);
    *why = fault;
    for (struct store_op *op = first; op != NULL; op = op->next)
        if (first->next == NULL || !transact(q, op, op->next, &fault)) {
            op->result = STORE_FAILED;
            op->fault = fault;
            OPENSSL_cleanse(op->row.found, sizeof op->row.found);
            op->row.found_len = 0;
        }
}

/* Carries out some of what is to be done; called with the lock held. False: there is nothing. */
static bool batch_next(struct store_queue *q)
{
    size_t before = q->todo.count;
    struct store_op *batch = list_take(&q->todo, BATCH_MAX), *next = NULL;
    struct fault why = {0};
    bool work = false; /* not only looking for what has expired, which may not need the disk */

    if (batch == NULL)
        return false;
    q->running_ops = before - q->todo.count;
    q->running_since = clock_ms();
    pthread_mutex_unlock(&q->lock);
    work = batch->next != NULL || batch->kind != STORE_OP_EXPIRE;
    batch = batch_sort(q, batch);
    batch_run(q, batch, &why);
    pthread_mutex_lock(&q->lock);
    q->running_ops = 0;
    if (why.text[0] != '\0')
        q->failed_at = clock_ms();
    if (why.text[0] != '\0' || work)
        q->fault = why;
    for (; batch != NULL; batch = next) {
        next = batch->next;
        /* into the next transaction, beside what waits: else a store whose keys come faster than once a
         * second some of them go fills with dead ones */
        if (batch->kind == STORE_OP_EXPIRE && batch->result == STORE_OK && q->more && !q->ending)
            list_prepend(&q->todo, batch);
        else
            list_append(&q->done, batch);
    }
    q->waiting = q->kind->waiting(q->store);
    return true;
}

static void *worker(void *argument)
{
    struct store_queue *q = argument;
    const uint64_t one = 1;
    ssize_t written = 0;

    pthread_mutex_lock(&q->lock);
    for (;;) {
        while (q->todo.first == NULL && !q->ending)
            pthread_cond_wait(&q->wake, &q->lock);
        if (!batch_next(q))
            break;
        written =
            write(q->done_fd, &one, sizeof one); /* cannot fail but for a full counter, which wakes as well */
        (void)written;
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* Returns whether there was anything. */
static bool report(struct store_queue *q)
{
    bool any = false;
    struct store_op *op = NULL, *next = NULL;

    pthread_mutex_lock(&q->lock);
    op = q->done.first;
    list_clear(&q->done);
    pthread_mutex_unlock(&q->lock);
    any = op != NULL;
    for (; op != NULL; op = next) {
        next = op->next;
        if (op->result == STORE_FAILED)
            statistics_store_failed();
        op->done(op);
    }
    return any;
}

static void done_ready(evutil_socket_t fd, short events, void *context)
{
    uint64_t count = 0;
    ssize_t n = read(fd, &count, sizeof count);

    (void)n;
    (void)events;
    report(context);
}

static void expire_done(struct store_op *op)
{
    struct store_queue *q = op->context;

    q->expiring = false;
}

static void expire_due(evutil_socket_t fd, short events, void *context)
{
    struct store_queue *q = context;

    (void)fd;
    (void)events;
    if (q->expiring)
        return;
    q->expire = (struct store_op){.kind = STORE_OP_EXPIRE, .done = expire_done, .context = q};
    q->expiring = store_queue_add(q, &q->expire);
}

/* The thread takes no signals: they are the event loop's. */
static bool thread_start(struct store_queue *q)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    q->running = pthread_create(&q->thread, NULL, worker, q) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return q->running;
}

struct store_queue *store_queue_new(struct event_base *base, const struct store_kind *kind,
                                    struct store *store, struct fault *fault)
{
    struct store_queue *q = calloc(1, sizeof *q);
    struct timeval every = {.tv_sec = EXPIRE_EVERY_S};

    if (q == NULL) {
        fault_set(fault, "no memory");
        kind->close(store);
        return NULL;
    }
    q->kind = kind;
    q->store = store;
    q->waiting = kind->waiting(store);
    list_clear(&q->todo);
    list_clear(&q->done);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->wake, NULL);
    q->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->done_fd >= 0)
        q->done_event = event_new(base, q->done_fd, EV_READ | EV_PERSIST, done_ready, q);
    q->expire_timer = event_new(base, -1, EV_PERSIST, expire_due, q);
    if (q->done_event == NULL || q->expire_timer == NULL || event_add(q->done_event, NULL) != 0 ||
        event_add(q->expire_timer, &every) != 0 || !thread_start(q)) {
        fault_set(fault, "the store's thread cannot be started");
        store_queue_free(q);
        return NULL;
    }
    return q;
}

void store_queue_free(struct store_queue *q)
{
    if (q == NULL)
        return;
    if (q->running) {
        pthread_mutex_lock(&q->lock);
        q->ending = true;
        pthread_cond_signal(&q->wake);
        pthread_mutex_unlock(&q->lock);
        pthread_join(q->thread, NULL);
        /* of a key that nobody took, the report adds that it is to be given back */
        while (report(q)) {
            pthread_mutex_lock(&q->lock);
            batch_next(q);
            pthread_mutex_unlock(&q->lock);
        }
    }
    if (q->done_event != NULL)
        event_free(q->done_event);
    if (q->expire_timer != NULL)
        event_free(q->expire_timer);
    if (q->done_fd >= 0)
        close(q->done_fd);
    q->kind->close(q->store);
    pthread_cond_destroy(&q->wake);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

bool store_queue_add(struct store_queue *q, struct store_op *op)
{
    bool added = false;

    pthread_mutex_lock(&q->lock);
    added = op->kind == STORE_OP_RESTORE || (q->todo.count < QUEUE_MAX && !q->ending);
    if (added) {
        list_append(&q->todo, op);
        if (q->todo.count == 1)
            pthread_cond_signal(&q->wake);
    }
    pthread_mutex_unlock(&q->lock);
    return added;
}

uint64_t store_queue_waiting(struct store_queue *q)
{
    uint64_t n = 0;

    pthread_mutex_lock(&q->lock);
    n = q->waiting;
    pthread_mutex_unlock(&q->lock);
    return n;
}

void store_queue_state(struct store_queue *q, struct store_queue_state *out)
{
    pthread_mutex_lock(&q->lock);
    out->waiting = q->waiting;
    out->depth = q->todo.count + q->running_ops;
    out->fault = clock_ms() - q->failed_at < FAULT_MS ? q->fault : (struct fault){0};
    if (q->running_ops > 0 && clock_ms() - q->running_since > SLOW_MS)
        fault_set(&out->fault, "the store has not answered for %llu s",
                  (unsigned long long)(clock_ms() - q->running_since) / 1000);
    pthread_mutex_unlock(&q->lock);
}
