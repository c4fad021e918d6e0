/* SPDX-License-Identifier: BSD-2-Clause */
/* A line of the configuration language as words. Private to src/config, but for
 * words_print(). */
#ifndef PPK_CONFIG_WORDS_H
#define PPK_CONFIG_WORDS_H

#include "config/config.h"

struct word {
    char *text; /* terminated; in the line's own memory */
    size_t len;
    bool quoted; /* never a keyword */
};

struct words {
    struct word list[CONFIG_WORDS_MAX];
    size_t n;
    bool comment; /* the line ends with a comment */
};

/* Splits a terminated line of `len` bytes in place. False with the reason in `fault`: control characters, not
 * UTF-8, quotes that do not close, too many words. A router's prompt in front is skipped. */
bool words_split(struct words *w, char *line, size_t len, struct fault *fault);

/* Appends a value as a word: in quotes where it needs them. */
void words_print(struct text *out, const char *value);

#endif
