/* SPDX-License-Identifier: BSD-2-Clause */
/* A PPK ID in its two forms. A key source names a key by a keyId, usually hex text (draft-cisco-skip, "Key
 * Identifier"; some vendors' are any text); IKEv2 carries the ID as bytes (RFC 8784, 5.1), and
 * implementations differ on whether these are the bytes that the hex means, or the text itself. Here both
 * lead to the same PPK: it is indexed by the *canonical* bytes, which are those that a hex keyId means, or
 * the text's own if it is not hex. */
#ifndef PPK_PPK_ID_H
#define PPK_PPK_ID_H

#include "keyring/keyring.h"

/* The longest ID that is looked up or taken from a key source, in bytes. */
#define PPK_ID_MAX 1024

/* The canonical bytes that an ID from outside may stand for: [0] decoded, if it reads as hex, else as it is;
 * [1] as it is, if it reads as hex (an ID in raw bytes may happen to). */
struct id_keys {
    struct span key[2];
    size_t n; /* 0: no ID (empty or too long) */
    uint8_t bytes[PPK_ID_MAX / 2];
};
void id_keys_make(struct span id, struct id_keys *out);

/* The keyIds by which an ID may be known at a key source, the likelier first: what reads as text of 16 hex
 * digits or more, verbatim; what cannot be text, or is no name in a path ("."), in lower-case hex; what may
 * be both, both ways, in the order that the profile's ppk-id format suggests. */
struct id_forms {
    char *form[2]; /* terminated */
    size_t n;
    char text[3 * PPK_ID_MAX + 2];
};
void id_forms_make(struct span id, enum ppk_id_format format, struct id_forms *out);

/* The ID that CKA_ID shows for a server's keyId: its length, and the bytes at `out` (room for
 * strlen(key_id)). */
size_t id_shown(const char *key_id, enum ppk_id_format format, uint8_t *out);

/* Is this canonical key that of an ID as it is shown? `hex_text`: the shown one is hex text. */
bool id_matches(struct span shown, bool hex_text, struct span key);

#endif
