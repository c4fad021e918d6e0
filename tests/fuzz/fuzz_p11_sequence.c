/* SPDX-License-Identifier: BSD-2-Clause */
/* Sequences of calls at the built module, over several sessions and tokens. A model keeps what the state has
 * to be (who is initialized, which sessions and objects there are, which operations are active), foretells
 * each CK_RV as far as it knows it, and checks what must hold at any time: no configured key's value comes
 * out, a handle that is gone is invalid for ever, one search and one MAC of each kind at a time, a search
 * finds living objects of its own token only. (Debug builds of the module check besides that each CK_RV is
 * one that the standard allows.) */
#include "sequence.h"

#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 48

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    module_load();
    return 0;
}

static void step(struct input *in)
{
    static void (*const calls[])(struct input *) = {
        call_initialize, call_finalize, call_close,    call_close_all,  call_info,      call_login,
        call_cancel,     call_create,   call_create,   call_destroy,    call_copy,      call_set,
        call_get,        call_derive,   call_derive,   call_generate,   call_find_init, call_find,
        call_find_final, call_mac_init, call_mac_init, call_mac_update, call_sign_end,  call_verify_end,
        call_round,      call_open};

    calls[input_byte(in) % (sizeof calls / sizeof *calls)](in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};

    memset(sessions, 0, sizeof sessions);
    n_objects = 0;
    finalized = false;
    if (!initialized)
        call_initialize(NULL);
    for (size_t i = 0; i < MODULE_SLOTS; i++) { /* what every sequence begins with */
        must(f->C_OpenSession(i, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &sessions[i].handle) ==
             CKR_OK);
        sessions[i] =
            (struct model_session){.handle = sessions[i].handle, .slot = i, .open = true, .rw = true};
    }
    for (unsigned i = 0; i < STEPS && in.left > 0; i++)
        step(&in);
    if (!initialized)
        call_initialize(NULL);
    for (size_t k = 0; k < n_objects; k++) /* PPKs outlive their session */
        for (size_t i = 0; objects[k].ppk && objects[k].alive && i < SESSIONS; i++)
            if (sessions[i].open && sessions[i].rw && sessions[i].slot == objects[k].slot &&
                f->C_DestroyObject(sessions[i].handle, objects[k].handle) == CKR_OK)
                objects[k].alive = false;
    for (CK_SLOT_ID slot = 0; slot < MODULE_SLOTS; slot++)
        must(f->C_CloseAllSessions(slot) == CKR_OK);
    for (size_t k = 0; k < n_objects; k++)
        must(f->C_GetObjectSize(sessions[0].handle, objects[k].handle, &(CK_ULONG){0}) ==
             CKR_SESSION_HANDLE_INVALID);
    input_free();
    return 0;
}
