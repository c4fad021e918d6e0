/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppkctl/screen.h"

#include "base/bytes.h"

#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024
#define WAIT_SHOWN_MS  1000u
#define STEP_WIDTH     14 /* of the longest step's name, and a blank */

enum sign { SIGN_GOOD, SIGN_NOTE, SIGN_SKIP, SIGN_BAD };
static const struct {
    const char *tick, *word, *colour;
} signs[] = {
    [SIGN_GOOD] = {"✔", "ok  ", "\033[32m"},
    [SIGN_NOTE] = {"•", "note", "\033[33m"},
    [SIGN_SKIP] = {"-", "skip", "\033[2m"},
    [SIGN_BAD] = {"✘", "FAIL", "\033[1;31m"},
};

void screen_begin(struct screen *s, bool quiet)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    bool on_terminal = isatty(STDOUT_FILENO) == 1 && terminal != NULL && strcmp(terminal, "dumb") != 0;

    memset(s, 0, sizeof *s);
    (void)setlocale(LC_CTYPE, "");
    s->quiet = quiet;
    s->terminal = on_terminal && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    s->colour = on_terminal && (no_colour == NULL || no_colour[0] == '\0');
}

static void wait_end(struct screen *s)
{
    if (s->waiting)
        (void)fputs("\r\033[K", stderr);
    s->waiting = false;
}

/* Each line of a text as something that a terminal can show, behind its indentation. */
static void lines_put(FILE *to, const char *text, const char *first, const char *more)
{
    const char *before = first;

    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        char shown[LINE_MAX_BYTES];

        (void)text_printable(shown, sizeof shown, text, len);
        (void)fprintf(to, "%s%s\n", before, shown);
        before = more;
        text += len + (text[len] == '\n');
    }
}

static void step_put(const struct screen *s, enum sign sign, const char *step, const char *text)
{
    char before[128], more[64];

    (void)snprintf(before, sizeof before, " %s%s%s %-*s", s->colour ? signs[sign].colour : "",
                   s->terminal ? signs[sign].tick : signs[sign].word, s->colour ? "\033[0m" : "", STEP_WIDTH,
                   step);
    (void)snprintf(more, sizeof more, "%*s", STEP_WIDTH + (s->terminal ? 3 : 6), "");
    lines_put(stdout, text, before, more);
}

static void text_put(struct screen *s, enum sign sign, const char *step, const char *format, va_list args)
{
    char text[LINE_MAX_BYTES];

    wait_end(s);
    if (s->quiet)
        return;
    (void)vsnprintf(text, sizeof text, format, args);
    step_put(s, sign, step, text);
    (void)fflush(stdout);
}

void screen_title(struct screen *s, const char *format, ...)
{
    char text[sizeof s->title];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)text_printable(s->title, sizeof s->title, text, strlen(text));
    wait_end(s);
    if (!s->quiet)
        (void)printf("%s%s%s\n", s->colour ? "\033[1m" : "", s->title, s->colour ? "\033[0m" : "");
}

void screen_good(struct screen *s, const char *step, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    text_put(s, SIGN_GOOD, step, format, args);
    va_end(args);
}

void screen_note(struct screen *s, const char *step, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    text_put(s, SIGN_NOTE, step, format, args);
    va_end(args);
}

void screen_skip(struct screen *s, const char *const *steps, size_t n)
{
    wait_end(s);
    for (size_t i = 0; !s->quiet && i < n; i++)
        step_put(s, SIGN_SKIP, steps[i], "not tried");
}

void screen_bad(struct screen *s, const char *step, const char *cause, const char *advice)
{
    char before[sizeof s->title + 64];

    wait_end(s);
    if (s->quiet) {
        (void)snprintf(before, sizeof before, "ppkctl: %s: %s: ", s->title, step);
        lines_put(stderr, cause, before, before);
        lines_put(stderr, advice, "  -> ", "     ");
        return;
    }
    step_put(s, SIGN_BAD, step, cause);
    (void)snprintf(before, sizeof before, "%*s-> ", STEP_WIDTH + (s->terminal ? 3 : 6), "");
    lines_put(stdout, advice, before, before);
    (void)fflush(stdout);
}

void screen_say(struct screen *s, const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    va_list args;

    wait_end(s);
    if (s->quiet)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    lines_put(stdout, text, "", "");
}

void screen_wait(struct screen *s, const char *what, uint64_t ms)
{
    char shown[LINE_MAX_BYTES];

    if (ms < WAIT_SHOWN_MS || s->quiet || isatty(STDERR_FILENO) != 1)
        return;
    (void)text_printable(shown, sizeof shown, what, strlen(what));
    (void)fprintf(stderr, "\r   ... %s (%llu s)", shown, (unsigned long long)(ms / 1000));
    (void)fflush(stderr);
    s->waiting = true;
}
