/* SPDX-License-Identifier: BSD-2-Clause */
/* A transport without a network, to be put in the place of ppk-skip.so: a key source inside the process, for
 * every remote system, which answers at once. What its keys are, is for who links at_once.c to say. */
#ifndef SUPPORT_AT_ONCE_H
#define SUPPORT_AT_ONCE_H

#include "skip/transport.h"

/* Answers a request for a key or for entropy: `out` is SKIP_OK and empty. False: no memory. */
bool at_once_key(const struct skip_host *host, const struct skip_call *call, struct skip_answer *out);

#endif
