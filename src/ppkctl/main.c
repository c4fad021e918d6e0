/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"
#include "ppkctl/end.h"
#include "ppkctl/ppkctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct subcommand {
    const char *name;
    const char *arguments; /* for the usage line */
    const char *options;   /* letters, as in the table of options */
    int least, most;       /* how many arguments it takes */
    const char *help;      /* one line */
    const char *manual;    /* mdoc text for ppkctl(1) */
    int (*run)(const struct options *o, int argc, char **argv);
};

static const struct subcommand subcommands[] = {
    {"check", "[FILE]", "c", 0, 1,
     "check a configuration: all of its mistakes, each as FILE:LINE: what is wrong",
     "Checks the configuration\n.Ar FILE ,\nby default the one that the token would read, and the files that "
     "it "
     "names.\n",
     check_run},
    {"show",
     "{running-config [PART [NAME]] | keyring [NAME] | ikev2-profile "
     "[NAME] | "
     "sks-profile [NAME] | ppk | statistics | clients}",
     "cPjOfa", 1, 3,
     "show the configuration without its secrets, or the status of the processes that use the token",
     "Shows the configuration, or the keyrings, sks profiles or IKEv2 profiles of it, or one of these, in "
     "the\n"
     "language of\n.Xr ppk.conf 5 .\nSecrets in clear are shown as\n.Li <removed> ,\nencrypted ones as they "
     "stand.\n"
     "With\n.Fl -for ,\n.Cm show running-config\nshows what the other end of each peer is to have, as the "
     "commands of IOS XR\n.Pq Li ios-xr ,\nof IOS XE\n.Pq Li ios-xe\nor of this configuration\n"
     ".Pq Li ppk.conf ;\nwhat is not known here, and all secrets, are to be filled in there.\n.Pp\n"
     "Or shows the status of all processes that use the token, or of one of them:\n"
     ".Cm sks-profile :\nthe servers of each profile, what they said of themselves, when and how they failed "
     "last, and "
     "how many requests of each kind there were, passed and failed, and how long they took;\n"
     ".Cm ppk :\nthe PPKs of each keyring that are held;\n"
     ".Cm statistics :\nwhat became of PPKs, what could not be retrieved, and, where the IKE stack tells it, "
     "how "
     "many IKE SAs came up with a PPK, and how many authentications with one failed;\n"
     ".Cm clients :\nthe processes.\n"
     "Processes that have ended without a word are shown as\n.Li dead\nfor ten minutes.\n"
     "What processes have counted stays in the sums when they end.\n"
     "With\n.Fl -json\nor\n.Fl -openmetrics\nall of this is written for programs.\n",
     show_run},
    {"monitor", "", "cPCI", 0, 0, "show the status again and again",
     "Shows keyrings, sks profiles and processes again and again: on a terminal as a screen that is redrawn "
     "until\n"
     ".Li q\nor\n.Li ^C\nis typed; else one picture after the other.\n",
     monitor_run},
    {"encrypt", "", "cmx", 0, 0,
     "encrypt secrets for a configuration (type 6): from the terminal, or the lines of stdin",
     "Reads a secret from the terminal, without echo, or each line of standard input as one, and writes it "
     "as a\n"
     "text of type 6 for\n.Xr ppk.conf 5 ,\nencrypted under the master key of\n.Fl -master-key-file\nor else "
     "of "
     "the configuration.\n"
     "Secrets that are encrypted together, or under the master key of a configuration that has such secrets\n"
     "already, share a salt, so that all of them open fast.\n"
     "With\n.Fl -hex\nthe input is in hexadecimal, and the bytes that it means are the secret.\n",
     encrypt_run},
    {"fetch", "PEER", "cdkishm", 1, 1,
     "get a new PPK for a peer, or the one of an ID, through the token; never prints a key",
     "Gets a new PPK for\n.Ar PEER ,\nor, with\n.Fl -id ,\nthe PPK of that ID, through the token, as an IKE "
     "stack "
     "does, and\nprints its ID and what else the token says about it, but never the key.\n"
     "A new PPK is used up by that: no IKE stack gets it.\nWith\n.Fl -hmac\n"
     "the HMAC-SHA-256 of a text under the PPK is printed, so that two ends can see that they have the same "
     "one.\n",
     fetch_run},
    {"capabilities", "[PROFILE]", "c", 0, 1,
     "ask the key sources of an sks profile, or of all, what they are able to do",
     "Asks each server of the sks profile\n.Ar PROFILE ,\nor of all profiles, for its capabilities, and "
     "shows "
     "them.\n",
     capabilities_run},
    {"test", "PEER", "cdkmoqn", 1, 1,
     "test the whole chain of a peer step by step: configuration, key source, key, other end",
     "Goes through all that a PPK for\n.Ar PEER\nneeds, step by step: the configuration, its permissions and "
     "secrets; the token; for each key source\nthe name, the address, TLS and who it is, and whether its "
     "capabilities fit; a new key; and, with\n.Fl -other-end ,\nthe same of the other end, and that it gets "
     "the same key by its ID.\n"
     "A step that fails tells the cause and what to do about it; what depends on it is not tried.\n"
     "No key is ever shown.\n"
     "One new key is used up, and destroyed, unless a step before failed or\n.Fl -no-key\nis given.\n"
     "Ticks and colours are for terminals (no colours where\n.Ev NO_COLOR\nis set); elsewhere each step "
     "begins "
     "with ok, note, skip or FAIL.\nThe exit status is that of the first failure, see\n.Sx EXIT STATUS .\n",
     test_run},
    {"connect-test", "FILE FILE", "dmqn", 2, 2,
     "test every pair of peers of two configurations, in both directions",
     "Does what\n.Cm test\ndoes for each pair of peers of two configurations, in both directions: where both "
     "ends are on one host, or their\nconfigurations and key sources within reach of one.\n"
     "The exit status is as with\n.Cm test .\n",
     connect_test_run},
    {"import", "FILE", "w", 1, 1, "make a configuration of a router's (IOS XE, IOS XR)",
     "Reads the running configuration of a router, IOS XE\n.Pq Ic crypto skip-client , crypto ikev2 keyring "
     ", "
     "crypto ikev2 profile\nor IOS XR\n.Pq Ic sks profile , keyring , ikev2 profile ,\nfrom\n.Ar FILE\n"
     "(- is standard input), and writes what\n.Xr ppk.conf 5\nhas for it.\n"
     "What has to be left out is listed on standard error, with its line and the reason.\n"
     "Secrets are taken in clear or in hexadecimal; those of Type 6, 7 and the like are left out: they are "
     "encrypted\nunder a key of the router's, or are not keys at all.\n",
     import_run},
    {"manual", "[ppk.conf | ppkctl]", "", 0, 1, "print the manual page ppk.conf(5), or ppkctl(1), in mdoc",
     "Prints the manual page in mdoc, for\n.Xr man 1 .\n", manual_run},
    {"completion", "", "", 0, 0, "print the completion of ppkctl's command line for bash",
     "Prints a script for\n.Xr bash 1\nthat completes ppkctl's command line.\n", completion_run},
};
/* How "test" and "connect-test" end. */
static const struct {
    int code;
    const char *meaning;
} test_codes[] = {
    {TEST_OK, "all is well"},
    {TEST_CONFIGURATION, "the configuration, its files or secrets, the token, or standard output"},
    {PPKCTL_USAGE, "wrong usage"},
    {TEST_CONNECT, "name, address or port of a key source"},
    {TEST_TLS, "TLS"},
    {TEST_CAPABILITIES, "the key source does not serve this peer"},
    {TEST_KEY, "it gives no key"},
    {TEST_OTHER_END, "the other end does not fit"},
};
#define TEST_CODES (sizeof test_codes / sizeof test_codes[0])

#define SUBCOMMANDS (sizeof subcommands / sizeof subcommands[0])

#define OPTION_HELP 256
static const struct {
    const char *name;
    const char *argument; /* NULL: has none */
    char letter;
    const char *help;
} option_table[] = {
    {"config", "FILE", 'c', "the configuration; by default $PPK_CONF or " PPK_CONF_DEFAULT},
    {"module", "FILE", 'd', "the token; by default the one that belongs to this ppkctl"},
    {"keyring", "NAME", 'k', "the keyring of the peer, where several have it"},
    {"id", "ID", 'i', "the ID of the PPK, in hexadecimal or as text"},
    {"size", "BITS", 's', "the size of a new PPK, in bits"},
    {"hmac", "TEXT", 'h', "print the HMAC-SHA-256 of TEXT under the PPK"},
    {"master-key-file", "FILE", 'm', "the file with the master key of the secrets of type 6"},
    {"other-end", "FILE", 'o', "the configuration at the other end, to get the key there, too"},
    {"no-key", NULL, 'n', "do not use up a key"},
    {"for", "KIND", 'f', "show the other end's configuration: ios-xr, ios-xe or ppk.conf"},
    {"local-address", "ADDRESS", 'a', "the address of this host, for the other end's configuration"},
    {"output", "FILE", 'w', "write to a new file, which only its owner can read, instead of stdout"},
    {"quiet", NULL, 'q', "show only what failed, on stderr"},
    {"hex", NULL, 'x', "secrets are given in hexadecimal"},
    {"process", "PID", 'P', "only the status of this process"},
    {"json", NULL, 'j', "write all of the status as JSON"},
    {"openmetrics", NULL, 'O', "write all of the status as OpenMetrics"},
    {"count", "N", 'C', "end after so many times"},
    {"interval", "SECONDS", 'I', "the time between them; by default 2 seconds"},
};
#define OPTIONS (sizeof option_table / sizeof option_table[0])

void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)fputs("ppkctl: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

int put(struct text *t)
{
    int code = PPKCTL_OK;

    if (t->failed) {
        say("no memory left");
        code = PPKCTL_FAILED;
    } else if ((t->len > 0 && fwrite(t->s, 1, t->len, stdout) != t->len) || fflush(stdout) != 0) {
        say("standard output: %s", strerrordesc_np(errno));
        code = PPKCTL_FAILED;
    }
    text_free(t);
    return code;
}

struct configuration *load(const char *path)
{
    struct text errors = {0};
    struct configuration *c = configuration_load(path, &errors);

    if (c == NULL)
        (void)fputs(errors.s != NULL ? errors.s : "ppkctl: no memory left\n", stderr);
    text_free(&errors);
    return c;
}

/* ---- help ---- */

static void subcommand_help(const struct subcommand *s)
{
    (void)printf("usage: ppkctl %s [options] %s\n\n%s\n\noptions:\n", s->name, s->arguments, s->help);
    for (size_t i = 0; i < OPTIONS; i++) {
        const char *argument = option_table[i].argument;
        char left[40];

        if (strchr(s->options, option_table[i].letter) == NULL)
            continue;
        (void)snprintf(left, sizeof left, "--%s%s%s", option_table[i].name, argument != NULL ? " " : "",
                       argument != NULL ? argument : "");
        (void)printf("  %-24s %s\n", left, option_table[i].help);
    }
    (void)printf("  %-24s %s\n", "--help", "show this text");
    if (s->run != test_run && s->run != connect_test_run)
        return;
    (void)printf("\nexit codes, of the first failure:\n");
    for (size_t i = 0; i < TEST_CODES; i++)
        (void)printf("  %d %s\n", test_codes[i].code, test_codes[i].meaning);
}

static void help(FILE *to)
{
    (void)fputs("usage: ppkctl SUBCOMMAND [options] [arguments]\n\nsubcommands:\n", to);
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        (void)fprintf(to, "  %-14s %s\n", subcommands[i].name, subcommands[i].help);
    (void)fputs("\n\"ppkctl SUBCOMMAND --help\" tells more. Exit codes: 0 done, 1 failed, 2 wrong usage "
                "(more of \"test\": "
                "its help, and ppkctl(8)).\n",
                to);
}

void ppkctl_manual(struct text *out)
{
    text_printf(out, ".\\\" SPDX-License-Identifier: BSD-2-Clause\n"
                     ".\\\" Made from the table of the subcommands.\n"
                     ".Dd November 23, 2026\n.Dt PPKCTL 1\n.Os\n.Sh NAME\n.Nm ppkctl\n"
                     ".Nd look after the PKCS#11 token for postquantum preshared keys\n.Sh SYNOPSIS\n");
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        text_printf(out, ".Nm\n.Cm %s\n.Op Ar options\n", subcommands[i].name);
        if (subcommands[i].arguments[0] != '\0')
            text_printf(out, ".Ar %s\n", subcommands[i].arguments);
    }
    text_printf(out, ".Sh DESCRIPTION\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        text_printf(out, ".It Cm %s\n%s", subcommands[i].name, subcommands[i].manual);
    text_printf(out, ".El\n.Pp\nThe options are, where they apply:\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < OPTIONS; i++) {
        const char *argument = option_table[i].argument;

        text_printf(out, ".It Fl -%s%s%s\n%s.\n", option_table[i].name, argument != NULL ? " Ar " : "",
                    argument != NULL ? argument : "", option_table[i].help);
    }
    text_printf(out, ".It Fl -help\nshow a short help.\n.El\n"
                     ".Sh ENVIRONMENT\n.Bl -tag -width Ds\n.It Ev PPK_CONF\nthe configuration.\n"
                     ".It Ev PPK_STATUS_DIR\nthe directory of the processes' status; by default as in the "
                     "configuration.\n.It Ev NO_COLOR\nif it is set, no colours.\n"
                     ".It Ev PPK_LOG\nwhere the log goes, as\n.Ar DEST : Ns Ar LEVEL ;\nby default\n"
                     ".Li stderr:warning .\n.El\n"
                     ".Sh EXIT STATUS\n0: done; 1: failed; 2: wrong usage.\nOf\n.Cm test\nand\n"
                     ".Cm connect-test ,\nwhich tell the first failure by it:\n.Pp\n"
                     ".Bl -tag -compact -width 4n\n");
    for (size_t i = 0; i < TEST_CODES; i++)
        text_printf(out, ".It %d\n%s%c\n", test_codes[i].code, test_codes[i].meaning,
                    i + 1 < TEST_CODES ? ';' : '.');
    text_printf(out,
                ".El\n"
                ".Sh EXAMPLES\nIs the tunnel with the peer bob quantum-safe, and if not, why?\n"
                ".Pp\n.Dl ppkctl test bob\n.Pp\nThe same for a monitor that wants the reason only:\n.Pp\n"
                ".Dl ppkctl test bob --no-key --quiet || logger -t ppk \\(dqno PPK for bob\\(dq\n.Pp\n"
                "What a router is to have that stands at the other end:\n.Pp\n"
                ".Dl ppkctl show running-config --for ios-xr --local-address 192.0.2.1\n"
                ".Sh SEE ALSO\n.Xr ppk.conf 5 ,\n.Xr ppk-pkcs11 7 ,\n.Xr skipd 8\n");
}

/* ---- completion ---- */

/* The words that may be written for a subcommand's arguments, out of its usage: those in small letters. NAME
 * and the like are the operator's own. */
static void words_print(const char *arguments, struct text *out)
{
    static const char BETWEEN[] = " {}[]|";

    for (const char *at = arguments + strspn(arguments, BETWEEN); *at != '\0'; at += strspn(at, BETWEEN)) {
        size_t len = strcspn(at, BETWEEN);

        if (*at >= 'a' && *at <= 'z')
            text_printf(out, " %.*s", (int)len, at);
        at += len;
    }
}

void ppkctl_completion(struct text *out)
{
    text_printf(out,
                "# SPDX-License-Identifier: BSD-2-Clause\n"
                "# Completion of ppkctl's command line in bash. Made from the table of the subcommands.\n"
                "_ppkctl()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]} words= files=no\n"
                "    COMPREPLY=()\n    if ((COMP_CWORD == 1)); then\n        words='--help --version");
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        text_printf(out, " %s", subcommands[i].name);
    text_printf(out, "'\n        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n        return\n    fi\n"
                     "    case ${COMP_WORDS[COMP_CWORD - 1]} in\n");
    for (size_t i = 0; i < OPTIONS; i++) {
        const char *argument = option_table[i].argument;

        if (argument != NULL && strcmp(argument, "FILE") == 0)
            text_printf(out,
                        "    --%s) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); "
                        "return ;;\n",
                        option_table[i].name);
        else if (option_table[i].letter == 'f')
            text_printf(
                out, "    --%s) COMPREPLY=($(compgen -W 'ios-xr ios-xe ppk.conf' -- \"$cur\")); return ;;\n",
                option_table[i].name);
        else if (argument != NULL)
            text_printf(out, "    --%s) return ;;\n", option_table[i].name);
    }
    text_printf(out, "    esac\n    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        const struct subcommand *s = &subcommands[i];

        text_printf(out, "    %s) words='--help", s->name);
        for (size_t k = 0; k < OPTIONS; k++)
            if (strchr(s->options, option_table[k].letter) != NULL)
                text_printf(out, " --%s", option_table[k].name);
        words_print(s->arguments, out);
        text_printf(out, strncmp(s->arguments + (s->arguments[0] == '['), "FILE", 4) == 0
                             ? "'; files=yes ;;\n"
                             : "' ;;\n");
    }
    text_printf(
        out,
        "    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
        "    if [ $files = yes ] && [[ $cur != -* ]]; then\n        compopt -o filenames\n"
        "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n    fi\n}\ncomplete -F _ppkctl ppkctl\n");
}

/* ---- options ---- */

static bool size_read(const char *text, uint32_t *size)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n < 8 || n > SECRET_MAX * 8 || n % 8 != 0)
        return false;
    *size = (uint32_t)n;
    return true;
}

static bool number_read(const char *name, const char *text, uint32_t *number)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n == 0 || n > INT32_MAX) {
        say("--%s: '%s' is not a number of 1 or more", name, text);
        return false;
    }
    *number = (uint32_t)n;
    return true;
}

static bool option_take(struct options *o, int letter)
{
    switch (letter) {
    case 'c':
        o->config = optarg;
        o->config_given = true;
        break;
    case 'd':
        o->module = optarg;
        break;
    case 'k':
        o->keyring = optarg;
        break;
    case 'i':
        o->id = optarg;
        break;
    case 'h':
        o->hmac = optarg;
        break;
    case 'm':
        o->master_key_file = optarg;
        break;
    case 'x':
        o->hex = true;
        break;
    case 'o':
        o->other_end = optarg;
        break;
    case 'f':
        o->kind = optarg;
        break;
    case 'a':
        o->address = optarg;
        break;
    case 'w':
        o->output = optarg;
        break;
    case 'n':
        o->no_key = true;
        break;
    case 'q':
        o->quiet = true;
        break;
    case 'P':
        return number_read("process", optarg, &o->process);
    case 'C':
        return number_read("count", optarg, &o->count);
    case 'I':
        return number_read("interval", optarg, &o->interval);
    case 'j':
        o->json = true;
        break;
    case 'O':
        o->openmetrics = true;
        break;
    default: /* 's' */
        if (!size_read(optarg, &o->size)) {
            say("--size: '%s' is not a number of bits, a multiple of 8 up to %d", optarg, SECRET_MAX * 8);
            return false;
        }
        break;
    }
    return true;
}

/* What getopt_long() did not take. Of a letter, argv tells nothing: it may stand among others. */
static void option_wrong(const struct subcommand *s, int c, const char *word)
{
    const bool valued = strncmp(word, "--", 2) == 0 && strchr(word, '=') != NULL;
    const char letter[] = {'-', (char)optopt, '\0'};
    const char *what = "unknown option";

    if (c == ':')
        what = "a value is missing for";
    else if (optopt != 0 && valued)
        what = "no value belongs to";
    else if (optopt != 0)
        word = letter;
    say("%s: %s %s (\"ppkctl %s --help\" lists the options)", s->name, what, word, s->name);
}

/* Reads the options behind the subcommand; false: wrong, and told. */
static bool options_read(const struct subcommand *s, struct options *o, int argc, char **argv,
                         bool *want_help)
{
    struct option known[OPTIONS + 2] = {{0}};
    size_t n = 0;
    int c;

    for (size_t i = 0; i < OPTIONS; i++) {
        if (strchr(s->options, option_table[i].letter) != NULL)
            known[n++] =
                (struct option){.name = option_table[i].name,
                                .has_arg = option_table[i].argument != NULL ? required_argument : no_argument,
                                .val = option_table[i].letter};
    }
    known[n] = (struct option){.name = "help", .val = OPTION_HELP};
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        if (c == OPTION_HELP) {
            *want_help = true;
            return true;
        }
        if (c == ':' || c == '?') {
            option_wrong(s, c, argv[optind - 1]);
            return false;
        }
        if (!option_take(o, c))
            return false;
    }
    return true;
}

static const struct subcommand *subcommand_find(const char *name)
{
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        if (strcmp(subcommands[i].name, name) == 0)
            return &subcommands[i];
    }
    return NULL;
}

/* The words behind "ppkctl". */
static int subcommand_run(int argc, char **argv)
{
    const char *environment = secure_getenv("PPK_CONF");
    struct options o = {.config =
                            environment != NULL && environment[0] != '\0' ? environment : PPK_CONF_DEFAULT};
    const struct subcommand *s = subcommand_find(argv[0]);
    bool want_help = false;

    if (s == NULL) {
        say("unknown subcommand '%s' (\"ppkctl --help\" lists them)", argv[0]);
        return PPKCTL_USAGE;
    }
    if (!options_read(s, &o, argc, argv, &want_help))
        return PPKCTL_USAGE;
    if (want_help) {
        subcommand_help(s);
        return PPKCTL_OK;
    }
    if (argc - optind < s->least || argc - optind > s->most) {
        say("usage: ppkctl %s [options] %s", s->name, s->arguments);
        return PPKCTL_USAGE;
    }
    return s->run(&o, argc - optind, argv + optind);
}

static int words_run(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return PPKCTL_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        help(stdout);
        return PPKCTL_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)puts("ppkctl " PPK_VERSION);
        return PPKCTL_OK;
    }
    return subcommand_run(argc - 1, argv + 1);
}

/* All is well only if it could be written, too. */
static int output_end(int code)
{
    errno = 0;
    if ((fflush(stdout) == 0 && ferror(stdout) == 0) || code != PPKCTL_OK)
        return code;
    say("standard output: %s", errno != 0 ? strerrordesc_np(errno) : "not all could be written");
    return PPKCTL_FAILED;
}

int main(int argc, char **argv)
{
    const struct rlimit no_core = {0, 0};

    (void)setrlimit(RLIMIT_CORE, &no_core); /* secrets pass through */
    log_open("ppkctl", "stderr:warning");
    return output_end(words_run(argc, argv));
}
