/* SPDX-License-Identifier: BSD-2-Clause */
/* ppkctl: the operator's command. One file per subcommand, one table in main.c. */
#ifndef PPK_PPKCTL_PPKCTL_H
#define PPK_PPKCTL_PPKCTL_H

#include "base/secret.h"
#include "keyring/keyring.h"

/* Exit codes. */
enum { PPKCTL_OK = 0, PPKCTL_FAILED = 1, PPKCTL_USAGE = 2 };

/* What the options say; a subcommand's entry in the table of main.c names those that it knows. */
struct options {
    const char *config; /* never NULL: --config, $PPK_CONF, or the default */
    bool config_given;  /* by --config */
    const char *module;
    const char *keyring;
    const char *id;
    const char *hmac;
    const char *master_key_file;
    const char *other_end;             /* the configuration at the other end */
    const char *output;                /* where to write */
    const char *kind;                  /* of a router, for the other end's configuration */
    const char *address;               /* of this host */
    uint32_t size;                     /* bits, or 0 */
    uint32_t process, count, interval; /* or 0 */
    bool json, openmetrics;
    bool hex;
    bool quiet;
    bool no_key;
};

/* The subcommands: `argc` arguments at `argv`, without the subcommand and the options. Return an exit code.
 */
int check_run(const struct options *o, int argc, char **argv);
int show_run(const struct options *o, int argc, char **argv);
int monitor_run(const struct options *o, int argc, char **argv);
int encrypt_run(const struct options *o, int argc, char **argv);
int fetch_run(const struct options *o, int argc, char **argv);
int capabilities_run(const struct options *o, int argc, char **argv);
int test_run(const struct options *o, int argc, char **argv);
int connect_test_run(const struct options *o, int argc, char **argv);
int import_run(const struct options *o, int argc, char **argv);
int manual_run(const struct options *o, int argc, char **argv);
int completion_run(const struct options *o, int argc, char **argv);

/* What `show running-config --for` shows: what the other end of each peer is to have. Returns an exit code.
 */
int mirror_show(const struct options *o);

/* Appends ppkctl(1) in mdoc, from the tables of main.c. */
void ppkctl_manual(struct text *out);

/* Appends a script that completes the command line in bash, from the same tables. */
void ppkctl_completion(struct text *out);

/* Loads a configuration; says on stderr what is wrong with it. NULL: nothing can be done. */
struct configuration *load(const char *path);

/* "ppkctl: …" on stderr. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* Writes a text to stdout and frees it. Returns an exit code. */
int put(struct text *t);

#endif
