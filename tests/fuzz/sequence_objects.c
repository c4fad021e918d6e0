/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects, keys from keys, and searches. */
#include "sequence.h"

#include <string.h>

void call_create(struct input *in)
{
    const struct model_session *s = session_pick(in);
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = input_byte(in) % 3 == 0 ? CKK_AES : CKK_GENERIC_SECRET;
    const uint8_t flags = input_byte(in);
    CK_BBOOL sensitive = flags & 1, extractable = flags >> 1 & 1, derive = flags >> 2 & 1,
             sign = flags >> 3 & 1;
    CK_BBOOL modifiable = flags >> 4 & 1, copyable = flags >> 5 & 1, destroyable = (flags & 0xc0) != 0;
    size_t len = 0;
    CK_BYTE *value = input_block(in, input_byte(in) % 65, &len);
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &class, sizeof class},
                        {CKA_KEY_TYPE, &type, sizeof type},
                        {CKA_VALUE, value, len},
                        {CKA_SENSITIVE, &sensitive, 1},
                        {CKA_EXTRACTABLE, &extractable, 1},
                        {CKA_DERIVE, &derive, 1},
                        {CKA_SIGN, &sign, 1},
                        {CKA_MODIFIABLE, &modifiable, 1},
                        {0x171, &copyable, 1},
                        {0x172, &destroyable, 1}};
    CK_OBJECT_HANDLE o = 0;
    CK_RV want = session_state(s);
    const bool fits = type == CKK_AES ? len == 16 || len == 24 || len == 32 : len > 0;

    if (want == CKR_OK && !fits)
        want = CKR_ATTRIBUTE_VALUE_INVALID;
    must(f->C_CreateObject(s->handle, t, sizeof t / sizeof *t, &o) == want);
    if (want != CKR_OK)
        return;
    object_new(s, o, s);
    const struct model_object *known = object_known(o);
    if (known == NULL)
        return;
    must(known->derive == derive && known->sign == sign && known->modifiable == modifiable);
    must(known->copyable == copyable && known->destroyable == destroyable);
    must(known->readable == (extractable && !sensitive));
}

void call_destroy(struct input *in)
{
    const struct model_session *s = session_pick(in);
    struct model_object *o = object_pick(in);
    CK_RV want = session_state(s);

    if (want == CKR_OK)
        want = !usable(s, o)      ? CKR_OBJECT_HANDLE_INVALID
               : !o->destroyable  ? CKR_ACTION_PROHIBITED
               : o->ppk && !s->rw ? CKR_SESSION_READ_ONLY
                                  : CKR_OK;
    must(f->C_DestroyObject(s->handle, o->handle) == want);
    if (want == CKR_OK)
        o->alive = false;
}

void call_copy(struct input *in)
{
    const struct model_session *s = session_pick(in);
    const struct model_object *o = object_pick(in);
    CK_BBOOL sensitive = input_byte(in) & 1;
    CK_ATTRIBUTE t = {CKA_SENSITIVE, &sensitive, 1};
    CK_OBJECT_HANDLE copy = 0;
    CK_RV want = session_state(s), rv;

    if (want == CKR_OK)
        want = !usable(s, o)             ? CKR_OBJECT_HANDLE_INVALID
               : !o->key || !o->copyable ? CKR_ACTION_PROHIBITED
                                         : CKR_OK;
    rv = f->C_CopyObject(s->handle, o->handle, &t, 1, &copy);
    if (want == CKR_OK && rv == CKR_ATTRIBUTE_READ_ONLY) {
        must(!sensitive && !o->readable); /* what is sensitive stays so */
        return;
    }
    must(rv == want);
    if (rv != CKR_OK)
        return;
    object_new(s, copy, s);
    if (object_known(copy) != NULL)
        must(o->readable || !object_known(copy)->readable);
}

void call_set(struct input *in)
{
    const struct model_session *s = session_pick(in);
    struct model_object *o = object_pick(in);
    static const CK_ATTRIBUTE_TYPE types[] = {CKA_SIGN,        CKA_DERIVE, CKA_SENSITIVE,
                                              CKA_EXTRACTABLE, CKA_VERIFY, 0x171};
    CK_BBOOL flag = input_byte(in) & 1;
    CK_ATTRIBUTE t = {types[input_below(in, sizeof types / sizeof *types)], &flag, 1};
    const bool was = usable(s, o) && o->readable;
    CK_RV want = session_state(s), rv;

    if (want == CKR_OK)
        want = !usable(s, o)               ? CKR_OBJECT_HANDLE_INVALID
               : !o->key || !o->modifiable ? CKR_ACTION_PROHIBITED
                                           : CKR_OK;
    rv = f->C_SetAttributeValue(s->handle, o->handle, &t, 1);
    if (want == CKR_OK && rv == CKR_ATTRIBUTE_READ_ONLY) {
        must(t.type == CKA_SENSITIVE ? !flag : flag);
        return;
    }
    must(rv == want);
    if (rv != CKR_OK)
        return;
    object_describe(s, o);
    must(was || !o->readable); /* nothing becomes readable that was not */
}

void call_get(struct input *in)
{
    const struct model_session *s = session_pick(in);
    const struct model_object *o = object_pick(in);
    CK_BYTE value[256];
    CK_ATTRIBUTE a = {CKA_VALUE, value, sizeof value};
    CK_RV want = session_state(s), rv;

    memset(value, 0, sizeof value);
    if (want == CKR_OK)
        want = !usable(s, o)            ? CKR_OBJECT_HANDLE_INVALID
               : o->data || o->readable ? CKR_OK
                                        : CKR_ATTRIBUTE_SENSITIVE;
    rv = f->C_GetAttributeValue(s->handle, o->handle, &a, 1);
    if (want == CKR_OK && rv == CKR_BUFFER_TOO_SMALL)
        return;
    must(rv == want);
    must(rv != CKR_ATTRIBUTE_SENSITIVE || a.ulValueLen == CK_UNAVAILABLE_INFORMATION);
    module_no_key(value, sizeof value);
}

/* ---- keys from keys ---- */

void call_derive(struct input *in)
{
    const struct model_session *s = session_pick(in);
    const struct model_object *base = object_pick(in);
    CK_OBJECT_HANDLE handles[OBJECTS], o = 0;
    CK_MECHANISM m;
    CK_ULONG len = input_byte(in);
    CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
    CK_ATTRIBUTE t[] = {
        {CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1}, {CKA_VALUE_LEN, &len, sizeof len}};
    const CK_RV want = session_state(s);
    CK_RV rv;

    for (size_t i = 0; i < n_objects; i++)
        handles[i] = objects[i].handle;
    m = input_mechanism(in, handles, n_objects);
    rv = f->C_DeriveKey(s->handle, &m, base->handle, t, len == 0 ? 2 : 3, &o);
    if (want != CKR_OK) {
        must(rv == want);
        return;
    }
    if (rv != CKR_OK)
        return;
    must(usable(s, base) && base->derive && !base->data);
    object_new(s, o, s);
    if (s->slot == 1 && !base->key && object_known(o) != NULL)
        must(!object_known(o)->readable); /* strict: derived-keys sensitive */
}

void call_generate(struct input *in)
{
    static const char *const labels[] = {"p1", "p2", "alpha", "nobody", "gamma"};
    const struct model_session *s = session_pick(in);
    CK_MECHANISM m = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    const size_t which = input_below(in, 6);
    CK_ULONG len = which == 5 ? input_byte(in) : 32;
    CK_ATTRIBUTE t = which == 5
                         ? (CK_ATTRIBUTE){CKA_VALUE_LEN, &len, sizeof len}
                         : (CK_ATTRIBUTE){CKA_LABEL, (void *)(uintptr_t)labels[which], strlen(labels[which])};
    const bool ppk = which < 2;
    CK_OBJECT_HANDLE o = 0;
    CK_RV want = session_state(s), rv;

    rv = f->C_GenerateKey(s->handle, &m, &t, 1, &o);
    if (want == CKR_OK && which == 5)
        want = len > 0 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
    else if (want == CKR_OK)
        want = s->slot != 2 || !ppk ? CKR_ATTRIBUTE_VALUE_INVALID : s->rw ? CKR_OK : CKR_SESSION_READ_ONLY;
    must(rv == want);
    if (rv == CKR_OK)
        object_new(s, o, ppk ? NULL : s);
}

/* ---- searches ---- */

void call_find_init(struct input *in)
{
    static const char *const labels[] = {"p1", "p2", "alpha", "gamma", "nobody"};
    struct model_session *s = session_pick(in);
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    const size_t what = input_below(in, 12);
    size_t len = 0;
    CK_BYTE *id = input_block(in, what >= 7 ? input_byte(in) % 20 : 0, &len);
    CK_ATTRIBUTE t[2] = {{CKA_CLASS, &class, sizeof class}};
    CK_RV want = session_state(s);

    if (what < 5)
        t[1] = (CK_ATTRIBUTE){CKA_LABEL, (void *)(uintptr_t)labels[what], strlen(labels[what])};
    else
        t[1] = (CK_ATTRIBUTE){CKA_ID, id, len};
    if (want == CKR_OK && s->searching)
        want = CKR_OPERATION_ACTIVE;
    must(f->C_FindObjectsInit(s->handle, t, what == 5 ? 0 : what == 6 ? 1 : 2) == want);
    if (want == CKR_OK)
        s->searching = true;
}

void call_find(struct input *in)
{
    struct model_session *s = session_pick(in);
    CK_OBJECT_HANDLE found[6] = {0};
    const CK_ULONG max = input_below(in, 6);
    CK_ULONG n = NONE;
    CK_RV want = session_state(s), rv;

    rv = f->C_FindObjects(s->handle, found, max, &n);
    if (want == CKR_OK && !s->searching)
        want = CKR_OPERATION_NOT_INITIALIZED;
    if (want == CKR_OK && rv == CKR_DEVICE_ERROR) /* no key source has it for us */
        return;
    must(rv == want);
    if (rv != CKR_OK)
        return;
    must(n <= max);
    for (CK_ULONG i = 0; i < n; i++) {
        const struct model_object *o = object_known(found[i]);
        if (o == NULL)
            object_new(s, found[i], NULL);
        else /* it may have gone since the search ran; then it is not used, but may be told */
            must(o->slot == s->slot);
    }
}

void call_find_final(struct input *in)
{
    struct model_session *s = session_pick(in);
    CK_RV want = session_state(s);

    if (want == CKR_OK && !s->searching)
        want = CKR_OPERATION_NOT_INITIALIZED;
    must(f->C_FindObjectsFinal(s->handle) == want);
    if (want == CKR_OK)
        s->searching = false;
}
