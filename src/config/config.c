/* SPDX-License-Identifier: BSD-2-Clause */
/* The parser: lines to commands, levels, and what is applied. */
#include "config/parser.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK      16384
#define LINE_FIRST 1000u /* room for a line at first; few are longer */

static const struct config_command built_ins[BUILT_INS] = {
    [BUILT_IN_EXIT] = {.levels = ~0U, .syntax = "exit"},
    [BUILT_IN_END] = {.levels = ~0U, .syntax = "end"},
    [BUILT_IN_CONFIGURE] = {.levels = ~0U, .syntax = "configure terminal"},
    [BUILT_IN_COMMIT] = {.levels = ~0U, .syntax = "commit"},
};

const struct config_value *config_get(const struct config_call *call, const char *name)
{
    const struct syntax *s = call->syntax;

    for (size_t i = 0; i < s->n_tokens; i++) {
        const struct token *t = &s->tokens[i];

        if (t->value >= 0 && token_is(t, name, strlen(name)))
            return call->present[t->value] ? &call->values[t->value] : NULL;
    }
    return NULL;
}

void config_wrong(struct config_call *call, const char *format, ...)
{
    char text[sizeof((struct fault *)0)->text];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    config_error(call->errors, call->line, "%s", text);
}

char *config_file_name(const struct config_call *call, const char *name)
{
    const struct config_value *v = config_get(call, name);
    char *path = NULL;

    if (v == NULL)
        return NULL;
    if (v->text[0] == '/')
        return strdup(v->text);
    return asprintf(&path, "%s/%s", call->directory, v->text) < 0 ? NULL : path;
}

/* ---- lines ---- */

static void level_open(struct parser *p, unsigned level, bool mute)
{
    if (p->depth + 1 < CONFIG_LEVELS_MAX)
        p->depth++;
    memset(&p->stack[p->depth], 0, sizeof p->stack[0]);
    p->stack[p->depth].level = level;
    p->stack[p->depth].mute = mute;
}

static void built_in_apply(struct parser *p, enum built_in which)
{
    if (which == BUILT_IN_EXIT && p->depth > 0)
        p->depth--;
    if (which == BUILT_IN_END || which == BUILT_IN_CONFIGURE)
        p->depth = 0;
}

/* Is there a secret in clear on this line? */
static bool secret_is_clear(const struct config_call *call)
{
    const struct config_value *type = config_get(call, "0|6|hex");

    return call->syntax->secret && (type == NULL || type->choice != 1);
}

/* Says that a command was given before in this level; and, if an outer level has one that begins alike and
 * opens a level, what to do if that was meant. */
static void again_error(struct parser *p, const struct syntax *s, unsigned line)
{
    const struct token *last = &s->tokens[s->head - 1];
    const struct config_command *meant = NULL;

    for (size_t c = 0; c < p->language->n_commands; c++) {
        const struct syntax *other = &p->syntaxes[c];

        for (unsigned d = 0; d < p->depth; d++) {
            if (parser_in_level(other, p->stack[d].level) && other->command->opens != 0 &&
                token_is(&other->tokens[0], s->tokens[0].name, s->tokens[0].len))
                meant = other->command;
        }
    }
    config_error(p->errors, p->call.line, "\"%.*s\" is already given in line %u%s%s%s",
                 (int)(last->name + last->len - s->command->syntax), s->command->syntax, line,
                 meant != NULL ? "; to begin another \"" : "",
                 meant != NULL ? p->language->levels[meant->opens].title : "",
                 meant != NULL ? "\", leave this level with exit first" : "");
}

static void command_apply(struct parser *p, const struct words *w)
{
    struct fault fault = {""};
    const struct syntax *s;
    struct open_level *level;
    unsigned depth;
    bool good, mute;
    size_t index;

    s = parser_command_find(p, w, &depth, &fault);
    if (s == NULL) {
        config_error(p->errors, p->call.line, "%s", fault.text);
        return;
    }
    index = (size_t)(s - p->syntaxes);
    if (index < p->language->n_commands)
        p->depth = depth; /* the levels inside are left */
    level = &p->stack[p->depth];
    mute = level->mute;
    p->call.syntax = s;
    memset(p->call.values, 0, sizeof p->call.values);
    memset(p->call.present, 0, sizeof p->call.present);
    good = syntax_match(s, w, p->call.values, p->call.present, &fault);
    if (!good)
        config_error(p->errors, p->call.line, "%s", fault.text);
    if (p->secret_line == 0 && secret_is_clear(&p->call))
        p->secret_line = p->call.line;
    if (index >= p->language->n_commands) {
        if (good)
            built_in_apply(p, (enum built_in)(index - p->language->n_commands));
        return;
    }
    if ((s->command->flags & CONFIG_ONCE) != 0 && level->seen[index] > 0) {
        again_error(p, s, level->seen[index]);
        good = false;
    }
    level->seen[index] = p->call.line;
    p->call.skip_level = false;
    if (good && !mute)
        s->command->apply(&p->call);
    if (s->command->opens != 0)
        level_open(p, s->command->opens, mute || !good || p->call.skip_level);
}

static void line_end(struct parser *p)
{
    struct fault fault = {""};
    struct words words;

    p->call.line++;
    if (p->too_long) {
        config_error(p->errors, p->call.line, "the line has more than %d bytes", CONFIG_LINE_MAX);
    } else {
        if (p->len > 0 && p->line[p->len - 1] == '\r')
            p->len--;
        p->line[p->len] = '\0';
        if (!words_split(&words, p->line, p->len, &fault))
            config_error(p->errors, p->call.line, "%s", fault.text);
        else if (words.n > 0)
            command_apply(p, &words);
    }
    OPENSSL_cleanse(p->line, p->len);
    p->len = 0;
    p->too_long = false;
}

/* Makes room for a line of `len` bytes. */
static bool line_grow(struct parser *p, size_t len)
{
    size_t room = p->room;
    char *line;

    if (len <= room)
        return true;
    while (room < len)
        room *= 2;
    line = secmem_alloc(room + 1);
    if (line == NULL)
        return false;
    memcpy(line, p->line, p->len);
    secmem_free(p->line);
    p->line = line;
    p->room = room;
    return true;
}

static void line_append(struct parser *p, const char *bytes, size_t n)
{
    size_t left = CONFIG_LINE_MAX - p->len;

    p->too_long = p->too_long || n > left;
    if (n > left)
        n = left;
    if (!line_grow(p, p->len + n)) {
        config_error(p->errors, p->call.line + 1, "no secret memory left");
        return;
    }
    memcpy(p->line + p->len, bytes, n);
    p->len += n;
}

/* Takes the next bytes of the file. */
static void parser_feed(struct parser *p, const char *bytes, size_t len)
{
    while (len > 0) {
        const char *end = memchr(bytes, '\n', len);
        size_t n = end != NULL ? (size_t)(end - bytes) : len;

        line_append(p, bytes, n);
        bytes += n;
        len -= n;
        if (end != NULL) {
            line_end(p);
            bytes++;
            len--;
        }
    }
}

static void parser_free(struct parser *p)
{
    if (p != NULL)
        secmem_free(p->line);
    free(p);
}

static bool syntax_add(struct parser *p, const struct config_command *command, struct fault *fault)
{
    struct syntax *s = &p->syntaxes[p->n_syntaxes++];

    if (!syntax_compile(s, &p->tokens[p->n_tokens], command, fault))
        return false;
    p->n_tokens += s->n_tokens;
    return true;
}

static struct parser *parser_new(const struct config_language *l, void *context, const char *name,
                                 struct config_errors *errors)
{
    struct parser *p = malloc(sizeof *p);
    const char *slash = strrchr(name, '/');
    struct fault fault = {""};
    char *directory;

    if (p != NULL)
        memset(p, 0, offsetof(struct parser, tokens));
    if (p == NULL || (p->line = secmem_alloc(LINE_FIRST + 1)) == NULL) {
        config_error(errors, 0, "no secret memory left");
        goto failed;
    }
    p->room = LINE_FIRST;
    p->language = l;
    p->errors = errors;
    p->call.context = context;
    p->call.errors = errors;
    p->call.directory = p->directory;
    for (size_t i = 0; i < l->n_commands && i < CONFIG_COMMANDS_MAX; i++) {
        if (!syntax_add(p, &l->commands[i], &fault))
            goto failed_syntax;
    }
    for (size_t i = 0; i < BUILT_INS; i++) {
        if (!syntax_add(p, &built_ins[i], &fault))
            goto failed_syntax;
    }
    directory = slash == NULL ? strdup(".") : strndup(name, slash == name ? 1 : (size_t)(slash - name));
    if (directory == NULL || realpath(directory, p->directory) == NULL)
        (void)snprintf(p->directory, sizeof p->directory, "%s", directory != NULL ? directory : ".");
    free(directory);
    return p;
failed_syntax:
    config_error(errors, 0, "%s", fault.text);
failed:
    parser_free(p);
    return NULL;
}

bool config_read_buffer(const struct config_language *l, void *context, const char *name, const char *buffer,
                        size_t len, struct config_errors *errors)
{
    struct parser *p = parser_new(l, context, name, errors);

    if (p == NULL)
        return false;
    parser_feed(p, buffer, len);
    if (p->len > 0 || p->too_long)
        line_end(p);
    parser_free(p);
    return errors->count == 0;
}

/* Reads the open file to its end. */
static void file_feed(struct parser *p, int fd, char *chunk)
{
    size_t total = 0;
    ssize_t n;

    do {
        n = read(fd, chunk, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            config_error(p->errors, 0, "%s", strerrordesc_np(errno));
        if (n <= 0)
            break;
        total += (size_t)n;
        parser_feed(p, chunk, (size_t)n);
        if (total > CONFIG_FILE_MAX)
            config_error(p->errors, 0, "the file has more than %lu bytes", CONFIG_FILE_MAX);
    } while (total <= CONFIG_FILE_MAX);
    if (p->len > 0 || p->too_long)
        line_end(p);
}

bool config_read_file(const struct config_language *l, void *context, const char *path,
                      struct config_errors *errors)
{
    struct fault fault = {""};
    struct parser *p = NULL;
    char *chunk = NULL;
    struct stat st;
    int fd = config_file_open(path, CONFIG_FILE_PLAIN, &fault);

    if (fd < 0) {
        /* the text begins with the path, which config_errors_print() will say again; and may be cut */
        const size_t len = strlen(path);
        const bool begins = strncmp(fault.text, path, len) == 0 && strncmp(fault.text + len, ": ", 2) == 0;

        config_error(errors, 0, "%s", fault.text + (begins ? len + 2 : 0));
        return false;
    }
    p = parser_new(l, context, path, errors);
    if (p == NULL)
        goto out;
    chunk = secmem_alloc(CHUNK);
    if (chunk == NULL) {
        config_error(errors, 0, "no secret memory left");
        goto out;
    }
    file_feed(p, fd, chunk);
    if (p->secret_line > 0 && (fstat(fd, &st) != 0 || (st.st_mode & S_IROTH) != 0))
        config_error(errors, p->secret_line,
                     "a secret in clear, and others can read the file: protect it with chmod o-r, or encrypt "
                     "the secret "
                     "with \"ppkctl encrypt\"");
out:
    secmem_free(chunk);
    parser_free(p);
    (void)close(fd);
    return errors->count == 0;
}

bool config_language_check(const struct config_language *l, struct fault *fault)
{
    struct token tokens[SYNTAX_TOKENS_MAX];
    struct syntax s;

    if (l->n_commands > CONFIG_COMMANDS_MAX || l->n_levels > CONFIG_LEVELS_MAX || l->n_levels == 0) {
        fault_set(fault, "%zu commands, %zu levels: too many or too few", l->n_commands, l->n_levels);
        return false;
    }
    for (size_t i = 0; i < l->n_commands; i++) {
        const struct config_command *c = &l->commands[i];

        if (!syntax_compile(&s, tokens, c, fault))
            return false;
        if (c->levels == 0 || c->levels >> l->n_levels != 0 || c->opens >= l->n_levels || c->apply == NULL ||
            c->help == NULL) {
            fault_set(fault, "\"%s\": levels, help or apply is wrong", c->syntax);
            return false;
        }
    }
    return true;
}
