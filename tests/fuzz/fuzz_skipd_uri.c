/* SPDX-License-Identifier: BSD-2-Clause */
/* What a client of skipd asks for: path and query. */
#include "skipd/uri.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *uri = malloc(size + 1);
    char out[SYSTEM_ID_MAX + 1];
    uint8_t id[KEY_ID_MAX];
    uint32_t number = 0;
    const char *rest = NULL;

    if (uri == NULL)
        return 0;
    memcpy(uri, data, size);
    uri[size] = '\0';
    char *query = strchr(uri, '?');
    if (query != NULL)
        *query++ = '\0';
    if (skip_path_of(uri, &rest) == SKIP_PATH_KEY_ID && key_id_decode(rest, id) > KEY_ID_MAX)
        abort();
    if (query_value(query, "remoteSystemID", out, sizeof out) == QUERY_FOUND) {
        if (strlen(out) > SYSTEM_ID_MAX)
            abort();
        (void)system_id_is_concrete(out);
    }
    if (query_number(query, "size", &number) == QUERY_FOUND && number > 999999999)
        abort();
    (void)percent_decode(uri, strlen(uri), out, sizeof out);
    free(uri);
    return 0;
}
