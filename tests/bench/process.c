/* SPDX-License-Identifier: BSD-2-Clause */
/* What is measured in processes of its own: ppk-bench-cold. */
#include "bench.h"

#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* What ppk-bench-cold tells, and what the whole process took. */
enum { COLD_INITIALIZE, COLD_FIND, COLD_SIGN, COLD_LIBCURL, COLD_FIGURES };
struct cold {
    double whole;
    double figures[COLD_FIGURES];
};

/* Runs ppk-bench-cold once. False: it failed. `what`, or NULL: its second argument. */
static bool cold_once(const char *path, const char *what, struct cold *c)
{
    char program[512], text[128] = "";
    union {
        const char *constant[4];
        char *plain[4]; /* posix_spawn() changes none */
    } argv = {.constant = {program, path, what, NULL}};
    posix_spawn_file_actions_t actions;
    int ends[2], status = 1;
    pid_t child = 0;
    char *end = text;

    ssize_t n = readlink("/proc/self/exe", program, sizeof program - sizeof "-cold");
    if (n <= 0 || pipe(ends) != 0)
        return false;
    (void)snprintf(program + n, sizeof program - (size_t)n, "-cold");
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    (void)posix_spawn_file_actions_addclose(&actions, ends[0]);
    uint64_t before = now_ns();
    bool ok = posix_spawn(&child, program, &actions, NULL, argv.plain, environ) == 0;
    (void)close(ends[1]);
    ok = ok && waitpid(child, &status, 0) == child && status == 0;
    c->whole = (double)(now_ns() - before);
    ok = ok && read(ends[0], text, sizeof text - 1) > 0;
    for (int i = 0; i < COLD_FIGURES; i++)
        c->figures[i] = strtod(end, &end);
    (void)close(ends[0]);
    (void)posix_spawn_file_actions_destroy(&actions);
    return ok;
}

/* Notes a pass, or that it failed. */
static void note(struct result *at, bool good, double figure)
{
    if (good && at->n_passes < PASSES_MAX)
        at->passes[at->n_passes++] = figure;
    else if (!good)
        (void)snprintf(at->error, sizeof at->error, "failed");
}

void measure_cold(struct results *r, unsigned passes)
{
    static const struct {
        const char *operation, *text;
    } rows[] = {
        {"cold-start", "process: load, initialize, search, end"},
        {"cold-initialize", "C_Initialize in a new process"},
        {"cold-sign", "first C_SignInit of a process"},
        {"cold-sign-warm", "the same, OpenSSL being in use"},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    size_t first = r->n;

    for (size_t s = 0; s < r->n_subjects; s++)
        for (size_t i = 0; i < ROWS; i++)
            (void)results_add(r, rows[i].operation, rows[i].text, 1, s);
    for (unsigned p = 0; p < passes * 3; p++) {
        for (size_t s = 0; s < r->n_subjects; s++) {
            struct result *at = &r->all[first + s * ROWS];
            struct cold c;
            if (r->subjects[s].bare)
                continue;
            bool good = cold_once(r->subjects[s].path, NULL, &c);
            note(&at[0], good, c.whole);
            note(&at[1], good, c.figures[COLD_INITIALIZE]);
            good = cold_once(r->subjects[s].path, "--sign", &c);
            note(&at[2], good, c.figures[COLD_SIGN]);
            good = cold_once(r->subjects[s].path, "--sign-warm", &c);
            note(&at[3], good, c.figures[COLD_SIGN]);
            if (p == 0 && good && r->subjects[s].ours && r->n_figures < FIGURES_MAX)
                r->figures[r->n_figures++] = (struct figure){
                    "cold-libcurl", "", "libcurl in a process that has not fetched", c.figures[COLD_LIBCURL]};
        }
    }
}

/* A keyring of `n` peers, each with an address and a manual PPK. */
static bool peers_configure(const char *path, unsigned n)
{
    FILE *f = fopen(path, "we");

    if (!f)
        return false;
    (void)fprintf(f, "keyring bench\n");
    for (unsigned i = 0; i < n; i++)
        (void)fprintf(f,
                      " peer p%u\n  address 10.%u.%u.%u 255.255.255.255\n  ppk manual id i%u key hex "
                      "000102030405060708090a0b0c0d0e0f1011121314151617%016x\n",
                      i, i >> 16, i >> 8 & 255, i & 255, i, i);
    bool good = !ferror(f);
    return fclose(f) == 0 && good;
}

void measure_peers(struct results *r, unsigned passes, const char *directory)
{
    char path[600], was[600] = "", label[16], name[48], text[80];
    const char *conf = getenv("PPK_CONF");
    size_t ours = 0;

    while (ours < r->n_subjects && !r->subjects[ours].ours)
        ours++;
    if (ours == r->n_subjects || !conf)
        return;
    (void)snprintf(was, sizeof was, "%s", conf);
    (void)snprintf(path, sizeof path, "%s/peers.conf", directory);
    (void)setenv("PPK_CONF", path, 1);
    for (unsigned n = 1; n <= 10000; n *= 10) {
        size_t first = r->n;
        (void)snprintf(name, sizeof name, "peers-start-%u", n);
        (void)snprintf(text, sizeof text, "C_Initialize, %u peers", n);
        (void)results_add(r, name, text, 1, ours);
        (void)snprintf(name, sizeof name, "peers-find-%u", n);
        (void)snprintf(text, sizeof text, "find by CKA_LABEL, %u peers", n);
        (void)results_add(r, name, text, 1, ours);
        (void)snprintf(label, sizeof label, "p%u", n - 1);
        bool good = peers_configure(path, n);
        for (unsigned p = 0; p < passes && !r->all[first].error[0]; p++) {
            struct cold c = {0};
            good = good && cold_once(r->subjects[ours].path, label, &c);
            note(&r->all[first], good, c.figures[COLD_INITIALIZE]);
            note(&r->all[first + 1], good, c.figures[COLD_FIND]);
        }
    }
    (void)setenv("PPK_CONF", was, 1);
}
