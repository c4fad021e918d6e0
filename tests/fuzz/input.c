/* SPDX-License-Identifier: BSD-2-Clause */
/* Inputs, taken apart into the arguments of Cryptoki. */
#include "module.h"

#include <stdlib.h>
#include <string.h>

#define BLOCKS_MAX 8192

static void *blocks[BLOCKS_MAX];
static size_t n_blocks;

uint8_t input_byte(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

CK_ULONG input_number(struct input *in)
{
    const size_t len = input_byte(in) % 10;
    CK_ULONG n = 0;

    if (len == 9)
        return CK_UNAVAILABLE_INFORMATION;
    for (size_t i = 0; i < len; i++)
        n = n << 8 | input_byte(in);
    return n;
}

size_t input_below(struct input *in, size_t n)
{
    return input_byte(in) % n;
}

void *input_room(size_t len)
{
    void *block = n_blocks < BLOCKS_MAX ? malloc(len > 0 ? len : 1) : NULL;

    if (block == NULL)
        abort();
    blocks[n_blocks++] = block;
    return block;
}

void *input_block(struct input *in, size_t len, size_t *got)
{
    void *block;

    *got = len < in->left ? len : in->left;
    block = input_room(*got);
    if (*got > 0)
        memcpy(block, in->at, *got);
    in->at += *got;
    in->left -= *got;
    return block;
}

void input_free(void)
{
    while (n_blocks > 0)
        free(blocks[--n_blocks]);
}

/* ---- templates ---- */

static const CK_ATTRIBUTE_TYPE types[] = {
    CKA_CLASS,
    CKA_TOKEN,
    CKA_PRIVATE,
    CKA_LABEL,
    CKA_UNIQUE_ID,
    CKA_APPLICATION,
    CKA_VALUE,
    CKA_OBJECT_ID,
    CKA_TRUSTED,
    CKA_KEY_TYPE,
    CKA_ID,
    CKA_SENSITIVE,
    CKA_ENCRYPT,
    CKA_DECRYPT,
    CKA_WRAP,
    CKA_UNWRAP,
    CKA_SIGN,
    CKA_VERIFY,
    CKA_DERIVE,
    CKA_START_DATE,
    CKA_END_DATE,
    CKA_VALUE_LEN,
    CKA_EXTRACTABLE,
    CKA_LOCAL,
    CKA_NEVER_EXTRACTABLE,
    CKA_ALWAYS_SENSITIVE,
    CKA_KEY_GEN_MECHANISM,
    CKA_MODIFIABLE,
    0x171, /* CKA_COPYABLE */
    0x172, /* CKA_DESTROYABLE */
    CKA_WRAP_WITH_TRUSTED,
    CKA_ALLOWED_MECHANISMS,
    CKA_WRAP_TEMPLATE,
    0x40000213, /* CKA_DERIVE_TEMPLATE */
    CKA_PPK_PEER,
    CKA_PPK_PEER_ADDRESS,
    CKA_PPK_REMOTE_SYSTEM_ID,
    CKA_PPK_SKS_PROFILE,
    CKA_PPK_KIND,
    CKA_PPK_REQUIRED,
    CKA_PPK_SECONDS_LEFT,
    CKA_PPK_LOCAL_SYSTEM_ID,
    CKA_PPK_USED,
};

static const char *const texts[] = {"alpha", "beta",  "gamma", "p1",    "p2",        "one",
                                    "two",   "three", "Bob",   "Carol", "alpha/psk", "ppk-peer"};

static CK_ATTRIBUTE_TYPE input_type(struct input *in)
{
    const uint8_t which = input_byte(in);

    return which < 0xf0 ? types[which % (sizeof types / sizeof *types)] : input_number(in);
}

static void value_copy(CK_ATTRIBUTE *a, const void *value, size_t len)
{
    a->pValue = input_room(len);
    a->ulValueLen = len;
    memcpy(a->pValue, value, len);
}

static void input_attribute(struct input *in, CK_ATTRIBUTE *a)
{
    size_t got = 0;

    a->type = input_type(in);
    switch (input_byte(in) % 8) {
    case 0: {
        const CK_BBOOL flag = input_byte(in) & 1;
        value_copy(a, &flag, sizeof flag);
        break;
    }
    case 1: {
        const CK_ULONG number = input_number(in);
        value_copy(a, &number, sizeof number);
        break;
    }
    case 2: {
        const char *text = texts[input_below(in, sizeof texts / sizeof *texts)];
        value_copy(a, text, strlen(text));
        break;
    }
    case 3: /* no value */
        a->pValue = NULL;
        a->ulValueLen = input_byte(in) & 1 ? input_number(in) : 0;
        break;
    case 4: /* a length that is no attribute's */
        a->pValue = input_block(in, 4, &got);
        a->ulValueLen = input_number(in) | 1UL << (24 + input_byte(in) % 40);
        break;
    case 5: { /* the usual class and key types */
        static const CK_ULONG numbers[] = {
            CKO_SECRET_KEY, CKO_DATA, CKK_GENERIC_SECRET, CKK_AES, CKK_HKDF, CKK_SHA256_HMAC, 32, 16};
        const CK_ULONG number = numbers[input_below(in, sizeof numbers / sizeof *numbers)];
        value_copy(a, &number, sizeof number);
        break;
    }
    default:
        a->pValue = input_block(in, input_byte(in) % 80, &got);
        a->ulValueLen = got;
        break;
    }
}

struct fuzz_template input_template(struct input *in)
{
    const uint8_t head = input_byte(in);
    struct fuzz_template t = {NULL, head % 24};

    if (head == 0xff) /* no template, or one that is longer than any */
        return (struct fuzz_template){input_byte(in) & 1 ? input_room(sizeof *t.a) : NULL,
                                      input_number(in) | 1UL << (20 + input_byte(in) % 44)};
    if (head % 24 == 0 && (head & 0x80) == 0)
        return t;
    if (head % 24 == 23)
        t.n += input_byte(in);
    t.a = input_room(t.n * sizeof *t.a);
    for (CK_ULONG i = 0; i < t.n; i++)
        input_attribute(in, &t.a[i]);
    return t;
}

struct fuzz_template input_template_read(struct input *in)
{
    struct fuzz_template t = {NULL, input_byte(in) % 48};

    if (t.n == 0)
        return t;
    t.a = input_room(t.n * sizeof *t.a);
    for (CK_ULONG i = 0; i < t.n; i++) {
        const uint8_t len = input_byte(in);
        t.a[i].type = input_type(in);
        t.a[i].ulValueLen = len;
        t.a[i].pValue = len == 0 ? NULL : input_room(len);
        if (len > 0)
            memset(t.a[i].pValue, 0, len);
    }
    return t;
}

void template_check_read(const struct fuzz_template *t, const struct fuzz_template *asked, CK_RV rv)
{
    for (CK_ULONG i = 0; i < t->n; i++) {
        const CK_ATTRIBUTE *a = &t->a[i], *was = &asked->a[i];

        must(a->type == was->type && a->pValue == was->pValue);
        if (a->ulValueLen == CK_UNAVAILABLE_INFORMATION) {
            must(rv != CKR_OK);
            continue;
        }
        if (a->pValue == NULL)
            continue;
        if (rv == CKR_OK || a->ulValueLen != was->ulValueLen)
            must(a->ulValueLen <= was->ulValueLen);
        module_no_key(a->pValue, was->ulValueLen);
    }
}

/* ---- mechanisms ---- */

static const CK_MECHANISM_TYPE mechanisms[] = {
    CKM_IKE2_PRF_PLUS_DERIVE,
    CKM_IKE_PRF_DERIVE,
    CKM_NSS_IKE_PRF_PLUS_DERIVE,
    CKM_NSS_IKE_PRF_DERIVE,
    CKM_HKDF_DERIVE,
    CKM_EXTRACT_KEY_FROM_KEY,
    CKM_CONCATENATE_BASE_AND_KEY,
    CKM_CONCATENATE_BASE_AND_DATA,
    CKM_CONCATENATE_DATA_AND_BASE,
    CKM_SHA_1_HMAC,
    CKM_SHA256_HMAC,
    CKM_SHA384_HMAC,
    CKM_SHA512_HMAC,
    CKM_GENERIC_SECRET_KEY_GEN,
    CKM_AES_KEY_WRAP_KWP,
};

static CK_MECHANISM_TYPE input_prf(struct input *in)
{
    static const CK_MECHANISM_TYPE prfs[] = {CKM_SHA_1_HMAC,  CKM_SHA256_HMAC, CKM_SHA384_HMAC,
                                             CKM_SHA512_HMAC, CKM_SHA_1,       CKM_SHA256,
                                             CKM_SHA384,      CKM_SHA512};
    const uint8_t which = input_byte(in);

    return which < 0xe0 ? prfs[which % 8] : input_number(in);
}

/* Data of a parameter: a block, or none, or a length that none has. */
static void *input_data(struct input *in, CK_ULONG *len)
{
    const uint8_t how = input_byte(in);
    size_t got = 0;
    void *data = NULL;

    if (how == 0xff || how == 0xfe) {
        *len = input_number(in) | 1UL << (26 + input_byte(in) % 38);
        return how == 0xff ? NULL : input_block(in, 4, &got);
    }
    if (how >= 0xf8) {
        *len = how & 1 ? input_number(in) : 0;
        return NULL;
    }
    if (how >= 0xf0) { /* what a pre-shared key may be used for */
        static const char pad[] = "Key Pad for IKEv2";
        *len = sizeof pad - 1;
        data = input_room(*len);
        memcpy(data, pad, *len);
        return data;
    }
    data = input_block(in, how % 100, &got);
    *len = got;
    return data;
}

static CK_OBJECT_HANDLE input_handle(struct input *in, const CK_OBJECT_HANDLE *handles, size_t n)
{
    const uint8_t which = input_byte(in);

    return n > 0 && which < 0xf0 ? handles[which % n] : input_number(in);
}

static CK_BBOOL input_flag(struct input *in)
{
    const uint8_t flag = input_byte(in);

    return flag < 0xf0 ? flag & 1 : flag;
}

/* The parameter as the mechanism wants it. */
static void *input_parameter(struct input *in, CK_MECHANISM_TYPE type, const CK_OBJECT_HANDLE *handles,
                             size_t n, CK_ULONG *len)
{
    void *out = NULL;

#define GIVE(value)                                                                                          \
    do {                                                                                                     \
        *len = sizeof(value);                                                                                \
        out = input_room(sizeof(value));                                                                     \
        memcpy(out, &(value), sizeof(value));                                                                \
    } while (0)
    switch (type) {
    case CKM_IKE2_PRF_PLUS_DERIVE:
    case CKM_NSS_IKE_PRF_PLUS_DERIVE: {
        CK_IKE2_PRF_PLUS_DERIVE_PARAMS p = {0};
        p.prfMechanism = input_prf(in);
        p.bHasSeedKey = input_flag(in);
        p.hSeedKey = input_handle(in, handles, n);
        p.pSeedData = input_data(in, &p.ulSeedDataLen);
        GIVE(p);
        break;
    }
    case CKM_IKE_PRF_DERIVE:
    case CKM_NSS_IKE_PRF_DERIVE: {
        CK_IKE_PRF_DERIVE_PARAMS p = {0};
        p.prfMechanism = input_prf(in);
        p.bDataAsKey = input_flag(in);
        p.bRekey = input_flag(in);
        p.pNi = input_data(in, &p.ulNiLen);
        p.pNr = input_data(in, &p.ulNrLen);
        p.hNewKey = input_handle(in, handles, n);
        GIVE(p);
        break;
    }
    case CKM_HKDF_DERIVE: {
        CK_HKDF_PARAMS p = {0};
        p.bExtract = input_flag(in);
        p.bExpand = input_flag(in);
        p.prfHashMechanism = input_prf(in);
        p.ulSaltType = input_byte(in) % 6;
        p.pSalt = input_data(in, &p.ulSaltLen);
        p.hSaltKey = input_handle(in, handles, n);
        p.pInfo = input_data(in, &p.ulInfoLen);
        GIVE(p);
        break;
    }
    case CKM_CONCATENATE_BASE_AND_DATA:
    case CKM_CONCATENATE_DATA_AND_BASE: {
        CK_KEY_DERIVATION_STRING_DATA p = {0};
        p.pData = input_data(in, &p.ulLen);
        GIVE(p);
        break;
    }
    case CKM_EXTRACT_KEY_FROM_KEY: {
        const CK_ULONG bit = input_number(in);
        GIVE(bit);
        break;
    }
    case CKM_CONCATENATE_BASE_AND_KEY: {
        const CK_OBJECT_HANDLE other = input_handle(in, handles, n);
        GIVE(other);
        break;
    }
    default:
        *len = 0;
        break;
    }
#undef GIVE
    return out;
}

CK_MECHANISM input_mechanism(struct input *in, const CK_OBJECT_HANDLE *handles, size_t n)
{
    const uint8_t which = input_byte(in), how = input_byte(in);
    CK_MECHANISM m = {which < 0xf0 ? mechanisms[which % (sizeof mechanisms / sizeof *mechanisms)]
                                   : input_number(in),
                      NULL, 0};
    size_t got = 0;

    if (how < 0xe0) {
        m.pParameter = input_parameter(in, m.mechanism, handles, n, &m.ulParameterLen);
    } else if (how < 0xf0) { /* bytes, of no size at which they would be taken for pointers */
        m.pParameter = input_block(in, 2U * input_byte(in) + 1, &got);
        if (got > 8 && got % 2 == 0)
            got--;
        m.ulParameterLen = got;
    } else if (how < 0xf8) {
        m.ulParameterLen = input_number(in);
    } else {
        m.pParameter = input_block(in, 4, &got);
        m.ulParameterLen = 0;
    }
    return m;
}
