/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppkctl/ppkctl.h"
#include "ppkctl/router.h"

#include <string.h>

/* Which kind of router? ROUTER_KINDS: none. */
static enum router_kind kind_find(const char *name)
{
    size_t kind = 0;

    while (kind < ROUTER_KINDS && strcmp(router_kinds[kind], name) != 0)
        kind++;
    return (enum router_kind)kind;
}

int mirror_show(const struct options *o)
{
    enum router_kind kind;
    struct address_group group;
    struct fault fault;
    struct configuration *c;
    struct text out = {0};

    if (o->kind == NULL) {
        say("show: --local-address goes with --for");
        return PPKCTL_USAGE;
    }
    kind = kind_find(o->kind);
    if (kind == ROUTER_KINDS) {
        say("--for: '%s' is none of ios-xr, ios-xe, ppk.conf", o->kind);
        return PPKCTL_USAGE;
    }
    if (o->address != NULL &&
        (strchr(o->address, '/') != NULL || !address_group_read(&group, o->address, NULL, &fault))) {
        say("--local-address: '%s' is not an address", o->address);
        return PPKCTL_USAGE;
    }
    c = load(o->config);
    if (c == NULL)
        return PPKCTL_FAILED;
    router_mirror(c, kind, o->address, &out);
    configuration_free(c);
    return put(&out);
}
