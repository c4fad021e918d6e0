/* SPDX-License-Identifier: BSD-2-Clause */
/* C_DeriveKey: prf and prf+ of IKEv2 (PKCS#11 3.1, 6.66), and on session keys what a whole IKEv2 schedule
 * needs besides. */
#include "p11/attribute.h"
#include "p11/manage.h"
#include "p11/mechanism.h"
#include "p11/policy.h"
#include "p11/selftest.h"
#include "p11/session.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define DATA_MAX (16UL << 20) /* bytes of a nonce, seed, info or salt: more is a mistake */

/* A derivation under way. */
struct derivation {
    struct slot *slot;
    const struct mechanism *m;
    const CK_MECHANISM *given;
    const struct template *t;
    CK_KEY_TYPE type; /* of the new key */
    struct object *base, *second;
    struct secret_view base_view, second_view;
    struct secret_draft draft;
    uint8_t *out; /* the draft's */
    size_t len;
};

/* Copies the mechanism's parameter, which need not be aligned. False: it is not of this size. */
static bool parameter_read(const struct derivation *d, void *to, size_t size)
{
    if (d->given->pParameter == NULL || d->given->ulParameterLen != size)
        return false;
    memcpy(to, d->given->pParameter, size);
    return true;
}

static bool data_good(const void *data, CK_ULONG len)
{
    return len <= DATA_MAX && (data != NULL || len == 0);
}

/* The key of a parameter's handle: policed as such. */
static CK_RV second_find(struct derivation *d, CK_OBJECT_HANDLE handle)
{
    d->second = object_find(d->slot, handle);
    if (d->second == NULL || d->second->kind == OBJECT_PEER)
        return CKR_KEY_HANDLE_INVALID;
    return policy_check(d->slot, d->second, d->m->type, ROLE_SECOND);
}

/* CKA_VALUE_LEN, or 0. */
static size_t asked_len(const struct derivation *d)
{
    return template_has(d->t, FIELD_VALUE_LEN) ? d->t->number[FIELD_VALUE_LEN] : 0;
}

/* Everything was checked: opens the keys and makes room for `len` bytes. */
static CK_RV begin(struct derivation *d, size_t len)
{
    CK_RV rv = key_len_check(d->type, len);

    if (rv != CKR_OK)
        return rv;
    if (!secret_draft_begin(&d->draft, len))
        return CKR_HOST_MEMORY;
    d->out = d->draft.data;
    d->len = len;
    if (!secret_open(policy_secret(d->base), &d->base_view) ||
        (d->second != NULL && !secret_open(policy_secret(d->second), &d->second_view)))
        return CKR_HOST_MEMORY;
    return CKR_OK;
}

static struct span base_span(const struct derivation *d)
{
    return (struct span){d->base_view.data, d->base_view.len};
}

static struct span second_span(const struct derivation *d)
{
    return (struct span){d->second_view.data, d->second_view.len};
}

/* May the prf of this key (NULL: none of ours) and these parts, of which the first may be a key's value, be a
 * new key? */
static CK_RV may_make(const struct derivation *d, const struct object *key, enum prf prf,
                      const struct object *part, const struct span *parts, size_t n)
{
    struct policy_input in = {0};

    for (size_t i = 0; i < n; i++)
        policy_input_add(&in, parts[i]);
    return policy_may_make(d->slot, key, prf, part, &in);
}

static const uint8_t first_block = 1; /* of prf+ */

/* prf+(base, value(hSeedKey) | pSeedData) */
static CK_RV derive_prf_plus(struct derivation *d)
{
    CK_IKE2_PRF_PLUS_DERIVE_PARAMS p;
    const size_t len = asked_len(d);
    enum prf prf;
    CK_RV rv;

    if (!parameter_read(d, &p, sizeof p) || !mechanism_prf(p.prfMechanism, &prf) ||
        !data_good(p.pSeedData, p.ulSeedDataLen))
        return CKR_MECHANISM_PARAM_INVALID;
    if (!template_has(d->t, FIELD_VALUE_LEN))
        return CKR_TEMPLATE_INCOMPLETE;
    if (len > 255 * prf_size(prf))
        return CKR_KEY_SIZE_RANGE;
    rv = p.bHasSeedKey ? second_find(d, p.hSeedKey) : CKR_OK;
    if (rv == CKR_OK)
        rv = policy_derived_len(d->slot, d->base, d->second, len);
    if (rv == CKR_OK)
        rv = begin(d, len);
    if (rv != CKR_OK)
        return rv;
    const struct span parts[] = {second_span(d), {p.pSeedData, p.ulSeedDataLen}, {&first_block, 1}};
    rv = may_make(d, d->base, prf, d->second, parts, 3);
    if (rv != CKR_OK)
        return rv;
    return prf_plus_for(policy_hot(d->base), prf, base_span(d), parts, 2, d->out, len) ? CKR_OK
                                                                                       : CKR_FUNCTION_FAILED;
}

/* prf(Ni|Nr, base) */
static CK_RV prf_data_as_key(struct derivation *d, enum prf prf, struct span ni, struct span nr, uint8_t *out)
{
    const struct span part = base_span(d);
    uint8_t *key = malloc(ni.len + nr.len + 1);
    bool good;

    if (key == NULL)
        return CKR_HOST_MEMORY;
    if (ni.len > 0)
        memcpy(key, ni.data, ni.len);
    if (nr.len > 0)
        memcpy(key + ni.len, nr.data, nr.len);
    good = prf_compute(prf, (struct span){key, ni.len + nr.len}, &part, 1, out);
    OPENSSL_cleanse(key, ni.len + nr.len);
    free(key);
    return good ? CKR_OK : CKR_FUNCTION_FAILED;
}

/* prf(Ni|Nr, base), prf(base, Ni|Nr) or prf(base, hNewKey|Ni|Nr) */
static CK_RV derive_ike_prf(struct derivation *d)
{
    CK_IKE_PRF_DERIVE_PARAMS p;
    enum prf prf;
    CK_RV rv;

    if (!parameter_read(d, &p, sizeof p) || !mechanism_prf(p.prfMechanism, &prf) ||
        !data_good(p.pNi, p.ulNiLen) || !data_good(p.pNr, p.ulNrLen))
        return CKR_MECHANISM_PARAM_INVALID;
    if (p.bDataAsKey && p.bRekey)
        return CKR_ARGUMENTS_BAD;
    const struct span ni = {p.pNi, p.ulNiLen}, nr = {p.pNr, p.ulNrLen};
    if (template_has(d->t, FIELD_VALUE_LEN) && asked_len(d) != prf_size(prf))
        return CKR_KEY_SIZE_RANGE;
    rv = policy_ike_prf(d->base, p.bDataAsKey, p.bRekey, ni, nr);
    if (rv == CKR_OK && p.bRekey)
        rv = second_find(d, p.hNewKey);
    if (rv == CKR_OK)
        rv = begin(d, prf_size(prf));
    if (rv != CKR_OK)
        return rv;
    if (p.bDataAsKey)
        return prf_data_as_key(d, prf, ni, nr, d->out);
    const struct span parts[] = {second_span(d), ni, nr};
    rv = may_make(d, d->base, prf, d->second, parts, 3);
    if (rv != CKR_OK)
        return rv;
    return prf_compute_for(policy_hot(d->base), prf, base_span(d), parts, 3, d->out) ? CKR_OK
                                                                                     : CKR_FUNCTION_FAILED;
}

/* The salt of HKDF: none, bytes, or a key. */
static CK_RV hkdf_salt_check(struct derivation *d, const CK_HKDF_PARAMS *p)
{
    switch (p->ulSaltType) {
    case CKF_HKDF_SALT_NULL:
        return CKR_OK;
    case CKF_HKDF_SALT_DATA:
        return data_good(p->pSalt, p->ulSaltLen) ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
    case CKF_HKDF_SALT_KEY:
        return second_find(d, p->hSaltKey);
    default:
        return CKR_MECHANISM_PARAM_INVALID;
    }
}

static CK_RV hkdf_len(const struct derivation *d, const CK_HKDF_PARAMS *p, enum prf prf, size_t *len)
{
    *len = asked_len(d);
    if (!p->bExpand) {
        if (template_has(d->t, FIELD_VALUE_LEN) && *len != prf_size(prf))
            return CKR_KEY_SIZE_RANGE;
        *len = prf_size(prf);
        return CKR_OK;
    }
    if (!template_has(d->t, FIELD_VALUE_LEN))
        return CKR_TEMPLATE_INCOMPLETE;
    return *len > 255 * prf_size(prf) ? CKR_KEY_SIZE_RANGE : CKR_OK;
}

/* Extract keys the prf with the salt, and Expand with what comes of it, or with the base key. */
static CK_RV hkdf_may_make(const struct derivation *d, const CK_HKDF_PARAMS *p, enum prf prf)
{
    const struct span base = base_span(d), first[] = {{p->pInfo, p->ulInfoLen}, {&first_block, 1}};
    CK_RV rv = p->bExtract ? may_make(d, d->second, prf, d->base, &base, 1) : CKR_OK;

    if (rv == CKR_OK && p->bExpand)
        rv = may_make(d, d->base, prf, NULL, first, 2);
    if (rv == CKR_OK && p->bExpand)
        rv = may_make(d, d->second, prf, NULL, first, 2);
    return rv;
}

/* RFC 5869: Extract is a prf keyed with the salt, Expand is IKEv2's prf+ */
static CK_RV hkdf_compute(struct derivation *d, const CK_HKDF_PARAMS *p, enum prf prf)
{
    const struct span base = base_span(d), info = {p->pInfo, p->ulInfoLen};
    struct span salt = second_span(d), key = base;
    uint8_t *prk = secmem_alloc(PRF_MAX);
    bool good = prk != NULL;

    if (p->ulSaltType == CKF_HKDF_SALT_DATA)
        salt = (struct span){p->pSalt, p->ulSaltLen};
    if (good && p->bExtract) {
        good = prf_compute(prf, salt, &base, 1, prk);
        key = (struct span){prk, prf_size(prf)};
    }
    if (good && p->bExpand)
        good = prf_plus(prf, key, &info, 1, d->out, d->len);
    else if (good)
        memcpy(d->out, prk, d->len);
    secmem_free(prk);
    return good ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV derive_hkdf(struct derivation *d)
{
    CK_HKDF_PARAMS p;
    enum prf prf;
    size_t len = 0;
    CK_RV rv;

    if (!parameter_read(d, &p, sizeof p) || !mechanism_hash_prf(p.prfHashMechanism, &prf) ||
        (!p.bExtract && !p.bExpand) || (p.bExpand && !data_good(p.pInfo, p.ulInfoLen)))
        return CKR_MECHANISM_PARAM_INVALID;
    rv = p.bExtract ? hkdf_salt_check(d, &p) : CKR_OK;
    if (rv == CKR_OK)
        rv = hkdf_len(d, &p, prf, &len);
    if (rv == CKR_OK)
        rv = policy_derived_len(d->slot, d->base, d->second, len);
    if (rv == CKR_OK)
        rv = begin(d, len);
    if (rv == CKR_OK)
        rv = hkdf_may_make(d, &p, prf);
    return rv == CKR_OK ? hkdf_compute(d, &p, prf) : rv;
}

/* CKA_VALUE_LEN bytes of the base key from a bit on; past its end it goes on at its beginning
 * (PKCS#11 3.1, 6.43.7). */
static CK_RV derive_extract(struct derivation *d)
{
    const size_t len = asked_len(d), have = secret_len(policy_secret(d->base));
    CK_ULONG bit;
    CK_RV rv;

    if (!parameter_read(d, &bit, sizeof bit) || bit >= have * 8)
        return CKR_MECHANISM_PARAM_INVALID;
    if (!template_has(d->t, FIELD_VALUE_LEN))
        return CKR_TEMPLATE_INCOMPLETE;
    if (len > have)
        return CKR_KEY_SIZE_RANGE;
    rv = policy_extract(d->slot, d->base, len);
    if (rv == CKR_OK)
        rv = begin(d, len);
    for (size_t i = 0; rv == CKR_OK && i < len; i++) {
        const size_t at = bit / 8 + i;
        const unsigned pair =
            (unsigned)d->base_view.data[at % have] << 8 | d->base_view.data[(at + 1) % have];
        d->out[i] = (uint8_t)(pair >> (8 - bit % 8));
    }
    return rv;
}

/* Can it be read anyway, so that a part of it says nothing new? */
static bool readable(const struct derivation *d, const struct object *o)
{
    return o == NULL || flags_readable(object_flags(d->slot, o));
}

/* out = first | second, or less if the template says so and nothing is given away by it */
static CK_RV concatenate(struct derivation *d, bool base_first, struct span data)
{
    const size_t base = secret_len(policy_secret(d->base));
    const size_t other = d->second != NULL ? secret_len(policy_secret(d->second)) : data.len;
    const size_t total = base + other, len = template_has(d->t, FIELD_VALUE_LEN) ? asked_len(d) : total;
    uint8_t *whole;
    CK_RV rv;

    if (len > total || total > SECRET_MAX)
        return CKR_KEY_SIZE_RANGE;
    if (len < total && (!readable(d, d->base) || !readable(d, d->second)))
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    rv = begin(d, len);
    if (rv != CKR_OK)
        return rv;
    whole = secmem_alloc(total);
    if (whole == NULL)
        return CKR_HOST_MEMORY;
    if (d->second != NULL)
        data = second_span(d);
    memcpy(base_first ? whole : whole + other, d->base_view.data, base);
    if (data.data != NULL)
        memcpy(base_first ? whole + base : whole, data.data, other);
    memcpy(d->out, whole, len);
    secmem_free(whole);
    return CKR_OK;
}

static CK_RV derive_concat_key(struct derivation *d)
{
    CK_OBJECT_HANDLE handle;
    CK_RV rv;

    if (!parameter_read(d, &handle, sizeof handle))
        return CKR_MECHANISM_PARAM_INVALID;
    rv = second_find(d, handle);
    return rv == CKR_OK ? concatenate(d, true, (struct span){NULL, 0}) : rv;
}

static CK_RV derive_concat_data(struct derivation *d)
{
    CK_KEY_DERIVATION_STRING_DATA p;

    if (!parameter_read(d, &p, sizeof p) || p.pData == NULL || p.ulLen > SECRET_MAX)
        return CKR_MECHANISM_PARAM_INVALID;
    return concatenate(d, d->m->kind == MECHANISM_CONCAT_DATA, (struct span){p.pData, p.ulLen});
}

static CK_RV derive_by_kind(struct derivation *d)
{
    switch (d->m->kind) {
    case MECHANISM_PRF_PLUS:
        return derive_prf_plus(d);
    case MECHANISM_IKE_PRF:
        return derive_ike_prf(d);
    case MECHANISM_HKDF:
        return derive_hkdf(d);
    case MECHANISM_EXTRACT:
        return derive_extract(d);
    case MECHANISM_CONCAT_KEY:
        return derive_concat_key(d);
    case MECHANISM_CONCAT_DATA:
    case MECHANISM_CONCAT_BEFORE:
        return derive_concat_data(d);
    case MECHANISM_HMAC:
    case MECHANISM_GENERATE:
    case MECHANISM_WRAP:
        break;
    }
    return CKR_MECHANISM_INVALID;
}

static CK_RV derive(struct derivation *d, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE base,
                    CK_OBJECT_HANDLE *handle)
{
    struct secret *value;
    CK_RV rv;

    d->base = object_find(d->slot, base);
    if (d->base == NULL || d->base->kind == OBJECT_PEER)
        return CKR_KEY_HANDLE_INVALID;
    rv = policy_check(d->slot, d->base, d->m->type, ROLE_BASE);
    if (rv == CKR_OK)
        rv = derive_by_kind(d);
    if (rv != CKR_OK)
        return rv;
    policy_use(d->slot, d->base);
    value = secret_draft_finish(&d->draft);
    if (value == NULL)
        return CKR_HOST_MEMORY;
    rv = key_make(d->slot, session, d->t,
                  policy_derived_flags(d->slot, d->base, d->second, d->m, d->t, d->type), d->type, value,
                  handle);
    if (rv != CKR_OK)
        secret_free(value);
    return rv;
}

CK_RV key_derive(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                 const CK_ATTRIBUTE *attributes, CK_ULONG n, CK_OBJECT_HANDLE *handle)
{
    struct derivation d = {.given = mechanism};
    struct template t;
    bool rw;
    CK_RV rv = session_peek(session, &d.slot, &rw);

    if (rv != CKR_OK)
        return rv;
    if (mechanism == NULL || handle == NULL)
        return CKR_ARGUMENTS_BAD;
    d.m = mechanism_find(mechanism->mechanism);
    if (d.m == NULL || (d.m->flags & CKF_DERIVE) == 0)
        return CKR_MECHANISM_INVALID;
    if (!selftest_prf())
        return CKR_FUNCTION_FAILED;
    rv = template_read(&t, USE_DERIVE, attributes, n);
    if (rv == CKR_OK)
        rv = session_key_check(d.slot, rw, &t, CKK_GENERIC_SECRET, &d.type);
    if (rv != CKR_OK)
        return rv;
    d.t = &t;
    rv = derive(&d, session, base, handle);
    secret_close(&d.base_view);
    secret_close(&d.second_view);
    secret_draft_drop(&d.draft);
    object_put(d.slot->library->objects, d.second);
    object_put(d.slot->library->objects, d.base);
    return rv;
}
