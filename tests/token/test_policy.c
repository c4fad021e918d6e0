/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys never leave: every way by which bits of a PPK or a pre-shared key could reach a caller, enumerated:
 * mechanism × kind of key × role × template. What comes out has to be a prf's output over the whole key, or
 * an error. The number of cases is printed. */
#include "conf.h"
#include "derive.h"
#include "guard.h"
#include "source.h"

static struct source *source;
static unsigned long cases;

/* ---- the keys ---- */

struct kind {
    const char *name, *token;
    bool strict; /* derived-keys sensitive */
    bool psk;
    CK_SESSION_HANDLE s, ro;
    CK_OBJECT_HANDLE key;
    uint8_t value[64];
    size_t len;
};
static struct kind kinds[6];
static size_t n_kinds;

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

static void start(void)
{
    source_reset(source);
    harness_conf(CONF_MANUAL CONF_DYNAMIC CONF_PSK "keyring dynamic-strict\n derived-keys sensitive\n peer "
                                                   "peer3\n  ppk dynamic qkd\n  remote-system-id peer3\n",
                 source->port);
    require_ok(f->C_Initialize(NULL));
    n_kinds = 0;
    kind_manual("manual PPK", "main", false, MANUAL_2_ID, MANUAL_2_HEX);
    kind_manual("manual PPK (strict)", "strict", true, MANUAL_3_ID, MANUAL_3_HEX);
    kind_psk("PSK", "main", false, "alpha/psk", PSK_ALPHA);
    kind_psk("PSK (strict)", "strict", true, "gamma/psk", PSK_GAMMA);
    kind_dynamic("dynamic PPK", "dynamic", false, "peer1");
    kind_dynamic("dynamic PPK (strict)", "dynamic-strict", true, "peer3");
}

/* ---- what comes out ---- */

/* Template variations: each of SENSITIVE and EXTRACTABLE absent, FALSE, TRUE */
static void template_vary(struct template *t, unsigned variation, CK_ULONG len)
{
    *t = (struct template){.n = 0};
    template_bool(t, CKA_SIGN, true);
    template_bool(t, CKA_DERIVE, true);
    if (variation % 3)
        template_bool(t, CKA_SENSITIVE, variation % 3 == 2);
    if (variation / 3 % 3)
        template_bool(t, CKA_EXTRACTABLE, variation / 3 % 3 == 2);
    if (variation / 9 % 2)
        template_number(t, CKA_KEY_TYPE, CKK_SHA256_HMAC);
    if (len)
        template_number(t, CKA_VALUE_LEN, len);
}
#define VARIATIONS 18

/* The derived key `o` is this prf output, kept as the template and the keyring's policy say. Destroys it. */
static void check_output(const struct kind *k, CK_OBJECT_HANDLE o, struct template *t, const uint8_t *want,
                         size_t len)
{
    static uint8_t got[20000];
    int sensitive = object_bool(k->s, o, CKA_SENSITIVE), extractable = object_bool(k->s, o, CKA_EXTRACTABLE);
    CK_ATTRIBUTE *a = template_entry(t, CKA_SENSITIVE), *b = template_entry(t, CKA_EXTRACTABLE);
    size_t n = object_bytes(k->s, o, CKA_VALUE, got, sizeof got);
    if (k->strict) {
        expect(sensitive == 1 && extractable == 0, "derived-keys sensitive, but SENSITIVE %d, EXTRACTABLE %d",
               sensitive, extractable);
    } else {
        if (a)
            expect(sensitive == *(CK_BBOOL *)a->pValue, "SENSITIVE %d", sensitive);
        if (b)
            expect(extractable == *(CK_BBOOL *)b->pValue, "EXTRACTABLE %d", extractable);
    }
    if (sensitive == 1 || extractable == 0)
        expect(n == (size_t)-1, "%zu bytes of a hidden key can be read", n);
    if (n != (size_t)-1)
        expect(n == len && memcmp(got, want, len) == 0, "%zu bytes that are no prf output over the whole key",
               n);
    expect(object_bool(k->s, o, CKA_ALWAYS_SENSITIVE) <= sensitive, "always sensitive, and not");
    expect(object_bool(k->s, o, CKA_NEVER_EXTRACTABLE) <= !extractable, "never extractable, and yes");
    /* Whether it can be read or not, its MAC shows what it is. */
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    uint8_t mac[32], want_mac[64];
    CK_ULONG mac_len = sizeof mac;
    if (f->C_SignInit(k->s, &hmac, o) == CKR_OK &&
        expect_ok(f->C_Sign(k->s, (CK_BYTE_PTR)(uintptr_t) "x", 1, mac, &mac_len))) {
        oracle_hmac(&oracle_prfs[1], want, len, "x", 1, want_mac);
        expect(memcmp(mac, want_mac, 32) == 0, "it is no prf output over the whole key");
    }
    expect_ok(f->C_DestroyObject(k->s, o));
    guard_release();
}

/* ---- as base key and as second key of the mechanisms that it may serve ---- */

static const uint8_t known[40] = "a key that the caller knows, all of it";
static const uint8_t ni[24] = "nonce of the initiator", nr[24] = "nonce of the responder";

static bool allowed(const struct kind *k, CK_MECHANISM_TYPE type)
{
    CK_MECHANISM_TYPE list[64];
    size_t n = object_bytes(k->s, k->key, CKA_ALLOWED_MECHANISMS, list, sizeof list);
    for (size_t i = 0; n != (size_t)-1 && i < n / sizeof *list; i++)
        if (list[i] == type)
            return true;
    return false;
}

enum role { BASE, SEED_OR_NEW, BOTH };

static void test_prf_plus(void **state)
{
    (void)state;
    static uint8_t want[20000], seed[200];
    start();
    for (size_t i = 0; i < n_kinds; i++) {
        struct kind *k = &kinds[i];
        CK_OBJECT_HANDLE caller = object_import(k->s, known, sizeof known);
        for (int nss = 0; nss < 2; nss++)
            for (int role = BASE; role <= BOTH; role++)
                for (int with_seed = 0; with_seed < 2; with_seed++)
                    for (size_t p = 0; p < 4; p++)
                        for (size_t l = 0; l < 8; l++)
                            for (unsigned v = 0; v < VARIATIONS; v++) {
                                const struct oracle_prf *prf = &oracle_prfs[p];
                                const CK_ULONG len = (CK_ULONG[]){0,
                                                                  1,
                                                                  16,
                                                                  prf->size - 1,
                                                                  prf->size,
                                                                  prf->size + 1,
                                                                  3 * prf->size,
                                                                  255 * prf->size + 1}[l];
                                CK_OBJECT_HANDLE o = 0;
                                struct template t;
                                size_t n = 0;
                                if (role != BASE) {
                                    memcpy(seed, k->value, k->len);
                                    n = k->len;
                                }
                                if (with_seed) {
                                    memcpy(seed + n, ni, sizeof ni);
                                    n += sizeof ni;
                                }
                                template_vary(&t, v, len);
                                expect_case("%s, prf+ %s, role %d, seed %d, %lu bytes, variation %u, NSS's "
                                            "number: %d",
                                            k->name, prf->name, role, with_seed, len, v, nss);
                                CK_RV rv = derive_prf_plus(
                                    k->s, nss, prf, role == SEED_OR_NEW ? caller : k->key,
                                    role == BASE ? 0 : k->key, with_seed ? ni : NULL, sizeof ni, &t, &o);
                                cases++;
                                if (rv != CKR_OK) {
                                    /* what RFC 8784 needs has to work */
                                    if (role == BASE && with_seed && len == prf->size && !k->strict &&
                                        !k->psk)
                                        expect_rv(CKR_OK, rv);
                                    if (len == 0)
                                        expect_rv_in(rv, CKR_TEMPLATE_INCOMPLETE,
                                                     CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_MECHANISM_INVALID,
                                                     CKR_MECHANISM_PARAM_INVALID);
                                    guard_release();
                                    continue;
                                }
                                expect(len > 0 && len <= 255 * prf->size, "worked");
                                if (role == SEED_OR_NEW)
                                    oracle_prf_plus(prf, known, sizeof known, seed, n, want, len);
                                else
                                    oracle_prf_plus(prf, k->value, k->len, seed, n, want, len);
                                check_output(k, o, &t, want, len);
                            }
    }
}

static void test_prf(void **state)
{
    (void)state;
    uint8_t want[64], message[200];
    start();
    for (size_t i = 0; i < n_kinds; i++) {
        struct kind *k = &kinds[i];
        CK_OBJECT_HANDLE caller = object_import(k->s, known, sizeof known);
        for (int nss = 0; nss < 2; nss++)
            for (int form = 0; form < 3; form++)
                for (int role = BASE; role <= (form == DERIVE_REKEY ? BOTH : BASE); role++)
                    for (int nonces = 0; nonces < 3; nonces++)
                        for (size_t p = 0; p < 4; p++)
                            for (size_t l = 0; l < 5; l++)
                                for (unsigned v = 0; v < VARIATIONS; v++) {
                                    const struct oracle_prf *prf = &oracle_prfs[p];
                                    const CK_ULONG len =
                                        (CK_ULONG[]){0, 1, prf->size - 1, prf->size, prf->size + 1}[l];
                                    const uint8_t *new_key = role == BASE ? known : k->value,
                                                  *base = role == SEED_OR_NEW ? known : k->value;
                                    size_t new_len = role == BASE ? sizeof known : k->len,
                                           base_len = role == SEED_OR_NEW ? sizeof known : k->len, n = 0;
                                    CK_OBJECT_HANDLE o = 0;
                                    struct template t;
                                    if (form == DERIVE_REKEY)
                                        memcpy(message, new_key, new_len), n += new_len;
                                    if (nonces > 0)
                                        memcpy(message + n, ni, sizeof ni), n += sizeof ni;
                                    if (nonces > 1)
                                        memcpy(message + n, nr, sizeof nr), n += sizeof nr;
                                    template_vary(&t, v, len);
                                    expect_case(
                                        "%s, prf %s, form %d, role %d, %d nonces, %lu bytes, variation %u",
                                        k->name, prf->name, form, role, nonces, len, v);
                                    CK_RV rv = derive_prf(k->s, nss, prf, (enum derive_kind)form,
                                                          role == SEED_OR_NEW ? caller : k->key,
                                                          form != DERIVE_REKEY ? 0
                                                          : role == BASE       ? caller
                                                                               : k->key,
                                                          nonces > 0 ? ni : NULL, sizeof ni,
                                                          nonces > 1 ? nr : NULL, sizeof nr, &t, &o);
                                    cases++;
                                    if (rv != CKR_OK) {
                                        guard_release();
                                        continue;
                                    }
                                    expect(len == 0 || len == prf->size, "worked");
                                    if (form == DERIVE_DATA_AS_KEY)
                                        oracle_hmac(prf, message, n, base, base_len, want);
                                    else
                                        oracle_hmac(prf, base, base_len, message, n, want);
                                    check_output(k, o, &t, want, prf->size);
                                }
    }
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

static CK_OBJECT_HANDLE callers_key, callers_kek;

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
    if (ike_mechanism(type))
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
        expect_error(f->C_WrapKey(s, m, callers_kek, k->key, out, &n));
        expect_error(f->C_WrapKey(s, m, callers_kek, k->key, NULL, &n));
        expect_error(f->C_WrapKey(s, m, k->key, callers_kek, out, &n));
        derive_template(&t, 0);
        expect_error(f->C_UnwrapKey(s, m, k->key, out, 32, t.a, t.n, &o));
        expect_error(f->C_SignRecoverInit(s, m, k->key));
        expect_error(f->C_VerifyRecoverInit(s, m, k->key));
        if (f->C_DigestInit(s, m) == CKR_OK) {
            expect_error(f->C_DigestKey(s, k->key));
            n = sizeof out;
            f->C_DigestFinal(s, out, &n);
        }
        if (hmac_mechanism(type) && i == 0)
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
    start();
    for (size_t i = 0; i < n_kinds; i++) {
        struct template t;
        callers_key = object_import(kinds[i].s, known, sizeof known);
        template_secret(&t);
        t.numbers[1] = CKK_AES;
        template_bytes(&t, CKA_VALUE, known, 32);
        template_bool(&t, CKA_WRAP, true);
        template_bool(&t, CKA_UNWRAP, true);
        require_ok(f->C_CreateObject(kinds[i].s, t.a, t.n, &callers_kek));
        each_mechanism(no_derivation, &kinds[i]);
        each_mechanism(no_operation, &kinds[i]);
        for (CK_MECHANISM_TYPE m = 0; m < 0x5000; m++)
            if (allowed(&kinds[i], m) && !ike_mechanism(m) && !hmac_mechanism(m))
                expect(false, "CKA_ALLOWED_MECHANISMS has 0x%lx", m);
    }
}

/* ---- MACs: whole, or nothing ---- */

static void test_macs(void **state)
{
    (void)state;
    start();
    for (size_t i = 0; i < n_kinds; i++)
        for (size_t p = 0; p < 4; p++)
            for (size_t room = 0; room <= 70; room++)
                for (int final = 0; final < 2; final++) {
                    struct kind *k = &kinds[i];
                    const struct oracle_prf *prf = &oracle_prfs[p];
                    CK_MECHANISM m = {prf->hmac, NULL, 0};
                    uint8_t out[80], want[64];
                    CK_ULONG n = room;
                    memset(out, 0xA5, sizeof out);
                    expect_case("%s, %s, room for %zu", k->name, prf->name, room);
                    cases++;
                    CK_SESSION_HANDLE s = k->ro;
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

/* ---- the object itself ---- */

static void test_object(void **state)
{
    (void)state;
    start();
    static const CK_ATTRIBUTE_TYPE bools[] = {CKA_TOKEN,
                                              CKA_PRIVATE,
                                              CKA_SENSITIVE,
                                              CKA_EXTRACTABLE,
                                              CKA_MODIFIABLE,
                                              CKA_COPYABLE,
                                              CKA_DESTROYABLE,
                                              CKA_ENCRYPT,
                                              CKA_DECRYPT,
                                              CKA_WRAP,
                                              CKA_UNWRAP,
                                              CKA_SIGN,
                                              CKA_VERIFY,
                                              CKA_DERIVE,
                                              CKA_ALWAYS_SENSITIVE,
                                              CKA_NEVER_EXTRACTABLE,
                                              CKA_WRAP_WITH_TRUSTED,
                                              CKA_TRUSTED,
                                              CKA_LOCAL};
    for (size_t i = 0; i < n_kinds; i++) {
        struct kind *k = &kinds[i];
        for (int ro = 0; ro < 2; ro++) {
            CK_SESSION_HANDLE s = ro ? k->ro : k->s;
            CK_OBJECT_HANDLE copy = 0;
            CK_BBOOL b;
            CK_ULONG number = 1;
            for (size_t x = 0; x < sizeof bools / sizeof *bools; x++)
                for (b = 0; b < 2; b++) {
                    CK_ATTRIBUTE a = {bools[x], &b, 1};
                    expect_case("%s, attribute 0x%lx = %d", k->name, bools[x], b);
                    cases += 2;
                    expect_error(f->C_SetAttributeValue(s, k->key, &a, 1));
                    expect_error(f->C_CopyObject(s, k->key, &a, 1, &copy));
                }
            const CK_ATTRIBUTE others[] = {{CKA_VALUE_LEN, &number, sizeof number},
                                           {CKA_KEY_TYPE, &number, sizeof number},
                                           {CKA_CLASS, &number, sizeof number},
                                           {CKA_ALLOWED_MECHANISMS, &number, 0},
                                           {CKA_ALLOWED_MECHANISMS, &number, sizeof number},
                                           {CKA_VALUE, &number, 1},
                                           {CKA_LABEL, &number, 1},
                                           {CKA_ID, &number, 1},
                                           {CKA_CHECK_VALUE, &number, 3}};
            for (size_t x = 0; x < sizeof others / sizeof *others; x++) {
                CK_ATTRIBUTE a = others[x];
                expect_case("%s, attribute 0x%lx", k->name, a.type);
                cases += 2;
                expect_error(f->C_SetAttributeValue(s, k->key, &a, 1));
                expect_error(f->C_CopyObject(s, k->key, &a, 1, &copy));
            }
            cases++;
            expect_error(f->C_CopyObject(s, k->key, NULL, 0, &copy));
            /* a search is no oracle */
            for (size_t len = 1; len <= k->len; len++) {
                CK_ATTRIBUTE a = {CKA_VALUE, k->value, len};
                CK_ULONG n = 0;
                expect_case("%s, search for the first %zu bytes", k->name, len);
                cases++;
                if (f->C_FindObjectsInit(s, &a, 1) == CKR_OK) {
                    if (f->C_FindObjects(s, &copy, 1, &n) == CKR_OK)
                        expect(n == 0, "found");
                    expect_ok(f->C_FindObjectsFinal(s));
                }
            }
            /* the state of an operation */
            CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
            uint8_t operation[4096];
            CK_ULONG n = sizeof operation;
            expect_case("%s", k->name);
            cases += 3;
            expect_ok(f->C_SignInit(s, &m, k->key));
            expect_ok(f->C_SignUpdate(s, operation, 3));
            expect_error(f->C_GetOperationState(s, operation, &n));
            expect_error(f->C_SetOperationState(s, operation, 64, k->key, k->key));
            n = sizeof operation;
            expect_ok(f->C_SignFinal(s, operation, &n));
        }
        /* in another token its handle means nothing */
        for (size_t j = 0; j < n_kinds; j++) {
            CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
            CK_BBOOL b;
            CK_ATTRIBUTE a = {CKA_TOKEN, &b, 1};
            if (strcmp(kinds[j].token, k->token) == 0)
                continue;
            expect_case("%s in token %s", k->name, kinds[j].token);
            cases += 3;
            expect_rv(CKR_KEY_HANDLE_INVALID, f->C_SignInit(kinds[j].s, &m, k->key));
            expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_GetAttributeValue(kinds[j].s, k->key, &a, 1));
            CK_OBJECT_HANDLE caller = object_import(kinds[j].s, known, sizeof known), o;
            struct template t;
            derive_template(&t, 32);
            expect_error(
                derive_prf_plus(kinds[j].s, false, &oracle_prfs[1], caller, k->key, NULL, 0, &t, &o));
        }
    }
}

/* ---- derived-keys sensitive: not in the second generation either ---- */

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
        expect(object_bool(k->s, o, CKA_SENSITIVE) == 1 && object_bool(k->s, o, CKA_EXTRACTABLE) == 0,
               "SENSITIVE %d, EXTRACTABLE %d", object_bool(k->s, o, CKA_SENSITIVE),
               object_bool(k->s, o, CKA_EXTRACTABLE));
    }
    guard_release();
}

static void test_strict_descendants(void **state)
{
    (void)state;
    start();
    for (size_t i = 0; i < n_kinds; i++) {
        struct kind *k = &kinds[i];
        if (!k->strict)
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
        f->C_Sign(k->s, (CK_BYTE_PTR)(uintptr_t) "x", 1, mac, &n) != CKR_OK)
        return false;
    memcpy(key, prefix, prefix_len);
    for (unsigned guess = 0; guess < 256; guess++) {
        key[prefix_len] = (uint8_t)guess;
        oracle_hmac(&oracle_prfs[1], key, prefix_len + 1, "x", 1, want);
        if (memcmp(want, mac, 32) == 0)
            return true;
    }
    return false;
}

static void test_one_byte_at_a_time(void **state)
{
    (void)state;
    start();
    for (size_t i = 0; i < n_kinds; i++)
        for (int derived = 0; derived < 2; derived++) {
            struct kind *k = &kinds[i];
            if (derived && !k->strict)
                continue; /* such a keyring's derived keys may leave */
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

static void test_count(void **state)
{
    (void)state;
    print_message("policy: %lu cases, %lu expectations\n", cases, expect_checked());
    expect(cases > 200000, "only %lu cases", cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_object),
        TOKEN_TEST(test_macs),
        TOKEN_TEST(test_prf_plus),
        TOKEN_TEST(test_prf),
        TOKEN_TEST(test_strict_descendants),
        TOKEN_TEST(test_one_byte_at_a_time),
        TOKEN_TEST(test_other_mechanisms),
        TOKEN_TEST(test_count),
    };
    harness_load();
    source = source_start(harness_directory());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    source_stop(source);
    return failed;
}
