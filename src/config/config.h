/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration language: commands as on a router, one per line, in nested levels. A language is one
 * table of commands (struct config_language); its parser, the printing of what is configured, and its manual
 * page are all made from that table.
 *
 * How a program uses it (the token's language is in src/keyring, the key source's in src/skipd):
 *
 *     enum { TOP, CLIENT };
 *     static const struct config_level levels[] = {{"", "…"}, {"client NAME", "Who may ask …"}};
 *     static const struct config_command commands[] = {
 *         {CONFIG_IN(TOP), "listen port <N:1-65535>", 0, CONFIG_ONCE, "Port to listen at.", apply_port,
 * print_port}, {CONFIG_IN(TOP), "client <NAME:64>", CLIENT, 0, "A client.", apply_client, print_clients},
 *         {CONFIG_IN(CLIENT), "psk key [0|6|hex] <KEY:secret>", 0, CONFIG_ONCE, "Its PSK.", apply_psk,
 * print_psk},
 *     };
 *     static void apply_port(struct config_call *call)
 *     {
 *         struct skipd_conf *conf = call->context;
 *         conf->port = (uint16_t)config_get(call, "N")->number;
 *     }
 *
 *     struct config_errors errors = {0};
 *     config_read_file(&language, conf, path, &errors);
 *     ... resolve references; config_error(&errors, line, "unknown client '%s'", name) ...
 *     if (errors.count > 0) { config_errors_print(&errors, path, out); ... }
 *     config_errors_free(&errors);
 *
 * Syntax of a command, as in the manual page but for the types:
 *     word               a keyword; it may be shortened as long as it is unambiguous
 *     <NAME>             any word              <NAME:64>        a word of 1 to 64 bytes
 *     <N:1-65535>        a decimal number      <KEY:secret>     a secret: never quoted in an error
 *     <FILE:file>        the name of a file; a relative one is made to count from the configuration file's
 * directory <A.B.C.D:ipv4> <X:X::X:ipv6> <HOST:host>   an address, an address, a host name <ADDRESS:group> an
 * address group: one or two words (address.h) {a|b}              one of these keywords; its value is known as
 * "a|b" [a|b]              the same, and may be missing; has to be written in full [word …]           an
 * option that begins with a keyword; an option of one keyword is known by that word The keywords before the
 * first argument tell the commands of a level apart; a word that is a keyword in full wins over an argument.
 *
 * Lines: words are separated by blanks; a word that begins with ! begins a comment; "…" makes a word of what
 * has blanks, begins with ! or " or is empty (\" and \\ inside stand for " and \). Indentation is free. A
 * command that is not one of the present level but of a level around it leaves the present one; `exit` leaves
 * one level, `end` all. A router's prompt in front of a line is skipped, and `configure terminal` and
 * `commit` are taken, so that a session can be pasted. */
#ifndef PPK_CONFIG_CONFIG_H
#define PPK_CONFIG_CONFIG_H

#include "base/secret.h"
#include "config/address.h"

/* Bounds: bytes of a line without its end, words of a line, bytes of a file, mistakes that are told. */
#define CONFIG_LINE_MAX   16000
#define CONFIG_WORDS_MAX  64
#define CONFIG_FILE_MAX   (64UL << 20)
#define CONFIG_ERRORS_MAX 100
/* Values of one command, levels of a language, commands of a language. */
#define CONFIG_VALUES_MAX   12
#define CONFIG_LEVELS_MAX   8
#define CONFIG_COMMANDS_MAX 64

struct config_call;
struct config_printer;

struct config_level {
    const char
        *title;       /* the command that opens it, for people: "peer NAME"; "" for the top level, number 0 */
    const char *help; /* a sentence for the manual page */
};

#define CONFIG_IN(level) (1U << (level))
enum { CONFIG_ONCE = 1 /* a second time in the same level is a mistake */ };

struct config_command {
    unsigned levels;    /* CONFIG_IN() of the level(s) that it is valid in */
    const char *syntax; /* see above */
    unsigned opens;     /* the level that it opens, or 0 */
    unsigned flags;     /* CONFIG_ONCE */
    const char *help;   /* for the manual page, in mdoc's text: sentences */
    void (*apply)(struct config_call *call);
    /* Writes this command for what is configured in `object`, the level's object, with config_print(): any
     * number of lines. NULL: the command is another spelling, printed by another one. */
    void (*print)(struct config_printer *p, const void *object);
};

struct config_language {
    const char *name;  /* of the file and its manual page: "ppk.conf" */
    const char *about; /* one line for the manual page's NAME */
    const char *intro; /* mdoc text for its DESCRIPTION, before what is common to all languages */
    const char *outro; /* mdoc text after the commands: FILES, EXAMPLES, SEE ALSO */
    const struct config_level *levels;
    size_t n_levels;
    const struct config_command *commands;
    size_t n_commands;
};

/* ---- mistakes ---- */

struct config_errors {
    struct config_mistake *list;
    size_t count; /* all of them, also those beyond CONFIG_ERRORS_MAX, which are not kept */
    size_t kept, room;
};

/* Adds a mistake; `line` 0: of the file as a whole. Never a secret. */
__attribute__((format(printf, 3, 4))) void config_error(struct config_errors *e, unsigned line,
                                                        const char *format, ...);

/* Appends "NAME:LINE: what is wrong\n" for each, in the order of the lines ("NAME: …" for those without). */
void config_errors_print(const struct config_errors *e, const char *name, struct text *out);

void config_errors_free(struct config_errors *e);

/* ---- reading ---- */

/* An argument, choice or option of the command at hand. */
struct config_value {
    const char
        *text; /* the word, terminated; valid during the call only (it lies in secret memory, and is wiped) */
    size_t len;
    uint64_t number;            /* numbers */
    unsigned choice;            /* choices: 0, 1, … */
    struct address_group group; /* ipv4, ipv6, group */
};

struct config_call {
    void *context; /* of config_read_*() */
    unsigned line;
    const char *directory; /* "DIR" of the configuration file, "." if it has none */
    bool skip_level;       /* `apply` may set it: nothing in the level that the command opens is applied */
    /* private */
    struct config_errors *errors;
    const struct syntax *syntax;
    struct config_value values[CONFIG_VALUES_MAX];
    bool present[CONFIG_VALUES_MAX];
};

/* The value of this name in the command's syntax ("NAME", "raw|text", "required"), or NULL if it was an
 * option and is missing. */
const struct config_value *config_get(const struct config_call *call, const char *name);

/* Says that this line is wrong. */
__attribute__((format(printf, 2, 3))) void config_wrong(struct config_call *call, const char *format, ...);

/* Takes the secret of a command with "[0|6|hex] <KEY:secret>": `min` to `max` bytes. On success either *value
 * (Type 0: the text's bytes; hex: what it means) or *sealed (Type 6: its text) is set, for the caller to
 * free. False: the mistake has been told. `what` names it in errors ("PPK"). */
bool config_secret_take(struct config_call *call, const char *name, const char *what, size_t min, size_t max,
                        struct secret **value, char **sealed);

/* A file argument as an absolute name or one that begins with the configuration's directory; the caller frees
 * it. NULL: no memory. */
char *config_file_name(const struct config_call *call, const char *name);

/* Reads a configuration: calls `apply` for each command, in order, and adds all mistakes to `errors`. A
 * command with mistakes in its syntax is not applied; and neither is what is in the level that it should have
 * opened. True: no mistakes (so far: references are the caller's to resolve). config_read_file() checks the
 * file as config_file_open() does, and refuses one that holds clear secrets and that others can read. */
bool config_read_file(const struct config_language *l, void *context, const char *path,
                      struct config_errors *errors);
bool config_read_buffer(const struct config_language *l, void *context, const char *name, const char *buffer,
                        size_t len, struct config_errors *errors);

/* ---- files ---- */

enum config_file_kind {
    CONFIG_FILE_PLAIN,  /* certificates, configurations */
    CONFIG_FILE_SECRET, /* keys: others must not read it */
};

/* Opens a file for reading if it can be trusted: a regular file that belongs to root or to the effective user
 * and that neither its group nor others can write (checked on the open file). Returns the descriptor, or -1
 * with the reason in `fault`. */
int config_file_open(const char *path, enum config_file_kind kind, struct fault *fault);

/* Reads a master key from a file (CONFIG_FILE_SECRET): its content of 1 to 512 bytes without one line end.
 * NULL with the reason in `fault`. */
struct secret *config_master_key_read(const char *path, struct fault *fault);

/* ---- printing and documentation ---- */

struct config_printer {
    struct text *out;
    const struct config_language *language;
    const char
        *only_command; /* print only the top level's commands that begin with this keyword (NULL: all) ... */
    const char *only_name; /* ... and of those only the ones whose first value is this (NULL: all) */
    /* private */
    const struct config_command *command;
    unsigned depth;
};

/* Prints what `object` (the top level's) holds, in the order of the table. */
void config_print_all(struct config_printer *p, const void *object);

/* For `print` functions. Writes one line of the command: its keywords, and the values in the order of its
 * syntax, where an argument, a choice and an option of one keyword each take one; NULL leaves an option out.
 * If the command opens a level, what `object` holds follows. */
void config_print(struct config_printer *p, const char *const *values, size_t n, const void *object);

/* Appends the manual page NAME(5) in mdoc. */
void config_manual(const struct config_language *l, struct text *out);

/* Is the table itself right (syntax, levels, bounds)? For tests; the reason is in `fault`. */
bool config_language_check(const struct config_language *l, struct fault *fault);

#endif
