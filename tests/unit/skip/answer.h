/* SPDX-License-Identifier: BSD-2-Clause */
/* message_read() as the unit tests and the fuzz targets call it, with what holds for every answer. */
#ifndef TESTS_SKIP_ANSWER_H
#define TESTS_SKIP_ANSWER_H

#include "skip/messages.h"

/* Reads an answer from exactly `len` bytes, so that the sanitizers see a read beyond them. Ends the program
 * with a message if the answer is none that message_read() may give: a key without status 200 or of another
 * size or ID than was asked for; a refusal without a reason, or with a key. The caller clears it. */
struct skip_answer answer_read(const struct sks_profile *profile, const struct skip_call *call, long status,
                               const char *body, size_t len);

/* What answer_read() checks of an answer with this status. */
void answer_check(const struct skip_call *call, long status, const struct skip_answer *a);

/* The same for a fuzzer's input: one octet for the request, one for the status, and the body. `key_id`: what
 * is asked for by its ID. */
void answer_fuzz(const struct sks_profile *profile, const char *key_id, const uint8_t *data, size_t size);

#endif
