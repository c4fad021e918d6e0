/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of dynamic PPKs: C_GenerateKey, destruction, expiry, fork, the same PPK at both ends, IDs of any
 * kind. */
#include "derive.h"
#include "dynamic.h"
#include "guard.h"

#include <sys/wait.h>
#include <unistd.h>

static void start(void)
{
    dynamic_start("");
}

/* ---- C_GenerateKey ---- */

static CK_RV generate(struct template *t, CK_OBJECT_HANDLE *o)
{
    CK_MECHANISM m = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    return f->C_GenerateKey(s, &m, guard_frozen(t->a, t->n * sizeof *t->a), t->n, o);
}

static void test_generate(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE o[4] = {0};
    uint8_t id[4][16];
    start();
    for (unsigned i = 0; i < 3; i++) {
        struct template t;
        peer_template(&t, "peer1");
        expect_ok(generate(&t, &o[i]));
        expect(id_of(o[i], id[i], 16) == 16, "the ID's length");
        for (unsigned k = 0; k < i; k++)
            expect(o[k] != o[i] && memcmp(id[k], id[i], 16) != 0, "not a new one");
        expect_requests(i + 1);
        expect(object_number(s, o[i], CKA_VALUE_LEN) == 32 && object_bool(s, o[i], CKA_TOKEN) == 1,
               "length or token");
        expect_ppk_of_source(s, o[i], 32);
    }
    /* what pkcs11-tool --keygen --key-type GENERIC:32 --label peer1 sends, and a little more: does not fail,
     * and is not granted */
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    template_bool(&t, CKA_TOKEN, true);
    template_bool(&t, CKA_ENCRYPT, true);
    template_bool(&t, CKA_DECRYPT, true);
    template_bool(&t, CKA_WRAP, true);
    template_bool(&t, CKA_SENSITIVE, false);
    template_bool(&t, CKA_EXTRACTABLE, true);
    template_bool(&t, CKA_PRIVATE, false);
    template_text(&t, CKA_LABEL, "peer1");
    template_number(&t, CKA_VALUE_LEN, 32);
    expect_ok(generate(&t, &o[3]));
    static const CK_ATTRIBUTE_TYPE not [] = {CKA_ENCRYPT,     CKA_DECRYPT,    CKA_WRAP,
                                             CKA_EXTRACTABLE, CKA_MODIFIABLE, CKA_COPYABLE};
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
        expect(object_bool(s, o[3], not [i]) == 0, "attribute 0x%lx was granted", not [i]);
    expect(object_bool(s, o[3], CKA_SENSITIVE) == 1, "not sensitive");
    expect(atomic_load(&source->last_size) == 256 || atomic_load(&source->last_size) == 0, "size=%u",
           atomic_load(&source->last_size));
    /* another length */
    for (CK_ULONG len = 48; len <= 64; len += 16) {
        peer_template(&t, "peer1");
        template_number(&t, CKA_VALUE_LEN, len);
        expect_ok(generate(&t, &o[0]));
        expect(object_number(s, o[0], CKA_VALUE_LEN) == len, "length %lu",
               object_number(s, o[0], CKA_VALUE_LEN));
        expect(atomic_load(&source->last_size) == len * 8, "size=%u", atomic_load(&source->last_size));
        expect_ppk_of_source(s, o[0], len);
    }
    /* by address */
    t = (struct template){.n = 0};
    template_bytes(&t, CKA_PPK_PEER_ADDRESS, "\x0a\2\0\1", 4);
    CK_RV rv = generate(&t, &o[0]);
    if (rv == CKR_OK)
        expect(strcmp(source->last_remote, "peer2") == 0, "remoteSystemID=%s", source->last_remote);
    else
        expect_rv_in(rv, CKR_TEMPLATE_INCOMPLETE);
}

static void test_generate_refused(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE o = 0;
    struct template t;
    start();
    enum {
        NO_LABEL,
        UNKNOWN,
        WITH_ID,
        WITH_VALUE,
        SHORT,
        HUGE_LEN,
        ZERO,
        WRONG_CLASS,
        WRONG_TYPE,
        UNKNOWN_ATTRIBUTE,
        BAD_BOOL,
        NULL_LABEL,
        LOCAL,
        KINDS
    };
    static const struct {
        const char *what;
        CK_RV rvs[4];
    } cases[KINDS] = {
        [NO_LABEL] = {"no label", {CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCOMPLETE}},
        [UNKNOWN] = {"an unknown peer",
                     {CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID}},
        [WITH_ID] = {"an ID",
                     {CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID}},
        [WITH_VALUE] = {"a value",
                        {CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_TYPE_INVALID}},
        [SHORT] = {"31 bytes", {CKR_KEY_SIZE_RANGE, CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE}},
        [HUGE_LEN] = {"2^61 bytes", {CKR_KEY_SIZE_RANGE, CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE}},
        [ZERO] = {"no bytes", {CKR_KEY_SIZE_RANGE, CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE}},
        [WRONG_CLASS] = {"a data object",
                         {CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT}},
        [WRONG_TYPE] = {"an AES key",
                        {CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT}},
        [UNKNOWN_ATTRIBUTE] = {"an unknown attribute",
                               {CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT,
                                CKR_ATTRIBUTE_TYPE_INVALID}},
        [BAD_BOOL] = {"a bool of 4 bytes", {CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID}},
        [NULL_LABEL] = {"a label at NULL",
                        {CKR_ATTRIBUTE_VALUE_INVALID, CKR_ARGUMENTS_BAD, CKR_ATTRIBUTE_VALUE_INVALID}},
        [LOCAL] = {"CKA_LOCAL",
                   {CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_TYPE_INVALID}},
    };
    for (int i = 0; i < KINDS; i++) {
        expect_case("%s", cases[i].what);
        peer_template(&t, i == UNKNOWN ? "nobody" : "peer1");
        switch (i) {
        case NO_LABEL:
            t.n--;
            break;
        case WITH_ID:
            template_bytes(&t, CKA_ID, "\1\2\3", 3);
            break;
        case WITH_VALUE:
            template_bytes(&t, CKA_VALUE, "0123456789abcdef0123456789abcdef", 32);
            break;
        case SHORT:
            template_number(&t, CKA_VALUE_LEN, 31);
            break;
        case HUGE_LEN:
            template_number(&t, CKA_VALUE_LEN, (1UL << 61) + 4);
            break;
        case ZERO:
            template_number(&t, CKA_VALUE_LEN, 0);
            break;
        case WRONG_CLASS:
            t.numbers[0] = CKO_DATA;
            break;
        case WRONG_TYPE:
            template_number(&t, CKA_KEY_TYPE, CKK_AES);
            break;
        case UNKNOWN_ATTRIBUTE:
            template_bytes(&t, 0x7777, "x", 1);
            break;
        case BAD_BOOL:
            template_bytes(&t, CKA_SIGN, "\1\0\0\0", 4);
            break;
        case NULL_LABEL:
            t.a[1].pValue = NULL;
            break;
        case LOCAL:
            template_bytes(&t, CKA_LOCAL, "\1", 1);
            break;
        default:
            break;
        }
        size_t n = 1;
        while (n < 4 && cases[i].rvs[n])
            n++;
        expect_rv_at(generate(&t, &o), cases[i].rvs, n, "C_GenerateKey", __FILE__, __LINE__);
    }
    expect_case("arguments");
    peer_template(&t, "peer1");
    CK_MECHANISM m = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    expect_rv(CKR_ARGUMENTS_BAD, f->C_GenerateKey(s, NULL, t.a, t.n, &o));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_GenerateKey(s, &m, t.a, t.n, NULL));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_GenerateKey(s, &m, NULL, 3, &o));
    CK_ULONG x = 1;
    m = (CK_MECHANISM){CKM_GENERIC_SECRET_KEY_GEN, &x, sizeof x};
    expect_rv(CKR_MECHANISM_PARAM_INVALID, f->C_GenerateKey(s, &m, t.a, t.n, &o));
    static const CK_MECHANISM_TYPE no[] = {CKM_AES_KEY_GEN, CKM_SHA256_HMAC, CKM_IKE2_PRF_PLUS_DERIVE, ~0UL};
    for (size_t i = 0; i < 4; i++) {
        m = (CK_MECHANISM){no[i], NULL, 0};
        expect_rv(CKR_MECHANISM_INVALID, f->C_GenerateKey(s, &m, t.a, t.n, &o));
    }
    expect_requests(0);
    expect(atomic_load(&source->connections) == 0, "a connection was made");
}

/* ---- the end of a PPK ---- */

static void test_destroy(void **state)
{
    (void)state;
    uint8_t id[16], out[4];
    start();
    CK_OBJECT_HANDLE o = peer_key(s, "peer1");
    id_of(o, id, 16);
    CK_SESSION_HANDLE ro = harness_session("dynamic");
    expect_rv(CKR_SESSION_READ_ONLY, f->C_DestroyObject(ro, o));
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    expect_ok(f->C_DestroyObject(s, o));
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_DestroyObject(s, o));
    expect_rv(CKR_KEY_HANDLE_INVALID, f->C_SignInit(s, &hmac, o));
    CK_ATTRIBUTE a = {CKA_ID, out, 4};
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_GetAttributeValue(s, o, &a, 1));
    struct template none = {.n = 0};
    expect(object_search(s, &none, NULL, 0, NULL) == 3, "it is still listed");
    CK_OBJECT_HANDLE next = peer_key(s, "peer1");
    expect(next != o, "the same handle");
    uint8_t next_id[16];
    id_of(next, next_id, 16);
    expect(memcmp(id, next_id, 16) != 0, "the same key again");
    expect_requests(2);
}

static void test_expiry(void **state)
{
    (void)state;
    uint8_t id[16];
    dynamic_start(" lifetime 1\n");
    CK_OBJECT_HANDLE o = peer_key(s, "peer1");
    id_of(o, id, 16);
    CK_ULONG left = object_number(s, o, CKA_PPK_SECONDS_LEFT);
    expect(left <= 1, "%lu seconds left", left);
    usleep(1300000);
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    struct template none = {.n = 0};
    struct template t;
    CK_OBJECT_HANDLE derived;
    derive_template(&t, 32);
    expect_rv(CKR_KEY_HANDLE_INVALID, f->C_SignInit(s, &hmac, o));
    expect_rv(CKR_KEY_HANDLE_INVALID,
              derive_prf_plus(s, false, &oracle_prfs[1], o, 0, "seed", 4, &t, &derived));
    expect(object_number(s, o, CKA_CLASS) == CK_UNAVAILABLE_INFORMATION, "it is still there");
    expect(object_search(s, &none, NULL, 0, NULL) == 3, "it is still listed");
    CK_OBJECT_HANDLE next = peer_key(s, "peer1");
    expect(next != o, "the same handle");
    expect_requests(2);
}

static void test_finalize_forgets(void **state)
{
    (void)state;
    start();
    CK_OBJECT_HANDLE o = peer_key(s, "peer1");
    expect_ok(f->C_Finalize(NULL));
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("dynamic");
    struct template none = {.n = 0};
    expect(object_search(s, &none, NULL, 0, NULL) == 3, "a PPK outlived C_Finalize");
    expect(object_number(s, o, CKA_CLASS) != CKO_SECRET_KEY ||
               object_number(s, o, CKA_PPK_KIND) != PPK_KIND_DYNAMIC,
           "its handle still works");
    expect_requests(1);
}

/* A forked child has none of its parent's PPKs, gets its own, and does not disturb the parent's connection.
 */
static void test_fork(void **state)
{
    (void)state;
    if (HARNESS_TSAN)
        skip();
    start();
    CK_OBJECT_HANDLE o = peer_key(s, "peer1");
    fflush(NULL);
    unsigned long before = expect_failures();
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        bool well = f->C_Initialize(NULL) == CKR_OK;
        CK_SLOT_ID slot;
        CK_ULONG n = 1;
        CK_SESSION_HANDLE mine = 0;
        CK_OBJECT_HANDLE found = 0;
        struct template none = {.n = 0}, t;
        CK_RV rv = CKR_OK;
        well = well && f->C_GetSlotList(CK_TRUE, &slot, &n) == CKR_OK &&
               f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &mine) == CKR_OK;
        expect(well, "the child cannot initialize");
        expect(object_search(mine, &none, NULL, 0, &rv) == 3 && rv == CKR_OK,
               "the child has the parent's PPK");
        peer_template(&t, "peer1");
        expect(object_search(mine, &t, &found, 1, &rv) == 1 && rv == CKR_OK, "the child gets none: %s",
               rv_name(rv));
        if (found)
            expect_ppk_of_source(mine, found, 32);
        expect_ok(f->C_Finalize(NULL));
        _exit(expect_failures() != before);
    }
    int status = 0;
    waitpid(child, &status, 0);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status 0x%x",
           (unsigned)status);
    expect_requests(2);
    expect(peer_key(s, "peer1") == o, "the parent has another");
    expect_ppk_of_source(s, o, 32);
    peer_key(s, "peer2");
    expect_requests(3);
}

/* ---- both ends ---- */

/* The initiator asks for a new PPK, the responder finds it by the ID that came over IKE; both mix it into the
 * same SK_d, SK_pi, SK_pr. */
static void test_both_ends(void **state)
{
    (void)state;
    struct oracle_random r = {42};
    dynamic_start("keyring responder\n peer initiator\n  ppk dynamic qkd required\n  remote-system-id Bob\n  "
                  "address 10.7.0.0 255.255.0.0\n");
    CK_SESSION_HANDLE responder = harness_session("responder");
    for (size_t p = 0; p < 4; p++)
        for (int as_text = 0; as_text < 2; as_text++) {
            const struct oracle_prf *prf = &oracle_prfs[p];
            uint8_t id[16], key[32], old[65];
            char hex[40];
            struct template t;
            CK_OBJECT_HANDLE mine = 0;
            expect_case("%s, ID as text: %d", prf->name, as_text);
            peer_template(&t, "peer1");
            require_ok(generate(&t, &mine));
            require(id_of(mine, id, 16) == 16, "no ID");
            to_hex(id, 16, hex);
            source_key(id, 16, key, 32);
            CK_OBJECT_HANDLE theirs =
                as_text ? object_by_id(responder, hex, 32) : object_by_id(responder, id, 16);
            for (int sk = 0; sk < 3; sk++) {
                uint8_t want[64];
                CK_OBJECT_HANDLE a = 0, b = 0, seed;
                oracle_fill(&r, old, prf->size);
                old[prf->size] = 1;
                oracle_hmac(prf, key, 32, old, prf->size + 1, want);
                derive_template(&t, prf->size);
                seed = object_import(s, old, prf->size);
                expect_ok(derive_prf_plus(s, false, prf, mine, seed, NULL, 0, &t, &a));
                expect_ok(derive_prf_plus(responder, false, prf, theirs, 0, old, prf->size, &t, &b));
                expect_key(s, a, want, prf->size);
                expect_key(responder, b, want, prf->size);
            }
            guard_release();
        }
    expect(atomic_load(&source->new_keys) == 8 && atomic_load(&source->by_id) == 8, "%u new, %u by ID",
           atomic_load(&source->new_keys), atomic_load(&source->by_id));
}

static void test_text_ids(void **state)
{
    (void)state;
    uint8_t id[64];
    dynamic_start(" ppk-id format text\n");
    CK_OBJECT_HANDLE o = peer_key(s, "peer1"), again = 0;
    size_t n = id_of(o, id, sizeof id);
    expect(n == 32, "an ID of %zu bytes", n);
    uint8_t raw[16];
    char text[40];
    snprintf(text, sizeof text, "%.*s", (int)n, (const char *)id);
    oracle_unhex(text, raw, sizeof raw);
    expect(search_id(raw, 16, NULL, &again, NULL) == 1 && again == o, "not by its bytes");
    expect(search_id(id, n, NULL, &again, NULL) == 1 && again == o, "not by its text");
    expect_requests(1);
}

/* IDs as other vendors make them */
static void test_odd_ids(void **state)
{
    (void)state;
    static const struct {
        const char *key_id, *want;
        size_t len;
    } cases[] = {
        {"0102030405060708090A0b0C0d0e0F101112131415161718",
         "\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xf\x10\x11\x12\x13\x14\x15\x16\x17\x18",
         24},                                       /* the draft's example has 48 digits */
        {"vendor-key-0001", "vendor-key-0001", 15}, /* not hex: opaque */
        {"a1b", "a1b", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t id[64];
        expect_case("%s", cases[i].key_id);
        f->C_Finalize(NULL);
        start();
        snprintf(source->body, sizeof source->body, "{\"unknown\":[1,{}],\"keyId\":\"%s\",\"key\":\"@KEY@\"}",
                 cases[i].key_id);
        atomic_store(&source->mode, SOURCE_CANNED);
        CK_OBJECT_HANDLE o = peer_key(s, "peer1"), again = 0;
        size_t n = id_of(o, id, sizeof id);
        expect(n == cases[i].len && memcmp(id, cases[i].want, n) == 0, "CKA_ID of %zu bytes", n);
        expect(search_id(cases[i].key_id, strlen(cases[i].key_id), NULL, &again, NULL) == 1 && again == o,
               "not found by its text");
        expect(search_id(cases[i].want, cases[i].len, NULL, &again, NULL) == 1 && again == o,
               "not found by its bytes");
        expect_requests(1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_generate),  TOKEN_TEST(test_generate_refused), TOKEN_TEST(test_destroy),
        TOKEN_TEST(test_expiry),    TOKEN_TEST(test_finalize_forgets), TOKEN_TEST(test_fork),
        TOKEN_TEST(test_both_ends), TOKEN_TEST(test_text_ids),         TOKEN_TEST(test_odd_ids),
    };
    harness_load();
    source = source_start(harness_directory());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    source_stop(source);
    return failed;
}
