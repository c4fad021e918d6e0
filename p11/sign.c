/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/sign.h"

#include "p11/library.h"
#include "p11/manage.h"
#include "p11/mechanism.h"
#include "p11/policy.h"
#include "p11/selftest.h"
#include "p11/session.h"

#include <openssl/crypto.h>
#include <string.h>

void mac_end(struct mac *m)
{
    prf_free(m->state);
    if (m->key != NULL)
        object_put(library_now()->objects, m->key);
    memset(m, 0, sizeof *m);
}

/* The key of a MAC, with a reference, if it may do this. */
static CK_RV mac_key(const struct slot *s, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE handle,
                     enum policy_role role, enum prf *prf, struct object **out)
{
    const struct mechanism *m = mechanism_find(mechanism->mechanism);
    struct objects *objects = s->library->objects;
    struct object *o;
    CK_RV rv = CKR_OK;
    CK_KEY_TYPE type;

    if (m == NULL || m->kind != MECHANISM_HMAC)
        return CKR_MECHANISM_INVALID;
    if (mechanism->pParameter != NULL || mechanism->ulParameterLen != 0)
        return CKR_MECHANISM_PARAM_INVALID;
    o = object_find(s, handle);
    if (o == NULL || o->kind == OBJECT_PEER) {
        object_put(objects, o);
        return CKR_KEY_HANDLE_INVALID;
    }
    type = policy_key_type(o);
    if (type != CKK_GENERIC_SECRET && type != m->key_type)
        rv = CKR_KEY_TYPE_INCONSISTENT;
    else
        rv = policy_check(s, o, m->type, role);
    if (rv != CKR_OK) {
        object_put(objects, o);
        return rv;
    }
    *prf = m->prf;
    *out = o;
    return CKR_OK;
}

static struct mac *mac_of(struct session *s, enum policy_role role)
{
    return role == ROLE_SIGN ? &s->sign : &s->verify;
}

static CK_RV mac_init(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                      bool cancel, enum policy_role role)
{
    struct session *s;
    struct mac *m;
    CK_RV rv;

    if (mechanism != NULL && !selftest_prf()) /* under no lock: OpenSSL starts in it */
        return CKR_FUNCTION_FAILED;
    rv = session_lock(session, &s);
    if (rv != CKR_OK)
        return rv;
    m = mac_of(s, role);
    if (mechanism == NULL) {
        rv = cancel ? CKR_OK : CKR_ARGUMENTS_BAD;
        if (cancel)
            mac_end(m);
    } else if (m->key != NULL) {
        rv = CKR_OPERATION_ACTIVE;
    } else {
        rv = mac_key(atomic_load(&s->slot), mechanism, key, role, &m->prf, &m->key);
    }
    session_unlock(s);
    return rv;
}

/* The session, locked, with its active operation. */
static CK_RV mac_begin_call(CK_SESSION_HANDLE session, enum policy_role role, struct session **s,
                            struct mac **m)
{
    CK_RV rv = session_lock(session, s);

    if (rv != CKR_OK)
        return rv;
    *m = mac_of(*s, role);
    if ((*m)->key != NULL)
        return CKR_OK;
    session_unlock(*s);
    return CKR_OPERATION_NOT_INITIALIZED;
}

/* The MAC of data that is here in one piece. */
static CK_RV mac_once(struct session *s, struct mac *m, const CK_BYTE *data, CK_ULONG len, uint8_t *out)
{
    const struct secret *secret = policy_secret(m->key);
    const struct span part = {data, len};
    struct secret_view view = {0};
    bool good;

    if (data == NULL && len > 0)
        return CKR_ARGUMENTS_BAD;
    policy_input_add(&m->input, part);
    if (!policy_may_mac(atomic_load(&s->slot), m->key, m->prf, &m->input))
        return CKR_DATA_INVALID;
    policy_use(atomic_load(&s->slot), m->key);
    good = secret_open(secret, &view) &&
           prf_compute_for(policy_hot(m->key), m->prf, (struct span){view.data, view.len}, &part, 1, out);
    secret_close(&view);
    return good ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV state_begin(struct session *s, struct mac *m)
{
    struct secret_view view = {0};

    m->parts = true;
    if (m->state != NULL)
        return CKR_OK;
    policy_use(atomic_load(&s->slot), m->key);
    if (secret_open(policy_secret(m->key), &view))
        m->state = prf_begin(m->prf, (struct span){view.data, view.len});
    secret_close(&view);
    return m->state == NULL ? CKR_HOST_MEMORY : CKR_OK;
}

static CK_RV mac_update(CK_SESSION_HANDLE session, enum policy_role role, const CK_BYTE *part, CK_ULONG len)
{
    struct session *s;
    struct mac *m;
    CK_RV rv = mac_begin_call(session, role, &s, &m);

    if (rv != CKR_OK)
        return rv;
    if (part == NULL && len > 0)
        rv = CKR_ARGUMENTS_BAD;
    else
        rv = state_begin(s, m);
    if (rv == CKR_OK && !prf_update(m->state, (struct span){part, len}))
        rv = CKR_FUNCTION_FAILED;
    if (rv == CKR_OK)
        policy_input_add(&m->input, (struct span){part, len});
    if (rv != CKR_OK)
        mac_end(m);
    session_unlock(s);
    return rv;
}

/* The MAC of what came in parts; of nothing, if none came. CKR_DATA_LEN_RANGE is the only code for data that
 * C_SignFinal and C_VerifyFinal have. */
static CK_RV mac_finish(struct session *s, struct mac *m, uint8_t *out)
{
    CK_RV rv = policy_may_mac(atomic_load(&s->slot), m->key, m->prf, &m->input) ? state_begin(s, m)
                                                                                : CKR_DATA_LEN_RANGE;

    if (rv == CKR_OK && !prf_finish(m->state, out))
        rv = CKR_FUNCTION_FAILED;
    return rv;
}

CK_RV sign_init(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, bool cancel)
{
    return mac_init(session, mechanism, key, cancel, ROLE_SIGN);
}

CK_RV sign_update(CK_SESSION_HANDLE session, const CK_BYTE *part, CK_ULONG len)
{
    return mac_update(session, ROLE_SIGN, part, len);
}

/* C_Sign and C_SignFinal differ in where the data comes from. A question for the length, or a buffer too
 * small, leaves the operation as it is; all else ends it (PKCS#11 3.1, 5.2 and 5.13). */
static CK_RV sign_end(CK_SESSION_HANDLE session, bool once, const CK_BYTE *data, CK_ULONG len, CK_BYTE *out,
                      CK_ULONG *out_len)
{
    struct session *s;
    struct mac *m;
    uint8_t mac[PRF_MAX];
    size_t size;
    CK_RV rv = mac_begin_call(session, ROLE_SIGN, &s, &m);

    if (rv != CKR_OK)
        return rv;
    size = prf_size(m->prf);
    if (out_len == NULL || (out != NULL && data == NULL && len > 0)) {
        rv = CKR_ARGUMENTS_BAD;
    } else if (once && m->parts) {
        rv = CKR_OPERATION_NOT_INITIALIZED; /* what came in parts ends with C_SignFinal */
    } else if (out == NULL || *out_len < size) {
        rv = out == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
        *out_len = size;
        session_unlock(s);
        return rv;
    } else {
        rv = once ? mac_once(s, m, data, len, mac) : mac_finish(s, m, mac);
    }
    if (rv == CKR_OK) {
        memcpy(out, mac, size);
        *out_len = size;
        OPENSSL_cleanse(mac, sizeof mac);
    }
    mac_end(m);
    session_unlock(s);
    return rv;
}

CK_RV sign_once(CK_SESSION_HANDLE session, const CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    return sign_end(session, true, data, len, out, out_len);
}

CK_RV sign_final(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len)
{
    return sign_end(session, false, NULL, 0, out, out_len);
}

CK_RV verify_init(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, bool cancel)
{
    return mac_init(session, mechanism, key, cancel, ROLE_VERIFY);
}

CK_RV verify_update(CK_SESSION_HANDLE session, const CK_BYTE *part, CK_ULONG len)
{
    return mac_update(session, ROLE_VERIFY, part, len);
}

/* Ends the operation in every case. */
static CK_RV verify_end(CK_SESSION_HANDLE session, bool once, const CK_BYTE *data, CK_ULONG len,
                        const CK_BYTE *given, CK_ULONG given_len)
{
    struct session *s;
    struct mac *m;
    uint8_t mac[PRF_MAX];
    size_t size;
    CK_RV rv = mac_begin_call(session, ROLE_VERIFY, &s, &m);

    if (rv != CKR_OK)
        return rv;
    size = prf_size(m->prf);
    if (given == NULL)
        rv = CKR_ARGUMENTS_BAD;
    else if (once && m->parts)
        rv = CKR_OPERATION_NOT_INITIALIZED;
    else if (given_len != size)
        rv = CKR_SIGNATURE_LEN_RANGE;
    else
        rv = once ? mac_once(s, m, data, len, mac) : mac_finish(s, m, mac);
    if (rv == CKR_OK) {
        rv = CRYPTO_memcmp(mac, given, size) == 0 ? CKR_OK : CKR_SIGNATURE_INVALID;
        OPENSSL_cleanse(mac, sizeof mac);
    }
    mac_end(m);
    session_unlock(s);
    return rv;
}

CK_RV verify_once(CK_SESSION_HANDLE session, const CK_BYTE *data, CK_ULONG len, const CK_BYTE *mac,
                  CK_ULONG mac_len)
{
    return verify_end(session, true, data, len, mac, mac_len);
}

CK_RV verify_final(CK_SESSION_HANDLE session, const CK_BYTE *mac, CK_ULONG mac_len)
{
    return verify_end(session, false, NULL, 0, mac, mac_len);
}
