/* SPDX-License-Identifier: BSD-2-Clause */
/* The syntax of a command, as config.h describes it: compiled from its text, matched against words, printed.
 * Private to src/config. */
#ifndef PPK_CONFIG_SYNTAX_H
#define PPK_CONFIG_SYNTAX_H

#include "config/words.h"

#define SYNTAX_TOKENS_MAX 24

enum token_kind { TOKEN_KEYWORD, TOKEN_ARGUMENT, TOKEN_CHOICE, TOKEN_OPTION };
enum argument_type {
    ARGUMENT_WORD,
    ARGUMENT_NUMBER,
    ARGUMENT_SECRET,
    ARGUMENT_FILE,
    ARGUMENT_IPV4,
    ARGUMENT_IPV6,
    ARGUMENT_HOST,
    ARGUMENT_GROUP
};

struct token {
    enum token_kind kind;
    enum argument_type type;
    const char *name; /* keyword, argument's name, "a|b"; in the syntax' text, not terminated */
    size_t len;
    uint64_t min, max; /* of the number, or of the word's bytes */
    size_t inside;     /* an option: how many of the following tokens it is made of */
    int value;         /* index in config_call's values, or -1 */
};

struct syntax {
    const struct config_command *command;
    struct token *tokens;
    size_t n_tokens;
    size_t head; /* keywords that begin it */
    size_t n_values;
    bool secret; /* has a secret argument: then no word of a line is ever quoted in an error */
};

/* Into `tokens`, where there is room for SYNTAX_TOKENS_MAX of them. False with the reason in `fault`: the
 * table is wrong. */
bool syntax_compile(struct syntax *s, struct token *tokens, const struct config_command *command,
                    struct fault *fault);

/* Matches the words behind the head's against the rest of the syntax. False with the reason in `fault`. */
bool syntax_match(const struct syntax *s, const struct words *w, struct config_value *values, bool *present,
                  struct fault *fault);

/* Appends it as people read it: "ppk dynamic PROFILE [required]". */
void syntax_print(const struct syntax *s, struct text *out);

/* Is the text of the token this one? */
bool token_is(const struct token *t, const char *text, size_t len);

/* Is `word` a beginning of the keyword (at least one character, not quoted)? */
bool token_abbreviated(const struct token *t, const struct word *word);

/* The i-th of a choice's keywords. False: there are less. */
bool choice_nth(const struct token *t, unsigned i, const char **name, size_t *len);

#endif
