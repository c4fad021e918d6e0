/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FUZZ_PLAIN_TLS_H
#define FUZZ_PLAIN_TLS_H

#include "skipd/tls.h"

/* Who is at the other end of every connection, as if he had proved it; NULL: somebody unknown. */
extern const struct tls_party *plain_party;

/* All connections have ended: frees their SSL objects, which the real ones do with the connection. */
void plain_closed(void);

#endif
