/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages of SKIP and of ETSI GS QKD 014, by the profile's type: the text of a request, and what an
 * answer means. A key never passes through jansson: each string that could be one is blanked in the text that
 * jansson sees, and is decoded from the body, in the arena, into the arena. */
#ifndef PPK_SKIP_MESSAGES_H
#define PPK_SKIP_MESSAGES_H

#include "skip/transport.h"

/* Appends path and query of a request ("/key?remoteSystemID=Bob&size=256") to `path`; and the JSON text to be
 * sent with it to `body`, if it is a POST and not a GET. */
void message_request(const struct sks_profile *profile, const struct skip_call *call, struct text *path,
                     struct text *body);

/* Reads the answer to `call`: HTTP status and body, which lies in memory of the arena and stays the caller's.
 * Fills `out` (all zeros before) but for `processed`. `profile` says which key sizes are acceptable where
 * none was asked for. */
void message_read(const struct skip_host *host, const struct sks_profile *profile,
                  const struct skip_call *call, long status, const char *body, size_t len,
                  struct skip_answer *out);

#endif
