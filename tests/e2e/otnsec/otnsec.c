/* SPDX-License-Identifier: BSD-2-Clause */
/* OTNsec as a line card's controller does it: the whole IKEv2 schedule in the token, where no value of it can
 * be read: SKEYSEED, all SK_*, the PPK (RFC 8784, or RFC 9867's IKE_INTERMEDIATE), AUTH, a child's KEYMAT,
 * its two AES-256 keys, one for each direction, and the same after a rekey. The keys leave wrapped for the
 * card, which unwraps them; OpenSSL computes beside it what they have to be. */
#include "derive.h"
#include "guard.h"
#include "kwp.h"

#include <jansson.h>

enum {
    CARD_KEY = 32,
    NONCE = 32,
    SPI = 8,
    SK_A = 32,
    SK_E = 36,
    SEED = 2 * NONCE + 2 * SPI,
    SHARED = 256,
    SK_MAX = 400
};

static CK_SESSION_HANDLE s;
static const struct oracle_prf *prf;
static struct oracle_random dice = {8784};

/* A line card: it has a key-encryption key, and takes session keys that were wrapped under it. */
struct card {
    uint8_t kek[CARD_KEY];
};

/* Which token, and how the card's key gets into it. */
struct place {
    const char *token, *ppk_id, *ppk, *psk_label, *psk;
    bool configured; /* in ppk.conf; else imported wrapped under a transport key */
};
static const struct place places[] = {
    {"main", MANUAL_1_ID, MANUAL_1_HEX, "alpha/psk", PSK_ALPHA, false},
    {"cards", MANUAL_3_ID, MANUAL_3_HEX, "delta/psk", PSK_GAMMA, true},
    {"strict-cards", MANUAL_3_ID, MANUAL_3_HEX, "delta/psk", PSK_GAMMA, true},
};
static const struct place *place = &places[0];

/* A key in the token, and what it has to be. */
struct both {
    CK_OBJECT_HANDLE o;
    uint8_t want[SHARED];
    size_t len;
};

struct ike_sa {
    uint8_t ni[NONCE], nr[NONCE], spis[2 * SPI];
    struct both d, pi, pr; /* SK_d, SK_pi, SK_pr */
};

/* Asks for a sensitive key that can be derived from and used for MACs, and that never leaves. */
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

/* A strict keyring's keys make MACs of what looks like an IKE identity. */
static const char probe[] = "\1\0\0\0probe";
enum { PROBE = sizeof probe - 1 };

/* The token's key is the expected one: it cannot be read, and gives the right MAC. */
static void expect_both(const struct both *b)
{
    CK_MECHANISM m = {prf->hmac, NULL, 0};
    uint8_t mac[64], want[64];
    CK_ULONG n = sizeof mac;

    expect(object_bytes(s, b->o, CKA_VALUE, mac, sizeof mac) == (size_t)-1, "it can be read");
    require_ok(f->C_SignInit(s, &m, b->o));
    require_ok(f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t)probe, PROBE, mac, &n));
    oracle_hmac(prf, b->want, b->len, probe, PROBE, want);
    expect(n == prf->size && memcmp(mac, want, n) == 0, "the token has another key");
    guard_release();
}

/* g^ir as the key exchange leaves it in the token */
static struct both shared_secret(void)
{
    struct both b = {.len = SHARED};
    struct template t;

    oracle_fill(&dice, b.want, SHARED);
    template_kept(&t, 0);
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    template_bytes(&t, CKA_VALUE, b.want, b.len);
    require_ok(f->C_CreateObject(s, t.a, t.n, &b.o));
    return b;
}

static void ike_sa_numbers(struct ike_sa *sa)
{
    oracle_fill(&dice, sa->ni, NONCE);
    oracle_fill(&dice, sa->nr, NONCE);
    oracle_fill(&dice, sa->spis, 2 * SPI);
}

static void seed_of(const struct ike_sa *sa, uint8_t seed[static SEED])
{
    memcpy(seed, sa->ni, NONCE);
    memcpy(seed + NONCE, sa->nr, NONCE);
    memcpy(seed + 2 * NONCE, sa->spis, sizeof sa->spis);
}

static struct both cut(CK_OBJECT_HANDLE all, const uint8_t *want, size_t at, size_t len)
{
    struct both b = {.len = len};
    struct template t;
    CK_ULONG bit = at * 8;

    memcpy(b.want, want + at, len);
    template_kept(&t, len);
    require_ok(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, all, &t, &b.o));
    expect_both(&b);
    return b;
}

/* {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr) */
static void ike_sa_keys(struct ike_sa *sa, const struct both *skeyseed)
{
    const size_t p = prf->size, at = p + 2 * SK_A + 2 * SK_E, total = at + 2 * p;
    uint8_t seed[SEED], want[SK_MAX];
    CK_OBJECT_HANDLE all = 0;
    struct template t;

    expect_both(skeyseed);
    seed_of(sa, seed);
    template_kept(&t, total);
    require_ok(derive_prf_plus(s, false, prf, skeyseed->o, 0, seed, SEED, &t, &all));
    oracle_prf_plus(prf, skeyseed->want, skeyseed->len, seed, SEED, want, total);
    sa->d = cut(all, want, 0, p);
    sa->pi = cut(all, want, at, p);
    sa->pr = cut(all, want, at + p, p);
    expect_ok(f->C_DestroyObject(s, all));
}

/* IKE_SA_INIT: SKEYSEED = prf(Ni | Nr, g^ir) */
static void ike_sa_init(struct ike_sa *sa)
{
    struct both g = shared_secret(), skeyseed = {.len = prf->size};
    uint8_t nonces[2 * NONCE];
    struct template t;

    ike_sa_numbers(sa);
    memcpy(nonces, sa->ni, NONCE);
    memcpy(nonces + NONCE, sa->nr, NONCE);
    template_kept(&t, 0);
    require_ok(
        derive_prf(s, false, prf, DERIVE_DATA_AS_KEY, g.o, 0, sa->ni, NONCE, sa->nr, NONCE, &t, &skeyseed.o));
    oracle_hmac(prf, nonces, sizeof nonces, g.want, g.len, skeyseed.want);
    ike_sa_keys(sa, &skeyseed);
}

/* key = prf+(PPK, key) */
static void mix(struct both *key, const struct both *ppk)
{
    struct both mixed = {.len = prf->size};
    struct template t;

    template_kept(&t, prf->size);
    require_ok(derive_prf_plus(s, false, prf, ppk->o, key->o, NULL, 0, &t, &mixed.o));
    oracle_prf_plus(prf, ppk->want, ppk->len, key->want, key->len, mixed.want, mixed.len);
    expect_both(&mixed);
    expect_ok(f->C_DestroyObject(s, key->o));
    *key = mixed;
}

/* RFC 8784, 3 */
static void mix_8784(struct ike_sa *sa, const struct both *ppk)
{
    mix(&sa->d, ppk);
    mix(&sa->pi, ppk);
    mix(&sa->pr, ppk);
}

/* RFC 9867: the PPK's confirmation, and with SKEYSEED' = prf+(PPK, SK_d) all keys anew */
static void mix_9867(struct ike_sa *sa, const struct both *ppk)
{
    CK_MECHANISM m = {prf->hmac, NULL, 0};
    struct both skeyseed = sa->d;
    uint8_t seed[SEED], mac[64], want[64];
    CK_ULONG n = sizeof mac;

    seed_of(sa, seed);
    require_ok(f->C_SignInit(s, &m, ppk->o));
    require_ok(f->C_Sign(s, seed, SEED, mac, &n));
    oracle_hmac(prf, ppk->want, ppk->len, seed, SEED, want);
    expect(memcmp(mac, want, 8) == 0, "another PPK confirmation");
    mix(&skeyseed, ppk);
    ike_sa_keys(sa, &skeyseed);
}

/* AUTH = prf(prf(PSK, "Key Pad for IKEv2"), message | nonce of the other | prf(SK_p, ID)) */
static void expect_auth(const struct both *sk_p, const uint8_t *nonce)
{
    static const char pad[] = "Key Pad for IKEv2", message[] = "IKE_SA_INIT as it was sent",
                      id[] = "\2\0\0\0id";
    CK_MECHANISM m = {prf->hmac, NULL, 0};
    struct both inner = {.len = prf->size};
    uint8_t auth[64], maced[64], want[64], text[256];
    CK_ULONG n = sizeof maced;
    struct template t;
    size_t len = 0;

    template_kept(&t, 0);
    require_ok(derive_prf(s, false, prf, DERIVE_PRF, object_by_label(s, place->psk_label), 0, pad,
                          sizeof pad - 1, NULL, 0, &t, &inner.o));
    oracle_hmac(prf, place->psk, strlen(place->psk), pad, sizeof pad - 1, inner.want);
    require_ok(f->C_SignInit(s, &m, sk_p->o));
    require_ok(f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t)id, sizeof id, maced, &n));
    oracle_hmac(prf, sk_p->want, sk_p->len, id, sizeof id, want);
    memcpy(text, message, sizeof message), len += sizeof message;
    memcpy(text + len, nonce, NONCE), len += NONCE;
    memcpy(text + len, maced, prf->size);
    n = sizeof auth;
    require_ok(f->C_SignInit(s, &m, inner.o));
    require_ok(f->C_Sign(s, text, len + prf->size, auth, &n));
    memcpy(text + len, want, prf->size);
    oracle_hmac(prf, inner.want, inner.len, text, len + prf->size, want);
    expect(n == prf->size && memcmp(auth, want, n) == 0, "another AUTH");
    guard_release();
}

/* The card's key-encryption key, imported wrapped under a transport key. */
static CK_OBJECT_HANDLE card_import(const struct card *c)
{
    struct card transport;
    uint8_t wrapped[CARD_KEY + 8];
    CK_OBJECT_HANDLE unwrapping = 0, kek = 0;
    struct template t = {.n = 0};

    oracle_fill(&dice, transport.kek, CARD_KEY);
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    template_bytes(&t, CKA_VALUE, transport.kek, CARD_KEY);
    template_bool(&t, CKA_SENSITIVE, true);
    template_bool(&t, CKA_UNWRAP, true);
    require_ok(f->C_CreateObject(s, t.a, t.n, &unwrapping));
    require(kwp_seal(transport.kek, CARD_KEY, c->kek, CARD_KEY, wrapped) == sizeof wrapped,
            "the card's key cannot be wrapped");
    t = (struct template){.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    template_bool(&t, CKA_WRAP, true);
    require_ok(f->C_UnwrapKey(s, &kwp, unwrapping, wrapped, sizeof wrapped, t.a, t.n, &kek));
    expect_ok(f->C_DestroyObject(s, unwrapping));
    return kek;
}

/* A card whose key is in the token */
static CK_OBJECT_HANDLE card_join(struct card *c)
{
    if (place->configured) {
        oracle_unhex(KEK_1_HEX, c->kek, CARD_KEY);
        return object_by_label(s, "card1");
    }
    oracle_fill(&dice, c->kek, CARD_KEY);
    return card_import(c);
}

/* What the card gets is this key. */
static void expect_card_takes(const struct card *c, const uint8_t *wrapped, size_t len, const uint8_t *want)
{
    uint8_t got[64];

    expect(kwp_open(c->kek, CARD_KEY, wrapped, len, got) == CARD_KEY && memcmp(got, want, CARD_KEY) == 0,
           "the card gets another key");
}

/* CREATE_CHILD_SA, with or without a new key exchange: KEYMAT, and its two keys at the card */
static void child(const struct ike_sa *sa, const struct card *c, CK_OBJECT_HANDLE kek, bool exchange)
{
    struct both g = exchange ? shared_secret() : (struct both){0};
    uint8_t seed[SHARED + 2 * NONCE], want[2 * CARD_KEY], wrapped[CARD_KEY + 8], got[64];
    CK_OBJECT_HANDLE keymat = 0, key = 0;
    struct template t;

    memcpy(seed, g.want, g.len);
    oracle_fill(&dice, seed + g.len, 2 * NONCE);
    template_kept(&t, sizeof want);
    template_entry(&t, CKA_EXTRACTABLE)->pValue = &(CK_BBOOL){CK_TRUE}; /* in pieces, wrapped */
    require_ok(derive_prf_plus(s, false, prf, sa->d.o, g.o, seed + g.len, 2 * NONCE, &t, &keymat));
    oracle_prf_plus(prf, sa->d.want, sa->d.len, seed, g.len + 2 * NONCE, want, sizeof want);
    for (size_t i = 0; i < 2; i++) { /* initiator to responder first: RFC 7296, 2.17 */
        CK_ULONG bit = i * CARD_KEY * 8, n = 0;
        t = (struct template){.n = 0};
        template_number(&t, CKA_KEY_TYPE, CKK_AES);
        template_number(&t, CKA_VALUE_LEN, CARD_KEY);
        template_bool(&t, CKA_SENSITIVE, true);
        template_bool(&t, CKA_EXTRACTABLE, true);
        require_ok(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, keymat, &t, &key));
        expect(object_bytes(s, key, CKA_VALUE, got, sizeof got) == (size_t)-1, "it leaves unwrapped, too");
        require_ok(f->C_WrapKey(s, &kwp, kek, key, NULL, &n));
        require(n == sizeof wrapped, "%lu bytes", n);
        require_ok(f->C_WrapKey(s, &kwp, kek, key, wrapped, &n));
        expect_ok(f->C_DestroyObject(s, key));
        expect_card_takes(c, wrapped, n, want + i * CARD_KEY);
        wrapped[n - 1] ^= 1;
        expect(kwp_open(c->kek, CARD_KEY, wrapped, n, got) == 0, "the card took a damaged key");
    }
    expect_ok(f->C_DestroyObject(s, keymat));
    guard_release();
}

/* The IKE SA rekeyed: SKEYSEED = prf(SK_d, g^ir | Ni | Nr); no PPK is mixed in again */
static void rekey(struct ike_sa *sa)
{
    struct both g = shared_secret(), skeyseed = {.len = prf->size}, old = sa->d;
    uint8_t text[SHARED + 2 * NONCE];
    struct template t;

    ike_sa_numbers(sa);
    template_kept(&t, 0);
    require_ok(
        derive_prf(s, false, prf, DERIVE_REKEY, old.o, g.o, sa->ni, NONCE, sa->nr, NONCE, &t, &skeyseed.o));
    memcpy(text, g.want, g.len);
    memcpy(text + g.len, sa->ni, NONCE);
    memcpy(text + g.len + NONCE, sa->nr, NONCE);
    oracle_hmac(prf, old.want, old.len, text, g.len + 2 * NONCE, skeyseed.want);
    ike_sa_keys(sa, &skeyseed);
}

static void start(void)
{
    harness_conf("%s", CONF_MANUAL CONF_CARDS);
    require_ok(f->C_Initialize(NULL));
    s = harness_session(place->token);
}

static void whole(void mixing(struct ike_sa *sa, const struct both *ppk))
{
    start();
    for (size_t i = 0; i < 4; i++) {
        struct both ppk = {.o = object_by_id(s, place->ppk_id, strlen(place->ppk_id))};
        struct ike_sa sa;
        struct card card;
        CK_OBJECT_HANDLE kek;

        prf = &oracle_prfs[i];
        expect_case("%s, %s", place->token, prf->name);
        ppk.len = oracle_unhex(place->ppk, ppk.want, sizeof ppk.want);
        kek = card_join(&card);
        ike_sa_init(&sa);
        mixing(&sa, &ppk);
        expect_auth(&sa.pi, sa.nr);
        expect_auth(&sa.pr, sa.ni);
        child(&sa, &card, kek, false);
        child(&sa, &card, kek, true);
        rekey(&sa);
        child(&sa, &card, kek, true);
    }
}

static void everywhere(void mixing(struct ike_sa *sa, const struct both *ppk))
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        place = &places[i];
        whole(mixing);
        expect_ok(f->C_Finalize(NULL));
    }
    place = &places[0];
    expect_case("%s", "");
}

static void test_rfc8784(void **state)
{
    (void)state;
    everywhere(mix_8784);
}

static void test_rfc9867(void **state)
{
    (void)state;
    everywhere(mix_9867);
}

static size_t member(const json_t *object, const char *name, uint8_t *out, size_t room)
{
    const char *hex = json_string_value(json_object_get(object, name));

    require(hex != NULL, "no member %s", name);
    return oracle_unhex(hex, out, room);
}

/* A chain that others computed: its child's first 64 bytes reach the card as two keys. */
static void test_vectors(void **state)
{
    (void)state;
    json_t *root = json_load_file(PPK_SOURCE_DIR "/tests/vectors/ikev2-chain-sha1.json", 0, NULL);
    json_t *in = json_object_get(root, "input"), *out = json_object_get(root, "expected");
    uint8_t gir[64], ni[16], nr[16], seed[64], want[300], wrapped[CARD_KEY + 8];
    CK_OBJECT_HANDLE skeyseed = 0, all = 0, sk_d = 0, keymat = 0, key = 0, kek;
    struct card card;
    struct template t;
    CK_ULONG bit = 0;

    require(root != NULL, "no vectors");
    start();
    prf = oracle_prf_by_name("sha1");
    kek = card_join(&card);
    size_t g_len = member(in, "gir", gir, sizeof gir), ni_len = member(in, "nInit", ni, sizeof ni),
           nr_len = member(in, "nResp", nr, sizeof nr), n = 0;
    n += member(in, "nInit", seed, sizeof seed);
    n += member(in, "nResp", seed + n, sizeof seed - n);
    n += member(in, "spiInit", seed + n, sizeof seed - n);
    n += member(in, "spiResp", seed + n, sizeof seed - n);
    template_kept(&t, 0);
    require_ok(derive_prf(s, false, prf, DERIVE_DATA_AS_KEY, object_import(s, gir, g_len), 0, ni, ni_len, nr,
                          nr_len, &t, &skeyseed));
    template_kept(&t, 132);
    require_ok(derive_prf_plus(s, false, prf, skeyseed, 0, seed, n, &t, &all));
    template_kept(&t, 20);
    require_ok(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, all, &t, &sk_d));
    template_kept(&t, 64);
    template_entry(&t, CKA_EXTRACTABLE)->pValue = &(CK_BBOOL){CK_TRUE};
    require_ok(derive_prf_plus(s, false, prf, sk_d, 0, seed, ni_len + nr_len, &t, &keymat));
    require(member(out, "derivedKeyingMaterialChild", want, sizeof want) >= 64, "too short");
    for (size_t i = 0; i < 2; i++) {
        CK_ULONG len = sizeof wrapped;
        bit = i * CARD_KEY * 8;
        template_kept(&t, CARD_KEY);
        template_entry(&t, CKA_EXTRACTABLE)->pValue = &(CK_BBOOL){CK_TRUE};
        template_number(&t, CKA_KEY_TYPE, CKK_AES);
        require_ok(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, keymat, &t, &key));
        require_ok(f->C_WrapKey(s, &kwp, kek, key, wrapped, &len));
        expect_card_takes(&card, wrapped, len, want + i * CARD_KEY);
    }
    guard_release();
    json_decref(root);
}

/* A keyring that keeps derived keys inside, and has no card's key configured, gives none, wrapped or not. */
static void test_strict(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE key = 0;
    static const uint8_t seed[32] = {"SK_d'"};
    struct card card;
    struct template t;
    CK_ULONG n = 0;

    start();
    s = harness_session("strict");
    prf = &oracle_prfs[1];
    template_kept(&t, CARD_KEY);
    template_entry(&t, CKA_EXTRACTABLE)->pValue = &(CK_BBOOL){CK_TRUE};
    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    require_ok(derive_prf_plus(s, false, prf, object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID)), 0, seed,
                               sizeof seed, &t, &key));
    expect_rv(CKR_KEY_UNEXTRACTABLE, f->C_WrapKey(s, &kwp, card_join(&card), key, NULL, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_rfc8784), TOKEN_TEST(test_rfc9867),
                                       TOKEN_TEST(test_vectors), TOKEN_TEST(test_strict)};
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
