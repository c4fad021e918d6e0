/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/clock.h"
#include "ppkctl/ppkctl.h"
#include "skip/skip.h"

#include <string.h>

static const char *yes_or_no(bool b)
{
    return b ? "yes" : "no";
}

static const char *or_nothing(const char *text)
{
    return text != NULL ? text : "";
}

/* Appends what server `i` of the profile says of itself. False: it could not be asked. */
static bool server_show(struct skip_profile *p, size_t i, struct text *out)
{
    const struct sks_profile *conf = skip_profile_conf(p);
    struct skip_capabilities *c = NULL;
    struct fault fault = {""};

    text_printf(out, "sks profile %s, server %s port %u\n", conf->name, conf->servers[i].host,
                conf->servers[i].port);
    if (skip_capabilities_get(p, i, clock_ms() + conf->timeout_ms, &c, &fault) != SKIP_OK) {
        text_printf(out, " status: failed: %s\n", fault.text);
        return false;
    }
    text_printf(out, " status: ok\n entropy: %s\n key: %s\n algorithm: %s\n local identifier: %s\n",
                yes_or_no(c->entropy), yes_or_no(c->key), or_nothing(c->algorithm),
                or_nothing(c->local_system_id));
    for (char **id = c->remote_system_ids; id != NULL && *id != NULL; id++)
        text_printf(out, " remote identifier: %s\n", *id);
    if (conf->local_system_id != NULL && strcmp(conf->local_system_id, or_nothing(c->local_system_id)) != 0)
        text_printf(out, " note: the configured local-system-id is %s\n", conf->local_system_id);
    skip_capabilities_free(c);
    return true;
}

static bool profile_show(const struct sks_profile *conf, struct text *out)
{
    struct skip_profile *p;
    bool good = true;

    if (conf->psk_id != NULL && conf->psk.value == NULL) {
        say("sks profile \"%s\": its PSK is of type 6, and no master key is at hand", conf->name);
        return false;
    }
    p = skip_profile_new(conf);
    if (p == NULL) {
        say("no memory left");
        return false;
    }
    for (size_t i = 0; i < conf->n_servers; i++)
        good = server_show(p, i, out) && good;
    skip_profile_free(p);
    return good;
}

int capabilities_run(const struct options *o, int argc, char **argv)
{
    struct configuration *c = load(o->config);
    struct text out = {0};
    bool good = true;

    if (c == NULL)
        return PPKCTL_FAILED;
    if (argc > 0 && configuration_profile(c, argv[0], strlen(argv[0])) == NULL) {
        say("%s: there is no sks profile \"%s\"", o->config, argv[0]);
        good = false;
    }
    for (size_t i = 0; i < c->n_profiles; i++) {
        if (argc == 0 || strcmp(c->profiles[i].name, argv[0]) == 0)
            good = profile_show(&c->profiles[i], &out) && good;
    }
    skip_shutdown();
    configuration_free(c);
    return put(&out) == PPKCTL_OK && good ? PPKCTL_OK : PPKCTL_FAILED;
}
