/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration that changes under a running token: what stays, what goes, what is refused. */
#include "conf.h"
#include "dynamic.h"
#include "oracle.h"
#include "type6.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#define OTHER_PSK "quite-another-one"

/* Looks until the log has the text; false: not within ten seconds. */
static bool wait_log(const char *text)
{
    const uint64_t end = harness_ms() + 10000;
    CK_SLOT_ID slots[64];
    CK_ULONG n;

    while (!strstr(harness_log(), text) && harness_ms() < end) {
        n = 64;
        f->C_GetSlotList(CK_FALSE, slots, &n);
        usleep(20000);
    }
    return expect(strstr(harness_log(), text) != NULL, "not in the log: %s", harness_log());
}

#define IN_EFFECT "has changed and is in effect"
#define REFUSED   "has changed and cannot be used: the one before stays"

/* Writes the configuration and waits until it is in effect. */
#define reload(...)                                                                                          \
    do {                                                                                                     \
        harness_log_clear();                                                                                 \
        harness_conf(__VA_ARGS__);                                                                           \
        require(wait_log(IN_EFFECT), "not reloaded");                                                        \
    } while (0)

static void start(const char *conf)
{
    harness_conf("%s", conf);
    require_ok(f->C_Initialize(NULL));
}

static size_t count(CK_SESSION_HANDLE session, const char *label, CK_OBJECT_HANDLE *o)
{
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_text(&t, CKA_LABEL, label);
    return object_search(session, &t, o, 1, NULL);
}

static CK_OBJECT_HANDLE data_object(CK_SESSION_HANDLE session, const char *label)
{
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_DATA);
    template_text(&t, CKA_LABEL, label);
    return object_only(session, &t);
}

/* The MAC by a key is the one by this value. */
static void expect_mac_by(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE o, const char *value)
{
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE mac[32], want[64];
    CK_ULONG n = sizeof mac;

    oracle_hmac(&oracle_prfs[1], value, strlen(value), "abc", 3, want);
    if (expect_ok(f->C_SignInit(session, &hmac, o)) &&
        expect_ok(f->C_Sign(session, (CK_BYTE_PTR)(uintptr_t) "abc", 3, mac, &n)))
        expect(memcmp(mac, want, 32) == 0, "another value");
}

/* ---- what is configured ---- */

#define ALPHA(psk, address)                                                                                  \
    "keyring main\n peer alpha\n  ppk manual id " MANUAL_1_ID " key hex " MANUAL_1_HEX                       \
    "\n  pre-shared-key " psk "\n  address " address "\n"
#define BETA  " peer beta\n  ppk manual id " MANUAL_2_ID " key hex " MANUAL_2_HEX "\n"
#define GAMMA " peer gamma\n  pre-shared-key \"" PSK_GAMMA "\"\n"

static void test_values(void **state)
{
    (void)state;
    CK_ATTRIBUTE id = {CKA_ID, NULL, 0};
    CK_OBJECT_HANDLE o = 0;
    start(ALPHA(PSK_ALPHA, "10.1.0.0/16") BETA);
    s = harness_session("main");
    CK_OBJECT_HANDLE alpha = object_by_label(s, "alpha"), psk = object_by_label(s, "alpha/psk");
    CK_OBJECT_HANDLE beta = object_by_label(s, "beta"), data = data_object(s, "alpha");

    reload(ALPHA(PSK_ALPHA, "10.1.0.0/16") GAMMA);
    expect(count(s, "beta", NULL) == 0, "a peer that is gone is found");
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_GetAttributeValue(s, beta, &id, 1));
    expect(object_by_label(s, "alpha") == alpha && object_by_label(s, "alpha/psk") == psk &&
               data_object(s, "alpha") == data,
           "what is unchanged has another handle");
    expect_mac_by(s, psk, PSK_ALPHA);
    expect_mac_by(s, object_by_label(s, "gamma/psk"), PSK_GAMMA);

    reload(ALPHA(OTHER_PSK, "10.2.0.0/16") BETA GAMMA);
    expect(object_by_label(s, "alpha") == alpha, "an unchanged PPK has another handle");
    expect(count(s, "alpha/psk", &o) == 1 && o != psk, "a changed PSK has the same handle");
    expect_mac_by(s, o, OTHER_PSK);
    expect_rv(CKR_OBJECT_HANDLE_INVALID, f->C_GetAttributeValue(s, psk, &id, 1));
    CK_BYTE address[4];
    expect(data_object(s, "alpha") == data, "the peer has another handle");
    expect(object_bytes(s, data, CKA_PPK_PEER_ADDRESS, address, 4) == 4 &&
               memcmp(address, "\x0a\2\0\0", 4) == 0,
           "the peer's old address");
    expect(object_by_label(s, "beta") != beta, "a handle was used again");
}

#define CARD(key) " key-encryption-key card key hex " key "\n"

static void test_keks(void **state)
{
    (void)state;
    start(ALPHA(PSK_ALPHA, "10.1.0.0/16") CARD("000102030405060708090a0b0c0d0e0f"));
    s = harness_session("main");
    CK_OBJECT_HANDLE card = object_by_label(s, "card"), o = 0;
    reload(ALPHA(OTHER_PSK, "10.1.0.0/16") CARD("000102030405060708090a0b0c0d0e0f"));
    expect(object_by_label(s, "card") == card, "an unchanged key has another handle");
    reload(ALPHA(OTHER_PSK, "10.1.0.0/16") CARD("100102030405060708090a0b0c0d0e0f"));
    expect(count(s, "card", &o) == 1 && o != card, "a changed key has the same handle");
    reload(ALPHA(OTHER_PSK, "10.1.0.0/16"));
    expect(count(s, "card", NULL) == 0, "a key that is gone is found");
}

/* A MAC that has begun goes on with the key that it began with. */
static void test_mac_goes_on(void **state)
{
    (void)state;
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE mac[32], want[64];
    CK_ULONG n = sizeof mac;
    start(ALPHA(PSK_ALPHA, "10.1.0.0/16"));
    s = harness_session("main");
    CK_OBJECT_HANDLE psk = object_by_label(s, "alpha/psk");

    oracle_hmac(&oracle_prfs[1], PSK_ALPHA, strlen(PSK_ALPHA), "abc", 3, want);
    expect_ok(f->C_SignInit(s, &hmac, psk));
    reload(ALPHA(OTHER_PSK, "10.1.0.0/16"));
    reload("keyring main\n");
    expect_ok(f->C_Sign(s, (CK_BYTE_PTR)(uintptr_t) "abc", 3, mac, &n));
    expect(memcmp(mac, want, 32) == 0, "another MAC");
    expect_rv(CKR_KEY_HANDLE_INVALID, f->C_SignInit(s, &hmac, psk));
}

static unsigned times(const char *text)
{
    unsigned n = 0;
    for (const char *at = harness_log(); (at = strstr(at, text)) != NULL; at++)
        n++;
    return n;
}

/* A wrong file changes nothing and is reported once; the next good one counts. */
static void test_wrong(void **state)
{
    (void)state;
    char text[1024];
    start(ALPHA(PSK_ALPHA, "10.1.0.0/16"));
    s = harness_session("main");
    CK_OBJECT_HANDLE psk = object_by_label(s, "alpha/psk");

    harness_log_clear();
    harness_conf("keyring main\n peer alpha\n  pre-shared-kez x\n peer alpha\n");
    wait_log(REFUSED);
    snprintf(text, sizeof text, "%s:3: ", harness_conf_path());
    expect(strstr(harness_log(), text) != NULL, "no place: %s", harness_log());
    snprintf(text, sizeof text, "%s:4: ", harness_conf_path());
    expect(strstr(harness_log(), text) != NULL, "no second place: %s", harness_log());
    for (int i = 0; i < 25; i++) {
        expect(count(s, "alpha/psk", NULL) == 1, "the old one is gone");
        usleep(100000);
    }
    expect(times(REFUSED) == 1, "reported %u times", times(REFUSED));
    expect_mac_by(s, psk, PSK_ALPHA);

    harness_log_clear();
    unlink(harness_conf_path());
    wait_log(REFUSED);
    expect_mac_by(s, psk, PSK_ALPHA);

    harness_log_clear();
    harness_conf("%s", ""); /* as a full disk leaves it */
    wait_log(REFUSED);
    expect_mac_by(s, psk, PSK_ALPHA);
    reload(ALPHA(PSK_ALPHA, "10.1.0.0/16"));
    expect(object_by_label(s, "alpha/psk") == psk, "another handle");
}

/* ---- slots ---- */

static void test_slots(void **state)
{
    (void)state;
    CK_SLOT_ID slot = 99, slots[8];
    CK_ULONG n = 8;
    CK_TOKEN_INFO token;
    CK_SLOT_INFO info;
    CK_SESSION_INFO session;
    CK_SESSION_HANDLE other;
    start(CONF_MANUAL);
    CK_SLOT_ID main_slot = harness_slot("main"), strict = harness_slot("strict");
    s = harness_session("main");
    other = harness_session("strict");
    expect_rv(CKR_NO_EVENT, f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));

    reload("keyring third\nkeyring strict\n");
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_GetSessionInfo(s, &session));
    expect_ok(f->C_GetSessionInfo(other, &session));
    expect_rv(CKR_TOKEN_NOT_PRESENT, f->C_GetTokenInfo(main_slot, &token));
    expect_rv(CKR_TOKEN_NOT_PRESENT, f->C_OpenSession(main_slot, CKF_SERIAL_SESSION, NULL, NULL, &s));
    expect_rv(CKR_TOKEN_NOT_PRESENT, f->C_GetMechanismList(main_slot, NULL, &n));
    expect_ok(f->C_GetSlotInfo(main_slot, &info));
    expect(info.flags == CKF_REMOVABLE_DEVICE, "flags 0x%lx of an empty slot", info.flags);
    expect_ok(f->C_GetTokenInfo(strict, &token));
    /* what is new is told when the length is asked for */
    n = 8;
    expect_ok(f->C_GetSlotList(CK_FALSE, slots, &n));
    expect(n == 2, "%lu slots", n);
    expect_ok(f->C_GetSlotList(CK_FALSE, NULL, &n));
    expect(n == 3, "%lu slots", n);
    n = 8;
    expect_ok(f->C_GetSlotList(CK_TRUE, slots, &n));
    expect(n == 2 && slots[0] == strict && slots[1] == 2, "with tokens: %lu", n);
    expect(harness_slot("third") == 2, "the new slot");
    expect_ok(f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
    expect(slot == main_slot, "event of slot %lu", slot);
    expect_ok(f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
    expect(slot == 2, "event of slot %lu", slot);
    expect_rv(CKR_NO_EVENT, f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));

    reload("%s", CONF_MANUAL);
    expect(harness_slot("main") == main_slot && harness_slot("strict") == strict, "slots have moved");
    s = harness_session("main");
    expect(count(s, "alpha", NULL) == 1, "not as before");
    expect_ok(f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
}

static void *wait_event(void *slot)
{
    return (void *)(uintptr_t)f->C_WaitForSlotEvent(0, slot, NULL);
}

static void test_event_wakes(void **state)
{
    (void)state;
    CK_SLOT_ID slot = 99;
    pthread_t thread;
    void *rv;
    start(CONF_MANUAL);
    require(pthread_create(&thread, NULL, wait_event, &slot) == 0, "no thread");
    usleep(100000);
    reload("keyring strict\n");
    pthread_join(thread, &rv);
    expect((CK_RV)(uintptr_t)rv == CKR_OK && slot == 0, "%s, slot %lu", rv_name((CK_RV)(uintptr_t)rv), slot);
    /* the waiting thread holds up no further change */
    require(pthread_create(&thread, NULL, wait_event, &slot) == 0, "no thread");
    usleep(100000);
    reload(ALPHA(PSK_ALPHA, "10.1.0.0/16"));
    pthread_join(thread, &rv);
    expect((CK_RV)(uintptr_t)rv == CKR_OK, "%s", rv_name((CK_RV)(uintptr_t)rv));
    /* nor does it need another call to see one */
    struct timespec end;
    while (f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL) == CKR_OK)
        ;
    require(pthread_create(&thread, NULL, wait_event, &slot) == 0, "no thread");
    usleep(100000);
    harness_conf("%s", CONF_MANUAL);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 10;
    if (pthread_timedjoin_np(thread, &rv, &end) != 0) {
        expect(false, "a thread that waits sees no change");
        expect_ok(f->C_Finalize(NULL));
        pthread_join(thread, &rv);
    }
}

/* ---- secrets of Type 6 ---- */

#define MASTER "correct horse battery staple"

static void test_login(void **state)
{
    (void)state;
    char one[600], two[600], foreign[600];
    CK_OBJECT_HANDLE o = 0;
    type6_make(MASTER, "the first secret", one, sizeof one);
    type6_make(MASTER, "the second secret", two, sizeof two);
    type6_make("another master key", "a third", foreign, sizeof foreign);
    harness_conf("keyring main\n peer a\n  pre-shared-key 6 %s\n", one);
    require_ok(f->C_Initialize(NULL));
    s = harness_session("main");
    reload("keyring main\n peer a\n  pre-shared-key 6 %s\n ! not logged in yet\n", one);
    expect(count(s, "a/psk", NULL) == 0, "seen without login");
    require_ok(f->C_Login(s, CKU_USER, (CK_BYTE_PTR)(uintptr_t)MASTER, strlen(MASTER)));
    CK_OBJECT_HANDLE a = object_by_label(s, "a/psk");

    reload("keyring main\n peer a\n  pre-shared-key 6 %s\n peer b\n  pre-shared-key 6 %s\n", one, two);
    expect(object_by_label(s, "a/psk") == a, "another handle");
    expect(count(s, "b/psk", &o) == 1, "the new one waits for a login");
    expect_mac_by(s, o, "the second secret");
    expect_ok(f->C_Logout(s));
    expect(count(s, "b/psk", NULL) == 0, "seen after C_Logout");
    require_ok(f->C_Login(s, CKU_USER, (CK_BYTE_PTR)(uintptr_t)MASTER, strlen(MASTER)));

    harness_log_clear();
    harness_conf("keyring main\n peer a\n  pre-shared-key 6 %s\n peer b\n  pre-shared-key 6 %s\n", one,
                 foreign);
    wait_log(REFUSED);
    expect(strstr(harness_log(), ":5: ") != NULL, "no place: %s", harness_log());
    expect_mac_by(s, o, "the second secret");
}

/* ---- dynamic PPKs ---- */

#define PEER_1 "keyring dynamic\n peer peer1\n  ppk dynamic qkd required\n  remote-system-id Bob\n"
#define PEER_2 " peer peer2\n  ppk dynamic qkd\n  remote-system-id peer2\n"
#define QKD    "sks profile qkd type remote\n kme server ipv4 127.0.0.1 port %u\n" CONF_PSK

static void start_dynamic(void)
{
    source_reset(source);
    harness_conf(PEER_1 PEER_2 QKD, source->port);
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("dynamic");
}

static void test_held_keys_stay(void **state)
{
    (void)state;
    uint8_t id[16], fresh[16];
    CK_OBJECT_HANDLE by_id = 0, o = 0;
    start_dynamic();
    CK_OBJECT_HANDLE one = peer_key(s, "peer1"), two = peer_key(s, "peer2");
    expect_ppk_of_source(s, two, 32); /* used now */
    source_fresh_id(fresh);
    expect(search_id(fresh, 16, "peer1", &by_id, NULL) == 1, "no PPK by ID");
    expect_requests(3);
    CK_ULONG left = object_number(s, one, CKA_PPK_SECONDS_LEFT);
    const unsigned connections = atomic_load(&source->connections);

    reload(PEER_1 "  address 10.0.0.0/8\n" PEER_2 " peer peer3\n  ppk dynamic qkd\n" QKD " lifetime 7200\n",
           source->port);
    expect(count(s, "peer1", &o) == 2 && o == one, "keys of peer1");
    expect(object_bool(s, one, CKA_PPK_USED) == 0 && object_bool(s, two, CKA_PPK_USED) == 1,
           "used or unused");
    expect(object_number(s, one, CKA_PPK_SECONDS_LEFT) <= left, "it expires later than before");
    expect(object_bytes(s, two, CKA_ID, id, 16) == 16 && search_id(id, 16, NULL, &o, NULL) == 1 && o == two,
           "not found by its ID");
    expect(search_id(fresh, 16, NULL, &o, NULL) == 1 && o == by_id, "not found by its ID");
    expect_requests(3);
    expect_ok(f->C_DestroyObject(s, one));
    (void)count(s, "peer1", NULL); /* a new one, on the old connection */
    expect_requests(4);
    expect(atomic_load(&source->connections) == connections, "%u connections, not %u",
           atomic_load(&source->connections), connections);

    reload(PEER_1 QKD, source->port);
    expect(search_id(id, 16, NULL, &o, NULL) == 0 || o != two, "a PPK of a peer that is gone");
    expect(object_number(s, two, CKA_VALUE_LEN) == CK_UNAVAILABLE_INFORMATION, "its object is there");
    expect(search_id(fresh, 16, NULL, &o, NULL) == 1 && o == by_id, "the other one's is gone");
}

/* Has a peer another remote system, its unused PPK is of no use for it: found, but not the next. */
static void test_other_remote_system(void **state)
{
    (void)state;
    uint8_t id[16];
    CK_OBJECT_HANDLE o = 0;
    start_dynamic();
    CK_OBJECT_HANDLE one = peer_key(s, "peer1");
    expect(id_of(one, id, 16) == 16, "the ID's length");
    reload("keyring dynamic\n peer peer1\n  ppk dynamic qkd\n  remote-system-id peer2\n" QKD, source->port);
    expect(search_id(id, 16, NULL, &o, NULL) == 1 && o == one, "not found by its ID");
    expect_requests(1);
    expect(count(s, "peer1", &o) == 2 && o != one, "the old one is the next");
    expect_requests(2);
    expect(strcmp(source->last_remote, "peer2") == 0, "asked for %s", source->last_remote);
}

/* A server that was wrong is put right. */
static void test_other_server(void **state)
{
    (void)state;
    struct template t;
    CK_RV rv;
    source_reset(source);
    harness_conf(PEER_1 "sks profile qkd type remote\n kme server ipv4 127.0.0.1 port 1\n" CONF_PSK);
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("dynamic");
    peer_template(&t, "peer1");
    object_search(s, &t, NULL, 0, &rv);
    expect_rv(CKR_DEVICE_ERROR, rv);
    reload(PEER_1 QKD, source->port);
    expect_ppk_of_source(s, peer_key(s, "peer1"), 32);
}

static void *search_peer1(void *result)
{
    CK_SESSION_HANDLE session = harness_session_rw("dynamic");
    struct template t;
    CK_RV rv;
    peer_template(&t, "peer1");
    *(size_t *)result = object_search(session, &t, NULL, 0, &rv);
    expect_rv_in(rv, CKR_OK, CKR_DEVICE_ERROR); /* the latter where the peer went meanwhile */
    return NULL;
}

/* What is under way goes on with the old configuration, and a further change waits for it. */
static void test_in_flight(void **state)
{
    (void)state;
    pthread_t thread;
    size_t found = 99;
    start_dynamic();
    CK_OBJECT_HANDLE two = peer_key(s, "peer2");
    atomic_store(&source->delay_ms, 1900);
    require(pthread_create(&thread, NULL, search_peer1, &found) == 0, "no thread");
    usleep(200000);
    reload(PEER_1 PEER_2 QKD " lifetime 60\n", source->port);
    expect(atomic_load(&source->new_keys) == 2, "no request under way");
    reload(PEER_1 PEER_2 QKD " lifetime 70\n", source->port);
    pthread_join(thread, NULL);
    expect(found == 1, "found %zu", found);
    atomic_store(&source->delay_ms, 0);
    expect(peer_key(s, "peer2") == two, "another handle");
    expect(object_number(s, peer_key(s, "peer1"), CKA_PPK_SECONDS_LEFT) > 3000, "of the new lifetime");
    /* a peer that goes while its key is under way */
    expect_ok(f->C_DestroyObject(s, peer_key(s, "peer1")));
    atomic_store(&source->delay_ms, 1900);
    CK_SESSION_HANDLE session = harness_session_rw("dynamic");
    found = 99;
    require(pthread_create(&thread, NULL, search_peer1, &found) == 0, "no thread");
    usleep(200000);
    reload("keyring dynamic\n" PEER_2 QKD, source->port);
    pthread_join(thread, NULL);
    expect(count(session, "peer1", NULL) == 0, "a peer that is gone has a key");
}

/* ---- a pool, threads, forks ---- */

static void test_pool(void **state)
{
    (void)state;
    source_reset(source);
    harness_conf(PEER_1 PEER_2 QKD " prefetch 4\n", source->port);
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("dynamic");
    (void)peer_key(s, "peer1");
    (void)peer_key(s, "peer2");
    for (uint64_t end = harness_ms() + 5000; source_key_requests(source) < 10 && harness_ms() < end;)
        usleep(10000);
    expect_requests(10);
    reload(PEER_1 "  address 10.0.0.0/8\n" QKD " prefetch 4\n", source->port);
    struct template t;
    CK_MECHANISM m = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE o = 0;
    atomic_store(&source->mode, SOURCE_CLOSE);
    for (int i = 0; i < 4; i++) {
        peer_template(&t, "peer1");
        expect_ok(f->C_GenerateKey(s, &m, t.a, t.n, &o)); /* the pool's */
    }
    peer_template(&t, "peer1");
    expect_error(f->C_GenerateKey(s, &m, t.a, t.n, &o));
}

static _Atomic bool stop;

static void *work(void *own)
{
    CK_MECHANISM m = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0}, hmac = {CKM_SHA256_HMAC, NULL, 0};
    const unsigned n = (unsigned)(uintptr_t)own;

    while (!stop) {
        CK_SESSION_HANDLE session = harness_session_rw("dynamic");
        struct template t;
        CK_OBJECT_HANDLE o[4] = {0};
        CK_BYTE mac[32];
        CK_ULONG mac_len = sizeof mac;
        CK_RV rv;
        peer_template(&t, n % 2 == 0 ? "peer1" : "peer2");
        size_t found = object_search(session, &t, o, 4, &rv);
        expect_rv_in(rv, CKR_OK, CKR_DEVICE_ERROR); /* the peer goes, in the latter case */
        expect(n % 2 != 0 || found > 0, "peer1 has no key");
        if (found > 0 && f->C_SignInit(session, &hmac, o[0]) == CKR_OK)
            expect_ok(f->C_Sign(session, mac, 3, mac, &mac_len));
        peer_template(&t, "peer1");
        if (n == 0 && expect_ok(f->C_GenerateKey(session, &m, t.a, t.n, o)))
            expect_rv_in(f->C_DestroyObject(session, o[0]), CKR_OK);
        CK_OBJECT_HANDLE psk = 0;
        if (count(session, "peer1/psk", &psk) == 1 && f->C_SignInit(session, &hmac, psk) == CKR_OK)
            expect_ok(f->C_Sign(session, mac, 3, mac, &mac_len));
        f->C_CloseSession(session);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum { THREADS = 6 };
    pthread_t threads[THREADS];
    start_dynamic();
    stop = false;
    for (uintptr_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "no thread");
    for (int i = 0; i < 5; i++) {
        reload(PEER_1 "  pre-shared-key secret%d\n" QKD "%s", i, source->port, i % 2 ? " prefetch 3\n" : "");
        reload(PEER_1 "  pre-shared-key secret%d\n" PEER_2 QKD, i / 2, source->port);
    }
    stop = true;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void test_fork(void **state)
{
    (void)state;
    if (HARNESS_TSAN)
        skip();
    start(ALPHA(PSK_ALPHA, "10.1.0.0/16"));
    reload(ALPHA(OTHER_PSK, "10.1.0.0/16"));
    fflush(NULL);
    unsigned long before = expect_failures();
    pid_t child = fork();
    if (child == 0) {
        CK_SLOT_ID slot;
        alarm(30);
        expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
        expect_ok(f->C_Initialize(NULL));
        s = harness_session("main");
        expect_mac_by(s, object_by_label(s, "alpha/psk"), OTHER_PSK);
        harness_log_clear();
        harness_conf("%s", ALPHA(PSK_ALPHA, "10.1.0.0/16"));
        wait_log(IN_EFFECT);
        expect_mac_by(s, object_by_label(s, "alpha/psk"), PSK_ALPHA);
        expect_ok(f->C_Finalize(NULL));
        _exit(expect_failures() != before);
    }
    int status = 0;
    waitpid(child, &status, 0);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status 0x%x",
           (unsigned)status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_values),       TOKEN_TEST(test_keks),           TOKEN_TEST(test_mac_goes_on),
        TOKEN_TEST(test_wrong),        TOKEN_TEST(test_slots),          TOKEN_TEST(test_event_wakes),
        TOKEN_TEST(test_login),        TOKEN_TEST(test_held_keys_stay), TOKEN_TEST(test_other_remote_system),
        TOKEN_TEST(test_other_server), TOKEN_TEST(test_in_flight),      TOKEN_TEST(test_pool),
        TOKEN_TEST(test_threads),      TOKEN_TEST(test_fork),
    };
    harness_load();
    source = source_start(harness_directory());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    source_stop(source);
    return failed;
}
