/* SPDX-License-Identifier: BSD-2-Clause */
/* What a key source of ETSI GS QKD 014 answers. The first two octets choose the request and the status; the
 * rest is the body. A key comes only from a body with status 200, and then has the size that was asked for.
 */
#include "base/crypto.h"
#include "skip/messages.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct skip_host host = {
    .secmem_alloc = secmem_alloc,
    .secmem_free = secmem_free,
    .secret_new = secret_new,
    .secret_free = secret_free,
    .secret_len = secret_len,
    .secret_open = secret_open,
    .secret_close = secret_close,
    .crypto_context = crypto_context,
    .crypto_alive = crypto_alive,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const long statuses[] = {200, 200, 200, 204, 301, 400, 401, 404, 409, 412, 429, 500, 503, 504};
    static char name[] = "fuzz";
    const struct sks_profile profile = {.name = name, .type = SKS_ETSI014, .key_size = 256};
    struct skip_call call = {.remote = "Bob", .key_id = "bc4904197d60487fadc14ddcc177c139"};
    struct skip_answer answer;

    if (size < 2)
        return 0;
    call.request = (enum skip_request)(data[0] % SKIP_REQUESTS);
    call.size = call.request == SKIP_REQUEST_KEY_BY_ID ? 0 : 256;
    long status = statuses[data[1] % (sizeof statuses / sizeof statuses[0])];
    memset(&answer, 0, sizeof answer);
    message_read(&host, &profile, &call, status, (const char *)data + 2, size - 2, &answer);
    if (answer.result == SKIP_OK && (status != 200 || call.request == SKIP_REQUEST_ENTROPY))
        abort();
    if (answer.result != SKIP_OK && (answer.value != NULL || answer.fault.text[0] == '\0'))
        abort();
    if (answer.result == SKIP_OK && call.request == SKIP_REQUEST_KEY &&
        (answer.value == NULL || secret_len(answer.value) != 32 || answer.key_id == NULL))
        abort();
    if (answer.result == SKIP_OK && call.request == SKIP_REQUEST_KEY_BY_ID &&
        (answer.value == NULL || secret_len(answer.value) < 32 || strcmp(answer.key_id, call.key_id) != 0))
        abort();
    skip_answer_clear(&answer);
    return 0;
}
