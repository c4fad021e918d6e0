/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys never leave: wrapping. Every kind of key under every kind of key, in every kind of keyring, against a
 * model of what is allowed. */
#include "guard.h"
#include "policy.h"

static CK_SESSION_HANDLE s;
static const struct oracle_prf *sha256 = &oracle_prfs[1];
static bool strict, cards; /* of the keyring at hand */

/* A key, and what the model knows of it. */
struct sample {
    char name[64];
    CK_OBJECT_HANDLE o;
    CK_KEY_TYPE type;
    uint8_t value[64];
    size_t len;
    bool configured, derived, extractable, with_trusted, known_parts, from_configured;
    bool wraps, unwraps, trusted;
};
static struct sample samples[160];
static size_t n_samples;

static struct sample *sample_add(const char *name, CK_OBJECT_HANDLE o, CK_KEY_TYPE type, const void *value,
                                 size_t len)
{
    struct sample *x = &samples[n_samples++];

    require(n_samples <= sizeof samples / sizeof *samples, "too many samples");
    *x = (struct sample){.o = o, .type = type, .len = len};
    snprintf(x->name, sizeof x->name, "%s", name);
    memcpy(x->value, value, len);
    return x;
}

static void sample_configured(const char *name, CK_OBJECT_HANDLE o, CK_KEY_TYPE type, const void *value,
                              size_t len, bool kek)
{
    struct sample *x = sample_add(name, o, type, value, len);

    x->configured = true;
    x->wraps = x->trusted = kek;
}

static void samples_configured(const char *psk_label)
{
    uint8_t value[64];
    size_t len = oracle_unhex(MANUAL_3_HEX, value, sizeof value);

    sample_configured("PPK", object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID)), CKK_GENERIC_SECRET, value,
                      len, false);
    sample_configured("PSK", object_by_label(s, psk_label), CKK_GENERIC_SECRET, PSK_GAMMA, strlen(PSK_GAMMA),
                      false);
    if (!cards)
        return;
    len = oracle_unhex(KEK_1_HEX, value, sizeof value);
    sample_configured("card1", object_by_label(s, "card1"), CKK_AES, value, len, true);
    len = oracle_unhex(KEK_2_HEX, value, sizeof value);
    sample_configured("card2", object_by_label(s, "card2"), CKK_AES, value, len, true);
}

/* What the caller brings: keys of every length, with every use */
static void samples_callers(void)
{
    static const struct {
        const char *name;
        CK_ATTRIBUTE_TYPE may[8];
    } uses[] = {{"no use", {0}},
                {"wraps", {CKA_WRAP, 0}},
                {"unwraps", {CKA_UNWRAP, 0}},
                {"sensitive, wraps", {CKA_SENSITIVE, CKA_WRAP, 0}},
                {"does all", {CKA_WRAP, CKA_UNWRAP, CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_DERIVE, 0}}};
    CK_MECHANISM gen = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    struct template t = {.n = 0};
    CK_OBJECT_HANDLE o = 0;
    uint8_t wrapped[48];
    struct sample *x;

    for (size_t len = 16; len <= 32; len += 8)
        for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
            x = sample_add(uses[i].name, kwp_import(s, known, len, uses[i].may), CKK_AES, known, len);
            x->wraps = i == 1 || i >= 3;
            x->unwraps = i == 2 || i == 4;
            x->extractable = true;
        }
    x = sample_add("generic secret", object_import(s, known, 32), CKK_GENERIC_SECRET, known, 32);
    x->extractable = true;
    template_number(&t, CKA_VALUE_LEN, 32);
    template_bool(&t, CKA_EXTRACTABLE, true);
    template_bool(&t, CKA_WRAP, true);
    require_ok(f->C_GenerateKey(s, &gen, t.a, t.n, &o));
    x = sample_add("generated", o, CKK_GENERIC_SECRET, "", 0);
    x->extractable = true;
    require(kwp_seal(known, 32, known + 8, 32, wrapped) == 40, "OpenSSL");
    t = (struct template){.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    template_bool(&t, CKA_WRAP, true);
    template_bool(&t, CKA_UNWRAP, true);
    require_ok(f->C_UnwrapKey(s, &kwp, kwp_import(s, known, 32, (CK_ATTRIBUTE_TYPE[]){CKA_UNWRAP, 0}),
                              wrapped, 40, t.a, t.n, &o));
    x = sample_add("unwrapped", o, CKK_AES, known + 8, 32);
    x->wraps = x->unwraps = true;
}

/* What the keyring makes of a derived key */
static void sample_derived(const char *name, CK_OBJECT_HANDLE o, CK_KEY_TYPE type, const uint8_t *value,
                           size_t len, struct sample x)
{
    const bool inside = strict && x.from_configured;

    x.extractable = x.extractable && (!inside || (cards && !x.known_parts));
    x.with_trusted = x.with_trusted || (inside && x.extractable);
    x.derived = true;
    *sample_add(name, o, type, value, len) = x;
    x = samples[n_samples - 1];
    samples[n_samples - 1].o = o;
    samples[n_samples - 1].type = type;
    samples[n_samples - 1].len = len;
    memcpy(samples[n_samples - 1].value, value, len);
    snprintf(samples[n_samples - 1].name, sizeof x.name,
             "%s: type %lu, %zu bytes, extractable %d, trusted %d", name, type, len, x.extractable,
             x.with_trusted);
}

static void samples_prf_plus(CK_OBJECT_HANDLE base, const uint8_t *value, size_t len, bool from_configured)
{
    uint8_t out[64];

    for (unsigned wishes = 0; wishes < 8; wishes++)
        for (size_t size = 16; size <= 32; size += 16)
            for (int aes = 0; aes < 2; aes++) {
                const CK_KEY_TYPE type = aes ? CKK_AES : CKK_GENERIC_SECRET;
                const struct sample x = {.extractable = wishes & 1,
                                         .with_trusted = wishes & 2,
                                         .from_configured = from_configured};
                CK_OBJECT_HANDLE o = 0;
                struct template t;
                template_leaving(&t, type, size, wishes);
                require_ok(derive_prf_plus(s, false, sha256, base, 0, SEED_32, 32, &t, &o));
                oracle_prf_plus(sha256, value, len, SEED_32, 32, out, size);
                sample_derived(from_configured ? "of a PPK" : "of a known key", o, type, out, size, x);
            }
    guard_release();
}

/* Pieces of a key, and what was joined: AES keys of 32 bytes for which CKA_EXTRACTABLE is asked, and nothing
 * else. */
static void sample_piece(const char *name, CK_MECHANISM_TYPE m, const void *parameter, size_t len,
                         CK_OBJECT_HANDLE base, const uint8_t *value, struct sample x)
{
    CK_OBJECT_HANDLE o = 0;
    struct template t;

    template_leaving(&t, CKK_AES, m == CKM_EXTRACT_KEY_FROM_KEY ? 32 : 0, 1);
    require_ok(derive_any(s, m, parameter, len, base, &t, &o));
    x.from_configured = true;
    sample_derived(name, o, CKK_AES, value, 32, x);
    guard_release();
}

#define HALF_SEED "another seed of 32 bytes as well"
static void samples_pieces(CK_OBJECT_HANDLE ppk, const uint8_t *value, size_t len)
{
    uint8_t all[64], half[16], joined[32];
    CK_KEY_DERIVATION_STRING_DATA data = {joined, 16};

    oracle_prf_plus(sha256, value, len, SEED_32, 32, all, 64);
    oracle_prf_plus(sha256, value, len, HALF_SEED, 32, half, 16);
    for (unsigned wishes = 4; wishes < 8; wishes++) {
        const struct sample x = {.extractable = wishes & 1,
                                 /* of the key that it is a piece of, too: a strict keyring sees to that */
                                 .with_trusted = (wishes & 2) != 0 || ((wishes & 1) != 0 && strict && cards)};
        struct sample known_parts = x;
        CK_OBJECT_HANDLE keymat = 0, first = 0, caller = object_import(s, known, 16);
        CK_ULONG bit = 256;
        struct template t;
        known_parts.known_parts = true;
        template_leaving(&t, CKK_GENERIC_SECRET, 64, wishes);
        require_ok(derive_prf_plus(s, false, sha256, ppk, 0, SEED_32, 32, &t, &keymat));
        template_leaving(&t, CKK_GENERIC_SECRET, 16, wishes);
        require_ok(derive_prf_plus(s, false, sha256, ppk, 0, HALF_SEED, 32, &t, &first));
        sample_piece("piece", CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, keymat, all + 32, x);
        memcpy(joined, half, 16), memcpy(joined + 16, half, 16);
        sample_piece("joined with itself", CKM_CONCATENATE_BASE_AND_KEY, &first, sizeof first, first, joined,
                     known_parts);
        memcpy(joined + 16, known, 16);
        sample_piece("joined with a known key", CKM_CONCATENATE_BASE_AND_KEY, &caller, sizeof caller, first,
                     joined, known_parts);
        memcpy(joined, known, 16), memcpy(joined + 16, half, 16);
        sample_piece("joined behind a known key", CKM_CONCATENATE_BASE_AND_KEY, &first, sizeof first, caller,
                     joined, known_parts);
        data.pData = joined;
        sample_piece("joined behind known bytes", CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof data, first,
                     joined, known_parts);
        memcpy(joined, known, 16);
        memcpy(joined, half, 16), memcpy(joined + 16, known, 16);
        data.pData = joined + 16;
        sample_piece("joined with known bytes", CKM_CONCATENATE_BASE_AND_DATA, &data, sizeof data, first,
                     joined, known_parts);
    }
}

/* A copy is what its original is. */
static void samples_copies(void)
{
    const size_t n = n_samples;

    for (size_t i = 0; i < n; i += 5) {
        CK_OBJECT_HANDLE copy = 0;
        if (samples[i].configured || f->C_CopyObject(s, samples[i].o, NULL, 0, &copy) != CKR_OK)
            continue;
        struct sample *x = sample_add("", copy, 0, "", 0);
        *x = samples[i];
        x->o = copy;
    }
}

static void samples_make(const char *token, const char *psk_label)
{
    uint8_t value[64];
    size_t len = oracle_unhex(MANUAL_3_HEX, value, sizeof value);

    strict = strstr(token, "strict") != NULL;
    cards = strstr(token, "cards") != NULL;
    s = harness_session_rw(token);
    n_samples = 0;
    samples_configured(psk_label);
    samples_callers();
    samples_prf_plus(samples[0].o, value, len, true);
    samples_prf_plus(object_import(s, known, sizeof known), known, sizeof known, false);
    samples_pieces(samples[0].o, value, len);
    samples_copies();
}

/* The model: what C_WrapKey has to answer. */
static CK_RV expected(const struct sample *kek, const struct sample *key)
{
    if (kek->type != CKK_AES)
        return CKR_WRAPPING_KEY_TYPE_INCONSISTENT;
    if (!kek->wraps || kek->derived)
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    if (key->configured || !key->extractable)
        return CKR_KEY_UNEXTRACTABLE;
    if (!key->derived || key->type != CKK_AES)
        return CKR_KEY_NOT_WRAPPABLE;
    if (key->with_trusted && (!kek->trusted || key->known_parts))
        return CKR_KEY_NOT_WRAPPABLE;
    if (strict && kek->trusted && !key->from_configured)
        return CKR_KEY_NOT_WRAPPABLE;
    return CKR_OK;
}

static void try_pair(const struct sample *kek, const struct sample *key)
{
    static const CK_MECHANISM_TYPE others[] = {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD, CKM_AES_ECB,
                                               CKM_AES_CBC,      CKM_AES_CBC_PAD,      CKM_RSA_PKCS,
                                               CKM_SHA256_HMAC,  CKM_HKDF_DERIVE,      CKM_IKE_PRF_DERIVE};
    const CK_RV rv = expected(kek, key);
    uint8_t out[48], got[64];
    CK_ULONG n = 1000;

    expect_case("%s keyring%s: %s under %s", strict ? "strict" : "open", cards ? " with cards" : "",
                key->name, kek->name);
    expect_rv(rv, f->C_WrapKey(s, &kwp, kek->o, key->o, NULL, &n));
    expect(n == (rv == CKR_OK ? key->len + 8 : 1000), "length %lu", n);
    n = sizeof out;
    memset(out, 0xA5, sizeof out);
    expect_rv(rv, f->C_WrapKey(s, &kwp, kek->o, key->o, out, &n));
    if (rv == CKR_OK)
        expect(kwp_open(kek->value, kek->len, out, n, got) == key->len &&
                   memcmp(got, key->value, key->len) == 0,
               "another key than it was wrapped");
    for (size_t i = rv == CKR_OK ? n : 0; i < sizeof out; i++)
        if (out[i] != 0xA5) {
            expect(false, "byte %zu was written", i);
            break;
        }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        CK_MECHANISM m = {others[i], NULL, 0};
        n = sizeof out;
        expect_rv(CKR_MECHANISM_INVALID, f->C_WrapKey(s, &m, kek->o, key->o, out, &n));
    }
    cases += 2 + sizeof others / sizeof *others;
}

/* As unwrapping key, on what is really wrapped under it */
static void try_unwrap(const struct sample *kek)
{
    const CK_RV rv = kek->type != CKK_AES            ? CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT
                     : !kek->unwraps || kek->derived ? CKR_KEY_FUNCTION_NOT_PERMITTED
                                                     : CKR_OK;
    uint8_t wrapped[48];
    struct template t = {.n = 0};
    CK_OBJECT_HANDLE o = 0;
    size_t n = kek->len == 16 || kek->len == 24 || kek->len == 32
                   ? kwp_seal(kek->value, kek->len, known, 32, wrapped)
                   : 40;

    expect_case("unwrapping with %s", kek->name);
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    expect_rv(rv, f->C_UnwrapKey(s, &kwp, kek->o, wrapped, n, t.a, t.n, &o));
    if (rv == CKR_OK)
        expect(object_bool(s, o, CKA_SENSITIVE) == 1 && object_bool(s, o, CKA_EXTRACTABLE) == 0,
               "it may leave");
    cases++;
}

static void test_pairs(void **state)
{
    (void)state;
    static const struct {
        const char *token, *psk_label;
    } tokens[] = {{"cards", "delta/psk"}, {"strict", "gamma/psk"}, {"strict-cards", "delta/psk"}};
    policy_start();
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        samples_make(tokens[i].token, tokens[i].psk_label);
        for (size_t k = 0; k < n_samples; k++) {
            for (size_t j = 0; j < n_samples; j++)
                try_pair(&samples[k], &samples[j]);
            try_unwrap(&samples[k]);
        }
        /* the model is about the same attributes as can be read */
        for (size_t k = 0; k < n_samples; k++) {
            const struct sample *x = &samples[k];
            expect_case("%s: %s", tokens[i].token, x->name);
            expect(object_bool(s, x->o, CKA_EXTRACTABLE) == x->extractable, "EXTRACTABLE");
            expect(object_bool(s, x->o, CKA_WRAP_WITH_TRUSTED) == x->with_trusted, "WRAP_WITH_TRUSTED");
            expect(object_bool(s, x->o, CKA_TRUSTED) == x->trusted, "TRUSTED");
            cases += 3;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_pairs)};
    return policy_main("wrapping", 200000, tests, sizeof tests / sizeof *tests);
}
