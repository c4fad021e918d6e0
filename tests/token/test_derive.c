/* SPDX-License-Identifier: BSD-2-Clause */
/* C_DeriveKey: the IKE mechanisms (PKCS#11 3.1, 6.66) against NIST's chains, RFC 8784 and an independent
 * computation; what is built on top of them from keys that are no PPKs; and every parameter that is wrong. */
#include "conf.h"
#include "derive.h"
#include "guard.h"

#include <jansson.h>
#include <stdlib.h>

static CK_SESSION_HANDLE s;
static uint8_t big[20000];

static void start(void)
{
    harness_conf("%s", CONF_MANUAL);
    require_ok(f->C_Initialize(NULL));
    s = harness_session("main");
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

/* ---- lengths ---- */

static void test_lengths(void **state)
{
    (void)state;
    uint8_t key[32] = {42}, seed[5] = "seed";
    static uint8_t want[20000];
    start();
    CK_OBJECT_HANDLE base = object_import(s, key, 32), o;
    for (size_t i = 0; i < 4; i++) {
        const struct oracle_prf *prf = &oracle_prfs[i];
        const CK_ULONG most = 255 * prf->size;
        const CK_ULONG lengths[] = {1, prf->size - 1, prf->size, prf->size + 1, 4096, most};
        struct template t;
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            expect_case("%s, %lu bytes", prf->name, lengths[k]);
            derive_template(&t, lengths[k]);
            o = 0;
            CK_RV rv = derive_prf_plus(s, false, prf, base, 0, seed, 5, &t, &o);
            if (lengths[k] <= 4096)
                expect_rv(CKR_OK, rv);
            else
                expect_rv_in(rv, CKR_OK, CKR_KEY_SIZE_RANGE); /* a token may have a limit of its own */
            if (rv == CKR_OK) {
                oracle_prf_plus(prf, key, 32, seed, 5, want, lengths[k]);
                expect_key(s, o, want, lengths[k]);
            }
            drop(rv == CKR_OK ? o : 0);
        }
        const CK_ULONG wrong[] = {most + 1, 1UL << 31, 1UL << 32, (1UL << 32) + 32, ~0UL, ~0UL - 31};
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
            expect_case("%s, %lu bytes", prf->name, wrong[k]);
            derive_template(&t, wrong[k]);
            expect_rv(CKR_KEY_SIZE_RANGE, derive_prf_plus(s, false, prf, base, 0, seed, 5, &t, &o));
        }
        expect_case("%s, no or zero length", prf->name);
        derive_template(&t, 0);
        expect_rv(CKR_TEMPLATE_INCOMPLETE, derive_prf_plus(s, false, prf, base, 0, seed, 5, &t, &o));
        template_number(&t, CKA_VALUE_LEN, 0);
        expect_rv_in(derive_prf_plus(s, false, prf, base, 0, seed, 5, &t, &o), CKR_KEY_SIZE_RANGE,
                     CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT);
        /* CKM_IKE_PRF_DERIVE: the prf's length, or none given */
        const CK_ULONG other[] = {prf->size - 1, prf->size + 1, 1, 2 * prf->size, ~0UL};
        for (size_t k = 0; k < sizeof other / sizeof *other; k++)
            for (int kind = 0; kind < 3; kind++) {
                expect_case("%s, kind %d, %lu bytes", prf->name, kind, other[k]);
                derive_template(&t, other[k]);
                expect_rv(CKR_KEY_SIZE_RANGE,
                          derive_prf(s, false, prf, (enum derive_kind)kind, base,
                                     kind == DERIVE_REKEY ? base : 0, seed, 5, seed, 5, &t, &o));
            }
    }
    guard_release();
}

/* ---- wrong parameters ---- */

static CK_RV plus(const CK_IKE2_PRF_PLUS_DERIVE_PARAMS *p, CK_OBJECT_HANDLE base)
{
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    derive_template(&t, 32);
    CK_RV rv = derive_any(s, CKM_IKE2_PRF_PLUS_DERIVE, p, sizeof *p, base, &t, &o);
    guard_release();
    return rv;
}

static CK_RV prf_(const CK_IKE_PRF_DERIVE_PARAMS *p, CK_OBJECT_HANDLE base)
{
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    derive_template(&t, 0);
    CK_RV rv = derive_any(s, CKM_IKE_PRF_DERIVE, p, sizeof *p, base, &t, &o);
    guard_release();
    return rv;
}

static void test_wrong_parameters(void **state)
{
    (void)state;
    uint8_t key[32] = {1}, seed[8] = {2};
    CK_ULONG handles[5];
    CK_OBJECT_HANDLE o, destroyed, foreign, data;
    start();
    CK_OBJECT_HANDLE base = object_import(s, key, 32), good = object_import(s, key, 32);
    destroyed = object_import(s, key, 32);
    expect_ok(f->C_DestroyObject(s, destroyed));
    CK_SESSION_HANDLE strict = harness_session("strict");
    foreign = object_import(strict, key, 32);
    struct template peers = {.n = 0};
    template_number(&peers, CKA_CLASS, CKO_DATA);
    template_text(&peers, CKA_LABEL, "alpha");
    data = object_only(s, &peers);
    handles[0] = 0, handles[1] = ~0UL, handles[2] = destroyed, handles[3] = foreign, handles[4] = data;

    /* the struct: NULL, or of another size */
    static const CK_MECHANISM_TYPE types[] = {CKM_IKE2_PRF_PLUS_DERIVE, CKM_NSS_IKE_PRF_PLUS_DERIVE,
                                              CKM_IKE_PRF_DERIVE, CKM_NSS_IKE_PRF_DERIVE, CKM_HKDF_DERIVE};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t size = i < 2   ? sizeof(CK_IKE2_PRF_PLUS_DERIVE_PARAMS)
                      : i < 4 ? sizeof(CK_IKE_PRF_DERIVE_PARAMS)
                              : sizeof(CK_HKDF_PARAMS);
        const size_t lengths[] = {0, 1, size - 8, size - 1, size + 1, size + 8, 2 * size};
        struct template t;
        derive_template(&t, 32);
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            expect_case("mechanism 0x%lx, parameter of %zu bytes", types[i], lengths[k]);
            memset(big, 0, lengths[k]);
            expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], big, lengths[k], base, &t, &o));
            expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], NULL, lengths[k], base, &t, &o));
        }
        expect_case("mechanism 0x%lx, a length beyond sense", types[i]);
        expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], NULL, size, base, &t, &o));
        CK_MECHANISM m = {types[i], guard_buffer(8), ~0UL};
        expect_rv(CKR_MECHANISM_PARAM_INVALID, f->C_DeriveKey(s, &m, base, t.a, t.n, &o));
        guard_release();
    }
    expect_case("%s", "");
    /* prf+ */
    const CK_IKE2_PRF_PLUS_DERIVE_PARAMS p = {CKM_SHA256_HMAC, CK_FALSE, 0, seed, sizeof seed};
    CK_IKE2_PRF_PLUS_DERIVE_PARAMS q = p;
    expect_ok(plus(&q, base));
    for (size_t i = 0; i < 5; i++) {
        expect_case("handle %zu", i);
        q = p;
        q.bHasSeedKey = CK_TRUE;
        q.hSeedKey = handles[i];
        expect_rv_in(plus(&q, base), CKR_KEY_HANDLE_INVALID, CKR_MECHANISM_PARAM_INVALID);
        q.bHasSeedKey = CK_FALSE; /* then it is not looked at */
        expect_ok(plus(&q, base));
        q = p;
        expect_rv(CKR_KEY_HANDLE_INVALID, plus(&q, handles[i]));
    }
    static const CK_MECHANISM_TYPE no_prf[] = {0,
                                               CKM_SHA256,
                                               CKM_AES_CMAC,
                                               CKM_SHA256_HMAC_GENERAL,
                                               CKM_MD5_HMAC,
                                               0x2cc /* XCBC */,
                                               CKM_IKE2_PRF_PLUS_DERIVE,
                                               ~0UL,
                                               CKM_SHA256_HMAC | 1UL << 32,
                                               CKM_SHA224_HMAC};
    for (size_t i = 0; i < sizeof no_prf / sizeof *no_prf; i++) {
        expect_case("prf 0x%lx", no_prf[i]);
        q = p;
        q.prfMechanism = no_prf[i];
        expect_rv(CKR_MECHANISM_PARAM_INVALID, plus(&q, base));
        CK_IKE_PRF_DERIVE_PARAMS x = {no_prf[i], CK_FALSE, CK_FALSE, seed, 8, seed, 8, 0};
        expect_rv(CKR_MECHANISM_PARAM_INVALID, prf_(&x, base));
    }
    expect_case("NULL with a length");
    q = p;
    q.pSeedData = NULL;
    expect_rv_in(plus(&q, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
    q.ulSeedDataLen = ~0UL;
    expect_rv_in(plus(&q, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
    expect_case("a pointer, no length");
    q = p;
    q.pSeedData = guard_buffer(0);
    q.ulSeedDataLen = 0;
    CK_RV rv = plus(&q, base); /* prf+(K, "") is defined, if odd */
    expect_rv_in(rv, CKR_OK, CKR_MECHANISM_PARAM_INVALID);
    expect_case("lengths that wrap around");
    q = p;
    for (int shift = 48; shift < 64; shift++) {
        q.ulSeedDataLen = 1UL << shift;
        expect_rv_in(plus(&q, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
        q.ulSeedDataLen = ~0UL << (shift - 40);
        expect_rv_in(plus(&q, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
    }
    /* prf */
    const CK_IKE_PRF_DERIVE_PARAMS a = {CKM_SHA256_HMAC, CK_FALSE, CK_FALSE, seed, 8, seed, 8, 0};
    CK_IKE_PRF_DERIVE_PARAMS b = a;
    expect_case("prf");
    expect_ok(prf_(&b, base));
    b.bDataAsKey = b.bRekey = CK_TRUE;
    expect_rv(CKR_ARGUMENTS_BAD, prf_(&b, base));
    b.hNewKey = good;
    expect_rv(CKR_ARGUMENTS_BAD, prf_(&b, base));
    for (size_t i = 0; i < 5; i++) {
        expect_case("hNewKey %zu", i);
        b = a;
        b.bRekey = CK_TRUE;
        b.hNewKey = handles[i];
        expect_rv_in(prf_(&b, base), CKR_KEY_HANDLE_INVALID, CKR_MECHANISM_PARAM_INVALID);
        b.bRekey = CK_FALSE;
        expect_ok(prf_(&b, base));
        b = a;
        expect_rv(CKR_KEY_HANDLE_INVALID, prf_(&b, handles[i]));
    }
    for (int which = 0; which < 2; which++)
        for (int kind = 0; kind < 3; kind++) {
            expect_case("nonce %d, kind %d", which, kind);
            b = a;
            b.bDataAsKey = kind == DERIVE_DATA_AS_KEY;
            b.bRekey = kind == DERIVE_REKEY;
            b.hNewKey = good;
            *(which ? &b.pNr : &b.pNi) = NULL;
            expect_rv_in(prf_(&b, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
            *(which ? &b.ulNrLen : &b.ulNiLen) = 0;
            expect_ok(prf_(&b, base));
            *(which ? &b.ulNrLen : &b.ulNiLen) = ~0UL;
            expect_rv_in(prf_(&b, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
            *(which ? &b.pNr : &b.pNi) = seed;
            expect_rv_in(prf_(&b, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
            *(which ? &b.ulNrLen : &b.ulNiLen) = ~0UL - 7; /* 8 more is 0 */
            expect_rv_in(prf_(&b, base), CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_HOST_MEMORY);
        }
    expect_case("arguments of C_DeriveKey");
    struct template t;
    derive_template(&t, 32);
    CK_MECHANISM m = {CKM_IKE2_PRF_PLUS_DERIVE, (void *)(uintptr_t)&p, sizeof p};
    expect_rv(CKR_ARGUMENTS_BAD, f->C_DeriveKey(s, NULL, base, t.a, t.n, &o));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_DeriveKey(s, &m, base, t.a, t.n, NULL));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_DeriveKey(s, &m, base, NULL, t.n, &o));
    expect_rv_in(f->C_DeriveKey(s, &m, base, NULL, 0, &o), CKR_TEMPLATE_INCOMPLETE);
    static const CK_MECHANISM_TYPE no_derive[] = {
        CKM_SHA256_HMAC, CKM_GENERIC_SECRET_KEY_GEN, CKM_RSA_PKCS, 0x4030,
        0x4031,          CKM_XOR_BASE_AND_DATA,      ~0UL};
    for (size_t i = 0; i < sizeof no_derive / sizeof *no_derive; i++) {
        expect_case("mechanism 0x%lx", no_derive[i]);
        m.mechanism = no_derive[i];
        expect_rv(CKR_MECHANISM_INVALID, f->C_DeriveKey(s, &m, base, t.a, t.n, &o));
    }
    expect_case("CKA_DERIVE = FALSE");
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, key, 32);
    template_bool(&t, CKA_DERIVE, false);
    require_ok(f->C_CreateObject(s, t.a, t.n, &o));
    expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED, plus(&p, o));
    expect_case("CKA_ALLOWED_MECHANISMS without this one");
    CK_MECHANISM_TYPE only[] = {CKM_SHA256_HMAC};
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, key, 32);
    template_bool(&t, CKA_DERIVE, true);
    template_bytes(&t, CKA_ALLOWED_MECHANISMS, only, sizeof only);
    require_ok(f->C_CreateObject(s, t.a, t.n, &o));
    expect_rv_in(plus(&p, o), CKR_MECHANISM_INVALID, CKR_KEY_FUNCTION_NOT_PERMITTED);
}

static void test_wrong_templates(void **state)
{
    (void)state;
    uint8_t key[32] = {1}, seed[8] = {2};
    start();
    CK_OBJECT_HANDLE base = object_import(s, key, 32), o;
    const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *value;
        CK_ULONG len;
    } cases[] = {
        {CKA_CLASS, "\2\0\0\0\0\0\0\0", 8},
        {CKA_CLASS, "\4", 1},
        {CKA_CLASS, NULL, 8},
        {CKA_KEY_TYPE, "\0\0\0\0\0\0\0\0", 8},
        {CKA_KEY_TYPE, NULL, 8},
        {CKA_TOKEN, "\1", 1},
        {CKA_TOKEN, NULL, 1},
        {CKA_TOKEN, "\0\0", 2},
        {CKA_VALUE, "0123456789abcdef0123456789abcdef", 32},
        {CKA_VALUE, NULL, 0},
        {CKA_VALUE_LEN, "\x20", 1},
        {CKA_VALUE_LEN, "\x20\0\0\0", 4},
        {CKA_VALUE_LEN, NULL, 8},
        {CKA_LOCAL, "\1", 1},
        {CKA_ALWAYS_SENSITIVE, "\1", 1},
        {CKA_NEVER_EXTRACTABLE, "\1", 1},
        {CKA_PPK_KIND, "\1\0\0\0\0\0\0\0", 8},
        {0x7777, "x", 1},
        {CKA_MODULUS, "x", 1},
        {CKA_LABEL, NULL, 3},
        {CKA_SENSITIVE, "", 0},
        {CKA_EXTRACTABLE, "\1\1", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct template t;
        expect_case("case %zu, attribute 0x%lx", i, cases[i].type);
        derive_template(&t, 32);
        CK_ATTRIBUTE *a = template_entry(&t, cases[i].type),
                     bad = {cases[i].type, cases[i].value ? guard_frozen(cases[i].value, cases[i].len) : NULL,
                            cases[i].len};
        if (a)
            *a = bad;
        else
            t.a[t.n++] = bad;
        expect_rv_in(derive_prf_plus(s, false, &oracle_prfs[1], base, 0, seed, 8, &t, &o),
                     CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_READ_ONLY,
                     CKR_ATTRIBUTE_TYPE_INVALID, CKR_ARGUMENTS_BAD, CKR_TOKEN_WRITE_PROTECTED,
                     CKR_KEY_SIZE_RANGE, CKR_SESSION_READ_ONLY);
        guard_release();
    }
    /* nothing was made by all that */
    struct template mine;
    template_secret(&mine);
    expect(object_search(s, &mine, NULL, 0, NULL) == 1, "objects were left behind");
    /* without class and key type: a generic secret */
    struct template t = {.n = 0};
    template_number(&t, CKA_VALUE_LEN, 32);
    expect_ok(derive_prf_plus(s, false, &oracle_prfs[1], base, 0, seed, 8, &t, &o));
    expect(object_number(s, o, CKA_CLASS) == CKO_SECRET_KEY &&
               object_number(s, o, CKA_KEY_TYPE) == CKK_GENERIC_SECRET,
           "not a generic secret");
    /* an HMAC key of its type serves that HMAC only */
    derive_template(&t, 32);
    t.numbers[1] = CKK_SHA256_HMAC;
    expect_ok(derive_prf_plus(s, false, &oracle_prfs[1], base, 0, seed, 8, &t, &o));
    CK_MECHANISM m = {CKM_SHA_1_HMAC, NULL, 0};
    expect_rv(CKR_KEY_TYPE_INCONSISTENT, f->C_SignInit(s, &m, o));
}

/* ---- what a whole schedule needs besides, on session keys ---- */

static void test_extract_and_concatenate(void **state)
{
    (void)state;
    start();
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    /* The standard's own examples */
    CK_OBJECT_HANDLE base = object_import(s, "\x32\x9f\x84\xa9", 4),
                     first = object_import(s, "\x01\x23\x45\x67", 4),
                     second = object_import(s, "\x89\xab\xcd\xef", 4);
    CK_ULONG bit = 21;
    derive_template(&t, 2);
    if (expect_ok(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, base, &t, &o)))
        expect_key(s, o, "\x95\x26", 2);
    derive_template(&t, 0);
    if (expect_ok(derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &second, sizeof second, first, &t, &o)))
        expect_key(s, o, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    CK_KEY_DERIVATION_STRING_DATA data = {(CK_BYTE_PTR)(uintptr_t) "\x89\xab\xcd\xef", 4};
    if (expect_ok(derive_any(s, CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, first, &t, &o)))
        expect_key(s, o, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    if (expect_ok(derive_any(s, CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof data, first, &t, &o)))
        expect_key(s, o, "\x89\xab\xcd\xef\x01\x23\x45\x67", 8);
    /* bits against a plain loop */
    struct oracle_random r = {365};
    for (int round = 0; round < 200; round++) {
        uint8_t value[64], want[64] = {0};
        size_t len = 1 + oracle_below(&r, 64), take = 1 + oracle_below(&r, len);
        oracle_fill(&r, value, len);
        bit = oracle_below(&r, len * 8);
        for (size_t i = 0; i < take * 8; i++) {
            size_t from = (bit + i) % (len * 8);
            want[i / 8] = (uint8_t)(want[i / 8] | ((value[from / 8] >> (7 - from % 8)) & 1) << (7 - i % 8));
        }
        expect_case("round %d: %zu of %zu bytes from bit %lu", round, take, len, bit);
        base = object_import(s, value, len);
        derive_template(&t, take);
        CK_RV rv = derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, base, &t, &o);
        if (expect_rv(CKR_OK, rv))
            expect_key(s, o, want, take);
        drop(base);
        drop(rv == CKR_OK ? o : 0);
    }
    expect_case("errors");
    base = object_import(s, "\x32\x9f\x84\xa9", 4);
    bit = 0;
    derive_template(&t, 5);
    expect_rv(CKR_KEY_SIZE_RANGE, derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, base, &t, &o));
    derive_template(&t, 0);
    expect_rv_in(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, base, &t, &o),
                 CKR_TEMPLATE_INCOMPLETE);
    derive_template(&t, 2);
    const CK_ULONG beyond[] = {32, 33, 1UL << 32, 1UL << 61, ~0UL};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)
        expect_rv_in(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &beyond[i], sizeof *beyond, base, &t, &o),
                     CKR_MECHANISM_PARAM_INVALID);
    static const CK_MECHANISM_TYPE types[] = {CKM_EXTRACT_KEY_FROM_KEY, CKM_CONCATENATE_BASE_AND_KEY,
                                              CKM_CONCATENATE_BASE_AND_DATA, CKM_CONCATENATE_DATA_AND_BASE};
    for (size_t i = 0; i < 4; i++) {
        size_t size = i < 2 ? sizeof(CK_ULONG) : sizeof data;
        expect_case("mechanism 0x%lx", types[i]);
        memset(big, 0, sizeof big);
        expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], NULL, 0, base, &t, &o));
        expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], NULL, size, base, &t, &o));
        expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], big, size - 1, base, &t, &o));
        expect_rv(CKR_MECHANISM_PARAM_INVALID, derive_any(s, types[i], big, size + 1, base, &t, &o));
    }
    CK_OBJECT_HANDLE none = ~0UL;
    expect_case("errors of concatenation");
    expect_rv_in(derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &none, sizeof none, base, &t, &o),
                 CKR_KEY_HANDLE_INVALID, CKR_MECHANISM_PARAM_INVALID);
    data = (CK_KEY_DERIVATION_STRING_DATA){NULL, 4};
    expect_rv_in(derive_any(s, CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, base, &t, &o),
                 CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD);
    data = (CK_KEY_DERIVATION_STRING_DATA){big, ~0UL};
    expect_error(derive_any(s, CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, base, &t, &o));
    data.ulLen = ~0UL - 3;
    expect_error(derive_any(s, CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof data, base, &t, &o));
    derive_template(&t, 9);
    expect_rv(CKR_KEY_SIZE_RANGE,
              derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &second, sizeof second, first, &t, &o));
    /* sensitive and unextractable parts make a sensitive and unextractable whole, whatever the template says
     */
    struct template hidden;
    template_secret(&hidden);
    template_bytes(&hidden, CKA_VALUE, big, 16);
    template_bool(&hidden, CKA_SENSITIVE, true);
    template_bool(&hidden, CKA_EXTRACTABLE, false);
    template_bool(&hidden, CKA_DERIVE, true);
    CK_OBJECT_HANDLE secret;
    require_ok(f->C_CreateObject(s, hidden.a, hidden.n, &secret));
    for (int order = 0; order < 4; order++) {
        derive_template(&t, order == 2 ? 4 : 0);
        data = (CK_KEY_DERIVATION_STRING_DATA){(CK_BYTE_PTR)(uintptr_t) "x", 1};
        bit = 8;
        CK_RV rv =
            order == 0   ? derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &secret, sizeof secret, first, &t, &o)
            : order == 1 ? derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &first, sizeof first, secret, &t, &o)
            : order == 2 ? derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, secret, &t, &o)
                         : derive_any(s, CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, secret, &t, &o);
        expect_case("order %d", order);
        if (rv == CKR_OK)
            expect(object_bool(s, o, CKA_SENSITIVE) == 1 && object_bool(s, o, CKA_EXTRACTABLE) == 0 &&
                       object_bytes(s, o, CKA_VALUE, big, sizeof big) == (size_t)-1,
                   "a secret key's bits can be read");
        else
            expect_rv_in(rv, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID,
                         CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_SIZE_RANGE);
    }
}

static void test_hkdf(void **state)
{
    (void)state;
    struct oracle_random r = {5869};
    static uint8_t ikm[100], salt[100], info[100], prk[64], want[300];
    static const uint8_t nothing[64];
    start();
    for (int round = 0; round < 300; round++) {
        const struct oracle_prf *prf = &oracle_prfs[oracle_below(&r, 4)];
        size_t ikm_len = 1 + oracle_below(&r, 100), salt_len = 1 + oracle_below(&r, 100),
               info_len = oracle_below(&r, 100), out_len = 1 + oracle_below(&r, 300);
        CK_ULONG salt_type =
            (CK_ULONG[]){CKF_HKDF_SALT_NULL, CKF_HKDF_SALT_DATA, CKF_HKDF_SALT_KEY}[oracle_below(&r, 3)];
        bool extract = oracle_below(&r, 2), expand = !extract || oracle_below(&r, 2);
        oracle_fill(&r, ikm, ikm_len);
        oracle_fill(&r, salt, salt_len);
        oracle_fill(&r, info, info_len);
        CK_OBJECT_HANDLE base = object_import(s, ikm, ikm_len),
                         salt_key = salt_type == CKF_HKDF_SALT_KEY ? object_import(s, salt, salt_len) : 0,
                         o = 0;
        CK_HKDF_PARAMS p = {extract,
                            expand,
                            prf->hash,
                            salt_type,
                            salt_type == CKF_HKDF_SALT_DATA ? guard_frozen(salt, salt_len) : NULL,
                            salt_type == CKF_HKDF_SALT_DATA ? salt_len : 0,
                            salt_key,
                            info_len ? guard_frozen(info, info_len) : NULL,
                            info_len};
        const uint8_t *key = ikm;
        size_t key_len = ikm_len;
        if (extract) {
            if (salt_type == CKF_HKDF_SALT_NULL)
                oracle_hmac(prf, nothing, prf->size, ikm, ikm_len, prk);
            else
                oracle_hmac(prf, salt, salt_len, ikm, ikm_len, prk);
            key = prk, key_len = prf->size;
        }
        if (expand) {
            oracle_prf_plus(prf, key, key_len, info, info_len, want, out_len);
        } else {
            out_len = prf->size;
            memcpy(want, prk, out_len);
        }
        struct template t;
        derive_template(&t, expand ? out_len : 0);
        expect_case("round %d: %s, extract %d, expand %d, salt %lu", round, prf->name, extract, expand,
                    salt_type);
        CK_RV rv = derive_any(s, CKM_HKDF_DERIVE, &p, sizeof p, base, &t, &o);
        if (expect_rv(CKR_OK, rv))
            expect_key(s, o, want, out_len);
        drop(base);
        drop(rv == CKR_OK ? o : 0);
        if (salt_key)
            drop(salt_key);
    }
    /* wrong ones */
    uint8_t eight[8] = {0};
    const CK_HKDF_PARAMS good = {CK_TRUE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_DATA, eight, 8, 0, eight, 8};
    CK_HKDF_PARAMS cases[10];
    CK_OBJECT_HANDLE base = object_import(s, ikm, 32), o;
    for (size_t i = 0; i < 10; i++)
        cases[i] = good;
    cases[0].bExtract = cases[0].bExpand = CK_FALSE;
    cases[1].prfHashMechanism = CKM_SHA256_HMAC;
    cases[2].prfHashMechanism = ~0UL;
    cases[3].ulSaltType = 0;
    cases[4].ulSaltType = 7;
    cases[5].pSalt = NULL;
    cases[6].pInfo = NULL;
    cases[7].ulSaltType = CKF_HKDF_SALT_KEY, cases[7].hSaltKey = ~0UL;
    cases[8].ulSaltLen = ~0UL;
    cases[9].ulInfoLen = ~0UL;
    for (size_t i = 0; i < 10; i++) {
        struct template t;
        derive_template(&t, 32);
        expect_case("wrong case %zu", i);
        expect_rv_in(derive_any(s, CKM_HKDF_DERIVE, &cases[i], sizeof *cases, base, &t, &o),
                     CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_KEY_HANDLE_INVALID, CKR_HOST_MEMORY);
    }
    struct template t;
    derive_template(&t, 255 * 32 + 1);
    expect_rv(CKR_KEY_SIZE_RANGE, derive_any(s, CKM_HKDF_DERIVE, &good, sizeof good, base, &t, &o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_vectors),
        TOKEN_TEST(test_chain),
        TOKEN_TEST(test_rfc8784),
        TOKEN_TEST(test_psk_auth),
        TOKEN_TEST(test_random_inputs),
        TOKEN_TEST(test_lengths),
        TOKEN_TEST(test_wrong_parameters),
        TOKEN_TEST(test_wrong_templates),
        TOKEN_TEST(test_extract_and_concatenate),
        TOKEN_TEST(test_hkdf),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
