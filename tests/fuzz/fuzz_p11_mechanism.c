/* SPDX-License-Identifier: BSD-2-Clause */
/* Every mechanism with any parameter, in every function that takes one, at the built module. What comes out
 * is as long as it should be, and no configured key is in it. */
#include "module.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HANDLES 24
#define PPKS    2

static CK_SESSION_HANDLE session[MODULE_SLOTS];
static CK_OBJECT_HANDLE handles[MODULE_SLOTS][HANDLES]; /* fixed ones; then those of the input */
static size_t n_fixed[MODULE_SLOTS], n_handles;
static CK_OBJECT_HANDLE *const ppks = handles[2]; /* the first of the fixed ones there */

static CK_OBJECT_HANDLE import(CK_SESSION_HANDLE s, CK_KEY_TYPE type, size_t len, CK_BBOOL sensitive)
{
    static const CK_BBOOL yes = CK_TRUE;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_OBJECT_HANDLE o = CK_INVALID_HANDLE;
    CK_BYTE value[64] = {1, 2, 3};
    CK_BBOOL extractable = !sensitive;
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &class, sizeof class},
                        {CKA_KEY_TYPE, &type, sizeof type},
                        {CKA_VALUE, value, len},
                        {CKA_SENSITIVE, &sensitive, sizeof sensitive},
                        {CKA_EXTRACTABLE, &extractable, sizeof extractable},
                        {CKA_DERIVE, (void *)(uintptr_t)&yes, sizeof yes},
                        {CKA_WRAP, (void *)(uintptr_t)&yes, sizeof yes},
                        {CKA_UNWRAP, (void *)(uintptr_t)&yes, sizeof yes}};

    must(f->C_CreateObject(s, t, sizeof t / sizeof *t, &o) == CKR_OK);
    return o;
}

/* A PPK for each peer that has none: they do not live for ever, least of all when they are used. */
static void ppks_renew(void)
{
    static const char *const peers[PPKS] = {"p1", "p2"};
    CK_MECHANISM generate = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};

    for (size_t i = 0; i < PPKS; i++) {
        CK_ATTRIBUTE label = {CKA_LABEL, (void *)(uintptr_t)peers[i], 2};
        CK_ULONG size = 0;
        if (f->C_GetObjectSize(session[2], ppks[i], &size) != CKR_OK)
            must(f->C_GenerateKey(session[2], &generate, &label, 1, &ppks[i]) == CKR_OK);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    module_load();
    for (size_t i = 0; i < MODULE_SLOTS; i++) {
        CK_ULONG n = 0, found = 0;
        must(f->C_OpenSession(i, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session[i]) == CKR_OK);
        must(f->C_FindObjectsInit(session[i], NULL, 0) == CKR_OK);
        if (i == 2)
            n = PPKS;
        must(f->C_FindObjects(session[i], &handles[i][n], HANDLES / 2, &found) == CKR_OK);
        must(f->C_FindObjectsFinal(session[i]) == CKR_OK);
        n += found;
        handles[i][n++] = import(session[i], CKK_GENERIC_SECRET, 32, CK_FALSE);
        handles[i][n++] = import(session[i], CKK_GENERIC_SECRET, 64, CK_TRUE);
        handles[i][n++] = import(session[i], CKK_AES, 32, CK_FALSE);
        n_fixed[i] = n;
    }
    return 0;
}

static void value_check(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o)
{
    CK_BYTE value[4096];
    CK_ATTRIBUTE a = {CKA_VALUE, value, sizeof value};

    if (f->C_GetAttributeValue(s, o, &a, 1) == CKR_OK)
        module_no_key(value, a.ulValueLen);
}

static void derive(size_t slot, CK_MECHANISM *m, CK_OBJECT_HANDLE base, struct input *in)
{
    CK_OBJECT_HANDLE o = CK_INVALID_HANDLE;
    CK_ULONG len = input_byte(in);
    CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
    CK_KEY_TYPE aes = CKK_AES; /* which can be wrapped */
    const uint8_t shape = input_byte(in);
    CK_ATTRIBUTE t[] = {{CKA_VALUE_LEN, &len, sizeof len},
                        {CKA_SENSITIVE, &no, sizeof no},
                        {CKA_EXTRACTABLE, &yes, sizeof yes},
                        {CKA_DERIVE, &yes, sizeof yes},
                        {CKA_KEY_TYPE, &aes, sizeof aes}};
    const CK_ULONG n = shape & 4 ? 5 : 4;
    CK_RV rv;

    if (shape & 1) /* without CKA_VALUE_LEN */
        rv = f->C_DeriveKey(session[slot], m, base, t + 1, n - 1, &o);
    else
        rv = f->C_DeriveKey(session[slot], m, base, t, shape & 2 ? n : 1, &o);
    if (rv != CKR_OK)
        return;
    value_check(session[slot], o);
    if (n_handles < HANDLES)
        handles[slot][n_handles++] = o;
    else
        (void)f->C_DestroyObject(session[slot], o);
}

static void sign(size_t slot, CK_MECHANISM *m, CK_OBJECT_HANDLE key, struct input *in)
{
    CK_BYTE mac[80], *data;
    CK_ULONG len = input_byte(in) % sizeof mac, room = len;
    size_t got = 0;
    CK_RV rv;

    if (f->C_SignInit(session[slot], m, key) != CKR_OK)
        return;
    data = input_block(in, 40, &got);
    if (f->C_Sign(session[slot], data, got, input_room(room), &len) == CKR_BUFFER_TOO_SMALL) {
        must(len > room && len <= sizeof mac);
        rv = f->C_Sign(session[slot], data, got, mac, &len);
        if (slot == 1 && rv == CKR_DATA_INVALID) /* strict: it could be prf+'s */
            return;
        must(rv == CKR_OK);
        module_no_key(mac, len);
        if (f->C_VerifyInit(session[slot], m, key) == CKR_OK)
            must(f->C_Verify(session[slot], data, got, mac, len) == CKR_OK);
    }
    (void)f->C_SessionCancel(session[slot], CKF_SIGN | CKF_VERIFY);
}

static void wrap(size_t slot, CK_MECHANISM *m, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key, struct input *in)
{
    CK_BYTE out[48], *exact;
    CK_ULONG len = 0, room = input_byte(in) % sizeof out;

    if (f->C_WrapKey(session[slot], m, kek, key, NULL, &len) != CKR_OK)
        return;
    must(len <= sizeof out);
    exact = input_room(room);
    len = room;
    if (f->C_WrapKey(session[slot], m, kek, key, exact, &len) == CKR_OK)
        module_no_key(exact, len);
}

static void unwrap(size_t slot, CK_MECHANISM *m, CK_OBJECT_HANDLE kek, struct input *in)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}};
    CK_OBJECT_HANDLE o = CK_INVALID_HANDLE;
    size_t got = 0;
    CK_BYTE *wrapped = input_block(in, input_byte(in) % 60, &got);

    if (f->C_UnwrapKey(session[slot], m, kek, wrapped, got, t, 2, &o) == CKR_OK)
        (void)f->C_DestroyObject(session[slot], o);
}

static void step(struct input *in)
{
    const size_t slot = input_below(in, MODULE_SLOTS),
                 n = n_handles > n_fixed[slot] ? n_handles : n_fixed[slot];
    const CK_OBJECT_HANDLE key = handles[slot][input_below(in, n)], other = handles[slot][input_below(in, n)];
    const uint8_t what = input_byte(in);
    CK_MECHANISM m = input_mechanism(in, handles[slot], n);
    CK_OBJECT_HANDLE o = CK_INVALID_HANDLE, second = CK_INVALID_HANDLE;
    CK_BYTE out[64];
    CK_ULONG len = sizeof out;

    switch (what % 16) {
    case 0:
        sign(slot, &m, key, in);
        break;
    case 1:
        wrap(slot, &m, key, other, in);
        break;
    case 2:
        unwrap(slot, &m, key, in);
        break;
    case 3:
        if (f->C_GenerateKey(session[slot], &m, NULL, 0, &o) == CKR_OK)
            (void)f->C_DestroyObject(session[slot], o);
        break;
    case 4: /* functions that there are not */
        must(f->C_EncryptInit(session[slot], &m, key) == CKR_FUNCTION_NOT_SUPPORTED);
        must(f->C_DecryptInit(session[slot], &m, key) == CKR_FUNCTION_NOT_SUPPORTED);
        must(f->C_DigestInit(session[slot], &m) == CKR_FUNCTION_NOT_SUPPORTED);
        must(f->C_DigestKey(session[slot], key) == CKR_FUNCTION_NOT_SUPPORTED);
        must(f->C_SignRecoverInit(session[slot], &m, key) == CKR_FUNCTION_NOT_SUPPORTED);
        must(f->C_MessageSignInit(session[slot], &m, key) == CKR_FUNCTION_NOT_SUPPORTED);
        must(f->C_GenerateKeyPair(session[slot], &m, NULL, 0, NULL, 0, &o, &second) ==
             CKR_FUNCTION_NOT_SUPPORTED);
        must(f->C_Encrypt(session[slot], out, 1, out, &len) == CKR_FUNCTION_NOT_SUPPORTED);
        break;
    default:
        derive(slot, &m, key, in);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};

    ppks_renew();
    n_handles = 0;
    for (size_t i = 0; i < MODULE_SLOTS; i++)
        n_handles = n_fixed[i] > n_handles ? n_fixed[i] : n_handles;
    const size_t first = n_handles;
    for (size_t i = 0; i < MODULE_SLOTS; i++)
        memset(&handles[i][n_fixed[i]], 0, (HANDLES - n_fixed[i]) * sizeof handles[i][0]);
    for (unsigned i = 0; i < 8 && in.left > 0; i++)
        step(&in);
    for (size_t i = 0; i < MODULE_SLOTS; i++)
        for (size_t k = first; k < n_handles; k++)
            (void)f->C_DestroyObject(session[i], handles[i][k]);
    input_free();
    return 0;
}
