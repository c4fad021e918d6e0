/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <unistd.h>

struct result *results_add(struct results *r, const char *operation, const char *text, unsigned threads,
                           size_t subject)
{
    if (r->n == r->room) {
        r->room = r->room ? r->room * 2 : 64;
        r->all = reallocarray(r->all, r->room, sizeof *r->all);
        if (!r->all) {
            perror("ppk-bench");
            exit(1);
        }
    }
    struct result *made = &r->all[r->n++];
    *made = (struct result){.threads = threads, .subject = subject};
    (void)snprintf(made->operation, sizeof made->operation, "%s", operation);
    (void)snprintf(made->text, sizeof made->text, "%s", text);
    return made;
}

const struct result *results_find(const struct results *r, const char *operation, unsigned threads,
                                  size_t subject)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct result *at = &r->all[i];
        if (at->subject == subject && at->threads == threads && strcmp(at->operation, operation) == 0)
            return at;
    }
    return NULL;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double nth(const struct result *r, unsigned n)
{
    double sorted[PASSES_MAX];

    if (r->n_passes == 0)
        return 0;
    memcpy(sorted, r->passes, r->n_passes * sizeof *sorted);
    qsort(sorted, r->n_passes, sizeof *sorted, ascending);
    return sorted[n];
}

double result_best(const struct result *r)
{
    return nth(r, 0);
}

double result_median(const struct result *r)
{
    return nth(r, r->n_passes / 2);
}

static bool is_memory(const struct result *r)
{
    return strncmp(r->operation, "memory", 6) == 0;
}

const char *result_unit(const struct result *r)
{
    return is_memory(r) ? "bytes" : "ns";
}

/* PRETTY_NAME of /etc/os-release. */
static void system_name(char *out, size_t size)
{
    FILE *f = fopen("/etc/os-release", "re");
    char line[256];

    (void)snprintf(out, size, "Linux");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "PRETTY_NAME=\"", 13) == 0)
            (void)snprintf(out, size, "%.*s", (int)strcspn(line + 13, "\"\n"), line + 13);
    if (f)
        (void)fclose(f);
}

void report_machine(FILE *to, const struct results *r)
{
    char name[80];

    system_name(name, sizeof name);
    (void)fprintf(to, "%ld processors, %s, OpenSSL %s", sysconf(_SC_NPROCESSORS_ONLN), name,
                  OpenSSL_version(OPENSSL_VERSION_STRING));
    for (size_t i = 0; i < r->n_subjects; i++)
        if (!r->subjects[i].bare)
            (void)fprintf(to, ", %s %s", r->subjects[i].name, r->subjects[i].version);
}

static void print_value(const struct result *r)
{
    char text[64];

    if (!r || r->n_passes == 0)
        (void)snprintf(text, sizeof text, "%s", r && r->error[0] ? r->error : "-");
    else if (is_memory(r))
        (void)snprintf(text, sizeof text, "%.0f bytes", result_best(r));
    else if (result_best(r) < 1e5)
        (void)snprintf(text, sizeof text, "%.0f (%.0f) ns", result_best(r), result_median(r));
    else
        (void)snprintf(text, sizeof text, "%.2f (%.2f) ms", result_best(r) / 1e6, result_median(r) / 1e6);
    (void)printf(" %20.20s", text);
}

/* How many times as fast (or small) the first subject is. */
static void print_ratio(const struct result *first, const struct result *r)
{
    if (first && r && first->n_passes && r->n_passes && result_best(first) > 0)
        (void)printf(" %8.2fx", result_best(r) / result_best(first));
    else
        (void)printf(" %9s", "");
}

void report_table(const struct results *r)
{
    report_machine(stdout, r);
    (void)printf(
        "\nbest (median) per operation; Nx: the first module is N times as fast as this one\n\n%-44s thr",
        "");
    for (size_t s = 0; s < r->n_subjects; s++)
        (void)printf(" %20.20s%s", r->subjects[s].name, s ? "          " : "");
    (void)printf("\n");
    for (size_t i = 0; i < r->n; i++) {
        const struct result *at = &r->all[i];
        if (at->subject != 0)
            continue;
        (void)printf("%-44.44s %3u", at->text, at->threads);
        for (size_t s = 0; s < r->n_subjects; s++) {
            const struct result *other = results_find(r, at->operation, at->threads, s);
            print_value(other);
            if (s)
                print_ratio(at, other);
        }
        (void)printf("\n");
    }
}

static char *machine_text(const struct results *r)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    if (f) {
        report_machine(f, r);
        (void)fclose(f);
    }
    return text;
}

bool report_json(const struct results *r, const char *path)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < r->n; i++) {
        const struct result *at = &r->all[i];
        json_t *row = json_pack("{s:s, s:s, s:i, s:s}", "operation", at->operation, "text", at->text,
                                "threads", (int)at->threads, "module", r->subjects[at->subject].name);
        if (at->n_passes) {
            json_t *passes = json_array();
            for (unsigned p = 0; p < at->n_passes; p++)
                (void)json_array_append_new(passes, json_real(at->passes[p]));
            (void)json_object_set_new(row, "unit", json_string(result_unit(at)));
            (void)json_object_set_new(row, "best", json_real(result_best(at)));
            (void)json_object_set_new(row, "median", json_real(result_median(at)));
            (void)json_object_set_new(row, "passes", passes);
        } else {
            (void)json_object_set_new(row, "error", json_string(at->error));
        }
        (void)json_array_append_new(rows, row);
    }
    json_t *figures = json_array();
    for (size_t i = 0; i < r->n_figures; i++) {
        const struct figure *f = &r->figures[i];
        (void)json_array_append_new(figures, json_pack("{s:s, s:s, s:s, s:f}", "name", f->name, "text",
                                                       f->text, "unit", f->unit, "value", f->value));
    }
    char *machine = machine_text(r);
    json_t *all = json_pack("{s:s, s:o, s:o, s:o}", "machine", machine ? machine : "", "results", rows,
                            "figures", figures, "goals", goals_json(r));
    free(machine);
    bool ok = all && (strcmp(path, "-") == 0 ? json_dumpf(all, stdout, JSON_INDENT(1))
                                             : json_dump_file(all, path, JSON_INDENT(1))) == 0;
    if (!ok)
        (void)fprintf(stderr, "ppk-bench: %s: %s\n", path, strerror(errno));
    json_decref(all);
    return ok;
}
