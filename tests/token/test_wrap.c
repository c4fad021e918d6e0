/* SPDX-License-Identifier: BSD-2-Clause */
/* C_WrapKey and C_UnwrapKey: which key leaves under which, the exact answers, and what an unwrapped key is
 * good for. The number of combinations is printed. */
#include "derive.h"
#include "guard.h"
#include "kwp.h"

static CK_SESSION_HANDLE s, strict;
static const uint8_t kek_value[32] = "a line card's own key, it knows";
static unsigned long cases;

static void start(void)
{
    s = harness_start(CONF_MANUAL);
    strict = harness_session("strict");
}

/* An imported AES key of `len` bytes; it may do what `attribute` (0: nothing) says. */
static CK_OBJECT_HANDLE import_aes(CK_SESSION_HANDLE session, size_t len, CK_ATTRIBUTE_TYPE attribute)
{
    return kwp_import(session, kek_value, len, (CK_ATTRIBUTE_TYPE[]){attribute, 0});
}

/* prf+(PPK, "otn"), 32 bytes; sensitive */
static CK_OBJECT_HANDLE derived(CK_SESSION_HANDLE session, CK_KEY_TYPE type, bool extractable, bool trusted)
{
    const char *id = session == strict ? MANUAL_3_ID : MANUAL_1_ID;
    struct template t = {.n = 0};
    CK_OBJECT_HANDLE o = 0;
    template_number(&t, CKA_KEY_TYPE, type);
    template_number(&t, CKA_VALUE_LEN, 32);
    template_bool(&t, CKA_SENSITIVE, true);
    template_bool(&t, CKA_EXTRACTABLE, extractable);
    template_bool(&t, CKA_WRAP, true);
    template_bool(&t, CKA_UNWRAP, true);
    template_bool(&t, CKA_WRAP_WITH_TRUSTED, trusted);
    require_ok(derive_prf_plus(session, false, &oracle_prfs[1], object_by_id(session, id, strlen(id)), 0,
                               SEED_32, 32, &t, &o));
    guard_release();
    return o;
}

static void test_lengths_and_value(void **state)
{
    (void)state;
    uint8_t ppk[64], want[32], got[64];
    start();
    CK_OBJECT_HANDLE key = derived(s, CKK_AES, true, false);
    oracle_prf_plus(&oracle_prfs[1], ppk, oracle_unhex(MANUAL_1_HEX, ppk, sizeof ppk), SEED_32, 32, want, 32);
    for (size_t i = 0; i < 3; i++) {
        CK_OBJECT_HANDLE kek = import_aes(s, 16 + 8 * i, CKA_WRAP);
        CK_ULONG n = 7;
        expect_case("key-encryption key of %zu bytes", 16 + 8 * i);
        expect_ok(f->C_WrapKey(s, &kwp, kek, key, NULL, &n));
        expect(n == 40, "%lu bytes", n);
        for (size_t room = 0; room < 40; room++) {
            uint8_t *out = guard_buffer(room);
            memset(out, 0xA5, room);
            n = room;
            expect_rv(CKR_BUFFER_TOO_SMALL, f->C_WrapKey(s, &kwp, kek, key, out, &n));
            expect(n == 40, "%lu bytes", n);
            for (size_t x = 0; x < room; x++)
                if (out[x] != 0xA5)
                    expect(false, "a part was written");
            guard_release();
        }
        uint8_t *out = guard_buffer(40);
        n = 40;
        expect_ok(f->C_WrapKey(s, &kwp, kek, key, out, &n));
        expect(n == 40 && kwp_open(kek_value, 16 + 8 * i, out, n, got) == 32 && memcmp(got, want, 32) == 0,
               "the card gets another key");
        guard_release();
    }
}

static void test_arguments(void **state)
{
    (void)state;
    uint8_t out[64], iv[8] = {0};
    CK_ULONG n = sizeof out;
    CK_MECHANISM with = {CKM_AES_KEY_WRAP_KWP, iv, 4}, other = {CKM_AES_KEY_WRAP, NULL, 0},
                 hmac = {CKM_SHA256_HMAC, NULL, 0};
    struct template none = {.n = 0};
    start();
    CK_OBJECT_HANDLE key = derived(s, CKK_AES, true, false), kek = import_aes(s, 32, CKA_WRAP), o = 0,
                     un = import_aes(s, 32, CKA_UNWRAP), text = object_import(s, kek_value, 32);
    expect_rv(CKR_ARGUMENTS_BAD, f->C_WrapKey(s, NULL, kek, key, out, &n));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_WrapKey(s, &kwp, kek, key, out, NULL));
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_WrapKey(~0UL, &kwp, kek, key, out, &n));
    expect_rv(CKR_MECHANISM_PARAM_INVALID, f->C_WrapKey(s, &with, kek, key, out, &n));
    expect_rv(CKR_MECHANISM_INVALID, f->C_WrapKey(s, &other, kek, key, out, &n));
    expect_rv(CKR_MECHANISM_INVALID, f->C_WrapKey(s, &hmac, kek, key, out, &n));
    expect_rv(CKR_WRAPPING_KEY_HANDLE_INVALID, f->C_WrapKey(s, &kwp, ~0UL, key, out, &n));
    expect_rv(CKR_WRAPPING_KEY_TYPE_INCONSISTENT, f->C_WrapKey(s, &kwp, text, key, out, &n));
    expect_rv(CKR_KEY_HANDLE_INVALID, f->C_WrapKey(s, &kwp, kek, ~0UL, out, &n));
    n = sizeof out;
    require_ok(f->C_WrapKey(s, &kwp, kek, key, out, &n));
    template_number(&none, CKA_CLASS, CKO_SECRET_KEY);
    expect_rv(CKR_TEMPLATE_INCOMPLETE, f->C_UnwrapKey(s, &kwp, un, out, n, none.a, none.n, &o));
    template_number(&none, CKA_KEY_TYPE, CKK_AES);
    expect_rv(CKR_ARGUMENTS_BAD, f->C_UnwrapKey(s, NULL, un, out, n, none.a, none.n, &o));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_UnwrapKey(s, &kwp, un, NULL, n, none.a, none.n, &o));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_UnwrapKey(s, &kwp, un, out, n, none.a, none.n, NULL));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_UnwrapKey(s, &kwp, un, out, n, NULL, 2, &o));
    expect_rv(CKR_MECHANISM_PARAM_INVALID, f->C_UnwrapKey(s, &with, un, out, n, none.a, none.n, &o));
    expect_rv(CKR_MECHANISM_INVALID, f->C_UnwrapKey(s, &other, un, out, n, none.a, none.n, &o));
    expect_rv(CKR_UNWRAPPING_KEY_HANDLE_INVALID, f->C_UnwrapKey(s, &kwp, 0, out, n, none.a, none.n, &o));
    expect_rv(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
              f->C_UnwrapKey(s, &kwp, text, out, n, none.a, none.n, &o));
    expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED, f->C_UnwrapKey(s, &kwp, kek, out, n, none.a, none.n, &o));
    /* CKA_ALLOWED_MECHANISMS of a key-encryption key */
    for (int listed = 0; listed < 2; listed++) {
        const CK_MECHANISM_TYPE types[] = {listed ? CKM_AES_KEY_WRAP_KWP : CKM_SHA256_HMAC};
        struct template t = {.n = 0};
        CK_OBJECT_HANDLE limited = 0;
        template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
        template_number(&t, CKA_KEY_TYPE, CKK_AES);
        template_bytes(&t, CKA_VALUE, kek_value, 32);
        template_bytes(&t, CKA_ALLOWED_MECHANISMS, types, sizeof types);
        template_bool(&t, CKA_WRAP, true);
        template_bool(&t, CKA_UNWRAP, true);
        require_ok(f->C_CreateObject(s, t.a, t.n, &limited));
        expect_rv(listed ? CKR_OK : CKR_KEY_FUNCTION_NOT_PERMITTED,
                  f->C_WrapKey(s, &kwp, limited, key, out, &n));
        expect_rv(listed ? CKR_OK : CKR_KEY_FUNCTION_NOT_PERMITTED,
                  f->C_UnwrapKey(s, &kwp, limited, out, n, none.a, none.n, &o));
    }
    for (CK_ULONG len = 0; len < 64; len++)
        if (len != 40)
            expect_rv_in(f->C_UnwrapKey(s, &kwp, un, out, len, none.a, none.n, &o), CKR_WRAPPED_KEY_LEN_RANGE,
                         CKR_WRAPPED_KEY_INVALID);
    expect_rv(CKR_WRAPPED_KEY_LEN_RANGE, f->C_UnwrapKey(s, &kwp, un, out, ~0UL - 7, none.a, none.n, &o));
    for (size_t i = 0; i < 40; i++) {
        out[i] ^= 1;
        expect_rv(CKR_WRAPPED_KEY_INVALID, f->C_UnwrapKey(s, &kwp, un, out, 40, none.a, none.n, &o));
        out[i] ^= 1;
    }
    template_number(&none, CKA_VALUE_LEN, 16);
    expect_rv(CKR_TEMPLATE_INCONSISTENT, f->C_UnwrapKey(s, &kwp, un, out, 40, none.a, none.n, &o));
    none.numbers[2] = 32;
    expect_ok(f->C_UnwrapKey(s, &kwp, un, out, 40, none.a, none.n, &o));
}

/* Every kind of key as wrapping and as wrapped key, in both keyrings */
static void test_who_under_whom(void **state)
{
    (void)state;
    start();
    for (int k = 0; k < 2; k++) {
        CK_SESSION_HANDLE session = k ? strict : s;
        const char *id = k ? MANUAL_3_ID : MANUAL_1_ID;
        const struct {
            const char *name;
            CK_OBJECT_HANDLE o;
            CK_RV as_kek, as_key;
        } keys[] = {
            {"PPK", object_by_id(session, id, strlen(id)), CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
             CKR_KEY_UNEXTRACTABLE},
            {"PSK", object_by_label(session, k ? "gamma/psk" : "alpha/psk"),
             CKR_WRAPPING_KEY_TYPE_INCONSISTENT, CKR_KEY_UNEXTRACTABLE},
            {"key-encryption key", import_aes(session, 32, CKA_WRAP), CKR_OK, CKR_KEY_NOT_WRAPPABLE},
            {"unwrapping key", import_aes(session, 32, CKA_UNWRAP), CKR_KEY_FUNCTION_NOT_PERMITTED,
             CKR_KEY_NOT_WRAPPABLE},
            {"AES key", import_aes(session, 32, 0), CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_NOT_WRAPPABLE},
            {"generic secret", object_import(session, kek_value, 32), CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
             CKR_KEY_NOT_WRAPPABLE},
            {"derived AES", derived(session, CKK_AES, true, false), CKR_KEY_FUNCTION_NOT_PERMITTED,
             k ? CKR_KEY_UNEXTRACTABLE : CKR_OK},
            {"derived AES, kept", derived(session, CKK_AES, false, false), CKR_KEY_FUNCTION_NOT_PERMITTED,
             CKR_KEY_UNEXTRACTABLE},
            {"derived AES, trusted only", derived(session, CKK_AES, true, true),
             CKR_KEY_FUNCTION_NOT_PERMITTED, k ? CKR_KEY_UNEXTRACTABLE : CKR_KEY_NOT_WRAPPABLE},
            {"derived secret", derived(session, CKK_GENERIC_SECRET, true, false),
             CKR_WRAPPING_KEY_TYPE_INCONSISTENT, k ? CKR_KEY_UNEXTRACTABLE : CKR_KEY_NOT_WRAPPABLE},
        };
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            for (size_t j = 0; j < sizeof keys / sizeof *keys; j++)
                for (int query = 0; query < 2; query++) {
                    uint8_t out[64];
                    CK_ULONG n = sizeof out;
                    expect_case("%s: %s under %s", k ? "strict" : "main", keys[j].name, keys[i].name);
                    cases++;
                    expect_rv(keys[i].as_kek != CKR_OK ? keys[i].as_kek : keys[j].as_key,
                              f->C_WrapKey(session, &kwp, keys[i].o, keys[j].o, query ? NULL : out, &n));
                }
    }
    /* of another token, a handle means nothing */
    CK_ULONG n = 0;
    expect_case("%s", "");
    expect_rv(CKR_WRAPPING_KEY_HANDLE_INVALID, f->C_WrapKey(s, &kwp, import_aes(strict, 32, CKA_WRAP),
                                                            derived(s, CKK_AES, true, false), NULL, &n));
    expect_rv(CKR_KEY_HANDLE_INVALID, f->C_WrapKey(s, &kwp, import_aes(s, 32, CKA_WRAP),
                                                   derived(strict, CKK_AES, true, false), NULL, &n));
}

/* The way out that other tokens leave open: a sensitive key, wrapped and unwrapped as one that can be read */
static void test_no_way_back(void **state)
{
    (void)state;
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        bool value;
    } wishes[] = {{CKA_SENSITIVE, false}, {CKA_EXTRACTABLE, true}, {CKA_DERIVE, true},  {CKA_SIGN, true},
                  {CKA_VERIFY, true},     {CKA_ENCRYPT, true},     {CKA_DECRYPT, true}, {CKA_TOKEN, true}};
    static const CK_MECHANISM_TYPE macs[] = {CKM_SHA_1_HMAC, CKM_SHA256_HMAC, CKM_SHA384_HMAC,
                                             CKM_SHA512_HMAC};
    uint8_t wrapped[64], out[64];
    CK_ULONG n = sizeof wrapped, bit = 0;
    CK_OBJECT_HANDLE o = 0, back = 0, copy = 0;
    struct template t;
    start();
    CK_OBJECT_HANDLE kek = import_aes(s, 32, CKA_WRAP), un = import_aes(s, 32, CKA_UNWRAP);
    require_ok(f->C_WrapKey(s, &kwp, kek, derived(s, CKK_AES, true, false), wrapped, &n));
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        t = (struct template){.n = 0};
        template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
        template_number(&t, CKA_KEY_TYPE, CKK_AES);
        template_bool(&t, wishes[i].type, wishes[i].value);
        expect_case("attribute 0x%lx", wishes[i].type);
        cases++;
        expect_rv_in(f->C_UnwrapKey(s, &kwp, un, wrapped, n, t.a, t.n, &o), CKR_TEMPLATE_INCONSISTENT,
                     CKR_SESSION_READ_ONLY);
    }
    t = (struct template){.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    expect_rv(CKR_TEMPLATE_INCONSISTENT, f->C_UnwrapKey(s, &kwp, un, wrapped, n, t.a, t.n, &o));
    t.numbers[1] = CKK_AES;
    template_bool(&t, CKA_WRAP, true);
    require_ok(f->C_UnwrapKey(s, &kwp, un, wrapped, n, t.a, t.n, &back));
    expect(object_bool(s, back, CKA_SENSITIVE) == 1 && object_bool(s, back, CKA_EXTRACTABLE) == 0 &&
               object_bool(s, back, CKA_ALWAYS_SENSITIVE) == 0 &&
               object_bool(s, back, CKA_NEVER_EXTRACTABLE) == 0 && object_bool(s, back, CKA_LOCAL) == 0,
           "attributes");
    expect(object_bytes(s, back, CKA_VALUE, out, sizeof out) == (size_t)-1, "readable");
    /* also after a change of its attributes, and as a copy */
    for (int round = 0; round < 2; round++) {
        CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
        CK_ATTRIBUTE derive = {CKA_DERIVE, &yes, 1}, sign = {CKA_SIGN, &yes, 1},
                     clear = {CKA_SENSITIVE, &no, 1}, extract = {CKA_EXTRACTABLE, &yes, 1};
        expect_case("round %d", round);
        f->C_SetAttributeValue(s, back, &derive, 1);
        f->C_SetAttributeValue(s, back, &sign, 1);
        expect_error(f->C_SetAttributeValue(s, back, &clear, 1));
        expect_error(f->C_SetAttributeValue(s, back, &extract, 1));
        for (size_t i = 0; i < 4; i++) {
            CK_MECHANISM m = {macs[i], NULL, 0};
            expect_error(f->C_SignInit(s, &m, back));
            expect_error(f->C_VerifyInit(s, &m, back));
            cases += 2;
        }
        derive_template(&t, 16);
        expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                  derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, back, &t, &o));
        expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                  derive_prf_plus(s, false, &oracle_prfs[1], back, 0, "x", 1, &t, &o));
        expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                  derive_prf_plus(s, false, &oracle_prfs[1], object_import(s, kek_value, 32), back, "x", 1,
                                  &t, &o));
        n = sizeof out;
        expect_error(f->C_WrapKey(s, &kwp, kek, back, out, &n));
        guard_release();
        cases += 6;
        if (round == 0) {
            require_ok(f->C_CopyObject(s, back, NULL, 0, &copy));
            back = copy;
        }
    }
    /* It is a key-encryption key, and works as one. */
    n = sizeof out;
    expect_case("%s", "");
    expect_ok(f->C_WrapKey(s, &kwp, back, derived(s, CKK_AES, true, false), out, &n));
    print_message("wrap: %lu cases\n", cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_lengths_and_value), TOKEN_TEST(test_arguments),
                                       TOKEN_TEST(test_who_under_whom), TOKEN_TEST(test_no_way_back)};
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
