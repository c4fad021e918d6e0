/* SPDX-License-Identifier: BSD-2-Clause */
/* Routers' configurations: read into ours, and ours written as the one of the router at the other end. */
#ifndef PPK_PPKCTL_ROUTER_H
#define PPK_PPKCTL_ROUTER_H

#include "keyring/keyring.h"

/* The longest running configuration that is read, in bytes. */
#define ROUTER_CONFIG_MAX (16UL << 20)

/* Reads a running configuration of IOS XE or IOS XR (`len` bytes; anything may be in it) and appends ours to
 * `out`: it loads. What had to be left out goes to `notes`, a line each: "NAME:LINE: …". False: nothing in it
 * is for us, or no memory; told in `notes`. */
bool router_import(const char *name, const char *config, size_t len, struct text *out, struct text *notes);

enum router_kind { ROUTER_IOS_XR, ROUTER_IOS_XE, ROUTER_OURS, ROUTER_KINDS };

/* "ios-xr", "ios-xe", "ppk.conf" */
extern const char *const router_kinds[ROUTER_KINDS];

/* Appends what the other end of each peer is to have, as commands for that kind of router. What our
 * configuration does not know, and all secrets, are <to be filled in>. `address`: of this host, or NULL. */
void router_mirror(const struct configuration *c, enum router_kind kind, const char *address,
                   struct text *out);

#endif
