/* SPDX-License-Identifier: BSD-2-Clause */
/* What is configured, and, of all processes that use the token, how they are doing. */
#include "ppkctl/view.h"

#include <string.h>

enum shown { CONFIGURED, STATUS_PROFILES, STATUS_PPK, STATUS_STATISTICS, STATUS_CLIENTS };

static const struct part {
    const char *name;
    enum shown shown;
    const char *command; /* of the language, that it shows; NULL: all */
    const char *title;   /* of what may be named; NULL: nothing */
} parts[] = {
    {"running-config", CONFIGURED, NULL, NULL},
    {"keyring", CONFIGURED, "keyring", "keyring"},
    {"sks-profile", STATUS_PROFILES, "sks", "sks profile"},
    {"ikev2-profile", CONFIGURED, "ikev2", "ikev2 profile"},
    {"ppk", STATUS_PPK, NULL, NULL},
    {"statistics", STATUS_STATISTICS, NULL, NULL},
    {"clients", STATUS_CLIENTS, NULL, NULL},
};
#define PARTS (sizeof parts / sizeof parts[0])

/* May be shortened as on a router: they all begin differently. NULL, and told: there is none. */
static const struct part *part_find(const char *word)
{
    for (size_t i = 0; i < PARTS; i++)
        if (word[0] != '\0' && strncmp(parts[i].name, word, strlen(word)) == 0)
            return &parts[i];
    say("show: '%s' is none of running-config, keyring, sks-profile, ikev2-profile, ppk, statistics, clients",
        word);
    return NULL;
}

static int configuration_show(const struct options *o, const struct part *part, const char *name)
{
    struct configuration *c = load(o->config);
    struct text out = {0};

    if (c == NULL)
        return PPKCTL_FAILED;
    configuration_print(c, part->command, name, &out);
    configuration_free(c);
    if (name != NULL && out.len == 0 && !out.failed) {
        say("%s: there is no %s \"%s\"", o->config, part->title, name);
        return PPKCTL_FAILED;
    }
    return put(&out);
}

static int status_show(const struct options *o, const struct part *part, const char *name)
{
    struct text out = {0};
    struct view v;
    bool good = view_read(&v, o);

    if (good && !o->json && !o->openmetrics && v.live + v.ended == 0)
        say("no process has used the token yet that publishes its status in %s (\"man ppk.conf\": status "
            "directory)",
            v.path);
    if (good && o->json)
        view_json(&v, &out);
    else if (good && o->openmetrics)
        view_openmetrics(&v, &out);
    else if (good && part->shown == STATUS_PROFILES)
        good = view_profiles(&v, name, &out) || name == NULL;
    else if (good && part->shown == STATUS_PPK)
        view_ppk(&v, &out);
    else if (good && part->shown == STATUS_STATISTICS)
        view_statistics(&v, &out);
    else if (good)
        view_clients(&v, &out);
    if (!good && name != NULL)
        say("no process uses a %s \"%s\"", part->title, name);
    view_clear(&v);
    return put(&out) == PPKCTL_OK && good ? PPKCTL_OK : PPKCTL_FAILED;
}

static int status_options_refused(const struct part *part)
{
    say("show %s: --process, --json and --openmetrics are for what shows the status", part->name);
    return PPKCTL_USAGE;
}

int show_run(const struct options *o, int argc, char **argv)
{
    const struct part *part = part_find(argv[0]);
    bool status_options = o->json || o->openmetrics || o->process != 0;

    if (part == NULL)
        return PPKCTL_USAGE;
    if (o->kind != NULL || o->address != NULL) {
        if (part == parts && argc == 1 && !status_options)
            return mirror_show(o);
        say("--for goes with show running-config, of all");
        return PPKCTL_USAGE;
    }
    if (part == parts && argc > 1) { /* running-config: all of it, or a part */
        part = part_find(argv[1]);
        if (part == NULL)
            return PPKCTL_USAGE;
        if (part->command == NULL) {
            say("show running-config: '%s' is none of keyring, sks-profile, ikev2-profile", argv[1]);
            return PPKCTL_USAGE;
        }
        return status_options ? status_options_refused(parts)
                              : configuration_show(o, part, argc > 2 ? argv[2] : NULL);
    }
    if (argc > 1 + (part->title != NULL)) {
        say("show %s takes no %s", part->name, part->title != NULL ? "further argument" : "name");
        return PPKCTL_USAGE;
    }
    if (part->shown != CONFIGURED)
        return status_show(o, part, argc > 1 ? argv[1] : NULL);
    if (status_options)
        return status_options_refused(part);
    return configuration_show(o, part, argc > 1 ? argv[1] : NULL);
}
