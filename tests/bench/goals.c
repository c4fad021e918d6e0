/* SPDX-License-Identifier: BSD-2-Clause */
/* The goals that the project has set itself, each a ratio of two figures of the same run, or one figure. */
#include "bench.h"

#include <stdio.h>
#include <string.h>

enum whose { OURS, NSS, BARE, NOBODY };

struct figure {
    enum whose whose;
    const char *operation;
    unsigned threads;
};

static const struct goal {
    const char *text;
    struct figure over, under; /* over / under; an `under` of NOBODY is 1 */
    bool at_most;
    double bound, unit;
} goals[] = {
    {"prf+ SHA-256, times as fast as NSS",
     {NSS, "derive-sha256-32", 1},
     {OURS, "derive-sha256-32", 1},
     false,
     4,
     1},
    {"prf+ SHA-256, part of bare EVP_MAC",
     {BARE, "derive-sha256-32", 1},
     {OURS, "derive-sha256-32", 1},
     false,
     0.7,
     1},
    {"the same of a PPK, which leaves no keyed context",
     {BARE, "derive-ppk", 1},
     {OURS, "derive-ppk", 1},
     false,
     0.7,
     1},
    {"prf+ SHA-256, 2 threads, times as fast as NSS",
     {NSS, "derive-sha256-32", 2},
     {OURS, "derive-sha256-32", 2},
     false,
     6,
     1},
    {"prf+ SHA-256, 2 threads over 1",
     {OURS, "derive-sha256-32", 1},
     {OURS, "derive-sha256-32", 2},
     false,
     1.8,
     1},
    {"HMAC-SHA256 sign, times as fast as NSS",
     {NSS, "sign-sha256", 1},
     {OURS, "sign-sha256", 1},
     false,
     1.5,
     1},
    {"find by CKA_ID, 1,000,000 objects, us", {OURS, "find-hit-1000000", 1}, {NOBODY, NULL, 0}, true, 1, 1e3},
    {"find by CKA_ID, 1,000,000 over 1,000 objects",
     {OURS, "find-hit-1000000", 1},
     {OURS, "find-hit-1000", 1},
     true,
     2,
     1},
    {"find by CKA_ID, 1,000,000, 2 threads over 1",
     {OURS, "find-hit-1000000", 1},
     {OURS, "find-hit-1000000", 2},
     false,
     1.8,
     1},
    {"cold start, over NSS", {OURS, "cold-start", 1}, {NSS, "cold-start", 1}, true, 1.3, 1},
    {"C_Initialize, ms", {OURS, "cold-initialize", 1}, {NOBODY, NULL, 0}, true, 1, 1e6},
    {"memory per session key, bytes (goal is for PPKs)",
     {OURS, "memory", 1},
     {NOBODY, NULL, 0},
     true,
     200,
     1},
};

static bool is(const struct subject *s, enum whose whose)
{
    return (whose == OURS && s->ours) || (whose == BARE && s->bare) ||
           (whose == NSS && strstr(s->path, "softokn") != NULL);
}

static double value(const struct results *r, const struct figure *f)
{
    for (size_t s = 0; s < r->n_subjects; s++) {
        const struct result *found =
            is(&r->subjects[s], f->whose) ? results_find(r, f->operation, f->threads, s) : NULL;
        if (found && found->n_passes)
            return result_best(found);
    }
    return 0;
}

void report_goals(const struct results *r)
{
    bool first = true;

    for (size_t i = 0; i < sizeof goals / sizeof *goals; i++) {
        const struct goal *g = &goals[i];
        double over = value(r, &g->over);
        double under = g->under.whose == NOBODY ? g->unit : value(r, &g->under);
        if (over <= 0 || under <= 0)
            continue;
        double is_now = over / under;
        bool met = g->at_most ? is_now <= g->bound : is_now >= g->bound;
        if (first)
            (void)printf("\n%-50s %8s %10s\n", "goal", "", "measured");
        first = false;
        (void)printf("%-50s %s %6.1f %10.2f  %s\n", g->text, g->at_most ? "<=" : ">=", g->bound, is_now,
                     met ? "met" : "MISSED");
    }
}
