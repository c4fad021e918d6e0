/* SPDX-License-Identifier: BSD-2-Clause */
/* ppk.conf: whatever a file holds, it is either a configuration or a list of mistakes, each with its line. */
#include "keyring/keyring.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text errors = {0};
    struct configuration *c = configuration_parse("/fuzz", (const char *)data, size, &errors);
    if (c == NULL && (errors.len < 7 || strncmp(errors.s, "/fuzz:", 6) != 0))
        abort();
    for (size_t i = 0; c != NULL && i < c->n_keyrings; i++) {
        const struct keyring *k = &c->keyrings[i];
        static const uint8_t address[4] = {10, 0, 0, 1};
        (void)keyring_peer_by_address(k, address, sizeof address);
        for (size_t j = 0; j < k->n_peers; j++) {
            if (keyring_peer_by_name(k, k->peers[j].name, strlen(k->peers[j].name)) != &k->peers[j])
                abort();
        }
    }
    configuration_free(c);
    text_free(&errors);
    return 0;
}
