/* SPDX-License-Identifier: BSD-2-Clause */
/* What `ppkctl test` shows: steps with ticks on a terminal, words in ASCII elsewhere. */
#ifndef PPK_PPKCTL_SCREEN_H
#define PPK_PPKCTL_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct screen {
    bool quiet;      /* only what failed, on stderr */
    bool terminal;   /* stdout is one that shows UTF-8: ticks */
    bool colour;     /* and NO_COLOR is not set */
    bool waiting;    /* a line of progress is on the terminal */
    char title[256]; /* of the present group of steps */
};

void screen_begin(struct screen *s, bool quiet);

/* Begins a group of steps. */
__attribute__((format(printf, 2, 3))) void screen_title(struct screen *s, const char *format, ...);

/* A step that is good; one that is neither good nor bad; one that was left out because one before it failed.
 * What came from outside may be in the text: control characters are not shown as such. */
__attribute__((format(printf, 3, 4))) void screen_good(struct screen *s, const char *step, const char *format,
                                                       ...);
__attribute__((format(printf, 3, 4))) void screen_note(struct screen *s, const char *step, const char *format,
                                                       ...);
void screen_skip(struct screen *s, const char *const *steps, size_t n);

/* A step that failed: why, and what to do about it. Both may have several lines. */
void screen_bad(struct screen *s, const char *step, const char *cause, const char *advice);

/* A sentence at the end. */
__attribute__((format(printf, 2, 3))) void screen_say(struct screen *s, const char *format, ...);

/* Something has been under way since `ms`: from a second on, a terminal shows it. */
void screen_wait(struct screen *s, const char *what, uint64_t ms);

#endif
