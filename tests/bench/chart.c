/* SPDX-License-Identifier: BSD-2-Clause */
/* Charts in SVG: the time of an operation against the number of objects, threads or peers, both logarithmic,
 * a line per module and operation. */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 760, HEIGHT = 420, LEFT = 90, RIGHT = 210, TOP = 50, BOTTOM = 60, Y_DECADES = 7 };

/* What grows. A line is drawn for each of the operations: those named OPERATION-COUNT, or, if threads grow,
 * OPERATION itself. */
static const struct chart {
    const char *name, *title, *x_text;
    double x_base;
    int x_steps;
    bool threads;
    struct {
        const char *operation, *text;
    } lines[2];
} charts[] = {
    {"objects",
     "Find a key by CKA_ID (C_FindObjectsInit, C_FindObjects, C_FindObjectsFinal)",
     "objects in the token",
     10,
     6,
     false,
     {{"find-hit", ""}}},
    {"threads",
     "Time per operation, over all threads, on a machine of 2 processors",
     "threads",
     2,
     4,
     true,
     {{"derive-sha256-32", ", prf+"}, {"sign-sha256", ", sign"}}},
    {"peers",
     "Peers in the configuration",
     "peers",
     10,
     4,
     false,
     {{"peers-start", ", C_Initialize"}, {"peers-find", ", find by label"}}},
};

static const char *const colours[] = {"#0b6e4f", "#c8553d", "#2e5eaa", "#8f5ba6", "#b8860b",
                                      "#4a4a4a", "#d1495b", "#00798c", "#6a994e", "#bc4749"};

static double x_of(const struct chart *c, double count)
{
    return LEFT + log(count) / log(c->x_base) / c->x_steps * (WIDTH - LEFT - RIGHT);
}

/* The axis begins at 10 ns. */
static double y_of(double ns)
{
    return HEIGHT - BOTTOM - log10(ns < 10 ? 1 : ns / 10) / Y_DECADES * (HEIGHT - TOP - BOTTOM);
}

static void draw_axes(FILE *f, const struct chart *c)
{
    static const char *const times[Y_DECADES + 1] = {"10 ns",  "100 ns", "1 us",  "10 us",
                                                     "100 us", "1 ms",   "10 ms", "100 ms"};

    for (int i = 0; i <= c->x_steps; i++) {
        double count = pow(c->x_base, i), x = x_of(c, count);
        (void)fprintf(f, "<line x1='%.1f' x2='%.1f' y1='%d' y2='%d' stroke='#ddd'/>\n", x, x, TOP,
                      HEIGHT - BOTTOM);
        (void)fprintf(f, "<text x='%.1f' y='%d' text-anchor='middle'>%.0f</text>\n", x, HEIGHT - BOTTOM + 20,
                      count);
    }
    for (int i = 0; i <= Y_DECADES; i++) {
        double ns = pow(10, i + 1);
        (void)fprintf(f, "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' stroke='#ddd'/>\n", LEFT, WIDTH - RIGHT,
                      y_of(ns), y_of(ns));
        (void)fprintf(f, "<text x='%d' y='%.1f' text-anchor='end'>%s</text>\n", LEFT - 8, y_of(ns) + 4,
                      times[i]);
    }
    (void)fprintf(f, "<text x='%d' y='%d' text-anchor='middle'>%s</text>\n", (WIDTH - RIGHT + LEFT) / 2,
                  HEIGHT - 14, c->x_text);
}

/* The count that a result is for, or 0: it is not of this line. */
static double count_of(const struct chart *c, const char *operation, const struct result *at)
{
    size_t len = strlen(operation);

    if (strncmp(at->operation, operation, len) != 0)
        return 0;
    if (c->threads)
        return at->operation[len] == '\0' ? at->threads : 0;
    return at->operation[len] == '-' && at->threads == 1 ? strtod(at->operation + len + 1, NULL) : 0;
}

/* True: there was something to draw. */
static bool draw_line(FILE *f, const struct results *r, const struct chart *c, size_t line, size_t subject,
                      size_t number)
{
    const char *colour = colours[number % (sizeof colours / sizeof *colours)];
    double x = 0, y = 0;
    bool any = false;

    for (size_t i = 0; i < r->n; i++) {
        const struct result *at = &r->all[i];
        double count =
            at->subject == subject && at->n_passes > 0 ? count_of(c, c->lines[line].operation, at) : 0;
        if (count <= 0)
            continue;
        double next_x = x_of(c, count), next_y = y_of(result_best(at));
        if (any)
            (void)fprintf(f, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%s' stroke-width='2'/>\n",
                          x, y, next_x, next_y, colour);
        (void)fprintf(f, "<circle cx='%.1f' cy='%.1f' r='3.5' fill='%s'/>\n", next_x, next_y, colour);
        x = next_x;
        y = next_y;
        any = true;
    }
    if (any)
        (void)fprintf(f, "<text x='%d' y='%d' fill='%s'>%s%s</text>\n", WIDTH - RIGHT + 14,
                      TOP + 14 + 20 * (int)number, colour, r->subjects[subject].name, c->lines[line].text);
    return any;
}

static bool report_chart(const struct results *r, const struct chart *c, const char *prefix)
{
    char path[600];
    size_t number = 0;

    (void)snprintf(path, sizeof path, "%s-%s.svg", prefix, c->name);
    FILE *f = fopen(path, "we");
    if (!f) {
        (void)fprintf(stderr, "ppk-bench: %s: %s\n", path, strerror(errno));
        return false;
    }
    (void)fprintf(f,
                  "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' "
                  "font-size='12'>\n<rect width='100%%' height='100%%' fill='white'/>\n"
                  "<text x='%d' y='28' font-size='15'>%s</text>\n",
                  WIDTH, HEIGHT, LEFT, c->title);
    draw_axes(f, c);
    for (size_t l = 0; l < sizeof c->lines / sizeof *c->lines && c->lines[l].operation; l++)
        for (size_t s = 0; s < r->n_subjects; s++)
            number += draw_line(f, r, c, l, s, number);
    (void)fprintf(f, "</svg>\n");
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
