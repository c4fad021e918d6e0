/* SPDX-License-Identifier: BSD-2-Clause */
/* What the policy tests share: every kind of configured key, in every kind of keyring, and the rule that
 * whatever comes out is a prf's output over the whole key, or that wrapped, or an error. */
#ifndef TOKEN_POLICY_H
#define TOKEN_POLICY_H

#include "derive.h"
#include "kwp.h"

struct kind {
    const char *name, *token;
    bool strict; /* derived-keys sensitive */
    bool psk;
    bool kek; /* a key-encryption key: neither derives nor signs */
    CK_SESSION_HANDLE s, ro;
    CK_OBJECT_HANDLE key;
    uint8_t value[64];
    size_t len;
    CK_OBJECT_HANDLE callers_kek; /* of the value `known`, in its token */
    CK_OBJECT_HANDLE card;        /* the configuration's key-encryption key in its token, or 0 */
};
extern struct kind kinds[16];
extern size_t n_kinds;

/* How many cases were tried. */
extern unsigned long cases;

extern const uint8_t known[40]; /* a key that the caller knows */

/* Initializes the token, and fills `kinds`. */
void policy_start(void);

/* Template variations: CKA_SENSITIVE and CKA_EXTRACTABLE absent, FALSE, TRUE; three key types. `len` 0:
 * without CKA_VALUE_LEN. */
#define VARIATIONS 27
void template_vary(struct template *t, unsigned variation, CK_ULONG len);

/* A key of `type` that is to leave and to be cut and joined and to wrap; of `wishes`, bit 0 is
 * CKA_EXTRACTABLE, bit 1 CKA_WRAP_WITH_TRUSTED, bit 2 CKA_SENSITIVE. */
void template_leaving(struct template *t, CK_KEY_TYPE type, CK_ULONG len, unsigned wishes);

/* The key `o`, derived from one of `k` with `t`, is this prf output, is kept as the template and the
 * keyring's policy say, and leaves wrapped as itself, or not at all. Destroys it. */
void check_output(const struct kind *k, CK_OBJECT_HANDLE o, struct template *t, const uint8_t *want,
                  size_t len);

/* Runs the program's tests, with the key source that the dynamic PPKs are from, and prints the number of
 * cases; fewer than `least` are a failure. */
int policy_main(const char *what, unsigned long least, const struct CMUnitTest *tests, size_t n);

#endif
