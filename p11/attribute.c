/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/attribute.h"

#include "base/clock.h"
#include "p11/policy.h"

#include <stdio.h>
#include <string.h>

/* A PPK and a PSK cannot be read, changed or copied, and do nothing but derive and sign. */
#define FLAGS_CONFIGURED                                                                                     \
    (FLAG_TOKEN | FLAG_SENSITIVE | FLAG_ALWAYS_SENSITIVE | FLAG_SIGN | FLAG_VERIFY | FLAG_DERIVE |           \
     FLAG_FROM_CONFIGURED)

/* A key-encryption key wraps. */
#define FLAGS_KEK (FLAG_TOKEN | FLAG_SENSITIVE | FLAG_ALWAYS_SENSITIVE | FLAG_WRAP | FLAG_TRUSTED)

uint32_t object_flags(const struct slot *s, const struct object *o)
{
    const uint32_t private = slot_object_private(s, o) ? FLAG_PRIVATE : 0;

    switch ((enum object_kind)o->kind) {
    case OBJECT_PEER:
        return FLAG_TOKEN;
    case OBJECT_PSK:
    case OBJECT_MANUAL: /* it came from a file, where it can be read: not NEVER_EXTRACTABLE */
        return FLAGS_CONFIGURED | private;
    case OBJECT_PPK:
        return FLAGS_CONFIGURED | FLAG_NEVER_EXTRACTABLE | FLAG_DESTROYABLE;
    case OBJECT_KEK:
        return FLAGS_KEK | private;
    case OBJECT_KEY:
        break;
    }
    return atomic_load_explicit(&((const struct key *)o->of)->flags, memory_order_relaxed);
}

const struct slot_peer *object_peer(const struct object *o)
{
    switch ((enum object_kind)o->kind) {
    case OBJECT_PEER:
        return o->of;
    case OBJECT_PSK:
    case OBJECT_MANUAL:
        return ((const struct slot_key *)o->of)->peer;
    case OBJECT_PPK:
        return o->of == NULL ? ((const struct object_future *)(const void *)o)->who : ppk_tag(o->of);
    case OBJECT_KEY:
    case OBJECT_KEK:
        break;
    }
    return NULL;
}

void attribute_lock(const struct object *o)
{
    if (o->kind == OBJECT_KEY)
        key_lock(o->of);
}

void attribute_unlock(const struct object *o)
{
    if (o->kind == OBJECT_KEY)
        key_unlock(o->of);
}

static CK_RV give(struct attribute_value *v, const void *data, size_t len)
{
    v->data = data;
    v->len = len;
    return CKR_OK;
}

static CK_RV give_text(struct attribute_value *v, const char *text)
{
    return give(v, text, text == NULL ? 0 : strlen(text));
}

static CK_RV give_number(struct attribute_value *v, CK_ULONG number)
{
    v->number = number;
    return give(v, &v->number, sizeof v->number);
}

static CK_RV give_flag(struct attribute_value *v, bool flag)
{
    v->flag = flag ? CK_TRUE : CK_FALSE;
    return give(v, &v->flag, sizeof v->flag);
}

static CK_RV give_unique(struct attribute_value *v, const struct slot *s, const struct object *o)
{
    const int n = snprintf(v->small, sizeof v->small, "%016lx-%lx", s->library->serial, object_handle(o));

    return give(v, v->small, (size_t)n);
}

void attribute_clear(struct attribute_value *v)
{
    secret_close(&v->view);
    text_free(&v->text);
}

static const char *kind_name(CK_ULONG kind)
{
    return kind == PPK_KIND_DYNAMIC ? "dynamic" : kind == PPK_KIND_MANUAL ? "manual" : "none";
}

static CK_ULONG peer_kind(const struct peer *p)
{
    return p->dynamic != NULL ? PPK_KIND_DYNAMIC : p->n_manual > 0 ? PPK_KIND_MANUAL : PPK_KIND_NONE;
}

static void json_member(struct text *t, const char *name, const char *value)
{
    if (value == NULL)
        return;
    text_printf(t, ",\"%s\":", name);
    text_append_json(t, value, strlen(value));
}

static void json_addresses(struct text *t, const struct peer *p)
{
    text_printf(t, ",\"addresses\":[");
    for (size_t i = 0; i < p->n_groups; i++) {
        struct text group = {0};
        address_group_print(&p->groups[i], &group);
        if (i > 0)
            text_printf(t, ",");
        text_append_json(t, group.s == NULL ? "" : group.s, group.len);
        t->failed |= group.failed;
        text_free(&group);
    }
    text_printf(t, "]");
}

/* What an IKE stack has to know of a peer before there is a key, as JSON. */
static CK_RV give_json(struct attribute_value *v, const struct peer *p)
{
    struct text *t = &v->text;

    text_printf(t, "{\"peer\":");
    text_append_json(t, p->name, strlen(p->name));
    text_printf(t, ",\"ppk\":\"%s\",\"required\":%s,\"pre-shared-key\":%s", kind_name(peer_kind(p)),
                peer_ppk_required(p) ? "true" : "false",
                atomic_load(&p->psk.value) != NULL || p->psk.sealed != NULL ? "true" : "false");
    if (p->dynamic != NULL) {
        json_member(t, "sks-profile", p->dynamic->name);
        json_member(t, "local-system-id", p->dynamic->local_system_id);
    }
    json_member(t, "remote-system-id", p->remote_system_id);
    json_addresses(t, p);
    text_printf(t, ",\"manual-ppk-ids\":[");
    for (size_t i = 0; i < p->n_manual; i++) {
        if (i > 0)
            text_printf(t, ",");
        text_append_json(t, (const char *)p->manual[i].id.data, p->manual[i].id.len);
    }
    text_printf(t, "]}");
    return t->failed ? CKR_HOST_MEMORY : give(v, t->s, t->len);
}

/* What a peer's data object and its keys have in common. `dynamic`: the object is one of a dynamic PPK's, or
 * the peer's own. */
static CK_RV peer_value(const struct peer *p, const struct attribute_row *row, bool dynamic,
                        struct attribute_value *v)
{
    const struct sks_profile *profile = dynamic ? p->dynamic : NULL;

    switch (row->type) {
    case CKA_PPK_PEER:
        return give_text(v, p->name);
    case CKA_PPK_PEER_ADDRESS:
        return p->n_groups == 0 ? give(v, NULL, 0) : give(v, p->groups[0].bytes, p->groups[0].len);
    case CKA_PPK_REMOTE_SYSTEM_ID:
        return give_text(v, p->remote_system_id);
    case CKA_PPK_SKS_PROFILE:
        return profile == NULL ? CKR_ATTRIBUTE_TYPE_INVALID : give_text(v, profile->name);
    case CKA_PPK_LOCAL_SYSTEM_ID:
        return profile == NULL ? CKR_ATTRIBUTE_TYPE_INVALID : give_text(v, profile->local_system_id);
    case CKA_PPK_REQUIRED:
        return give_flag(v, peer_ppk_required(p));
    default:
        return CKR_ATTRIBUTE_TYPE_INVALID;
    }
}

static CK_RV data_value(const struct slot *s, const struct object *o, const struct attribute_row *row,
                        struct attribute_value *v)
{
    const struct peer *p = ((const struct slot_peer *)o->of)->peer;

    switch (row->type) {
    case CKA_CLASS:
        return give_number(v, CKO_DATA);
    case CKA_LABEL:
        return give_text(v, p->name);
    case CKA_APPLICATION:
        return give_text(v, PPK_PEER_APPLICATION);
    case CKA_OBJECT_ID:
        return give(v, NULL, 0);
    case CKA_VALUE:
        return give_json(v, p);
    case CKA_UNIQUE_ID:
        return give_unique(v, s, o);
    case CKA_PPK_KIND:
        return give_number(v, peer_kind(p));
    default:
        return peer_value(p, row, true, v);
    }
}

/* What all secret keys answer in the same way; CKR_FUNCTION_FAILED: this is not of those. */
static CK_RV secret_value(const struct slot *s, const struct object *o, CK_ATTRIBUTE_TYPE type,
                          struct attribute_value *v)
{
    switch (type) {
    case CKA_CLASS:
        return give_number(v, CKO_SECRET_KEY);
    case CKA_UNIQUE_ID:
        return give_unique(v, s, o);
    default:
        return CKR_FUNCTION_FAILED;
    }
}

static CK_ULONG seconds_left(const struct ppk *ppk)
{
    if (ppk == NULL || ppk->expires_ms == UINT64_MAX)
        return CK_UNAVAILABLE_INFORMATION;
    return clock_left_ms(ppk->expires_ms) / 1000;
}

static CK_RV configured_label(const struct object *o, struct attribute_value *v)
{
    const struct slot_peer *peer = object_peer(o);

    if (o->kind == OBJECT_KEK)
        return give_text(v, ((const struct kek *)atomic_load(&((const struct slot_key *)o->of)->of))->name);
    return give_text(v, o->kind == OBJECT_PSK ? peer->psk_label : peer->peer->name);
}

static CK_RV configured_value(const struct slot *s, const struct object *o, const struct attribute_row *row,
                              struct attribute_value *v)
{
    const struct ppk *ppk = o->kind == OBJECT_PPK ? o->of : NULL;
    const struct manual_ppk *manual =
        o->kind == OBJECT_MANUAL ? atomic_load(&((const struct slot_key *)o->of)->of) : NULL;
    const struct policy_mechanisms *allowed;
    CK_RV rv = secret_value(s, o, row->type, v);

    if (rv != CKR_FUNCTION_FAILED)
        return rv;
    switch (row->type) {
    case CKA_KEY_TYPE:
        return give_number(v, policy_key_type(o));
    case CKA_LABEL:
        return configured_label(o, v);
    case CKA_ID:
        return ppk != NULL      ? give(v, ppk->id, ppk->id_len)
               : manual != NULL ? give(v, manual->id.data, manual->id.len)
                                : give(v, NULL, 0);
    case CKA_VALUE:
        return CKR_ATTRIBUTE_SENSITIVE;
    case CKA_VALUE_LEN:
        return give_number(v, secret_len(policy_secret(o)));
    case CKA_START_DATE:
    case CKA_END_DATE:
        return give(v, NULL, 0);
    case CKA_KEY_GEN_MECHANISM:
        return give_number(v, CK_UNAVAILABLE_INFORMATION);
    case CKA_ALLOWED_MECHANISMS:
        allowed = policy_allowed(o);
        return give(v, allowed->types, allowed->n * sizeof allowed->types[0]);
    default:
        break;
    }
    if (o->kind == OBJECT_KEK) /* of no peer */
        return CKR_ATTRIBUTE_TYPE_INVALID;
    switch (row->type) {
    case CKA_PPK_KIND:
        return give_number(v, o->kind == OBJECT_PPK      ? PPK_KIND_DYNAMIC
                              : o->kind == OBJECT_MANUAL ? PPK_KIND_MANUAL
                                                         : PPK_KIND_PSK);
    case CKA_PPK_SECONDS_LEFT:
        return give_number(v, seconds_left(ppk));
    case CKA_PPK_USED:
        return o->kind == OBJECT_PPK ? give_flag(v, ppk != NULL && atomic_load(&ppk->used))
                                     : CKR_ATTRIBUTE_TYPE_INVALID;
    case CKA_PPK_OUTCOME: /* is told, and not kept */
        return CKR_ATTRIBUTE_TYPE_INVALID;
    default:
        return peer_value(object_peer(o)->peer, row, o->kind == OBJECT_PPK, v);
    }
}

static CK_RV key_text(const struct key *k, enum key_index which, struct attribute_value *v)
{
    return give(v, k->text[which], k->text_len[which]);
}

static CK_RV key_value(const struct slot *s, const struct object *o, const struct attribute_row *row,
                       struct attribute_value *v)
{
    const struct key *k = o->of;
    const struct key_extra *extra = atomic_load_explicit(&k->extra, memory_order_acquire);
    CK_RV rv = secret_value(s, o, row->type, v);

    if (rv != CKR_FUNCTION_FAILED)
        return rv;
    switch (row->type) {
    case CKA_KEY_TYPE:
        return give_number(v, k->type);
    case CKA_LABEL:
        return key_text(k, KEY_BY_LABEL, v);
    case CKA_ID:
        return key_text(k, KEY_BY_ID, v);
    case CKA_VALUE:
        if (!flags_readable(object_flags(s, o)))
            return CKR_ATTRIBUTE_SENSITIVE;
        if (!secret_open(k->value, &v->view))
            return CKR_HOST_MEMORY;
        return give(v, v->view.data, v->view.len);
    case CKA_VALUE_LEN:
        return give_number(v, secret_len(k->value));
    case CKA_START_DATE:
        return extra != NULL && extra->has_start ? give(v, &extra->start, sizeof extra->start)
                                                 : give(v, NULL, 0);
    case CKA_END_DATE:
        return extra != NULL && extra->has_end ? give(v, &extra->end, sizeof extra->end) : give(v, NULL, 0);
    case CKA_KEY_GEN_MECHANISM:
        return give_number(v, (object_flags(s, o) & FLAG_LOCAL) != 0 ? CKM_GENERIC_SECRET_KEY_GEN
                                                                     : CK_UNAVAILABLE_INFORMATION);
    case CKA_ALLOWED_MECHANISMS:
        return extra != NULL ? give(v, extra->allowed, extra->n_allowed * sizeof extra->allowed[0])
                             : give(v, NULL, 0);
    default:
        return CKR_ATTRIBUTE_TYPE_INVALID;
    }
}

CK_RV attribute_value(const struct slot *s, const struct object *o, const struct attribute_row *row,
                      struct attribute_value *v)
{
    v->data = NULL;
    v->len = 0;
    v->view = (struct secret_view){0};
    v->text = (struct text){0};
    if ((row->uses & (o->kind == OBJECT_PEER ? USE_READ_DATA : USE_READ_SECRET)) == 0)
        return CKR_ATTRIBUTE_TYPE_INVALID;
    if (row->flag != 0)
        return give_flag(v, (object_flags(s, o) & row->flag) != 0);
    switch ((enum object_kind)o->kind) {
    case OBJECT_PEER:
        return data_value(s, o, row, v);
    case OBJECT_KEY:
        return key_value(s, o, row, v);
    case OBJECT_PSK:
    case OBJECT_MANUAL:
    case OBJECT_PPK:
    case OBJECT_KEK:
        break;
    }
    return configured_value(s, o, row, v);
}
