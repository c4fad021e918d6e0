/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* After a call that did not return in time, nobody else is sent after it for so long. */
#ifndef HUNG_SECONDS /* a test has less time */
#define HUNG_SECONDS 10
#endif

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE };

struct ppk_job {
    struct ppk_pool *pool;
    struct ppk_job *next;
    struct timespec until;
    enum job_state state;
    bool held;     /* the caller has not released it */
    bool given_up; /* the caller was given late instead of the answer */
    bool overdue;  /* and it was in the module then */
    struct ppk_ask ask;
    struct ppk_answer answer, late;
};

struct queue {
    struct ppk_job *first, **last;
};

/* Fetches wait for a key source, each for seconds if it is silent. All but one worker may do them at a time,
 * so that whatever the token knows by itself is answered meanwhile. */
enum { QUICK, FETCHES, QUEUES };

struct ppk_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    struct ppk_module *module;
    struct queue queues[QUEUES];
    pthread_t *ids; /* of the workers that were started */
    unsigned started;
    unsigned threads;  /* of them, those that have not ended */
    unsigned fetching; /* and those that fetch */
    unsigned idle, queued, threads_max, bound_ms;
    unsigned overdue[QUEUES]; /* calls that are in the module for too long */
    struct timespec hung_until;
    bool ending;
    char *path, *init, *token, *pin;
};

static struct timespec after_ms(unsigned ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

static bool is_past(const struct timespec *t)
{
    struct timespec now = after_ms(0);

    return now.tv_sec > t->tv_sec || (now.tv_sec == t->tv_sec && now.tv_nsec >= t->tv_nsec);
}

static char *copy_of(const char *text)
{
    return text && *text ? strdup(text) : NULL;
}

struct ppk_pool *ppk_pool_create(const struct ppk_module_config *config, unsigned threads, unsigned bound_ms)
{
    struct ppk_pool *pool = calloc(1, sizeof *pool);
    struct ppk_module_config copy;
    pthread_condattr_t attr;

    if (!pool)
        return NULL;
    pool->path = copy_of(config->path);
    pool->init = copy_of(config->init);
    pool->token = copy_of(config->token);
    pool->pin = copy_of(config->pin);
    copy = (struct ppk_module_config){pool->path, pool->init, pool->token, pool->pin};
    pool->module = ppk_module_create(&copy);
    pool->ids = calloc(threads, sizeof *pool->ids);
    pool->threads_max = threads;
    pool->bound_ms = bound_ms;
    for (size_t i = 0; i < QUEUES; i++)
        pool->queues[i].last = &pool->queues[i].first;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &attr);
    pthread_cond_init(&pool->done, &attr);
    pthread_condattr_destroy(&attr);
    if (!pool->module || !pool->ids) {
        ppk_pool_destroy(pool);
        return NULL;
    }
    return pool;
}

static void job_free(struct ppk_job *job)
{
    ppk_ask_clear(&job->ask);
    ppk_answer_clear(&job->answer);
    ppk_answer_clear(&job->late);
    explicit_bzero(job, sizeof *job);
    free(job);
}

static bool is_fetch(const struct ppk_job *job)
{
    return job->ask.op == PPK_OP_FIND || job->ask.op == PPK_OP_GENERATE;
}

static unsigned queue_of(const struct ppk_job *job)
{
    return is_fetch(job) ? FETCHES : QUICK;
}

static unsigned overdue_locked(const struct ppk_pool *pool)
{
    return pool->overdue[QUICK] + pool->overdue[FETCHES];
}

static void job_put_locked(struct ppk_job *job)
{
    struct queue *queue = &job->pool->queues[queue_of(job)];

    *queue->last = job;
    queue->last = &job->next;
    job->pool->queued++;
}

static void job_finish_locked(struct ppk_job *job)
{
    struct ppk_pool *pool = job->pool;

    if (job->overdue)
        pool->overdue[queue_of(job)]--;
    if (!overdue_locked(pool))
        pool->hung_until = (struct timespec){0};
    job->state = JOB_DONE;
    if (!job->held)
        job_free(job);
    pthread_cond_broadcast(&pool->done);
}

static void job_unlink_locked(struct ppk_job *job)
{
    struct queue *queue = &job->pool->queues[queue_of(job)];
    struct ppk_job **at = &queue->first;

    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    if (!*at)
        queue->last = at;
    job->pool->queued--;
}

/* The first job that may be done now, or NULL. */
static struct ppk_job *job_pick_locked(struct ppk_pool *pool)
{
    bool fetches = pool->fetching == 0 || pool->fetching + 1 < pool->threads_max;
    struct ppk_job *job = pool->queues[QUICK].first;

    if (!job && fetches)
        job = pool->queues[FETCHES].first;
    if (job)
        job_unlink_locked(job);
    return job;
}

/* Takes the next job; NULL when the pool ends. Locked. */
static struct ppk_job *job_next_locked(struct ppk_pool *pool)
{
    struct ppk_job *job;

    pool->idle++;
    while (!(job = job_pick_locked(pool)) && !pool->ending)
        pthread_cond_wait(&pool->work, &pool->lock);
    pool->idle--;
    if (job) {
        job->state = JOB_RUNNING;
        pool->fetching += is_fetch(job);
    }
    return job;
}

/* A PPK that came too late for the IKE SA that asked for it must not stay. */
static void job_discard(struct ppk_session *session, const struct ppk_job *job)
{
    struct ppk_ask ask = {.op = PPK_OP_DONE, .key = job->answer.key};
    struct ppk_answer answer = {0};

    ppk_ask_run(session, &ask, &answer);
    ppk_answer_clear(&answer);
}

static bool job_is_orphan_locked(const struct ppk_job *job)
{
    return is_fetch(job) && job->answer.fact == PPK_YES && job->answer.key.dynamic &&
           (!job->held || job->given_up);
}

static void *worker(void *argument)
{
    struct ppk_pool *pool = argument;
    struct ppk_session session = {.module = pool->module};
    struct ppk_job *job;

    pthread_mutex_lock(&pool->lock);
    while ((job = job_next_locked(pool))) {
        pthread_mutex_unlock(&pool->lock);
        ppk_ask_run(&session, &job->ask, &job->answer);
        pthread_mutex_lock(&pool->lock);
        if (job_is_orphan_locked(job)) {
            pthread_mutex_unlock(&pool->lock);
            job_discard(&session, job);
            pthread_mutex_lock(&pool->lock);
        }
        pool->fetching -= is_fetch(job);
        job_finish_locked(job);
    }
    pthread_mutex_unlock(&pool->lock);
    if (session.generation)
        ppk_session_drop(&session);
    pthread_mutex_lock(&pool->lock);
    pool->threads--;
    pthread_cond_broadcast(&pool->done);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* One more worker, with all signals blocked: they are for charon's threads. Locked. */
static void worker_start_locked(struct ppk_pool *pool)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&pool->ids[pool->started], NULL, worker, pool) == 0) {
        pool->started++;
        pool->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void job_refuse(struct ppk_job *job, const char *why)
{
    job->state = JOB_DONE;
    job->answer.fact = PPK_FAILED;
    snprintf(job->answer.text, sizeof job->answer.text, "%s", why);
}

/* Is it vain to ask? A key source that is silent is no reason not to ask what needs none, unless it has all
 * workers wait. */
static bool is_vain_locked(const struct ppk_pool *pool, const struct ppk_job *job)
{
    bool hangs = pool->overdue[QUICK] || (is_fetch(job) && pool->overdue[FETCHES]) ||
                 overdue_locked(pool) >= pool->threads_max;

    return job->ask.op != PPK_OP_DONE && hangs && !is_past(&pool->hung_until);
}

struct ppk_job *ppk_job_submit(struct ppk_pool *pool, struct ppk_ask *ask)
{
    struct ppk_job *job = calloc(1, sizeof *job);

    if (!job) {
        ppk_ask_clear(ask);
        return NULL;
    }
    job->pool = pool;
    job->ask = *ask;
    job->held = true;
    job->until = after_ms(pool->bound_ms);
    memset(ask, 0, sizeof *ask);
    pthread_mutex_lock(&pool->lock);
    if (is_vain_locked(pool, job)) {
        job_refuse(job, "the PKCS#11 module hangs: an earlier call has not returned");
    } else {
        /* each job that waits has an idle worker, which may not have woken up yet, or gets a new one */
        if (pool->queued >= pool->idle && pool->started < pool->threads_max)
            worker_start_locked(pool);
        if (!pool->threads) {
            job_refuse(job, "no thread can be started for the PKCS#11 module");
        } else {
            job_put_locked(job);
            pthread_cond_signal(&pool->work);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return job;
}

struct ppk_answer *ppk_job_wait(struct ppk_job *job)
{
    struct ppk_pool *pool = job->pool;
    struct ppk_answer *answer = &job->answer;
    int waited = 0;

    pthread_mutex_lock(&pool->lock);
    while (job->state != JOB_DONE && waited == 0)
        waited = pthread_cond_timedwait(&pool->done, &pool->lock, &job->until);
    if (job->state != JOB_DONE) {
        job->given_up = true;
        bool stuck = !job->overdue && job->state == JOB_RUNNING; /* else it has not had its turn */
        if (stuck) {
            job->overdue = true;
            pool->overdue[queue_of(job)]++;
        }
        if (stuck || overdue_locked(pool) >= pool->threads_max)
            pool->hung_until = after_ms(HUNG_SECONDS * 1000);
        answer = &job->late;
        answer->fact = PPK_FAILED;
        snprintf(answer->text, sizeof answer->text, "the PKCS#11 module did not answer within %u ms",
                 pool->bound_ms);
    }
    pthread_mutex_unlock(&pool->lock);
    return answer;
}

const struct ppk_ask *ppk_job_ask(const struct ppk_job *job)
{
    return &job->ask;
}

void ppk_job_release(struct ppk_job *job)
{
    struct ppk_pool *pool;

    if (!job)
        return;
    pool = job->pool;
    pthread_mutex_lock(&pool->lock);
    job->held = false;
    if (job->state == JOB_QUEUED && job->ask.op != PPK_OP_DONE) {
        job_unlink_locked(job);
        job_free(job);
    } else if (job->state == JOB_DONE) {
        job_free(job);
    }
    pthread_mutex_unlock(&pool->lock);
}

static void free_wiped(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void ppk_pool_destroy(struct ppk_pool *pool)
{
    struct timespec until;
    int waited = 0;

    if (!pool)
        return;
    until = after_ms(pool->bound_ms);
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->work);
    while (pool->threads && waited == 0)
        waited = pthread_cond_timedwait(&pool->done, &pool->lock, &until);
    if (pool->threads) {
        pthread_mutex_unlock(&pool->lock);
        return;
    }
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->started; i++)
        pthread_join(pool->ids[i], NULL);
    free(pool->ids);
    ppk_module_destroy(pool->module);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    free(pool->path);
    free(pool->init);
    free(pool->token);
    free_wiped(pool->pin);
    free(pool);
}
