/* SPDX-License-Identifier: BSD-2-Clause */
/* Finds and loads ppk-skip.so, at the first need: a token that never fetches pays for neither libcurl nor
 * TLS. */
#ifndef PPK_SKIP_LOADER_H
#define PPK_SKIP_LOADER_H

#include "skip/transport.h"

/* The transport, loaded at the first call, by one thread while others wait. Holds no lock that a library's
 * initialization could want from another side: a second entry by the loading thread itself fails instead of
 * waiting. NULL with the reason in `fault`; the next call tries again. */
const struct skip_transport *skip_loader_transport(struct fault *fault);

/* What the transport is given of this process: the arena, the secrets, the OpenSSL context. */
const struct skip_host *skip_loader_host(void);

/* The transport if it has been loaded, else NULL. */
const struct skip_transport *skip_loader_loaded(void);

/* Uses this table instead of the shared object's (tests); NULL: back to normal. */
void skip_loader_use(const struct skip_transport *transport);

/* In a forked child: a load that another thread was at is forgotten. */
void skip_loader_after_fork(void);

#endif
