/* SPDX-License-Identifier: BSD-2-Clause */
/* skipd: the key source. */
#include "base/log.h"
#include "config/config.h"
#include "skipd/accept.h"
#include "skipd/daemon.h"
#include "skipd/process.h"

#include <getopt.h>
#include <stdio.h>

#define CONF_DEFAULT "/etc/ppk-pkcs11/skipd.conf"

struct options {
    const char *conf, *ready_file;
    bool check_only, syslog, manual, completion;
};

static int usage(FILE *to, int status)
{
    fputs("usage: skipd [-c FILE] [-t] [-f] [--syslog] [--ready-file FILE]\n"
          "  -c, --config FILE      configuration (default: " CONF_DEFAULT ")\n"
          "  -t, --test             check the configuration and end\n"
          "  -f, --foreground       stay in the foreground (always so; for habit)\n"
          "      --syslog           log to the system's log instead of stderr\n"
          "      --manual           print the manual page skipd.conf(5), in mdoc, and end\n"
          "      --completion       print the completion of this command line for bash, and end\n"
          "      --ready-file FILE  written once all listeners are open: a line \"listen ADDRESS:PORT\" for "
          "each\n"
          "  -h, --help             show this text\n"
          "Environment: PPK_LOG=[DEST:]LEVEL\n",
          to);
    return status;
}

/* All that have an argument want a file. */
static const struct option LONG[] = {
    {"config", required_argument, NULL, 'c'},
    {"test", no_argument, NULL, 't'},
    {"foreground", no_argument, NULL, 'f'},
    {"syslog", no_argument, NULL, 's'},
    {"ready-file", required_argument, NULL, 'r'},
    {"help", no_argument, NULL, 'h'},
    {"manual", no_argument, NULL, 'm'},
    {"completion", no_argument, NULL, 'b'},
    {NULL, 0, NULL, 0},
};

/* True: go on. Else *status is the exit status. */
static bool options_read(int argc, char **argv, struct options *o, int *status)
{
    int c = 0;

    while ((c = getopt_long(argc, argv, "c:tfh", LONG, NULL)) != -1) {
        switch (c) {
        case 'c':
            o->conf = optarg;
            break;
        case 't':
            o->check_only = true;
            break;
        case 'f':
            break;
        case 's':
            o->syslog = true;
            break;
        case 'r':
            o->ready_file = optarg;
            break;
        case 'm':
            o->manual = true;
            break;
        case 'b':
            o->completion = true;
            break;
        case 'h':
            *status = usage(stdout, 0);
            return false;
        default:
            *status = usage(stderr, 2);
            return false;
        }
    }
    if (optind < argc) {
        *status = usage(stderr, 2);
        return false;
    }
    return true;
}

/* The script that completes the command line in bash. */
static void completion(struct text *out)
{
    text_printf(out, "# SPDX-License-Identifier: BSD-2-Clause\n"
                     "# Completion of skipd's command line in bash. Made from the table of the options.\n"
                     "_skipd()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]}\n    COMPREPLY=()\n"
                     "    case ${COMP_WORDS[COMP_CWORD - 1]} in\n    -c");
    for (const struct option *o = LONG; o->name != NULL; o++)
        if (o->has_arg == required_argument)
            text_printf(out, " | --%s", o->name);
    text_printf(out,
                ")\n        compopt -o filenames\n        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                "        return ;;\n    esac\n    COMPREPLY=($(compgen -W '");
    for (const struct option *o = LONG; o->name != NULL; o++)
        text_printf(out, "%s--%s", o == LONG ? "" : " ", o->name);
    text_printf(out, "' -- \"$cur\"))\n}\ncomplete -F _skipd skipd\n");
}

/* What is made from the tables: the manual page skipd.conf(5), or the completion. */
static int made_print(const struct options *o)
{
    struct text page = {0};
    bool ok = false;

    if (o->manual)
        config_manual(&skipd_language, &page);
    else
        completion(&page);
    ok = !page.failed && page.s != NULL && fputs(page.s, stdout) >= 0 && fflush(stdout) == 0;
    text_free(&page);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct options o = {.conf = CONF_DEFAULT};
    struct skipd_conf *conf = NULL;
    struct daemon *d = NULL;
    struct text errors = {0};
    struct fault fault = {0};
    int status = 1;

    if (!options_read(argc, argv, &o, &status))
        return status;
    if (o.manual || o.completion)
        return made_print(&o);
    process_harden();
    accept_log_divert();
    log_open("skipd", o.syslog ? "syslog:info" : "stderr:info");
    conf = skipd_conf_load(o.conf, &errors);
    if (conf == NULL) {
        fputs(errors.s != NULL ? errors.s : "no memory\n", stderr);
    } else if (o.check_only && daemon_check(conf, &fault)) {
        printf("%s: ok\n", o.conf);
        status = 0;
    } else if (o.check_only) {
        fprintf(stderr, "%s: %s\n", o.conf, fault.text);
    } else {
        d = daemon_start(o.conf, conf, o.ready_file, &fault);
        skipd_conf_free(conf); /* what runs has references of its own, and a later one may take its place */
        conf = NULL;
        if (d != NULL) {
            daemon_run(d);
            status = 0;
        } else {
            log_write(LOG_LEVEL_ERROR, "%s", fault.text);
        }
    }
    daemon_free(d);
    skipd_conf_free(conf);
    text_free(&errors);
    return status;
}
