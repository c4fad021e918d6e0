/* SPDX-License-Identifier: BSD-2-Clause */
/* Session keys: found by what they are called now, made by C_GenerateKey, with dates, many of them, and their
 * pieces. */
#include "conf.h"
#include "derive.h"
#include "guard.h"

#include <stdlib.h>

static CK_SESSION_HANDLE s;

static void start(void)
{
    s = harness_start(CONF_MANUAL);
}

static size_t count(CK_ATTRIBUTE_TYPE type, const char *value, CK_OBJECT_HANDLE *o)
{
    struct template t = {.n = 0};
    template_text(&t, type, value);
    template_bool(&t, CKA_TOKEN, false);
    return object_search(s, &t, o, 1, NULL);
}

static CK_RV set_text(CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type, const char *value)
{
    CK_ATTRIBUTE a = {type, guard_frozen(value, strlen(value)), strlen(value)};
    return f->C_SetAttributeValue(s, o, &a, 1);
}

static CK_OBJECT_HANDLE named(const char *label, const char *id)
{
    struct template t;
    CK_OBJECT_HANDLE o = 0;
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, "0123456789abcdef", 16);
    if (label)
        template_text(&t, CKA_LABEL, label);
    if (id)
        template_text(&t, CKA_ID, id);
    require_ok(f->C_CreateObject(s, t.a, t.n, &o));
    return o;
}

static void test_names(void **state)
{
    (void)state;
    static const CK_ATTRIBUTE_TYPE types[] = {CKA_LABEL, CKA_ID};
    start();
    for (size_t i = 0; i < 2; i++) {
        CK_ATTRIBUTE_TYPE type = types[i];
        CK_OBJECT_HANDLE found = 0;
        expect_case("attribute 0x%lx", type);
        CK_OBJECT_HANDLE a = named(i ? "x" : "one", i ? "one" : "x"),
                         b = named(i ? "y" : "one", i ? "one" : "y"), none = named(NULL, NULL);
        expect(count(type, "one", NULL) == 2, "%zu", count(type, "one", NULL));
        expect_ok(set_text(a, type, "two"));
        expect(count(type, "one", &found) == 1 && found == b,
               "the old name still finds it, or not the other");
        expect(count(type, "two", &found) == 1 && found == a, "the new name does not find it");
        expect_ok(set_text(none, type, "two"));
        expect(count(type, "two", NULL) == 2, "a name given later does not find it");
        expect_ok(set_text(a, type, ""));
        expect(count(type, "two", &found) == 1 && found == none, "a name taken away still finds it");
        char long_name[3000];
        memset(long_name, 'n', sizeof long_name - 1);
        long_name[sizeof long_name - 1] = '\0';
        CK_RV rv = set_text(b, type, long_name);
        if (rv == CKR_OK)
            expect(count(type, long_name, &found) == 1 && found == b, "not found by a long name");
        else
            expect(count(type, "one", &found) == 1 && found == b, "a name that was refused is not as before");
        expect_ok(f->C_DestroyObject(s, none));
        expect(count(type, "two", NULL) == 0, "a destroyed key is found");
        expect_ok(f->C_DestroyObject(s, a));
        expect_ok(f->C_DestroyObject(s, b));
    }
    /* what was the label of a PPK's peer finds both kinds */
    CK_OBJECT_HANDLE mine = named("beta", NULL), found[4];
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_text(&t, CKA_LABEL, "beta");
    size_t n = object_search(s, &t, found, 4, NULL);
    expect(n == 2 && (found[0] == mine || found[1] == mine), "%zu keys of that label", n);
}

/* More than fit into anybody's first buffer; each is found once, and the right one by its ID. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 1500 };
    static CK_OBJECT_HANDLE made[MANY], found[2 * MANY];
    start();
    struct template none = {.n = 0};
    size_t before = object_search(s, &none, NULL, 0, NULL);
    for (int i = 0; i < MANY; i++) {
        char id[20];
        snprintf(id, sizeof id, "id %d", i);
        made[i] = named("many", id);
    }
    size_t n = object_search(s, &none, found, 2 * MANY, NULL);
    expect(n == before + MANY, "%zu objects", n);
    expect(count(CKA_LABEL, "many", NULL) == MANY, "%zu of that label", count(CKA_LABEL, "many", NULL));
    for (int i = 0; i < MANY; i += 7) {
        char id[20];
        CK_OBJECT_HANDLE o = 0;
        snprintf(id, sizeof id, "id %d", i);
        expect(count(CKA_ID, id, &o) == 1 && o == made[i], "%s", id);
        expect_ok(f->C_DestroyObject(s, made[i]));
        expect(count(CKA_ID, id, &o) == 0, "%s after its end", id);
    }
    expect_ok(f->C_CloseSession(s));
    s = harness_session("main");
    expect(object_search(s, &none, NULL, 0, NULL) == before, "some outlived their session");
}

static void test_dates(void **state)
{
    (void)state;
    CK_DATE start_date = {"2026", "01", "31"}, end_date = {"2027", "12", "01"}, got;
    start();
    CK_OBJECT_HANDLE o = named("dated", NULL);
    CK_ATTRIBUTE a[] = {{CKA_START_DATE, &start_date, sizeof start_date},
                        {CKA_END_DATE, &end_date, sizeof end_date}};
    expect(object_bytes(s, o, CKA_START_DATE, &got, sizeof got) == 0, "a date before one was given");
    for (int round = 0; round < 2; round++) {
        expect_ok(f->C_SetAttributeValue(s, o, a, 2));
        expect(object_bytes(s, o, CKA_START_DATE, &got, sizeof got) == 8 && memcmp(&got, &start_date, 8) == 0,
               "another start");
        expect(object_bytes(s, o, CKA_END_DATE, &got, sizeof got) == 8 && memcmp(&got, &end_date, 8) == 0,
               "another end");
        memcpy(start_date.year, "2025", 4);
    }
    memcpy(end_date.month, "1x", 2);
    expect_rv(CKR_ATTRIBUTE_VALUE_INVALID, f->C_SetAttributeValue(s, o, a, 2));
    a[0].ulValueLen = 7;
    expect_rv(CKR_ATTRIBUTE_VALUE_INVALID, f->C_SetAttributeValue(s, o, a, 1));
    a[0] = (CK_ATTRIBUTE){CKA_START_DATE, NULL, 0};
    expect_ok(f->C_SetAttributeValue(s, o, a, 1));
    expect(object_bytes(s, o, CKA_START_DATE, &got, sizeof got) == 0, "a date that was taken away");
}

static void test_generate(void **state)
{
    (void)state;
    CK_MECHANISM m = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    uint8_t a[64], b[64];
    CK_OBJECT_HANDLE first = 0, second = 0;
    struct template t;
    start();
    template_secret(&t);
    template_number(&t, CKA_VALUE_LEN, 48);
    template_bool(&t, CKA_SENSITIVE, false);
    template_bool(&t, CKA_EXTRACTABLE, true);
    template_text(&t, CKA_LABEL, "made here");
    require_ok(f->C_GenerateKey(s, &m, t.a, t.n, &first));
    require_ok(f->C_GenerateKey(s, &m, t.a, t.n, &second));
    expect(object_bytes(s, first, CKA_VALUE, a, sizeof a) == 48 &&
               object_bytes(s, second, CKA_VALUE, b, sizeof b) == 48 && memcmp(a, b, 48) != 0,
           "not two random keys of 48 bytes");
    expect(object_bool(s, first, CKA_LOCAL) == 1 &&
               object_number(s, first, CKA_KEY_GEN_MECHANISM) == CKM_GENERIC_SECRET_KEY_GEN,
           "not local");
    expect(object_bool(s, first, CKA_ALWAYS_SENSITIVE) == 0 &&
               object_bool(s, first, CKA_NEVER_EXTRACTABLE) == 0,
           "history");
    expect(object_number(s, first, CKA_PPK_KIND) == CK_UNAVAILABLE_INFORMATION, "claims to be a PPK");
    template_entry(&t, CKA_SENSITIVE)->pValue = &(CK_BBOOL){CK_TRUE};
    template_entry(&t, CKA_EXTRACTABLE)->pValue = &(CK_BBOOL){CK_FALSE};
    require_ok(f->C_GenerateKey(s, &m, t.a, t.n, &first));
    expect(object_bytes(s, first, CKA_VALUE, a, sizeof a) == (size_t)-1, "readable");
    expect(object_bool(s, first, CKA_ALWAYS_SENSITIVE) == 1 &&
               object_bool(s, first, CKA_NEVER_EXTRACTABLE) == 1,
           "history");
    static const CK_ULONG wrong[] = {0, 4097, 1UL << 40, ~0UL};
    for (size_t i = 0; i < 4; i++) {
        *(CK_ULONG *)template_entry(&t, CKA_VALUE_LEN)->pValue = wrong[i];
        expect_rv_in(f->C_GenerateKey(s, &m, t.a, t.n, &first), CKR_ATTRIBUTE_VALUE_INVALID,
                     CKR_KEY_SIZE_RANGE);
    }
    /* a token object is a PPK, and a PPK has a peer */
    template_secret(&t);
    template_number(&t, CKA_VALUE_LEN, 32);
    t.bools[2] = true;
    expect_error(f->C_GenerateKey(harness_session_rw("main"), &m, t.a, t.n, &first));
    template_text(&t, CKA_LABEL, "alpha"); /* which has manual PPKs only */
    expect_error(f->C_GenerateKey(harness_session_rw("main"), &m, t.a, t.n, &first));
}

/* The pieces that a schedule cuts from KEYMAT come out right in a strict keyring, too, where nothing can be
 * read: seen by their MACs. */
static void test_pieces(void **state)
{
    (void)state;
    uint8_t ppk[64], keymat[144], joined_value[64], want[64], mac[64];
    CK_ULONG n;
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    start();
    s = harness_session("strict");
    CK_OBJECT_HANDLE base = object_by_id(s, MANUAL_3_ID, strlen(MANUAL_3_ID)), whole = 0, piece[4] = {0},
                     both = 0, again = 0;
    struct template t;
    derive_template(&t, sizeof keymat);
    template_entry(&t, CKA_SENSITIVE)->pValue = &(CK_BBOOL){CK_TRUE};
    template_entry(&t, CKA_EXTRACTABLE)->pValue = &(CK_BBOOL){CK_FALSE};
    require_ok(derive_prf_plus(s, false, &oracle_prfs[1], base, 0, SEED_32, 32, &t, &whole));
    oracle_prf_plus(&oracle_prfs[1], ppk, oracle_unhex(MANUAL_3_HEX, ppk, sizeof ppk), SEED_32, 32, keymat,
                    sizeof keymat);
    for (CK_ULONG i = 0; i < 4; i++) {
        static const CK_ULONG at[] = {0, 36, 72, 108}, len[] = {36, 36, 16, 32};
        CK_ULONG bit = at[i] * 8;
        *(CK_ULONG *)template_entry(&t, CKA_VALUE_LEN)->pValue = len[i];
        expect_case("piece %lu", i);
        require_ok(derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, whole, &t, &piece[i]));
        n = sizeof mac;
        expect_ok(f->C_SignInit(s, &hmac, piece[i]));
        expect_ok(f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t)IDENTITY, sizeof IDENTITY, mac, &n));
        oracle_hmac(&oracle_prfs[1], keymat + at[i], len[i], IDENTITY, sizeof IDENTITY, want);
        expect(memcmp(mac, want, 32) == 0, "another piece");
        expect(object_bool(s, piece[i], CKA_SENSITIVE) == 1 && object_bool(s, piece[i], CKA_EXTRACTABLE) == 0,
               "not kept");
    }
    /* Two of the keyring's own joined: they may be known nevertheless, so that is not cut again. */
    expect_case("%s", "");
    template_entry(&t, CKA_VALUE_LEN)->type = CKA_LABEL;
    require_ok(derive_any(s, CKM_CONCATENATE_BASE_AND_KEY, &piece[3], sizeof *piece, piece[3], &t, &both));
    memcpy(joined_value, keymat + 108, 32);
    memcpy(joined_value + 32, keymat + 108, 32);
    n = sizeof mac;
    expect_ok(f->C_SignInit(s, &hmac, both));
    expect_ok(f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t)IDENTITY, sizeof IDENTITY, mac, &n));
    oracle_hmac(&oracle_prfs[1], joined_value, 64, IDENTITY, sizeof IDENTITY, want);
    expect(memcmp(mac, want, 32) == 0, "another key than the joined one");
    CK_ULONG bit = 20 * 8;
    template_entry(&t, CKA_LABEL)->type = CKA_VALUE_LEN;
    *(CK_ULONG *)template_entry(&t, CKA_VALUE_LEN)->pValue = 24;
    expect_rv(CKR_KEY_FUNCTION_NOT_PERMITTED,
              derive_any(s, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, both, &t, &again));
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_names), TOKEN_TEST(test_many), TOKEN_TEST(test_dates),
                                       TOKEN_TEST(test_generate), TOKEN_TEST(test_pieces)};
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
