/* SPDX-License-Identifier: BSD-2-Clause */
/* C_DeriveKey: the IKE mechanisms (PKCS#11 3.1, 6.66) against NIST's chains, RFC 8784 and an independent
 * computation. */
#include "conf.h"
#include "derive.h"
#include "guard.h"

#include <jansson.h>
#include <stdlib.h>

static CK_SESSION_HANDLE s;

static void start(void)
{
    s = harness_start(CONF_MANUAL);
}

static void drop(CK_OBJECT_HANDLE o)
{
    if (o)
        expect_ok(f->C_DestroyObject(s, o));
    guard_release();
}

/* ---- tests/vectors ---- */

static size_t member(json_t *object, const char *name, uint8_t *out, size_t room)
{
    const char *hex = json_string_value(json_object_get(object, name));
    return hex ? oracle_unhex(hex, out, room) : 0;
}

static void test_vectors(void **state)
{
    (void)state;
    json_error_t error;
    json_t *root = json_load_file(PPK_SOURCE_DIR "/tests/vectors/ikev2-kdf.json", 0, &error), *c;
    size_t i, done = 0;
    require(root != NULL, "%s", error.text);
    start();
    json_array_foreach(json_object_get(root, "cases"), i, c) for (int nss = 0; nss < 2; nss++)
    {
        static uint8_t base[600], seed_key[600], seed[600], ni[600], nr[600], new_key[600], out[600];
        const char *op = json_string_value(json_object_get(c, "op"));
        const struct oracle_prf *prf = oracle_prf_by_name(json_string_value(json_object_get(c, "prf")));
        size_t base_len = member(c, "base", base, 600), seed_key_len = member(c, "seedkey", seed_key, 600),
               seed_len = member(c, "seed", seed, 600);
        size_t ni_len = member(c, "ni", ni, 600), nr_len = member(c, "nr", nr, 600),
               new_len = member(c, "newkey", new_key, 600), out_len = member(c, "out", out, 600);
        CK_OBJECT_HANDLE b = object_import(s, base, base_len), other = 0, o = 0;
        struct template t;
        expect_case("%s, NSS's number: %d", json_string_value(json_object_get(c, "id")), nss);
        if (strcmp(op, "prf_plus") == 0) {
            if (seed_key_len)
                other = object_import(s, seed_key, seed_key_len);
            derive_template(&t, out_len);
            expect_ok(derive_prf_plus(s, nss, prf, b, other, seed, seed_len, &t, &o));
        } else {
            enum derive_kind kind = strcmp(op, "prf_rekey") == 0         ? DERIVE_REKEY
                                    : strcmp(op, "prf_data_as_key") == 0 ? DERIVE_DATA_AS_KEY
                                                                         : DERIVE_PRF;
            if (new_len)
                other = object_import(s, new_key, new_len);
            derive_template(&t, 0);
            expect_ok(
                derive_prf(s, nss, prf, kind, b, other, ni, ni_len, nr_len ? nr : NULL, nr_len, &t, &o));
        }
        expect_key(s, o, out, out_len);
        drop(o);
        drop(b);
        if (other)
            drop(other);
        done++;
    }
    expect(done == 54, "%zu vectors", done);
    json_decref(root);
}

/* A whole chain inside the token: SKEYSEED, all SK_*, a child SA's KEYMAT with and without a new exchange,
 * the rekeyed SKEYSEED. No value leaves the token on the way but for the check at each end. */
static void test_chain(void **state)
{
    (void)state;
    json_error_t error;
    json_t *root = json_load_file(PPK_SOURCE_DIR "/tests/vectors/ikev2-chain-sha1.json", 0, &error);
    require(root != NULL, "%s", error.text);
    json_t *in = json_object_get(root, "input"), *out = json_object_get(root, "expected");
    static uint8_t g[64], g_new[64], ni[64], nr[64], spi_i[16], spi_r[16], want[600], seed[300];
    const struct oracle_prf *prf = oracle_prf_by_name("sha1");
    size_t g_len = member(in, "gir", g, 64), g_new_len = member(in, "girNew", g_new, 64),
           ni_len = member(in, "nInit", ni, 64), nr_len = member(in, "nResp", nr, 64);
    size_t spi_i_len = member(in, "spiInit", spi_i, 16), spi_r_len = member(in, "spiResp", spi_r, 16), n;
    CK_OBJECT_HANDLE gir, gir_new, skeyseed = 0, all = 0, sk_d = 0, keymat = 0, rekeyed = 0;
    CK_ULONG bit = 0;
    struct template t;
    start();
    gir = object_import(s, g, g_len);
    gir_new = object_import(s, g_new, g_new_len);
    derive_template(&t, 0);
    require_ok(derive_prf(s, false, prf, DERIVE_DATA_AS_KEY, gir, 0, ni, ni_len, nr, nr_len, &t, &skeyseed));
    n = member(out, "sKeySeed", want, sizeof want);
    expect_key(s, skeyseed, want, n);
    n = 0;
    memcpy(seed, ni, ni_len), n += ni_len;
    memcpy(seed + n, nr, nr_len), n += nr_len;
    size_t nonces = n;
    memcpy(seed + n, spi_i, spi_i_len), n += spi_i_len;
    memcpy(seed + n, spi_r, spi_r_len), n += spi_r_len;
    size_t all_len = member(out, "derivedKeyingMaterial", want, sizeof want);
    derive_template(&t, all_len);
    require_ok(derive_prf_plus(s, false, prf, skeyseed, 0, seed, n, &t, &all));
    expect_key(s, all, want, all_len);
    derive_template(&t, 20);
    require_ok(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, all, &t, &sk_d));
    expect_key(s, sk_d, want, 20);
    n = member(out, "derivedKeyingMaterialChild", want, sizeof want);
    derive_template(&t, n);
    require_ok(derive_prf_plus(s, false, prf, sk_d, 0, seed, nonces, &t, &keymat));
    expect_key(s, keymat, want, n);
    n = member(out, "derivedKeyingMaterialDh", want, sizeof want);
    derive_template(&t, n);
    require_ok(derive_prf_plus(s, false, prf, sk_d, gir_new, seed, nonces, &t, &keymat));
    expect_key(s, keymat, want, n);
    n = member(out, "sKeySeedReKey", want, sizeof want);
    derive_template(&t, 0);
    require_ok(derive_prf(s, false, prf, DERIVE_REKEY, sk_d, gir_new, ni, ni_len, nr, nr_len, &t, &rekeyed));
    expect_key(s, rekeyed, want, n);
    json_decref(root);
}

/* ---- RFC 8784 ---- */

static void test_rfc8784(void **state)
{
    (void)state;
    static const struct {
        const char *id, *hex;
    } ppks[] = {{MANUAL_1_ID, MANUAL_1_HEX}, {MANUAL_2_ID, MANUAL_2_HEX}};
    struct oracle_random r = {8784};
    start();
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < 4; i++)
            for (int sk = 0; sk < 3; sk++)
                for (int way = 0; way < 4; way++) {
                    static const char *const names[] = {"SK_d", "SK_pi", "SK_pr"};
                    const struct oracle_prf *prf = &oracle_prfs[i];
                    uint8_t ppk[64], old[65], want[64];
                    size_t ppk_len = oracle_unhex(ppks[k].hex, ppk, sizeof ppk);
                    bool as_key = way & 1, nss = way & 2;
                    expect_case("%s, %s, PPK of %zu bytes, seed as %s, NSS's number: %d", names[sk],
                                prf->name, ppk_len, as_key ? "key" : "bytes", nss);
                    oracle_fill(&r, old, prf->size);
                    old[prf->size] = 1;
                    oracle_hmac(prf, ppk, ppk_len, old, prf->size + 1, want); /* prf(PPK, SK' | 0x01) */
                    CK_OBJECT_HANDLE base = object_by_id(s, ppks[k].id, strlen(ppks[k].id)),
                                     seed = as_key ? object_import(s, old, prf->size) : 0, o = 0;
                    struct template t;
                    derive_template(&t, prf->size);
                    if (expect_ok(
                            derive_prf_plus(s, nss, prf, base, seed, as_key ? NULL : old, prf->size, &t, &o)))
                        expect_key(s, o, want, prf->size);
                    expect(object_bool(s, o, CKA_ALWAYS_SENSITIVE) == 0 &&
                               object_bool(s, o, CKA_NEVER_EXTRACTABLE) == 0,
                           "an extractable key with the history of a sensitive one");
                    drop(o);
                    /* sensitive, not extractable: the same key, seen by its MAC */
                    derive_template(&t, prf->size);
                    t.bools[3] = true;  /* SENSITIVE */
                    t.bools[4] = false; /* EXTRACTABLE */
                    if (expect_ok(derive_prf_plus(s, nss, prf, base, seed, as_key ? NULL : old, prf->size, &t,
                                                  &o))) {
                        CK_MECHANISM hmac = {prf->hmac, NULL, 0};
                        uint8_t mac[64], want_mac[64];
                        CK_ULONG n = sizeof mac;
                        expect_ok(f->C_SignInit(s, &hmac, o));
                        expect_ok(f->C_Sign(s, old, 8, mac, &n));
                        oracle_hmac(prf, want, prf->size, old, 8, want_mac);
                        expect(n == prf->size && memcmp(mac, want_mac, n) == 0, "another key");
                        expect(object_bytes(s, o, CKA_VALUE, mac, sizeof mac) == (size_t)-1, "readable");
                        expect(object_bool(s, o, CKA_SENSITIVE) == 1 &&
                                   object_bool(s, o, CKA_EXTRACTABLE) == 0,
                               "not as asked");
                        expect(object_bool(s, o, CKA_ALWAYS_SENSITIVE) == 1, "CKA_ALWAYS_SENSITIVE %d",
                               object_bool(s, o, CKA_ALWAYS_SENSITIVE));
                        expect(object_bool(s, o, CKA_NEVER_EXTRACTABLE) ==
                                   object_bool(s, base, CKA_NEVER_EXTRACTABLE),
                               "CKA_NEVER_EXTRACTABLE %d, the base's %d",
                               object_bool(s, o, CKA_NEVER_EXTRACTABLE),
                               object_bool(s, base, CKA_NEVER_EXTRACTABLE));
                        expect(object_bool(s, o, CKA_LOCAL) == 0 && object_bool(s, o, CKA_TOKEN) == 0,
                               "local or token");
                    }
                    drop(o);
                    if (seed)
                        drop(seed);
                }
}

/* AUTH's inner key as NSS's users compute it: prf(PSK, "Key Pad for IKEv2"), pNr = NULL; and by HMAC */
static void test_psk_auth(void **state)
{
    (void)state;
    static const char pad[] = "Key Pad for IKEv2";
    start();
    CK_OBJECT_HANDLE psk = object_by_label(s, "alpha/psk");
    for (size_t i = 0; i < 4; i++) {
        const struct oracle_prf *prf = &oracle_prfs[i];
        uint8_t want[64], mac[64];
        CK_OBJECT_HANDLE o = 0;
        CK_ULONG n = sizeof mac;
        CK_MECHANISM hmac = {prf->hmac, NULL, 0};
        struct template t;
        expect_case("%s", prf->name);
        oracle_hmac(prf, PSK_ALPHA, strlen(PSK_ALPHA), pad, strlen(pad), want);
        derive_template(&t, 0);
        if (expect_ok(derive_prf(s, false, prf, DERIVE_PRF, psk, 0, pad, strlen(pad), NULL, 0, &t, &o)))
            expect_key(s, o, want, prf->size);
        drop(o);
        expect_ok(f->C_SignInit(s, &hmac, psk));
        expect_ok(f->C_Sign(s, guard_frozen(pad, strlen(pad)), strlen(pad), mac, &n));
        expect(n == prf->size && memcmp(mac, want, n) == 0, "another MAC");
        /* the nonces are one text, wherever it is divided */
        derive_template(&t, prf->size);
        if (expect_ok(derive_prf(s, true, prf, DERIVE_PRF, psk, 0, pad, 7, pad + 7, strlen(pad) - 7, &t, &o)))
            expect_key(s, o, want, prf->size);
        if (expect_ok(derive_prf(s, true, prf, DERIVE_PRF, psk, 0, NULL, 0, pad, strlen(pad), &t, &o)))
            expect_key(s, o, want, prf->size);
        /* and no other text, and in no other form (DESIGN: a PSK is for AUTH) */
        static const char *const others[] = {"Key Pad for IKEv", "Key Pad for IKEv2 ", "key pad for IKEv2",
                                             "x", "Key Pad for IKEv3"};
        for (size_t k = 0; k < sizeof others / sizeof *others; k++)
            for (size_t cut = 0; cut <= strlen(others[k]); cut += 3)
                expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                          derive_prf(s, false, prf, DERIVE_PRF, psk, 0, others[k], cut, others[k] + cut,
                                     strlen(others[k]) - cut, &t, &o));
        expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
                  derive_prf(s, false, prf, DERIVE_PRF, psk, 0, NULL, 0, NULL, 0, &t, &o));
        expect_error(
            derive_prf(s, false, prf, DERIVE_DATA_AS_KEY, psk, 0, pad, strlen(pad), NULL, 0, &t, &o));
        CK_OBJECT_HANDLE other = object_import(s, "a key of the caller's", 21);
        expect_error(derive_prf(s, false, prf, DERIVE_REKEY, psk, other, pad, strlen(pad), NULL, 0, &t, &o));
        expect_error(derive_prf(s, false, prf, DERIVE_REKEY, other, psk, pad, strlen(pad), NULL, 0, &t, &o));
        expect_error(derive_prf_plus(s, false, prf, psk, 0, pad, strlen(pad), &t, &o));
        guard_release();
    }
}

/* ---- random inputs, all forms, against the formulas ---- */

static void test_random_inputs(void **state)
{
    (void)state;
    struct oracle_random r = {7296};
    static uint8_t base[300], other[300], ni[700], nr[700], message[2000], want[9000];
    start();
    for (int round = 0; round < 1000; round++) {
        const struct oracle_prf *prf = &oracle_prfs[oracle_below(&r, 4)];
        size_t base_len = 1 + oracle_below(&r, 200), other_len = 1 + oracle_below(&r, 200),
               ni_len = oracle_below(&r, 600), nr_len = oracle_below(&r, 600);
        bool with_other = oracle_below(&r, 2), nss = oracle_below(&r, 2);
        size_t kind = oracle_below(&r, 4), n = 0, out_len = prf->size;
        oracle_fill(&r, base, base_len);
        oracle_fill(&r, other, other_len);
        oracle_fill(&r, ni, ni_len);
        oracle_fill(&r, nr, nr_len);
        CK_OBJECT_HANDLE b = object_import(s, base, base_len), x = 0, o = 0;
        struct template t;
        CK_RV rv;
        expect_case("round %d: %s, kind %zu, base %zu, other %zu, ni %zu, nr %zu", round, prf->name, kind,
                    base_len, with_other ? other_len : 0, ni_len, nr_len);
        if (kind == 3) {
            out_len = 1 + oracle_below(&r, oracle_below(&r, 4) ? 200 : 4000);
            if (with_other) {
                x = object_import(s, other, other_len);
                memcpy(message, other, other_len), n = other_len;
            }
            memcpy(message + n, ni, ni_len), n += ni_len;
            oracle_prf_plus(prf, base, base_len, message, n, want, out_len);
            derive_template(&t, out_len);
            rv = derive_prf_plus(s, nss, prf, b, x, ni_len ? ni : NULL, ni_len, &t, &o);
        } else {
            if (kind == DERIVE_REKEY) {
                x = object_import(s, other, other_len);
                memcpy(message, other, other_len), n = other_len;
            }
            memcpy(message + n, ni, ni_len), n += ni_len;
            memcpy(message + n, nr, nr_len), n += nr_len;
            if (kind == DERIVE_DATA_AS_KEY)
                oracle_hmac(prf, message, n, base, base_len, want);
            else
                oracle_hmac(prf, base, base_len, message, n, want);
            derive_template(&t, round & 1 ? prf->size : 0);
            rv = derive_prf(s, nss, prf, (enum derive_kind)kind, b, x, ni_len ? ni : NULL, ni_len,
                            nr_len ? nr : NULL, nr_len, &t, &o);
        }
        if (expect_rv(CKR_OK, rv))
            expect_key(s, o, want, out_len);
        drop(o);
        drop(b);
        if (x)
            drop(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_vectors),  TOKEN_TEST(test_chain),         TOKEN_TEST(test_rfc8784),
        TOKEN_TEST(test_psk_auth), TOKEN_TEST(test_random_inputs),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
