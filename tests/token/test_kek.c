/* SPDX-License-Identifier: BSD-2-Clause */
/* The key-encryption keys of the configuration: what they are, what they do (wrap) and do not do (all else),
 * and which keys leave under them, in a keyring that lets derived keys out and in a strict one. */
#include "derive.h"
#include "guard.h"
#include "kwp.h"

static CK_SESSION_HANDLE s, strict;
static const struct oracle_prf *sha256 = &oracle_prfs[1];
static uint8_t ppk[64], kek_1[32], kek_2[16];
static size_t ppk_len;

static void start(void)
{
    harness_conf("%s", CONF_CARDS);
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("cards");
    strict = harness_session_rw("strict-cards");
    ppk_len = oracle_unhex(MANUAL_3_HEX, ppk, sizeof ppk);
    oracle_unhex(KEK_1_HEX, kek_1, sizeof kek_1);
    oracle_unhex(KEK_2_HEX, kek_2, sizeof kek_2);
}

/* prf+(PPK, "keymat") of `len` bytes; 0 in `extractable`: FALSE is asked for, 1: TRUE, -1: nothing. */
static CK_OBJECT_HANDLE keymat(CK_SESSION_HANDLE session, CK_KEY_TYPE type, CK_ULONG len, int extractable,
                               bool sensitive)
{
    struct template t = {.n = 0};
    CK_OBJECT_HANDLE o = 0;

    template_number(&t, CKA_KEY_TYPE, type);
    template_number(&t, CKA_VALUE_LEN, len);
    template_bool(&t, CKA_SENSITIVE, sensitive);
    template_bool(&t, CKA_DERIVE, true);
    if (extractable >= 0)
        template_bool(&t, CKA_EXTRACTABLE, extractable);
    require_ok(derive_prf_plus(session, false, sha256,
                               object_by_id(session, MANUAL_3_ID, strlen(MANUAL_3_ID)), 0, SEED_32, 32, &t,
                               &o));
    guard_release();
    return o;
}

static CK_OBJECT_HANDLE cut(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE base, CK_ULONG bit, CK_ULONG len)
{
    struct template t = {.n = 0};
    CK_OBJECT_HANDLE o = 0;

    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    template_number(&t, CKA_VALUE_LEN, len);
    template_bool(&t, CKA_EXTRACTABLE, true);
    require_ok(derive_any(session, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, base, &t, &o));
    guard_release();
    return o;
}

static void test_object(void **state)
{
    (void)state;
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        int value;
    } flags[] = {{CKA_TOKEN, 1},       {CKA_PRIVATE, 0},
                 {CKA_TRUSTED, 1},     {CKA_WRAP, 1},
                 {CKA_SENSITIVE, 1},   {CKA_ALWAYS_SENSITIVE, 1},
                 {CKA_EXTRACTABLE, 0}, {CKA_NEVER_EXTRACTABLE, 0},
                 {CKA_UNWRAP, 0},      {CKA_DERIVE, 0},
                 {CKA_SIGN, 0},        {CKA_VERIFY, 0},
                 {CKA_ENCRYPT, 0},     {CKA_DECRYPT, 0},
                 {CKA_MODIFIABLE, 0},  {CKA_COPYABLE, 0},
                 {CKA_DESTROYABLE, 0}, {CKA_WRAP_WITH_TRUSTED, 0},
                 {CKA_LOCAL, 0}};
    CK_MECHANISM_TYPE allowed[4];
    uint8_t out[64];
    struct template t = {.n = 0};
    CK_OBJECT_HANDLE found[4];
    start();
    for (int i = 0; i < 2; i++) {
        CK_SESSION_HANDLE session = i ? strict : s;
        CK_OBJECT_HANDLE kek = object_by_label(session, "card1");
        for (size_t x = 0; x < sizeof flags / sizeof *flags; x++)
            expect(object_bool(session, kek, flags[x].type) == flags[x].value, "attribute 0x%lx is %d",
                   flags[x].type, object_bool(session, kek, flags[x].type));
        expect(object_number(session, kek, CKA_CLASS) == CKO_SECRET_KEY, "class");
        expect(object_number(session, kek, CKA_KEY_TYPE) == CKK_AES, "type");
        expect(object_number(session, kek, CKA_VALUE_LEN) == 32, "length");
        expect(object_number(session, kek, CKA_PPK_KIND) == CK_UNAVAILABLE_INFORMATION, "a PPK?");
        expect(object_bytes(session, kek, CKA_PPK_PEER, out, sizeof out) == (size_t)-1, "of a peer?");
        expect(object_bytes(session, kek, CKA_ID, out, sizeof out) == 0, "it has an ID");
        expect(object_bytes(session, kek, CKA_LABEL, out, sizeof out) == 5 && memcmp(out, "card1", 5) == 0,
               "label");
        expect(object_bytes(session, kek, CKA_VALUE, out, sizeof out) == (size_t)-1, "it can be read");
        expect(object_bytes(session, kek, CKA_CHECK_VALUE, out, sizeof out) == (size_t)-1, "a check value");
        expect(object_bytes(session, kek, CKA_ALLOWED_MECHANISMS, allowed, sizeof allowed) ==
                       sizeof *allowed &&
                   *allowed == CKM_AES_KEY_WRAP_KWP,
               "mechanisms");
    }
    /* searches */
    template_bool(&t, CKA_TRUSTED, true);
    template_bool(&t, CKA_WRAP, true);
    expect(object_search(s, &t, found, 4, NULL) == 2, "by attributes");
    expect(object_by_label(s, "card2") == found[1] && object_by_label(s, "card1") == found[0], "by label");
    t = (struct template){.n = 0};
    template_text(&t, CKA_LABEL, "card1");
    template_number(&t, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    expect(object_search(s, &t, NULL, 0, NULL) == 0, "of another type");
    t = (struct template){.n = 0};
    template_text(&t, CKA_LABEL, "card");
    expect(object_search(s, &t, NULL, 0, NULL) == 0, "by the beginning of its label");
    t = (struct template){.n = 0};
    template_text(&t, CKA_LABEL, "card1");
    template_text(&t, CKA_PPK_PEER, "delta");
    expect(object_search(s, &t, NULL, 0, NULL) == 0, "as one of a peer");
    t = (struct template){.n = 0};
    template_bytes(&t, CKA_VALUE, kek_1, sizeof kek_1);
    expect(object_search(s, &t, NULL, 0, NULL) == 0, "by its value");
    expect(strstr(harness_log(), KEK_1_HEX) == NULL, "the log has it");
}

/* It wraps, and nothing else. */
static void test_nothing_else(void **state)
{
    (void)state;
    uint8_t wrapped[48];
    CK_OBJECT_HANDLE o = 0;
    CK_ULONG bit = 0;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE change = {CKA_UNWRAP, &yes, 1};
    struct template t = {.n = 0}, generate = {.n = 0};
    CK_MECHANISM gen = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    start();
    for (int i = 0; i < 2; i++) {
        CK_SESSION_HANDLE session = i ? strict : s;
        CK_OBJECT_HANDLE kek = object_by_label(session, "card1"),
                         mine = object_import(session, "my own base key", 15);
        CK_HKDF_PARAMS salt = {CK_TRUE, CK_FALSE, CKM_SHA256, CKF_HKDF_SALT_KEY, NULL, 0, kek, NULL, 0};
        for (size_t p = 0; p < 4; p++) {
            CK_MECHANISM m = {oracle_prfs[p].hmac, NULL, 0};
            expect_rv(CKR_KEY_TYPE_INCONSISTENT, f->C_SignInit(session, &m, kek));
            expect_rv(CKR_KEY_TYPE_INCONSISTENT, f->C_VerifyInit(session, &m, kek));
            derive_template(&t, 32);
            expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                      derive_prf_plus(session, p & 1, &oracle_prfs[p], kek, 0, "x", 1, &t, &o));
            expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                      derive_prf_plus(session, p & 1, &oracle_prfs[p], mine, kek, "x", 1, &t, &o));
            derive_template(&t, 0);
            expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                      derive_prf(session, false, &oracle_prfs[p], DERIVE_DATA_AS_KEY, kek, 0, "x", 1, NULL, 0,
                                 &t, &o));
            expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                      derive_prf(session, false, &oracle_prfs[p], DERIVE_REKEY, mine, kek, "x", 1, NULL, 0,
                                 &t, &o));
        }
        derive_template(&t, 16);
        expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                  derive_any(session, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, kek, &t, &o));
        derive_template(&t, 0);
        expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                  derive_any(session, CKM_CONCATENATE_BASE_AND_KEY, &kek, sizeof kek, mine, &t, &o));
        expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                  derive_any(session, CKM_HKDF_DERIVE, &salt, sizeof salt, mine, &t, &o));
        /* no unwrapping: whoever copied what the card got cannot bring it back */
        expect(kwp_seal(kek_1, 32, kek_2, 16, wrapped) == 24, "OpenSSL");
        t = (struct template){.n = 0};
        template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
        template_number(&t, CKA_KEY_TYPE, CKK_AES);
        expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                  f->C_UnwrapKey(session, &kwp, kek, wrapped, 24, t.a, t.n, &o));
        expect_rv(CKR_ACTION_PROHIBITED, f->C_SetAttributeValue(session, kek, &change, 1));
        expect_rv(CKR_ACTION_PROHIBITED, f->C_CopyObject(session, kek, NULL, 0, &o));
        expect_rv(CKR_ACTION_PROHIBITED, f->C_DestroyObject(session, kek));
        generate.n = 0;
        template_text(&generate, CKA_LABEL, "card1");
        expect_error(f->C_GenerateKey(session, &gen, generate.a, generate.n, &o));
        guard_release();
    }
    /* nobody makes a trusted one */
    t = (struct template){.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    template_bytes(&t, CKA_VALUE, kek_1, 32);
    template_bool(&t, CKA_TRUSTED, true);
    expect_rv(CKR_ATTRIBUTE_READ_ONLY, f->C_CreateObject(s, t.a, t.n, &o));
    change.type = CKA_TRUSTED;
    CK_OBJECT_HANDLE mine = kwp_import(s, kek_1, 32, (CK_ATTRIBUTE_TYPE[]){CKA_WRAP, 0});
    expect_rv(CKR_ATTRIBUTE_READ_ONLY, f->C_SetAttributeValue(s, mine, &change, 1));
    expect_rv(CKR_ATTRIBUTE_READ_ONLY, f->C_CopyObject(s, mine, &change, 1, &o));
    expect(object_bool(s, mine, CKA_TRUSTED) == 0, "trusted, since it has the same value");
}

/* What a card gets is the key. */
static void expect_card_gets(CK_SESSION_HANDLE session, const char *card, CK_OBJECT_HANDLE key,
                             const uint8_t *want, size_t len)
{
    const bool first = strcmp(card, "card1") == 0;
    uint8_t wrapped[48], got[64];
    CK_ULONG n = sizeof wrapped;

    if (!expect_ok(f->C_WrapKey(session, &kwp, object_by_label(session, card), key, wrapped, &n)))
        return;
    expect(n == len + 8 && kwp_open(first ? kek_1 : kek_2, first ? 32 : 16, wrapped, n, got) == len &&
               memcmp(got, want, len) == 0,
           "%s gets another key", card);
}

/* KEYMAT of two AES-256 keys, as a card needs it, in both keyrings */
static void test_both_directions(void **state)
{
    (void)state;
    uint8_t want[64], out[64];
    CK_ULONG n;
    start();
    oracle_prf_plus(sha256, ppk, ppk_len, SEED_32, 32, want, 64);
    for (int i = 0; i < 2; i++) {
        CK_SESSION_HANDLE session = i ? strict : s;
        CK_OBJECT_HANDLE all = keymat(session, CKK_GENERIC_SECRET, 64, 1, true);
        expect_case("%s", i ? "strict" : "not strict");
        for (size_t k = 0; k < 2; k++) {
            CK_OBJECT_HANDLE key = cut(session, all, k * 256, 32),
                             own = kwp_import(session, kek_1, 32, (CK_ATTRIBUTE_TYPE[]){CKA_WRAP, 0});
            expect(object_bool(session, key, CKA_SENSITIVE) == 1 &&
                       object_bool(session, key, CKA_EXTRACTABLE) == 1 &&
                       object_bool(session, key, CKA_NEVER_EXTRACTABLE) == 0 &&
                       object_bool(session, key, CKA_WRAP_WITH_TRUSTED) == i,
                   "attributes");
            expect(object_bytes(session, key, CKA_VALUE, out, sizeof out) == (size_t)-1, "it can be read");
            expect_card_gets(session, "card1", key, want + k * 32, 32);
            expect_card_gets(session, "card2", key, want + k * 32, 32);
            n = sizeof out; /* under a key of the caller's, even one of the same value: not from a strict one
                             */
            expect_rv(i ? CKR_KEY_NOT_WRAPPABLE : CKR_OK, f->C_WrapKey(session, &kwp, own, key, out, &n));
        }
        n = sizeof out; /* only AES keys leave */
        expect_rv(CKR_KEY_NOT_WRAPPABLE,
                  f->C_WrapKey(session, &kwp, object_by_label(session, "card1"), all, out, &n));
    }
}

/* What a strict keyring makes extractable, and on what conditions */
static void test_strict_attributes(void **state)
{
    (void)state;
    start();
    for (int extractable = -1; extractable < 2; extractable++)
        for (int sensitive = 0; sensitive < 2; sensitive++) {
            CK_OBJECT_HANDLE o = keymat(strict, CKK_AES, 32, extractable, sensitive), copy = 0;
            CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
            CK_ATTRIBUTE trusted = {CKA_WRAP_WITH_TRUSTED, &no, 1}, clear = {CKA_SENSITIVE, &no, 1},
                         extract = {CKA_EXTRACTABLE, &yes, 1}, keep = {CKA_EXTRACTABLE, &no, 1};
            uint8_t out[64];
            CK_ULONG n = sizeof out;
            expect_case("EXTRACTABLE %d, SENSITIVE %d", extractable, sensitive);
            expect(object_bool(strict, o, CKA_SENSITIVE) == 1, "not sensitive");
            expect(object_bool(strict, o, CKA_EXTRACTABLE) == (extractable == 1), "extractable: %d",
                   object_bool(strict, o, CKA_EXTRACTABLE));
            expect(object_bool(strict, o, CKA_WRAP_WITH_TRUSTED) == (extractable == 1), "with trusted: %d",
                   object_bool(strict, o, CKA_WRAP_WITH_TRUSTED));
            expect(object_bytes(strict, o, CKA_VALUE, out, sizeof out) == (size_t)-1, "it can be read");
            if (extractable == 1)
                expect_rv(CKR_ATTRIBUTE_READ_ONLY, f->C_SetAttributeValue(strict, o, &trusted, 1));
            expect_rv(CKR_ATTRIBUTE_READ_ONLY, f->C_SetAttributeValue(strict, o, &clear, 1));
            expect_rv(extractable == 1 ? CKR_OK : CKR_ATTRIBUTE_READ_ONLY,
                      f->C_SetAttributeValue(strict, o, &extract, 1));
            if (extractable == 1)
                expect_rv(CKR_ATTRIBUTE_READ_ONLY, f->C_CopyObject(strict, o, &trusted, 1, &copy));
            expect_rv(CKR_ATTRIBUTE_READ_ONLY, f->C_CopyObject(strict, o, &clear, 1, &copy));
            require_ok(f->C_CopyObject(strict, o, &keep, 1, &copy));
            expect_rv(CKR_KEY_UNEXTRACTABLE,
                      f->C_WrapKey(strict, &kwp, object_by_label(strict, "card1"), copy, out, &n));
            require_ok(f->C_CopyObject(strict, o, NULL, 0, &copy));
            n = sizeof out;
            expect_rv(extractable == 1 ? CKR_OK : CKR_KEY_UNEXTRACTABLE,
                      f->C_WrapKey(strict, &kwp, object_by_label(strict, "card1"), copy, out, &n));
        }
}

/* A strict keyring's cards get nothing that somebody outside may know, whole or in part. */
static void test_strict_known(void **state)
{
    (void)state;
    uint8_t out[64], known[32] = "known to the caller, all of it";
    CK_ULONG n = sizeof out;
    CK_OBJECT_HANDLE mine, o = 0, secret, card;
    CK_KEY_DERIVATION_STRING_DATA data = {known, 8};
    struct template t = {.n = 0};
    start();
    card = object_by_label(strict, "card1");
    mine = object_import(strict, known, sizeof known);
    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    template_number(&t, CKA_VALUE_LEN, 32);
    template_bool(&t, CKA_EXTRACTABLE, true);
    require_ok(derive_prf_plus(strict, false, sha256, mine, 0, "x", 1, &t, &o));
    expect_rv(CKR_KEY_NOT_WRAPPABLE, f->C_WrapKey(strict, &kwp, card, o, out, &n));
    /* derived from a configured key, but joined to known bytes */
    secret = keymat(strict, CKK_GENERIC_SECRET, 24, 1, true);
    const CK_MECHANISM_TYPE join[] = {CKM_CONCATENATE_BASE_AND_DATA, CKM_CONCATENATE_DATA_AND_BASE};
    for (size_t i = 0; i < 2; i++) {
        t = (struct template){.n = 0};
        template_number(&t, CKA_KEY_TYPE, CKK_AES);
        template_bool(&t, CKA_EXTRACTABLE, true);
        require_ok(derive_any(strict, join[i], &data, sizeof data, secret, &t, &o));
        expect(object_bool(strict, o, CKA_EXTRACTABLE) == 0, "extractable");
        n = sizeof out;
        expect_rv(CKR_KEY_UNEXTRACTABLE, f->C_WrapKey(strict, &kwp, card, o, out, &n));
    }
    /* the same for a key that a caller wants to leave under trusted keys only, in the other keyring */
    t = (struct template){.n = 0};
    template_number(&t, CKA_VALUE_LEN, 24);
    template_bool(&t, CKA_SENSITIVE, true);
    template_bool(&t, CKA_DERIVE, true);
    template_bool(&t, CKA_EXTRACTABLE, true);
    template_bool(&t, CKA_WRAP_WITH_TRUSTED, true);
    require_ok(derive_prf_plus(s, false, sha256, object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID)), 0, "k", 1,
                               &t, &secret));
    t = (struct template){.n = 0};
    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    template_bool(&t, CKA_EXTRACTABLE, true);
    template_bool(&t, CKA_WRAP_WITH_TRUSTED, false);
    require_ok(derive_any(s, CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, secret, &t, &o));
    expect(object_bool(s, o, CKA_WRAP_WITH_TRUSTED) == 1, "joining took WRAP_WITH_TRUSTED away");
    n = sizeof out;
    expect_rv(CKR_KEY_NOT_WRAPPABLE, f->C_WrapKey(s, &kwp, object_by_label(s, "card1"), o, out, &n));
    /* and its pieces go where it goes */
    o = cut(s, secret, 0, 16);
    expect(object_bool(s, o, CKA_WRAP_WITH_TRUSTED) == 1, "cutting took WRAP_WITH_TRUSTED away");
    n = sizeof out;
    expect_rv(
        CKR_KEY_NOT_WRAPPABLE,
        f->C_WrapKey(s, &kwp, kwp_import(s, known, 32, (CK_ATTRIBUTE_TYPE[]){CKA_WRAP, 0}), o, out, &n));
    expect_ok(f->C_WrapKey(s, &kwp, object_by_label(s, "card1"), o, out, &n));
    guard_release();
}

/* A card's key works in its own token only, and not after the end of the session. */
static void test_other_tokens(void **state)
{
    (void)state;
    uint8_t out[64];
    CK_ULONG n = sizeof out;
    start();
    CK_OBJECT_HANDLE card = object_by_label(strict, "card1"), key = keymat(strict, CKK_AES, 32, 1, true);
    expect_rv(CKR_WRAPPING_KEY_HANDLE_INVALID,
              f->C_WrapKey(s, &kwp, card, keymat(s, CKK_AES, 32, 1, true), out, &n));
    expect_rv(CKR_KEY_HANDLE_INVALID, f->C_WrapKey(s, &kwp, object_by_label(s, "card1"), key, out, &n));
    CK_SESSION_HANDLE other = harness_session("strict-cards");
    expect_ok(f->C_WrapKey(other, &kwp, card, key, out, &n));
    expect_ok(f->C_CloseSession(strict));
    n = sizeof out;
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_WrapKey(strict, &kwp, card, key, out, &n));
    expect_rv(CKR_KEY_HANDLE_INVALID, f->C_WrapKey(other, &kwp, card, key, out, &n));
    expect_ok(f->C_Finalize(NULL));
    expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_WrapKey(other, &kwp, card, key, out, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_object),          TOKEN_TEST(test_nothing_else),
        TOKEN_TEST(test_both_directions), TOKEN_TEST(test_strict_attributes),
        TOKEN_TEST(test_strict_known),    TOKEN_TEST(test_other_tokens),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
