/* SPDX-License-Identifier: BSD-2-Clause */
#include "config/syntax.h"

#include <stdlib.h>
#include <string.h>

bool token_is(const struct token *t, const char *text, size_t len)
{
    return t->len == len && memcmp(t->name, text, len) == 0;
}

bool token_abbreviated(const struct token *t, const struct word *word)
{
    return !word->quoted && word->len > 0 && word->len <= t->len &&
           memcmp(t->name, word->text, word->len) == 0;
}

bool choice_nth(const struct token *t, unsigned i, const char **name, size_t *len)
{
    const char *end = t->name + t->len;

    *name = t->name;
    for (; i > 0; i--) {
        const char *bar = memchr(*name, '|', (size_t)(end - *name));

        if (bar == NULL)
            return false;
        *name = bar + 1;
    }
    *len = (size_t)(end - *name);
    const char *bar = memchr(*name, '|', *len);
    if (bar != NULL)
        *len = (size_t)(bar - *name);
    return true;
}

/* ---- compiling ---- */

/* The type behind the colon of "<NAME:type>". */
static bool type_compile(struct token *t, const char *type, size_t len)
{
    static const struct {
        const char *name;
        enum argument_type type;
    } types[] = {
        {"secret", ARGUMENT_SECRET}, {"file", ARGUMENT_FILE}, {"ipv4", ARGUMENT_IPV4},
        {"ipv6", ARGUMENT_IPV6},     {"host", ARGUMENT_HOST}, {"group", ARGUMENT_GROUP},
    };
    char *end;

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strlen(types[i].name) == len && memcmp(types[i].name, type, len) == 0) {
            t->type = types[i].type;
            return true;
        }
    }
    t->max = strtoull(type, &end, 10);
    if (end == type)
        return false;
    t->min = 1;
    if (*end == '-') {
        t->type = ARGUMENT_NUMBER;
        t->min = t->max;
        t->max = strtoull(end + 1, &end, 10);
    }
    return end == type + len && t->max >= t->min;
}

/* Adds a token, giving it a place among the values if it is to have one. */
static struct token *token_add(struct syntax *s, enum token_kind kind, const char *name, size_t len,
                               bool value)
{
    struct token *t;

    if (s->n_tokens == SYNTAX_TOKENS_MAX || len == 0 || (value && s->n_values == CONFIG_VALUES_MAX))
        return NULL;
    t = &s->tokens[s->n_tokens++];
    *t = (struct token){
        .kind = kind, .name = name, .len = len, .max = UINT64_MAX, .value = value ? (int)s->n_values++ : -1};
    return t;
}

static bool argument_compile(struct syntax *s, const char *text, size_t len)
{
    const char *colon = memchr(text, ':', len);
    struct token *t = token_add(s, TOKEN_ARGUMENT, text, colon != NULL ? (size_t)(colon - text) : len, true);

    if (t == NULL || (colon != NULL && !type_compile(t, colon + 1, len - t->len - 1)))
        return false;
    if (t->type == ARGUMENT_SECRET)
        s->secret = true;
    return true;
}

/* Compiles the text up to `end`; `option`: the inside of brackets. */
static bool sequence_compile(struct syntax *s, const char *text, const char *end, bool option)
{
    while (text < end) {
        size_t n = strspn(text, " ");

        text += n;
        if (text >= end)
            break;
        if (*text == '<' || *text == '{' || *text == '[') {
            const char *close = memchr(text,
                                       *text == '<'   ? '>'
                                       : *text == '{' ? '}'
                                                      : ']',
                                       (size_t)(end - text));
            size_t at = s->n_tokens;

            if (close == NULL)
                return false;
            n = (size_t)(close - text - 1);
            if (*text == '<' && !argument_compile(s, text + 1, n))
                return false;
            if (*text == '{' && token_add(s, TOKEN_CHOICE, text + 1, n, true) == NULL)
                return false;
            if (*text == '[') {
                bool choice = memchr(text, '|', n) != NULL && memchr(text, '{', n) == NULL;

                if (option || token_add(s, TOKEN_OPTION, text + 1, n, false) == NULL)
                    return false;
                if (choice ? token_add(s, TOKEN_CHOICE, text + 1, n, true) == NULL
                           : !sequence_compile(s, text + 1, close, true))
                    return false;
                s->tokens[at].inside = s->n_tokens - at - 1;
                /* An option of one keyword is a value; one of several words is known by its arguments. */
                if (s->tokens[at].inside == 1 && s->tokens[at + 1].kind == TOKEN_KEYWORD)
                    s->tokens[at + 1].value = (int)s->n_values++;
            }
            text = close + 1;
        } else {
            n = strcspn(text, " ]");
            if (token_add(s, TOKEN_KEYWORD, text, n, false) == NULL)
                return false;
            text += n;
        }
    }
    return s->n_values <= CONFIG_VALUES_MAX;
}

bool syntax_compile(struct syntax *s, struct token *tokens, const struct config_command *command,
                    struct fault *fault)
{
    *s = (struct syntax){.command = command, .tokens = tokens};
    if (!sequence_compile(s, command->syntax, command->syntax + strlen(command->syntax), false)) {
        fault_set(fault, "the syntax \"%s\" is wrong near token %zu", command->syntax, s->n_tokens + 1);
        return false;
    }
    while (s->head < s->n_tokens && s->tokens[s->head].kind == TOKEN_KEYWORD)
        s->head++;
    if (s->head == 0) {
        fault_set(fault, "the syntax \"%s\" does not begin with a keyword", command->syntax);
        return false;
    }
    return true;
}

/* ---- matching ---- */

/* How many words the tokens from `i` on need at least. */
static size_t words_needed(const struct syntax *s, size_t i)
{
    size_t n = 0;

    for (; i < s->n_tokens; i++) {
        if (s->tokens[i].kind == TOKEN_OPTION)
            i += s->tokens[i].inside;
        else
            n++;
    }
    return n;
}

static bool number_match(const struct token *t, const struct word *word, struct config_value *v,
                         struct fault *fault)
{
    uint64_t n = 0;

    if (word->len == 0 || word->len > 18 || strspn(word->text, "0123456789") != word->len) {
        fault_set(fault, "'%s' is not a number; %.*s is a number of %llu to %llu", word->text, (int)t->len,
                  t->name, (unsigned long long)t->min, (unsigned long long)t->max);
        return false;
    }
    for (size_t i = 0; i < word->len; i++)
        n = n * 10 + (uint64_t)(word->text[i] - '0');
    if (n < t->min || n > t->max) {
        fault_set(fault, "'%s' is out of range; %.*s is a number of %llu to %llu", word->text, (int)t->len,
                  t->name, (unsigned long long)t->min, (unsigned long long)t->max);
        return false;
    }
    v->number = n;
    return true;
}

/* Matches an argument at word `at`; *used words were taken. `left` words are not spoken for by what follows.
 */
static bool argument_match(const struct token *t, const struct words *w, size_t at, size_t left,
                           struct config_value *v, size_t *used, struct fault *fault)
{
    const struct word *word = &w->list[at];

    *used = 1;
    switch (t->type) {
    case ARGUMENT_NUMBER:
        return number_match(t, word, v, fault);
    case ARGUMENT_IPV4:
    case ARGUMENT_IPV6:
        if (strchr(word->text, '/') == NULL && address_is_ipv4(word->text) == (t->type == ARGUMENT_IPV4) &&
            address_group_read(&v->group, word->text, NULL, NULL))
            return true;
        fault_set(fault, "'%s' is not an IPv%d address", word->text, t->type == ARGUMENT_IPV4 ? 4 : 6);
        return false;
    case ARGUMENT_GROUP:
        /* the word behind an IPv4 address is taken for its netmask, be it one or not: nothing else may stand
         * there */
        if (left > 1 && address_is_ipv4(word->text))
            *used = 2;
        return address_group_read(&v->group, word->text, *used == 2 ? w->list[at + 1].text : NULL, fault);
    case ARGUMENT_HOST:
        if (address_is_host_name(word->text))
            return true;
        fault_set(fault, "'%s' is not a host name", word->text);
        return false;
    case ARGUMENT_FILE:
    case ARGUMENT_SECRET:
        if (word->len > 0)
            return true;
        fault_set(fault, "%.*s is empty", (int)t->len, t->name);
        return false;
    case ARGUMENT_WORD:
        if (word->len > 0 && word->len <= t->max)
            return true;
        if (t->max != UINT64_MAX)
            fault_set(fault, "%.*s has %zu bytes; 1 to %llu are allowed", (int)t->len, t->name, word->len,
                      (unsigned long long)t->max);
        else
            fault_set(fault, "%.*s is empty", (int)t->len, t->name);
        return false;
    }
    return false;
}

/* Which of a choice's keywords the word is (in full, or else the only one that it begins), or -1. */
static int choice_match(const struct token *t, const struct word *word, bool in_full)
{
    const char *name;
    int found = -1;
    size_t len;

    if (word->quoted || word->len == 0)
        return -1;
    for (unsigned i = 0; choice_nth(t, i, &name, &len); i++) {
        if (len == word->len && memcmp(name, word->text, len) == 0)
            return (int)i;
        if (!in_full && word->len < len && memcmp(name, word->text, word->len) == 0)
            found = found == -1 ? (int)i : -2;
    }
    return found < 0 ? -1 : found;
}

/* Is the option at token `i` what stands at word `at`? An option must not take a word that an argument behind
 * it needs. */
static bool option_match(const struct syntax *s, size_t i, const struct words *w, size_t at)
{
    const struct token *first = &s->tokens[i + 1];
    size_t after = words_needed(s, i + 1 + s->tokens[i].inside);

    if (at >= w->n || w->n - at <= after)
        return false;
    if (first->kind == TOKEN_CHOICE)
        return choice_match(first, &w->list[at], true) >= 0;
    return token_abbreviated(first, &w->list[at]);
}

static void missing_set(const struct syntax *s, const struct token *t, const struct words *w,
                        struct fault *fault)
{
    struct text whole = {0};

    syntax_print(s, &whole);
    fault_set(fault, "%.*s is missing; the command is \"%s\"%s", (int)t->len, t->name,
              whole.s != NULL ? whole.s : "",
              s->secret && w->comment ? " (a secret that begins with ! has to be in quotes)" : "");
    text_free(&whole);
}

bool syntax_match(const struct syntax *s, const struct words *w, struct config_value *values, bool *present,
                  struct fault *fault)
{
    size_t at = s->head, used;

    for (size_t i = s->head; i < s->n_tokens; i++) {
        const struct token *t = &s->tokens[i];
        struct fault why = {""};
        bool good = true;

        if (t->kind == TOKEN_OPTION) {
            if (!option_match(s, i, w, at))
                i += t->inside;
            continue;
        }
        if (at >= w->n) {
            missing_set(s, t, w, fault);
            return false;
        }
        used = 1;
        if (t->value >= 0) {
            values[t->value].text = w->list[at].text;
            values[t->value].len = w->list[at].len;
        }
        if (t->kind == TOKEN_KEYWORD) {
            good = token_abbreviated(t, &w->list[at]);
            if (!good)
                fault_set(&why, "'%.*s' is expected as word %zu", (int)t->len, t->name, at + 1);
        } else if (t->kind == TOKEN_CHOICE) {
            int choice = choice_match(t, &w->list[at], false);

            good = choice >= 0;
            if (good)
                values[t->value].choice = (unsigned)choice;
            else
                fault_set(&why, "one of {%.*s} is expected as word %zu", (int)t->len, t->name, at + 1);
        } else {
            size_t left = w->n - at - words_needed(s, i + 1);

            good = argument_match(t, w, at, left, &values[t->value], &used, &why);
            if (!good && s->secret && t->type != ARGUMENT_SECRET && t->type != ARGUMENT_WORD)
                fault_set(&why, "%.*s is wrong", (int)t->len,
                          t->name); /* it might quote a misplaced secret */
        }
        if (!good) {
            fault_set(fault, "%s", why.text);
            return false;
        }
        if (t->value >= 0)
            present[t->value] = true;
        at += used;
    }
    if (at < w->n) {
        struct text whole = {0};

        syntax_print(s, &whole);
        fault_set(fault, "word %zu is too much; the command is \"%s\"%s", at + 1,
                  whole.s != NULL ? whole.s : "",
                  s->secret ? " (a secret with blanks has to be in quotes)" : "");
        text_free(&whole);
        return false;
    }
    return true;
}

void syntax_print(const struct syntax *s, struct text *out)
{
    size_t close = SIZE_MAX;

    for (size_t i = 0; i < s->n_tokens; i++) {
        const struct token *t = &s->tokens[i];
        bool bare = i > 0 && s->tokens[i - 1].kind == TOKEN_OPTION;

        text_printf(out, "%s", i > 0 && !bare ? " " : "");
        if (t->kind == TOKEN_OPTION) {
            text_printf(out, "[");
            close = i + t->inside;
            continue;
        }
        if (t->kind == TOKEN_CHOICE && !bare)
            text_printf(out, "{%.*s}", (int)t->len, t->name);
        else
            text_printf(out, "%.*s", (int)t->len, t->name);
        if (i == close)
            text_printf(out, "]");
    }
}
