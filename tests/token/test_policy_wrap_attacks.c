/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys never leave: the attacks on wrapping, carried out. */
#include "guard.h"
#include "policy.h"

#include <stdlib.h>

static CK_SESSION_HANDLE s;
static const struct oracle_prf *sha256 = &oracle_prfs[1];
static bool strict, cards; /* of the keyring at hand */

static void attack_start(const char *token)
{
    strict = strstr(token, "strict") != NULL;
    cards = strstr(token, "cards") != NULL;
    s = harness_session_rw(token);
}

static CK_OBJECT_HANDLE keymat(CK_KEY_TYPE type, CK_ULONG len)
{
    CK_OBJECT_HANDLE o = 0;
    struct template t;

    template_leaving(&t, type, len, 1);
    require_ok(derive_prf_plus(s, false, sha256, object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID)), 0,
                               SEED_32, 32, &t, &o));
    guard_release();
    return o;
}

static CK_RV wrap(CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key, uint8_t out[static 48], CK_ULONG *n)
{
    *n = 48;
    cases++;
    return f->C_WrapKey(s, &kwp, kek, key, out, n);
}

static CK_OBJECT_HANDLE callers_kek(void)
{
    return kwp_import(s, known, 32, (CK_ATTRIBUTE_TYPE[]){CKA_WRAP, CKA_UNWRAP, CKA_SIGN, CKA_DERIVE, 0});
}

static int compare_wrapped(const void *a, const void *b)
{
    return memcmp(a, b, 24);
}

/* A window of 16 bytes slides bit by bit over a strict key, and grows byte by byte: nothing comes out under a
 * key that the caller knows, and what comes out under the card's never repeats, so that nothing can be
 * compared. */
static void test_windows(void **state)
{
    (void)state;
    static uint8_t seen[512][48];
    policy_start();
    for (int with_cards = 0; with_cards < 2; with_cards++) {
        attack_start(with_cards ? "strict-cards" : "strict");
        CK_OBJECT_HANDLE all = keymat(CKK_GENERIC_SECRET, 64), own = callers_kek(), piece = 0,
                         card = with_cards ? object_by_label(s, "card1") : 0;
        CK_ULONG n;
        struct template t;
        for (CK_ULONG bit = 0; bit < 512; bit++) {
            expect_case("bit %lu", bit);
            template_leaving(&t, CKK_AES, 16, 1);
            require_ok(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, all, &t, &piece));
            expect_error(wrap(own, piece, seen[0], &n));
            if (card)
                expect_ok(wrap(card, piece, seen[bit], &n));
            expect_ok(f->C_DestroyObject(s, piece));
            guard_release();
        }
        if (card) {
            qsort(seen, 512, sizeof *seen, compare_wrapped);
            for (size_t i = 1; i < 512; i++)
                expect(compare_wrapped(seen[i - 1], seen[i]) != 0, "two windows look the same");
        }
        for (CK_ULONG len = 1; len <= 64; len++) {
            const bool aes = len == 16 || len == 24 || len == 32;
            CK_ULONG bit = 0;
            expect_case("%lu bytes", len);
            for (int type = 0; type < 2; type++) {
                template_leaving(&t, type ? CKK_AES : CKK_GENERIC_SECRET, len, 1);
                CK_RV rv = derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, all, &t, &piece);
                expect((rv == CKR_OK) == (len >= 16 && (!type || aes)), "%s", rv_name(rv));
                if (rv == CKR_OK)
                    expect_error(wrap(own, piece, seen[0], &n));
                if (rv == CKR_OK && card)
                    expect((wrap(card, piece, seen[0], &n) == CKR_OK) == type, "type %d", type);
                cases++;
            }
            guard_release();
        }
    }
}

/* A card of a strict keyring gets no value that the caller knows, by whatever way he makes it: else he could
 * make the card use it, or compare what is wrapped. */
static void test_nothing_known_for_a_card(void **state)
{
    (void)state;
    policy_start();
    attack_start("strict-cards");
    CK_OBJECT_HANDLE card = object_by_label(s, "card1"), mine = object_import(s, known, 32),
                     half = object_import(s, known, 16), secret = keymat(CKK_GENERIC_SECRET, 16), o = 0,
                     joined = 0, handle = half;
    uint8_t out[48];
    CK_ULONG n, bit = 0;
    CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE_PTR)(uintptr_t)known, 16};
    CK_HKDF_PARAMS hkdf = {CK_TRUE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_NULL, NULL, 0, 0, NULL, 0};
    const struct {
        CK_MECHANISM_TYPE m;
        const void *p;
        size_t p_len;
        CK_OBJECT_HANDLE base;
        CK_ULONG len;
    } ways[] = {{CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, mine, 32},
                {CKM_CONCATENATE_BASE_AND_KEY, &handle, sizeof handle, half, 0},
                {CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, half, 0},
                {CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof data, half, 0},
                {CKM_CONCATENATE_BASE_AND_KEY, &handle, sizeof handle, secret, 0},
                {CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, secret, 0},
                {CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof data, secret, 0},
                {CKM_HKDF_DERIVE, &hkdf, sizeof hkdf, mine, 32}};
    struct template t;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        expect_case("way %zu", i);
        template_leaving(&t, CKK_AES, ways[i].len, 1);
        require_ok(derive_any(s, ways[i].m, ways[i].p, ways[i].p_len, ways[i].base, &t, &o));
        expect_error(wrap(card, o, out, &n));
        guard_release();
    }
    template_leaving(&t, CKK_AES, 32, 1);
    require_ok(derive_prf_plus(s, false, sha256, mine, 0, "x", 1, &t, &o));
    expect_error(wrap(card, o, out, &n));
    template_leaving(&t, CKK_AES, 0, 1);
    require_ok(derive_prf(s, false, sha256, DERIVE_PRF, mine, 0, "x", 1, NULL, 0, &t, &o));
    expect_error(wrap(card, o, out, &n));
    expect_error(wrap(card, kwp_import(s, known, 32, NULL), out, &n));
    /* joined to known bytes, and cut at the border, where only one byte is unknown */
    template_leaving(&t, CKK_GENERIC_SECRET, 0, 1);
    require_ok(derive_any(s, CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof data, secret, &t, &joined));
    bit = 8;
    template_leaving(&t, CKK_AES, 16, 1);
    expect_error(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, joined, &t, &o));
    cases += 2;
    guard_release();
}

/* What was wrapped does not come back as something else: no key unwraps it but the one it was wrapped under,
 * which here is the card's alone; and of a damaged text every caller learns the same. */
static void test_oracle(void **state)
{
    (void)state;
    uint8_t wrapped[48], card_value[32];
    CK_OBJECT_HANDLE o = 0;
    CK_ULONG n;
    struct template t = {.n = 0};
    policy_start();
    attack_start("strict-cards");
    CK_OBJECT_HANDLE key = keymat(CKK_AES, 32), card = object_by_label(s, "card1"), own = callers_kek();
    require_ok(wrap(card, key, wrapped, &n));
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    const CK_OBJECT_HANDLE with[] = {card,
                                     key,
                                     own,
                                     object_by_label(s, "card2"),
                                     object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID)),
                                     object_by_label(s, "delta/psk")};
    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        expect_error(f->C_UnwrapKey(s, &kwp, with[i], wrapped, n, t.a, t.n, &o));
        cases++;
    }
    /* each bit, each length */
    require(kwp_seal(known, 32, known, 32, wrapped) == 40, "OpenSSL");
    for (size_t bit = 0; bit < 320; bit++) {
        wrapped[bit / 8] ^= (uint8_t)(1 << bit % 8);
        expect_case("bit %zu", bit);
        expect_rv(CKR_WRAPPED_KEY_INVALID, f->C_UnwrapKey(s, &kwp, own, wrapped, 40, t.a, t.n, &o));
        wrapped[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cases++;
    }
    /* well wrapped, but no AES key: of any length, also with padding inside of a good text */
    for (size_t len = 1; len <= 32; len++) {
        n = kwp_seal(known, 32, known, len, wrapped);
        expect_case("%zu bytes wrapped", len);
        const bool good = len == 16 || len == 24 || len == 32;
        expect_rv_in(f->C_UnwrapKey(s, &kwp, own, guard_frozen(wrapped, n), n, t.a, t.n, &o),
                     good ? CKR_OK : CKR_WRAPPED_KEY_INVALID, good ? CKR_OK : CKR_WRAPPED_KEY_LEN_RANGE);
        cases++;
        guard_release();
    }
    /* who knows the card's key can open what it got, of course: that is the card */
    oracle_unhex(KEK_1_HEX, card_value, sizeof card_value);
    uint8_t got[64];
    require_ok(wrap(card, key, wrapped, &n));
    expect(kwp_open(card_value, 32, wrapped, n, got) == 32, "the card cannot open it");
}

/* A session key does not become a wrapping key: neither as it is made, nor later, nor as a copy, nor under
 * itself. */
static void test_no_promotion(void **state)
{
    (void)state;
    static const CK_ATTRIBUTE_TYPE uses[] = {CKA_WRAP,    CKA_UNWRAP, CKA_ENCRYPT,
                                             CKA_DECRYPT, CKA_SIGN,   CKA_DERIVE};
    static const char *const tokens[] = {"cards", "strict", "strict-cards"};
    uint8_t out[48], wrapped[48];
    CK_ULONG n;
    policy_start();
    for (size_t i = 0; i < 3; i++) {
        attack_start(tokens[i]);
        CK_OBJECT_HANDLE key = keymat(CKK_AES, 32), other = keymat(CKK_AES, 32), o = 0, copy = 0;
        CK_BBOOL yes = CK_TRUE;
        struct template t = {.n = 0};
        require(kwp_seal(known, 32, known, 32, wrapped) == 40, "OpenSSL");
        template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
        template_number(&t, CKA_KEY_TYPE, CKK_AES);
        for (size_t u = 0; u < sizeof uses / sizeof *uses; u++) {
            CK_ATTRIBUTE a = {uses[u], &yes, 1};
            f->C_SetAttributeValue(s, key, &a, 1);
        }
        require_ok(f->C_CopyObject(s, key, NULL, 0, &copy));
        const CK_OBJECT_HANDLE as[] = {key, copy};
        for (size_t u = 0; u < 2; u++) {
            expect_case("%s, %s", tokens[i], u ? "the copy" : "the key");
            expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED, wrap(as[u], as[u], out, &n));
            expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED, wrap(as[u], other, out, &n));
            expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                      f->C_UnwrapKey(s, &kwp, as[u], wrapped, 40, t.a, t.n, &o));
            cases++;
        }
        /* a key-encryption key under itself and under another */
        CK_OBJECT_HANDLE own = callers_kek(), card = cards ? object_by_label(s, "card1") : own;
        expect_error(wrap(own, own, out, &n));
        expect_error(wrap(card, card, out, &n));
        expect_error(wrap(own, card, out, &n));
        expect_error(wrap(card, own, out, &n));
        /* the wrapped key as key-encryption key: it is trusted by nobody */
        if (strict)
            continue;
        CK_OBJECT_HANDLE with_trusted = 0, back = 0;
        require_ok(wrap(own, key, wrapped, &n));
        template_bool(&t, CKA_WRAP, true);
        require_ok(f->C_UnwrapKey(s, &kwp, own, wrapped, n, t.a, t.n, &back));
        CK_ATTRIBUTE trusted = {CKA_WRAP_WITH_TRUSTED, &yes, 1};
        require_ok(f->C_CopyObject(s, other, &trusted, 1, &with_trusted));
        expect_rv(CKR_KEY_NOT_WRAPPABLE, wrap(back, with_trusted, out, &n));
        expect_ok(wrap(card, with_trusted, out, &n));
    }
}

/* A key-encryption key that may do all else does none of it with a wrapped key: no mechanism decrypts. */
static void test_no_decryption(void **state)
{
    (void)state;
    static const CK_MECHANISM_TYPE types[] = {
        CKM_AES_ECB,  CKM_AES_CBC, CKM_AES_CBC_PAD,  CKM_AES_CTR,          CKM_AES_GCM,
        CKM_AES_CMAC, CKM_AES_MAC, CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD, CKM_AES_KEY_WRAP_KWP};
    uint8_t iv[16] = {0}, out[64];
    CK_ULONG n;
    policy_start();
    attack_start("cards");
    CK_OBJECT_HANDLE kek = kwp_import(
        s, known, 32,
        (CK_ATTRIBUTE_TYPE[]){CKA_WRAP, CKA_UNWRAP, CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, 0});
    const CK_OBJECT_HANDLE keks[] = {kek, object_by_label(s, "card1")};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
            for (int parameter = 0; parameter < 2; parameter++) {
                CK_MECHANISM m = {types[i], parameter ? iv : NULL, parameter ? sizeof iv : 0};
                expect_case("mechanism 0x%lx", types[i]);
                expect_error(f->C_DecryptInit(s, &m, keks[k]));
                expect_error(f->C_EncryptInit(s, &m, keks[k]));
                expect_error(f->C_SignInit(s, &m, keks[k]));
                expect_error(f->C_VerifyInit(s, &m, keks[k]));
                n = sizeof out;
                expect_error(f->C_Decrypt(s, out, 40, out, &n));
                cases += 5;
            }
    for (size_t p = 0; p < 4; p++) {
        CK_MECHANISM m = {oracle_prfs[p].hmac, NULL, 0};
        expect_error(f->C_SignInit(s, &m, kek));
        expect_error(f->C_SignInit(s, &m, keks[1]));
        cases += 2;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_windows),       TOKEN_TEST(test_nothing_known_for_a_card),
        TOKEN_TEST(test_oracle),        TOKEN_TEST(test_no_promotion),
        TOKEN_TEST(test_no_decryption),
    };
    return policy_main("attacks on wrapping", 2000, tests, sizeof tests / sizeof *tests);
}
