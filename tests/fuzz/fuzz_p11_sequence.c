/* SPDX-License-Identifier: BSD-2-Clause */
/* Sequences of calls at the built module, over several sessions and tokens. A model keeps what the state has
 * to be (who is initialized, which sessions and objects there are, which operations are active), foretells
 * each CK_RV as far as it knows it, and checks what must hold at any time: no configured key's value comes
 * out, a handle that is gone is invalid for ever, one search and one MAC of each kind at a time, a search
 * finds living objects of its own token only. (Debug builds of the module check besides that each CK_RV is
 * one that the standard allows.) */
#include "module.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SESSIONS 6
#define OBJECTS  40
#define STEPS    48
#define MAC_MAX  64

/* CK_RVs of which one has to come; ends with END. */
#define END (~0UL)

struct model_mac {
    bool active, parts;
    size_t size;
    size_t object; /* in objects[] */
};

static struct model_session {
    CK_SESSION_HANDLE handle; /* 0: never opened */
    CK_SLOT_ID slot;
    bool open, rw, searching;
    struct model_mac sign, verify;
} sessions[SESSIONS];

static struct model_object {
    CK_OBJECT_HANDLE handle;
    CK_SLOT_ID slot;
    bool alive;
    bool key;     /* a session key, of `owner`; else one of the configuration, or a PPK */
    size_t owner; /* in sessions[] */
    bool ppk, data;
    bool sign, verify, derive, modifiable, copyable, destroyable, readable;
    CK_KEY_TYPE type;
} objects[OBJECTS];
static size_t n_objects;
static bool initialized = true, finalized; /* the latter: by this input */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    module_load();
    return 0;
}

/* ---- the model ---- */

static struct model_session *session_pick(struct input *in)
{
    return &sessions[input_below(in, SESSIONS)];
}

static struct model_object *object_pick(struct input *in)
{
    static struct model_object none;

    none = (struct model_object){.handle = 0, .slot = END};
    return n_objects > 0 ? &objects[input_below(in, n_objects)] : &none;
}

/* What a call with this session answers before all else; CKR_OK: it goes on. */
static CK_RV session_state(const struct model_session *s)
{
    if (!initialized)
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    return s->open ? CKR_OK : CKR_SESSION_HANDLE_INVALID;
}

static bool usable(const struct model_session *s, const struct model_object *o)
{
    return o->alive && o->slot == s->slot;
}

static void objects_die(struct model_object *o)
{
    o->alive = false;
}

static void session_died(size_t i)
{
    sessions[i] = (struct model_session){.handle = sessions[i].handle, .slot = sessions[i].slot};
    for (size_t k = 0; k < n_objects; k++)
        if (objects[k].key && objects[k].owner == i)
            objects_die(&objects[k]);
}

static void all_died(void)
{
    for (size_t i = 0; i < SESSIONS; i++)
        session_died(i);
    for (size_t k = 0; k < n_objects; k++)
        objects_die(&objects[k]);
}

static bool flag_of(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL flag = CK_FALSE;
    CK_ATTRIBUTE a = {type, &flag, sizeof flag};

    return f->C_GetAttributeValue(s, o, &a, 1) == CKR_OK && flag == CK_TRUE;
}

static CK_ULONG number_of(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type)
{
    CK_ULONG number = END;
    CK_ATTRIBUTE a = {type, &number, sizeof number};

    return f->C_GetAttributeValue(s, o, &a, 1) == CKR_OK ? number : END;
}

static struct model_object *object_known(CK_OBJECT_HANDLE handle)
{
    for (size_t i = 0; i < n_objects; i++)
        if (objects[i].handle == handle)
            return &objects[i];
    return NULL;
}

static void object_describe(const struct model_session *s, struct model_object *o)
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

/* A handle that the model has not seen before: `owner` NULL: not a session key. */
static void object_new(const struct model_session *s, CK_OBJECT_HANDLE handle,
                       const struct model_session *owner)
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

/* ---- the library and its sessions ---- */

static void call_initialize(void)
{
    const CK_RV rv = f->C_Initialize(NULL);

    must(rv == (initialized ? CKR_CRYPTOKI_ALREADY_INITIALIZED : CKR_OK));
    initialized = true;
}

static void call_finalize(struct input *in)
{
    const CK_ULONG how = input_byte(in);

    if (how & 1) {
        must(f->C_Finalize(&initialized) == (initialized ? CKR_ARGUMENTS_BAD : CKR_CRYPTOKI_NOT_INITIALIZED));
        return;
    }
    if ((how & 0x1e) != 0 || finalized) /* seldom: what follows costs more than all else */
        return;
    must(f->C_Finalize(NULL) == (initialized ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED));
    initialized = false;
    finalized = true;
    all_died();
    memset(sessions, 0, sizeof sessions); /* what follows C_Initialize begins anew, handles too */
    n_objects = 0;
}

static void call_open(struct input *in)
{
    struct model_session *s = session_pick(in);
    const CK_SLOT_ID slot = input_byte(in) % (MODULE_SLOTS + 1);
    const uint8_t how = input_byte(in);
    const CK_FLAGS flags = (how & 1 ? CKF_RW_SESSION : 0) | (how < 0xf0 ? CKF_SERIAL_SESSION : 0) |
                           (how > 0xe0 && how < 0xe8 ? 1UL << (how % 32) : 0);
    CK_SESSION_HANDLE handle = 0;
    CK_RV want = CKR_OK;

    if (s->open)
        return;
    if (!initialized)
        want = CKR_CRYPTOKI_NOT_INITIALIZED;
    else if (slot >= MODULE_SLOTS)
        want = CKR_SLOT_ID_INVALID;
    else if ((flags & CKF_SERIAL_SESSION) == 0)
        want = CKR_SESSION_PARALLEL_NOT_SUPPORTED;
    else if ((flags & ~(CKF_SERIAL_SESSION | CKF_RW_SESSION)) != 0)
        want = CKR_ARGUMENTS_BAD;
    must(f->C_OpenSession(slot, flags, NULL, NULL, &handle) == want);
    if (want != CKR_OK)
        return;
    for (size_t i = 0; i < SESSIONS; i++)
        must(sessions[i].handle != handle);
    *s = (struct model_session){
        .handle = handle, .slot = slot, .open = true, .rw = (flags & CKF_RW_SESSION) != 0};
}

static void call_close(struct input *in)
{
    struct model_session *s = session_pick(in);
    const CK_RV want = session_state(s);

    must(f->C_CloseSession(s->handle) == want);
    if (want == CKR_OK)
        session_died((size_t)(s - sessions));
}

static void call_close_all(struct input *in)
{
    const CK_SLOT_ID slot = input_byte(in) % (MODULE_SLOTS + 1);
    const CK_RV want = !initialized           ? CKR_CRYPTOKI_NOT_INITIALIZED
                       : slot >= MODULE_SLOTS ? CKR_SLOT_ID_INVALID
                                              : CKR_OK;

    must(f->C_CloseAllSessions(slot) == want);
    for (size_t i = 0; want == CKR_OK && i < SESSIONS; i++)
        if (sessions[i].open && sessions[i].slot == slot)
            session_died(i);
}

static void call_info(struct input *in)
{
    const struct model_session *s = session_pick(in);
    CK_SESSION_INFO info;
    CK_TOKEN_INFO token;
    const CK_RV want = session_state(s);
    CK_ULONG open = 0, rw = 0;

    must(f->C_GetSessionInfo(s->handle, &info) == want);
    if (want != CKR_OK)
        return;
    must(info.slotID == s->slot && info.state == (s->rw ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION));
    must(f->C_GetTokenInfo(s->slot, &token) == CKR_OK);
    for (size_t i = 0; i < SESSIONS; i++) {
        open += sessions[i].open && sessions[i].slot == s->slot;
        rw += sessions[i].open && sessions[i].slot == s->slot && sessions[i].rw;
    }
    must(token.ulSessionCount == open && token.ulRwSessionCount == rw);
}

/* No token of ours needs a login. */
static void call_login(struct input *in)
{
    const struct model_session *s = session_pick(in);
    const CK_USER_TYPE user = input_byte(in) % 4;
    size_t len = 0;
    CK_BYTE *pin = input_block(in, input_byte(in) % 16, &len);
    CK_RV want = session_state(s);

    if (want == CKR_OK)
        want = user == CKU_CONTEXT_SPECIFIC ? CKR_OPERATION_NOT_INITIALIZED
               : user != CKU_USER           ? CKR_USER_TYPE_INVALID
                                            : CKR_USER_PIN_NOT_INITIALIZED;
    must(f->C_Login(s->handle, user, pin, len) == want);
    want = session_state(s);
    must(f->C_Logout(s->handle) == (want == CKR_OK ? CKR_USER_NOT_LOGGED_IN : want));
}

static void call_cancel(struct input *in)
{
    static const CK_FLAGS flags[] = {CKF_SIGN, CKF_VERIFY, CKF_FIND_OBJECTS,
                                     CKF_SIGN | CKF_VERIFY | CKF_FIND_OBJECTS, CKF_ENCRYPT};
    struct model_session *s = session_pick(in);
    const CK_FLAGS what = flags[input_below(in, sizeof flags / sizeof *flags)];
    const CK_RV want = session_state(s);

    must(f->C_SessionCancel(s->handle, what) == want);
    if (want != CKR_OK)
        return;
    s->sign.active = s->sign.active && (what & CKF_SIGN) == 0;
    s->verify.active = s->verify.active && (what & CKF_VERIFY) == 0;
    s->searching = s->searching && (what & CKF_FIND_OBJECTS) == 0;
}

/* ---- objects ---- */

static void call_create(struct input *in)
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

static void call_destroy(struct input *in)
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
        objects_die(o);
}

static void call_copy(struct input *in)
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

static void call_set(struct input *in)
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

static void call_get(struct input *in)
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

static void call_derive(struct input *in)
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

static void call_generate(struct input *in)
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

static void call_find_init(struct input *in)
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

static void call_find(struct input *in)
{
    struct model_session *s = session_pick(in);
    CK_OBJECT_HANDLE found[6] = {0};
    const CK_ULONG max = input_below(in, 6);
    CK_ULONG n = END;
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

static void call_find_final(struct input *in)
{
    struct model_session *s = session_pick(in);
    CK_RV want = session_state(s);

    if (want == CKR_OK && !s->searching)
        want = CKR_OPERATION_NOT_INITIALIZED;
    must(f->C_FindObjectsFinal(s->handle) == want);
    if (want == CKR_OK)
        s->searching = false;
}

/* ---- MACs ---- */

static const struct {
    CK_MECHANISM_TYPE type;
    CK_KEY_TYPE key;
    size_t size;
} macs[] = {{CKM_SHA_1_HMAC, CKK_SHA_1_HMAC, 20},
            {CKM_SHA256_HMAC, CKK_SHA256_HMAC, 32},
            {CKM_SHA384_HMAC, CKK_SHA384_HMAC, 48},
            {CKM_SHA512_HMAC, CKK_SHA512_HMAC, 64}};

static void call_mac_init(struct input *in, bool verify)
{
    struct model_session *s = session_pick(in);
    struct model_mac *mac = verify ? &s->verify : &s->sign;
    const struct model_object *o = object_pick(in);
    const size_t which = input_below(in, 5);
    CK_MECHANISM m = {which < 4 ? macs[which].type : CKM_SHA256, NULL, 0};
    CK_RV want = session_state(s), rv;

    if (want == CKR_OK && mac->active)
        want = CKR_OPERATION_ACTIVE;
    else if (want == CKR_OK && which == 4)
        want = CKR_MECHANISM_INVALID;
    else if (want == CKR_OK && (!usable(s, o) || o->data))
        want = CKR_KEY_HANDLE_INVALID;
    else if (want == CKR_OK && o->type != CKK_GENERIC_SECRET && o->type != macs[which].key)
        want = CKR_KEY_TYPE_INCONSISTENT;
    else if (want == CKR_OK && !(verify ? o->verify : o->sign))
        want = CKR_KEY_FUNCTION_NOT_PERMITTED;
    rv = verify ? f->C_VerifyInit(s->handle, &m, o->handle) : f->C_SignInit(s->handle, &m, o->handle);
    must(rv == want);
    if (rv == CKR_OK)
        *mac = (struct model_mac){true, false, macs[which].size, 0};
}

static void call_mac_update(struct input *in, bool verify)
{
    struct model_session *s = session_pick(in);
    struct model_mac *mac = verify ? &s->verify : &s->sign;
    const bool bad = input_byte(in) == 0xff;
    size_t len = 0;
    CK_BYTE *part = input_block(in, 20, &len);
    CK_RV want = session_state(s), rv;

    if (want == CKR_OK)
        want = !mac->active ? CKR_OPERATION_NOT_INITIALIZED : bad ? CKR_ARGUMENTS_BAD : CKR_OK;
    if (bad) {
        part = NULL;
        len = 1;
    }
    rv = verify ? f->C_VerifyUpdate(s->handle, part, len) : f->C_SignUpdate(s->handle, part, len);
    must(rv == want);
    mac->parts = true;
    mac->active = mac->active && (rv == CKR_OK || session_state(s) != CKR_OK);
}

static void call_sign_end(struct input *in)
{
    struct model_session *s = session_pick(in);
    const bool once = input_byte(in) & 1;
    CK_ULONG len = input_below(in, MAC_MAX + 8), room = len;
    CK_BYTE *out = input_byte(in) % 8 == 0 ? NULL : input_room(room);
    size_t got = 0;
    CK_BYTE *data = input_block(in, 20, &got);
    CK_RV want = session_state(s), rv;

    rv = once ? f->C_Sign(s->handle, data, got, out, &len) : f->C_SignFinal(s->handle, out, &len);
    if (want == CKR_OK) {
        const struct model_mac *m = &s->sign;
        want = !m->active || (once && m->parts) ? CKR_OPERATION_NOT_INITIALIZED
               : out != NULL && room < m->size  ? CKR_BUFFER_TOO_SMALL
                                                : CKR_OK;
    }
    must(rv == want);
    if (session_state(s) != CKR_OK || !s->sign.active)
        return;
    if (rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL)
        must(len == s->sign.size);
    if (rv == CKR_OK && out != NULL)
        module_no_key(out, len);
    s->sign.active = rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && out == NULL); /* a question is none */
}

static void call_verify_end(struct input *in)
{
    struct model_session *s = session_pick(in);
    const bool once = input_byte(in) & 1;
    size_t got = 0, mac_len = 0;
    CK_BYTE *data = input_block(in, 20, &got), *mac = input_block(in, input_below(in, MAC_MAX + 2), &mac_len);
    const CK_RV state = session_state(s);
    CK_RV rv;

    rv = once ? f->C_Verify(s->handle, data, got, mac, mac_len) : f->C_VerifyFinal(s->handle, mac, mac_len);
    if (state != CKR_OK || !s->verify.active)
        must(rv == (state != CKR_OK ? state : CKR_OPERATION_NOT_INITIALIZED));
    else if (once && s->verify.parts)
        must(rv == CKR_OPERATION_NOT_INITIALIZED);
    else
        must(rv == (mac_len != s->verify.size ? CKR_SIGNATURE_LEN_RANGE : CKR_SIGNATURE_INVALID));
    s->verify.active = state != CKR_OK && s->verify.active;
}

/* Signs and verifies at one go: what was signed is right, and what was changed is not. */
static void call_round(struct input *in)
{
    struct model_session *s = session_pick(in);
    const struct model_object *o = object_pick(in);
    CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE mac[32], again[32];
    CK_ULONG len = sizeof mac;
    size_t got = 0;
    CK_BYTE *data = input_block(in, 24, &got);

    if (session_state(s) != CKR_OK || s->sign.active || s->verify.active || !usable(s, o) || o->data ||
        !o->sign || !o->verify || o->type != CKK_GENERIC_SECRET)
        return;
    must(f->C_SignInit(s->handle, &m, o->handle) == CKR_OK);
    must(f->C_Sign(s->handle, data, got, mac, &len) == CKR_OK && len == sizeof mac);
    must(f->C_SignInit(s->handle, &m, o->handle) == CKR_OK);
    must(f->C_SignUpdate(s->handle, data, got / 2) == CKR_OK);
    must(f->C_SignUpdate(s->handle, data + got / 2, got - got / 2) == CKR_OK);
    must(f->C_SignFinal(s->handle, again, &len) == CKR_OK && memcmp(mac, again, len) == 0);
    must(f->C_VerifyInit(s->handle, &m, o->handle) == CKR_OK);
    must(f->C_Verify(s->handle, data, got, mac, len) == CKR_OK);
    mac[got % sizeof mac] ^= 1;
    must(f->C_VerifyInit(s->handle, &m, o->handle) == CKR_OK);
    must(f->C_Verify(s->handle, data, got, mac, len) == CKR_SIGNATURE_INVALID);
}

static void step(struct input *in)
{
    switch (input_byte(in) % 26) {
    case 0:
        call_initialize();
        break;
    case 1:
        call_finalize(in);
        break;
    case 2:
        call_close(in);
        break;
    case 3:
        call_close_all(in);
        break;
    case 4:
        call_info(in);
        break;
    case 5:
        call_login(in);
        break;
    case 6:
        call_cancel(in);
        break;
    case 7:
    case 8:
        call_create(in);
        break;
    case 9:
        call_destroy(in);
        break;
    case 10:
        call_copy(in);
        break;
    case 11:
        call_set(in);
        break;
    case 12:
        call_get(in);
        break;
    case 13:
    case 14:
        call_derive(in);
        break;
    case 15:
        call_generate(in);
        break;
    case 16:
        call_find_init(in);
        break;
    case 17:
        call_find(in);
        break;
    case 18:
        call_find_final(in);
        break;
    case 19:
    case 20:
        call_mac_init(in, input_byte(in) & 1);
        break;
    case 21:
        call_mac_update(in, input_byte(in) & 1);
        break;
    case 22:
        call_sign_end(in);
        break;
    case 23:
        call_verify_end(in);
        break;
    case 24:
        call_round(in);
        break;
    default:
        call_open(in);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};

    memset(sessions, 0, sizeof sessions);
    n_objects = 0;
    finalized = false;
    if (!initialized)
        call_initialize();
    for (size_t i = 0; i < MODULE_SLOTS; i++) { /* what every sequence begins with */
        must(f->C_OpenSession(i, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &sessions[i].handle) ==
             CKR_OK);
        sessions[i] =
            (struct model_session){.handle = sessions[i].handle, .slot = i, .open = true, .rw = true};
    }
    for (unsigned i = 0; i < STEPS && in.left > 0; i++)
        step(&in);
    if (!initialized)
        call_initialize();
    for (size_t k = 0; k < n_objects; k++) /* PPKs outlive their session */
        for (size_t i = 0; objects[k].ppk && objects[k].alive && i < SESSIONS; i++)
            if (sessions[i].open && sessions[i].rw && sessions[i].slot == objects[k].slot &&
                f->C_DestroyObject(sessions[i].handle, objects[k].handle) == CKR_OK)
                objects_die(&objects[k]);
    for (CK_SLOT_ID slot = 0; slot < MODULE_SLOTS; slot++)
        must(f->C_CloseAllSessions(slot) == CKR_OK);
    for (size_t k = 0; k < n_objects; k++)
        must(f->C_GetObjectSize(sessions[0].handle, objects[k].handle, &(CK_ULONG){0}) ==
             CKR_SESSION_HANDLE_INVALID);
    input_free();
    return 0;
}
