/* SPDX-License-Identifier: BSD-2-Clause */
/* What a search does, and how many requests it makes (DESIGN, "What a search does"); what counts as use. */
#include "derive.h"
#include "dynamic.h"
#include "guard.h"

static void start(void)
{
    dynamic_start("");
}

/* ---- searches that make no request ---- */

static void test_inspection_makes_no_request(void **state)
{
    (void)state;
    start();
    const struct {
        const char *what;
        CK_ULONG class; /* ~0: none */
        CK_ATTRIBUTE a, b;
        int found;
    } cases[] = {
        {"everything", ~0UL, {0}, {0}, 3}, /* peers 1 and 2, the PSK */
        {"secret keys", CKO_SECRET_KEY, {0}, {0}, 1},
        {"data objects", CKO_DATA, {0}, {0}, 2},
        {"private keys", CKO_PRIVATE_KEY, {0}, {0}, 0},
        {"certificates", CKO_CERTIFICATE, {0}, {0}, 0},
        {"a peer that is none", CKO_SECRET_KEY, {CKA_LABEL, (void *)(uintptr_t) "nobody", 6}, {0}, 0},
        {"an empty label", CKO_SECRET_KEY, {CKA_LABEL, (void *)(uintptr_t) "", 0}, {0}, 0},
        {"the peer's data object", CKO_DATA, {CKA_LABEL, (void *)(uintptr_t) "peer1", 5}, {0}, 1},
        {"the peer's private keys", CKO_PRIVATE_KEY, {CKA_LABEL, (void *)(uintptr_t) "peer1", 5}, {0}, 0},
        {"a private key of an ID",
         CKO_PRIVATE_KEY,
         {CKA_ID, (void *)(uintptr_t) "\xaa\xbb\xcc\xdd", 4},
         {0},
         0},
        {"the peer's certificates, by address",
         CKO_CERTIFICATE,
         {CKA_PPK_PEER_ADDRESS, (void *)(uintptr_t) "\x0a\0\0\x4d", 4},
         {0},
         0},
        {"an AES key of the peer",
         CKO_SECRET_KEY,
         {CKA_LABEL, (void *)(uintptr_t) "peer1", 5},
         {CKA_KEY_TYPE, (void *)(uintptr_t) "\x1f\0\0\0\0\0\0\0", 8},
         0},
        {"an AES key of an ID",
         CKO_SECRET_KEY,
         {CKA_ID, (void *)(uintptr_t) "\xaa\xbb\xcc\xdd", 4},
         {CKA_KEY_TYPE, (void *)(uintptr_t) "\x1f\0\0\0\0\0\0\0", 8},
         0},
        {"the PSK", CKO_SECRET_KEY, {CKA_LABEL, (void *)(uintptr_t) "peer1/psk", 9}, {0}, 1},
        {"the PSK, by the peer's address too",
         CKO_SECRET_KEY,
         {CKA_LABEL, (void *)(uintptr_t) "peer1/psk", 9},
         {CKA_PPK_PEER_ADDRESS, (void *)(uintptr_t) "\x0a\0\0\x4d", 4},
         1},
        {"the PSK, by another peer's address",
         CKO_SECRET_KEY,
         {CKA_LABEL, (void *)(uintptr_t) "peer1/psk", 9},
         {CKA_PPK_PEER_ADDRESS, (void *)(uintptr_t) "\x0a\2\0\1", 4},
         0},
        {"an address of nobody",
         CKO_SECRET_KEY,
         {CKA_PPK_PEER_ADDRESS, (void *)(uintptr_t) "\xc0\0\2\1", 4},
         {0},
         0},
        {"generic secrets",
         CKO_SECRET_KEY,
         {CKA_KEY_TYPE, (void *)(uintptr_t) "\x10\0\0\0\0\0\0\0", 8},
         {0},
         1},
        {"token objects", ~0UL, {CKA_TOKEN, (void *)(uintptr_t) "\1", 1}, {0}, 3},
        {"an unknown attribute of the peer",
         ~0UL,
         {CKA_MODULUS, (void *)(uintptr_t) "x", 1},
         {CKA_KEY_TYPE, (void *)(uintptr_t) "\0\0\0\0\0\0\0\0", 8},
         0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int again = 0; again < 2; again++) {
            struct template t = {.n = 0};
            if (cases[i].class != ~0UL)
                template_number(&t, CKA_CLASS, cases[i].class);
            if (cases[i].a.pValue)
                t.a[t.n++] = cases[i].a;
            if (cases[i].b.pValue)
                t.a[t.n++] = cases[i].b;
            expect_case("%s", cases[i].what);
            size_t n = object_search(s, &t, NULL, 0, NULL);
            expect(n == (size_t)cases[i].found, "%zu objects", n);
            expect(atomic_load(&source->connections) == 0, "a connection was made");
        }
    expect_case("other calls");
    CK_TOKEN_INFO token;
    CK_SLOT_INFO slot;
    uint8_t random[32];
    expect_ok(f->C_GetTokenInfo(harness_slot("dynamic"), &token));
    expect_ok(f->C_GetSlotInfo(harness_slot("dynamic"), &slot));
    expect_ok(f->C_GenerateRandom(s, random, sizeof random));
    expect(atomic_load(&source->connections) == 0, "a connection was made");
    /* C_FindObjectsInit alone does not fetch: the fetch happens in C_FindObjects. */
    struct template t;
    peer_template(&t, "peer1");
    expect_ok(f->C_FindObjectsInit(s, t.a, t.n));
    expect(atomic_load(&source->connections) == 0, "C_FindObjectsInit makes a connection");
    expect_ok(f->C_FindObjectsFinal(s));
    expect(atomic_load(&source->connections) == 0, "a connection was made");
}

static void test_peer_data_before_a_key(void **state)
{
    (void)state;
    char text[200];
    start();
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_DATA);
    template_text(&t, CKA_LABEL, "peer1");
    CK_OBJECT_HANDLE o = object_only(s, &t);
    expect(object_number(s, o, CKA_PPK_KIND) == PPK_KIND_DYNAMIC, "kind %lu",
           object_number(s, o, CKA_PPK_KIND));
    expect(object_bool(s, o, CKA_PPK_REQUIRED) == 1, "required %d", object_bool(s, o, CKA_PPK_REQUIRED));
    size_t n = object_bytes(s, o, CKA_PPK_SKS_PROFILE, text, sizeof text);
    expect(n == 3 && memcmp(text, "qkd", 3) == 0, "sks profile");
    n = object_bytes(s, o, CKA_PPK_REMOTE_SYSTEM_ID, text, sizeof text);
    expect(n == 3 && memcmp(text, "Bob", 3) == 0, "remote system ID");
    expect(atomic_load(&source->connections) == 0, "a connection was made");
}

/* ---- by peer ---- */

static void test_search_by_peer(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE found[8];
    start();
    CK_OBJECT_HANDLE o = peer_key(s, "peer1");
    expect_requests(1);
    expect(strcmp(source->last_remote, "Bob") == 0, "remoteSystemID=%s", source->last_remote);
    /* the same object for everyone, until it is used */
    expect(peer_key(s, "peer1") == o, "another object");
    CK_SESSION_HANDLE other = harness_session("dynamic");
    expect(peer_key(other, "peer1") == o, "another object in another session");
    expect_requests(1);
    /* the other ways to name the peer */
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *value;
        CK_ULONG len;
    } ways[] = {{CKA_PPK_PEER, "peer1", 5},
                {CKA_PPK_PEER_ADDRESS, "\x0a\0\0\x4d", 4},
                {CKA_PPK_REMOTE_SYSTEM_ID, "Bob", 3},
                {CKA_PPK_PEER_ADDRESS, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x4d", 16}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        for (int with_class = 0; with_class < 2; with_class++) {
            struct template t = {.n = 0};
            expect_case("way %zu, class %d", i, with_class);
            template_bytes(&t, ways[i].type, guard_frozen(ways[i].value, ways[i].len), ways[i].len);
            template_number(&t, CKA_PPK_KIND, PPK_KIND_DYNAMIC);
            if (with_class)
                template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
            size_t n = object_search(s, &t, found, 8, NULL);
            bool there = false;
            for (size_t k = 0; k < n && k < 8; k++)
                there |= found[k] == o;
            expect(there, "not among the %zu objects", n);
        }
    expect_case("%s", "");
    expect_requests(1);
    /* attributes */
    const struct {
        CK_ATTRIBUTE_TYPE type;
        int want;
    } bools[] = {{CKA_TOKEN, 1},
                 {CKA_SENSITIVE, 1},
                 {CKA_ALWAYS_SENSITIVE, 1},
                 {CKA_EXTRACTABLE, 0},
                 {CKA_NEVER_EXTRACTABLE, 1},
                 {CKA_MODIFIABLE, 0},
                 {CKA_COPYABLE, 0},
                 {CKA_DERIVE, 1},
                 {CKA_SIGN, 1},
                 {CKA_VERIFY, 1},
                 {CKA_ENCRYPT, 0},
                 {CKA_DECRYPT, 0},
                 {CKA_WRAP, 0},
                 {CKA_UNWRAP, 0},
                 {CKA_DESTROYABLE, 1},
                 {CKA_PPK_REQUIRED, 1},
                 {CKA_PPK_USED, 0}};
    for (size_t i = 0; i < sizeof bools / sizeof *bools; i++)
        expect(object_bool(s, o, bools[i].type) == bools[i].want, "attribute 0x%lx is %d", bools[i].type,
               object_bool(s, o, bools[i].type));
    char text[100];
    uint8_t id[64];
    expect(id_of(o, id, sizeof id) == 16, "the ID is not 16 bytes long");
    expect(object_bytes(s, o, CKA_LABEL, text, sizeof text) == 5 && memcmp(text, "peer1", 5) == 0, "label");
    expect(object_bytes(s, o, CKA_PPK_PEER, text, sizeof text) == 5, "peer");
    expect(object_bytes(s, o, CKA_PPK_SKS_PROFILE, text, sizeof text) == 3, "sks profile");
    expect(object_number(s, o, CKA_PPK_KIND) == PPK_KIND_DYNAMIC, "kind");
    expect(object_number(s, o, CKA_VALUE_LEN) == 32, "length");
    CK_ULONG left = object_number(s, o, CKA_PPK_SECONDS_LEFT);
    expect(left > 3500 && left <= 3600, "%lu seconds left", left);
    CK_ATTRIBUTE value = {CKA_VALUE, text, sizeof text};
    expect_rv(CKR_ATTRIBUTE_SENSITIVE, f->C_GetAttributeValue(s, o, &value, 1));
    /* the inspection of everything shows it, and asks for nothing */
    struct template none = {.n = 0};
    expect(object_search(s, &none, NULL, 0, NULL) == 4, "not 4 objects");
    expect_requests(1);
    /* the other peer has its own */
    CK_OBJECT_HANDLE o2 = peer_key(s, "peer2");
    expect(o2 != o, "one object for two peers");
    expect(object_bool(s, o2, CKA_PPK_REQUIRED) == 0, "required");
    expect_requests(2);
    expect(strcmp(source->last_remote, "peer2") == 0, "remoteSystemID=%s", source->last_remote);
}

static void use_in_derivation(CK_OBJECT_HANDLE o)
{
    struct template t;
    CK_OBJECT_HANDLE derived;
    derive_template(&t, 32);
    expect_ok(derive_prf_plus(s, false, &oracle_prfs[1], o, 0, "seed", 4, &t, &derived));
}

static void use_in_mac(CK_OBJECT_HANDLE o)
{
    expect_ppk_of_source(s, o, 32);
}

static void use_in_verification(CK_OBJECT_HANDLE o)
{
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    uint8_t mac[32] = {0};
    expect_ok(f->C_VerifyInit(s, &hmac, o));
    expect_rv(CKR_SIGNATURE_INVALID, f->C_Verify(s, mac, 1, mac, 32));
}

static void use_as_seed(CK_OBJECT_HANDLE o)
{
    struct template t;
    CK_OBJECT_HANDLE derived, base = object_import(s, "a key of the caller's, 32 bytes..", 32);
    derive_template(&t, 32);
    CK_RV rv = derive_prf_plus(s, false, &oracle_prfs[1], base, o, NULL, 0, &t, &derived);
    if (rv != CKR_OK)
        use_in_derivation(o); /* a token may refuse a PPK in that role */
}

static void test_use(void **state)
{
    (void)state;
    static void (*const ways[])(CK_OBJECT_HANDLE) = {use_in_derivation, use_in_mac, use_in_verification,
                                                     use_as_seed};
    start();
    CK_OBJECT_HANDLE last = 0, found[32];
    for (unsigned i = 0; i < 4; i++) {
        struct template t;
        uint8_t id[16];
        expect_case("way %u", i);
        peer_template(&t, "peer1");
        size_t n = object_search(s, &t, found, 32, NULL);
        expect(n == i + 1, "%zu keys of the peer", n); /* this peer's keys: the used ones, too */
        CK_OBJECT_HANDLE fresh = 0;
        unsigned n_fresh = 0;
        for (size_t k = 0; k < n && k < 32; k++)
            if (object_bool(s, found[k], CKA_PPK_USED) == 0)
                fresh = found[k], n_fresh++;
        require(n_fresh == 1, "%u unused keys", n_fresh);
        expect(found[0] == fresh, "the unused key is not the first");
        expect(fresh != last, "a used key again");
        expect_requests(i + 1);
        ways[i](fresh);
        expect(object_bool(s, fresh, CKA_PPK_USED) == 1, "not marked as used");
        /* it stays for the SA that is being set up, by its ID */
        expect(id_of(fresh, id, 16) == 16 && object_by_id(s, id, 16) == fresh, "gone once used");
        expect_requests(i + 1);
        last = fresh;
    }
    /* what only looks does not use */
    expect_case("inspection");
    struct template t;
    peer_template(&t, "peer1");
    size_t n = object_search(s, &t, found, 32, NULL);
    expect(n == 5, "%zu keys", n);
    CK_ULONG size;
    uint8_t id[16];
    f->C_GetObjectSize(s, found[0], &size);
    id_of(found[0], id, 16);
    CK_MECHANISM wrong = {CKM_SHA256_HMAC_GENERAL, NULL, 0};
    expect_error(f->C_SignInit(s, &wrong, found[0]));
    struct template bad;
    CK_OBJECT_HANDLE o;
    derive_template(&bad, 0); /* no length: fails */
    expect_error(derive_prf_plus(s, false, &oracle_prfs[1], found[0], 0, "seed", 4, &bad, &o));
    expect(object_bool(s, found[0], CKA_PPK_USED) == 0, "used by what failed");
    expect_requests(5);
}

/* ---- by ID ---- */

static void test_search_by_id(void **state)
{
    (void)state;
    uint8_t id[16], got[64];
    char hex[40];
    CK_OBJECT_HANDLE o = 0, again = 0;
    start();
    source_fresh_id(id);
    expect(search_id(id, 16, NULL, &o, NULL) == 1, "not found");
    expect(atomic_load(&source->by_id) == 1 && atomic_load(&source->new_keys) == 0, "%u by ID, %u new",
           atomic_load(&source->by_id), atomic_load(&source->new_keys));
    expect(id_of(o, got, sizeof got) == 16 && memcmp(got, id, 16) == 0, "another ID");
    expect_ppk_of_source(s, o, 32);
    /* by the hex text, in either case, and the bytes: held */
    to_hex(id, 16, hex);
    expect(search_id(hex, 32, NULL, &again, NULL) == 1 && again == o, "not by its hex text");
    for (char *c = hex; *c; c++)
        *c = (char)(*c >= 'A' ? *c | 0x20 : *c);
    expect(search_id(hex, 32, NULL, &again, NULL) == 1 && again == o, "not by its hex text in lower case");
    expect(search_id(id, 16, NULL, &again, NULL) == 1 && again == o, "not by its bytes");
    expect_requests(1);
    /* Who is given by its ID is nobody's next key. */
    struct template t;
    peer_template(&t, "peer1");
    CK_OBJECT_HANDLE found[8];
    size_t n = object_search(s, &t, found, 8, NULL);
    expect(n >= 1 && found[0] != o, "the responder's key is handed out as the initiator's next");
    expect(atomic_load(&source->new_keys) == 1, "%u new keys", atomic_load(&source->new_keys));
    /* fetched by the hex text in the first place */
    source_fresh_id(id);
    to_hex(id, 16, hex);
    expect(search_id(hex, 32, "peer1", &o, NULL) == 1, "not fetched by its hex text");
    expect(search_id(id, 16, NULL, &again, NULL) == 1 && again == o, "not the same by its bytes");
    expect_ppk_of_source(s, o, 32);
    /* narrowed to a peer that is another's */
    expect(search_id(id, 16, "peer2", &again, NULL) == 0, "found under another peer's label");
    expect(search_id(id, 16, "nobody", &again, NULL) == 0, "found under nobody's label");
}

/* A manual PPK's ID that is hex text means its bytes, in whatever case it is written or searched for. */
static void test_manual_hex_ids(void **state)
{
    (void)state;
    static const struct {
        const void *id;
        size_t len;
        int a, b; /* how many of which peer are found */
    } cases[] = {
        {"Ab12cD34", 8, 1, 1},     {"ab12cd34", 8, 1, 1},         {"AB12CD34", 8, 1, 1},
        {"aB12Cd34", 8, 1, 1},     {"\xab\x12\xcd\x34", 4, 1, 1}, {"ab12cd3", 7, 0, 0},
        {"\xab\x12\xcd", 3, 0, 0}, {"ab12cd3x", 8, 0, 0},
    };
    harness_conf("keyring main\n peer a\n  ppk manual id Ab12cD34 key hex %064d\n"
                 " peer b\n  ppk manual id aB12cd34 key hex %064d\n",
                 1, 2);
    require_ok(f->C_Initialize(NULL));
    s = harness_session("main");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_case("case %zu", i);
        expect(search_id(cases[i].id, cases[i].len, NULL, NULL, NULL) == (size_t)(cases[i].a + cases[i].b),
               "not found as often");
        expect(search_id(cases[i].id, cases[i].len, "a", NULL, NULL) == (size_t)cases[i].a,
               "not with the label a");
        expect(search_id(cases[i].id, cases[i].len, "b", NULL, NULL) == (size_t)cases[i].b,
               "not with the label b");
    }
}

static void test_search_by_unknown_id(void **state)
{
    (void)state;
    uint8_t id[16] = {0, 1, 2, 3};
    CK_OBJECT_HANDLE o;
    start();
    expect(search_id(id, 16, NULL, &o, NULL) == 0, "found");
    unsigned asked = source_key_requests(source);
    expect(asked >= 1 && asked <= 2, "%u requests for two peers of one profile", asked);
    source_reset(source);
    expect(search_id(id, 16, NULL, &o, NULL) == 0, "found");
    expect(source_key_requests(source) <= asked, "%u requests", source_key_requests(source));
    source_reset(source);
    id[15] = 1;
    expect(search_id(id, 16, "peer1", &o, NULL) == 0, "found");
    expect_requests(1);
    source_reset(source);
    expect(search_id(id, 16, "nobody", &o, NULL) == 0, "found");
    expect_requests(0);
    /* IDs that no key source can have, or that are bytes of any kind: an answer without crash, and no object
     */
    static const uint8_t odd[300] = {0, 'a', '/', '.', '.', '?', '&', '%', ' ', '\n', 0xff};
    for (size_t len = 0; len <= 300; len += len < 20 ? 1 : 40) {
        CK_RV rv;
        expect_case("an ID of %zu odd bytes", len);
        expect(search_id(odd, len, "peer1", &o, &rv) == 0, "found");
        expect_rv_in(rv, CKR_OK, CKR_ATTRIBUTE_VALUE_INVALID);
    }
    expect(atomic_load(&source->new_keys) == 0, "a new key was asked for");
}

static void test_remote_override(void **state)
{
    (void)state;
    start();
    struct template t;
    peer_template(&t, "peer1");
    template_text(&t, CKA_PPK_REMOTE_SYSTEM_ID, "peer77");
    CK_RV rv;
    object_search(s, &t, NULL, 0, &rv);
    expect_rv(CKR_OK, rv);
    expect(strcmp(source->last_remote, "peer77") == 0, "remoteSystemID=%s", source->last_remote);
    /* not among the capabilities' remote systems: refused before it is asked for */
    source_reset(source);
    t.a[2].pValue = (void *)(uintptr_t) "Mallory";
    t.a[2].ulValueLen = 7;
    harness_log_clear();
    expect(object_search(s, &t, NULL, 0, &rv) == 0, "found");
    expect_rv_in(rv, CKR_OK, CKR_DEVICE_ERROR, CKR_FUNCTION_REJECTED);
    expect_requests(0);
    expect(strstr(harness_log(), "Mallory") != NULL, "the log does not say so: %s", harness_log());
    /* what would change the request's path */
    t.a[2].pValue = (void *)(uintptr_t) "peer&size=64#";
    t.a[2].ulValueLen = 13;
    object_search(s, &t, NULL, 0, &rv);
    expect(strpbrk(source->last_remote, "&#") == NULL &&
               (!*source->last_remote || strcmp(source->last_remote, "peer%26size%3D64%23") == 0),
           "remoteSystemID=%s", source->last_remote);
    /* a C string ends before this */
    t = (struct template){.n = 0};
    template_bytes(&t, CKA_ID, "\1\2\3\4", 4);
    template_bytes(&t, CKA_PPK_REMOTE_SYSTEM_ID, "Bob\0x", 5);
    expect_rv(CKR_ATTRIBUTE_VALUE_INVALID, f->C_FindObjectsInit(s, t.a, t.n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_inspection_makes_no_request),
        TOKEN_TEST(test_peer_data_before_a_key),
        TOKEN_TEST(test_search_by_peer),
        TOKEN_TEST(test_use),
        TOKEN_TEST(test_search_by_id),
        TOKEN_TEST(test_manual_hex_ids),
        TOKEN_TEST(test_search_by_unknown_id),
        TOKEN_TEST(test_remote_override),
    };
    harness_load();
    source = source_start(harness_directory());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    source_stop(source);
    return failed;
}
