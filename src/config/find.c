/* SPDX-License-Identifier: BSD-2-Clause */
/* Which command is it: levels, shortened keywords, and what to say if it is none. */
#include "config/parser.h"

#include <string.h>

bool parser_in_level(const struct syntax *s, unsigned level)
{
    return (s->command->levels & CONFIG_IN(level)) != 0;
}

/* Does keyword `i` of the head fit the word: in full, or else shortened? */
static bool keyword_fits(const struct syntax *s, size_t i, const struct word *word, bool in_full)
{
    if (i >= s->head || !token_abbreviated(&s->tokens[i], word))
        return false;
    return !in_full || s->tokens[i].len == word->len;
}

/* Counts the different keywords that the marked commands have as keyword `i`, and appends them to `out`, if
 * it is not NULL. */
static size_t keywords_list(const struct parser *p, const bool *marked, size_t i, struct text *out)
{
    size_t n = 0;

    for (size_t c = 0; c < p->n_syntaxes; c++) {
        const struct token *t = &p->syntaxes[c].tokens[i];
        bool known = !marked[c] || i >= p->syntaxes[c].head;

        for (size_t before = 0; !known && before < c; before++)
            known = marked[before] && i < p->syntaxes[before].head &&
                    token_is(&p->syntaxes[before].tokens[i], t->name, t->len);
        if (known)
            continue;
        if (out != NULL)
            text_printf(out, "%s%.*s", n > 0 ? ", " : "", (int)t->len, t->name);
        n++;
    }
    return n;
}

static const char *level_title(const struct parser *p, unsigned level)
{
    return level == 0 ? "the top level" : p->language->levels[level].title;
}

/* Says why the first word begins no command here. It does not quote the word: who knows whether it is a
 * secret. */
static void unknown_set(const struct parser *p, const struct word *word, struct fault *fault)
{
    unsigned level = p->stack[p->depth].level;
    bool here[SYNTAXES_MAX] = {false};
    struct text list = {0};

    for (size_t c = 0; c < p->n_syntaxes; c++) {
        const struct syntax *s = &p->syntaxes[c];

        for (unsigned l = 1; l < p->language->n_levels; l++) {
            if (parser_in_level(s, l) && keyword_fits(s, 0, word, true)) {
                fault_set(fault, "'%s' belongs in a \"%s\", and this is %s%s%s", word->text,
                          level_title(p, l), level == 0 ? "" : "a \"", level_title(p, level),
                          level == 0 ? "" : "\"");
                return;
            }
        }
        here[c] = parser_in_level(s, level) && c < p->language->n_commands;
    }
    (void)keywords_list(p, here, 0, &list);
    if (word->text[0] == '#')
        fault_set(fault, "unknown command (comments begin with !)");
    else
        fault_set(fault, "unknown command; in %s there are: %s", level_title(p, level),
                  list.s != NULL ? list.s : "none");
    text_free(&list);
}

/* The depth of the level that the first word is a command of: keywords in full go before shortened ones,
 * inner levels before outer ones. False: of none. */
static bool depth_find(const struct parser *p, const struct word *word, unsigned *depth)
{
    for (int in_full = 1; in_full >= 0; in_full--) {
        for (unsigned d = p->depth + 1; d-- > 0;) {
            for (size_t c = 0; c < p->n_syntaxes; c++) {
                if (parser_in_level(&p->syntaxes[c], p->stack[d].level) &&
                    keyword_fits(&p->syntaxes[c], 0, word, in_full != 0)) {
                    *depth = d;
                    return true;
                }
            }
        }
    }
    return false;
}

/* Keeps of the marked commands those whose keyword `i` fits; returns how many different keywords these have.
 */
static size_t candidates_narrow(const struct parser *p, bool *marked, size_t i, const struct word *word,
                                bool in_full)
{
    bool fit[SYNTAXES_MAX] = {false};
    size_t n = 0;

    for (size_t c = 0; c < p->n_syntaxes; c++) {
        fit[c] = marked[c] && keyword_fits(&p->syntaxes[c], i, word, in_full);
        n += fit[c];
    }
    if (n > 0)
        memcpy(marked, fit, sizeof fit);
    return n == 0 ? 0 : keywords_list(p, fit, i, NULL);
}

/* The marked command whose head is just the first `i` keywords, or NULL. */
static const struct syntax *candidate_complete(const struct parser *p, const bool *marked, size_t i)
{
    for (size_t c = 0; c < p->n_syntaxes; c++) {
        if (marked[c] && p->syntaxes[c].head == i)
            return &p->syntaxes[c];
    }
    return NULL;
}

/* Finds the command of the line, and the depth of the level that it belongs to. NULL with the reason in
 * `fault`. */
const struct syntax *parser_command_find(const struct parser *p, const struct words *w, unsigned *depth,
                                         struct fault *fault)
{
    const struct syntax *found = NULL;
    bool marked[SYNTAXES_MAX];
    struct text list = {0};

    if (!depth_find(p, &w->list[0], depth)) {
        unknown_set(p, &w->list[0], fault);
        return NULL;
    }
    for (size_t c = 0; c < p->n_syntaxes; c++)
        marked[c] = parser_in_level(&p->syntaxes[c], p->stack[*depth].level);
    for (size_t i = 0;; i++) {
        size_t different = 0;

        found = i > 0 ? candidate_complete(p, marked, i) : NULL;
        if (i < w->n) {
            different = candidates_narrow(p, marked, i, &w->list[i], true);
            if (different == 0 && found == NULL)
                different = candidates_narrow(p, marked, i, &w->list[i], false);
        }
        if (different == 1)
            continue;
        if (different > 1) {
            (void)keywords_list(p, marked, i, &list);
            fault_set(fault, "word %zu is ambiguous: %s", i + 1, list.s != NULL ? list.s : "");
            found = NULL;
        } else if (found == NULL) {
            (void)keywords_list(p, marked, i, &list);
            fault_set(fault, "word %zu has to be one of: %s", i + 1, list.s != NULL ? list.s : "");
        }
        break;
    }
    text_free(&list);
    return found;
}
