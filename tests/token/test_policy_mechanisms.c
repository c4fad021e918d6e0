/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys never leave: every mechanism that a configured key may not serve, with every form of parameter and in
 * every role, and MACs, which come out whole or not at all. */
#include "policy.h"

static bool allowed(const struct kind *k, CK_MECHANISM_TYPE type)
{
    CK_MECHANISM_TYPE list[64];
    size_t n = object_bytes(k->s, k->key, CKA_ALLOWED_MECHANISMS, list, sizeof list);
    for (size_t i = 0; n != (size_t)-1 && i < n / sizeof *list; i++)
        if (list[i] == type)
            return true;
    return false;
}

/* ---- every other mechanism there is, with every form of parameter, in every role ---- */

static bool ike_mechanism(CK_MECHANISM_TYPE m)
{
    return m == CKM_IKE2_PRF_PLUS_DERIVE || m == CKM_IKE_PRF_DERIVE || m == CKM_NSS_IKE_PRF_PLUS_DERIVE ||
           m == CKM_NSS_IKE_PRF_DERIVE;
}

static bool hmac_mechanism(CK_MECHANISM_TYPE m)
{
    return m == CKM_SHA_1_HMAC || m == CKM_SHA256_HMAC || m == CKM_SHA384_HMAC || m == CKM_SHA512_HMAC;
}

/* Calls `visit` for the standard's mechanism numbers and those of NSS. */
static void each_mechanism(void (*visit)(struct kind *k, CK_MECHANISM_TYPE m), struct kind *k)
{
    static const struct {
        CK_MECHANISM_TYPE first, n;
    } ranges[] = {
        {0, 0x1100},        {0x1100, 0x200},           {0x2000, 0x20}, {0x2100, 0x20}, {0x4000, 0x80},
        {0xCE534350, 0x60}, {CKM_VENDOR_DEFINED, 0x10}};
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
        for (CK_MECHANISM_TYPE m = 0; m < ranges[r].n; m++)
            visit(k, ranges[r].first + m);
}

static CK_OBJECT_HANDLE callers_key;

static void no_derivation(struct kind *k, CK_MECHANISM_TYPE type)
{
    static CK_BYTE iv_and_data[64] = {0};
    CK_ULONG offset = 0;
    CK_OBJECT_HANDLE itself = k->key;
    CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE_PTR)(uintptr_t) "xx", 2};
    struct {
        CK_MECHANISM_TYPE prf;
        CK_BBOOL has_prev;
        CK_OBJECT_HANDLE gxy, prev;
        CK_BYTE_PTR extra;
        CK_ULONG extra_len;
    } ike1 = {CKM_SHA256_HMAC, CK_TRUE, k->key, k->key, iv_and_data, 8};
    CK_HKDF_PARAMS hkdf = {CK_FALSE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_NULL, NULL, 0, 0, NULL, 0},
                   hkdf_salt = {CK_TRUE, CK_FALSE, CKM_SHA256, CKF_HKDF_SALT_KEY, NULL, 0, k->key, NULL, 0},
                   hkdf_both = {CK_TRUE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_DATA, iv_and_data, 8, 0, NULL, 0};
    const struct {
        void *p;
        CK_ULONG len;
    } parameters[] = {{NULL, 0},
                      {&offset, sizeof offset},
                      {&itself, sizeof itself},
                      {&data, sizeof data},
                      {&ike1, sizeof ike1},
                      {iv_and_data, 16},
                      {&hkdf, sizeof hkdf},
                      {&hkdf_salt, sizeof hkdf_salt},
                      {&hkdf_both, sizeof hkdf_both}};
    if (ike_mechanism(type) && !k->kek)
        return;
    expect_case("%s, mechanism 0x%lx", k->name, type);
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        /* Both the PPK as base, and a key of the caller's as base with the PPK in the parameter */
        bool names_it =
            parameters[i].p == &itself || parameters[i].p == &ike1 || parameters[i].p == &hkdf_salt;
        for (int role = 0; role < (names_it ? 2 : 1); role++) {
            CK_MECHANISM m = {type, parameters[i].p, parameters[i].len};
            CK_OBJECT_HANDLE o = 0;
            struct template t;
            derive_template(&t, i & 1 ? 1 : 32);
            cases++;
            CK_RV rv = f->C_DeriveKey(k->s, &m, role ? callers_key : k->key, t.a, t.n, &o);
            /* The number of a key is a bit offset, too. */
            if (role && type == CKM_EXTRACT_KEY_FROM_KEY)
                continue;
            expect(rv != CKR_OK, "parameter %zu, role %d: a key came out", i, role);
        }
    }
}

static void no_operation(struct kind *k, CK_MECHANISM_TYPE type)
{
    uint8_t out[256], iv[16] = {0};
    CK_ULONG n = sizeof out, mac_len = 1;
    CK_OBJECT_HANDLE o = 0;
    CK_SESSION_HANDLE s = k->s;
    CK_MECHANISM ms[] = {{type, NULL, 0}, {type, iv, 16}, {type, &mac_len, sizeof mac_len}};
    struct template t;
    expect_case("%s, mechanism 0x%lx", k->name, type);
    for (size_t i = 0; i < 3; i++) {
        CK_MECHANISM *m = &ms[i];
        cases += 14;
        expect_error(f->C_EncryptInit(s, m, k->key));
        expect_error(f->C_DecryptInit(s, m, k->key));
        expect_error(f->C_WrapKey(s, m, k->key, callers_key, out, &n));
        expect_error(f->C_WrapKey(s, m, callers_key, k->key, out, &n));
        expect_error(f->C_WrapKey(s, m, k->key, k->key, NULL, &n));
        expect_error(f->C_WrapKey(s, m, k->callers_kek, k->key, out, &n));
        expect_error(f->C_WrapKey(s, m, k->callers_kek, k->key, NULL, &n));
        expect_error(f->C_WrapKey(s, m, k->key, k->callers_kek, out, &n));
        derive_template(&t, 0);
        expect_error(f->C_UnwrapKey(s, m, k->key, out, 32, t.a, t.n, &o));
        expect_error(f->C_SignRecoverInit(s, m, k->key));
        expect_error(f->C_VerifyRecoverInit(s, m, k->key));
        if (f->C_DigestInit(s, m) == CKR_OK) {
            expect_error(f->C_DigestKey(s, k->key));
            n = sizeof out;
            f->C_DigestFinal(s, out, &n);
        }
        if (hmac_mechanism(type) && i == 0 && !k->kek)
            continue;
        CK_RV rv = f->C_SignInit(s, m, k->key);
        expect(rv != CKR_OK, "C_SignInit, parameter %zu", i);
        rv = f->C_VerifyInit(s, m, k->key);
        expect(rv != CKR_OK, "C_VerifyInit, parameter %zu", i);
    }
    expect_error(f->C_DigestKey(s, k->key));
}

static void test_other_mechanisms(void **state)
{
    (void)state;
    policy_start();
    for (size_t i = 0; i < n_kinds; i++) {
        callers_key = object_import(kinds[i].s, known, sizeof known);
        each_mechanism(no_derivation, &kinds[i]);
        each_mechanism(no_operation, &kinds[i]);
        for (CK_MECHANISM_TYPE m = 0; m < 0x5000; m++)
            if (allowed(&kinds[i], m) &&
                (kinds[i].kek ? m != CKM_AES_KEY_WRAP_KWP : !ike_mechanism(m) && !hmac_mechanism(m)))
                expect(false, "CKA_ALLOWED_MECHANISMS has 0x%lx", m);
    }
}

/* ---- MACs: whole, or nothing ---- */

static void test_macs(void **state)
{
    (void)state;
    policy_start();
    for (size_t i = 0; i < n_kinds; i++)
        for (size_t p = 0; p < 4; p++)
            for (size_t room = 0; room <= 70; room++)
                for (int final = 0; final < 2; final++) {
                    const struct kind *k = &kinds[i];
                    const struct oracle_prf *prf = &oracle_prfs[p];
                    CK_MECHANISM m = {prf->hmac, NULL, 0};
                    uint8_t out[80], want[64];
                    CK_ULONG n = room;
                    memset(out, 0xA5, sizeof out);
                    expect_case("%s, %s, room for %zu", k->name, prf->name, room);
                    cases++;
                    CK_SESSION_HANDLE s = k->ro;
                    if (k->kek) {
                        expect_rv(CKR_KEY_TYPE_INCONSISTENT, f->C_SignInit(s, &m, k->key));
                        continue;
                    }
                    if (k->psk && k->strict) { /* prf(PSK, "Key Pad for IKEv2") would be the key for AUTH */
                        expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED, f->C_SignInit(s, &m, k->key));
                        continue;
                    }
                    if (!expect_ok(f->C_SignInit(s, &m, k->key)))
                        continue;
                    if (final)
                        expect_ok(f->C_SignUpdate(s, (CK_BYTE_PTR)(uintptr_t) "text", 4));
                    CK_RV rv = final ? f->C_SignFinal(s, out, &n)
                                     : f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t) "text", 4, out, &n);
                    expect_rv(room < prf->size ? CKR_BUFFER_TOO_SMALL : CKR_OK, rv);
                    if (rv == CKR_OK) {
                        oracle_hmac(prf, k->value, k->len, "text", 4, want);
                        expect(n == prf->size && memcmp(out, want, n) == 0, "no MAC over the whole key");
                        continue;
                    }
                    for (size_t x = 0; x < sizeof out; x++)
                        if (out[x] != 0xA5) {
                            expect(false, "a part of a MAC was written");
                            break;
                        }
                    n = sizeof out;
                    expect_ok(final ? f->C_SignFinal(s, out, &n)
                                    : f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t) "text", 4, out, &n));
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_macs), TOKEN_TEST(test_other_mechanisms)};
    return policy_main("mechanisms", 500000, tests, sizeof tests / sizeof *tests);
}
