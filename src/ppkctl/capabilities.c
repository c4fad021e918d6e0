/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/clock.h"
#include "ppkctl/progress.h"
#include "ppkctl/view.h"
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

/* Appends what the key source says of itself. */
static void told_show(struct text *out, const char *title, const char *text)
{
    text_printf(out, " %s: ", title);
    view_text(out, or_nothing(text));
    text_append(out, "\n", 1);
}

/* Appends what an ETSI 014 status tells beyond SKIP's capabilities. */
static void delivery_show(const struct skip_capabilities *c, struct text *out)
{
    text_printf(out, " key size: %u bits, of %u to %u\n keys ready: %llu of %llu\n", c->delivery.size,
                c->delivery.size_min, c->delivery.size_max, (unsigned long long)c->delivery.stored,
                (unsigned long long)c->delivery.room);
}

/* Appends what server `i` of the profile says of itself (to ETSI 014: as to `remote`). False: it could not be
 * asked. */
static bool server_show(struct skip_profile *p, size_t i, const char *remote, struct text *out)
{
    const struct sks_profile *conf = skip_profile_conf(p);
    struct skip_capabilities *c = NULL;
    struct fault fault = {""};
    struct progress waiting;
    enum skip_result result;

    text_printf(out, "sks profile %s, server %s port %u\n", conf->name, conf->servers[i].host,
                conf->servers[i].port);
    progress_begin(&waiting, "waiting for the key source");
    result = skip_capabilities_get(p, i, remote, clock_ms() + conf->timeout_ms, &c, &fault);
    progress_end(&waiting);
    if (result != SKIP_OK) {
        text_printf(out, " status: failed: %s\n", fault.text);
        return false;
    }
    text_printf(out, " status: ok\n entropy: %s\n key: %s\n", yes_or_no(c->entropy), yes_or_no(c->key));
    told_show(out, "algorithm", c->algorithm);
    told_show(out, "local identifier", c->local_system_id);
    for (char **id = c->remote_system_ids; id != NULL && *id != NULL; id++)
        told_show(out, "remote identifier", *id);
    if (c->delivery.told)
        delivery_show(c, out);
    if (conf->local_system_id != NULL && strcmp(conf->local_system_id, or_nothing(c->local_system_id)) != 0)
        text_printf(out, " note: the configured local-system-id is %s\n", conf->local_system_id);
    skip_capabilities_free(c);
    return true;
}

/* Each server; with ETSI 014, as to each peer's system, since it tells of one at a time. */
static bool servers_show(const struct configuration *c, const struct sks_profile *conf,
                         struct skip_profile *p, struct text *out)
{
    bool good = true;

    for (size_t i = 0; i < conf->n_servers; i++) {
        if (conf->type != SKS_ETSI014) {
            good = server_show(p, i, NULL, out) && good;
            continue;
        }
        for (size_t k = 0; k < c->n_keyrings; k++)
            for (size_t j = 0; j < c->keyrings[k].n_peers; j++)
                if (c->keyrings[k].peers[j].dynamic == conf)
                    good = server_show(p, i, c->keyrings[k].peers[j].remote_system_id, out) && good;
    }
    return good;
}

static bool profile_show(const struct configuration *c, const struct sks_profile *conf, struct text *out)
{
    struct skip_profile *p;
    bool good;

    if (conf->psk_id != NULL && conf->psk.value == NULL) {
        say("sks profile \"%s\": its PSK is of type 6, and no master key is at hand", conf->name);
        return false;
    }
    p = skip_profile_new(conf);
    if (p == NULL) {
        say("no memory left");
        return false;
    }
    good = servers_show(c, conf, p, out);
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
            good = profile_show(c, &c->profiles[i], &out) && good;
    }
    skip_shutdown();
    configuration_free(c);
    return put(&out) == PPKCTL_OK && good ? PPKCTL_OK : PPKCTL_FAILED;
}
