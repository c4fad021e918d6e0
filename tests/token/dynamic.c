/* SPDX-License-Identifier: BSD-2-Clause */
#include "dynamic.h"

#include "conf.h"
#include "guard.h"
#include "oracle.h"

struct source *source;
CK_SESSION_HANDLE s;

void dynamic_start(const char *more)
{
    source_reset(source);
    harness_conf(CONF_DYNAMIC CONF_PSK "%s", source->port, more);
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("dynamic");
}

void peer_template(struct template *t, const char *peer)
{
    *t = (struct template){.n = 0};
    template_number(t, CKA_CLASS, CKO_SECRET_KEY);
    template_text(t, CKA_LABEL, peer);
}

CK_OBJECT_HANDLE peer_key(CK_SESSION_HANDLE session, const char *peer)
{
    struct template t;
    peer_template(&t, peer);
    return object_only(session, &t);
}

size_t id_of(CK_OBJECT_HANDLE o, uint8_t *id, size_t room)
{
    size_t n = object_bytes(s, o, CKA_ID, id, room);
    expect(n != (size_t)-1, "no CKA_ID");
    return n;
}

void expect_ppk_of_source(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE o, size_t key_len)
{
    uint8_t id[64], key[64], mac[32], want[64];
    CK_ULONG n = sizeof mac;
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    size_t id_len = object_bytes(session, o, CKA_ID, id, sizeof id);
    if (!expect(id_len <= sizeof id, "no CKA_ID"))
        return;
    source_key(id, id_len, key, key_len);
    oracle_hmac(&oracle_prfs[1], key, key_len, "fixed text", 10, want);
    expect_ok(f->C_SignInit(session, &hmac, o));
    expect_ok(f->C_Sign(session, (CK_BYTE_PTR)(uintptr_t) "fixed text", 10, mac, &n));
    expect(n == 32 && memcmp(mac, want, 32) == 0, "another key than the source's");
}

void to_hex(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        sprintf(out + 2 * i, "%02X", bytes[i]);
}

size_t search_id(const void *id, size_t len, const char *label, CK_OBJECT_HANDLE *o, CK_RV *rv)
{
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    template_bytes(&t, CKA_ID, guard_frozen(id, len), len);
    if (label)
        template_text(&t, CKA_LABEL, label);
    return object_search(s, &t, o, 1, rv);
}
