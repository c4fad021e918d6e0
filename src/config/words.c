/* SPDX-License-Identifier: BSD-2-Clause */
#include "config/words.h"

#include <string.h>

/* The length of the UTF-8 sequence at `s` (of `left` bytes), or 0. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80             ? 1
               : (s[0] & 0xe0) == 0xc0 ? 2
               : (s[0] & 0xf0) == 0xe0 ? 3
               : (s[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    uint32_t code = n == 0 ? 0 : s[0] & (0xffU >> (n == 1 ? 0 : n + 1));

    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3fU);
    }
    if (n > 1 && (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)))
        return 0;
    return n;
}

static bool line_is_text(const char *line, size_t len, struct fault *fault)
{
    const unsigned char *s = (const unsigned char *)line;
    size_t n;

    for (size_t i = 0; i < len; i += n) {
        n = utf8_length(s + i, len - i);
        if (n == 0) {
            fault_set(fault, "column %zu: not UTF-8", i + 1);
            return false;
        }
        if ((s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f) {
            fault_set(fault, "column %zu: control character 0x%02x", i + 1, s[i]);
            return false;
        }
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* "RP/0/RP0/CPU0:ios(config-ikev2-keyring)#": what stands before the first '#', if it is made of what prompts
 * are made of. */
static char *skip_prompt(char *s)
{
    size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_.:-()@");

    return n > 0 && s[n] == '#' ? s + n + 1 : s;
}

/* Reads the quoted word at *s (behind its opening quote), unescaping in place; *s then is behind the closing
 * one. */
static bool word_unquote(char **s, struct word *word, struct fault *fault)
{
    char *in = *s, *out = *s;

    word->text = *s;
    word->quoted = true;
    for (; *in != '"'; in++) {
        if (*in == '\\' && (in[1] == '"' || in[1] == '\\'))
            in++;
        if (*in == '\0') {
            fault_set(fault, "a quote is not closed");
            return false;
        }
        *out++ = *in;
    }
    in++;
    if (*in != '\0' && !is_blank(*in)) {
        fault_set(fault, "a blank has to follow the closing quote");
        return false;
    }
    *out = '\0';
    word->len = (size_t)(out - word->text);
    *s = in;
    return true;
}

bool words_split(struct words *w, char *line, size_t len, struct fault *fault)
{
    char *s;

    w->n = 0;
    w->comment = false;
    if (!line_is_text(line, len, fault))
        return false;
    s = line + strspn(line, " \t");
    s = skip_prompt(s);
    for (;;) {
        struct word *word = &w->list[w->n];

        s += strspn(s, " \t");
        w->comment = *s == '!';
        if (*s == '\0' || *s == '!')
            return true;
        if (w->n == CONFIG_WORDS_MAX) {
            fault_set(fault, "more than %d words", CONFIG_WORDS_MAX);
            return false;
        }
        w->n++;
        if (*s == '"') {
            s++;
            if (!word_unquote(&s, word, fault))
                return false;
        } else {
            word->text = s;
            word->quoted = false;
            word->len = strcspn(s, " \t");
            s += word->len;
            if (*s != '\0')
                *s++ = '\0';
        }
    }
}

void words_print(struct text *out, const char *value)
{
    if (value[0] != '\0' && value[0] != '!' && value[0] != '"' && strpbrk(value, " \t") == NULL) {
        text_append(out, value, strlen(value));
        return;
    }
    text_append(out, "\"", 1);
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\')
            text_append(out, "\\", 1);
        text_append(out, value, 1);
    }
    text_append(out, "\"", 1);
}
