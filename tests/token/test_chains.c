/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole chains whose keys stay in the token: the vectors of others, linked where one's output is the other's
 * base; and every formula for every prf against OpenSSL's HKDF, which knows nothing of IKE: with HMAC prfs,
 * SKEYSEED is HKDF-Extract, and prf+ is HKDF-Expand (RFC 5869; RFC 7296, 2.13). */
#include "conf.h"
#include "derive.h"
#include "guard.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

static CK_SESSION_HANDLE s;

static void start(void)
{
    s = harness_start(CONF_MANUAL);
}

/* A key that stays in the token. */
static void template_kept(struct template *t, CK_ULONG len)
{
    *t = (struct template){.n = 0};
    template_bool(t, CKA_SENSITIVE, true);
    template_bool(t, CKA_EXTRACTABLE, false);
    template_bool(t, CKA_DERIVE, true);
    template_bool(t, CKA_SIGN, true);
    if (len)
        template_number(t, CKA_VALUE_LEN, len);
}

/* The key is this one, as its MAC shows; it cannot be read. */
static void expect_kept(CK_OBJECT_HANDLE o, const uint8_t *want, size_t len)
{
    CK_MECHANISM m = {CKM_SHA512_HMAC, NULL, 0};
    uint8_t mac[64], want_mac[64], out[600];
    CK_ULONG n = sizeof mac;

    expect(object_bytes(s, o, CKA_VALUE, out, sizeof out) == (size_t)-1, "it can be read");
    expect(object_number(s, o, CKA_VALUE_LEN) == len, "%lu bytes", object_number(s, o, CKA_VALUE_LEN));
    require_ok(f->C_SignInit(s, &m, o));
    require_ok(f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t) "probe", 5, mac, &n));
    oracle_hmac(&oracle_prfs[3], want, len, "probe", 5, want_mac);
    expect(memcmp(mac, want_mac, 64) == 0, "another key");
    guard_release();
}

/* ---- the vectors, linked ---- */

struct vector {
    const char *id, *op;
    const struct oracle_prf *prf;
    uint8_t base[600], seed_key[600], seed[600], ni[600], nr[600], new_key[600], out[600];
    size_t base_len, seed_key_len, seed_len, ni_len, nr_len, new_len, out_len;
    CK_OBJECT_HANDLE o; /* once derived */
};
static struct vector vectors[40];
static size_t n_vectors;

static size_t member(const json_t *object, const char *name, uint8_t *out)
{
    const char *hex = json_string_value(json_object_get(object, name));

    return hex == NULL ? 0 : oracle_unhex(hex, out, 600);
}

static json_t *vectors_load(void)
{
    json_error_t error;
    json_t *root = json_load_file(PPK_SOURCE_DIR "/tests/vectors/ikev2-kdf.json", 0, &error), *c;
    size_t i;

    require(root != NULL, "%s", error.text);
    n_vectors = 0;
    json_array_foreach(json_object_get(root, "cases"), i, c)
    {
        struct vector *v = &vectors[n_vectors++];
        require(n_vectors <= sizeof vectors / sizeof *vectors, "too many");
        *v = (struct vector){.id = json_string_value(json_object_get(c, "id")),
                             .op = json_string_value(json_object_get(c, "op")),
                             .prf = oracle_prf_by_name(json_string_value(json_object_get(c, "prf")))};
        v->base_len = member(c, "base", v->base);
        v->seed_key_len = member(c, "seedkey", v->seed_key);
        v->seed_len = member(c, "seed", v->seed);
        v->ni_len = member(c, "ni", v->ni);
        v->nr_len = member(c, "nr", v->nr);
        v->new_len = member(c, "newkey", v->new_key);
        v->out_len = member(c, "out", v->out);
    }
    return root;
}

/* The base key as the token derived it before, cut from the front of that if need be; else 0. */
static CK_OBJECT_HANDLE base_of(const struct vector *v)
{
    for (size_t i = 0; i < n_vectors; i++) {
        const struct vector *from = &vectors[i];
        CK_OBJECT_HANDLE o = 0;
        CK_ULONG bit = 0;
        struct template t;
        if (from->o == 0 || from->prf != v->prf || from->out_len < v->base_len ||
            memcmp(from->out, v->base, v->base_len) != 0)
            continue;
        template_kept(&t, v->base_len);
        if (from->out_len == v->base_len)
            return from->o;
        require_ok(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, from->o, &t, &o));
        return o;
    }
    return 0;
}

static void vector_derive(struct vector *v, CK_OBJECT_HANDLE base)
{
    const bool plus = strcmp(v->op, "prf_plus") == 0, rekey = strcmp(v->op, "prf_rekey") == 0;
    CK_OBJECT_HANDLE other = 0;
    struct template t;

    if (plus && v->seed_key_len)
        other = object_import(s, v->seed_key, v->seed_key_len);
    if (rekey)
        other = object_import(s, v->new_key, v->new_len);
    template_kept(&t, plus ? v->out_len : 0);
    if (plus)
        require_ok(derive_prf_plus(s, false, v->prf, base, other, v->seed, v->seed_len, &t, &v->o));
    else
        require_ok(derive_prf(s, false, v->prf, rekey ? DERIVE_REKEY : DERIVE_DATA_AS_KEY, base, other, v->ni,
                              v->ni_len, v->nr_len ? v->nr : NULL, v->nr_len, &t, &v->o));
    expect_kept(v->o, v->out, v->out_len);
}

static void test_linked_vectors(void **state)
{
    (void)state;
    size_t linked = 0;
    start();
    json_t *root = vectors_load();
    /* First what begins a chain (SKEYSEED from g^ir), then all that hangs on it. */
    for (int step = 0; step < 4; step++)
        for (size_t i = 0; i < n_vectors; i++) {
            struct vector *v = &vectors[i];
            CK_OBJECT_HANDLE base = v->o == 0 && step > 0 ? base_of(v) : 0;
            expect_case("%s", v->id);
            if (step == 0 && strcmp(v->op, "prf_data_as_key") == 0)
                vector_derive(v, object_import(s, v->base, v->base_len));
            if (base == 0)
                continue;
            vector_derive(v, base);
            linked++;
        }
    expect_case("%s", "");
    expect(linked == 16, "%zu vectors are linked to others", linked);
    json_decref(root);
}

/* ---- against HKDF ---- */

/* OpenSSL's HKDF, of one mode */
static void hkdf(const struct oracle_prf *prf, int mode, const uint8_t *key, size_t key_len,
                 const uint8_t *salt, size_t salt_len, const uint8_t *info, size_t info_len, uint8_t *out,
                 size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *c = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM p[6], *next = p;

    *next++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)prf->name, 0);
    *next++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key, key_len);
    if (salt_len)
        *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, salt_len);
    if (info_len)
        *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, info_len);
    *next = OSSL_PARAM_construct_end();
    require(EVP_KDF_derive(c, out, len, p) == 1, "OpenSSL's HKDF");
    EVP_KDF_CTX_free(c);
    EVP_KDF_free(kdf);
}

/* out = HKDF-Expand(key, info): prf+ */
static void expand(const struct oracle_prf *prf, const uint8_t *key, size_t key_len, const uint8_t *info,
                   size_t info_len, uint8_t *out, size_t len)
{
    hkdf(prf, EVP_KDF_HKDF_MODE_EXPAND_ONLY, key, key_len, NULL, 0, info, info_len, out, len);
}

/* The same chain by the IKE mechanisms and, `by_hkdf`, by CKM_HKDF_DERIVE */
static CK_OBJECT_HANDLE token_extract(const struct oracle_prf *prf, bool by_hkdf, CK_OBJECT_HANDLE base,
                                      const uint8_t *nonces, size_t len)
{
    CK_HKDF_PARAMS p = {CK_TRUE, CK_FALSE, prf->hash, CKF_HKDF_SALT_DATA, NULL, len, 0, NULL, 0};
    CK_OBJECT_HANDLE o = 0;
    struct template t;

    p.pSalt = guard_frozen(nonces, len);
    template_kept(&t, 0);
    require_ok(by_hkdf ? derive_any(s, CKM_HKDF_DERIVE, &p, sizeof p, base, &t, &o)
                       : derive_prf(s, false, prf, DERIVE_DATA_AS_KEY, base, 0, nonces, len / 2,
                                    nonces + len / 2, len - len / 2, &t, &o));
    return o;
}

static CK_OBJECT_HANDLE token_expand(const struct oracle_prf *prf, bool by_hkdf, CK_OBJECT_HANDLE base,
                                     const uint8_t *seed, size_t seed_len, CK_ULONG len)
{
    CK_HKDF_PARAMS p = {CK_FALSE, CK_TRUE, prf->hash, CKF_HKDF_SALT_NULL, NULL, 0, 0, NULL, seed_len};
    CK_OBJECT_HANDLE o = 0;
    struct template t;

    p.pInfo = guard_frozen(seed, seed_len);
    template_kept(&t, len);
    require_ok(by_hkdf ? derive_any(s, CKM_HKDF_DERIVE, &p, sizeof p, base, &t, &o)
                       : derive_prf_plus(s, false, prf, base, 0, seed, seed_len, &t, &o));
    return o;
}

static CK_OBJECT_HANDLE token_cut(CK_OBJECT_HANDLE base, size_t at, CK_ULONG len)
{
    CK_ULONG bit = at * 8;
    CK_OBJECT_HANDLE o = 0;
    struct template t;

    template_kept(&t, len);
    require_ok(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, base, &t, &o));
    return o;
}

/* SKEYSEED, SK_*, the PPK in SK_d and again as RFC 9867 has it, KEYMAT with a new exchange, rekeying */
static void chain(const struct oracle_prf *prf, bool by_hkdf, struct oracle_random *r)
{
    const CK_OBJECT_HANDLE ppk = object_by_id(s, MANUAL_1_ID, strlen(MANUAL_1_ID));
    const size_t p = prf->size, total = 3 * p + 2 * 32 + 2 * 36;
    uint8_t gir[256], nonces[64], seed[80], all[400], skeyseed[64], ppk_value[64], d[64], again[64],
        text[256 + 64], keymat[64];
    struct template t;
    CK_OBJECT_HANDLE o = 0, o_all, o_d = 0, o_new;

    oracle_fill(r, gir, sizeof gir);
    oracle_fill(r, seed, sizeof seed); /* Ni | Nr | SPIi | SPIr */
    memcpy(nonces, seed, sizeof nonces);
    hkdf(prf, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, gir, sizeof gir, nonces, sizeof nonces, NULL, 0, skeyseed, p);
    o = token_extract(prf, by_hkdf, object_import(s, gir, sizeof gir), nonces, sizeof nonces);
    expect_kept(o, skeyseed, p);
    expand(prf, skeyseed, p, seed, sizeof seed, all, total);
    o_all = token_expand(prf, by_hkdf, o, seed, sizeof seed, total);
    expect_kept(o_all, all, total);
    /* RFC 8784: SK_d = prf+(PPK, SK_d') */
    oracle_unhex(MANUAL_1_HEX, ppk_value, sizeof ppk_value);
    expand(prf, ppk_value, 32, all, p, d, p);
    template_kept(&t, p);
    require_ok(derive_prf_plus(s, false, prf, ppk, token_cut(o_all, 0, p), NULL, 0, &t, &o_d));
    expect_kept(o_d, d, p);
    /* RFC 9867: that is SKEYSEED', and there are new SK_* */
    expand(prf, d, p, seed, sizeof seed, all, total);
    o_all = token_expand(prf, by_hkdf, o_d, seed, sizeof seed, total);
    expect_kept(o_all, all, total);
    memcpy(again, all, p);
    o_d = token_cut(o_all, 0, p);
    expect_kept(o_d, again, p);
    /* KEYMAT = prf+(SK_d, g^ir_new | Ni | Nr) */
    oracle_fill(r, gir, sizeof gir);
    o_new = object_import(s, gir, sizeof gir);
    memcpy(text, gir, sizeof gir);
    memcpy(text + sizeof gir, nonces, sizeof nonces);
    expand(prf, again, p, text, sizeof text, keymat, sizeof keymat);
    template_kept(&t, sizeof keymat);
    require_ok(derive_prf_plus(s, false, prf, o_d, o_new, nonces, sizeof nonces, &t, &o));
    expect_kept(o, keymat, sizeof keymat);
    /* SKEYSEED = prf(SK_d (old), g^ir_new | Ni | Nr): Extract with SK_d as the salt */
    hkdf(prf, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, text, sizeof text, again, p, NULL, 0, skeyseed, p);
    template_kept(&t, 0);
    require_ok(derive_prf(s, false, prf, DERIVE_REKEY, o_d, o_new, nonces, 32, nonces + 32, 32, &t, &o));
    expect_kept(o, skeyseed, p);
    guard_release();
}

static void test_chains(void **state)
{
    (void)state;
    struct oracle_random r = {7296};
    start();
    for (size_t i = 0; i < 4; i++)
        for (int by_hkdf = 0; by_hkdf < 2; by_hkdf++)
            for (int round = 0; round < 20; round++) {
                expect_case("%s, by %s, round %d", oracle_prfs[i].name, by_hkdf ? "HKDF" : "IKE's own",
                            round);
                chain(&oracle_prfs[i], by_hkdf, &r);
            }
}

/* RFC 5869, appendix A: cases 1, 3, 4 and 7 */
static void test_rfc5869(void **state)
{
    (void)state;
    static const struct {
        const char *prf, *ikm, *salt, *info, *prk, *okm;
    } cases[] = {
        {"sha256", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
         "f0f1f2f3f4f5f6f7f8f9", "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {"sha256", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
         "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
        {"sha1", "0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
         "9b6c18c432a7bf8f0e71c8eb88f4b30baa2ba243",
         "085a01ea1b10f36933068b56efa5ad81a4f14b822f5b091568a9cdd4f155fda2c22e422478d305f3f896"},
        {"sha1", "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c", "", "",
         "2adccada18779e7c2077ad2eb19d3f3e731385dd",
         "2c91117204d745f3500d636a62f64f0ab3bae548aa53d423b0d1f27ebba6f5e5673a081d70cce7acfc48"},
    };
    start();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t ikm[32], salt[32], info[32], prk[32], okm[42];
        const size_t ikm_len = oracle_unhex(cases[i].ikm, ikm, 32),
                     salt_len = oracle_unhex(cases[i].salt, salt, 32),
                     info_len = oracle_unhex(cases[i].info, info, 32),
                     prk_len = oracle_unhex(cases[i].prk, prk, 32),
                     okm_len = oracle_unhex(cases[i].okm, okm, 42);
        CK_HKDF_PARAMS p = {CK_TRUE,
                            CK_FALSE,
                            oracle_prf_by_name(cases[i].prf)->hash,
                            salt_len ? CKF_HKDF_SALT_DATA : CKF_HKDF_SALT_NULL,
                            salt_len ? salt : NULL,
                            salt_len,
                            0,
                            info_len ? info : NULL,
                            info_len};
        CK_OBJECT_HANDLE base = object_import(s, ikm, ikm_len), o = 0;
        struct template t;
        expect_case("case %zu", i);
        template_kept(&t, 0);
        require_ok(derive_any(s, CKM_HKDF_DERIVE, &p, sizeof p, base, &t, &o));
        expect_kept(o, prk, prk_len);
        /* in two steps, and in one */
        p.bExtract = CK_FALSE, p.bExpand = CK_TRUE;
        template_kept(&t, okm_len);
        require_ok(derive_any(s, CKM_HKDF_DERIVE, &p, sizeof p, o, &t, &o));
        expect_kept(o, okm, okm_len);
        p.bExtract = CK_TRUE;
        require_ok(derive_any(s, CKM_HKDF_DERIVE, &p, sizeof p, base, &t, &o));
        expect_kept(o, okm, okm_len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_linked_vectors),
        TOKEN_TEST(test_chains),
        TOKEN_TEST(test_rfc5869),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
