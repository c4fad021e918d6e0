/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppkctl/ppkctl.h"

int check_run(const struct options *o, int argc, char **argv)
{
    struct configuration *c = load(argc > 0 ? argv[0] : o->config);
    struct text out = {0};
    size_t peers = 0;

    if (c == NULL)
        return PPKCTL_FAILED;
    for (size_t i = 0; i < c->n_keyrings; i++)
        peers += c->keyrings[i].n_peers;
    text_printf(&out, "%s: ok: keyrings %zu, peers %zu, sks profiles %zu, ikev2 profiles %zu\n", c->path,
                c->n_keyrings, peers, c->n_profiles, c->n_ikev2);
    if (c->sealed)
        text_printf(&out, "%s: its secrets of type 6 were not opened: no master key is at hand here\n",
                    c->path);
    configuration_free(c);
    return put(&out);
}
