/* SPDX-License-Identifier: BSD-2-Clause */
/* The manual page of a language, in mdoc, from its table. */
#include "config/syntax.h"

#include <ctype.h>
#include <string.h>

static const char common_text[] =
    "The file has one command per line, in nested levels; indentation is free.\n"
    "Words are separated by blanks.\n"
    "A word that begins with\n"
    ".Sq \\&!\n"
    "begins a comment.\n"
    "A word that has blanks in it, or begins with\n"
    ".Sq \\&!\n"
    "or\n"
    ".Sq \\(dq ,\n"
    "is written in double quotes, in which\n"
    ".Sq \\e\\(dq\n"
    "stands for a quote and\n"
    ".Sq \\e\\e\n"
    "for a backslash.\n"
    "Keywords may be shortened as long as they are unambiguous.\n"
    ".Pp\n"
    "A command that is not one of the present level, but of a level around it, leaves the present one;\n"
    ".Cm exit\n"
    "leaves one level,\n"
    ".Cm end\n"
    "all of them.\n"
    "The prompt of a router in front of a line,\n"
    ".Cm configure terminal\n"
    "and\n"
    ".Cm commit\n"
    "are skipped, so that a router's session can be pasted.\n"
    ".Pp\n"
    "All mistakes are reported at once, each as\n"
    ".Dq Ar file Ns \\&: Ns Ar line Ns \\&: Ar what is wrong .\n"
    "A file that its group or others can write, or that holds a secret in clear and that others can read, or "
    "that\n"
    "belongs to neither root nor the user who reads it, is refused.\n"
    "The names of other files count from the directory of this one.\n"
    ".Pp\n"
    "A secret has a type in front of it:\n"
    ".Bl -tag -width hex -compact\n"
    ".It Cm 0\n"
    "the secret itself, which is also meant where there is no type;\n"
    ".It Cm hex\n"
    "its bytes in hexadecimal;\n"
    ".It Cm 6\n"
    "the secret encrypted under the master key, as\n"
    ".Xr ppkctl 1\n"
    ".Cm encrypt\n"
    "makes it.\n"
    "It is the base64url, without padding, of a version octet 1, 16 octets of salt, 12 octets of nonce, the "
    "secret in\n"
    "AES-256-GCM, and its tag of 16 octets; the first 29 octets are authenticated as well.\n"
    "The AES key is scrypt (N=16384, r=8, p=1) of the master key and the salt.\n"
    ".El\n";

static void token_manual(const struct token *t, bool bare, struct text *out)
{
    const char *name;
    size_t len;

    if (t->kind == TOKEN_KEYWORD)
        text_printf(out, ".Cm %.*s\n", (int)t->len, t->name);
    if (t->kind == TOKEN_ARGUMENT)
        text_printf(out, ".Ar %.*s\n", (int)t->len, t->name);
    if (t->kind == TOKEN_CHOICE) {
        text_printf(out, "%s", bare ? "" : ".Bro\n");
        for (unsigned i = 0; choice_nth(t, i, &name, &len); i++)
            text_printf(out, "%s.Cm %.*s\n", i > 0 ? "|\n" : "", (int)len, name);
        text_printf(out, "%s", bare ? "" : ".Brc\n");
    }
}

/* Appends mdoc text of a table: each sentence begins a line, as mdoc wants it, and the last line is ended. */
static void text_manual(const char *mdoc, struct text *out)
{
    for (const char *s = mdoc; *s != '\0'; s++) {
        bool sentence = s > mdoc && s[-1] == '.' && *s == ' ' && isupper((unsigned char)s[1]);

        text_append(out, sentence ? "\n" : s, 1);
    }
    if (mdoc[0] != '\0' && mdoc[strlen(mdoc) - 1] != '\n')
        text_append(out, "\n", 1);
}

/* The ranges of its arguments, as one sentence each. */
static void ranges_manual(const struct syntax *s, struct text *out)
{
    for (size_t i = 0; i < s->n_tokens; i++) {
        const struct token *t = &s->tokens[i];

        if (t->kind != TOKEN_ARGUMENT || t->max == UINT64_MAX)
            continue;
        text_printf(out, ".Ar %.*s\n%s %llu to %llu%s.\n", (int)t->len, t->name,
                    t->type == ARGUMENT_NUMBER ? "is" : "has", (unsigned long long)t->min,
                    (unsigned long long)t->max, t->type == ARGUMENT_NUMBER ? "" : " bytes");
    }
}

static void command_manual(const struct config_command *c, struct text *out)
{
    size_t close = SIZE_MAX;
    struct token tokens[SYNTAX_TOKENS_MAX];
    struct syntax s;

    if (!syntax_compile(&s, tokens, c, NULL))
        return;
    text_printf(out, ".It Xo\n");
    for (size_t i = 0; i < s.n_tokens; i++) {
        if (s.tokens[i].kind == TOKEN_OPTION) {
            text_printf(out, ".Oo\n");
            close = i + s.tokens[i].inside;
            continue;
        }
        token_manual(&s.tokens[i], i > 0 && s.tokens[i - 1].kind == TOKEN_OPTION, out);
        if (i == close)
            text_printf(out, ".Oc\n");
    }
    text_printf(out, ".Xc\n");
    text_manual(c->help, out);
    ranges_manual(&s, out);
}

void config_manual(const struct config_language *l, struct text *out)
{
    struct text name = {0};

    for (const char *s = l->name; *s != '\0'; s++)
        text_printf(&name, "%c", toupper((unsigned char)*s));
    text_printf(out, ".\\\" SPDX-License-Identifier: BSD-2-Clause\n.\\\" Made from the table of the "
                     "language's commands.\n");
    text_printf(out, ".Dd November 23, 2026\n.Dt %s 5\n.Os\n.Sh NAME\n.Nm %s\n.Nd %s\n.Sh DESCRIPTION\n",
                name.s != NULL ? name.s : "", l->name, l->about);
    text_manual(l->intro, out);
    text_printf(out, ".Pp\n%s", common_text);
    for (unsigned level = 0; level < l->n_levels; level++) {
        text_printf(out, ".Ss %s%s\n%s\n.Bl -tag -width Ds\n",
                    level == 0 ? "Commands of the top level" : "Commands in ",
                    level == 0 ? "" : l->levels[level].title, l->levels[level].help);
        for (size_t i = 0; i < l->n_commands; i++) {
            if ((l->commands[i].levels & CONFIG_IN(level)) != 0)
                command_manual(&l->commands[i], out);
        }
        text_printf(out, ".El\n");
    }
    text_manual(l->outro, out);
    out->failed = out->failed || name.failed;
    text_free(&name);
}
