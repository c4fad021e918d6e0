/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys never leave: derived-keys sensitive holds for every generation, and a key does not fall apart into
 * pieces that can be guessed. */
#include "guard.h"
#include "policy.h"

/* ---- derived-keys sensitive: not in the second generation either ---- */

static const uint8_t ni[32] = "nonces, as long as SK_d'";

static CK_OBJECT_HANDLE strict_derive(struct kind *k)
{
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    template_vary(&t, 0, 32); /* nothing said of SENSITIVE and EXTRACTABLE */
    /* a PSK's business is AUTH's inner key, 32 bytes as well */
    CK_RV rv = k->psk ? derive_prf(k->s, false, &oracle_prfs[1], DERIVE_PRF, k->key, 0, "Key Pad for IKEv2",
                                   17, NULL, 0, &t, &o)
                      : derive_prf_plus(k->s, false, &oracle_prfs[1], k->key, 0, ni, sizeof ni, &t, &o);
    guard_release();
    return rv == CKR_OK ? o : 0;
}

/* `o` is where the call has left its handle */
static void expect_hidden(struct kind *k, CK_RV rv, const CK_OBJECT_HANDLE *derived)
{
    uint8_t out[600];
    CK_OBJECT_HANDLE o = *derived;
    cases++;
    if (rv == CKR_OK) {
        expect(object_bytes(k->s, o, CKA_VALUE, out, sizeof out) == (size_t)-1,
               "what was derived from a derived key can be read");
        const int extractable = object_bool(k->s, o, CKA_EXTRACTABLE);
        CK_ULONG n = sizeof out;
        expect(object_bool(k->s, o, CKA_SENSITIVE) == 1 && extractable <= (k->card != 0) &&
                   extractable <= object_bool(k->s, o, CKA_WRAP_WITH_TRUSTED),
               "SENSITIVE %d, EXTRACTABLE %d", object_bool(k->s, o, CKA_SENSITIVE), extractable);
        expect_error(f->C_WrapKey(k->s, &kwp, k->callers_kek, o, out, &n));
    }
    guard_release();
}

static void test_strict_descendants(void **state)
{
    (void)state;
    policy_start();
    for (size_t i = 0; i < n_kinds; i++) {
        struct kind *k = &kinds[i];
        if (!k->strict || k->kek)
            continue;
        expect_case("%s", k->name);
        CK_OBJECT_HANDLE caller = object_import(k->s, known, sizeof known), child = strict_derive(k), o = 0;
        require(child != 0, "nothing can be derived");
        CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
        CK_ATTRIBUTE clear = {CKA_SENSITIVE, &no, 1}, extract = {CKA_EXTRACTABLE, &yes, 1};
        cases += 4;
        expect_error(f->C_SetAttributeValue(k->s, child, &clear, 1));
        expect_error(f->C_SetAttributeValue(k->s, child, &extract, 1));
        expect_error(f->C_CopyObject(k->s, child, &clear, 1, &o));
        expect_error(f->C_CopyObject(k->s, child, &extract, 1, &o));
        for (unsigned v = 0; v < VARIATIONS; v++) {
            struct template t;
            CK_ULONG bit = 0;
            CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE_PTR)(uintptr_t) "known", 5};
            CK_HKDF_PARAMS expand = {CK_FALSE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_NULL, NULL, 0, 0, NULL, 0},
                           salt = {CK_TRUE, CK_FALSE, CKM_SHA256, CKF_HKDF_SALT_KEY, NULL, 0, child, NULL, 0};
            expect_case("%s, variation %u", k->name, v);
            template_vary(&t, v, 16);
            expect_hidden(k, derive_prf_plus(k->s, false, &oracle_prfs[1], child, 0, ni, sizeof ni, &t, &o),
                          &o);
            expect_hidden(
                k, derive_prf_plus(k->s, false, &oracle_prfs[1], caller, child, ni, sizeof ni, &t, &o), &o);
            expect_hidden(k, derive_any(k->s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, child, &t, &o), &o);
            expect_hidden(k, derive_any(k->s, CKM_HKDF_DERIVE, &expand, sizeof expand, child, &t, &o), &o);
            template_vary(&t, v, 0);
            expect_hidden(k,
                          derive_prf(k->s, false, &oracle_prfs[1], DERIVE_PRF, child, 0, ni, sizeof ni, NULL,
                                     0, &t, &o),
                          &o);
            expect_hidden(k,
                          derive_prf(k->s, false, &oracle_prfs[1], DERIVE_DATA_AS_KEY, child, 0, ni,
                                     sizeof ni, NULL, 0, &t, &o),
                          &o);
            expect_hidden(k,
                          derive_prf(k->s, false, &oracle_prfs[1], DERIVE_REKEY, caller, child, ni, sizeof ni,
                                     NULL, 0, &t, &o),
                          &o);
            expect_hidden(k, derive_any(k->s, CKM_HKDF_DERIVE, &salt, sizeof salt, caller, &t, &o), &o);
            expect_hidden(
                k, derive_any(k->s, CKM_CONCATENATE_BASE_AND_KEY, &caller, sizeof caller, child, &t, &o), &o);
            expect_hidden(
                k, derive_any(k->s, CKM_CONCATENATE_BASE_AND_KEY, &child, sizeof child, caller, &t, &o), &o);
            expect_hidden(
                k, derive_any(k->s, CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, child, &t, &o), &o);
            expect_hidden(
                k, derive_any(k->s, CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof data, child, &t, &o), &o);
        }
    }
}

/* The attack that short pieces allow: a key of one unknown byte, found by trying 256 MACs. It is carried out,
 * on the PPK itself and on what was derived from it in a strict keyring: by cutting, and by cutting across
 * the border of known bytes. */
static bool piece_guessed(struct kind *k, CK_OBJECT_HANDLE piece, const uint8_t *prefix, size_t prefix_len)
{
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    uint8_t mac[32], want[64], key[64];
    CK_ULONG n = sizeof mac;
    if (f->C_SignInit(k->s, &hmac, piece) != CKR_OK ||
        f->C_Sign(k->s, (CK_BYTE_PTR)(uintptr_t)IDENTITY, sizeof IDENTITY, mac, &n) != CKR_OK)
        return false;
    memcpy(key, prefix, prefix_len);
    for (unsigned guess = 0; guess < 256; guess++) {
        key[prefix_len] = (uint8_t)guess;
        oracle_hmac(&oracle_prfs[1], key, prefix_len + 1, IDENTITY, sizeof IDENTITY, want);
        if (memcmp(want, mac, 32) == 0)
            return true;
    }
    return false;
}

static void test_one_byte_at_a_time(void **state)
{
    (void)state;
    policy_start();
    for (size_t i = 0; i < n_kinds; i++)
        for (int derived = 0; derived < 2; derived++) {
            struct kind *k = &kinds[i];
            if (derived && (!k->strict || k->kek))
                continue; /* what is derived in others may leave */
            CK_OBJECT_HANDLE target = derived ? strict_derive(k) : k->key,
                             caller = object_import(k->s, known, 15), piece = 0, joined = 0;
            CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE_PTR)(uintptr_t)known, 15};
            CK_ULONG bit = 0;
            struct template t;
            expect_case("%s%s", k->name, derived ? ", derived" : "");
            derive_template(&t, 1);
            cases++;
            if (derive_any(k->s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, target, &t, &piece) == CKR_OK)
                expect(!piece_guessed(k, piece, known, 0), "its first byte was found by cutting it off");
            for (int way = 0; way < 3; way++) {
                static const CK_MECHANISM_TYPE join[] = {CKM_CONCATENATE_DATA_AND_BASE,
                                                         CKM_CONCATENATE_BASE_AND_KEY,
                                                         CKM_CONCATENATE_BASE_AND_DATA};
                derive_template(&t, 0);
                template_bool(&t, CKA_VERIFY, true);
                cases++;
                CK_RV rv = way == 1 ? derive_any(k->s, join[way], &target, sizeof target, caller, &t, &joined)
                                    : derive_any(k->s, join[way], &data, sizeof data, target, &t, &joined);
                if (rv != CKR_OK)
                    continue;
                bit = way == 2 ? 31 * 8
                               : 0; /* last byte of 32 and 15 known ones, or 15 known ones and the first */
                derive_template(&t, 16);
                if (derive_any(k->s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, joined, &t, &piece) !=
                    CKR_OK)
                    continue;
                if (way != 2)
                    expect(!piece_guessed(k, piece, known, 15),
                           "a byte was found by joining (0x%lx) and cutting", join[way]);
                else
                    expect(false, "it can be joined to known bytes (0x%lx) and cut at the border", join[way]);
            }
            /* CKA_VALUE_LEN that shortens on the way: a prf+ of one byte is no byte of the key */
            guard_release();
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_strict_descendants),
                                       TOKEN_TEST(test_one_byte_at_a_time)};
    return policy_main("strict keyrings", 1000, tests, sizeof tests / sizeof *tests);
}
