/* SPDX-License-Identifier: BSD-2-Clause */
#include "policy.h"

#include "guard.h"
#include "source.h"

static struct source *source;
struct kind kinds[16];
size_t n_kinds;
unsigned long cases;
const uint8_t known[40] = "a key that the caller knows, all of it";

static struct kind *kind_add(const char *name, const char *token, bool strict)
{
    struct kind *k = &kinds[n_kinds++];

    *k = (struct kind){.name = name,
                       .token = token,
                       .strict = strict,
                       .s = harness_session_rw(token),
                       .ro = harness_session(token)};
    return k;
}

static void kind_manual(const char *name, const char *token, bool strict, const char *id, const char *hex)
{
    struct kind *k = kind_add(name, token, strict);
    k->key = object_by_id(k->s, id, strlen(id));
    k->len = oracle_unhex(hex, k->value, sizeof k->value);
}

static void kind_psk(const char *name, const char *token, bool strict, const char *label, const char *value)
{
    struct kind *k = kind_add(name, token, strict);
    k->psk = true;
    k->key = object_by_label(k->s, label);
    k->len = strlen(value);
    memcpy(k->value, value, k->len);
}

/* A dynamic one by C_GenerateKey: always new */
static void kind_dynamic(const char *name, const char *token, bool strict, const char *peer)
{
    struct kind *k = kind_add(name, token, strict);
    CK_MECHANISM generate = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    struct template t = {.n = 0};
    uint8_t id[16];
    template_text(&t, CKA_LABEL, peer);
    require_ok(f->C_GenerateKey(k->s, &generate, t.a, t.n, &k->key));
    require(object_bytes(k->s, k->key, CKA_ID, id, sizeof id) == 16, "no ID");
    k->len = 32;
    source_key(id, 16, k->value, 32);
}

static void kind_kek(const char *name, const char *token, bool strict)
{
    struct kind *k = kind_add(name, token, strict);
    k->kek = true;
    k->key = object_by_label(k->s, "card1");
    k->len = oracle_unhex(KEK_1_HEX, k->value, sizeof k->value);
}

/* The key-encryption keys beside a key: the caller's own, and the configuration's, if its token has one */
static void kind_keks(struct kind *k)
{
    struct template t = {.n = 0};

    template_text(&t, CKA_LABEL, "card1");
    k->card = 0;
    object_search(k->s, &t, &k->card, 1, NULL);
    k->callers_kek = kwp_import(k->s, known, 32, (CK_ATTRIBUTE_TYPE[]){CKA_WRAP, CKA_UNWRAP, 0});
}

void policy_start(void)
{
    source_reset(source);
    harness_conf(CONF_MANUAL CONF_DYNAMIC CONF_PSK
                 "keyring dynamic-strict\n derived-keys sensitive\n peer "
                 "peer3\n  ppk dynamic qkd\n  remote-system-id peer3\n" CONF_CARDS,
                 source->port);
    require_ok(f->C_Initialize(NULL));
    n_kinds = 0;
    kind_manual("manual PPK", "main", false, MANUAL_2_ID, MANUAL_2_HEX);
    kind_manual("manual PPK (strict)", "strict", true, MANUAL_3_ID, MANUAL_3_HEX);
    kind_manual("manual PPK (cards)", "cards", false, MANUAL_3_ID, MANUAL_3_HEX);
    kind_manual("manual PPK (strict, cards)", "strict-cards", true, MANUAL_3_ID, MANUAL_3_HEX);
    kind_psk("PSK", "main", false, "alpha/psk", PSK_ALPHA);
    kind_psk("PSK (strict)", "strict", true, "gamma/psk", PSK_GAMMA);
    kind_psk("PSK (strict, cards)", "strict-cards", true, "delta/psk", PSK_GAMMA);
    kind_dynamic("dynamic PPK", "dynamic", false, "peer1");
    kind_dynamic("dynamic PPK (strict)", "dynamic-strict", true, "peer3");
    kind_kek("key-encryption key", "cards", false);
    kind_kek("key-encryption key (strict)", "strict-cards", true);
    for (size_t i = 0; i < n_kinds; i++)
        kind_keks(&kinds[i]);
}

void template_vary(struct template *t, unsigned variation, CK_ULONG len)
{
    *t = (struct template){.n = 0};
    template_bool(t, CKA_SIGN, true);
    template_bool(t, CKA_DERIVE, true);
    if (variation % 3)
        template_bool(t, CKA_SENSITIVE, variation % 3 == 2);
    if (variation / 3 % 3)
        template_bool(t, CKA_EXTRACTABLE, variation / 3 % 3 == 2);
    if (variation / 9 % 3)
        template_number(t, CKA_KEY_TYPE, variation / 9 % 3 == 1 ? CKK_SHA256_HMAC : CKK_AES);
    if (len)
        template_number(t, CKA_VALUE_LEN, len);
}
void template_leaving(struct template *t, CK_KEY_TYPE type, CK_ULONG len, unsigned wishes)
{
    *t = (struct template){.n = 0};
    template_number(t, CKA_KEY_TYPE, type);
    if (len)
        template_number(t, CKA_VALUE_LEN, len);
    template_bool(t, CKA_EXTRACTABLE, wishes & 1);
    template_bool(t, CKA_WRAP_WITH_TRUSTED, wishes & 2);
    template_bool(t, CKA_SENSITIVE, wishes & 4);
    template_bool(t, CKA_DERIVE, true);
    template_bool(t, CKA_WRAP, true);
    template_bool(t, CKA_UNWRAP, true);
}

/* It leaves wrapped as itself, under the keys and on the conditions that are allowed, or not at all. */
static void check_wrapped(const struct kind *k, CK_OBJECT_HANDLE o, const uint8_t *want, size_t len)
{
    const bool may = object_number(k->s, o, CKA_KEY_TYPE) == CKK_AES && object_bool(k->s, o, CKA_EXTRACTABLE);
    uint8_t wrapped[64], got[64], card[32];

    oracle_unhex(KEK_1_HEX, card, sizeof card);
    for (int trusted = 0; trusted < 2; trusted++) {
        CK_ULONG n = sizeof wrapped;
        CK_RV rv;
        if (trusted && !k->card)
            continue;
        rv = f->C_WrapKey(k->s, &kwp, trusted ? k->card : k->callers_kek, o, wrapped, &n);
        expect((rv == CKR_OK) == (may && (trusted || !k->strict)), "%s under a %s key: %s",
               may ? "extractable" : "kept", trusted ? "trusted" : "caller's", rv_name(rv));
        if (rv == CKR_OK)
            expect(kwp_open(trusted ? card : known, 32, wrapped, n, got) == len &&
                       memcmp(got, want, len) == 0,
                   "another key than it was wrapped");
        cases++;
    }
}

/* Whether it can be read or not, its MAC, or that of its prf+, shows what it is. */
static void check_mac(const struct kind *k, CK_OBJECT_HANDLE o, const uint8_t *want, size_t len)
{
    const struct oracle_prf *sha256 = &oracle_prfs[1];
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    uint8_t mac[32], want_mac[64], next[32];
    CK_OBJECT_HANDLE child = 0;
    CK_ULONG mac_len = sizeof mac;
    struct template t;

    if (object_number(k->s, o, CKA_KEY_TYPE) == CKK_AES) {
        derive_template(&t, sizeof next);
        if (!expect_ok(derive_prf_plus(k->s, false, sha256, o, 0, "probe", 5, &t, &child)))
            return;
        oracle_prf_plus(sha256, want, len, "probe", 5, next, sizeof next);
        want = next;
        len = sizeof next;
        o = child;
    }
    if (expect_ok(f->C_SignInit(k->s, &hmac, o)) &&
        expect_ok(f->C_Sign(k->s, (CK_BYTE_PTR)(uintptr_t) "x", 1, mac, &mac_len))) {
        oracle_hmac(sha256, want, len, "x", 1, want_mac);
        expect(memcmp(mac, want_mac, 32) == 0, "it is no prf output over the whole key");
    }
    if (child != 0)
        expect_ok(f->C_DestroyObject(k->s, child));
}

void check_output(const struct kind *k, CK_OBJECT_HANDLE o, struct template *t, const uint8_t *want,
                  size_t len)
{
    static uint8_t got[20000];
    const int sensitive = object_bool(k->s, o, CKA_SENSITIVE),
              extractable = object_bool(k->s, o, CKA_EXTRACTABLE),
              trusted = object_bool(k->s, o, CKA_WRAP_WITH_TRUSTED);
    const CK_ATTRIBUTE *a = template_entry(t, CKA_SENSITIVE), *b = template_entry(t, CKA_EXTRACTABLE);
    const bool asked = b != NULL && *(CK_BBOOL *)b->pValue;
    size_t n = object_bytes(k->s, o, CKA_VALUE, got, sizeof got);

    expect(!k->kek, "derived from a key-encryption key");
    if (k->strict) {
        expect(sensitive == 1 && extractable == (k->card && asked) && trusted == extractable,
               "derived-keys sensitive, but SENSITIVE %d, EXTRACTABLE %d, WRAP_WITH_TRUSTED %d", sensitive,
               extractable, trusted);
    } else {
        if (a)
            expect(sensitive == *(CK_BBOOL *)a->pValue, "SENSITIVE %d", sensitive);
        if (b)
            expect(extractable == *(CK_BBOOL *)b->pValue, "EXTRACTABLE %d", extractable);
        expect(trusted == 0, "WRAP_WITH_TRUSTED");
    }
    if (sensitive == 1 || extractable == 0)
        expect(n == (size_t)-1, "%zu bytes of a hidden key can be read", n);
    if (n != (size_t)-1)
        expect(n == len && memcmp(got, want, len) == 0, "%zu bytes that are no prf output over the whole key",
               n);
    expect(object_bytes(k->s, o, CKA_CHECK_VALUE, got, sizeof got) == (size_t)-1, "it has a check value");
    expect(object_bool(k->s, o, CKA_ALWAYS_SENSITIVE) <= sensitive, "always sensitive, and not");
    expect(object_bool(k->s, o, CKA_NEVER_EXTRACTABLE) <= !extractable, "never extractable, and yes");
    check_mac(k, o, want, len);
    check_wrapped(k, o, want, len);
    expect_ok(f->C_DestroyObject(k->s, o));
    guard_release();
}

int policy_main(const char *what, unsigned long least, const struct CMUnitTest *tests, size_t n)
{
    int failed;

    harness_load();
    source = source_start(harness_directory());
    failed = _cmocka_run_group_tests("tests", tests, n, NULL, NULL);
    source_stop(source);
    print_message("policy, %s: %lu cases, %lu expectations\n", what, cases, expect_checked());
    if (cases < least)
        print_error("fewer than %lu cases\n", least);
    return cases < least ? 1 : failed;
}
