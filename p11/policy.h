/* SPDX-License-Identifier: BSD-2-Clause */
/* What each kind of key may do. The rule behind the tables: whatever comes out of a PPK or a PSK is the
 * output of a prf that was keyed with the whole of it. So they are base keys of prf and prf+ and keys of
 * HMACs, and never the data of anything; nothing shortens, joins, wraps or digests them.
 *
 * Wrapping keeps two kinds of AES keys apart: session keys, which were derived, are wrapped and never wrap;
 * and key-encryption keys, which came from outside, wrap and are never wrapped. What is unwrapped is a
 * key-encryption key again and does nothing else, so that a session key that comes back wrapped cannot be
 * read, used or taken apart.
 *
 * Whoever imports a key-encryption key may know it; those of the configuration he does not: they alone are
 * CKA_TRUSTED. What a strict keyring (derived-keys sensitive) makes extractable it makes
 * CKA_WRAP_WITH_TRUSTED, and the other way round its configuration's key-encryption keys take nothing else,
 * nor a key of which parts are known: wrapping is deterministic, so that who may choose what is wrapped could
 * compare.
 *
 * prf+ is made of HMACs, so in a strict keyring no key may take the same input both for a MAC, which comes
 * out, and for a new key, which must not:
 * - PPKs derive from seeds as long as the prf's output (SK_d, SK_pi, SK_pr of RFC 8784 and 9867), and make no
 *   MACs of inputs that prf+ has then; PPK confirmations (RFC 9867) are of other lengths;
 * - what is derived from them makes MACs of IKE identities only (RFC 7296, 2.15: a byte, three zeros, data),
 *   and derives from nothing that looks like one;
 * - a pre-shared key makes no MACs, but the key for AUTH, which does nothing else. */
#ifndef PPK_P11_POLICY_H
#define PPK_P11_POLICY_H

#include "base/secret.h"
#include "p11/library.h"
#include "p11/mechanism.h"

/* In which place a key stands. */
enum policy_role {
    ROLE_SIGN,
    ROLE_VERIFY,
    ROLE_BASE,   /* hBaseKey of C_DeriveKey */
    ROLE_SECOND, /* hSeedKey, hNewKey, hSaltKey, the key that is concatenated */
    ROLE_WRAP,   /* hWrappingKey */
    ROLE_UNWRAP, /* hUnwrappingKey */
};

/* CKR_OK, or CKR_KEY_FUNCTION_NOT_PERMITTED. */
CK_RV policy_check(const struct slot *s, const struct object *o, CK_MECHANISM_TYPE mechanism,
                   enum policy_role role);

/* CKA_ALLOWED_MECHANISMS of configured keys. */
struct policy_mechanisms {
    const CK_MECHANISM_TYPE *types;
    size_t n;
};
const struct policy_mechanisms *policy_allowed(const struct object *o);

/* What goes into a prf, as far as the rules for strict keyrings look at it. Start from zeros. */
struct policy_input {
    uint8_t head[4];
    size_t len;
};
void policy_input_add(struct policy_input *in, struct span part);

/* May this key make a MAC of that? True in keyrings that are not strict. */
bool policy_may_mac(const struct slot *s, const struct object *o, enum prf prf,
                    const struct policy_input *in);

/* May a new key be what the prf makes of that with this key (NULL: with none of ours)? `in`: for prf+ its
 * first input, which begins with the value of `part` (NULL: with what the caller gave). CKR_OK or
 * CKR_KEY_FUNCTION_NOT_PERMITTED. */
CK_RV policy_may_make(const struct slot *s, const struct object *o, enum prf prf, const struct object *part,
                      const struct policy_input *in);

/* Is this a PPK, a pre-shared key or a key-encryption key of the configuration? */
bool policy_configured(const struct object *o);

/* May this key, as the base of CKM_IKE_PRF_DERIVE, take part in this? `as_data`: prf(Ni|Nr, key). A PSK does
 * exactly one thing: prf(PSK, "Key Pad for IKEv2"), RFC 7296, 2.15. */
CK_RV policy_ike_prf(const struct object *o, bool as_data, bool rekey, struct span ni, struct span nr);

/* May `len` bytes be cut from this key (CKM_EXTRACT_KEY_FROM_KEY)? What is sensitive must not fall apart into
 * pieces that can be guessed one by one. */
CK_RV policy_extract(const struct slot *s, const struct object *o, size_t len);
#define POLICY_EXTRACT_MIN 16 /* bytes */

/* May this key leave wrapped under that one? CKR_OK; CKR_KEY_UNEXTRACTABLE: it is one of the configuration,
 * or not CKA_EXTRACTABLE; CKR_KEY_NOT_WRAPPABLE: it is no derived AES key, or needs a trusted wrapping key,
 * or the trusted wrapping key another key. */
CK_RV policy_wrapped(const struct slot *s, const struct object *kek, const struct object *o);

/* The flags of a key that is unwrapped. CKR_OK, or CKR_TEMPLATE_INCONSISTENT: the template asks for more than
 * a key-encryption key. */
CK_RV policy_unwrapped_flags(const struct template *t, uint32_t *flags);

/* The flags of a key of `type` that is derived from `base` (and `second`, or NULL), from what the template
 * asks; PKCS#11 3.1, 6.43 and 6.66. What a source or the keyring forbids is not granted. */
uint32_t policy_derived_flags(const struct slot *s, const struct object *base, const struct object *second,
                              const struct mechanism *m, const struct template *t, CK_KEY_TYPE type);

/* May a prf's output of `len` bytes be derived from this key, with that second one (or NULL)? CKR_OK or
 * CKR_KEY_FUNCTION_NOT_PERMITTED. */
CK_RV policy_derived_len(const struct slot *s, const struct object *base, const struct object *second,
                         size_t len);

/* The flags that a template asks for, with the defaults, of which three depend on where the key comes from.
 */
uint32_t policy_asked_flags(const struct template *t, CK_KEY_TYPE type, bool sensitive, bool extractable,
                            bool private);

/* The value of any secret key. */
const struct secret *policy_secret(const struct object *o);

/* CKA_KEY_TYPE of any secret key. */
CK_KEY_TYPE policy_key_type(const struct object *o);

/* The owner for whom a prf may stay keyed between calls (ike/prf.h), or NULL: only a session key whose value
 * the caller brought, or that was made of such. What comes from the configuration or a key source is in
 * OpenSSL's memory for the time of a call. */
const void *policy_hot(const struct object *o);

/* Tells the store that a key is being used. */
void policy_use(struct slot *s, const struct object *o);

#endif
