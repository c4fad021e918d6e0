/* SPDX-License-Identifier: BSD-2-Clause */
/* The state of the parser. Private to src/config: config.c reads lines and applies commands, find.c finds out
 * which command a line is. */
#ifndef PPK_CONFIG_PARSER_H
#define PPK_CONFIG_PARSER_H

#include "config/syntax.h"

#include <limits.h>

enum built_in { BUILT_IN_EXIT, BUILT_IN_END, BUILT_IN_CONFIGURE, BUILT_IN_COMMIT, BUILT_INS };

#define SYNTAXES_MAX (CONFIG_COMMANDS_MAX + BUILT_INS)

/* A level that is open. */
struct open_level {
    unsigned level;
    bool mute; /* the command that opened it was wrong: check what is in it, apply nothing */
    unsigned seen[SYNTAXES_MAX]; /* line of the last use of each command in it, or 0 */
};

struct parser {
    const struct config_language *language;
    struct config_errors *errors;
    struct config_call call;
    struct syntax syntaxes[SYNTAXES_MAX];
    size_t n_syntaxes; /* the language's, then the built-in ones */
    struct open_level stack[CONFIG_LEVELS_MAX];
    unsigned depth;
    char *line; /* of room + 1 bytes, in secret memory: it holds secrets in clear */
    size_t len, room;
    bool too_long;
    unsigned secret_line; /* the first with a clear secret, or 0 */
    char directory[PATH_MAX];
    size_t n_tokens;
    struct token tokens[SYNTAXES_MAX * SYNTAX_TOKENS_MAX]; /* last: what is not used is never touched */
};

/* Is the command one of this level? */
bool parser_in_level(const struct syntax *s, unsigned level);

/* Finds the command of the line, and the depth of the open level that it belongs to. NULL with the reason in
 * `fault`. */
const struct syntax *parser_command_find(const struct parser *p, const struct words *w, unsigned *depth,
                                         struct fault *fault);

#endif
