/* SPDX-License-Identifier: BSD-2-Clause */
/* Dynamic PPKs with a key source: what a search does and how many requests it makes, C_GenerateKey, use,
 * destruction, expiry (DESIGN, "What a search does"). */
#include "conf.h"
#include "derive.h"
#include "guard.h"
#include "source.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct source *source;
static CK_SESSION_HANDLE s; /* read-write, on "dynamic" */

static void start_with(const char *more)
{
    source_reset(source);
    harness_conf(CONF_DYNAMIC CONF_PSK "%s", source->port, more);
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("dynamic");
}

static void start(void)
{
    start_with("");
}

#define expect_requests(n)                                                                                   \
    expect(source_key_requests(source) == (n), "%u requests for keys, expected %u",                          \
           source_key_requests(source), (unsigned)(n))

static void peer_template(struct template *t, const char *peer)
{
    *t = (struct template){.n = 0};
    template_number(t, CKA_CLASS, CKO_SECRET_KEY);
    template_text(t, CKA_LABEL, peer);
}

static CK_OBJECT_HANDLE peer_key(CK_SESSION_HANDLE session, const char *peer)
{
    struct template t;
    peer_template(&t, peer);
    return object_only(session, &t);
}

static size_t id_of(CK_OBJECT_HANDLE o, uint8_t *id, size_t room)
{
    size_t n = object_bytes(s, o, CKA_ID, id, room);
    expect(n != (size_t)-1, "no CKA_ID");
    return n;
}

/* The PPK's value, by its MAC, is what the source has for its ID. */
static void expect_ppk_of_source(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE o, size_t key_len)
{
    uint8_t id[64], key[64], mac[32], want[64];
    CK_ULONG n = sizeof mac;
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    size_t id_len = object_bytes(session, o, CKA_ID, id, sizeof id);
    if (!expect(id_len <= sizeof id, "no CKA_ID"))
        return;
    source_key(id, id_len, key, key_len);
    oracle_hmac(&oracle_prfs[1], key, key_len, "fixed text", 10, want);
    expect_ok(f->C_SignInit(session, &hmac, o));
    expect_ok(f->C_Sign(session, (CK_BYTE_PTR)(uintptr_t) "fixed text", 10, mac, &n));
    expect(n == 32 && memcmp(mac, want, 32) == 0, "another key than the source's");
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

static void to_hex(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        sprintf(out + 2 * i, "%02X", bytes[i]);
}

static size_t search_id(const void *id, size_t len, const char *label, CK_OBJECT_HANDLE *o, CK_RV *rv)
{
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    template_bytes(&t, CKA_ID, guard_frozen(id, len), len);
    if (label)
        template_text(&t, CKA_LABEL, label);
    return object_search(s, &t, o, 1, rv);
}

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
}

/* ---- threads ---- */

struct searcher {
    pthread_t thread;
    uint8_t id[16];
    const char *peer; /* instead of the ID */
    CK_OBJECT_HANDLE found;
    size_t n;
    CK_RV rv;
    uint64_t ms;
};

static void *search_in_thread(void *argument)
{
    struct searcher *me = argument;
    struct template t = {.n = 0};
    CK_SESSION_HANDLE mine = 0;
    CK_SLOT_ID slot = 0;
    CK_ULONG n = 1;
    uint64_t start_ms = harness_ms();
    f->C_GetSlotList(CK_TRUE, &slot, &n);
    me->rv = f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &mine);
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    if (me->peer)
        template_text(&t, CKA_LABEL, me->peer);
    else
        template_bytes(&t, CKA_ID, me->id, 16);
    me->n = object_search(mine, &t, &me->found, 1, &me->rv);
    me->ms = harness_ms() - start_ms;
    return NULL;
}

static void test_threads_share_a_request(void **state)
{
    (void)state;
    struct searcher who[8] = {0};
    start();
    for (int by_peer = 0; by_peer < 2; by_peer++) {
        expect_case("by peer: %d", by_peer);
        source_reset(source);
        atomic_store(&source->delay_ms, 300);
        source_fresh_id(who[0].id);
        for (int i = 0; i < 8; i++) {
            memcpy(who[i].id, who[0].id, 16);
            who[i].peer = by_peer ? "peer1" : NULL;
            pthread_create(&who[i].thread, NULL, search_in_thread, &who[i]);
        }
        for (int i = 0; i < 8; i++) {
            pthread_join(who[i].thread, NULL);
            expect_rv(CKR_OK, who[i].rv);
            expect(who[i].n >= 1 && who[i].found == who[0].found, "%zu objects, handle %lu, not %lu",
                   who[i].n, who[i].found, who[0].found);
        }
        expect_requests(1);
    }
}

/* No lock is held over the network: other keys are fetched meanwhile, and other calls answer at once. */
static void test_threads_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct searcher who[4] = {0};
    start();
    peer_key(s, "peer2"); /* the transport is loaded, capabilities are known */
    source_reset(source);
    atomic_store(&source->delay_ms, 500);
    uint64_t start_ms = harness_ms();
    for (int i = 0; i < 4; i++) {
        source_fresh_id(who[i].id);
        pthread_create(&who[i].thread, NULL, search_in_thread, &who[i]);
    }
    usleep(150000);
    uint64_t before = harness_ms();
    uint8_t random[16];
    CK_TOKEN_INFO token;
    struct template none = {.n = 0};
    expect_ok(f->C_GenerateRandom(s, random, sizeof random));
    expect_ok(f->C_GetTokenInfo(harness_slot("dynamic"), &token));
    object_search(s, &none, NULL, 0, NULL);
    object_import(s, random, 16);
    expect(harness_ms() - before < 200, "other calls waited for %lu ms",
           (unsigned long)(harness_ms() - before));
    for (int i = 0; i < 4; i++) {
        pthread_join(who[i].thread, NULL);
        expect_rv(CKR_OK, who[i].rv);
        expect(who[i].n == 1, "%zu objects", who[i].n);
    }
    expect(harness_ms() - start_ms < 4 * 500, "four requests of 500 ms took %lu ms",
           (unsigned long)(harness_ms() - start_ms));
    expect_requests(4);
}

static void test_finalize_during_a_request(void **state)
{
    (void)state;
    struct searcher who = {.peer = "peer1"};
    start_with(" timeout 20000\n");
    atomic_store(&source->mode, SOURCE_HANG_TLS);
    pthread_create(&who.thread, NULL, search_in_thread, &who);
    usleep(300000);
    uint64_t before = harness_ms();
    expect_ok(f->C_Finalize(NULL));
    expect(harness_ms() - before < 3000, "C_Finalize took %lu ms", (unsigned long)(harness_ms() - before));
    pthread_join(who.thread, NULL);
    expect(who.ms < 5000, "the search took %lu ms", (unsigned long)who.ms);
    expect_rv_in(who.rv, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED,
                 CKR_SESSION_HANDLE_INVALID);
    source_reset(source);
    require_ok(f->C_Initialize(NULL));
    s = harness_session("dynamic");
    peer_key(s, "peer1");
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
    start_with(" lifetime 1\n");
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
    start_with("keyring responder\n peer initiator\n  ppk dynamic qkd required\n  remote-system-id Bob\n  "
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
    start_with(" ppk-id format text\n");
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
        TOKEN_TEST(test_inspection_makes_no_request),
        TOKEN_TEST(test_peer_data_before_a_key),
        TOKEN_TEST(test_search_by_peer),
        TOKEN_TEST(test_use),
        TOKEN_TEST(test_search_by_id),
        TOKEN_TEST(test_search_by_unknown_id),
        TOKEN_TEST(test_remote_override),
        TOKEN_TEST(test_threads_share_a_request),
        TOKEN_TEST(test_threads_do_not_wait_for_each_other),
        TOKEN_TEST(test_finalize_during_a_request),
        TOKEN_TEST(test_generate),
        TOKEN_TEST(test_generate_refused),
        TOKEN_TEST(test_destroy),
        TOKEN_TEST(test_expiry),
        TOKEN_TEST(test_finalize_forgets),
        TOKEN_TEST(test_fork),
        TOKEN_TEST(test_both_ends),
        TOKEN_TEST(test_text_ids),
        TOKEN_TEST(test_odd_ids),
    };
    harness_load();
    source = source_start(harness_directory());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    source_stop(source);
    return failed;
}
