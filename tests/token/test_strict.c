/* SPDX-License-Identifier: BSD-2-Clause */
/* A keyring with "derived-keys sensitive" lets no derived key out: neither read, nor guessed. The attacks are
 * carried out: whoever may cut, join, shorten and MAC keys finds a key byte by byte, if he is allowed to make
 * a key of which he knows all but one byte. */
#include "conf.h"
#include "derive.h"
#include "guard.h"

static CK_SESSION_HANDLE s;
static CK_OBJECT_HANDLE target; /* prf+(PPK, seed), 32 bytes */

static uint8_t target_value[32];
static const struct oracle_prf *sha256 = &oracle_prfs[1];
static const uint8_t known[32] = "a key of which the caller knows";

static void start(void)
{
    uint8_t ppk[64];
    struct template t = {.n = 0};
    harness_conf("%s", CONF_MANUAL);
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("strict");
    template_number(&t, CKA_VALUE_LEN, 32);
    template_bool(&t, CKA_SIGN, true);
    template_bool(&t, CKA_DERIVE, true);
    require_ok(derive_prf_plus(s, false, sha256, object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID)), 0,
                               SEED_32, 32, &t, &target));
    oracle_prf_plus(sha256, ppk, oracle_unhex(MANUAL_3_HEX, ppk, sizeof ppk), SEED_32, 32, target_value, 32);
}

/* Tries all values of the byte at `at` of a key that is otherwise `value`; -1: it is none of them, or there
 * is no MAC to try with. */
static int guess(CK_OBJECT_HANDLE key, const uint8_t *value, size_t len, size_t at)
{
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    uint8_t mac[32], want[64], candidate[64];
    CK_ULONG n = sizeof mac;
    if (f->C_SignInit(s, &hmac, key) != CKR_OK ||
        f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t)IDENTITY, sizeof IDENTITY, mac, &n) != CKR_OK)
        return -1;
    memcpy(candidate, value, len);
    for (int i = 0; i < 256; i++) {
        candidate[at] = (uint8_t)i;
        oracle_hmac(sha256, candidate, len, IDENTITY, sizeof IDENTITY, want);
        if (memcmp(want, mac, 32) == 0)
            return i;
    }
    return -1;
}

/* The guessing itself works, on a key that is the caller's own. */
static void test_guessing(void **state)
{
    (void)state;
    uint8_t almost[32];
    start();
    CK_OBJECT_HANDLE key = object_import(s, known, 32);
    memcpy(almost, known, 32);
    almost[31] ^= 0x5a;
    expect(guess(key, almost, 32, 31) == known[31], "the last byte was not found");
    almost[0] ^= 1;
    expect(guess(key, almost, 32, 31) == -1, "two wrong bytes, and yet found");
}

/* A sensitive session key, as the token makes it: never seen, unless the caller finds a way */
static CK_OBJECT_HANDLE generate(CK_ULONG len)
{
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    CK_MECHANISM m = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    template_secret(&t);
    template_number(&t, CKA_VALUE_LEN, len);
    template_bool(&t, CKA_SENSITIVE, true);
    template_bool(&t, CKA_EXTRACTABLE, false);
    template_bool(&t, CKA_DERIVE, true);
    template_bool(&t, CKA_SIGN, true);
    return f->C_GenerateKey(s, &m, t.a, t.n, &o) == CKR_OK ? o : 0;
}

static void template_hidden(struct template *t, CK_ULONG len)
{
    *t = (struct template){.n = 0};
    template_bool(t, CKA_SENSITIVE, true);
    template_bool(t, CKA_EXTRACTABLE, false);
    template_bool(t, CKA_DERIVE, true);
    template_bool(t, CKA_SIGN, true);
    if (len)
        template_number(t, CKA_VALUE_LEN, len);
}

static CK_OBJECT_HANDLE joined(CK_OBJECT_HANDLE first, CK_OBJECT_HANDLE second)
{
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    template_hidden(&t, 0);
    CK_RV rv = derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &second, sizeof second, first, &t, &o);
    guard_release();
    return rv == CKR_OK ? o : 0;
}

static CK_OBJECT_HANDLE cut(CK_OBJECT_HANDLE base, CK_ULONG bit, CK_ULONG len)
{
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    template_hidden(&t, len);
    CK_RV rv = derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, base, &t, &o);
    guard_release();
    return rv == CKR_OK ? o : 0;
}

/* Joins `helper`, of `len` bytes that the caller knows, with the target on either side, and cuts 16 bytes at
 * the border. */
static void attack_border(CK_OBJECT_HANDLE helper, const uint8_t *value, size_t len, const char *what)
{
    uint8_t candidate[64];
    CK_OBJECT_HANDLE both = joined(helper, target), piece = both ? cut(both, (len - 15) * 8, 16) : 0;
    if (piece) {
        memcpy(candidate, value + len - 15, 15);
        expect(guess(piece, candidate, 16, 15) == -1, "%s: the first byte of a derived key was found", what);
    }
    both = joined(target, helper);
    piece = both ? cut(both, 31 * 8, 16) : 0;
    if (piece) {
        memcpy(candidate + 1, value, 15);
        expect(guess(piece, candidate, 16, 0) == -1, "%s: the last byte of a derived key was found", what);
    }
    /* bits instead of bytes, and around the end */
    both = joined(helper, target);
    piece = both ? cut(both, (len + 31) * 8, 16) : 0;
    if (piece) {
        memcpy(candidate + 1, value, 15);
        expect(guess(piece, candidate, 16, 0) == -1,
               "%s: the last byte of a derived key was found around the end", what);
    }
}

static void test_imported_helper(void **state)
{
    (void)state;
    struct template t;
    CK_OBJECT_HANDLE helper;
    start();
    attack_border(object_import(s, known, 32), known, 32, "with an imported key");
    /* made sensitive afterwards, and imported as sensitive */
    helper = object_import(s, known, 32);
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE sensitive = {CKA_SENSITIVE, &yes, 1};
    expect_ok(f->C_SetAttributeValue(s, helper, &sensitive, 1));
    attack_border(helper, known, 32, "with an imported key made sensitive");
    template_hidden(&t, 0);
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    template_bytes(&t, CKA_VALUE, known, 32);
    require_ok(f->C_CreateObject(s, t.a, t.n, &helper));
    attack_border(helper, known, 32, "with a key imported as sensitive");
}

/* Known by the same derivation once more, in the open */
static void test_twin_helper(void **state)
{
    (void)state;
    struct template t;
    CK_OBJECT_HANDLE open = 0, hidden = 0, seedling;
    uint8_t value[64];
    start();
    seedling = generate(32);
    if (!seedling)
        skip();
    derive_template(&t, 32);
    require_ok(derive_prf_plus(s, false, sha256, seedling, 0, "x", 1, &t, &open));
    if (object_bytes(s, open, CKA_VALUE, value, sizeof value) != 32)
        return; /* a token may be that strict */
    template_hidden(&t, 32);
    require_ok(derive_prf_plus(s, false, sha256, seedling, 0, "x", 1, &t, &hidden));
    attack_border(hidden, value, 32, "with a sensitive key whose twin is readable");
}

/* Known by trying: keys so short that all their values can be tried, joined to one of 16, or stretched */
static void test_short_helpers(void **state)
{
    (void)state;
    uint8_t value[64] = {0}, one[1];
    struct template t;
    CK_OBJECT_HANDLE all = 0, stretched = 0, o;
    start();
    for (size_t i = 0; i < 16; i++) {
        o = generate(1);
        if (!o)
            return;
        int byte = guess(o, one, 1, 0);
        if (byte < 0)
            return;
        value[i] = (uint8_t)byte;
        all = i == 0 ? o : joined(all, o);
        if (!all)
            break;
    }
    if (all)
        attack_border(all, value, 16, "with sixteen keys of one byte");
    o = generate(1);
    int byte = guess(o, one, 1, 0);
    if (byte < 0)
        return;
    one[0] = (uint8_t)byte;
    oracle_prf_plus(sha256, one, 1, "x", 1, value, 32);
    template_hidden(&t, 32);
    if (derive_prf_plus(s, false, sha256, o, 0, "x", 1, &t, &stretched) == CKR_OK)
        attack_border(stretched, value, 32, "with a stretched key of one byte");
    /* pieces of a key of the token's own making */
    o = generate(32);
    for (size_t i = 0; o && i < 16; i++) {
        CK_OBJECT_HANDLE piece = cut(o, i * 8, 1);
        if (!piece || (byte = guess(piece, one, 1, 0)) < 0)
            return;
        value[i] = (uint8_t)byte;
    }
    if (o && (o = cut(o, 0, 16)))
        attack_border(o, value, 16, "with a key taken apart before");
}

/* The same output at growing lengths: each is the last one and one byte more. */
static void attack_lengths(const char *what, CK_RV derive(CK_ULONG len, CK_OBJECT_HANDLE *o))
{
    uint8_t found[64] = {0};
    for (CK_ULONG len = 1; len <= 16; len++) {
        CK_OBJECT_HANDLE o = 0;
        int byte;
        CK_RV rv = derive(len, &o);
        guard_release();
        if (rv != CKR_OK || (byte = guess(o, found, len, len - 1)) < 0)
            return;
        found[len - 1] = (uint8_t)byte;
    }
    expect(false, "%s: 16 bytes of a key derived from the keyring's were found", what);
}

static CK_OBJECT_HANDLE callers;

static CK_RV by_prf_plus_of_target(CK_ULONG len, CK_OBJECT_HANDLE *o)
{
    struct template t;
    template_hidden(&t, len);
    return derive_prf_plus(s, false, sha256, target, 0, "x", 1, &t, o);
}

static CK_RV by_prf_plus_of_ppk(CK_ULONG len, CK_OBJECT_HANDLE *o)
{
    struct template t;
    template_hidden(&t, len);
    return derive_prf_plus(s, false, sha256, object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID)), 0, SEED_32,
                           32, &t, o);
}

static CK_RV by_seed(CK_ULONG len, CK_OBJECT_HANDLE *o)
{
    struct template t;
    template_hidden(&t, len);
    return derive_prf_plus(s, true, sha256, callers, target, NULL, 0, &t, o);
}

static CK_RV by_hkdf(CK_ULONG len, CK_OBJECT_HANDLE *o)
{
    CK_HKDF_PARAMS p = {CK_FALSE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_NULL, NULL, 0, 0, NULL, 0};
    struct template t;
    template_hidden(&t, len);
    return derive_any(s, CKM_HKDF_DERIVE, &p, sizeof p, target, &t, o);
}

static CK_RV by_hkdf_salt(CK_ULONG len, CK_OBJECT_HANDLE *o)
{
    CK_HKDF_PARAMS p = {CK_TRUE, CK_TRUE, CKM_SHA256, CKF_HKDF_SALT_KEY, NULL, 0, target, NULL, 0};
    struct template t;
    template_hidden(&t, len);
    return derive_any(s, CKM_HKDF_DERIVE, &p, sizeof p, callers, &t, o);
}

static CK_RV by_cut(CK_ULONG len, CK_OBJECT_HANDLE *o)
{
    *o = cut(target, 0, len);
    return *o ? CKR_OK : CKR_KEY_SIZE_RANGE;
}

static CK_RV by_join(CK_ULONG len, CK_OBJECT_HANDLE *o)
{
    struct template t;
    CK_OBJECT_HANDLE second = callers;
    template_hidden(&t, len); /* CKA_VALUE_LEN cuts what is joined */
    return derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &second, sizeof second, target, &t, o);
}

static void test_growing_lengths(void **state)
{
    (void)state;
    start();
    callers = object_import(s, known, 32);
    attack_lengths("prf+ of a derived key", by_prf_plus_of_target);
    attack_lengths("prf+ of the PPK", by_prf_plus_of_ppk);
    attack_lengths("prf+ with a derived key as seed", by_seed);
    attack_lengths("HKDF of a derived key", by_hkdf);
    attack_lengths("HKDF with a derived key as salt", by_hkdf_salt);
    attack_lengths("cutting a derived key", by_cut);
    attack_lengths("joining a derived key", by_join);
}

/* A copy is as strictly kept as its original. */
static void test_copies(void **state)
{
    (void)state;
    struct template t;
    CK_OBJECT_HANDLE copy = 0, o = 0;
    uint8_t value[64];
    start();
    if (f->C_CopyObject(s, target, NULL, 0, &copy) != CKR_OK)
        return;
    CK_OBJECT_HANDLE original = target;
    target = copy;
    derive_template(&t, 32);
    if (derive_prf_plus(s, false, sha256, copy, 0, "x", 1, &t, &o) == CKR_OK)
        expect(object_bytes(s, o, CKA_VALUE, value, sizeof value) == (size_t)-1,
               "what is derived from a copy can be read");
    attack_border(object_import(s, known, 32), known, 32, "from a copy");
    callers = object_import(s, known, 32);
    attack_lengths("prf+ of a copy", by_prf_plus_of_target);
    attack_lengths("cutting a copy", by_cut);
    target = original;
    /* of a joined one, too */
    CK_OBJECT_HANDLE both = joined(object_import(s, known, 32), target);
    if (both && f->C_CopyObject(s, both, NULL, 0, &copy) == CKR_OK && (o = cut(copy, 17 * 8, 16)) != 0) {
        memcpy(value, known + 17, 15);
        expect(guess(o, value, 16, 15) == -1, "the first byte was found from a copy of a joined key");
    }
}

/* ---- prf+ is made of HMACs ---- */

/* Does a MAC of this come out? */
static bool maced(CK_OBJECT_HANDLE key, const uint8_t *m, size_t len, bool parts, uint8_t mac[static 64])
{
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE_PTR data = (CK_BYTE_PTR)(uintptr_t)m;
    CK_ULONG n = 64;
    CK_RV rv = f->C_SignInit(s, &hmac, key);
    if (rv == CKR_OK && parts)
        rv = f->C_SignUpdate(s, data, len / 2);
    if (rv == CKR_OK && parts)
        rv = f->C_SignUpdate(s, data + len / 2, len - len / 2);
    if (rv == CKR_OK)
        rv = parts ? f->C_SignFinal(s, mac, &n) : f->C_Sign(s, data, len, mac, &n);
    if (rv != CKR_OK) /* and what is wrong is no help for a guess, either */
        expect_rv_in(rv, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE, CKR_KEY_FUNCTION_NOT_PERMITTED);
    if (rv != CKR_OK && f->C_VerifyInit(s, &hmac, key) == CKR_OK)
        expect_error(f->C_Verify(s, data, len, mac, 32));
    return rv == CKR_OK;
}

/* Is there a way to make a key of the prf of this? */
static bool made(CK_OBJECT_HANDLE key, const uint8_t *m, size_t len)
{
    CK_HKDF_PARAMS expand = {CK_FALSE, CK_TRUE,  CKM_SHA256,           CKF_HKDF_SALT_NULL,   NULL,
                             0,        CK_FALSE, (void *)(uintptr_t)m, len > 0 ? len - 1 : 0};
    CK_HKDF_PARAMS salted = {CK_TRUE, CK_FALSE, CKM_SHA256, CKF_HKDF_SALT_KEY, NULL, 0, key, NULL, 0};
    CK_OBJECT_HANDLE o = 0, data = len > 0 ? object_import(s, m, len) : 0;
    struct template t;
    bool any = false;
    template_hidden(&t, 32);
    if (len > 0 && m[len - 1] == 1) {
        any = derive_prf_plus(s, false, sha256, key, 0, m, len - 1, &t, &o) == CKR_OK;
        any = derive_any(s, CKM_HKDF_DERIVE, &expand, sizeof expand, key, &t, &o) == CKR_OK || any;
    }
    template_hidden(&t, 0);
    any = derive_prf(s, false, sha256, DERIVE_PRF, key, 0, m, len, NULL, 0, &t, &o) == CKR_OK || any;
    if (data) {
        any =
            derive_prf(s, false, sha256, DERIVE_REKEY, key, data, NULL, 0, NULL, 0, &t, &o) == CKR_OK || any;
        any = derive_any(s, CKM_HKDF_DERIVE, &salted, sizeof salted, data, &t, &o) == CKR_OK || any;
        (void)f->C_DestroyObject(s, data);
    }
    guard_release();
    return any;
}

/* For every length, and inputs that look like one thing or the other: at most one of both, but for a key that
 * the keyring does not keep. */
static void never_both(const char *what, CK_OBJECT_HANDLE key, bool macs, bool makes, bool kept)
{
    static const char *const heads[] = {"\1\0\0\0", "\0\0\0\0", "\1\2\0\0", "\1\0\0\1", "\1\1\1\1"};
    size_t n_maced = 0, n_made = 0, n_both = 0;
    uint8_t m[140], mac[64] = {0};
    for (size_t len = 0; len <= sizeof m; len++)
        for (size_t h = 0; h < 5; h++) {
            expect_case("%s, %zu bytes, head %zu", what, len, h);
            memset(m, 0x5a, sizeof m);
            memcpy(m, heads[h], 4);
            if (len > 0)
                m[len - 1] = 1;
            const bool mac_out = maced(key, m, len, h % 2 == 0, mac), key_made = made(key, m, len);
            expect(!kept || !mac_out || !key_made, "a MAC of it comes out, and a key is made of it");
            n_both += mac_out && key_made;
            n_maced += mac_out;
            n_made += key_made;
        }
    expect_case("%s", what);
    expect((n_maced > 0) == macs && (n_made > 0) == makes && (n_both == 0) == kept,
           "%zu MACs, %zu keys, %zu times both", n_maced, n_made, n_both);
}

static void test_macs_are_no_keys(void **state)
{
    (void)state;
    struct template t = {.n = 0};
    CK_OBJECT_HANDLE inner = 0;
    start();
    CK_OBJECT_HANDLE psk = object_by_label(s, "gamma/psk");
    never_both("a PPK", object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID)), true, true, true);
    never_both("what is derived from it", target, true, true, true);
    never_both("a piece of that", cut(target, 0, 16), true, true, true);
    never_both("a pre-shared key", psk, false, false, true);
    template_hidden(&t, 0);
    require_ok(
        derive_prf(s, false, sha256, DERIVE_PRF, psk, 0, "Key Pad for IKEv2", 17, NULL, 0, &t, &inner));
    never_both("the key for AUTH", inner, true, false, true);
    never_both("a key of the caller's", object_import(s, known, 32), true, true, false);
}

/* ---- what is kept does not show in whether a call is allowed ---- */

static CK_RV with_new_key(CK_OBJECT_HANDLE second)
{
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    template_hidden(&t, 0);
    CK_RV rv = derive_prf(s, false, sha256, DERIVE_REKEY, target, second, NULL, 0, NULL, 0, &t, &o);
    if (rv == CKR_OK)
        (void)f->C_DestroyObject(s, o);
    return rv;
}

static CK_RV with_salt(CK_OBJECT_HANDLE base)
{
    CK_HKDF_PARAMS p = {CK_TRUE, CK_FALSE, CKM_SHA256, CKF_HKDF_SALT_KEY, NULL, 0, target, NULL, 0};
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    template_hidden(&t, 0);
    CK_RV rv = derive_any(s, CKM_HKDF_DERIVE, &p, sizeof p, base, &t, &o);
    if (rv == CKR_OK)
        (void)f->C_DestroyObject(s, o);
    return rv;
}

/* The same answer for every 16 bytes of a long key, as they are and behind bytes that make an IKE identity of
 * some of them: as many different values as there are bits. */
static void all_answered_alike(const char *what, CK_OBJECT_HANDLE from, CK_ULONG bits)
{
    CK_BYTE head[] = {1, 0, 0};
    CK_KEY_DERIVATION_STRING_DATA data = {head, sizeof head};
    CK_RV first[4] = {0};
    for (CK_ULONG bit = 0; bit < bits; bit++) {
        struct template t;
        CK_OBJECT_HANDLE piece = cut(from, bit, 16), headed = 0;
        template_hidden(&t, 0);
        require_ok(derive_any(s, CKM_CONCATENATE_DATA_AND_BASE, &data, sizeof data, piece, &t, &headed));
        const CK_RV rv[4] = {with_new_key(piece), with_salt(piece), with_new_key(headed), with_salt(headed)};
        for (size_t i = 0; i < 4; i++) {
            if (bit == 0)
                first[i] = rv[i];
            expect(rv[i] == first[i], "%s: the piece at bit %lu is answered otherwise (%zu)", what, bit, i);
        }
        (void)f->C_DestroyObject(s, piece);
        (void)f->C_DestroyObject(s, headed);
        guard_release();
    }
}

static void test_no_answer_tells(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE kept = 0, own = 0;
    struct template t;
    start();
    template_hidden(&t, 256);
    require_ok(derive_prf_plus(s, false, sha256, object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID)), 0,
                               SEED_32, 32, &t, &kept));
    all_answered_alike("kept", kept, 2048);
    own = generate(256);
    require(own != 0, "no key is generated");
    all_answered_alike("the caller's own, sensitive", own, 2048);
}

/* Two of the keyring's own, of which one may be known from before the keyring was strict. */
static void test_own_helper(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE helper = 0;
    struct template t;
    uint8_t ppk[64], value[32];
    start();
    template_hidden(&t, 32);
    require_ok(derive_prf_plus(s, false, sha256, object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID)), 0,
                               "another seed of 32 bytes as well", 32, &t, &helper));
    oracle_prf_plus(sha256, ppk, oracle_unhex(MANUAL_3_HEX, ppk, sizeof ppk),
                    "another seed of 32 bytes as well", 32, value, 32);
    attack_border(helper, value, 32, "with another of the keyring's own that is known");
}

/* A KEYMAT of which every byte would be known: T1 = prf(SK_d, Ni|Nr|1), T2 = prf(SK_d, T1|Ni|Nr|2) */
static void test_keymat_by_macs(void **state)
{
    (void)state;
    uint8_t m[32 + 64 + 1], mac[64];
    start();
    memset(m, 0x5a, sizeof m);
    m[64] = 1;
    expect(!maced(target, m, 65, false, mac), "T1 of a KEYMAT comes out as a MAC");
    m[96] = 2;
    expect(!maced(target, m, 97, false, mac), "T2 of a KEYMAT comes out as a MAC");
    memcpy(m, SEED_32, 32);
    m[32] = 1;
    CK_OBJECT_HANDLE ppk = object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID));
    expect(!maced(ppk, m, 33, false, mac), "SK_d comes out as a MAC of the PPK");
    memcpy(m, target_value, 32);
    memcpy(m + 32, SEED_32, 32);
    m[64] = 2;
    expect(!maced(ppk, m, 65, false, mac), "the second block comes out as a MAC of the PPK");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_guessing),         TOKEN_TEST(test_imported_helper), TOKEN_TEST(test_twin_helper),
        TOKEN_TEST(test_short_helpers),    TOKEN_TEST(test_growing_lengths), TOKEN_TEST(test_copies),
        TOKEN_TEST(test_macs_are_no_keys), TOKEN_TEST(test_no_answer_tells), TOKEN_TEST(test_own_helper),
        TOKEN_TEST(test_keymat_by_macs),
    };
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
