/* SPDX-License-Identifier: BSD-2-Clause */
/* C_WrapKey and C_UnwrapKey: AES key wrap with padding (KWP; RFC 5649, PKCS#11 3.1, 6.13.18). Session keys
 * leave under a key-encryption key, and key-encryption keys come in. */
#include "p11/wrap.h"

#include "base/crypto.h"
#include "p11/attribute.h"
#include "p11/manage.h"
#include "p11/mechanism.h"
#include "p11/policy.h"
#include "p11/selftest.h"
#include "p11/session.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

enum { BLOCK = 8, AES_KEY_MAX = 32 };

bool wrap_compute(struct span kek, bool wrap, struct span in, uint8_t *out, size_t *out_len)
{
    const char *name = kek.len == 16   ? "AES-128-WRAP-PAD"
                       : kek.len == 24 ? "AES-192-WRAP-PAD"
                                       : "AES-256-WRAP-PAD";
    OSSL_LIB_CTX *context = crypto_context();
    EVP_CIPHER *cipher = NULL;
    EVP_CIPHER_CTX *c = NULL;
    int n = 0;
    bool good;

    if (context == NULL)
        return false;
    ERR_set_mark(); /* the error queue is the host's */
    cipher = EVP_CIPHER_fetch(context, name, NULL);
    c = EVP_CIPHER_CTX_new();
    good = cipher != NULL && c != NULL;
    if (good) {
        EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
        good = EVP_CipherInit_ex2(c, cipher, kek.data, NULL, wrap ? 1 : 0, NULL) == 1 &&
               EVP_CipherUpdate(c, out, &n, in.data, (int)in.len) == 1 && n > 0;
    }
    EVP_CIPHER_CTX_free(c);
    EVP_CIPHER_free(cipher);
    ERR_pop_to_mark();
    *out_len = (size_t)n;
    return good;
}

static CK_RV mechanism_check(const CK_MECHANISM *mechanism)
{
    const struct mechanism *m = mechanism_find(mechanism->mechanism);

    if (m == NULL || m->kind != MECHANISM_WRAP)
        return CKR_MECHANISM_INVALID;
    if (mechanism->pParameter != NULL || mechanism->ulParameterLen != 0)
        return CKR_MECHANISM_PARAM_INVALID;
    return selftest_wrap() ? CKR_OK : CKR_FUNCTION_FAILED;
}

/* The key-encryption key of this handle, with a reference. */
static CK_RV kek_find(const struct slot *s, CK_OBJECT_HANDLE handle, CK_MECHANISM_TYPE mechanism,
                      enum policy_role role, struct object **out)
{
    const bool wrap = role == ROLE_WRAP;
    struct object *o = object_find(s, handle);
    CK_RV rv = CKR_OK;

    if (o == NULL || o->kind == OBJECT_PEER)
        rv = wrap ? CKR_WRAPPING_KEY_HANDLE_INVALID : CKR_UNWRAPPING_KEY_HANDLE_INVALID;
    else if (o->kind != OBJECT_KEK && (o->kind != OBJECT_KEY || ((const struct key *)o->of)->type != CKK_AES))
        rv = wrap ? CKR_WRAPPING_KEY_TYPE_INCONSISTENT : CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT;
    else
        rv = policy_check(s, o, mechanism, role);
    *out = o;
    return rv;
}

/* Wraps one key under the other, and gives the caller nothing but the result. */
static CK_RV wrap(const struct object *kek, const struct object *key, CK_BYTE *out, size_t size)
{
    struct secret_view kek_view = {0}, key_view = {0};
    uint8_t *work = secmem_alloc(WRAP_MAX);
    size_t n = 0;
    CK_RV rv = CKR_HOST_MEMORY;

    if (work == NULL || !secret_open(policy_secret(kek), &kek_view) ||
        !secret_open(policy_secret(key), &key_view))
        goto out;
    rv = wrap_compute((struct span){kek_view.data, kek_view.len}, true,
                      (struct span){key_view.data, key_view.len}, work, &n) &&
                 n == size
             ? CKR_OK
             : CKR_FUNCTION_FAILED;
    if (rv == CKR_OK)
        memcpy(out, work, size);
out:
    secret_close(&key_view);
    secret_close(&kek_view);
    secmem_free(work);
    return rv;
}

CK_RV key_wrap(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
               CK_OBJECT_HANDLE key, CK_BYTE *out, CK_ULONG *out_len)
{
    struct slot *s;
    struct object *kek = NULL, *o = NULL;
    size_t size;
    CK_RV rv = session_peek(session, &s, NULL);

    if (rv != CKR_OK)
        return rv;
    if (mechanism == NULL || out_len == NULL)
        return CKR_ARGUMENTS_BAD;
    rv = mechanism_check(mechanism);
    if (rv != CKR_OK)
        return rv;
    rv = kek_find(s, wrapping, mechanism->mechanism, ROLE_WRAP, &kek);
    if (rv != CKR_OK)
        goto out;
    o = object_find(s, key);
    rv = o == NULL || o->kind == OBJECT_PEER ? CKR_KEY_HANDLE_INVALID : policy_wrapped(s, kek, o);
    if (rv != CKR_OK)
        goto out;
    size = (secret_len(policy_secret(o)) + BLOCK - 1) / BLOCK * BLOCK + BLOCK;
    if (out != NULL)
        rv = *out_len < size ? CKR_BUFFER_TOO_SMALL : wrap(kek, o, out, size);
    if (rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL)
        *out_len = size;
out:
    object_put(s->library->objects, o);
    object_put(s->library->objects, kek);
    return rv;
}

/* What a template for an unwrapped key has to be. */
static CK_RV unwrap_template(const struct slot *s, bool rw, const struct template *t, uint32_t *flags)
{
    CK_KEY_TYPE type;
    CK_RV rv;

    if (!template_has(t, FIELD_CLASS) || !template_has(t, FIELD_KEY_TYPE))
        return CKR_TEMPLATE_INCOMPLETE;
    rv = session_key_check(s, rw, t, CKK_AES, &type);
    if (rv == CKR_OK && type != CKK_AES)
        rv = CKR_TEMPLATE_INCONSISTENT;
    return rv == CKR_OK ? policy_unwrapped_flags(t, flags) : rv;
}

/* *value is the key that was wrapped. */
static CK_RV unwrap(const struct object *kek, struct span wrapped, const struct template *t,
                    struct secret **value)
{
    struct secret_view view = {0};
    uint8_t *work = secmem_alloc(WRAP_MAX);
    size_t n = 0;
    CK_RV rv = CKR_HOST_MEMORY;

    if (work == NULL || !secret_open(policy_secret(kek), &view))
        goto out;
    if (!wrap_compute((struct span){view.data, view.len}, false, wrapped, work, &n) || n > AES_KEY_MAX ||
        key_len_check(CKK_AES, n) != CKR_OK)
        rv = CKR_WRAPPED_KEY_INVALID;
    else if (template_has(t, FIELD_VALUE_LEN) && t->number[FIELD_VALUE_LEN] != n)
        rv = CKR_TEMPLATE_INCONSISTENT;
    else if ((*value = secret_new(work, n)) != NULL)
        rv = CKR_OK;
out:
    secret_close(&view);
    secmem_free(work);
    return rv;
}

CK_RV key_unwrap(CK_SESSION_HANDLE session, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping,
                 const CK_BYTE *wrapped, CK_ULONG len, const CK_ATTRIBUTE *attributes, CK_ULONG n,
                 CK_OBJECT_HANDLE *handle)
{
    struct slot *s;
    struct template t;
    struct object *kek = NULL;
    struct secret *value = NULL;
    uint32_t flags = 0;
    bool rw;
    CK_RV rv = session_peek(session, &s, &rw);

    if (rv != CKR_OK)
        return rv;
    if (mechanism == NULL || wrapped == NULL || handle == NULL || (attributes == NULL && n > 0))
        return CKR_ARGUMENTS_BAD;
    rv = mechanism_check(mechanism);
    if (rv == CKR_OK)
        rv = kek_find(s, unwrapping, mechanism->mechanism, ROLE_UNWRAP, &kek);
    if (rv == CKR_OK)
        rv = template_read(&t, USE_DERIVE, attributes, n);
    if (rv == CKR_OK)
        rv = unwrap_template(s, rw, &t, &flags);
    /* An AES key of 16 bytes or more, whole blocks, and one of overhead */
    if (rv == CKR_OK && (len % BLOCK != 0 || len < 16 + BLOCK || len > WRAP_MAX))
        rv = CKR_WRAPPED_KEY_LEN_RANGE;
    if (rv == CKR_OK)
        rv = unwrap(kek, (struct span){wrapped, len}, &t, &value);
    if (rv == CKR_OK) {
        rv = key_make(s, session, &t, flags, CKK_AES, value, handle);
        if (rv != CKR_OK)
            secret_free(value);
    }
    object_put(s->library->objects, kek);
    return rv;
}
