/* SPDX-License-Identifier: BSD-2-Clause */
#include "works.h"

#include "conf.h"
#include "harness.h"
#include "oracle.h"

static const char text_to_sign[] = "does it work?";
static uint8_t right_mac[64];
void works_prepare(void)
{
    uint8_t key[32];
    oracle_hmac(&oracle_prfs[1], key, oracle_unhex(MANUAL_1_HEX, key, sizeof key), text_to_sign,
                sizeof text_to_sign, right_mac);
}

void token_works(void)
{
    uint8_t mac[64], noise[16];
    CK_SLOT_ID slots[8];
    CK_ULONG n = 8, len = sizeof mac;
    CK_SESSION_HANDLE s = 0;
    CK_OBJECT_HANDLE o = 0;
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    CK_ATTRIBUTE id = {CKA_ID, (void *)(uintptr_t)MANUAL_1_ID, sizeof MANUAL_1_ID - 1};
    if (!expect_ok(f->C_GetSlotList(CK_TRUE, slots, &n)) || !expect(n >= 2, "%lu slots", n))
        return;
    expect_ok(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &s));
    expect_ok(f->C_FindObjectsInit(s, &id, 1));
    expect_ok(f->C_FindObjects(s, &o, 1, &n));
    expect(n == 1, "%lu objects", n);
    expect_ok(f->C_FindObjectsFinal(s));
    expect_ok(f->C_SignInit(s, &hmac, o));
    expect_ok(f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t)text_to_sign, sizeof text_to_sign, mac, &len));
    expect(len == 32 && memcmp(mac, right_mac, 32) == 0, "another MAC (%lu bytes)", len);
    expect_ok(f->C_GenerateRandom(s, noise, sizeof noise));
    expect_ok(f->C_CloseSession(s));
}

void *wait_for_event(void *result)
{
    CK_SLOT_ID slot;
    *(CK_RV *)result = f->C_WaitForSlotEvent(0, &slot, NULL);
    return NULL;
}
