/* SPDX-License-Identifier: BSD-2-Clause */
#include "answer.h"

#include "skip/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "an answer: %s\n", what);
    abort();
}

void answer_check(const struct skip_call *call, long status, const struct skip_answer *a)
{
    if (a->result != SKIP_OK) {
        must(a->fault.text[0] != '\0', "refused without a reason");
        must(a->value == NULL && a->key_id == NULL && a->capabilities == NULL, "refused, and yet something");
        return;
    }
    must(a->fault.text[0] == '\0', "good, with a reason against it");
    must(status == 200, "good with another status than 200");
    switch (call->request) {
    case SKIP_REQUEST_CAPABILITIES:
        must(a->capabilities != NULL && a->value == NULL, "no capabilities");
        break;
    case SKIP_REQUEST_KEY:
        must(a->value != NULL && a->key_id != NULL, "no key");
        must(secret_len(a->value) == call->size / 8, "a key of another size");
        break;
    case SKIP_REQUEST_KEY_BY_ID:
        must(a->value != NULL && a->key_id != NULL, "no key by its ID");
        must(strcasecmp(a->key_id, call->key_id) == 0, "a key of another ID");
        break;
    default:
        must(a->value != NULL && secret_len(a->value) >= call->size / 8, "too little entropy");
        break;
    }
}

struct skip_answer answer_read(const struct sks_profile *profile, const struct skip_call *call, long status,
                               const char *body, size_t len)
{
    struct skip_answer a;
    char *exact = malloc(len > 0 ? len : 1);

    must(exact != NULL, "no memory");
    if (len > 0)
        memcpy(exact, body, len);
    memset(&a, 0, sizeof a);
    message_read(skip_loader_host(), profile, call, status, exact, len, &a);
    free(exact);
    answer_check(call, status, &a);
    return a;
}

void answer_fuzz(const struct sks_profile *profile, const char *key_id, const uint8_t *data, size_t size)
{
    static const long statuses[] = {200, 200, 200, 200, 204, 301, 400, 401, 403,
                                    404, 409, 410, 412, 429, 500, 503, 504, 999};
    struct skip_call call = {.remote = "Bob", .key_id = key_id, .size = 256};

    if (size < 2)
        return;
    call.request = (enum skip_request)(data[0] % SKIP_REQUESTS);
    if (call.request == SKIP_REQUEST_KEY_BY_ID)
        call.size = 0;
    struct skip_answer a =
        answer_read(profile, &call, statuses[data[1] % (sizeof statuses / sizeof *statuses)],
                    (const char *)data + 2, size - 2);
    skip_answer_clear(&a);
}
