/* SPDX-License-Identifier: BSD-2-Clause */
/* The goals that the project has set itself, each a ratio of two figures of the same run, or one figure. */
#include "bench.h"

#include <jansson.h>

enum whose { NOBODY, OURS, NSS, BARE, FIGURE };

struct part {
    enum whose whose;
    const char *operation; /* or the figure's name */
    unsigned threads;
};

static const struct goal {
    const char *text;
    struct part over, under; /* over / under; an `under` of NOBODY is `unit_is` */
    struct part minus;       /* (over - minus) / under, unless NOBODY's */
    bool at_most;
    double bound;
    const char *unit;
    double unit_is;
    bool own; /* not one of the project's table, but told beside it */
} goals[] = {
    {"prf+ derive and destroy, SHA-256: NSS's time over ours",
     {NSS, "derive-sha256-32", 1},
     {OURS, "derive-sha256-32", 1},
     .bound = 4},
    {"the same: bare EVP_MAC's time over ours",
     {BARE, "derive-sha256-32", 1},
     {OURS, "derive-sha256-32", 1},
     .bound = 0.7},
    {"the same of a PPK, which leaves no keyed context behind",
     {BARE, "derive-ppk", 1},
     {OURS, "derive-ppk", 1},
     .bound = 0.7,
     .own = true},
    {"the same with 2 threads: NSS's time over ours",
     {NSS, "derive-sha256-32", 2},
     {OURS, "derive-sha256-32", 2},
     .bound = 6},
    {"the same: our 2 threads over our 1",
     {OURS, "derive-sha256-32", 1},
     {OURS, "derive-sha256-32", 2},
     .bound = 1.8},
    {"bare EVP_MAC's 2 threads over its 1, which is the limit",
     {BARE, "derive-sha256-32", 1},
     {BARE, "derive-sha256-32", 2},
     .bound = 1.8,
     .own = true},
    {"HMAC-SHA256 sign: NSS's time over ours",
     {NSS, "sign-sha256", 1},
     {OURS, "sign-sha256", 1},
     .bound = 1.5},
    {"find by CKA_ID among 1,000,000 held PPKs",
     {OURS, "find-ppk-1000000", 1},
     .at_most = true,
     .bound = 1,
     .unit = "us",
     .unit_is = 1e3},
    {"the same over that among 1,000",
     {OURS, "find-ppk-1000000", 1},
     {OURS, "find-ppk-1000", 1},
     .at_most = true,
     .bound = 2},
    {"the same: more than among 1,000, in reads from memory",
     {OURS, "find-ppk-1000000", 1},
     {BARE, "read-memory", 1},
     .minus = {OURS, "find-ppk-1000", 1},
     .at_most = true,
     .bound = 2,
     .own = true},
    {"the same: 2 threads over 1",
     {OURS, "find-ppk-1000000", 1},
     {OURS, "find-ppk-1000000", 2},
     .bound = 1.8},
    {"find by CKA_ID among 1,000,000 session keys",
     {OURS, "find-hit-1000000", 1},
     .at_most = true,
     .bound = 1,
     .unit = "us",
     .unit_is = 1e3,
     .own = true},
    {"the same over that among 1,000",
     {OURS, "find-hit-1000000", 1},
     {OURS, "find-hit-1000", 1},
     .at_most = true,
     .bound = 2,
     .own = true},
    {"the same: 2 threads over 1",
     {OURS, "find-hit-1000000", 1},
     {OURS, "find-hit-1000000", 2},
     .bound = 1.8,
     .own = true},
    {"memory per held PPK",
     {OURS, "memory-ppk", 1},
     .at_most = true,
     .bound = 200,
     .unit = "bytes",
     .unit_is = 1},
    {"cold start of a process: ours over NSS's",
     {OURS, "cold-start", 1},
     {NSS, "cold-start", 1},
     .at_most = true,
     .bound = 1.3},
    {"C_Initialize", {OURS, "cold-initialize", 1}, .at_most = true, .bound = 1, .unit = "ms", .unit_is = 1e6},
    {"libcurl in a process that has not fetched",
     {FIGURE, "cold-libcurl", 0},
     .at_most = true,
     .bound = 0,
     .unit = "times",
     .unit_is = 1},
    {"self-test, with all that it prepares, before the first HMAC",
     {OURS, "cold-sign-warm", 1},
     .at_most = true,
     .bound = 1,
     .unit = "ms",
     .unit_is = 1e6},
    {"fetch by ID, p50, over bare libcurl's",
     {FIGURE, "fetch-id-p50-token", 0},
     {FIGURE, "fetch-id-p50-curl", 0},
     .at_most = true,
     .bound = 1.10},
    {"fetch by ID, p99, over bare libcurl's",
     {FIGURE, "fetch-id-p99-token", 0},
     {FIGURE, "fetch-id-p99-curl", 0},
     .at_most = true,
     .bound = 1.05},
    {"64 searches at once: requests per second over curl-multi's",
     {FIGURE, "parallel-token", 0},
     {FIGURE, "parallel-curl", 0},
     .bound = 0.9},
    {"the same over libcurl's in 64 threads",
     {FIGURE, "parallel-token", 0},
     {FIGURE, "parallel-threads", 0},
     .bound = 0.9,
     .own = true},
    {"fetch from a filled pool, p50",
     {FIGURE, "pool-p50", 0},
     .at_most = true,
     .bound = 5,
     .unit = "us",
     .unit_is = 1},
    {"skipd: new keys, on disk at both ends",
     {FIGURE, "skipd-new", 0},
     .bound = 2000,
     .unit = "/s",
     .unit_is = 1},
    {"skipd: keys by ID", {FIGURE, "skipd-id", 0}, .bound = 5000, .unit = "/s", .unit_is = 1},
    {"the first of two servers refuses: that takes more",
     {FIGURE, "failover-refused", 0},
     .at_most = true,
     .bound = 5,
     .unit = "ms",
     .unit_is = 1,
     .own = true},
    {"the first of two servers hangs, hedge 100 ms: more",
     {FIGURE, "failover-hung", 0},
     .at_most = true,
     .bound = 105,
     .unit = "ms",
     .unit_is = 1,
     .own = true},
};
enum { GOALS = sizeof goals / sizeof *goals };

static bool is(const struct subject *s, enum whose whose)
{
    return (whose == OURS && s->ours) || (whose == BARE && s->bare) ||
           (whose == NSS && strstr(s->path, "softokn") != NULL);
}

/* The best, or the median. False: it was not measured. */
static bool value(const struct results *r, const struct part *p, bool best, double *out)
{
    for (size_t i = 0; i < r->n_figures && p->whose == FIGURE; i++)
        if (strcmp(r->figures[i].name, p->operation) == 0) {
            *out = r->figures[i].value;
            return true;
        }
    for (size_t s = 0; s < r->n_subjects && p->whose != FIGURE; s++) {
        const struct result *found =
            is(&r->subjects[s], p->whose) ? results_find(r, p->operation, p->threads, s) : NULL;
        if (found && found->n_passes) {
            *out = best ? result_best(found) : result_median(found);
            return true;
        }
    }
    return false;
}

static bool measured(const struct results *r, const struct goal *g, bool best, double *out)
{
    double over, under = g->unit_is, minus = 0;

    if (!value(r, &g->over, best, &over) ||
        (g->minus.whose != NOBODY && !value(r, &g->minus, best, &minus)) ||
        (g->under.whose != NOBODY && !value(r, &g->under, best, &under)) || under <= 0)
        return false;
    *out = (over - minus) / under;
    return true;
}

static bool is_met(const struct goal *g, double best)
{
    return g->at_most ? best <= g->bound : best >= g->bound;
}

static void print_number(char *out, size_t size, double x, const char *unit)
{
    (void)snprintf(out, size, x >= 1000 || x == (int)x ? "%.0f%s%s" : "%.2f%s%s", x, unit ? " " : "",
                   unit ? unit : "");
}

void report_goals(const struct results *r)
{
    static const char dashes[] = "--------------------------------------------------------------";
    double best, median;
    char bound[32], one[32], other[32];
    bool any = false, own = false;

    for (size_t i = 0; i < GOALS; i++) {
        const struct goal *g = &goals[i];
        if (!measured(r, g, true, &best) || !measured(r, g, false, &median))
            continue;
        if (!any) {
            (void)printf("\n");
            report_machine(stdout, r);
            (void)printf("\n\n| %-60s | %-12s | %-12s | %-12s | %-6s |\n|%.62s|%.14s|%.14s|%.14s|%.8s|\n",
                         "what", "goal", "best", "median", "", dashes, dashes, dashes, dashes, dashes);
        }
        any = true;
        own = own || g->own;
        print_number(bound, sizeof bound, g->bound, g->unit);
        print_number(one, sizeof one, best, g->unit);
        print_number(other, sizeof other, median, g->unit);
        (void)printf("| %-60s | %s %-9s | %-12s | %-12s | %-6s |\n", g->text, g->at_most ? "<=" : ">=", bound,
                     one, g->over.whose == FIGURE ? "" : other,
                     is_met(g, best) ? (g->own ? "(met)" : "met") : (g->own ? "(no)" : "MISSED"));
    }
    if (own)
        (void)printf("\n(…): not a goal of the project, but told beside them.\n");
}

struct json_t *goals_json(const struct results *r)
{
    json_t *rows = json_array();
    double best, median;

    for (size_t i = 0; i < GOALS; i++) {
        const struct goal *g = &goals[i];
        if (!measured(r, g, true, &best) || !measured(r, g, false, &median))
            continue;
        (void)json_array_append_new(
            rows, json_pack("{s:s, s:s, s:f, s:s, s:f, s:f, s:b, s:b}", "text", g->text, "relation",
                            g->at_most ? "<=" : ">=", "bound", g->bound, "unit", g->unit ? g->unit : "",
                            "best", best, "median", median, "met", is_met(g, best), "goal", !g->own));
    }
    return rows;
}
