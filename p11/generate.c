/* SPDX-License-Identifier: BSD-2-Clause */
/* C_GenerateKey. With a peer in the template it is a new PPK from the peer's key source, by GET /key;
 * without, a session key that is made here. */
#include "p11/manage.h"

#include "base/log.h"
#include "p11/find.h"
#include "p11/policy.h"

#include <string.h>

#define PPK_MIN       32 /* bytes: a PPK has at least 256 bits of entropy, RFC 8784, 6 */
#define SYSTEM_ID_MAX 255

/* What kind of secret the template asks for, as far as it says. */
static CK_RV kind_check(const struct template *t)
{
    if ((template_has(t, FIELD_CLASS) && t->number[FIELD_CLASS] != CKO_SECRET_KEY) ||
        (template_has(t, FIELD_KEY_TYPE) && t->number[FIELD_KEY_TYPE] != CKK_GENERIC_SECRET))
        return CKR_TEMPLATE_INCONSISTENT;
    return CKR_OK;
}

static CK_RV ppk_refuse(const struct slot *s, const char *what)
{
    log_write(LOG_LEVEL_NOTICE, "C_GenerateKey: keyring %s: %s", s->name, what);
    return CKR_ATTRIBUTE_VALUE_INVALID;
}

/* The remote system ID of the template as a string; false: it cannot be one. */
static bool remote_read(const struct template *t, char out[static SYSTEM_ID_MAX + 1])
{
    const struct span remote = t->bytes[FIELD_REMOTE];

    if (remote.len > SYSTEM_ID_MAX || (remote.len > 0 && memchr(remote.data, '\0', remote.len) != NULL))
        return false;
    if (remote.len > 0)
        memcpy(out, remote.data, remote.len);
    out[remote.len] = '\0';
    return true;
}

static CK_RV ppk_generate(struct slot *s, bool rw, const struct template *t, const struct peer *p,
                          CK_OBJECT_HANDLE *handle)
{
    const CK_ULONG len = template_has(t, FIELD_VALUE_LEN) ? t->number[FIELD_VALUE_LEN] : 0;
    char remote[SYSTEM_ID_MAX + 1];
    struct fault fault = {0};
    struct ppk *ppk = NULL;
    enum ppk_result result;
    CK_RV rv;

    if (template_has(t, FIELD_ID))
        return CKR_ATTRIBUTE_READ_ONLY; /* the key source gives it */
    if (p->dynamic == NULL)
        return ppk_refuse(s, "the peer has no dynamic PPKs");
    if (template_has(t, FIELD_VALUE_LEN) && (len < PPK_MIN || len > SECRET_MAX))
        return ppk_refuse(s, "CKA_VALUE_LEN: a PPK has 32 to 4096 bytes");
    if (!remote_read(t, remote))
        return ppk_refuse(s, "CKA_PPK_REMOTE_SYSTEM_ID: not a system ID");
    if (!rw)
        return CKR_SESSION_READ_ONLY; /* a PPK is an object of the token */
    result = ppk_store_take(s->store, p, remote[0] == '\0' ? NULL : remote, (uint32_t)len * 8, &ppk, &fault);
    rv = fetch_rv(s, "C_GenerateKey", result, &fault);
    if (rv != CKR_OK)
        return rv;
    *handle = atomic_load(&ppk->handle);
    if (*handle == CK_INVALID_HANDLE) {
        ppk_store_destroy(s->store, ppk);
        rv = CKR_HOST_MEMORY;
    }
    ppk_release(ppk);
    return rv;
}

/* A random session key; `len` bytes. */
static CK_RV local_make(struct slot *s, CK_SESSION_HANDLE session, const struct template *t, size_t len,
                        CK_OBJECT_HANDLE *handle)
{
    uint32_t flags = policy_asked_flags(t, CKK_GENERIC_SECRET, false, true, false) | FLAG_LOCAL;
    uint8_t *bytes = secmem_alloc(len);
    struct secret *value = NULL;
    CK_RV rv = CKR_HOST_MEMORY;

    if ((flags & FLAG_SENSITIVE) != 0)
        flags |= FLAG_ALWAYS_SENSITIVE;
    if ((flags & FLAG_EXTRACTABLE) == 0)
        flags |= FLAG_NEVER_EXTRACTABLE;
    if (bytes == NULL)
        return rv;
    if (random_bytes(s, bytes, len))
        value = secret_new(bytes, len);
    secmem_free(bytes);
    if (value != NULL)
        rv = key_make(s, session, t, flags, CKK_GENERIC_SECRET, value, handle);
    if (rv != CKR_OK)
        secret_free(value);
    return rv;
}

static CK_RV local_generate(struct slot *s, CK_SESSION_HANDLE session, bool rw, const struct template *t,
                            CK_OBJECT_HANDLE *handle)
{
    CK_KEY_TYPE type;
    CK_RV rv = session_key_check(s, rw, t, CKK_GENERIC_SECRET, &type);

    if (rv != CKR_OK)
        return rv;
    if (!template_has(t, FIELD_VALUE_LEN))
        return CKR_TEMPLATE_INCOMPLETE;
    if (key_len_check(type, t->number[FIELD_VALUE_LEN]) != CKR_OK)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    return local_make(s, session, t, t->number[FIELD_VALUE_LEN], handle);
}

/* The peer that only a remote system ID names: the first of it with dynamic PPKs. */
static const struct peer *peer_of_remote(const struct slot *s, struct span remote)
{
    const struct keyring *k = slot_keyring(s);
    const struct peer *p;
    size_t cursor = 0;

    while ((p = keyring_peer_by_system_id(k, (const char *)remote.data, remote.len, &cursor)) != NULL)
        if (p->dynamic != NULL)
            break;
    return p;
}

CK_RV key_generate(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, const CK_ATTRIBUTE *attributes,
                   CK_ULONG n, CK_OBJECT_HANDLE *handle)
{
    struct slot *s;
    struct template t;
    const struct slot_peer *who;
    const struct peer *p;
    bool rw, unknown, by_attribute;
    CK_RV rv = session_peek(session, &s, &rw);

    if (rv != CKR_OK)
        return rv;
    if (mechanism == NULL || handle == NULL)
        return CKR_ARGUMENTS_BAD;
    if (mechanism->mechanism != CKM_GENERIC_SECRET_KEY_GEN)
        return CKR_MECHANISM_INVALID;
    if (mechanism->pParameter != NULL || mechanism->ulParameterLen != 0)
        return CKR_MECHANISM_PARAM_INVALID;
    rv = template_read(&t, USE_GENERATE, attributes, n);
    if (rv == CKR_OK)
        rv = kind_check(&t);
    if (rv != CKR_OK)
        return rv;
    who = peer_named(s, t.bytes[FIELD_LABEL], t.bytes[FIELD_PEER], t.bytes[FIELD_ADDRESS], &unknown);
    p = who == NULL ? NULL : who->peer;
    if (p == NULL && !unknown && t.bytes[FIELD_REMOTE].len > 0) {
        p = peer_of_remote(s, t.bytes[FIELD_REMOTE]);
        unknown = p == NULL;
    }
    if (p != NULL)
        return ppk_generate(s, rw, &t, p, handle);
    by_attribute =
        template_has(&t, FIELD_PEER) || template_has(&t, FIELD_ADDRESS) || template_has(&t, FIELD_REMOTE);
    /* A label that is no peer's names a session key if the caller says that he wants one; else it was meant
     * to be a peer. */
    if (unknown && (by_attribute || template_flag(&t, FLAG_TOKEN, true)))
        return ppk_refuse(s, "the template names a peer that the keyring does not have");
    return local_generate(s, session, rw, &t, handle);
}
