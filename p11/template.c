/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/template.h"

#include "base/log.h"
#include "base/secret.h"

#include <stdatomic.h>
#include <string.h>

#define NEW      (USE_CREATE | USE_GENERATE | USE_DERIVE)
#define NEW_COPY (NEW | USE_COPY)
#define ALL      (NEW | USE_COPY | USE_SET)
#define SECRET   USE_READ_SECRET
#define DATA     USE_READ_DATA
#define NEVER    USE_NEVER

#define NUMBER(type, uses, field)                                                                            \
    {                                                                                                        \
        type, #type, FORM_ULONG, uses, 0, field                                                              \
    }
#define FLAG(name, uses)                                                                                     \
    {                                                                                                        \
        CKA_##name, "CKA_" #name, FORM_BOOL, uses, FLAG_##name, FIELD_NONE                                   \
    }
#define BYTES(type, form, uses, field)                                                                       \
    {                                                                                                        \
        type, #type, form, uses, 0, field                                                                    \
    }

/* Every attribute that this token knows, in the order of their numbers. */
static const struct attribute_row rows[] = {
    NUMBER(CKA_CLASS, NEW | SECRET | DATA, FIELD_CLASS),
    FLAG(TOKEN, NEW_COPY | SECRET | DATA),
    FLAG(PRIVATE, NEW_COPY | SECRET | DATA),
    BYTES(CKA_LABEL, FORM_TEXT, ALL | SECRET | DATA, FIELD_LABEL),
    BYTES(CKA_UNIQUE_ID, FORM_TEXT, NEVER | SECRET | DATA, FIELD_NONE),
    BYTES(CKA_APPLICATION, FORM_TEXT, DATA, FIELD_NONE),
    BYTES(CKA_VALUE, FORM_BYTES, USE_CREATE | NEVER | SECRET | DATA, FIELD_VALUE),
    BYTES(CKA_OBJECT_ID, FORM_BYTES, DATA, FIELD_NONE),
    FLAG(TRUSTED, NEVER | SECRET),
    NUMBER(CKA_KEY_TYPE, NEW | SECRET, FIELD_KEY_TYPE),
    BYTES(CKA_ID, FORM_BYTES, ALL | SECRET, FIELD_ID),
    FLAG(SENSITIVE, ALL | SECRET),
    FLAG(ENCRYPT, ALL | SECRET),
    FLAG(DECRYPT, ALL | SECRET),
    FLAG(WRAP, ALL | SECRET),
    FLAG(UNWRAP, ALL | SECRET),
    FLAG(SIGN, ALL | SECRET),
    FLAG(VERIFY, ALL | SECRET),
    FLAG(DERIVE, ALL | SECRET),
    BYTES(CKA_START_DATE, FORM_DATE, ALL | SECRET, FIELD_START),
    BYTES(CKA_END_DATE, FORM_DATE, ALL | SECRET, FIELD_END),
    NUMBER(CKA_VALUE_LEN, USE_GENERATE | USE_DERIVE | NEVER | SECRET, FIELD_VALUE_LEN),
    FLAG(EXTRACTABLE, ALL | SECRET),
    FLAG(LOCAL, NEVER | SECRET),
    FLAG(NEVER_EXTRACTABLE, NEVER | SECRET),
    FLAG(ALWAYS_SENSITIVE, NEVER | SECRET),
    NUMBER(CKA_KEY_GEN_MECHANISM, NEVER | SECRET, FIELD_NONE),
    FLAG(MODIFIABLE, NEW_COPY | NEVER | SECRET | DATA),
    FLAG(COPYABLE, ALL | SECRET | DATA),
    FLAG(DESTROYABLE, NEW_COPY | NEVER | SECRET | DATA),
    FLAG(WRAP_WITH_TRUSTED, ALL | SECRET),
    BYTES(CKA_ALLOWED_MECHANISMS, FORM_MECHANISMS, NEW | NEVER | SECRET, FIELD_ALLOWED),
    BYTES(CKA_PPK_PEER, FORM_TEXT, USE_GENERATE | SECRET | DATA, FIELD_PEER),
    BYTES(CKA_PPK_PEER_ADDRESS, FORM_ADDRESS, USE_GENERATE | SECRET | DATA, FIELD_ADDRESS),
    BYTES(CKA_PPK_REMOTE_SYSTEM_ID, FORM_TEXT, USE_GENERATE | SECRET | DATA, FIELD_REMOTE),
    BYTES(CKA_PPK_SKS_PROFILE, FORM_TEXT, NEVER | SECRET | DATA, FIELD_NONE),
    NUMBER(CKA_PPK_KIND, NEVER | SECRET | DATA, FIELD_NONE),
    {CKA_PPK_REQUIRED, "CKA_PPK_REQUIRED", FORM_BOOL, NEVER | SECRET | DATA, 0, FIELD_NONE},
    NUMBER(CKA_PPK_SECONDS_LEFT, NEVER | SECRET, FIELD_NONE),
    BYTES(CKA_PPK_LOCAL_SYSTEM_ID, FORM_TEXT, NEVER | SECRET | DATA, FIELD_NONE),
    {CKA_PPK_USED, "CKA_PPK_USED", FORM_BOOL, NEVER | SECRET, 0, FIELD_NONE},
    {CKA_PPK_OUTCOME, "CKA_PPK_OUTCOME", FORM_BOOL, NEVER | SECRET, 0, FIELD_NONE},
};

static const struct attribute_row *row_search(CK_ATTRIBUTE_TYPE type)
{
    size_t low = 0, high = sizeof rows / sizeof rows[0];

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (rows[middle].type == type)
            return &rows[middle];
        if (rows[middle].type < type)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

_Static_assert(sizeof rows / sizeof rows[0] < UINT8_MAX, "attribute_row() keeps their numbers");

const struct attribute_row *attribute_row(CK_ATTRIBUTE_TYPE type)
{
    /* Where types with these low bits were found last, and 1: most of reading a template was the search. */
    static _Atomic uint8_t last[1024];
    _Atomic uint8_t *at = &last[type % (sizeof last / sizeof last[0])];
    const size_t seen = atomic_load_explicit(at, memory_order_relaxed);

    if (seen > 0 && rows[seen - 1].type == type)
        return &rows[seen - 1];
    const struct attribute_row *row = row_search(type);
    if (row != NULL)
        atomic_store_explicit(at, (uint8_t)(row - rows + 1), memory_order_relaxed);
    return row;
}

static CK_RV complain(const struct attribute_row *row, CK_ATTRIBUTE_TYPE type, CK_RV rv, const char *what)
{
    if (row != NULL)
        log_write(LOG_LEVEL_INFO, "template: %s: %s", row->name, what);
    else
        log_write(LOG_LEVEL_INFO, "template: attribute 0x%lx: %s", type, what);
    return rv;
}

/* Is the length one that a value of this form can have? */
static bool length_fits(enum attribute_form form, enum attribute_field field, CK_ULONG len)
{
    switch (form) {
    case FORM_BOOL:
        return len == sizeof(CK_BBOOL);
    case FORM_ULONG:
        return len == sizeof(CK_ULONG);
    case FORM_DATE:
        return len == 0 || len == sizeof(CK_DATE);
    case FORM_MECHANISMS:
        return len % sizeof(CK_MECHANISM_TYPE) == 0 && len <= TEMPLATE_BYTES;
    case FORM_ADDRESS:
        return len == 4 || len == 16;
    case FORM_BYTES:
    case FORM_TEXT:
        break;
    }
    return len <= (field == FIELD_VALUE ? SECRET_MAX : TEMPLATE_BYTES);
}

static bool date_is(const uint8_t *digits, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (digits[i] < '0' || digits[i] > '9')
            return false;
    return true;
}

static bool value_read(struct template *t, const struct attribute_row *row, const CK_ATTRIBUTE *a)
{
    switch (row->form) {
    case FORM_BOOL: {
        CK_BBOOL value;
        memcpy(&value, a->pValue, sizeof value);
        if (value != CK_TRUE && value != CK_FALSE)
            return false;
        if (value == CK_TRUE)
            t->flags |= row->flag;
        return true;
    }
    case FORM_ULONG:
        memcpy(&t->number[row->field], a->pValue, sizeof t->number[0]);
        return true;
    case FORM_DATE:
        if (!date_is(a->pValue, a->ulValueLen))
            return false;
        break;
    case FORM_BYTES:
    case FORM_TEXT:
    case FORM_MECHANISMS:
    case FORM_ADDRESS:
        break;
    }
    t->bytes[row->field] = (struct span){a->pValue, a->ulValueLen};
    return true;
}

static CK_RV attribute_read(struct template *t, enum template_use use, const CK_ATTRIBUTE *a)
{
    const struct attribute_row *row = attribute_row(a->type);
    const uint32_t field = row == NULL || row->field == FIELD_NONE ? 0 : 1U << row->field;

    if (row == NULL)
        return complain(row, a->type, CKR_ATTRIBUTE_TYPE_INVALID, "unknown");
    if ((row->uses & use) == 0) {
        if ((row->uses & USE_NEVER) != 0 || use == USE_SET || use == USE_COPY)
            return complain(row, a->type, CKR_ATTRIBUTE_READ_ONLY, "cannot be set here");
        return complain(row, a->type, CKR_ATTRIBUTE_TYPE_INVALID, "not an attribute of such an object");
    }
    if (!length_fits(row->form, row->field, a->ulValueLen))
        return complain(row, a->type, CKR_ATTRIBUTE_VALUE_INVALID, "bad length");
    if (a->pValue == NULL && a->ulValueLen > 0)
        return complain(row, a->type, CKR_ATTRIBUTE_VALUE_INVALID, "no value");
    if ((t->given & field) != 0 || (t->flags_given & row->flag) != 0)
        return complain(row, a->type, CKR_TEMPLATE_INCONSISTENT, "given twice");
    if (!value_read(t, row, a))
        return complain(row, a->type, CKR_ATTRIBUTE_VALUE_INVALID, "bad value");
    t->given |= field;
    t->flags_given |= row->flag;
    return CKR_OK;
}

CK_RV template_read(struct template *t, enum template_use use, const CK_ATTRIBUTE *attributes, CK_ULONG n)
{
    memset(t, 0, sizeof *t);
    if ((attributes == NULL && n > 0) || n > TEMPLATE_MAX)
        return CKR_ARGUMENTS_BAD;
    for (CK_ULONG i = 0; i < n; i++) {
        CK_ATTRIBUTE a;
        CK_RV rv;
        memcpy(&a, &attributes[i], sizeof a);
        rv = attribute_read(t, use, &a);
        if (rv != CKR_OK)
            return rv;
    }
    return CKR_OK;
}
