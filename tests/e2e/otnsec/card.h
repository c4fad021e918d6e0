/* SPDX-License-Identifier: BSD-2-Clause */
/* The line card: it has a key-encryption key, and takes session keys that were wrapped under it. */
#ifndef OTNSEC_CARD_H
#define OTNSEC_CARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CARD_KEY = 32 };

struct card {
    uint8_t kek[CARD_KEY];
};

/* Unwraps (RFC 5649) a key of CARD_KEY bytes to `out`. False: it is damaged, or of another size. */
bool card_take(const struct card *c, const uint8_t *wrapped, size_t len, uint8_t *out);

/* Wraps a key of CARD_KEY bytes; `out` has room for CARD_KEY + 8. */
bool card_give(const struct card *c, const uint8_t *key, uint8_t *out);

#endif
