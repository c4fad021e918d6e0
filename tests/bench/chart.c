/* SPDX-License-Identifier: BSD-2-Clause */
/* Charts in SVG: the time of an operation against the number of objects, threads or peers, both logarithmic,
 * a line per module and operation. A module has one colour; a second operation is dashed. */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

enum { WIDTH = 820, HEIGHT = 460, LEFT = 80, RIGHT = 250, TOP = 56, BOTTOM = 84, LINES = 2 };

/* What grows. A line is drawn for each of the operations: those named OPERATION-COUNT, or, if threads grow,
 * OPERATION itself. */
static const struct chart {
    const char *name, *title, *x_text;
    double x_base;
    int x_steps;
    bool threads;
    struct {
        const char *operation, *text;
    } lines[LINES];
} charts[] = {
    {"objects",
     "Find by CKA_ID (init, find, final) as objects grow",
     "objects in the token",
     10,
     6,
     false,
     {{"find-hit", ", session keys"}, {"find-ppk", ", held PPKs"}}},
    {"threads",
     "Time per operation over all threads, as threads grow",
     "threads",
     2,
     4,
     true,
     {{"derive-sha256-32", ", prf+"}, {"find-hit-10000", ", find of 10,000"}}},
    {"peers",
     "Start and search as configured peers grow",
     "peers with a PPK each",
     10,
     4,
     false,
     {{"peers-start", ", C_Initialize"}, {"peers-find", ", find by label"}}},
};

/* Of the modules, on light and on dark pages. */
static const struct {
    const char *light, *dark;
} colours[] = {{"#0b6e4f", "#62d39a"}, {"#c8553d", "#f08a72"}, {"#2e5eaa", "#6aaef5"},
               {"#8f5ba6", "#c79be0"}, {"#8a5a00", "#f1bf52"}, {"#4a4a4a", "#b8c0ca"}};
enum { COLOURS = sizeof colours / sizeof *colours };

/* Decades of the vertical axis, as powers of ten of nanoseconds. */
struct scale {
    int from, to;
};

static double x_of(const struct chart *c, double count)
{
    return LEFT + log(count) / log(c->x_base) / c->x_steps * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct scale *s, double ns)
{
    return HEIGHT - BOTTOM - (log10(ns) - s->from) / (s->to - s->from) * (HEIGHT - TOP - BOTTOM);
}

static double y_min(const struct scale *s)
{
    return pow(10, s->from);
}

/* The count that a result is for, or 0: it is not of this line. */
static double count_of(const struct chart *c, const char *operation, const struct result *at)
{
    size_t len = strlen(operation);

    if (at->n_passes == 0 || strncmp(at->operation, operation, len) != 0)
        return 0;
    if (c->threads)
        return at->operation[len] == '\0' ? at->threads : 0;
    return at->operation[len] == '-' && at->threads == 1 ? strtod(at->operation + len + 1, NULL) : 0;
}

static struct scale scale_of(const struct results *r, const struct chart *c)
{
    double least = INFINITY, most = 0;

    for (size_t i = 0; i < r->n; i++)
        for (int l = 0; l < LINES && c->lines[l].operation; l++)
            if (count_of(c, c->lines[l].operation, &r->all[i]) > 0) {
                least = fmin(least, result_best(&r->all[i]));
                most = fmax(most, result_best(&r->all[i]));
            }
    if (most <= 0)
        return (struct scale){0, 1};
    struct scale s = {(int)floor(log10(least)), (int)ceil(log10(most))};
    s.to += s.to == s.from;
    return s;
}

static void draw_axes(FILE *f, const struct chart *c, const struct scale *s)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};

    for (int i = 0; i <= c->x_steps; i++) {
        double count = pow(c->x_base, i), x = x_of(c, count);
        (void)fprintf(f, "<line x1='%.1f' x2='%.1f' y1='%d' y2='%d' class='grid'/>\n", x, x, TOP,
                      HEIGHT - BOTTOM);
        (void)fprintf(f, "<text x='%.1f' y='%d' text-anchor='middle'>%.0f</text>\n", x, HEIGHT - BOTTOM + 20,
                      count);
    }
    for (int i = s->from; i <= s->to; i++) {
        double y = y_of(s, pow(10, i));
        (void)fprintf(f, "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' class='grid'/>\n", LEFT, WIDTH - RIGHT, y,
                      y);
        (void)fprintf(f, "<text x='%d' y='%.1f' text-anchor='end'>%.0f %s</text>\n", LEFT - 8, y + 4,
                      pow(10, i % 3), units[i / 3 < 3 ? i / 3 : 3]);
    }
    (void)fprintf(f, "<text x='%d' y='%d' text-anchor='middle'>%s</text>\n", (WIDTH - RIGHT + LEFT) / 2,
                  HEIGHT - BOTTOM + 42, c->x_text);
}

/* True: there was something to draw. */
static bool draw_line(FILE *f, const struct results *r, const struct chart *c, const struct scale *s,
                      size_t line, size_t subject, size_t number)
{
    const unsigned colour = (unsigned)(subject % COLOURS);
    const char *dashes = line > 0 ? " stroke-dasharray='6 4'" : "";
    const int x_legend = WIDTH - RIGHT + 20, y_legend = TOP + 14 + 22 * (int)number;
    double x = 0, y = 0;
    bool any = false;

    for (size_t i = 0; i < r->n; i++) {
        const struct result *at = &r->all[i];
        double count = at->subject == subject ? count_of(c, c->lines[line].operation, at) : 0;
        if (count <= 0)
            continue;
        double next_x = x_of(c, count), next_y = y_of(s, fmax(result_best(at), y_min(s)));
        if (any)
            (void)fprintf(f, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' class='c%u'%s/>\n", x, y, next_x,
                          next_y, colour, dashes);
        (void)fprintf(f, "<circle cx='%.1f' cy='%.1f' r='3.5' class='c%u'/>\n", next_x, next_y, colour);
        x = next_x;
        y = next_y;
        any = true;
    }
    if (any)
        (void)fprintf(f,
                      "<line x1='%d' y1='%d' x2='%d' y2='%d' class='c%u'%s/>\n"
                      "<text x='%d' y='%d' class='c%u'>%s%s</text>\n",
                      x_legend, y_legend - 4, x_legend + 26, y_legend - 4, colour, dashes, x_legend + 32,
                      y_legend, colour, r->subjects[subject].name, c->lines[line].text);
    return any;
}

static void draw_colours(FILE *f, bool dark)
{
    (void)fprintf(f, " text { fill: %s } .small { fill: %s } .page { fill: %s } .grid { stroke: %s }\n",
                  dark ? "#e6eaf0" : "#1b2430", dark ? "#9aa7b6" : "#5a6675", dark ? "#0d1117" : "#ffffff",
                  dark ? "#2b333e" : "#d6dce3");
    for (int i = 0; i < COLOURS; i++) {
        const char *colour = dark ? colours[i].dark : colours[i].light;
        (void)fprintf(f, " line.c%d { stroke: %s; stroke-width: 2 } text.c%d, circle.c%d { fill: %s }\n", i,
                      colour, i, i, colour);
    }
}

static void draw_head(FILE *f, const struct chart *c)
{
    (void)fprintf(
        f,
        "<!-- SPDX-License-Identifier: BSD-2-Clause -->\n"
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' role='img' aria-labelledby='t d'>\n"
        "<title id='t'>%s</title>\n<desc id='d'>Both axes are logarithmic; made by "
        "ppk-bench</desc>\n<style>\n"
        " text { font: 12px system-ui, 'DejaVu Sans', sans-serif } .head { font-size: 15px }"
        " .small { font-size: 11px }\n",
        WIDTH, HEIGHT, c->title);
    draw_colours(f, false);
    (void)fprintf(f, " @media (prefers-color-scheme: dark) {\n");
    draw_colours(f, true);
    (void)fprintf(f,
                  " }\n</style>\n<rect width='%d' height='%d' class='page'/>\n<text x='%d' y='30' "
                  "class='head'>%s</text>\n",
                  WIDTH, HEIGHT, LEFT, c->title);
}

static bool report_chart(const struct results *r, const struct chart *c, const char *prefix)
{
    const struct scale scale = scale_of(r, c);
    char path[600];
    size_t number = 0;

    (void)snprintf(path, sizeof path, "%s-%s.svg", prefix, c->name);
    FILE *f = fopen(path, "we");
    if (!f) {
        (void)fprintf(stderr, "ppk-bench: %s: %s\n", path, strerror(errno));
        return false;
    }
    draw_head(f, c);
    draw_axes(f, c, &scale);
    for (size_t l = 0; l < LINES && c->lines[l].operation; l++)
        for (size_t s = 0; s < r->n_subjects; s++)
            number += draw_line(f, r, c, &scale, l, s, number);
    (void)fprintf(f, "<text x='%d' y='%d' class='small'>", LEFT, HEIGHT - 14);
    report_machine(f, r);
    (void)fprintf(f, "</text>\n</svg>\n");
    bool ok = ferror(f) == 0;
    return fclose(f) == 0 && ok;
}

bool report_charts(const struct results *r, const char *prefix)
{
    bool good = true;

    for (size_t i = 0; i < sizeof charts / sizeof *charts; i++)
        good = report_chart(r, &charts[i], prefix) && good;
    return good;
}
