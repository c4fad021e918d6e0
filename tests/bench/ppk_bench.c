/* SPDX-License-Identifier: BSD-2-Clause */
/* ppk-bench MODULE...: see usage(). */
#include "bench.h"

#include <ftw.h>
#include <getopt.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static struct options {
    unsigned passes;
    unsigned pass_ms;
    unsigned threads[5];
    size_t n_threads;
    size_t objects; /* for modules that are not ours */
    size_t objects_ours;
    const char *only; /* part of an operation's name */
    const char *json;
    const char *svg;
    bool goals;
    bool network;
    bool all;
    bool constant;
    const char *ike_sa; /* rounds, or NULL */
    bool cpu;           /* processor time instead of the clock's */
} options = {
    .passes = 7, .pass_ms = 40, .threads = {1, 2}, .n_threads = 2, .objects = 10000, .objects_ours = 1000000};

static char directory[] = "/tmp/ppk-bench.XXXXXX";

static void usage(FILE *to)
{
    (void)fputs(
        "usage: ppk-bench [OPTION]... MODULE...\n"
        "Runs the same operations on PKCS#11 modules, pass by pass in turn, and prints the times "
        "side by side.\n"
        "MODULE is a path, or one of: nss (NSS's softoken), softhsm2 (with a token of its own), "
        "openssl (bare EVP_MAC,\n"
        "the limit). The first is what the others are compared with.\n"
        "  -p, --passes N      passes per operation (default 7)\n"
        "  -m, --pass-ms MS    length of a pass in milliseconds (default 40)\n"
        "  -t, --threads N,... numbers of threads (default 1,2)\n"
        "  -n, --objects N     the most objects to be searched (default 1000000 for ppk-pkcs11, "
        "10000 for others)\n"
        "  -o, --only TEXT     only operations whose name contains TEXT\n"
        "  -j, --json FILE     write the results as JSON, too (\"-\": standard output)\n"
        "  -v, --svg PREFIX    draw the growth with objects, threads and peers: PREFIX-objects.svg and so "
        "on\n"
        "  -c, --cpu           measure processor time over the number of threads, for a machine that "
        "is busy otherwise; this\n"
        "                      shows what threads cost each other in work, but not waiting\n"
        "  -s, --constant-time check that decoding and comparing secrets takes the same time "
        "whatever they are; no MODULE\n"
        "                      is needed\n"
        "  -i, --ike-sa ROUNDS set up IKE_SAs with PPKs from the token and with a static PPK, in turn, "
        "between strongSwan\n"
        "                      daemons in network namespaces (root; from the build folder); no MODULE "
        "is needed\n"
        "  -w, --network       measure fetches from two skipds on loopback beside bare libcurl, failover, "
        "what "
        "the key sources\n"
        "                      deliver, and the memory of a held PPK (from the build folder); no MODULE is "
        "needed\n"
        "  -g, --goals         compare with the project's goals\n"
        "  -a, --all           all of it: ppk-pkcs11 of the build folder, nss, softhsm2 and openssl with "
        "1, 2, 4, 8 and 16\n"
        "                      threads where that makes sense, goals, network\n",
        to);
}

/* --- one pass
 * ------------------------------------------------------------------------------------------------- */

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

/* --- an operation on all
 * -------------------------------------------------------------------------------------- */

static bool applies(const struct subject *s, const struct operation *op)
{
    if (op->ours && !s->ours && !s->bare)
        return false;
    return s->bare ? op->bare : !op->needs_prf || s->prf_plus != 0;
}

static void measure(struct results *r, const struct operation *op, const char *name, const char *text,
                    const bool *skip)
{
    uint64_t iterations[SUBJECTS_MAX] = {0};
    CK_RV rv[SUBJECTS_MAX] = {0};
    size_t first = r->n;

    for (size_t s = 0; s < r->n_subjects; s++) {
        if (!skip[s] && applies(&r->subjects[s], op))
            iterations[s] = calibrate(&r->subjects[s], op, &rv[s]);
    }
    for (size_t t = 0; t < options.n_threads; t++) {
        for (size_t s = 0; s < r->n_subjects; s++)
            (void)results_add(r, name, text, options.threads[t], s);
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

/* The growth with threads: what was not measured already. */
static void measure_threads(struct results *r, const bool *skip)
{
    static const unsigned more[] = {4, 8, 16};

    memcpy(options.threads, more, sizeof more);
    options.n_threads = sizeof more / sizeof *more;
    for (size_t i = 0; i < n_operations; i++)
        if (strcmp(operations[i].name, "derive-sha256-32") == 0 ||
            strcmp(operations[i].name, "sign-sha256") == 0)
            measure(r, &operations[i], operations[i].name, operations[i].text, skip);
    options.threads[0] = 1;
    options.threads[1] = 2;
    options.n_threads = 2;
}

static size_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (f) {
        if (fscanf(f, "%lu %lu", &size, &resident) != 2) /* NOLINT(cert-err34-c) */
            resident = 0;
        (void)fclose(f);
    }
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t limit_of(const struct subject *s)
{
    return s->ours ? options.objects_ours : options.objects;
}

/* Lets every module hold `n` objects, as far as it should; notes what an object takes at the last step. */
static void grow(struct results *r, size_t n, bool *skip)
{
    for (size_t i = 0; i < r->n_subjects; i++) {
        struct subject *s = &r->subjects[i];
        size_t had = s->n_objects;
        CK_RV rv = CKR_OK;
        skip[i] = skip[i] || s->bare || n > limit_of(s);
        if (skip[i])
            continue;
        size_t before = resident_bytes();
        if (!objects_grow(s, n, &rv)) {
            skip[i] = true;
            (void)fprintf(stderr, "ppk-bench: %s: %zu objects: 0x%lx\n", s->name, s->n_objects, rv);
        } else if (n * 10 > limit_of(s)) {
            struct result *at = results_add(r, "memory", "memory per object", 1, i);
            size_t after = resident_bytes();
            at->passes[at->n_passes++] = (double)(after > before ? after - before : 0) / (double)(n - had) -
                                         (double)sizeof(CK_OBJECT_HANDLE);
        }
    }
}

static bool wanted(const char *name)
{
    return !options.only || strstr(name, options.only) != NULL;
}

static void measure_finds(struct results *r)
{
    static const size_t counts[] = {1, 100, 1000, 10000, 100000, 1000000};
    bool skip[SUBJECTS_MAX] = {false};

    if (!wanted("find-hit") && !wanted("find-miss") && !wanted("memory"))
        return;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        bool any = false;
        grow(r, counts[c], skip);
        for (size_t s = 0; s < r->n_subjects; s++)
            any = any || !skip[s];
        for (size_t i = 0; any && i < n_operations; i++) {
            char name[48], text[80];
            if (!operations[i].finds || !wanted(operations[i].name))
                continue;
            (void)snprintf(name, sizeof name, "%s-%zu", operations[i].name, counts[c]);
            (void)snprintf(text, sizeof text, "%s, %zu objects", operations[i].text, counts[c]);
            measure(r, &operations[i], name, text, skip);
        }
    }
}

/* --- the program
 * ---------------------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static unsigned long number(const char *s, unsigned long most)
{
    char *end = NULL;
    unsigned long n = strtoul(s, &end, 10);

    if (end == s || (*end && *end != ',') || n == 0 || n > most) {
        (void)fprintf(stderr, "ppk-bench: not a number from 1 to %lu: %s\n", most, s);
        exit(2);
    }
    return n;
}

static void take_threads(const char *s)
{
    options.n_threads = 0;
    for (const char *at = s; at && options.n_threads < 5; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        options.threads[options.n_threads++] = (unsigned)number(at, THREADS_MAX);
}

static void take_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"passes", required_argument, NULL, 'p'},
        {"pass-ms", required_argument, NULL, 'm'},
        {"threads", required_argument, NULL, 't'},
        {"objects", required_argument, NULL, 'n'},
        {"only", required_argument, NULL, 'o'},
        {"json", required_argument, NULL, 'j'},
        {"svg", required_argument, NULL, 'v'},
        {"goals", no_argument, NULL, 'g'},
        {"ike-sa", required_argument, NULL, 'i'},
        {"cpu", no_argument, NULL, 'c'},
        {"constant-time", no_argument, NULL, 's'},
        {"network", no_argument, NULL, 'w'},
        {"all", no_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };

    for (int c = 0; (c = getopt_long(argc, argv, "p:m:t:n:o:j:v:i:cswgah", names, NULL)) != -1;) {
        switch (c) {
        case 'p':
            options.passes = (unsigned)number(optarg, PASSES_MAX);
            break;
        case 'm':
            options.pass_ms = (unsigned)number(optarg, 10000);
            break;
        case 't':
            take_threads(optarg);
            break;
        case 'n':
            options.objects = options.objects_ours = number(optarg, 1000000);
            break;
        case 'o':
            options.only = optarg;
            break;
        case 'j':
            options.json = optarg;
            break;
        case 'v':
            options.svg = optarg;
            break;
        case 's':
            options.constant = true;
            break;
        case 'i':
            options.ike_sa = optarg;
            break;
        case 'c':
            options.cpu = true;
            break;
        case 'w':
            options.network = true;
            break;
        case 'a':
            options.all = options.network = options.goals = true;
            break;
        case 'g':
            options.goals = true;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
    if ((optind >= argc && !options.constant && !options.ike_sa && !options.network) ||
        argc - optind > SUBJECTS_MAX) {
        usage(stderr);
        exit(2);
    }
}

/* Lets a script of the source folder do it, which prints a table. */
static bool report_script(const char *script, const char *argument)
{
    union {
        const char *constant[5];
        char *plain[5]; /* posix_spawn() changes none */
    } argv = {.constant = {"python3", "-B", script, argument, NULL}};
    pid_t child = 0;
    int status = 0;

    (void)fflush(stdout);
    if (setenv("PPK_BUILD", PPK_BUILD_FOLDER, 1) != 0 || setenv("PPK_PLUGIN", PPK_PLUGIN_FILE, 1) != 0)
        return false;
    int error = posix_spawn(&child, "/usr/bin/python3", NULL, NULL, argv.plain, environ);
    if (error != 0) {
        (void)fprintf(stderr, "ppk-bench: /usr/bin/python3: %s\n", strerror(error));
        return false;
    }
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The daemons and their namespaces are the end-to-end tests' own. */
static bool report_ike_sa(void)
{
    char rounds[12];

    (void)snprintf(rounds, sizeof rounds, "%u", (unsigned)number(options.ike_sa, 1000));
    return report_script(PPK_IKE_SA_SCRIPT, rounds);
}

static bool open_subjects(struct results *r, int n, char **modules)
{
    static char ours[] = PPK_BUILD_FOLDER "/lib/ppk-pkcs11.so", nss[] = "nss", softhsm[] = "softhsm2",
                openssl[] = "openssl";
    char *const all[] = {ours, nss, softhsm, openssl};

    if (options.all && n == 0) {
        modules = (char **)all;
        n = sizeof all / sizeof *all;
    }
    for (int i = 0; i < n; i++) {
        char why[300] = "";
        if (!subject_open(&r->subjects[r->n_subjects], modules[i], directory, why, sizeof why)) {
            (void)fprintf(stderr, "ppk-bench: %s: %s\n", modules[i], why);
            return false;
        }
        r->n_subjects++;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct results results;
    const bool none[SUBJECTS_MAX] = {false};
    int status = 1;

    take_options(argc, argv);
    if (options.ike_sa && !report_ike_sa())
        return 1;
    if (optind == argc && !options.all)
        return (!options.constant || report_constant_time()) &&
                       (!options.network || report_script(PPK_NETWORK_SCRIPT, PPK_BUILD_FOLDER))
                   ? 0
                   : 1;
    if (!mkdtemp(directory)) {
        perror("ppk-bench");
        return 1;
    }
    (void)umask(077);
    if (!open_subjects(&results, argc - optind, argv + optind))
        goto out;
    for (size_t i = 0; i < n_operations; i++) {
        if (!operations[i].finds && wanted(operations[i].name))
            measure(&results, &operations[i], operations[i].name, operations[i].text, none);
    }
    if (options.all)
        measure_threads(&results, none);
    if (wanted("cold-start"))
        measure_cold(&results, options.passes);
    measure_finds(&results);
    if (wanted("peers"))
        measure_peers(&results, options.passes, directory);
    (void)fprintf(stderr, "\n");
    if (!options.json || strcmp(options.json, "-") != 0)
        report_table(&results);
    if (options.goals)
        report_goals(&results);
    if (options.svg && !report_charts(&results, options.svg))
        goto out;
    if ((options.constant && !report_constant_time()) ||
        (options.network && !report_script(PPK_NETWORK_SCRIPT, PPK_BUILD_FOLDER)))
        goto out;
    status = options.json && !report_json(&results, options.json) ? 1 : 0;
out:
    for (size_t i = 0; i < results.n_subjects; i++)
        subject_close(&results.subjects[i]);
    free(results.all);
    (void)nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return status;
}
