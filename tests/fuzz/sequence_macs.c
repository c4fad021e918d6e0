/* SPDX-License-Identifier: BSD-2-Clause */
/* MACs. */
#include "sequence.h"

#include <string.h>

#define MAC_MAX 64

static const struct {
    CK_MECHANISM_TYPE type;
    CK_KEY_TYPE key;
    size_t size;
} macs[] = {{CKM_SHA_1_HMAC, CKK_SHA_1_HMAC, 20},
            {CKM_SHA256_HMAC, CKK_SHA256_HMAC, 32},
            {CKM_SHA384_HMAC, CKK_SHA384_HMAC, 48},
            {CKM_SHA512_HMAC, CKK_SHA512_HMAC, 64}};

void call_mac_init(struct input *in)
{
    const bool verify = input_byte(in) & 1;
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
    if (want == CKR_OK && input_matters(s) && !o->key && rv == CKR_KEY_FUNCTION_NOT_PERMITTED)
        return; /* a pre-shared key */
    must(rv == want);
    if (rv == CKR_OK)
        *mac = (struct model_mac){true, false, macs[which].size};
}

void call_mac_update(struct input *in)
{
    const bool verify = input_byte(in) & 1;
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

void call_sign_end(struct input *in)
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
    if (want == CKR_OK && out != NULL && input_matters(s) &&
        rv == (once ? CKR_DATA_INVALID : CKR_DATA_LEN_RANGE)) {
        s->sign.active = false;
        return;
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

void call_verify_end(struct input *in)
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
    else if (mac_len == s->verify.size && input_matters(s) && rv != CKR_SIGNATURE_INVALID)
        must(rv == (once ? CKR_DATA_INVALID : CKR_DATA_LEN_RANGE));
    else
        must(rv == (mac_len != s->verify.size ? CKR_SIGNATURE_LEN_RANGE : CKR_SIGNATURE_INVALID));
    s->verify.active = state != CKR_OK && s->verify.active;
}

/* Signs and verifies at one go: what was signed is right, and what was changed is not. */
void call_round(struct input *in)
{
    struct model_session *s = session_pick(in);
    const struct model_object *o = object_pick(in);
    CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE mac[32], again[32];
    CK_ULONG len = sizeof mac;
    size_t got = 0;
    CK_BYTE *data = input_block(in, 24, &got);

    if (session_state(s) != CKR_OK || input_matters(s) || s->sign.active || s->verify.active ||
        !usable(s, o) || o->data || !o->sign || !o->verify || o->type != CKK_GENERIC_SECRET)
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
