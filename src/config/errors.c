/* SPDX-License-Identifier: BSD-2-Clause */
#include "config/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config_mistake {
    unsigned line;
    size_t order;
    struct fault what;
};

void config_error(struct config_errors *e, unsigned line, const char *format, ...)
{
    char text[sizeof e->list->what.text];
    struct config_mistake *m;
    va_list args;

    e->count++;
    if (e->kept == CONFIG_ERRORS_MAX)
        return;
    if (e->kept == e->room) {
        size_t room = e->room == 0 ? 8 : 2 * e->room;

        m = realloc(e->list, room * sizeof *m);
        if (m == NULL)
            return;
        e->list = m;
        e->room = room;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    m = &e->list[e->kept];
    m->line = line;
    m->order = e->kept++;
    fault_set(&m->what, "%s", text);
}

static int mistake_compare(const void *a, const void *b)
{
    const struct config_mistake *x = a, *y = b;

    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

void config_errors_print(const struct config_errors *e, const char *name, struct text *out)
{
    if (e->kept > 1)
        qsort(e->list, e->kept, sizeof *e->list, mistake_compare);
    for (size_t i = 0; i < e->kept; i++) {
        const struct config_mistake *m = &e->list[i];

        if (m->line > 0)
            text_printf(out, "%s:%u: %s\n", name, m->line, m->what.text);
        else
            text_printf(out, "%s: %s\n", name, m->what.text);
    }
    if (e->count > e->kept && e->kept < CONFIG_ERRORS_MAX)
        text_printf(out, "%s: and %zu more, no memory left to tell them\n", name, e->count - e->kept);
    else if (e->count > e->kept)
        text_printf(out, "%s: and %zu more\n", name, e->count - e->kept);
}

void config_errors_free(struct config_errors *e)
{
    free(e->list);
    *e = (struct config_errors){0};
}
