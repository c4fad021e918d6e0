/* SPDX-License-Identifier: BSD-2-Clause */
/* What a key source says that it serves, held against what we are about to ask. */
#ifndef PPK_SKIP_CAPABILITIES_H
#define PPK_SKIP_CAPABILITIES_H

#include "skip/transport.h"

/* A copy; NULL: no memory. */
struct skip_capabilities *skip_capabilities_copy(const struct skip_capabilities *c);

/* Does the key source serve this request for us? `local`: the configured local system ID, or NULL. False with
 * the reason in `fault`. */
bool skip_capabilities_allow(const struct skip_capabilities *c, const struct skip_call *call,
                             const char *local, struct fault *fault);

/* The only remote system, if there is just one and it is no glob; else NULL with the reason in `fault`. */
const char *skip_capabilities_only_remote(const struct skip_capabilities *c, struct fault *fault);

#endif
