/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppkctl/ppkctl.h"

#include <string.h>

static const struct {
    const char *name;
    const char *command; /* of the language, that it shows; NULL: all */
    const char *title;
} parts[] = {
    {"running-config", NULL, NULL},
    {"keyring", "keyring", "keyring"},
    {"sks-profile", "sks", "sks profile"},
    {"ikev2-profile", "ikev2", "ikev2 profile"},
};
#define PARTS (sizeof parts / sizeof parts[0])

int show_run(const struct options *o, int argc, char **argv)
{
    struct configuration *c;
    struct text out = {0};
    size_t part = 0;

    /* shortened as on a router: they all begin differently */
    while (part < PARTS && (argv[0][0] == '\0' || strncmp(parts[part].name, argv[0], strlen(argv[0])) != 0))
        part++;
    if (part == PARTS) {
        say("show: '%s' is none of running-config, keyring, sks-profile, ikev2-profile", argv[0]);
        return PPKCTL_USAGE;
    }
    if (argc > 1 && parts[part].command == NULL) {
        say("show running-config takes no name");
        return PPKCTL_USAGE;
    }
    c = load(o->config);
    if (c == NULL)
        return PPKCTL_FAILED;
    configuration_print(c, parts[part].command, argc > 1 ? argv[1] : NULL, &out);
    configuration_free(c);
    if (argc > 1 && out.len == 0 && !out.failed) {
        say("%s: there is no %s \"%s\"", o->config, parts[part].title, argv[1]);
        return PPKCTL_FAILED;
    }
    return put(&out);
}
