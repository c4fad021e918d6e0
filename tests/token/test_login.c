/* SPDX-License-Identifier: BSD-2-Clause */
/* C_Login and C_Logout: the master key as the user PIN, which opens the secrets of Type 6. */
#include "derive.h"
#include "guard.h"
#include "kwp.h"
#include "type6.h"

static void start(void)
{
    harness_conf("%s", CONF_MANUAL);
    require_ok(f->C_Initialize(NULL));
}

#define MASTER "correct horse battery staple"

static const char sealed_psk[] = "a pre-shared key of Type 6";

static void start_sealed(void)
{
    char text[600];
    type6_make(MASTER, sealed_psk, text, sizeof text);
    harness_conf(
        "keyring sealed\n peer delta\n  pre-shared-key 6 %s\n  address 10.9.0.0 255.255.0.0\n" CONF_MANUAL,
        text);
    require_ok(f->C_Initialize(NULL));
}

/* Can the sealed PSK be used, with this handle from an earlier login or as a search finds it? Then its MAC
 * must be right. */
static bool usable(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *handle)
{
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE mac[32], want[64], data[3] = "abc";
    CK_ULONG n = sizeof mac;
    if (!*handle) {
        struct template t = {.n = 0};
        template_text(&t, CKA_LABEL, "delta/psk");
        template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
        if (object_search(s, &t, handle, 1, NULL) == 0)
            return false;
    }
    CK_RV rv = f->C_SignInit(s, &hmac, *handle);
    if (rv == CKR_OK && (rv = f->C_Sign(s, data, 3, mac, &n)) == CKR_OK) {
        oracle_hmac(&oracle_prfs[1], sealed_psk, strlen(sealed_psk), data, 3, want);
        expect(n == 32 && memcmp(mac, want, 32) == 0, "another MAC");
        return true;
    }
    expect_rv_in(rv, CKR_USER_NOT_LOGGED_IN, CKR_KEY_HANDLE_INVALID);
    return false;
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE who, const char *pin)
{
    return f->C_Login(s, who, guard_frozen(pin, strlen(pin)), strlen(pin));
}

static CK_STATE state_of(CK_SESSION_HANDLE s)
{
    CK_SESSION_INFO info = {.state = 99};
    f->C_GetSessionInfo(s, &info);
    return info.state;
}

static void test_login(void **state)
{
    (void)state;
    CK_TOKEN_INFO token;
    start_sealed();
    CK_SLOT_ID slot = harness_slot("sealed");
    expect_ok(f->C_GetTokenInfo(slot, &token));
    expect(token.flags & CKF_LOGIN_REQUIRED, "flags 0x%lx", token.flags);
    expect(token.flags & CKF_USER_PIN_INITIALIZED, "flags 0x%lx", token.flags);
    expect(token.ulMinPinLen >= 1 && token.ulMaxPinLen >= sizeof MASTER - 1 &&
               token.ulMinPinLen <= token.ulMaxPinLen,
           "PIN of %lu to %lu bytes", token.ulMinPinLen, token.ulMaxPinLen);
    expect_ok(f->C_GetTokenInfo(harness_slot("main"), &token));
    expect(!(token.flags & CKF_LOGIN_REQUIRED), "token main has no sealed secrets, but flags 0x%lx",
           token.flags);
    CK_SESSION_HANDLE a = harness_session("sealed"), b = harness_session_rw("sealed"),
                      other = harness_session("main");
    CK_OBJECT_HANDLE o = 0, none = 0;
    expect(!usable(a, &none), "before login");
    expect_rv(CKR_USER_NOT_LOGGED_IN, f->C_Logout(a));
    expect_rv(CKR_PIN_INCORRECT, login(a, CKU_USER, "wrong"));
    expect_rv(CKR_PIN_INCORRECT, login(a, CKU_USER, MASTER "x"));
    expect_rv_in(login(a, CKU_USER, ""), CKR_PIN_INCORRECT, CKR_PIN_LEN_RANGE, CKR_ARGUMENTS_BAD);
    expect_rv_in(f->C_Login(a, CKU_USER, NULL, 5), CKR_ARGUMENTS_BAD, CKR_PIN_INCORRECT);
    expect_rv_in(f->C_Login(a, CKU_USER, NULL, 0), CKR_ARGUMENTS_BAD, CKR_PIN_INCORRECT, CKR_PIN_LEN_RANGE);
    expect_rv_in(f->C_Login(a, CKU_USER, guard_buffer(100000), 100000), CKR_PIN_LEN_RANGE, CKR_PIN_INCORRECT);
    expect_rv_in(f->C_Login(a, CKU_USER, guard_buffer(0), 0), CKR_PIN_LEN_RANGE, CKR_PIN_INCORRECT);
    expect_rv_in(login(a, CKU_SO, MASTER), CKR_USER_TYPE_INVALID, CKR_SESSION_READ_ONLY_EXISTS,
                 CKR_PIN_INCORRECT, CKR_USER_PIN_NOT_INITIALIZED);
    expect_rv_in(login(a, CKU_CONTEXT_SPECIFIC, MASTER), CKR_OPERATION_NOT_INITIALIZED,
                 CKR_USER_TYPE_INVALID);
    expect_rv(CKR_USER_TYPE_INVALID, login(a, 77, MASTER));
    expect(state_of(a) == CKS_RO_PUBLIC_SESSION, "state %lu", state_of(a));
    none = 0;
    expect(!usable(a, &none), "after wrong PINs");

    expect_ok(login(a, CKU_USER, MASTER));
    expect_rv(CKR_USER_ALREADY_LOGGED_IN, login(b, CKU_USER, MASTER));
    expect_rv_in(login(b, CKU_USER, "wrong"), CKR_USER_ALREADY_LOGGED_IN);
    expect(state_of(a) == CKS_RO_USER_FUNCTIONS && state_of(b) == CKS_RW_USER_FUNCTIONS, "states %lu, %lu",
           state_of(a), state_of(b));
    CK_SESSION_HANDLE later = harness_session("sealed");
    expect(state_of(later) == CKS_RO_USER_FUNCTIONS, "state %lu", state_of(later));
    expect(state_of(other) == CKS_RO_PUBLIC_SESSION, "a session of another token: state %lu",
           state_of(other));
    expect(usable(a, &o), "after login");
    expect(usable(b, &o), "in another session");

    expect_ok(f->C_Logout(b));
    expect(state_of(a) == CKS_RO_PUBLIC_SESSION && state_of(b) == CKS_RW_PUBLIC_SESSION, "states %lu, %lu",
           state_of(a), state_of(b));
    none = 0;
    expect(!usable(a, &none), "after logout");
    expect(!usable(a, &o), "after logout, with the handle from before");
    expect_rv(CKR_USER_NOT_LOGGED_IN, f->C_Logout(a));
    expect_rv(CKR_PIN_INCORRECT, login(a, CKU_USER, "wrong"));
    expect_ok(login(b, CKU_USER, MASTER));
    o = 0;
    expect(usable(a, &o), "after the second login");
    /* The last session's end is the end of the login. */
    expect_ok(f->C_CloseAllSessions(slot));
    a = harness_session("sealed");
    expect(state_of(a) == CKS_RO_PUBLIC_SESSION, "state %lu", state_of(a));
    none = 0;
    expect(!usable(a, &none), "after the last session was closed");
    expect_ok(f->C_Finalize(NULL));
    require_ok(f->C_Initialize(NULL));
    a = harness_session("sealed");
    none = 0;
    expect(!usable(a, &none), "after C_Finalize and C_Initialize");
    expect_case("the log");
    expect(strstr(harness_log(), MASTER) == NULL && strstr(harness_log(), sealed_psk) == NULL,
           "has the PIN or the secret");
}

/* A key-encryption key of Type 6 is seen, and wraps, only after the login. */
static void test_kek(void **state)
{
    static const char kek[] = "a KEK, of Type 6, for one card..";
    char text[600];
    uint8_t out[64];
    CK_OBJECT_HANDLE handle = 0, key = 0;
    CK_ULONG n = sizeof out;
    struct template t = {.n = 0}, aes = {.n = 0};
    (void)state;
    type6_make(MASTER, kek, text, sizeof text);
    harness_conf("keyring sealed\n key-encryption-key card key 6 %s\n", text);
    require_ok(f->C_Initialize(NULL));
    CK_SESSION_HANDLE s = harness_session("sealed");
    template_text(&t, CKA_LABEL, "card");
    expect(object_search(s, &t, NULL, 0, NULL) == 0, "seen before the login");
    require_ok(login(s, CKU_USER, MASTER));
    handle = object_only(s, &t);
    expect(object_bool(s, handle, CKA_PRIVATE) == 1, "not private");
    template_number(&aes, CKA_KEY_TYPE, CKK_AES);
    template_number(&aes, CKA_VALUE_LEN, 32);
    template_bool(&aes, CKA_EXTRACTABLE, true);
    require_ok(derive_prf_plus(s, false, &oracle_prfs[1], object_import(s, "a base key", 10), 0, "x", 1, &aes,
                               &key));
    expect_ok(f->C_WrapKey(s, &kwp, handle, key, out, &n));
    expect_ok(f->C_Logout(s));
    expect(object_search(s, &t, NULL, 0, NULL) == 0, "seen after the logout");
    n = sizeof out;
    expect_rv(CKR_WRAPPING_KEY_HANDLE_INVALID, f->C_WrapKey(s, &kwp, handle, key, out, &n));
    expect(strstr(harness_log(), kek) == NULL, "the log has it");
}

/* A login in the middle of an operation of another kind changes nothing for it; one that fails neither. */
static void test_login_where_none_is_needed(void **state)
{
    (void)state;
    start();
    CK_SESSION_HANDLE s = harness_session("main");
    CK_RV rv = login(s, CKU_USER, "1234");
    /* Tools log in by habit. Whatever the answer, the keys stay usable, and the state follows the answer. */
    expect(state_of(s) == (rv == CKR_OK ? CKS_RO_USER_FUNCTIONS : CKS_RO_PUBLIC_SESSION), "%s, but state %lu",
           rv_name(rv), state_of(s));
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    expect_ok(f->C_SignInit(s, &hmac, object_by_id(s, MANUAL_1_ID, strlen(MANUAL_1_ID))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_login),
        TOKEN_TEST(test_kek),
        TOKEN_TEST(test_login_where_none_is_needed),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
