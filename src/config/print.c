/* SPDX-License-Identifier: BSD-2-Clause */
#include "config/syntax.h"

#include <string.h>

/* Prints the commands of a level for its object. */
static void level_print(struct config_printer *p, unsigned level, const void *object)
{
    for (size_t i = 0; i < p->language->n_commands; i++) {
        const struct config_command *c = &p->language->commands[i];

        if ((c->levels & CONFIG_IN(level)) == 0 || c->print == NULL)
            continue;
        if (p->depth == 0 && p->only_command != NULL) {
            size_t n = strlen(p->only_command);

            if (strncmp(c->syntax, p->only_command, n) != 0 || c->syntax[n] != ' ')
                continue;
        }
        p->command = c;
        c->print(p, object);
    }
}

void config_print_all(struct config_printer *p, const void *object)
{
    p->depth = 0;
    level_print(p, 0, object);
}

/* Is any value given of the option at token `i`? */
static bool option_wanted(const struct syntax *s, size_t i, const char *const *values, size_t n)
{
    for (size_t j = i + 1; j <= i + s->tokens[i].inside; j++) {
        int value = s->tokens[j].value;

        if (value >= 0 && (size_t)value < n && values[value] != NULL)
            return true;
    }
    return false;
}

void config_print(struct config_printer *p, const char *const *values, size_t n, const void *object)
{
    const struct config_command *command = p->command;
    struct token tokens[SYNTAX_TOKENS_MAX];
    struct syntax s;

    if (!syntax_compile(&s, tokens, command, NULL))
        return;
    if (p->depth == 0 && p->only_name != NULL &&
        (n == 0 || values[0] == NULL || strcmp(values[0], p->only_name) != 0))
        return;
    text_printf(p->out, "%*s", (int)p->depth, "");
    for (size_t i = 0; i < s.n_tokens; i++) {
        const struct token *t = &s.tokens[i];

        if (t->kind == TOKEN_OPTION) {
            if (!option_wanted(&s, i, values, n))
                i += t->inside;
            continue;
        }
        if (p->out->len > 0 && p->out->s[p->out->len - 1] != ' ' && p->out->s[p->out->len - 1] != '\n')
            text_printf(p->out, " ");
        if (t->kind == TOKEN_KEYWORD)
            text_append(p->out, t->name, t->len);
        else if (t->type == ARGUMENT_GROUP && t->value >= 0 && (size_t)t->value < n &&
                 values[t->value] != NULL)
            text_printf(p->out, "%s", values[t->value]); /* may be two words */
        else if (t->value >= 0 && (size_t)t->value < n && values[t->value] != NULL)
            words_print(p->out, values[t->value]);
    }
    text_printf(p->out, "\n");
    if (command->opens != 0) {
        p->depth++;
        level_print(p, command->opens, object);
        p->depth--;
        p->command = command;
        if (p->depth == 0)
            text_printf(p->out, "!\n");
    }
}
