/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/policy.h"

#include "base/log.h"
#include "p11/attribute.h"
#include "p11/mechanism.h"

#include <string.h>

#define HMACS CKM_SHA_1_HMAC, CKM_SHA256_HMAC, CKM_SHA384_HMAC, CKM_SHA512_HMAC

static const CK_MECHANISM_TYPE ppk_types[] = {
    CKM_IKE2_PRF_PLUS_DERIVE, CKM_IKE_PRF_DERIVE, CKM_NSS_IKE_PRF_PLUS_DERIVE, CKM_NSS_IKE_PRF_DERIVE, HMACS,
};
static const CK_MECHANISM_TYPE psk_types[] = {CKM_IKE_PRF_DERIVE, CKM_NSS_IKE_PRF_DERIVE, HMACS};
static const CK_MECHANISM_TYPE kek_types[] = {CKM_AES_KEY_WRAP_KWP};

static const struct policy_mechanisms ppk_mechanisms = {ppk_types, sizeof ppk_types / sizeof ppk_types[0]};
static const struct policy_mechanisms psk_mechanisms = {psk_types, sizeof psk_types / sizeof psk_types[0]};
static const struct policy_mechanisms kek_mechanisms = {kek_types, sizeof kek_types / sizeof kek_types[0]};

const struct policy_mechanisms *policy_allowed(const struct object *o)
{
    return o->kind == OBJECT_PSK   ? &psk_mechanisms
           : o->kind == OBJECT_KEK ? &kek_mechanisms
                                   : &ppk_mechanisms;
}

bool policy_configured(const struct object *o)
{
    return o->kind != OBJECT_KEY && o->kind != OBJECT_PEER;
}

CK_KEY_TYPE policy_key_type(const struct object *o)
{
    if (o->kind == OBJECT_KEY)
        return ((const struct key *)o->of)->type;
    return o->kind == OBJECT_KEK ? CKK_AES : CKK_GENERIC_SECRET;
}

const struct secret *policy_secret(const struct object *o)
{
    switch ((enum object_kind)o->kind) {
    case OBJECT_PSK:
    case OBJECT_MANUAL:
    case OBJECT_KEK:
        return atomic_load(&atomic_load(&((const struct slot_key *)o->of)->secret)->value);
    case OBJECT_PPK:
        return ((const struct ppk *)o->of)->value;
    case OBJECT_KEY:
        return ((const struct key *)o->of)->value;
    case OBJECT_PEER:
        break;
    }
    return NULL;
}

static bool listed(const CK_MECHANISM_TYPE *types, size_t n, CK_MECHANISM_TYPE type)
{
    for (size_t i = 0; i < n; i++)
        if (types[i] == type)
            return true;
    return false;
}

/* Does the keyring keep what is derived from its keys inside, and is this of those? */
static bool kept_inside(const struct slot *s, uint32_t sources)
{
    return slot_keyring(s)->derived_sensitive && (sources & FLAG_FROM_CONFIGURED) != 0;
}

CK_RV policy_check(const struct slot *s, const struct object *o, CK_MECHANISM_TYPE mechanism,
                   enum policy_role role)
{
    static const uint32_t needs[] = {
        [ROLE_SIGN] = FLAG_SIGN,     [ROLE_VERIFY] = FLAG_VERIFY, [ROLE_BASE] = FLAG_DERIVE,
        [ROLE_SECOND] = FLAG_DERIVE, [ROLE_WRAP] = FLAG_WRAP,     [ROLE_UNWRAP] = FLAG_UNWRAP};
    const bool wraps = role == ROLE_WRAP || role == ROLE_UNWRAP,
               macs = role == ROLE_SIGN || role == ROLE_VERIFY;
    const uint32_t flags = object_flags(s, o);
    const struct policy_mechanisms *allowed;
    const struct key_extra *extra;

    if ((flags & needs[role]) == 0 || (flags & (wraps ? FLAG_DERIVED : FLAG_UNWRAPPED)) != 0)
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    if (kept_inside(s, flags) && (macs ? o->kind == OBJECT_PSK : (flags & FLAG_FOR_AUTH) != 0))
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    if (policy_configured(o)) {
        allowed = policy_allowed(o);
        return role != ROLE_SECOND && listed(allowed->types, allowed->n, mechanism)
                   ? CKR_OK
                   : CKR_KEY_FUNCTION_NOT_PERMITTED;
    }
    extra = atomic_load_explicit(&((const struct key *)o->of)->extra, memory_order_acquire);
    if (extra != NULL && extra->has_allowed && !listed(extra->allowed, extra->n_allowed, mechanism))
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    return CKR_OK;
}

CK_RV policy_ike_prf(const struct object *o, bool as_data, bool rekey, struct span ni, struct span nr)
{
    static const char pad[] = "Key Pad for IKEv2";
    const size_t len = sizeof pad - 1;

    if (!policy_configured(o))
        return CKR_OK;
    if (as_data)
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    if (o->kind != OBJECT_PSK)
        return CKR_OK;
    if (rekey || ni.len > len || nr.len != len - ni.len ||
        (ni.len > 0 && memcmp(ni.data, pad, ni.len) != 0) ||
        (nr.len > 0 && memcmp(nr.data, pad + ni.len, nr.len) != 0))
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    return CKR_OK;
}

void policy_input_add(struct policy_input *in, struct span part)
{
    for (size_t i = 0; i < part.len && in->len + i < sizeof in->head; i++)
        in->head[in->len + i] = part.data[i];
    in->len += part.len;
}

/* RestOfInitIDPayload and RestOfRespIDPayload of RFC 7296, 2.15: IDType | RESERVED | data */
static bool is_identity(const struct policy_input *in)
{
    return in->len >= sizeof in->head && in->head[1] == 0 && in->head[2] == 0 && in->head[3] == 0;
}

bool policy_may_mac(const struct slot *s, const struct object *o, enum prf prf, const struct policy_input *in)
{
    const uint32_t flags = object_flags(s, o);
    const size_t size = prf_size(prf);

    if (!kept_inside(s, flags) || (flags & FLAG_FOR_AUTH) != 0)
        return true;
    if (o->kind == OBJECT_PSK) /* the MAC was begun before the keyring was strict */
        return false;
    if (policy_configured(o)) /* S | 1 and T | S | n */
        return in->len != size + 1 && in->len != 2 * size + 1;
    return is_identity(in);
}

/* What is looked at shows in the answer, so nothing is that only the token knows: of a key that the keyring
 * keeps it need not be, since nobody can ask for a MAC of that; and pieces of other keys are not good for it.
 */
CK_RV policy_may_make(const struct slot *s, const struct object *o, enum prf prf, const struct object *part,
                      const struct policy_input *in)
{
    const uint32_t flags = part == NULL ? 0 : object_flags(s, part);
    bool may = true;

    if (o == NULL || o->kind == OBJECT_PSK || !kept_inside(s, object_flags(s, o)))
        return CKR_OK;
    if (policy_configured(o))
        may = in->len == prf_size(prf) + 1;
    else if (part == NULL || flags_readable(flags) || (flags & (FLAG_FROM_CONFIGURED | FLAG_PIECE)) == 0)
        may = !is_identity(in);
    else
        may = (flags & FLAG_INSIDE) != 0;
    return may ? CKR_OK : CKR_KEY_FUNCTION_NOT_PERMITTED;
}

CK_RV policy_wrapped(const struct slot *s, const struct object *kek, const struct object *o)
{
    const uint32_t flags = object_flags(s, o);
    const bool trusted = (object_flags(s, kek) & FLAG_TRUSTED) != 0;

    if (policy_configured(o) || (flags & FLAG_EXTRACTABLE) == 0)
        return CKR_KEY_UNEXTRACTABLE;
    if ((flags & FLAG_DERIVED) == 0 || ((const struct key *)o->of)->type != CKK_AES)
        return CKR_KEY_NOT_WRAPPABLE;
    if ((flags & FLAG_WRAP_WITH_TRUSTED) != 0 && (!trusted || (flags & FLAG_KNOWN_PARTS) != 0))
        return CKR_KEY_NOT_WRAPPABLE;
    if (trusted && slot_keyring(s)->derived_sensitive && !kept_inside(s, flags))
        return CKR_KEY_NOT_WRAPPABLE;
    return CKR_OK;
}

CK_RV policy_unwrapped_flags(const struct template *t, uint32_t *flags)
{
    const uint32_t others =
        FLAG_EXTRACTABLE | FLAG_ENCRYPT | FLAG_DECRYPT | FLAG_SIGN | FLAG_VERIFY | FLAG_DERIVE;

    if ((t->flags & others) != 0 || !template_flag(t, FLAG_SENSITIVE, true))
        return CKR_TEMPLATE_INCONSISTENT;
    *flags = policy_asked_flags(t, CKK_AES, true, false, false) | FLAG_UNWRAPPED;
    return CKR_OK;
}

CK_RV policy_extract(const struct slot *s, const struct object *o, size_t len)
{
    const uint32_t flags = object_flags(s, o);

    if (flags_readable(flags))
        return CKR_OK;
    if ((flags & FLAG_KNOWN_PARTS) != 0)
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    return len < POLICY_EXTRACT_MIN ? CKR_KEY_FUNCTION_NOT_PERMITTED : CKR_OK;
}

CK_RV policy_derived_len(const struct slot *s, const struct object *base, const struct object *second,
                         size_t len)
{
    const uint32_t sources = object_flags(s, base) | (second == NULL ? 0 : object_flags(s, second));

    /* prf+ gives the same first bytes whatever the length: of one, two, three … bytes each new one could be
     * guessed with an HMAC. */
    if (len < POLICY_EXTRACT_MIN && kept_inside(s, sources))
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    return CKR_OK;
}

uint32_t policy_asked_flags(const struct template *t, CK_KEY_TYPE type, bool sensitive, bool extractable,
                            bool private)
{
    const bool macs = type == CKK_GENERIC_SECRET || type == CKK_SHA_1_HMAC || type == CKK_SHA256_HMAC ||
                      type == CKK_SHA384_HMAC || type == CKK_SHA512_HMAC;
    const uint32_t defaults = FLAG_MODIFIABLE | FLAG_COPYABLE | FLAG_DESTROYABLE |
                              (macs ? FLAG_SIGN | FLAG_VERIFY : 0) | (sensitive ? FLAG_SENSITIVE : 0) |
                              (extractable ? FLAG_EXTRACTABLE : 0) | (private ? FLAG_PRIVATE : 0);

    return (defaults & ~t->flags_given) | t->flags;
}

uint32_t policy_derived_flags(const struct slot *s, const struct object *base, const struct object *second,
                              const struct mechanism *m, const struct template *t, CK_KEY_TYPE type)
{
    const uint32_t first = object_flags(s, base), other = second == NULL ? first : object_flags(s, second);
    const uint32_t any = first | other, all = first & other;
    const bool pieces = m->kind == MECHANISM_EXTRACT || m->kind == MECHANISM_CONCAT_KEY ||
                        m->kind == MECHANISM_CONCAT_DATA || m->kind == MECHANISM_CONCAT_BEFORE;
    /* Only where values are joined is the second key's history the result's, too. */
    const uint32_t history = m->kind == MECHANISM_CONCAT_KEY ? all : first;
    const bool inside = kept_inside(s, any);
    uint32_t flags = policy_asked_flags(t, type, (any & FLAG_SENSITIVE) != 0, (all & FLAG_EXTRACTABLE) != 0,
                                        (any & FLAG_PRIVATE) != 0);

    /* Any key that is joined to another may be known: it has a readable twin (by the same derivation, maybe
     * from before the keyring was strict), or is so short that all values can be tried. */
    if (pieces && (m->kind != MECHANISM_EXTRACT || (any & FLAG_KNOWN_PARTS) != 0))
        flags |= FLAG_KNOWN_PARTS;
    if (pieces)
        flags |= FLAG_PIECE | (any & FLAG_FOR_AUTH);
    if (inside && (flags & FLAG_KNOWN_PARTS) == 0 &&
        (policy_configured(base) || (pieces ? first & FLAG_INSIDE : any & FLAG_INSIDE) != 0))
        flags |= FLAG_INSIDE;
    /* Pieces of a key are as secret as the key; what a prf makes of it is as the template says, unless the
     * keyring says more. */
    if ((pieces && (any & FLAG_SENSITIVE) != 0) || inside)
        flags |= FLAG_SENSITIVE;
    if ((pieces && (all & FLAG_EXTRACTABLE) == 0) ||
        (inside && (slot_keyring(s)->n_keks == 0 || (flags & FLAG_KNOWN_PARTS) != 0)))
        flags &= ~(uint32_t)FLAG_EXTRACTABLE;
    if ((pieces && (any & FLAG_WRAP_WITH_TRUSTED) != 0) || (inside && (flags & FLAG_EXTRACTABLE) != 0))
        flags |= FLAG_WRAP_WITH_TRUSTED;
    if ((history & FLAG_ALWAYS_SENSITIVE) != 0 && (flags & FLAG_SENSITIVE) != 0)
        flags |= FLAG_ALWAYS_SENSITIVE;
    if ((history & FLAG_NEVER_EXTRACTABLE) != 0 && (flags & FLAG_EXTRACTABLE) == 0)
        flags |= FLAG_NEVER_EXTRACTABLE;
    if (base->kind == OBJECT_PSK)
        flags |= FLAG_FOR_AUTH;
    return flags | (any & FLAG_FROM_CONFIGURED) | FLAG_DERIVED;
}

const void *policy_hot(const struct object *o)
{
    struct key *k = o->kind == OBJECT_KEY ? o->of : NULL;

    if (k == NULL || (atomic_load_explicit(&k->flags, memory_order_relaxed) & FLAG_FROM_CONFIGURED) != 0)
        return NULL;
    if (!atomic_load_explicit(&k->hot, memory_order_relaxed))
        atomic_store_explicit(&k->hot, true, memory_order_relaxed);
    return k;
}

void policy_use(struct slot *s, const struct object *o)
{
    struct ppk *ppk = o->kind == OBJECT_PPK ? o->of : NULL;

    if (ppk != NULL && !atomic_load(&ppk->used))
        ppk_store_use(s->store, ppk);
}
