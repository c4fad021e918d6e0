/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys never leave: what can be done with the object itself: attributes, copies, searches, the state of an
 * operation, handles in other tokens, after their end, and after logging out. */
#include "guard.h"
#include "policy.h"
#include "type6.h"

/* ---- the object itself ---- */

static void test_object(void **state)
{
    (void)state;
    policy_start();
    static const CK_ATTRIBUTE_TYPE bools[] = {CKA_TOKEN,
                                              CKA_PRIVATE,
                                              CKA_SENSITIVE,
                                              CKA_EXTRACTABLE,
                                              CKA_MODIFIABLE,
                                              CKA_COPYABLE,
                                              CKA_DESTROYABLE,
                                              CKA_ENCRYPT,
                                              CKA_DECRYPT,
                                              CKA_WRAP,
                                              CKA_UNWRAP,
                                              CKA_SIGN,
                                              CKA_VERIFY,
                                              CKA_DERIVE,
                                              CKA_ALWAYS_SENSITIVE,
                                              CKA_NEVER_EXTRACTABLE,
                                              CKA_WRAP_WITH_TRUSTED,
                                              CKA_TRUSTED,
                                              CKA_LOCAL};
    for (size_t i = 0; i < n_kinds; i++) {
        struct kind *k = &kinds[i];
        for (int ro = 0; ro < 2; ro++) {
            CK_SESSION_HANDLE s = ro ? k->ro : k->s;
            CK_OBJECT_HANDLE copy = 0;
            CK_BBOOL b;
            CK_ULONG number = 1;
            for (size_t x = 0; x < sizeof bools / sizeof *bools; x++)
                for (b = 0; b < 2; b++) {
                    CK_ATTRIBUTE a = {bools[x], &b, 1};
                    expect_case("%s, attribute 0x%lx = %d", k->name, bools[x], b);
                    cases += 2;
                    expect_error(f->C_SetAttributeValue(s, k->key, &a, 1));
                    expect_error(f->C_CopyObject(s, k->key, &a, 1, &copy));
                }
            const CK_ATTRIBUTE others[] = {{CKA_VALUE_LEN, &number, sizeof number},
                                           {CKA_KEY_TYPE, &number, sizeof number},
                                           {CKA_CLASS, &number, sizeof number},
                                           {CKA_ALLOWED_MECHANISMS, &number, 0},
                                           {CKA_ALLOWED_MECHANISMS, &number, sizeof number},
                                           {CKA_VALUE, &number, 1},
                                           {CKA_LABEL, &number, 1},
                                           {CKA_ID, &number, 1},
                                           {CKA_CHECK_VALUE, &number, 3}};
            for (size_t x = 0; x < sizeof others / sizeof *others; x++) {
                CK_ATTRIBUTE a = others[x];
                expect_case("%s, attribute 0x%lx", k->name, a.type);
                cases += 2;
                expect_error(f->C_SetAttributeValue(s, k->key, &a, 1));
                expect_error(f->C_CopyObject(s, k->key, &a, 1, &copy));
            }
            cases++;
            expect_error(f->C_CopyObject(s, k->key, NULL, 0, &copy));
            /* a search is no oracle */
            for (size_t len = 1; len <= k->len; len++) {
                CK_ATTRIBUTE a = {CKA_VALUE, k->value, len};
                CK_ULONG n = 0;
                expect_case("%s, search for the first %zu bytes", k->name, len);
                cases++;
                if (f->C_FindObjectsInit(s, &a, 1) == CKR_OK) {
                    if (f->C_FindObjects(s, &copy, 1, &n) == CKR_OK)
                        expect(n == 0, "found");
                    expect_ok(f->C_FindObjectsFinal(s));
                }
            }
            /* the state of an operation */
            CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
            uint8_t operation[4096];
            CK_ULONG n = sizeof operation;
            if (k->kek || (k->psk && k->strict))
                continue;
            expect_case("%s", k->name);
            cases += 3;
            expect_ok(f->C_SignInit(s, &m, k->key));
            expect_ok(f->C_SignUpdate(s, operation, 3));
            expect_error(f->C_GetOperationState(s, operation, &n));
            expect_error(f->C_SetOperationState(s, operation, 64, k->key, k->key));
            n = sizeof operation;
            expect_ok(f->C_SignFinal(s, operation, &n));
        }
        /* in another token its handle means nothing */
        for (size_t j = 0; j < n_kinds; j++) {
            CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
            CK_BBOOL b;
            CK_ATTRIBUTE a = {CKA_TOKEN, &b, 1};
            if (strcmp(kinds[j].token, k->token) == 0)
                continue;
            expect_case("%s in token %s", k->name, kinds[j].token);
            CK_ULONG n = 0;
            cases += 5;
            expect_rv(CKR_KEY_HANDLE_INVALID, f->C_SignInit(kinds[j].s, &m, k->key));
            expect_error(f->C_WrapKey(kinds[j].s, &kwp, kinds[j].callers_kek, k->key, NULL, &n));
            expect_error(f->C_WrapKey(kinds[j].s, &kwp, k->key, kinds[j].callers_kek, NULL, &n));
            expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_GetAttributeValue(kinds[j].s, k->key, &a, 1));
            CK_OBJECT_HANDLE caller = object_import(kinds[j].s, known, sizeof known), o;
            struct template t;
            derive_template(&t, 32);
            expect_error(
                derive_prf_plus(kinds[j].s, false, &oracle_prfs[1], caller, k->key, NULL, 0, &t, &o));
        }
    }
}

/* ---- a handle after the end of what it meant ---- */

/* Nothing can be done by this handle, in this session, in any role. */
static void expect_dead(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_OBJECT_HANDLE kek)
{
    static const CK_MECHANISM_TYPE derive[] = {CKM_EXTRACT_KEY_FROM_KEY, CKM_CONCATENATE_BASE_AND_KEY,
                                               CKM_CONCATENATE_BASE_AND_DATA};
    CK_OBJECT_HANDLE caller = object_import(s, known, sizeof known), out = 0;
    CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE_PTR)(uintptr_t) "xx", 2};
    CK_ULONG n = 0, bit = 0;
    uint8_t bytes[64];
    struct template t;
    CK_BBOOL b = CK_TRUE;
    CK_ATTRIBUTE a = {CKA_SENSITIVE, &b, 1};

    for (size_t p = 0; p < 4; p++) {
        CK_MECHANISM m = {oracle_prfs[p].hmac, NULL, 0};
        expect_rv(CKR_KEY_HANDLE_INVALID, f->C_SignInit(s, &m, o));
        expect_rv(CKR_KEY_HANDLE_INVALID, f->C_VerifyInit(s, &m, o));
        derive_template(&t, 32);
        expect_rv(CKR_KEY_HANDLE_INVALID, derive_prf_plus(s, false, &oracle_prfs[p], o, 0, "x", 1, &t, &out));
        expect_rv(CKR_KEY_HANDLE_INVALID,
                  derive_prf_plus(s, false, &oracle_prfs[p], caller, o, "x", 1, &t, &out));
        cases += 4;
    }
    for (size_t i = 0; i < 3; i++) {
        const void *parameters[] = {&bit, &caller, &data};
        const size_t sizes[] = {sizeof bit, sizeof caller, sizeof data};
        derive_template(&t, i == 0 ? 16 : 0);
        expect_rv(CKR_KEY_HANDLE_INVALID, derive_any(s, derive[i], parameters[i], sizes[i], o, &t, &out));
    }
    derive_template(&t, 0);
    expect_rv(CKR_KEY_HANDLE_INVALID,
              derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &o, sizeof o, caller, &t, &out));
    expect_rv(CKR_KEY_HANDLE_INVALID, f->C_WrapKey(s, &kwp, kek, o, NULL, &n));
    expect_rv(CKR_WRAPPING_KEY_HANDLE_INVALID, f->C_WrapKey(s, &kwp, o, caller, NULL, &n));
    derive_template(&t, 0);
    expect_rv(CKR_UNWRAPPING_KEY_HANDLE_INVALID, f->C_UnwrapKey(s, &kwp, o, bytes, 40, t.a, t.n, &out));
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_GetAttributeValue(s, o, &a, 1));
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_SetAttributeValue(s, o, &a, 1));
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_CopyObject(s, o, NULL, 0, &out));
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_GetObjectSize(s, o, &n));
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_DestroyObject(s, o));
    cases += 12;
    expect_ok(f->C_DestroyObject(s, caller));
    guard_release();
}

static CK_OBJECT_HANDLE derived(const struct kind *k, CK_SESSION_HANDLE s)
{
    CK_OBJECT_HANDLE o = 0;
    struct template t;

    template_vary(&t, 0, 32);
    /* a PSK's business is AUTH's inner key, 32 bytes as well */
    require_ok(k->psk ? derive_prf(s, false, &oracle_prfs[1], DERIVE_PRF, k->key, 0, "Key Pad for IKEv2", 17,
                                   NULL, 0, &t, &o)
                      : derive_prf_plus(s, false, &oracle_prfs[1], k->key, 0, SEED_32, 32, &t, &o));
    guard_release();
    return o;
}

/* A derived key, destroyed, or gone with its session: its handle means nothing more, in no session, whatever
 * keys are made afterwards; and a MAC that was begun with it is one over the whole key, or an error. */
static void test_handles(void **state)
{
    (void)state;
    policy_start();
    for (size_t i = 0; i < n_kinds; i++)
        for (int by_session = 0; by_session < 2; by_session++) {
            struct kind *k = &kinds[i];
            CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
            uint8_t value[64], mac[32], want[64];
            CK_ULONG n = sizeof mac;
            if (k->kek)
                continue;
            expect_case("%s, %s", k->name, by_session ? "its session closed" : "destroyed");
            CK_SESSION_HANDLE owner = harness_session_rw(k->token);
            CK_OBJECT_HANDLE o = derived(k, owner);
            /* another session sees it, and uses it as its owner does */
            expect(object_number(k->ro, o, CKA_VALUE_LEN) == 32, "not seen in another session");
            require_ok(f->C_SignInit(k->s, &m, o));
            if (by_session)
                expect_ok(f->C_CloseSession(owner));
            else
                expect_ok(f->C_DestroyObject(owner, o));
            CK_RV rv = f->C_Sign(k->s, (CK_BYTE_PTR)(uintptr_t)IDENTITY, sizeof IDENTITY, mac, &n);
            if (k->psk)
                oracle_hmac(&oracle_prfs[1], k->value, k->len, "Key Pad for IKEv2", 17, value);
            else
                oracle_prf_plus(&oracle_prfs[1], k->value, k->len, SEED_32, 32, value, 32);
            oracle_hmac(&oracle_prfs[1], value, 32, IDENTITY, sizeof IDENTITY, want);
            expect(rv != CKR_OK || (n == 32 && memcmp(mac, want, 32) == 0), "a MAC by another key");
            for (int more = 0; more < 200; more++)
                expect(object_import(k->s, known, sizeof known) != o && derived(k, k->s) != o,
                       "its handle was given again");
            expect_dead(k->s, o, k->callers_kek);
            expect_dead(k->ro, o, k->callers_kek);
            cases += 402;
        }
}

/* ---- after logging out ---- */

#define MASTER "the master key of this test"

static void start_sealed(CK_SESSION_HANDLE *s)
{
    char texts[3][600];

    type6_make(MASTER, "a manual PPK, of thirty-two bytes", texts[0], sizeof texts[0]);
    type6_make(MASTER, "a pre-shared key", texts[1], sizeof texts[1]);
    type6_make(MASTER, "a card's key, of 32 bytes length", texts[2], sizeof texts[2]);
    harness_conf("keyring sealed\n key-encryption-key card key 6 %s\n peer delta\n  ppk manual id one key 6 "
                 "%s\n  pre-shared-key 6 %s\n",
                 texts[2], texts[0], texts[1]);
    require_ok(f->C_Initialize(NULL));
    *s = harness_session_rw("sealed");
    require_ok(f->C_Login(*s, CKU_USER, (CK_BYTE_PTR)(uintptr_t)MASTER, strlen(MASTER)));
}

/* What was derived from a private key is private, unless its template says otherwise, and goes; the rest is
 * as if it had never been there; and the same after another login, as far as the derived key goes. */
static void test_logout(void **state)
{
    (void)state;
    CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
    CK_SESSION_HANDLE s;
    CK_OBJECT_HANDLE mine, kek, o = 0;
    uint8_t mac[64], want[64];
    CK_ULONG n = sizeof mac;
    struct template t;
    start_sealed(&s);
    CK_OBJECT_HANDLE gone[] = {object_by_id(s, "one", 3), object_by_label(s, "delta/psk"),
                               object_by_label(s, "card"), 0};
    for (size_t i = 0; i < 3; i++)
        expect(object_bool(s, gone[i], CKA_PRIVATE) == 1, "object %zu is not private", i);
    template_vary(&t, 0, 32);
    require_ok(derive_prf_plus(s, false, &oracle_prfs[1], gone[0], 0, "x", 1, &t, &gone[3]));
    expect(object_bool(s, gone[3], CKA_PRIVATE) == 1, "what was derived is not private");
    require_ok(f->C_SignInit(s, &m, gone[0]));
    require_ok(f->C_Logout(s));
    CK_RV rv = f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t) "x", 1, mac, &n);
    oracle_hmac(&oracle_prfs[1], "a manual PPK, of thirty-two bytes", 33, "x", 1, want);
    expect(rv != CKR_OK || memcmp(mac, want, 32) == 0, "a MAC by another key");
    mine = object_import(s, known, 32);
    kek = kwp_import(s, known, 32, (CK_ATTRIBUTE_TYPE[]){CKA_WRAP, 0});
    for (size_t i = 0; i < 4; i++) {
        expect_case("object %zu", i);
        expect_dead(s, gone[i], kek);
    }
    t = (struct template){.n = 0};
    expect(object_search(s, &t, NULL, 0, NULL) == 3,
           "a search sees more than the peer and the caller's keys");
    require_ok(f->C_Login(s, CKU_USER, (CK_BYTE_PTR)(uintptr_t)MASTER, strlen(MASTER)));
    expect_case("derived, after the second login");
    expect_dead(s, gone[3], kek);
    derive_template(&t, 32);
    expect_ok(derive_prf_plus(s, false, &oracle_prfs[1], mine, 0, "x", 1, &t, &o));
    guard_release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_object), TOKEN_TEST(test_handles),
                                       TOKEN_TEST(test_logout)};
    return policy_main("objects", 8000, tests, sizeof tests / sizeof *tests);
}
