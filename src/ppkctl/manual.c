/* SPDX-License-Identifier: BSD-2-Clause */
#include "config/config.h"
#include "ppkctl/ppkctl.h"

#include <string.h>

int manual_run(const struct options *o, int argc, char **argv)
{
    struct text out = {0};

    (void)o;
    if (argc == 0 || strcmp(argv[0], "ppk.conf") == 0) {
        config_manual(configuration_language(), &out);
    } else if (strcmp(argv[0], "ppkctl") == 0) {
        ppkctl_manual(&out);
    } else {
        say("manual: '%s' is none of ppk.conf, ppkctl", argv[0]);
        return PPKCTL_USAGE;
    }
    return put(&out);
}

int completion_run(const struct options *o, int argc, char **argv)
{
    struct text out = {0};

    (void)o;
    (void)argc;
    (void)argv;
    ppkctl_completion(&out);
    return put(&out);
}
