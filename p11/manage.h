/* SPDX-License-Identifier: BSD-2-Clause */
/* Object management, and the making of keys. */
#ifndef PPK_P11_MANAGE_H
#define PPK_P11_MANAGE_H

#include "p11/library.h"

CK_RV object_create(CK_SESSION_HANDLE session, const CK_ATTRIBUTE *attributes, CK_ULONG n,
                    CK_OBJECT_HANDLE *handle);
CK_RV object_copy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, const CK_ATTRIBUTE *attributes,
                  CK_ULONG n, CK_OBJECT_HANDLE *handle);
CK_RV object_destroy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object);
CK_RV object_size(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG *size);
CK_RV object_attributes_get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes,
                            CK_ULONG n);
CK_RV object_attributes_set(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                            const CK_ATTRIBUTE *attributes, CK_ULONG n);

/* derive.c, generate.c, wrap.c */
CK_RV key_derive(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
                 const CK_ATTRIBUTE *attributes, CK_ULONG n, CK_OBJECT_HANDLE *handle);
CK_RV key_generate(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, const CK_ATTRIBUTE *attributes,
                   CK_ULONG n, CK_OBJECT_HANDLE *handle);

CK_RV key_wrap(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
               CK_OBJECT_HANDLE key, CK_BYTE *out, CK_ULONG *out_len);
CK_RV key_unwrap(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping,
                 const CK_BYTE *wrapped, CK_ULONG len, const CK_ATTRIBUTE *attributes, CK_ULONG n,
                 CK_OBJECT_HANDLE *handle);

/* What a template for a new session key must have in common: a secret key of a type that we keep (*type;
 * `otherwise` if it is not given), not on the token, not private before the login. */
CK_RV session_key_check(const struct slot *s, bool rw, const struct template *t, CK_KEY_TYPE otherwise,
                        CK_KEY_TYPE *type);

/* Can a key of this type have this many bytes? CKR_OK or CKR_KEY_SIZE_RANGE. */
CK_RV key_len_check(CK_KEY_TYPE type, size_t len);

/* The object of this handle, with a reference, if it is the slot's and may be seen; or NULL. */
struct object *object_find(const struct slot *s, CK_OBJECT_HANDLE handle);

#endif
