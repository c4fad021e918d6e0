/* SPDX-License-Identifier: BSD-2-Clause */
/* The library and its sessions. */
#include "sequence.h"

#include <string.h>

void call_initialize(struct input *in)
{
    (void)in;
    const CK_RV rv = f->C_Initialize(NULL);

    must(rv == (initialized ? CKR_CRYPTOKI_ALREADY_INITIALIZED : CKR_OK));
    initialized = true;
}

void call_finalize(struct input *in)
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

void call_open(struct input *in)
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

void call_close(struct input *in)
{
    struct model_session *s = session_pick(in);
    const CK_RV want = session_state(s);

    must(f->C_CloseSession(s->handle) == want);
    if (want == CKR_OK)
        session_died((size_t)(s - sessions));
}

void call_close_all(struct input *in)
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

void call_info(struct input *in)
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
void call_login(struct input *in)
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

void call_cancel(struct input *in)
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
