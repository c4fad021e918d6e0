/* SPDX-License-Identifier: BSD-2-Clause */
/* Object management functions: what a caller may do with objects besides using and finding them. */
#include "p11/manage.h"

#include "base/clock.h"
#include "base/log.h"
#include "p11/attribute.h"
#include "p11/policy.h"
#include "p11/session.h"
#include "status/publisher.h"

#include <stdlib.h>
#include <string.h>

/* The flags that C_SetAttributeValue and C_CopyObject change one way only. */
#define ONLY_UP   (FLAG_SENSITIVE | FLAG_WRAP_WITH_TRUSTED)
#define ONLY_DOWN (FLAG_EXTRACTABLE | FLAG_COPYABLE)

/* Has the life of a PPK ended, though nobody took it out yet? */
static bool object_expired(const struct object *o)
{
    uint64_t expires =
        o->kind == OBJECT_PPK ? atomic_load(&((const struct ppk *)o->of)->expires_ms) : UINT64_MAX;

    return expires != UINT64_MAX && clock_left_ms(expires) == 0;
}

struct object *object_find(const struct slot *s, CK_OBJECT_HANDLE handle)
{
    struct objects *objects = s->library->objects;
    struct object *o = object_get(objects, handle);

    if (o == NULL || (o->slot == s->id && slot_shows(s, o) && !object_expired(o)))
        return o;
    if (o->slot == s->id && o->kind == OBJECT_PPK)
        ppk_store_expire(s->store);
    object_put(objects, o);
    return NULL;
}

CK_RV key_len_check(CK_KEY_TYPE type, size_t len)
{
    if (len == 0 || len > SECRET_MAX)
        return CKR_KEY_SIZE_RANGE;
    if (type == CKK_AES && len != 16 && len != 24 && len != 32)
        return CKR_KEY_SIZE_RANGE;
    return CKR_OK;
}

CK_RV session_key_check(const struct slot *s, bool rw, const struct template *t, CK_KEY_TYPE otherwise,
                        CK_KEY_TYPE *type)
{
    *type = template_has(t, FIELD_KEY_TYPE) ? t->number[FIELD_KEY_TYPE] : otherwise;
    if (template_has(t, FIELD_CLASS) && t->number[FIELD_CLASS] != CKO_SECRET_KEY)
        return CKR_TEMPLATE_INCONSISTENT;
    switch (*type) {
    case CKK_GENERIC_SECRET:
    case CKK_AES:
    case CKK_HKDF:
    case CKK_SHA_1_HMAC:
    case CKK_SHA256_HMAC:
    case CKK_SHA384_HMAC:
    case CKK_SHA512_HMAC:
        break;
    default:
        return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    if (template_flag(t, FLAG_TOKEN, false)) {
        log_write(LOG_LEVEL_INFO,
                  "template: CKA_TOKEN: the token keeps no keys but those of its configuration and PPKs");
        return rw ? CKR_ATTRIBUTE_VALUE_INVALID : CKR_SESSION_READ_ONLY;
    }
    if (template_flag(t, FLAG_PRIVATE, false) && slot_view(s)->login_required && !atomic_load(&s->logged_in))
        return CKR_USER_NOT_LOGGED_IN;
    return CKR_OK;
}

CK_RV object_create(CK_SESSION_HANDLE session, const CK_ATTRIBUTE *attributes, CK_ULONG n,
                    CK_OBJECT_HANDLE *handle)
{
    struct slot *s;
    struct template t;
    struct secret *value;
    CK_KEY_TYPE type;
    bool rw;
    CK_RV rv = session_peek(session, &s, &rw);

    if (rv != CKR_OK)
        return rv;
    if (handle == NULL || (attributes == NULL && n == 0))
        return CKR_ARGUMENTS_BAD;
    rv = template_read(&t, USE_CREATE, attributes, n);
    if (rv != CKR_OK)
        return rv;
    if (!template_has(&t, FIELD_CLASS))
        return CKR_TEMPLATE_INCOMPLETE;
    if (t.number[FIELD_CLASS] != CKO_SECRET_KEY)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (!template_has(&t, FIELD_KEY_TYPE) || !template_has(&t, FIELD_VALUE))
        return CKR_TEMPLATE_INCOMPLETE;
    rv = session_key_check(s, rw, &t, CKK_GENERIC_SECRET, &type);
    if (rv != CKR_OK)
        return rv;
    if (key_len_check(type, t.bytes[FIELD_VALUE].len) != CKR_OK)
        return CKR_ATTRIBUTE_VALUE_INVALID;
    value = secret_new(t.bytes[FIELD_VALUE].data, t.bytes[FIELD_VALUE].len);
    if (value == NULL)
        return CKR_HOST_MEMORY;
    rv = key_make(s, session, &t, policy_asked_flags(&t, type, false, true, false), type, value, handle);
    if (rv != CKR_OK)
        secret_free(value);
    return rv;
}

/* The flags after a change, or CKR_ATTRIBUTE_READ_ONLY if it is one that cannot be undone. */
static CK_RV flags_change(uint32_t old, const struct template *t, uint32_t *out)
{
    const uint32_t raised = t->flags_given & t->flags & ~old, lowered = t->flags_given & ~t->flags & old;

    if ((lowered & ONLY_UP) != 0 || (raised & ONLY_DOWN) != 0)
        return CKR_ATTRIBUTE_READ_ONLY;
    *out = (old & ~t->flags_given) | t->flags;
    return CKR_OK;
}

/* Completes `t` with what the copy has from the original; the texts are copied to the result, which the
 * caller frees. NULL: no memory. */
static uint8_t *copy_inherit(const struct key *k, struct template *t)
{
    static const enum attribute_field fields[KEY_INDEXES] = {FIELD_ID, FIELD_LABEL};
    const struct key_extra *e;
    uint8_t *buffer, *to;

    key_lock(k);
    e = atomic_load(&k->extra);
    buffer = to = malloc((size_t)k->text_len[0] + k->text_len[1] + 2 * sizeof(CK_DATE) + 1);
    for (int i = 0; buffer != NULL && i < KEY_INDEXES; i++) {
        if (!template_has(t, fields[i])) {
            memcpy(to, k->text[i], k->text_len[i]);
            t->bytes[fields[i]] = (struct span){to, k->text_len[i]};
        }
        to += k->text_len[i];
    }
    if (buffer != NULL && e != NULL) {
        if (!template_has(t, FIELD_START) && e->has_start) {
            memcpy(to, &e->start, sizeof e->start);
            t->bytes[FIELD_START] = (struct span){to, sizeof e->start};
            t->given |= 1U << FIELD_START;
        }
        to += sizeof e->start;
        if (!template_has(t, FIELD_END) && e->has_end) {
            memcpy(to, &e->end, sizeof e->end);
            t->bytes[FIELD_END] = (struct span){to, sizeof e->end};
            t->given |= 1U << FIELD_END;
        }
        if (e->has_allowed) { /* constant for the life of the key, to which the caller has a reference */
            t->bytes[FIELD_ALLOWED] =
                (struct span){(const uint8_t *)e->allowed, e->n_allowed * sizeof e->allowed[0]};
            t->given |= 1U << FIELD_ALLOWED;
        }
    }
    key_unlock(k);
    return buffer;
}

static struct secret *secret_copy(const struct secret *from)
{
    struct secret_view view;
    struct secret *to = NULL;

    if (!secret_open(from, &view))
        return NULL;
    to = secret_new(view.data, view.len);
    secret_close(&view);
    return to;
}

static CK_RV key_copy(struct slot *s, CK_SESSION_HANDLE session, bool rw, const struct object *o,
                      struct template *t, CK_OBJECT_HANDLE *handle)
{
    const struct key *k = o->of;
    struct secret *value = NULL;
    uint8_t *texts = NULL;
    uint32_t flags;
    CK_KEY_TYPE type;
    CK_RV rv = session_key_check(s, rw, t, k->type, &type);

    if (rv == CKR_OK)
        rv = flags_change(object_flags(s, o), t, &flags);
    if (rv != CKR_OK)
        return rv;
    texts = copy_inherit(k, t);
    value = secret_copy(k->value);
    rv = texts == NULL || value == NULL ? CKR_HOST_MEMORY
                                        : key_make(s, session, t, flags, type, value, handle);
    if (rv != CKR_OK)
        secret_free(value);
    free(texts);
    return rv;
}

CK_RV object_copy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, const CK_ATTRIBUTE *attributes,
                  CK_ULONG n, CK_OBJECT_HANDLE *handle)
{
    struct slot *s;
    struct template t;
    struct object *o;
    bool rw;
    CK_RV rv = session_peek(session, &s, &rw);

    if (rv != CKR_OK)
        return rv;
    if (handle == NULL)
        return CKR_ARGUMENTS_BAD;
    o = object_find(s, object);
    if (o == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    if (o->kind != OBJECT_KEY || (object_flags(s, o) & FLAG_COPYABLE) == 0)
        rv = CKR_ACTION_PROHIBITED;
    else
        rv = template_read(&t, USE_COPY, attributes, n);
    if (rv == CKR_OK)
        rv = key_copy(s, session, rw, o, &t, handle);
    object_put(s->library->objects, o);
    return rv;
}

CK_RV object_destroy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    struct slot *s;
    struct object *o;
    bool rw;
    CK_RV rv = session_peek(session, &s, &rw);

    if (rv != CKR_OK)
        return rv;
    o = object_find(s, object);
    if (o == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    if ((object_flags(s, o) & FLAG_DESTROYABLE) == 0)
        rv = CKR_ACTION_PROHIBITED;
    else if (o->kind == OBJECT_PPK && !rw)
        rv = CKR_SESSION_READ_ONLY;
    else if (o->kind == OBJECT_PPK)
        ppk_store_destroy(s->store, o->of); /* it tells us to remove the object */
    else if (!key_destroy(o))
        rv = CKR_OBJECT_HANDLE_INVALID;
    object_put(s->library->objects, o);
    return rv;
}

CK_RV object_size(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG *size)
{
    struct slot *s;
    struct object *o;
    CK_RV rv = session_peek(session, &s, NULL);

    if (rv != CKR_OK)
        return rv;
    if (size == NULL)
        return CKR_ARGUMENTS_BAD;
    o = object_find(s, object);
    if (o == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    *size = sizeof *o;
    if (o->kind == OBJECT_KEY) {
        const struct key *k = o->of;
        attribute_lock(o);
        *size += sizeof *k + k->text_len[KEY_BY_ID] + k->text_len[KEY_BY_LABEL];
        attribute_unlock(o);
    } else if (o->kind == OBJECT_PPK) {
        *size += sizeof(struct ppk) + ((const struct ppk *)o->of)->id_len;
    }
    if (policy_secret(o) != NULL)
        *size += secret_len(policy_secret(o));
    object_put(s->library->objects, o);
    return rv;
}

/* One attribute of C_GetAttributeValue; its length says what became of it. */
static CK_RV attribute_get(const struct slot *s, const struct object *o, CK_ATTRIBUTE *a)
{
    const struct attribute_row *row = attribute_row(a->type);
    struct attribute_value v;
    CK_RV rv = row == NULL ? CKR_ATTRIBUTE_TYPE_INVALID : attribute_value(s, o, row, &v);

    if (rv != CKR_OK) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return rv;
    }
    if (a->pValue == NULL) {
        a->ulValueLen = v.len;
    } else if (a->ulValueLen < v.len) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        rv = CKR_BUFFER_TOO_SMALL;
    } else {
        if (v.len > 0)
            memcpy(a->pValue, v.data, v.len);
        a->ulValueLen = v.len;
    }
    attribute_clear(&v);
    return rv;
}

/* The object whose attributes are asked for or set, with a reference. */
static CK_RV object_peek(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, const CK_ATTRIBUTE *attributes,
                         CK_ULONG n, struct slot **s, struct object **o)
{
    CK_RV rv = session_peek(session, s, NULL);

    if (rv != CKR_OK)
        return rv;
    if (attributes == NULL || n == 0)
        return CKR_ARGUMENTS_BAD;
    *o = object_find(*s, object);
    return *o == NULL ? CKR_OBJECT_HANDLE_INVALID : CKR_OK;
}

CK_RV object_attributes_get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes,
                            CK_ULONG n)
{
    struct slot *s;
    struct object *o;
    CK_RV rv = object_peek(session, object, attributes, n, &s, &o);

    if (rv != CKR_OK)
        return rv;
    attribute_lock(o);
    /* All are processed; the first thing that went wrong is the answer (PKCS#11 3.1, 5.7.5: which one, is
     * left open). */
    for (CK_ULONG i = 0; i < n; i++) {
        CK_RV one = attribute_get(s, o, &attributes[i]);
        rv = rv == CKR_OK ? one : rv;
    }
    attribute_unlock(o);
    object_put(s->library->objects, o);
    return rv;
}

static CK_RV key_change(const struct object *o, const struct template *t)
{
    struct key *k = o->of;
    uint32_t old = atomic_load(&k->flags), flags;
    CK_RV rv;

    do {
        rv = flags_change(old, t, &flags);
        if (rv != CKR_OK)
            return rv;
    } while (!atomic_compare_exchange_weak(&k->flags, &old, flags));
    if (template_has(t, FIELD_ID) && !key_set_text(k, KEY_BY_ID, t->bytes[FIELD_ID]))
        return CKR_HOST_MEMORY;
    if (template_has(t, FIELD_LABEL) && !key_set_text(k, KEY_BY_LABEL, t->bytes[FIELD_LABEL]))
        return CKR_HOST_MEMORY;
    if ((template_has(t, FIELD_START) || template_has(t, FIELD_END)) && !key_set_dates(k, t))
        return CKR_HOST_MEMORY;
    return CKR_OK;
}

/* What became of an IKE SA with this PPK, as the IKE stack says it. */
static CK_RV outcome_count(struct slot *s, const struct object *o, const CK_ATTRIBUTE *a)
{
    const struct peer *peer = object_peer(o)->peer;
    const CK_BBOOL *good = a->pValue;

    if (good == NULL || a->ulValueLen != sizeof *good || (*good != CK_TRUE && *good != CK_FALSE))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (*good == CK_TRUE) {
        atomic_fetch_add(o->kind == OBJECT_PPK ? &s->sas_dynamic : &s->sas_manual, 1);
    } else {
        atomic_fetch_add(&s->auth_failures, 1);
        if (peer_ppk_required(peer))
            atomic_fetch_add(&s->auth_failures_required, 1);
        log_write(LOG_LEVEL_NOTICE, "peer %s: authentication with a %s PPK failed", peer->name,
                  o->kind == OBJECT_PPK ? "dynamic" : "manual");
    }
    status_publisher_nudge(s->library->publisher);
    return CKR_OK;
}

static bool is_outcome(const struct object *o, const CK_ATTRIBUTE *attributes, CK_ULONG n)
{
    return (o->kind == OBJECT_PPK || o->kind == OBJECT_MANUAL) && n == 1 &&
           attributes[0].type == CKA_PPK_OUTCOME;
}

CK_RV object_attributes_set(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                            const CK_ATTRIBUTE *attributes, CK_ULONG n)
{
    struct slot *s;
    struct template t;
    struct object *o;
    CK_RV rv = object_peek(session, object, attributes, n, &s, &o);

    if (rv != CKR_OK)
        return rv;
    if (is_outcome(o, attributes, n)) {
        rv = outcome_count(s, o, &attributes[0]);
        goto out;
    }
    if (o->kind != OBJECT_KEY || (object_flags(s, o) & FLAG_MODIFIABLE) == 0)
        rv = CKR_ACTION_PROHIBITED;
    else
        rv = template_read(&t, USE_SET, attributes, n);
    if (rv == CKR_OK)
        rv = key_change(o, &t);
out:
    object_put(s->library->objects, o);
    return rv;
}
