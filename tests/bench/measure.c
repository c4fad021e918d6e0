/* SPDX-License-Identifier: BSD-2-Clause */
/* The operations on all modules, in turn: pass by pass, so that what disturbs one disturbs the others, too.
 */
#include "bench.h"
#include "memory.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_barrier_t start_line;

static void run(struct worker *w)
{
    uint64_t cpu = cpu_ns();

    w->started = now_ns();
    for (uint64_t i = 0; i < w->iterations; i++) {
        if (!w->op->once(w))
            break;
    }
    w->ended = now_ns();
    w->cpu = cpu_ns() - cpu;
}

static void *run_thread(void *arg)
{
    struct worker *w = arg;
    bool ready = w->op->prepare(w); /* NOLINT(clang-analyzer-core.NullDereference): all have one */

    (void)pthread_barrier_wait(&start_line);
    if (ready)
        run(w);
    w->op->finish(w);
    return NULL;
}

/* Nanoseconds per operation over all threads; 0 with `rv` if a call failed. */
static double pass(struct subject *s, const struct operation *op, unsigned threads, uint64_t iterations,
                   CK_RV *rv)
{
    struct worker workers[THREADS_MAX] = {0};
    pthread_t ids[THREADS_MAX];
    uint64_t from = UINT64_MAX, to = 0, cpu = 0;

    if (pthread_barrier_init(&start_line, NULL, threads) != 0)
        return 0;
    for (unsigned i = 0; i < threads; i++) {
        workers[i] = (struct worker){.subject = s, .op = op, .iterations = iterations, .random = i + 1};
        if (i && pthread_create(&ids[i], NULL, run_thread, &workers[i]) != 0) {
            perror("ppk-bench");
            exit(1); /* the others wait for it */
        }
    }
    (void)run_thread(&workers[0]);
    for (unsigned i = 0; i < threads; i++) {
        if (i)
            (void)pthread_join(ids[i], NULL);
        if (workers[i].rv != CKR_OK) {
            *rv = workers[i].rv;
            from = to = 0;
        }
        from = workers[i].started < from ? workers[i].started : from;
        to = workers[i].ended > to ? workers[i].ended : to;
        cpu += workers[i].cpu;
    }
    (void)pthread_barrier_destroy(&start_line);
    double all = options.cpu ? (double)cpu / threads : (double)(to - from);
    return *rv == CKR_OK ? all / (double)(iterations * threads) : 0;
}

/* How many iterations make a pass. */
static uint64_t calibrate(struct subject *s, const struct operation *op, CK_RV *rv)
{
    double wanted = options.pass_ms * 1e6;
    uint64_t n = 1;

    for (;;) {
        double each = pass(s, op, 1, n, rv);
        if (*rv != CKR_OK)
            return 0;
        if (each * (double)n > wanted / 8 || n > 100000000)
            return each * (double)n > wanted ? n : (uint64_t)(wanted / each) + 1;
        n *= 8;
    }
}

static bool applies(const struct subject *s, const struct operation *op)
{
    if (op->held != s->held || (op->ours && !s->ours && !s->bare))
        return false;
    if (op->machine || s->bare)
        return s->bare && (op->machine || op->bare);
    return !op->needs_prf || s->prf_plus != 0;
}

/* Measures an operation with each of these numbers of threads. */
static void measure(struct results *r, const struct operation *op, const char *name, const char *text,
                    const unsigned *threads, size_t n_threads, const bool *skip)
{
    uint64_t iterations[SUBJECTS_MAX] = {0};
    CK_RV rv[SUBJECTS_MAX] = {0};
    size_t first = r->n;

    for (size_t s = 0; s < r->n_subjects; s++) {
        if (!skip[s] && applies(&r->subjects[s], op))
            iterations[s] = calibrate(&r->subjects[s], op, &rv[s]);
    }
    for (size_t t = 0; t < n_threads; t++) {
        for (size_t s = 0; s < r->n_subjects; s++)
            (void)results_add(r, name, text, threads[t], s);
    }
    for (unsigned p = 0; p < options.passes; p++) {
        for (size_t i = first; i < r->n; i++) {
            struct result *at = &r->all[i];
            if (iterations[at->subject] == 0 || rv[at->subject] != CKR_OK)
                continue;
            double each =
                pass(&r->subjects[at->subject], op, at->threads, iterations[at->subject], &rv[at->subject]);
            if (rv[at->subject] == CKR_OK)
                at->passes[at->n_passes++] = each;
        }
    }
    for (size_t i = first; i < r->n; i++) {
        if (rv[r->all[i].subject] != CKR_OK)
            (void)snprintf(r->all[i].error, sizeof r->all[i].error, "CKR 0x%lx", rv[r->all[i].subject]);
    }
    (void)fprintf(stderr, ".");
}

/* The growth with threads, where it is asked for: what was not measured already. */
static void measure_more_threads(struct results *r, const struct operation *op, const char *name,
                                 const char *text, const bool *skip)
{
    static const unsigned more[] = {4, 8, 16};

    if (options.all || options.svg)
        measure(r, op, name, text, more, sizeof more / sizeof *more, skip);
}

void measure_operations(struct results *r)
{
    const bool none[SUBJECTS_MAX] = {false};

    for (size_t i = 0; i < n_operations; i++) {
        const struct operation *op = &operations[i];
        if (op->finds || !wanted(op->name))
            continue;
        measure(r, op, op->name, op->text, options.threads, options.n_threads, none);
        if (strcmp(op->name, "derive-sha256-32") == 0)
            measure_more_threads(r, op, op->name, op->text, none);
    }
}

static size_t limit_of(const struct subject *s)
{
    return s->ours ? options.objects_ours : options.objects;
}

/* Lets every module hold `n` objects, as far as it should; notes what an object takes in the end. */
static void grow(struct results *r, size_t n, bool *skip)
{
    for (size_t i = 0; i < r->n_subjects; i++) {
        struct subject *s = &r->subjects[i];
        size_t had = s->n_objects;
        CK_RV rv = CKR_OK;
        skip[i] = skip[i] || s->bare || n > limit_of(s);
        if (skip[i])
            continue;
        const double before = resident_bytes();
        if (!objects_grow(s, n, &rv)) {
            skip[i] = true;
            (void)fprintf(stderr, "ppk-bench: %s: %zu objects: 0x%lx\n", s->name, s->n_objects, rv);
            continue;
        }
        if (had > 0) /* the first one brings what all share; of our own is the array of handles */
            s->grown += resident_bytes() - before - (double)((n - had) * sizeof(CK_OBJECT_HANDLE));
        if (n * 10 > limit_of(s)) {
            struct result *at = results_add(r, s->held ? "memory-ppk" : "memory",
                                            s->held ? "memory per held PPK" : "memory per object", 1, i);
            at->passes[at->n_passes++] = s->grown / (double)(n - 1);
        }
    }
}

/* One kind of search among `count` objects. */
static void measure_find(struct results *r, const struct operation *op, size_t count, const bool *skip)
{
    char name[48], text[80];
    bool any = false;

    for (size_t s = 0; s < r->n_subjects; s++)
        any = any || (!skip[s] && applies(&r->subjects[s], op));
    if (!any || !op->finds || !wanted(op->name))
        return;
    (void)snprintf(name, sizeof name, "%s-%zu", op->name, count);
    (void)snprintf(text, sizeof text, "%s, %zu %s", op->text, count, op->held ? "PPKs" : "objects");
    measure(r, op, name, text, options.threads, options.n_threads, skip);
    if (strcmp(op->name, "find-hit") == 0 && count == FIND_THREADS_COUNT)
        measure_more_threads(r, op, name, text, skip);
}

void measure_finds(struct results *r)
{
    static const size_t counts[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
    bool skip[SUBJECTS_MAX] = {false};

    if (!wanted("find-hit") && !wanted("find-miss") && !wanted("find-ppk") && !wanted("memory"))
        return;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        grow(r, counts[c], skip);
        for (size_t i = 0; i < n_operations; i++)
            measure_find(r, &operations[i], counts[c], skip);
    }
}
