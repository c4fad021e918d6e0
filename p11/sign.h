/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and verifying MACs. */
#ifndef PPK_P11_SIGN_H
#define PPK_P11_SIGN_H

#include "ike/prf.h"
#include "p11/policy.h"

/* A MAC operation of a session: active if `key` is set. */
struct mac {
    struct object *key; /* a reference */
    enum prf prf;
    bool parts;              /* C_SignUpdate or C_VerifyUpdate was called */
    struct prf_state *state; /* as long as there are parts */
    struct policy_input input;
};

/* Ends the operation, if there is one. */
void mac_end(struct mac *m);

/* `cancel`: a NULL mechanism ends an active operation (PKCS#11 3.0); before, it was a bad argument. */
CK_RV sign_init(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, bool cancel);
CK_RV sign_once(CK_SESSION_HANDLE session, const CK_BYTE *data, CK_ULONG len, CK_BYTE *out,
                CK_ULONG *out_len);
CK_RV sign_update(CK_SESSION_HANDLE session, const CK_BYTE *part, CK_ULONG len);
CK_RV sign_final(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len);

CK_RV verify_init(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                  bool cancel);
CK_RV verify_once(CK_SESSION_HANDLE session, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *mac,
                  CK_ULONG mac_len);
CK_RV verify_update(CK_SESSION_HANDLE session, const CK_BYTE *part, CK_ULONG len);
CK_RV verify_final(CK_SESSION_HANDLE session, const CK_BYTE *mac, CK_ULONG mac_len);

#endif
