/* SPDX-License-Identifier: BSD-2-Clause */
/* A router's running configuration: whatever it holds, what comes out loads. */
#include "ppkctl/router.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text out = {0}, notes = {0}, errors = {0};

    if (router_import("router", (const char *)data, size, &out, &notes)) {
        struct configuration *c = configuration_parse("ours", out.s, out.len, &errors);

        if (c == NULL)
            abort();
        configuration_free(c);
    }
    text_free(&out);
    text_free(&notes);
    text_free(&errors);
    return 0;
}
