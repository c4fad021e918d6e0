/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots, tokens, sessions (PKCS#11 2.40, 5.5 and 5.6), random numbers, and what the token does not do.
 */
#include "conf.h"
#include "every.h"
#include "guard.h"
#include "harness.h"

#include <stdlib.h>

static const CK_MECHANISM_TYPE promised[] = {
    CKM_IKE2_PRF_PLUS_DERIVE,
    CKM_IKE_PRF_DERIVE,
    CKM_NSS_IKE_PRF_PLUS_DERIVE,
    CKM_NSS_IKE_PRF_DERIVE,
    CKM_SHA_1_HMAC,
    CKM_SHA256_HMAC,
    CKM_SHA384_HMAC,
    CKM_SHA512_HMAC,
    CKM_GENERIC_SECRET_KEY_GEN,
    CKM_EXTRACT_KEY_FROM_KEY,
    CKM_CONCATENATE_BASE_AND_KEY,
    CKM_CONCATENATE_BASE_AND_DATA,
    CKM_CONCATENATE_DATA_AND_BASE,
    CKM_HKDF_DERIVE,
};

static void start(void)
{
    harness_conf("%s", CONF_MANUAL);
    require_ok(f->C_Initialize(NULL));
}

/* Blank padded, no NUL, printable (PKCS#11 2.40, 3.1) */
static void expect_padded(const void *text, size_t len, const char *what)
{
    const unsigned char *s = text;
    bool blank = false;
    for (size_t i = 0; i < len; i++)
        if (s[i] < 0x20 || s[i] == 0x7f) {
            expect(false, "%s: byte %zu is 0x%02x", what, i, s[i]);
            return;
        }
    for (size_t i = len; i-- > 0 && s[i] == ' ';)
        blank = true;
    expect(blank || len == 0 || s[len - 1] != '\0', "%s is not padded", what);
}

static void test_info(void **state)
{
    (void)state;
    CK_INFO *info = guard_buffer(sizeof *info);
    start();
    expect_rv(CKR_ARGUMENTS_BAD, f->C_GetInfo(NULL));
    expect_ok(f->C_GetInfo(info));
    expect(info->cryptokiVersion.major == 2 || info->cryptokiVersion.major == 3, "version %d",
           info->cryptokiVersion.major);
    expect(info->flags == 0, "flags 0x%lx", info->flags);
    expect_padded(info->manufacturerID, 32, "manufacturerID");
    expect_padded(info->libraryDescription, 32, "libraryDescription");
}

static void test_slots(void **state)
{
    (void)state;
    CK_SLOT_ID slots[8];
    CK_ULONG n = 0;
    start();
    for (int present = 0; present < 2; present++) {
        CK_BBOOL tokens = present ? CK_TRUE : CK_FALSE;
        expect_rv(CKR_ARGUMENTS_BAD, f->C_GetSlotList(tokens, NULL, NULL));
        n = 77;
        expect_ok(f->C_GetSlotList(tokens, NULL, &n));
        expect(n == 2, "%lu slots", n);
        for (CK_ULONG room = 0; room < 2; room++) {
            CK_SLOT_ID *few = guard_buffer(room * sizeof *few);
            n = room;
            expect_rv(CKR_BUFFER_TOO_SMALL, f->C_GetSlotList(tokens, few, &n));
            expect(n == 2, "%lu slots", n);
        }
        n = 2;
        expect_ok(f->C_GetSlotList(tokens, guard_buffer(2 * sizeof *slots), &n));
        n = 8;
        expect_ok(f->C_GetSlotList(tokens, slots, &n));
        expect(n == 2 && slots[0] != slots[1], "%lu slots", n);
    }
    static const char *const labels[] = {"main", "strict"};
    CK_TOKEN_INFO one, two, again;
    expect_ok(f->C_GetTokenInfo(slots[0], &one));
    expect_ok(f->C_GetTokenInfo(slots[1], &two));
    expect(memcmp(one.serialNumber, two.serialNumber, 16) != 0, "two tokens of one serial number");
    expect_ok(f->C_Finalize(NULL));
    require_ok(f->C_Initialize(NULL));
    expect_ok(f->C_GetTokenInfo(slots[0], &again));
    expect(memcmp(one.serialNumber, again.serialNumber, 16) == 0, "another serial number the next time");
    for (CK_ULONG i = 0; i < n; i++) {
        CK_SLOT_INFO *slot = guard_buffer(sizeof *slot);
        CK_TOKEN_INFO *token = guard_buffer(sizeof *token);
        char padded[33];
        expect_case("slot %lu", slots[i]);
        expect_ok(f->C_GetSlotInfo(slots[i], slot));
        expect(slot->flags & CKF_TOKEN_PRESENT, "flags 0x%lx", slot->flags);
        /* its keyring can go, and the flag of a slot never changes */
        expect(slot->flags & CKF_REMOVABLE_DEVICE, "flags 0x%lx", slot->flags);
        expect_padded(slot->slotDescription, 64, "slotDescription");
        expect_padded(slot->manufacturerID, 32, "manufacturerID");
        expect_ok(f->C_GetTokenInfo(slots[i], token));
        snprintf(padded, sizeof padded, "%-32s", labels[i]);
        expect(memcmp(token->label, padded, 32) == 0, "label \"%.32s\"", token->label);
        expect_padded(token->manufacturerID, 32, "manufacturerID");
        expect_padded(token->model, 16, "model");
        expect_padded(token->serialNumber, 16, "serialNumber");
        expect(token->flags & CKF_RNG, "no CKF_RNG");
        expect(token->flags & CKF_TOKEN_INITIALIZED, "no CKF_TOKEN_INITIALIZED");
        expect(!(token->flags & (CKF_LOGIN_REQUIRED | CKF_WRITE_PROTECTED | CKF_CLOCK_ON_TOKEN |
                                 CKF_SO_PIN_LOCKED | CKF_USER_PIN_LOCKED)),
               "flags 0x%lx", token->flags);
        expect(token->ulSessionCount == 0 && token->ulRwSessionCount == 0, "%lu sessions",
               token->ulSessionCount);
        expect_rv(CKR_ARGUMENTS_BAD, f->C_GetSlotInfo(slots[i], NULL));
        expect_rv(CKR_ARGUMENTS_BAD, f->C_GetTokenInfo(slots[i], NULL));
    }
    const CK_SLOT_ID wrong[] = {2, 1000, 1UL << 32, 1UL << 63, ~0UL};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CK_SLOT_INFO slot;
        CK_TOKEN_INFO token;
        CK_MECHANISM_INFO mechanism;
        CK_SESSION_HANDLE s;
        expect_case("slot 0x%lx", wrong[i]);
        expect_rv(CKR_SLOT_ID_INVALID, f->C_GetSlotInfo(wrong[i], &slot));
        expect_rv(CKR_SLOT_ID_INVALID, f->C_GetTokenInfo(wrong[i], &token));
        expect_rv(CKR_SLOT_ID_INVALID, f->C_GetMechanismList(wrong[i], NULL, &n));
        expect_rv(CKR_SLOT_ID_INVALID, f->C_GetMechanismInfo(wrong[i], CKM_SHA256_HMAC, &mechanism));
        expect_rv(CKR_SLOT_ID_INVALID, f->C_OpenSession(wrong[i], CKF_SERIAL_SESSION, NULL, NULL, &s));
        expect_rv(CKR_SLOT_ID_INVALID, f->C_CloseAllSessions(wrong[i]));
    }
}

static void test_mechanism_list(void **state)
{
    (void)state;
    CK_MECHANISM_TYPE list[64];
    CK_ULONG n = 0, all = 64;
    start();
    CK_SLOT_ID slot = harness_slot("main");
    expect_rv(CKR_ARGUMENTS_BAD, f->C_GetMechanismList(slot, NULL, NULL));
    expect_ok(f->C_GetMechanismList(slot, NULL, &n));
    expect_ok(f->C_GetMechanismList(slot, list, &all));
    require(n == all && n >= sizeof promised / sizeof *promised, "%lu, %lu mechanisms", n, all);
    CK_ULONG few = n - 1;
    expect_rv(CKR_BUFFER_TOO_SMALL, f->C_GetMechanismList(slot, guard_buffer(few * sizeof *list), &few));
    expect(few == n, "%lu", few);
    expect_ok(f->C_GetMechanismList(slot, guard_buffer(n * sizeof *list), &n));
    for (size_t k = 0; k < sizeof promised / sizeof *promised; k++) {
        bool there = false;
        for (CK_ULONG i = 0; i < n; i++)
            there |= list[i] == promised[k];
        expect(there, "mechanism 0x%lx is not in the list", promised[k]);
    }
    for (CK_ULONG i = 0; i < n; i++) {
        CK_MECHANISM_INFO *info = guard_buffer(sizeof *info);
        expect_case("mechanism 0x%lx", list[i]);
        for (CK_ULONG k = 0; k < i; k++)
            expect(list[k] != list[i], "is there twice");
        expect_rv(CKR_ARGUMENTS_BAD, f->C_GetMechanismInfo(slot, list[i], NULL));
        expect_ok(f->C_GetMechanismInfo(slot, list[i], info));
        expect(info->ulMinKeySize <= info->ulMaxKeySize, "%lu to %lu", info->ulMinKeySize,
               info->ulMaxKeySize);
        CK_FLAGS what = CKF_ENCRYPT | CKF_DECRYPT | CKF_DIGEST | CKF_SIGN | CKF_VERIFY | CKF_GENERATE |
                        CKF_WRAP | CKF_UNWRAP | CKF_DERIVE;
        expect(info->flags & what, "does nothing: flags 0x%lx", info->flags);
        expect(!(info->flags & (CKF_HW | CKF_EXTENSION)), "flags 0x%lx", info->flags);
    }
    expect_case("%s", "");
    const struct {
        CK_MECHANISM_TYPE type;
        CK_FLAGS flags;
    } does[] = {{CKM_IKE2_PRF_PLUS_DERIVE, CKF_DERIVE},
                {CKM_IKE_PRF_DERIVE, CKF_DERIVE},
                {CKM_SHA256_HMAC, CKF_SIGN | CKF_VERIFY},
                {CKM_SHA_1_HMAC, CKF_SIGN | CKF_VERIFY},
                {CKM_GENERIC_SECRET_KEY_GEN, CKF_GENERATE},
                {CKM_HKDF_DERIVE, CKF_DERIVE},
                {CKM_AES_KEY_WRAP_KWP, CKF_WRAP}};
    for (size_t i = 0; i < sizeof does / sizeof *does; i++) {
        CK_MECHANISM_INFO info = {0};
        expect_ok(f->C_GetMechanismInfo(slot, does[i].type, &info));
        expect((info.flags & (CKF_SIGN | CKF_VERIFY | CKF_GENERATE | CKF_DERIVE | CKF_WRAP | CKF_DIGEST)) ==
                   does[i].flags,
               "mechanism 0x%lx: flags 0x%lx", does[i].type, info.flags);
    }
    CK_MECHANISM_INFO info;
    const CK_MECHANISM_TYPE no[] = {CKM_RSA_PKCS,
                                    CKM_SHA256,
                                    CKM_AES_CMAC,
                                    CKM_SHA256_HMAC_GENERAL,
                                    0x4030 /* IKE1_PRF */,
                                    0x4031 /* IKE1_EXTENDED */,
                                    CKM_XOR_BASE_AND_DATA,
                                    CKM_VENDOR_DEFINED,
                                    ~0UL};
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        expect_rv(CKR_MECHANISM_INVALID, f->C_GetMechanismInfo(slot, no[i], &info));
}

/* ---- sessions ---- */

static void test_sessions(void **state)
{
    (void)state;
    CK_SESSION_HANDLE ro = 0, rw = 0, other = 0;
    CK_SESSION_INFO *info = guard_buffer(sizeof *info);
    CK_TOKEN_INFO token;
    start();
    CK_SLOT_ID slot = harness_slot("main");
    expect_rv(CKR_ARGUMENTS_BAD, f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, NULL));
    expect_rv(CKR_SESSION_PARALLEL_NOT_SUPPORTED, f->C_OpenSession(slot, 0, NULL, NULL, &ro));
    expect_rv(CKR_SESSION_PARALLEL_NOT_SUPPORTED, f->C_OpenSession(slot, CKF_RW_SESSION, NULL, NULL, &ro));
    require_ok(f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &ro));
    require_ok(f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, &info, NULL, &rw));
    require_ok(f->C_OpenSession(harness_slot("strict"), CKF_SERIAL_SESSION, NULL, NULL, &other));
    expect(ro && rw && other && ro != rw && ro != other && rw != other, "handles %lu %lu %lu", ro, rw, other);
    expect_rv(CKR_ARGUMENTS_BAD, f->C_GetSessionInfo(ro, NULL));
    expect_ok(f->C_GetSessionInfo(ro, info));
    expect(info->slotID == slot && info->state == CKS_RO_PUBLIC_SESSION &&
               info->flags == CKF_SERIAL_SESSION && info->ulDeviceError == 0,
           "slot %lu state %lu flags %lx", info->slotID, info->state, info->flags);
    expect_ok(f->C_GetSessionInfo(rw, info));
    expect(info->slotID == slot && info->state == CKS_RW_PUBLIC_SESSION &&
               info->flags == (CKF_SERIAL_SESSION | CKF_RW_SESSION),
           "slot %lu state %lu flags %lx", info->slotID, info->state, info->flags);
    expect_ok(f->C_GetTokenInfo(slot, &token));
    expect(token.ulSessionCount == 2 && token.ulRwSessionCount == 1, "%lu sessions, %lu rw",
           token.ulSessionCount, token.ulRwSessionCount);
    expect_ok(f->C_CloseSession(ro));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_CloseSession(ro));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_GetSessionInfo(ro, info));
    expect_ok(f->C_CloseAllSessions(slot));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_GetSessionInfo(rw, info));
    expect_ok(f->C_GetSessionInfo(other, info));
    expect_ok(f->C_CloseAllSessions(slot));
    expect_ok(f->C_GetTokenInfo(slot, &token));
    expect(token.ulSessionCount == 0 && token.ulRwSessionCount == 0, "%lu sessions", token.ulSessionCount);
}

static int compare_handles(const void *a, const void *b)
{
    CK_ULONG x = *(const CK_ULONG *)a, y = *(const CK_ULONG *)b;
    return x < y ? -1 : x > y;
}

static void test_many_sessions(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    static CK_SESSION_HANDLE all[MANY];
    CK_SESSION_INFO info;
    CK_TOKEN_INFO token;
    CK_ULONG n = 0, open = 0;
    CK_RV rv = CKR_OK;
    start();
    CK_SLOT_ID slot = harness_slot("main");
    require_ok(f->C_GetTokenInfo(slot, &token));
    while (n < 1000 && (rv = f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &all[n])) == CKR_OK)
        n++;
    open = n;
    if (rv != CKR_OK)
        expect_rv(CKR_SESSION_COUNT, rv);
    if (token.ulMaxSessionCount != CK_EFFECTIVELY_INFINITE &&
        token.ulMaxSessionCount != CK_UNAVAILABLE_INFORMATION)
        expect(open == token.ulMaxSessionCount || (rv == CKR_OK && open < token.ulMaxSessionCount),
               "%lu of %lu sessions", open, token.ulMaxSessionCount);
    expect(open >= 64, "only %lu sessions", open);
    expect_ok(f->C_CloseAllSessions(slot));
    for (CK_ULONG i = 0; i < open; i++)
        expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_GetSessionInfo(all[i], &info));
    /* Handles are never used again. */
    while (n < MANY) {
        require_ok(f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &all[n]));
        require_ok(f->C_CloseSession(all[n]));
        n++;
    }
    qsort(all, n, sizeof *all, compare_handles);
    for (CK_ULONG i = 1; i < n; i++)
        expect(all[i] != all[i - 1], "handle %lu twice", all[i]);
}

/* Every function that takes a session refuses a closed one before it looks at anything else. */
static void test_closed_session(void **state)
{
    (void)state;
    start();
    CK_SESSION_HANDLE s = harness_session_rw("main");
    expect_ok(f->C_CloseSession(s));
    for (size_t i = every_find("C_CloseSession"); i < EVERY_2_40; i++) {
        static const char *const others[] = {"C_CloseAllSessions", "C_WaitForSlotEvent",
                                             "C_GetFunctionStatus", "C_CancelFunction"};
        bool other = false;
        for (size_t k = 0; k < sizeof others / sizeof *others; k++)
            other |= strcmp(every_name[i], others[k]) == 0;
        if (other)
            continue;
        CK_ULONG a[10] = {s};
        expect_case("%s", every_name[i]);
        expect_rv_in(every_call(f, i, a), CKR_SESSION_HANDLE_INVALID, CKR_FUNCTION_NOT_SUPPORTED,
                     CKR_ARGUMENTS_BAD);
    }
    /* and with good arguments otherwise, nothing but that */
    CK_ULONG n = 32;
    CK_BYTE out[64];
    CK_OBJECT_HANDLE o;
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0}, generate = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    struct template t;
    template_secret(&t);
    expect_case("%s", "");
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_GenerateRandom(s, out, 32));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_FindObjectsInit(s, NULL, 0));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_FindObjects(s, &o, 1, &n));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_FindObjectsFinal(s));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_CreateObject(s, t.a, t.n, &o));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_DestroyObject(s, 1));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_GetAttributeValue(s, 1, t.a, t.n));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_SignInit(s, &hmac, 1));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_Sign(s, out, 32, out, &n));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_GenerateKey(s, &generate, t.a, t.n, &o));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_DeriveKey(s, &hmac, 1, t.a, t.n, &o));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_Login(s, CKU_USER, out, 32));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_Logout(s));
}

/* A session's objects end with it; others can use them while it lives; other tokens never see them. */
static void test_session_objects(void **state)
{
    (void)state;
    uint8_t value[32] = {1, 2, 3};
    CK_ULONG size;
    start();
    CK_SESSION_HANDLE a = harness_session("main"), b = harness_session("main"), c = harness_session("strict");
    CK_OBJECT_HANDLE o = object_import(a, value, sizeof value);
    expect(object_number(b, o, CKA_VALUE_LEN) == 32, "not seen in another session of the token");
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_GetObjectSize(c, o, &size));
    expect(object_number(c, o, CKA_VALUE_LEN) == CK_UNAVAILABLE_INFORMATION, "seen in another token");
    expect_ok(f->C_CloseSession(a));
    CK_ATTRIBUTE len = {CKA_VALUE_LEN, &size, sizeof size};
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_GetAttributeValue(b, o, &len, 1));
    CK_OBJECT_HANDLE again = object_import(b, value, sizeof value);
    expect(again != o, "the handle is used again");
}

/* ---- random numbers ---- */

static void test_random(void **state)
{
    (void)state;
    start();
    CK_SESSION_HANDLE s = harness_session("main");
    uint8_t *a = guard_buffer(32), *b = guard_buffer(32), *one = guard_buffer(1);
    expect_ok(f->C_GenerateRandom(s, a, 32));
    expect_ok(f->C_GenerateRandom(s, b, 32));
    expect(memcmp(a, b, 32) != 0, "the same twice");
    expect_rv(CKR_ARGUMENTS_BAD, f->C_GenerateRandom(s, NULL, 32));
    CK_RV rv = f->C_GenerateRandom(s, guard_buffer(0), 0);
    expect_rv_in(rv, CKR_OK, CKR_ARGUMENTS_BAD);
    bool differs = false;
    for (int i = 0; i < 64; i++) {
        expect_ok(f->C_GenerateRandom(s, one, 1));
        differs |= *one != 0xA5;
    }
    expect(differs, "64 times the same byte");
    static uint8_t big[1 << 20];
    expect_ok(f->C_GenerateRandom(s, big, sizeof big));
    unsigned counts[256] = {0};
    for (size_t i = 0; i < sizeof big; i++)
        counts[big[i]]++;
    for (int i = 0; i < 256; i++) /* 4,096 expected, standard deviation 64 */
        expect(counts[i] > 3400 && counts[i] < 4800, "byte %d occurs %u times", i, counts[i]);
    expect_rv_in(f->C_SeedRandom(s, a, 32), CKR_OK, CKR_RANDOM_SEED_NOT_SUPPORTED,
                 CKR_FUNCTION_NOT_SUPPORTED);
}

/* ---- what is not supported ---- */

static void test_not_supported(void **state)
{
    (void)state;
    start();
    CK_SESSION_HANDLE s = harness_session_rw("main");
    CK_OBJECT_HANDLE ppk = object_by_id(s, MANUAL_1_ID, strlen(MANUAL_1_ID));
    CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
    uint8_t buffer[64] = {0};
    CK_ULONG n = sizeof buffer;
    CK_OBJECT_HANDLE o, o2;
    CK_CHAR label[32];
    memset(label, ' ', sizeof label);
    CK_CHAR pin[] = "1234";
    const CK_RV rvs[] = {
        f->C_InitToken(0, pin, 4, label),
        f->C_InitPIN(s, pin, 4),
        f->C_SetPIN(s, pin, 4, pin, 4),
        f->C_EncryptInit(s, &m, ppk),
        f->C_DecryptInit(s, &m, ppk),
        f->C_DigestInit(s, &m),
        f->C_DigestKey(s, ppk),
        f->C_SignRecoverInit(s, &m, ppk),
        f->C_VerifyRecoverInit(s, &m, ppk),
        f->C_GenerateKeyPair(s, &m, NULL, 0, NULL, 0, &o, &o2),
        f->C_DigestEncryptUpdate(s, buffer, 1, buffer, &n),
        f->C_DecryptDigestUpdate(s, buffer, 1, buffer, &n),
        f->C_SignEncryptUpdate(s, buffer, 1, buffer, &n),
        f->C_DecryptVerifyUpdate(s, buffer, 1, buffer, &n),
    };
    for (size_t i = 0; i < sizeof rvs / sizeof *rvs; i++) {
        expect_case("number %zu", i);
        expect_rv(CKR_FUNCTION_NOT_SUPPORTED, rvs[i]);
    }
    expect_case("%s", "");
    expect_rv(CKR_FUNCTION_NOT_PARALLEL, f->C_GetFunctionStatus(s));
    expect_rv(CKR_FUNCTION_NOT_PARALLEL, f->C_CancelFunction(s));
    expect_rv_in(f->C_GetOperationState(s, buffer, &n), CKR_FUNCTION_NOT_SUPPORTED,
                 CKR_OPERATION_NOT_INITIALIZED, CKR_STATE_UNSAVEABLE);
    expect_ok(f->C_SignInit(s, &m, ppk));
    expect_rv_in(f->C_GetOperationState(s, buffer, &n), CKR_FUNCTION_NOT_SUPPORTED, CKR_STATE_UNSAVEABLE);
    expect_rv_in(f->C_SetOperationState(s, buffer, 64, ppk, ppk), CKR_FUNCTION_NOT_SUPPORTED,
                 CKR_SAVED_STATE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_info),
        TOKEN_TEST(test_slots),
        TOKEN_TEST(test_mechanism_list),
        TOKEN_TEST(test_sessions),
        TOKEN_TEST(test_many_sessions),
        TOKEN_TEST(test_closed_session),
        TOKEN_TEST(test_session_objects),
        TOKEN_TEST(test_random),
        TOKEN_TEST(test_not_supported),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
