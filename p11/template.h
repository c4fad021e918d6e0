/* SPDX-License-Identifier: BSD-2-Clause */
/* Attributes: one table of all that this token knows, and the reading of a caller's template against it. A
 * template is hostile: no pointer is followed before its length was checked against the table, values need
 * not be aligned, and nothing is assumed of order or number. */
#ifndef PPK_P11_TEMPLATE_H
#define PPK_P11_TEMPLATE_H

#include "base/bytes.h"
#include "p11/cryptoki.h"

#include <stdbool.h>

/* The boolean attributes of a key, and what the token remembers beyond them. */
enum {
    FLAG_TOKEN = 1 << 0,
    FLAG_PRIVATE = 1 << 1,
    FLAG_MODIFIABLE = 1 << 2,
    FLAG_COPYABLE = 1 << 3,
    FLAG_DESTROYABLE = 1 << 4,
    FLAG_SENSITIVE = 1 << 5,
    FLAG_ALWAYS_SENSITIVE = 1 << 6,
    FLAG_EXTRACTABLE = 1 << 7,
    FLAG_NEVER_EXTRACTABLE = 1 << 8,
    FLAG_ENCRYPT = 1 << 9,
    FLAG_DECRYPT = 1 << 10,
    FLAG_SIGN = 1 << 11,
    FLAG_VERIFY = 1 << 12,
    FLAG_WRAP = 1 << 13,
    FLAG_UNWRAP = 1 << 14,
    FLAG_DERIVE = 1 << 15,
    FLAG_LOCAL = 1 << 16,
    FLAG_TRUSTED = 1 << 17,
    FLAG_WRAP_WITH_TRUSTED = 1 << 18,
    /* not attributes: */
    FLAG_FROM_CONFIGURED = 1 << 24, /* derived, at whatever remove, from a PPK or a PSK */
    FLAG_KNOWN_PARTS = 1 << 25, /* parts of the value may be known outside: it was concatenated with such */
    FLAG_DERIVED = 1 << 26,     /* made by C_DeriveKey */
    FLAG_UNWRAPPED = 1 << 27,   /* made by C_UnwrapKey: a key-encryption key and nothing else */
    FLAG_FOR_AUTH = 1 << 28,    /* prf(PSK, "Key Pad for IKEv2"), or made of parts of that */
    FLAG_INSIDE = 1 << 29, /* made of a PPK or a PSK by a keyring that keeps it: nobody knows a part of it */
    FLAG_PIECE = 1 << 30,  /* cut or joined, and so as secret as what it was made of */
};

/* What a template is for. */
enum template_use {
    USE_CREATE = 1 << 0,
    USE_GENERATE = 1 << 1,
    USE_DERIVE = 1 << 2,
    USE_COPY = 1 << 3,
    USE_SET = 1 << 4,
    USE_READ_SECRET = 1 << 5, /* a secret key has this attribute */
    USE_READ_DATA = 1 << 6,   /* a peer's data object has it */
    USE_NEVER = 1 << 7,       /* known, but the token's alone to set: CKR_ATTRIBUTE_READ_ONLY */
};

enum attribute_form {
    FORM_BOOL,
    FORM_ULONG,
    FORM_BYTES,
    FORM_TEXT,
    FORM_DATE,
    FORM_MECHANISMS,
    FORM_ADDRESS
};

/* Where the value of an attribute that is not boolean goes. */
enum attribute_field {
    FIELD_NONE,
    FIELD_CLASS,
    FIELD_KEY_TYPE,
    FIELD_VALUE_LEN,
    FIELD_ID,
    FIELD_LABEL,
    FIELD_VALUE,
    FIELD_ALLOWED,
    FIELD_START,
    FIELD_END,
    FIELD_PEER,
    FIELD_ADDRESS,
    FIELD_REMOTE,
    FIELDS
};

struct attribute_row {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    enum attribute_form form;
    unsigned uses; /* USE_* */
    uint32_t flag; /* of a boolean one */
    enum attribute_field field;
};

/* The row of an attribute, or NULL: unknown. */
const struct attribute_row *attribute_row(CK_ATTRIBUTE_TYPE type);

/* A template that was read. Spans point into the caller's memory. */
struct template
{
    uint32_t given; /* 1 << field */
    uint32_t flags; /* values of the boolean attributes */
    uint32_t flags_given;
    CK_ULONG number[FIELD_VALUE_LEN + 1];
    struct span bytes[FIELDS];
};

static inline bool template_has(const struct template *t, enum attribute_field field)
{
    return (t->given & (1U << field)) != 0;
}

/* The value of a boolean attribute, or `otherwise` if it is not given. */
static inline bool template_flag(const struct template *t, uint32_t flag, bool otherwise)
{
    return (t->flags_given & flag) != 0 ? (t->flags & flag) != 0 : otherwise;
}

/* Reads `n` attributes for `use`. CKR_OK; CKR_ARGUMENTS_BAD (no array), CKR_ATTRIBUTE_TYPE_INVALID (unknown,
 * or not of such an object), CKR_ATTRIBUTE_READ_ONLY, CKR_ATTRIBUTE_VALUE_INVALID (length, or not a value),
 * CKR_TEMPLATE_INCONSISTENT (an attribute twice); the log names the attribute. */
CK_RV template_read(struct template *t, enum template_use use, const CK_ATTRIBUTE *attributes, CK_ULONG n);

#define TEMPLATE_MAX   256    /* attributes in a template */
#define TEMPLATE_BYTES 65536U /* of an attribute that is not limited otherwise */

#endif
