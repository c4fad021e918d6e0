/* SPDX-License-Identifier: BSD-2-Clause */
/* What an operator does about a fault: by what the transport saw of the connection, and the server's answer.
 */
#ifndef PPK_PPKCTL_DIAGNOSE_H
#define PPK_PPKCTL_DIAGNOSE_H

#include "base/fault.h"
#include "skip/transport.h"

/* Why there is no good connection to `server`, in `cause`, and what to do about it, in `advice`;
 * `link->stage` says where. `answer` is what came instead. */
void diagnose_link(const struct sks_profile *profile, const struct kme_server *server,
                   const struct skip_link *link, const struct skip_answer *answer, struct fault *cause,
                   struct fault *advice);

/* What to do about an answer that is none, where the connection was good. */
void diagnose_answer(const struct sks_profile *profile, const struct skip_call *call,
                     const struct skip_answer *answer, struct fault *advice);

/* What to do about mistakes in a configuration, by the text that configuration_load() left. */
const char *diagnose_configuration(const char *errors);

#endif
