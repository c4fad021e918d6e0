/* SPDX-License-Identifier: BSD-2-Clause */
/* Templates of every function that takes one, at the built module: an input is a few calls. What was made is
 * read, copied, changed and destroyed. */
#include "module.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HANDLES 32

static CK_SESSION_HANDLE sessions[2 * MODULE_SLOTS]; /* read only, read-write; of each slot */
static CK_OBJECT_HANDLE handles[HANDLES];
static size_t n_handles;
static bool full; /* there are more */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    module_load();
    return 0;
}

static void handle_keep(CK_OBJECT_HANDLE o)
{
    if (n_handles < HANDLES)
        handles[n_handles++] = o;
    else
        full = true;
}

static void search(CK_SESSION_HANDLE s, const struct fuzz_template *t)
{
    CK_OBJECT_HANDLE found[8];
    CK_ULONG n = 0;

    if (f->C_FindObjectsInit(s, t->a, t->n) != CKR_OK)
        return;
    for (unsigned turn = 0; turn < 4 && f->C_FindObjects(s, found, 8, &n) == CKR_OK && n > 0; turn++) {
        must(n <= 8);
        for (CK_ULONG i = 0; i < n; i++)
            handle_keep(found[i]);
    }
    must(f->C_FindObjectsFinal(s) == CKR_OK);
}

static void attributes_read(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, struct input *in)
{
    struct fuzz_template t = input_template_read(in), asked = {NULL, t.n};

    if (t.n > 0) {
        asked.a = input_room(t.n * sizeof *t.a);
        memcpy(asked.a, t.a, t.n * sizeof *t.a);
    }
    const CK_RV rv = f->C_GetAttributeValue(s, o, t.a, t.n);
    if (rv == CKR_OBJECT_HANDLE_INVALID || rv == CKR_ARGUMENTS_BAD)
        return;
    template_check_read(&t, &asked, rv);
}

static void made(CK_RV rv, const CK_OBJECT_HANDLE *o)
{
    if (rv != CKR_OK)
        return;
    must(*o != CK_INVALID_HANDLE);
    handle_keep(*o);
}

/* Whatever there is that can be destroyed. */
static void all_destroy(CK_SESSION_HANDLE s)
{
    CK_OBJECT_HANDLE found[8];
    CK_ULONG n = 0;

    must(f->C_FindObjectsInit(s, NULL, 0) == CKR_OK);
    while (f->C_FindObjects(s, found, 8, &n) == CKR_OK && n > 0)
        for (CK_ULONG i = 0; i < n; i++)
            (void)f->C_DestroyObject(s, found[i]);
    must(f->C_FindObjectsFinal(s) == CKR_OK);
}

static void step(struct input *in)
{
    CK_SESSION_HANDLE s = sessions[input_below(in, 2 * MODULE_SLOTS)];
    const CK_OBJECT_HANDLE o = n_handles > 0 ? handles[input_below(in, n_handles)] : 0;
    CK_MECHANISM generate = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0}, kwp = {CKM_AES_KEY_WRAP_KWP, NULL, 0};
    CK_MECHANISM derive;
    CK_OBJECT_HANDLE new = CK_INVALID_HANDLE;
    struct fuzz_template t;
    CK_ULONG size = 0;
    CK_BYTE wrapped[40] = {0};

    switch (input_byte(in) % 10) {
    case 0:
    case 1:
        t = input_template(in);
        search(s, &t);
        break;
    case 2:
        t = input_template(in);
        made(f->C_CreateObject(s, t.a, t.n, &new), &new);
        break;
    case 3:
        t = input_template(in);
        made(f->C_CopyObject(s, o, t.a, t.n, &new), &new);
        break;
    case 4:
        t = input_template(in);
        (void)f->C_SetAttributeValue(s, o, t.a, t.n);
        break;
    case 5:
        t = input_template(in);
        made(f->C_GenerateKey(s, &generate, t.a, t.n, &new), &new);
        break;
    case 6:
        derive = input_mechanism(in, handles, n_handles);
        t = input_template(in);
        made(f->C_DeriveKey(s, &derive, o, t.a, t.n, &new), &new);
        break;
    case 7:
        t = input_template(in);
        made(f->C_UnwrapKey(s, &kwp, o, wrapped, 24, t.a, t.n, &new), &new);
        break;
    case 8:
        attributes_read(s, o, in);
        break;
    default:
        (void)f->C_GetObjectSize(s, o, &size);
        if (f->C_DestroyObject(s, o) == CKR_OK)
            must(f->C_GetObjectSize(s, o, &size) == CKR_OBJECT_HANDLE_INVALID);
        break;
    }
}

/* Keys that cannot be destroyed go with their sessions, PPKs do not. */
static void end(void)
{
    for (size_t s = 1; s < 2 * MODULE_SLOTS; s += 2) {
        for (size_t i = 0; i < n_handles; i++)
            (void)f->C_DestroyObject(sessions[s], handles[i]);
        if (full)
            all_destroy(sessions[s]);
        must(f->C_CloseAllSessions(s / 2) == CKR_OK);
    }
    n_handles = 0;
    full = false;
    input_free();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    const struct fuzz_template all = {NULL, 0};

    for (size_t i = 0; i < 2 * MODULE_SLOTS; i++)
        must(f->C_OpenSession(i / 2, CKF_SERIAL_SESSION | (i % 2 ? CKF_RW_SESSION : 0), NULL, NULL,
                              &sessions[i]) == CKR_OK);
    if (size > 0 && (data[0] & 3) != 0)
        search(sessions[2 * (data[0] % MODULE_SLOTS)], &all);
    for (unsigned i = 0; i < 12 && in.left > 0; i++)
        step(&in);
    end();
    return 0;
}
