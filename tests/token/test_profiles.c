/* SPDX-License-Identifier: BSD-2-Clause */
/* What a search takes from peers and profiles: peers that share a remote system, filters that speak against a
 * fetch, pools of PPKs, the key source's randomness, certificates. */
#include "conf.h"
#include "derive.h"
#include "guard.h"
#include "source.h"

#include <unistd.h>

static struct source *source;
static CK_SESSION_HANDLE s;

static void start(const char *peers, const char *profile)
{
    source_reset(source);
    harness_conf("%ssks profile qkd type remote\n kme server ipv4 127.0.0.1 port %u\n" CONF_PSK "%s", peers,
                 source->port, profile);
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("k");
}

static size_t search(CK_ATTRIBUTE_TYPE type, const void *value, size_t len, CK_ATTRIBUTE_TYPE type2,
                     const void *value2, size_t len2, CK_OBJECT_HANDLE *o)
{
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_bytes(&t, type, value, len);
    if (value2)
        template_bytes(&t, type2, value2, len2);
    return object_search(s, &t, o, 1, NULL);
}

static const char two_peers[] = "keyring k\n"
                                " peer static\n"
                                "  remote-system-id Bob\n"
                                "  ppk manual id m1 key hex " MANUAL_1_HEX "\n"
                                "  address 10.1.0.0/16\n"
                                " peer moving\n"
                                "  remote-system-id Bob\n"
                                "  ppk dynamic qkd required\n"
                                "  ppk manual id m2 key hex " MANUAL_2_HEX "\n"
                                "  address 10.1.1.0/24\n"
                                "  address 2001:db8::/32\n";

static void test_shared_remote_system(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE o = 0;
    start(two_peers, "");
    /* by the remote system only: whoever of it has dynamic PPKs */
    CK_ULONG dynamic = PPK_KIND_DYNAMIC, manual = PPK_KIND_MANUAL;
    expect(search(CKA_PPK_REMOTE_SYSTEM_ID, "Bob", 3, CKA_PPK_KIND, &dynamic, sizeof dynamic, &o) == 1,
           "no PPK");
    expect(source_key_requests(source) == 1, "%u requests", source_key_requests(source));
    char name[20];
    expect(object_bytes(s, o, CKA_PPK_PEER, name, sizeof name) == 6 && memcmp(name, "moving", 6) == 0,
           "not the dynamic peer's");
    CK_MECHANISM generate = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    struct template t = {.n = 0};
    template_text(&t, CKA_PPK_REMOTE_SYSTEM_ID, "Bob");
    if (expect_ok(f->C_GenerateKey(s, &generate, t.a, t.n, &o)))
        expect(object_bytes(s, o, CKA_PPK_PEER, name, sizeof name) == 6 && memcmp(name, "moving", 6) == 0,
               "C_GenerateKey: not the dynamic peer's");
    t.n = 0;
    template_text(&t, CKA_PPK_REMOTE_SYSTEM_ID, "Nobody");
    expect_rv_in(f->C_GenerateKey(s, &generate, t.a, t.n, &o), CKR_ATTRIBUTE_VALUE_INVALID,
                 CKR_TEMPLATE_INCONSISTENT, CKR_TEMPLATE_INCOMPLETE);
    /* kinds: what cannot be the answer is not fetched */
    f->C_Finalize(NULL);
    start(two_peers, "");
    expect(search(CKA_LABEL, "moving", 6, CKA_PPK_KIND, &manual, sizeof manual, &o) == 1, "no manual PPK");
    expect(search(CKA_LABEL, "static", 6, 0, NULL, 0, &o) == 1, "no manual PPK of the other");
    expect(search(CKA_PPK_PEER_ADDRESS, "\x0a\1\2\3", 4, 0, NULL, 0, &o) == 1, "no manual PPK by address");
    expect(source_key_requests(source) == 0, "%u requests", source_key_requests(source));
    /* longest prefix */
    expect(search(CKA_PPK_PEER_ADDRESS, "\x0a\1\1\3", 4, CKA_PPK_KIND, &dynamic, sizeof dynamic, &o) == 1,
           "no PPK by address");
    expect(search(CKA_PPK_PEER_ADDRESS, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16, CKA_PPK_KIND, &dynamic,
                  sizeof dynamic, &o) == 1,
           "no PPK by IPv6 address");
    expect(source_key_requests(source) == 1, "%u requests", source_key_requests(source));
}

/* An ID under a remote system that peers of two profiles share: whoever has it is found. The first profile's
 * source is not there. */
static void test_shared_remote_system_by_id(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE o = 0;
    uint8_t id[16];
    start("sks profile gone type remote\n kme server ipv4 127.0.0.1 port 1\n" CONF_PSK " timeout 500\n"
          "keyring k\n peer a\n  ppk dynamic gone\n  remote-system-id Bob\n peer b\n  ppk dynamic qkd\n  "
          "remote-system-id Bob\n",
          "");
    source_fresh_id(id);
    expect(search(CKA_ID, id, 16, CKA_PPK_REMOTE_SYSTEM_ID, "Bob", 3, &o) == 1, "not found");
    expect(source_key_requests(source) == 1, "%u requests", source_key_requests(source));
    expect(strcmp(source->last_remote, "Bob") == 0, "remoteSystemID=%s", source->last_remote);
    /* without it as well: all dynamic peers of the keyring are asked */
    source_fresh_id(id);
    expect(search(CKA_ID, id, 16, 0, NULL, 0, &o) == 1, "not found without a remote system");
    /* nobody has it, but not everybody could be asked: that is no "no" */
    struct template t = {.n = 0};
    CK_RV rv;
    id[0] = 0;
    template_bytes(&t, CKA_ID, id, 16);
    expect(object_search(s, &t, NULL, 0, &rv) == 0, "found");
    expect_rv(CKR_DEVICE_ERROR, rv);
}

/* Attributes that this peer's PPK will not have speak against asking for it; those that it will have, or that
 * nobody knows yet, do not. */
static void test_filters(void **state)
{
    (void)state;
    static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    static const CK_ULONG data = CKO_DATA, aes = CKK_AES, len = 32;
    static const struct {
        const char *what;
        CK_ATTRIBUTE_TYPE type;
        const void *value;
        size_t size;
        bool fetches;
    } cases[] = {
        {"required", CKA_PPK_REQUIRED, &yes, 1, true},
        {"not required", CKA_PPK_REQUIRED, &no, 1, false},
        {"the profile", CKA_PPK_SKS_PROFILE, "qkd", 3, true},
        {"another profile", CKA_PPK_SKS_PROFILE, "qkx", 3, false},
        {"a token object", CKA_TOKEN, &yes, 1, true},
        {"a session object", CKA_TOKEN, &no, 1, false},
        {"sensitive", CKA_SENSITIVE, &yes, 1, true},
        {"not sensitive", CKA_SENSITIVE, &no, 1, false},
        {"derives", CKA_DERIVE, &yes, 1, true},
        {"encrypts", CKA_ENCRYPT, &yes, 1, false},
        {"extractable", CKA_EXTRACTABLE, &yes, 1, false},
        {"another type", CKA_KEY_TYPE, &aes, sizeof aes, false},
        {"another class", CKA_CLASS, &data, sizeof data, false},
        {"unused", CKA_PPK_USED, &no, 1, true},
        {"a length", CKA_VALUE_LEN, &len, sizeof len, true},
        {"another peer", CKA_PPK_PEER, "static", 6, false},
        {"an address of another peer", CKA_PPK_PEER_ADDRESS, "\x0a\1\2\3", 4, false},
        {"its address", CKA_PPK_PEER_ADDRESS, "\x0a\1\1\3", 4, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CK_OBJECT_HANDLE o;
        expect_case("%s", cases[i].what);
        f->C_Finalize(NULL);
        start(two_peers, "");
        search(CKA_LABEL, "moving", 6, cases[i].type, cases[i].value, cases[i].size, &o);
        expect(source_key_requests(source) == (cases[i].fetches ? 1U : 0U), "%u requests",
               source_key_requests(source));
    }
}

static bool wait_for_new_keys(unsigned want)
{
    for (int i = 0; i < 300; i++, usleep(10000))
        if (atomic_load(&source->new_keys) >= want)
            return true;
    return false;
}

/* prefetch N: once a peer was asked for, N are kept ready; they are not shown before they are handed out, and
 * none is made at C_Initialize. */
static void test_prefetch(void **state)
{
    (void)state;
    CK_MECHANISM m = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE o = 0;
    struct template none = {.n = 0}, t = {.n = 0};
    start("keyring k\n peer p\n  ppk dynamic qkd\n  remote-system-id Bob\n", " prefetch 4\n");
    usleep(100000);
    expect(object_search(s, &none, NULL, 0, NULL) == 1, "not just the peer");
    expect(atomic_load(&source->connections) == 0, "a connection before the first need");
    expect(search(CKA_LABEL, "p", 1, 0, NULL, 0, &o) == 1, "no PPK");
    expect(wait_for_new_keys(5), "%u keys were fetched, not 1 and 4 in advance",
           atomic_load(&source->new_keys));
    usleep(200000);
    expect(atomic_load(&source->new_keys) == 5, "%u keys were fetched", atomic_load(&source->new_keys));
    expect(object_search(s, &none, NULL, 0, NULL) == 2, "the pool is shown");
    /* the key source goes away: the pool still gives */
    atomic_store(&source->mode, SOURCE_HANG);
    template_text(&t, CKA_LABEL, "p");
    for (int i = 0; i < 2; i++) {
        uint64_t before = harness_ms();
        expect_ok(f->C_GenerateKey(s, &m, t.a, t.n, &o));
        expect(harness_ms() - before < 500, "took %lu ms", (unsigned long)(harness_ms() - before));
        uint8_t id[16], key[32], mac[32], want[64];
        CK_ULONG n = sizeof mac;
        CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
        expect(object_bytes(s, o, CKA_ID, id, sizeof id) == 16, "no ID");
        source_key(id, 16, key, 32);
        oracle_hmac(&oracle_prfs[1], key, 32, "x", 1, want);
        expect_ok(f->C_SignInit(s, &hmac, o));
        expect_ok(f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t) "x", 1, mac, &n));
        expect(memcmp(mac, want, 32) == 0, "another key");
    }
    uint64_t before = harness_ms();
    expect_ok(f->C_Finalize(NULL)); /* while the pool's thread waits for the hung source */
    expect(harness_ms() - before < 3000, "C_Finalize took %lu ms", (unsigned long)(harness_ms() - before));
    usleep(300000); /* what the pool had sent before is counted now, not in the next test */
}

static void test_entropy(void **state)
{
    (void)state;
    uint8_t a[32], b[32];
    static const char peers[] = "keyring k\n peer p\n  ppk dynamic qkd\n  remote-system-id Bob\n";
    start(peers, " entropy\n");
    expect_ok(f->C_GenerateRandom(s, a, 32));
    expect_ok(f->C_GenerateRandom(s, b, 32));
    expect(memcmp(a, b, 32) != 0, "the same twice");
    expect(atomic_load(&source->entropy) >= 1, "the key source was not asked");
    expect(source_key_requests(source) == 0, "a key was asked for");
    /* Its failure is not the caller's, nor its delay without bound. */
    f->C_Finalize(NULL);
    start(peers, " entropy\n timeout 300\n");
    atomic_store(&source->mode, SOURCE_HANG);
    uint64_t before = harness_ms();
    expect_ok(f->C_GenerateRandom(s, a, 32));
    expect_ok(f->C_GenerateRandom(s, b, 32));
    expect(harness_ms() - before < 2000, "took %lu ms", (unsigned long)(harness_ms() - before));
    expect(memcmp(a, b, 32) != 0, "the same twice");
    f->C_Finalize(NULL);
    start(peers, "");
    expect_ok(f->C_GenerateRandom(s, a, 32));
    expect(atomic_load(&source->connections) == 0, "asked without being told to");
}

static void test_certificates(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE o = 0;
    source_reset(source);
    harness_conf(CONF_DYNAMIC " tls trustpoint %s\n", source->port, source->trustpoint);
    require_ok(f->C_Initialize(NULL));
    s = harness_session("dynamic");
    expect(search(CKA_LABEL, "peer1", 5, 0, NULL, 0, &o) == 1, "no PPK");
    expect(source_key_requests(source) == 1, "%u requests", source_key_requests(source));
    /* without a trustpoint the system's authorities count, who do not know this one */
    f->C_Finalize(NULL);
    harness_conf(CONF_DYNAMIC " timeout 1000\n", source->port);
    require_ok(f->C_Initialize(NULL));
    s = harness_session("dynamic");
    struct template t = {.n = 0};
    CK_RV rv;
    template_text(&t, CKA_LABEL, "peer1");
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    object_search(s, &t, NULL, 0, &rv);
    expect_rv(CKR_DEVICE_ERROR, rv);
    expect(source_key_requests(source) == 1, "a request was made over unauthenticated TLS");
}

/* The key source says that it is somebody else than the profile expects. */
static void test_local_system_id(void **state)
{
    (void)state;
    static const char peers[] = "keyring k\n peer p\n  ppk dynamic qkd\n  remote-system-id Bob\n";
    CK_OBJECT_HANDLE o = 0;
    start(peers, " local-system-id Alice\n");
    expect(search(CKA_LABEL, "p", 1, 0, NULL, 0, &o) == 1, "no PPK");
    f->C_Finalize(NULL);
    start(peers, " local-system-id Zoe\n");
    struct template t = {.n = 0};
    CK_RV rv;
    harness_log_clear();
    template_text(&t, CKA_LABEL, "p");
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    expect(object_search(s, &t, NULL, 0, &rv) == 0, "a PPK of the wrong key source");
    expect_rv_in(rv, CKR_DEVICE_ERROR, CKR_FUNCTION_REJECTED);
    expect(source_key_requests(source) == 0, "%u requests", source_key_requests(source));
    expect(strstr(harness_log(), "Alice") && strstr(harness_log(), "Zoe"), "the log names not both: %s",
           harness_log());
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_shared_remote_system),
                                       TOKEN_TEST(test_shared_remote_system_by_id),
                                       TOKEN_TEST(test_filters),
                                       TOKEN_TEST(test_prefetch),
                                       TOKEN_TEST(test_entropy),
                                       TOKEN_TEST(test_certificates),
                                       TOKEN_TEST(test_local_system_id)};
    harness_load();
    source = source_start(harness_directory());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    source_stop(source);
    return failed;
}
