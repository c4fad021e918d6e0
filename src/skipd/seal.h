/* SPDX-License-Identifier: BSD-2-Clause */
/* Key values at rest. A store never sees a key: it gets a sealed value,
 *
 *   octets 0-11   nonce
 *   then          ciphertext, as long as the key, and the 16 octets of AES-256-GCM's tag
 *
 * under an AES key of its own for each key ID, HMAC-SHA256(store key, "value" | key ID), so that the bound on
 * messages under one AES-GCM key is never met. Additional authenticated data: the key ID and both system IDs,
 * so that a value cannot be moved to another row. The store key = scrypt(master key, salt of the store, N =
 * 16384, r = 8, p = 1). */
#ifndef PPK_SKIPD_SEAL_H
#define PPK_SKIPD_SEAL_H

#include "base/bytes.h"
#include "base/fault.h"
#include "base/secret.h"
#include "skipd/store.h"

#define SEAL_SALT_LEN 16
#define SEAL_OVERHEAD 28

struct seal;

/* Derives the store key. NULL with the reason in `fault`. */
struct seal *seal_new(const struct secret *master_key, const uint8_t salt[static SEAL_SALT_LEN],
                      struct fault *fault);

/* The store key of a store, from the salt that is kept there. A sealed word in the store tells whether this
 * is the master key that it was made with. The first who comes writes both. NULL with the reason in `fault`.
 */
struct seal *seal_for_store(const struct store_kind *kind, struct store *store,
                            const struct secret *master_key, struct fault *fault);

/* Wipes and frees; NULL is allowed. */
void seal_free(struct seal *s);

/* What a value belongs to. */
struct seal_label {
    struct span id;
    const char *initiator, *responder; /* system IDs */
};

/* Seals `value` into `out`, which has value.len + SEAL_OVERHEAD bytes. Thread-safe. False: OpenSSL failed. */
bool seal_close(const struct seal *s, const struct seal_label *label, struct span value, uint8_t *out);

enum seal_result {
    SEAL_OPENED,
    SEAL_DAMAGED, /* or of another key or label: it can never be opened */
    SEAL_FAILED,  /* no memory, or OpenSSL failed: it may be opened another time */
};

/* Opens a sealed value into `out`, which has sealed.len - SEAL_OVERHEAD bytes. Thread-safe. */
enum seal_result seal_open(const struct seal *s, const struct seal_label *label, struct span sealed,
                           uint8_t *out);

#endif
