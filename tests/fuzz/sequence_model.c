/* SPDX-License-Identifier: BSD-2-Clause */
#include "sequence.h"

struct model_session sessions[SESSIONS];
struct model_object objects[OBJECTS];
size_t n_objects;
bool initialized = true, finalized;

struct model_session *session_pick(struct input *in)
{
    return &sessions[input_below(in, SESSIONS)];
}

struct model_object *object_pick(struct input *in)
{
    static struct model_object none;

    none = (struct model_object){.handle = 0, .slot = NONE};
    return n_objects > 0 ? &objects[input_below(in, n_objects)] : &none;
}

CK_RV session_state(const struct model_session *s)
{
    if (!initialized)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    return s->open ? CKR_OK : CKR_SESSION_HANDLE_INVALID;
}

bool usable(const struct model_session *s, const struct model_object *o)
{
    return o->alive && o->slot == s->slot;
}

bool input_matters(const struct model_session *s)
{
    return s->slot == 1;
}

void session_died(size_t i)
{
    sessions[i] = (struct model_session){.handle = sessions[i].handle, .slot = sessions[i].slot};
    for (size_t k = 0; k < n_objects; k++)
        if (objects[k].key && objects[k].owner == i)
            objects[k].alive = false;
}

void all_died(void)
{
    for (size_t i = 0; i < SESSIONS; i++)
        session_died(i);
    for (size_t k = 0; k < n_objects; k++)
        objects[k].alive = false;
}

static bool flag_of(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL flag = CK_FALSE;
    CK_ATTRIBUTE a = {type, &flag, sizeof flag};

    return f->C_GetAttributeValue(s, o, &a, 1) == CKR_OK && flag == CK_TRUE;
}

static CK_ULONG number_of(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type)
{
    CK_ULONG number = NONE;
    CK_ATTRIBUTE a = {type, &number, sizeof number};

    return f->C_GetAttributeValue(s, o, &a, 1) == CKR_OK ? number : NONE;
}

struct model_object *object_known(CK_OBJECT_HANDLE handle)
{
    for (size_t i = 0; i < n_objects; i++)
        if (objects[i].handle == handle)
            return &objects[i];
    return NULL;
}

void object_describe(const struct model_session *s, struct model_object *o)
{
    const CK_SESSION_HANDLE h = s->handle;

    o->data = number_of(h, o->handle, CKA_CLASS) == CKO_DATA;
    o->type = number_of(h, o->handle, CKA_KEY_TYPE);
    o->ppk = !o->data && !o->key && number_of(h, o->handle, CKA_PPK_KIND) == PPK_KIND_DYNAMIC;
    o->sign = flag_of(h, o->handle, CKA_SIGN);
    o->verify = flag_of(h, o->handle, CKA_VERIFY);
    o->derive = flag_of(h, o->handle, CKA_DERIVE);
    o->modifiable = flag_of(h, o->handle, CKA_MODIFIABLE);
    o->copyable = flag_of(h, o->handle, 0x171);
    o->destroyable = flag_of(h, o->handle, 0x172);
    o->readable = flag_of(h, o->handle, CKA_EXTRACTABLE) && !flag_of(h, o->handle, CKA_SENSITIVE);
    if (!o->key) { /* whatever it is, the token does not let it be changed, copied or read */
        must(!o->modifiable && !o->copyable && !o->readable);
        must(o->ppk == o->destroyable);
    }
}

void object_new(const struct model_session *s, CK_OBJECT_HANDLE handle, const struct model_session *owner)
{
    must(handle != CK_INVALID_HANDLE && object_known(handle) == NULL); /* never given again */
    if (n_objects == OBJECTS)
        return;
    struct model_object *o = &objects[n_objects++];
    *o = (struct model_object){.handle = handle, .slot = s->slot, .alive = true};
    o->key = owner != NULL;
    o->owner = owner != NULL ? (size_t)(owner - sessions) : 0;
    object_describe(s, o);
}
