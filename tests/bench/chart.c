/* SPDX-License-Identifier: BSD-2-Clause */
/* A chart in SVG: the time of a search against the number of objects, both logarithmic, a line per module. */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WIDTH = 760,
    HEIGHT = 460,
    LEFT = 90,
    RIGHT = 170,
    TOP = 50,
    BOTTOM = 60,
    X_DECADES = 6,
    Y_DECADES = 7
};

static const char *const colours[SUBJECTS_MAX] = {"#0b6e4f", "#c8553d", "#2e5eaa", "#8f5ba6",
                                                  "#b8860b", "#4a4a4a", "#d1495b", "#00798c"};
static const char operation[] = "find-hit-";

static double x_of(double objects)
{
    return LEFT + log10(objects) / X_DECADES * (WIDTH - LEFT - RIGHT);
}

/* The axis begins at 10 ns. */
static double y_of(double ns)
{
    return HEIGHT - BOTTOM - log10(ns < 10 ? 1 : ns / 10) / Y_DECADES * (HEIGHT - TOP - BOTTOM);
}

static void draw_axes(FILE *f)
{
    static const char *const times[Y_DECADES + 1] = {"10 ns",  "100 ns", "1 us",  "10 us",
                                                     "100 us", "1 ms",   "10 ms", "100 ms"};

    for (int i = 0; i <= X_DECADES; i++) {
        double count = pow(10, i);
        (void)fprintf(f, "<line x1='%.1f' x2='%.1f' y1='%d' y2='%d' stroke='#ddd'/>\n", x_of(count),
                      x_of(count), TOP, HEIGHT - BOTTOM);
        (void)fprintf(f, "<text x='%.1f' y='%d' text-anchor='middle'>%.0f</text>\n", x_of(count),
                      HEIGHT - BOTTOM + 20, count);
    }
    for (int i = 0; i <= Y_DECADES; i++) {
        double ns = pow(10, i + 1);
        (void)fprintf(f, "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' stroke='#ddd'/>\n", LEFT, WIDTH - RIGHT,
                      y_of(ns), y_of(ns));
        (void)fprintf(f, "<text x='%d' y='%.1f' text-anchor='end'>%s</text>\n", LEFT - 8, y_of(ns) + 4,
                      times[i]);
    }
    (void)fprintf(f, "<text x='%d' y='%d' text-anchor='middle'>objects in the token</text>\n",
                  (WIDTH - RIGHT + LEFT) / 2, HEIGHT - 14);
}

static void draw_subject(FILE *f, const struct results *r, size_t subject, int line)
{
    double x = 0, y = 0;
    bool any = false;

    for (size_t i = 0; i < r->n; i++) {
        const struct result *at = &r->all[i];
        if (at->subject != subject || at->threads != 1 || at->n_passes == 0 ||
            strncmp(at->operation, operation, sizeof operation - 1) != 0)
            continue;
        double next_x = x_of(strtod(at->operation + sizeof operation - 1, NULL)),
               next_y = y_of(result_best(at));
        if (any)
            (void)fprintf(f, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%s' stroke-width='2'/>\n",
                          x, y, next_x, next_y, colours[subject]);
        (void)fprintf(f, "<circle cx='%.1f' cy='%.1f' r='3.5' fill='%s'/>\n", next_x, next_y,
                      colours[subject]);
        x = next_x;
        y = next_y;
        any = true;
    }
    if (any)
        (void)fprintf(f, "<text x='%d' y='%d' fill='%s'>%s</text>\n", WIDTH - RIGHT + 14,
                      TOP + 14 + 20 * line, colours[subject], r->subjects[subject].name);
}

bool report_chart(const struct results *r, const char *path)
{
    FILE *f = fopen(path, "we");

    if (!f) {
        (void)fprintf(stderr, "ppk-bench: %s: %s\n", path, strerror(errno));
        return false;
    }
    (void)fprintf(
        f,
        "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' "
        "font-size='12'>\n<rect width='100%%' height='100%%' fill='white'/>\n"
        "<text x='%d' y='28' font-size='15'>Find a key by CKA_ID (C_FindObjectsInit, C_FindObjects, "
        "C_FindObjectsFinal)</text>\n",
        WIDTH, HEIGHT, LEFT);
    draw_axes(f);
    for (size_t s = 0; s < r->n_subjects; s++)
        draw_subject(f, r, s, (int)s);
    (void)fprintf(f, "</svg>\n");
    bool ok = ferror(f) == 0;
    return fclose(f) == 0 && ok;
}
