/* SPDX-License-Identifier: BSD-2-Clause */
/* IOS XE and IOS XR into ours. Commands are recognized by tables; what they become is checked by our own
 * parser, and what it does not take is left out with its reason. */
#include "config/words.h"
#include "ppkctl/router.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WORDS_MAX   16
#define PASSES_MAX  20 /* of our parser over what came out; each leaves out up to 100 lines */
#define WITHOUT_PPK "; without it tunnels with this peer may not be quantum-safe"
#define CHECKED     "import"

enum level { LEVEL_TOP, LEVEL_SKS, LEVEL_KEYRING, LEVEL_PEER, LEVEL_PROFILE };

/* A line of what comes out. */
struct out_line {
    char *text; /* without indentation; NULL: left out */
    unsigned depth;
    unsigned line; /* that it came from */
};

struct import {
    const char *name;
    struct text *notes;
    struct out_line *lines;
    size_t n, room;
    bool in_profile; /* what comes out may be in an IKEv2 profile: what was behind it may be left out */
    enum level level;
    bool indented;    /* the block's lines are */
    bool barred;      /* a "!" in column 0 stands before this line */
    enum level muted; /* whose beginning was left out; LEVEL_TOP: of none */
    bool failed;
    unsigned line;
    char *words[WORDS_MAX];
    size_t n_words;
    size_t others; /* lines of other features */
};

__attribute__((format(printf, 3, 4))) static void note(struct import *im, unsigned line, const char *format,
                                                       ...)
{
    char text[400];
    struct fault fault;
    va_list args;

    va_start(args, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start() is above */
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fault_set(&fault, "%s", text); /* nothing that a terminal takes for a command */
    text_printf(im->notes, "%s:%u: %s\n", im->name, line, fault.text);
}

/* ---- what comes out ---- */

static void emit(struct import *im, unsigned depth, struct text *text)
{
    struct out_line *more;

    if (im->n == im->room) {
        im->room = im->room > 0 ? 2 * im->room : 64;
        more = reallocarray(im->lines, im->room, sizeof *more);
        if (more == NULL) {
            im->room = im->n;
            im->failed = true;
            text_free(text);
            return;
        }
        im->lines = more;
    }
    im->failed = im->failed || text->failed || text->s == NULL;
    if (depth == 0 && text->s != NULL && strncmp(text->s, "ikev2 ", strlen("ikev2 ")) == 0)
        im->in_profile = true;
    im->lines[im->n++] = (struct out_line){text->s, depth, im->line};
    *text = (struct text){0};
}

/* A command of ours: `keywords`, and the words from `first` on. */
static void emit_words(struct import *im, unsigned depth, const char *keywords, size_t first)
{
    struct text text = {0};

    text_printf(&text, "%s", keywords);
    for (size_t i = first; i < im->n_words; i++) {
        text_append(&text, " ", 1);
        words_print(&text, im->words[i]);
    }
    emit(im, depth, &text);
}

/* ---- commands ---- */

static bool is(const struct import *im, size_t i, const char *word)
{
    return i < im->n_words && strcasecmp(im->words[i], word) == 0;
}

static void take_open(struct import *im, unsigned depth, const char *keywords, size_t first)
{
    im->muted = first >= im->n_words ? im->level : LEVEL_TOP;
    if (im->muted != LEVEL_TOP)
        note(im, im->line, "left out: a name is missing");
    else
        emit_words(im, depth, keywords, first);
}

static void take_skip_client(struct import *im)
{
    struct text text = {0};

    im->level = LEVEL_SKS;
    im->muted = im->n_words < 3 ? LEVEL_SKS : LEVEL_TOP;
    if (im->muted != LEVEL_TOP)
        return;
    text_printf(&text, "sks profile ");
    words_print(&text, im->words[2]);
    text_printf(&text, " type remote");
    emit(im, 0, &text);
}

static void take_sks_profile(struct import *im)
{
    im->level = LEVEL_SKS;
    take_open(im, 0, "sks profile", 2);
}

/* Ours would read it as a profile's command, if it stood in one. */
static void take_keyring_named(struct import *im, size_t first)
{
    struct text leave = {0};

    im->level = LEVEL_KEYRING;
    if (im->in_profile && first < im->n_words) {
        text_printf(&leave, "exit");
        emit(im, 0, &leave);
        im->in_profile = false;
    }
    take_open(im, 0, "keyring", first);
}

static void take_keyring_xe(struct import *im)
{
    take_keyring_named(im, 3);
}

static void take_keyring_xr(struct import *im)
{
    take_keyring_named(im, 1);
}

static void take_profile_xe(struct import *im)
{
    im->level = LEVEL_PROFILE;
    take_open(im, 0, "ikev2 profile", 3);
}

static void take_profile_xr(struct import *im)
{
    im->level = LEVEL_PROFILE;
    take_open(im, 0, "ikev2 profile", 2);
}

static void mute_note(struct import *im, const char *keywords)
{
    note(im, im->line, "left out: %s: what it belongs to was left out", keywords);
}

static void take_peer(struct import *im)
{
    im->level = LEVEL_PEER;
    if (im->muted == LEVEL_KEYRING)
        mute_note(im, "peer");
    else
        take_open(im, 1, "peer", 1);
}

static void take_server(struct import *im)
{
    if (is(im, 1, "fqdn"))
        emit_words(im, 1, "kme server hostname", 2);
    else
        emit_words(im, 1, "kme server", 1);
}

static void take_kme_server(struct import *im)
{
    emit_words(im, 1, "kme server", 2);
}

/* Why a secret of this type cannot be taken, or NULL: it is in clear. */
static const char *secret_refused(const struct import *im, size_t at)
{
    static const struct {
        const char *type, *reason;
    } types[] = {
        {"6",
         "a Type 6 secret is encrypted under the router's own master key, which this host does not have"},
        {"7", "a Type 7 secret is obfuscated, and not taken as if it were one"},
        {"5", "it is a hash, of which no key can be made"},
        {"8", "it is a hash, of which no key can be made"},
        {"9", "it is a hash, of which no key can be made"},
        {"password", "this form hides the key"},
        {"password6",
         "a Type 6 secret is encrypted under the router's own master key, which this host does not have"},
        {"encrypted", "it is encrypted under a key that this host does not have"},
        {"local", "another key for each direction is something that this configuration does not have"},
        {"remote", "another key for each direction is something that this configuration does not have"},
    };

    for (size_t i = 0; at + 1 < im->n_words && i < sizeof types / sizeof types[0]; i++) {
        if (is(im, at, types[i].type))
            return types[i].reason;
    }
    return NULL;
}

/* A command whose words from `at` on are a secret, with its type in front. */
static void take_secret(struct import *im, unsigned depth, const char *keywords, size_t first, size_t at)
{
    const char *reason = secret_refused(im, at);

    if (at >= im->n_words)
        note(im, im->line, "left out: %s: there is no secret in it", keywords);
    else if (reason != NULL)
        note(im, im->line, "left out: %s: %s; enter the secret itself by hand%s", keywords, reason,
             strncmp(keywords, "ppk ", 4) == 0 ? WITHOUT_PPK : "");
    else
        emit_words(im, depth, keywords, first);
}

static void take_psk(struct import *im)
{
    take_secret(im, 2, "pre-shared-key", 1, 1);
}

static void take_tls_psk(struct import *im)
{
    take_secret(im, 1, "tls psk id", 2, 4);
}

static void take_ppk_manual(struct import *im)
{
    take_secret(im, 2, "ppk manual id", 3, 5);
}

static void take_ppk_dynamic(struct import *im)
{
    emit_words(im, 2, "ppk dynamic", 2);
}

static void take_address(struct import *im)
{
    emit_words(im, 2, "address", 1);
}

static void take_match(struct import *im)
{
    emit_words(im, 1, "match identity remote address", 4);
}

static void take_match_short(struct import *im)
{
    emit_words(im, 1, "match identity remote address", 2);
}

static void take_keyring_ppk(struct import *im)
{
    emit_words(im, 1, "keyring ppk", 2);
}

static void take_keyring_local(struct import *im)
{
    emit_words(im, 1, "keyring", 2);
}

static void take_keyring(struct import *im)
{
    emit_words(im, 1, "keyring", 1);
}

/* The commands, longer ones first; `reason`: why one is left out. */
static const struct command {
    enum level level;
    const char *keywords;
    void (*take)(struct import *im);
    const char *reason;
} commands[] = {
    {LEVEL_TOP, "crypto skip-client", take_skip_client, NULL},
    {LEVEL_TOP, "crypto ikev2 keyring", take_keyring_xe, NULL},
    {LEVEL_TOP, "crypto ikev2 profile", take_profile_xe, NULL},
    {LEVEL_TOP, "sks profile", take_sks_profile, NULL},
    {LEVEL_TOP, "keyring", take_keyring_xr, NULL},
    {LEVEL_TOP, "ikev2 profile", take_profile_xr, NULL},
    {LEVEL_SKS, "server", take_server, NULL},
    {LEVEL_SKS, "kme server", take_kme_server, NULL},
    {LEVEL_SKS, "psk id", take_tls_psk, NULL},
    {LEVEL_KEYRING, "peer", take_peer, NULL},
    {LEVEL_PEER, "address", take_address, NULL},
    {LEVEL_PEER, "ppk dynamic", take_ppk_dynamic, NULL},
    {LEVEL_PEER, "ppk manual id", take_ppk_manual, NULL},
    {LEVEL_PEER, "pre-shared-key", take_psk, NULL},
    {LEVEL_PEER, "identity", NULL, "peers are told apart by address, or by their names here"},
    {LEVEL_PEER, "hostname", NULL, "peers are told apart by address, or by their names here"},
    {LEVEL_PEER, "description", NULL, "there are no descriptions here"},
    {LEVEL_PROFILE, "match identity remote address", take_match, NULL},
    {LEVEL_PROFILE, "match address local", NULL, "the own address is the IKE daemon's matter"},
    {LEVEL_PROFILE, "match address", take_match_short, NULL},
    {LEVEL_PROFILE, "match", NULL, "profiles match addresses only"},
    {LEVEL_PROFILE, "keyring ppk", take_keyring_ppk, NULL},
    {LEVEL_PROFILE, "keyring local", take_keyring_local, NULL},
    {LEVEL_PROFILE, "keyring aaa", NULL, "there is no AAA here"},
    {LEVEL_PROFILE, "keyring", take_keyring, NULL},
};

/* Does the line begin with these keywords? */
static bool begins(const struct import *im, const char *keywords)
{
    for (size_t i = 0; *keywords != '\0'; i++) {
        size_t len = strcspn(keywords, " ");

        if (i >= im->n_words || strlen(im->words[i]) != len || strncasecmp(im->words[i], keywords, len) != 0)
            return false;
        keywords += len + (keywords[len] == ' ');
    }
    return true;
}

static const struct command *command_find(const struct import *im, enum level level)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (commands[i].level == level && begins(im, commands[i].keywords))
            return &commands[i];
    }
    return NULL;
}

/* ---- lines ---- */

static void words_read(struct import *im, char *line)
{
    char *rest = line, *word;

    im->n_words = 0;
    while (im->n_words < WORDS_MAX && (word = strsep(&rest, " \t\r")) != NULL) {
        if (word[0] != '\0')
            im->words[im->n_words++] = word;
    }
}

static void block_leave(struct import *im)
{
    im->level = im->muted = LEVEL_TOP;
    im->indented = false;
}

static void level_leave(struct import *im)
{
    if (im->level == LEVEL_PEER)
        im->level = LEVEL_KEYRING;
    else
        block_leave(im);
}

/* A line in the level at hand, or of the keyring around a peer, or one that begins something else. In a text
 * without indentation that is hard to tell, since a profile has a "keyring", too: of two that fit, it is the
 * level's own, unless a "!" stands before it. */
static const struct command *line_place(struct import *im, bool indented)
{
    const struct command *top = indented ? NULL : command_find(im, LEVEL_TOP), *c = NULL;
    bool left = !indented && (im->indented || (im->barred && top != NULL));

    im->barred = false;
    if (im->level != LEVEL_TOP && !left)
        c = command_find(im, im->level);
    if (c == NULL && im->level == LEVEL_PEER && !left)
        c = command_find(im, LEVEL_KEYRING);
    if (c != NULL || indented) {
        im->indented = im->indented || indented;
        return c;
    }
    block_leave(im);
    return top;
}

/* Lines that only divide, or leave a level. */
static bool line_divides(struct import *im, bool indented)
{
    if (im->n_words == 0)
        return true;
    if (im->words[0][0] == '!')
        im->barred = im->barred || (!indented && im->words[0][1] == '\0');
    else if (is(im, 0, "exit"))
        level_leave(im);
    else if (is(im, 0, "end"))
        block_leave(im);
    else
        return false;
    return true;
}

static void line_take(struct import *im, char *line)
{
    bool indented = *line == ' ' || *line == '\t';
    const struct command *c;

    words_read(im, line);
    if (line_divides(im, indented))
        return;
    c = line_place(im, indented);
    if (c == NULL && im->level == LEVEL_TOP) {
        im->others++;
        return;
    }
    if (c == NULL) {
        note(im, im->line, "left out: %s: %s", im->words[0],
             im->level == LEVEL_PROFILE ? "it is the IKE daemon's matter (swanctl.conf)" : "unknown here");
        return;
    }
    if (im->muted != LEVEL_TOP && c->level != LEVEL_TOP && c->take != take_peer)
        mute_note(im, c->keywords);
    else if (c->take == NULL)
        note(im, im->line, "left out: %s: %s", c->keywords, c->reason);
    else
        c->take(im);
}

/* Behind "banner motd ^C" anything may stand, up to the same sign again. How many bytes these are, of the
 * `left` that begin with this line of `n`; 0: it begins no such text. */
static size_t banner_length(const char *line, size_t n, size_t left)
{
    static const char BANNER[] = "banner ";
    const size_t before = sizeof BANNER - 1;
    const char *sign, *end;
    size_t len;

    if (n <= before || strncasecmp(line, BANNER, before) != 0)
        return 0;
    sign = memchr(line + before, ' ', n - before);
    if (sign == NULL || ++sign == line + n || (*sign != '\x03' && !ispunct((unsigned char)*sign)))
        return 0;
    len = line + n - sign > 1 && strncmp(sign, "^C", 2) == 0 ? 2 : 1;
    end = memmem(sign + len, left - (size_t)(sign + len - line), sign, len);
    return end != NULL ? (size_t)(end + len - line) : 0;
}

static void lines_read(struct import *im, const char *config, size_t len)
{
    char line[CONFIG_LINE_MAX + 1];
    const size_t begin = len >= 3 && memcmp(config, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* a byte order mark */
    size_t banner = 0;                                                               /* where its text ends */

    for (size_t at = begin; at < len && !im->failed;) {
        const char *end = memchr(config + at, '\n', len - at);
        size_t n = end != NULL ? (size_t)(end - (config + at)) : len - at;

        im->line++;
        if (at < banner) {
            im->others++;
        } else if (n > CONFIG_LINE_MAX || memchr(config + at, '\0', n) != NULL) {
            note(im, im->line, "left out: the line is too long, or has a NUL byte in it");
        } else {
            memcpy(line, config + at, n);
            line[n] = '\0';
            banner = at + banner_length(config + at, n, len - at);
            line_take(im, line);
        }
        at += n + 1;
    }
    explicit_bzero(line, sizeof line);
    im->n_words = 0;
    memset(im->words, 0, sizeof im->words);
}

/* ---- the check ---- */

static void whole_print(const struct import *im, struct text *out)
{
    for (size_t i = 0; i < im->n; i++) {
        if (im->lines[i].text != NULL)
            text_printf(out, "%*s%s\n", (int)im->lines[i].depth, "", im->lines[i].text);
        else
            text_printf(out, "! left out: line %u of the router's\n", im->lines[i].line);
    }
}

/* Leaves out a line, with what belongs to it. */
static void line_drop(struct import *im, size_t i, const char *reason)
{
    unsigned depth = im->lines[i].depth;

    if (im->lines[i].text == NULL)
        return;
    note(im, im->lines[i].line, "left out: %s%s", reason,
         strncmp(im->lines[i].text, "ppk ", 4) == 0 ? WITHOUT_PPK : "");
    do {
        if (im->lines[i].text != NULL)
            explicit_bzero(im->lines[i].text, strlen(im->lines[i].text));
        free(im->lines[i].text);
        im->lines[i++].text = NULL;
    } while (i < im->n && im->lines[i].depth > depth);
}

/* Leaves out what our parser says is wrong. False: it is something else. */
static bool mistakes_drop(struct import *im, char *errors)
{
    char *rest = errors, *error;
    bool dropped = false;

    while ((error = strsep(&rest, "\n")) != NULL) {
        char *reason;
        unsigned long at;

        if (strncmp(error, CHECKED ":", strlen(CHECKED ":")) != 0)
            continue;
        at = strtoul(error + strlen(CHECKED ":"), &reason, 10);
        if (at == 0 || at > im->n || strncmp(reason, ": ", 2) != 0)
            continue;
        dropped = true;
        line_drop(im, at - 1, reason + 2);
    }
    return dropped;
}

static bool whole_check(struct import *im, struct text *out)
{
    for (unsigned pass = 0; pass < PASSES_MAX; pass++) {
        struct text errors = {0};
        struct configuration *c;
        bool again;

        text_free(out);
        whole_print(im, out);
        c = configuration_parse(CHECKED, out->s != NULL ? out->s : "", out->len, &errors);
        im->failed = out->failed || errors.failed || (c == NULL && errors.s == NULL) ||
                     (errors.s != NULL && strstr(errors.s, "memory left") != NULL);
        again = c == NULL && !im->failed && mistakes_drop(im, errors.s);
        text_free(&errors);
        configuration_free(c);
        if (c != NULL && !im->failed)
            return true;
        if (!again)
            break;
    }
    text_printf(im->notes, "%s: %s\n", im->name, im->failed ? "no memory left" : "too much in it is wrong");
    return false;
}

bool router_import(const char *name, const char *config, size_t len, struct text *out, struct text *notes)
{
    struct import im = {.name = name, .notes = notes};
    bool good = false;

    lines_read(&im, config, len);
    if (im.others > 0)
        text_printf(notes, "%s: %zu lines are about other things, and were not looked at\n", name, im.others);
    if (im.failed)
        text_printf(notes, "%s: no memory left\n", name);
    else if (im.n == 0)
        text_printf(notes,
                    "%s: there is no keyring, no IKEv2 profile, no SKIP client and no sks profile in it\n",
                    name);
    else
        good = whole_check(&im, out);
    if (!good)
        text_free(out);
    for (size_t i = 0; i < im.n; i++) {
        if (im.lines[i].text != NULL)
            explicit_bzero(im.lines[i].text, strlen(im.lines[i].text));
        free(im.lines[i].text);
    }
    free(im.lines);
    return good && !out->failed;
}
