/* SPDX-License-Identifier: BSD-2-Clause */
/* Eight threads that call everything at once on the same tokens, with keys that come and go, sessions that
 * are closed under others' hands, and C_Finalize in between. Every answer has to be one that makes sense,
 * every result right; TSan looks on. */
#include "conf.h"
#include "derive.h"
#include "every.h"
#include "guard.h"
#include "kwp.h"
#include "source.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define THREADS 8
#define ROUNDS  (HARNESS_TSAN || HARNESS_ASAN ? 60 : 200)
#define SHARED  16

static struct source *source;
static CK_FUNCTION_LIST_3_0 *list_3_0;
static CK_SLOT_ID slots[8];
static CK_ULONG n_slots;

/* Handles that every thread uses and any thread may destroy */
static _Atomic CK_OBJECT_HANDLE shared_keys[SHARED];
static _Atomic CK_SESSION_HANDLE shared_sessions[SHARED];
static uint8_t shared_value[32] = "a value that all of them share";
static atomic_ulong operations;

/* What may come of a call on a handle that another thread has just closed or destroyed */
#define GONE                                                                                                 \
    CKR_SESSION_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID,                           \
        CKR_OPERATION_NOT_INITIALIZED, CKR_OPERATION_ACTIVE, CKR_SESSION_CLOSED

static void mac_right(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE key, const uint8_t *value, size_t len,
                      bool may_go)
{
    uint8_t mac[64], want[64];
    CK_ULONG n = sizeof mac;
    CK_MECHANISM m = {CKM_SHA384_HMAC, NULL, 0};
    CK_RV rv = f->C_SignInit(s, &m, key);
    if (rv == CKR_OK)
        rv = f->C_SignUpdate(s, (CK_BYTE_PTR)(uintptr_t) "te", 2);
    if (rv == CKR_OK)
        rv = f->C_SignUpdate(s, (CK_BYTE_PTR)(uintptr_t) "xt", 2);
    if (rv == CKR_OK)
        rv = f->C_SignFinal(s, mac, &n);
    if (may_go)
        expect_rv_in(rv, CKR_OK, GONE);
    else
        expect_rv(CKR_OK, rv);
    if (rv == CKR_OK) {
        oracle_hmac(&oracle_prfs[2], value, len, "text", 4, want);
        expect(n == 48 && memcmp(mac, want, 48) == 0, "another MAC");
    }
}

static void do_manual(CK_SESSION_HANDLE s, struct oracle_random *r)
{
    uint8_t key[64];
    CK_OBJECT_HANDLE o = 0;
    CK_RV rv;
    struct template t = {.n = 0};
    (void)r;
    template_text(&t, CKA_ID, MANUAL_1_ID);
    expect(object_search(s, &t, &o, 1, &rv) == 1 && rv == CKR_OK, "manual PPK: %s", rv_name(rv));
    mac_right(s, o, key, oracle_unhex(MANUAL_1_HEX, key, sizeof key), false);
}

static void do_import(CK_SESSION_HANDLE s, struct oracle_random *r)
{
    uint8_t value[48];
    size_t len = 1 + oracle_below(r, sizeof value);
    CK_OBJECT_HANDLE o = 0;
    struct template t;
    oracle_fill(r, value, len);
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, value, len);
    template_bool(&t, CKA_SIGN, true);
    template_bool(&t, CKA_SENSITIVE, false);
    template_bool(&t, CKA_EXTRACTABLE, true);
    if (!expect_ok(f->C_CreateObject(s, t.a, t.n, &o)))
        return;
    expect_key(s, o, value, len);
    mac_right(s, o, value, len, false);
    CK_ATTRIBUTE label = {CKA_LABEL, (void *)(uintptr_t) "mine", 4};
    expect_ok(f->C_SetAttributeValue(s, o, &label, 1));
    expect_ok(f->C_DestroyObject(s, o));
}

static void do_derive(CK_SESSION_HANDLE s, struct oracle_random *r)
{
    const struct oracle_prf *prf = &oracle_prfs[oracle_below(r, 4)];
    uint8_t ppk[64], seed[20], want[100];
    CK_OBJECT_HANDLE base = 0, o = 0;
    CK_RV rv;
    struct template t = {.n = 0};
    template_text(&t, CKA_ID, MANUAL_2_ID);
    expect(object_search(s, &t, &base, 1, &rv) == 1, "manual PPK: %s", rv_name(rv));
    size_t n = oracle_unhex(MANUAL_2_HEX, ppk, sizeof ppk), len = 1 + oracle_below(r, sizeof want);
    oracle_fill(r, seed, sizeof seed);
    oracle_prf_plus(prf, ppk, n, seed, sizeof seed, want, len);
    derive_template(&t, len);
    if (expect_ok(derive_prf_plus(s, false, prf, base, 0, seed, sizeof seed, &t, &o))) {
        expect_key(s, o, want, len);
        expect_ok(f->C_DestroyObject(s, o));
    }
    guard_release();
}

static void do_shared_key(CK_SESSION_HANDLE s, struct oracle_random *r)
{
    size_t i = oracle_below(r, SHARED);
    CK_OBJECT_HANDLE o = atomic_load(&shared_keys[i]);
    if (o && oracle_below(r, 4)) {
        mac_right(s, o, shared_value, sizeof shared_value, true);
        CK_ULONG len;
        CK_ATTRIBUTE a = {CKA_VALUE_LEN, &len, sizeof len};
        expect_rv_in(f->C_GetAttributeValue(s, o, &a, 1), CKR_OK, GONE);
        return;
    }
    o = atomic_exchange(&shared_keys[i], 0);
    if (o)
        expect_rv_in(f->C_DestroyObject(s, o), CKR_OK, GONE);
    struct template t;
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, shared_value, sizeof shared_value);
    template_bool(&t, CKA_SIGN, true);
    if (expect_ok(f->C_CreateObject(s, t.a, t.n, &o))) {
        o = atomic_exchange(&shared_keys[i], o);
        if (o)
            f->C_DestroyObject(s, o);
    }
}

static void do_shared_session(CK_SESSION_HANDLE own, struct oracle_random *r)
{
    size_t i = oracle_below(r, SHARED);
    CK_SESSION_HANDLE s = atomic_load(&shared_sessions[i]);
    CK_OBJECT_HANDLE found[4];
    CK_ULONG n = 0;
    (void)own;
    if (s && oracle_below(r, 5)) {
        CK_SESSION_INFO info;
        expect_rv_in(f->C_GetSessionInfo(s, &info), CKR_OK, GONE);
        CK_RV rv = f->C_FindObjectsInit(s, NULL, 0);
        expect_rv_in(rv, CKR_OK, GONE);
        expect_rv_in(f->C_FindObjects(s, found, 4, &n), CKR_OK, GONE);
        expect_rv_in(f->C_FindObjectsFinal(s), CKR_OK, GONE);
        CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
        CK_OBJECT_HANDLE key = atomic_load(&shared_keys[i]);
        uint8_t mac[32];
        n = sizeof mac;
        expect_rv_in(f->C_SignInit(s, &m, key), CKR_OK, GONE);
        expect_rv_in(f->C_Sign(s, mac, 3, mac, &n), CKR_OK, GONE);
        expect_rv_in(f->C_VerifyInit(s, &m, key), CKR_OK, GONE);
        expect_rv_in(f->C_Verify(s, mac, 3, mac, 32), CKR_OK, CKR_SIGNATURE_INVALID, GONE);
        return;
    }
    if (s && atomic_compare_exchange_strong(&shared_sessions[i], &s, 0))
        expect_rv_in(f->C_CloseSession(s), CKR_OK, GONE);
    if (expect_ok(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &s))) {
        s = atomic_exchange(&shared_sessions[i], s);
        if (s)
            f->C_CloseSession(s);
    }
}

static void do_dynamic(CK_SESSION_HANDLE own, struct oracle_random *r)
{
    CK_SESSION_HANDLE s = 0;
    CK_OBJECT_HANDLE o = 0;
    CK_RV rv;
    struct template t = {.n = 0};
    uint8_t id[16], key[32];
    (void)own;
    if (oracle_below(r, 4)) /* not too many */
        return;
    if (!expect_ok(f->C_OpenSession(slots[2], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s)))
        return;
    if (oracle_below(r, 2)) {
        CK_MECHANISM m = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
        template_text(&t, CKA_LABEL, "peer2");
        rv = f->C_GenerateKey(s, &m, t.a, t.n, &o);
    } else {
        source_fresh_id(id);
        template_bytes(&t, CKA_ID, id, 16);
        object_search(s, &t, &o, 1, &rv);
    }
    if (expect_rv(CKR_OK, rv) && expect(o != 0, "no PPK")) {
        if (expect(object_bytes(s, o, CKA_ID, id, 16) == 16, "no ID")) {
            source_key(id, 16, key, 32);
            mac_right(s, o, key, 32, false);
        }
        if (oracle_below(r, 2))
            expect_ok(f->C_DestroyObject(s, o));
    }
    expect_ok(f->C_CloseSession(s));
}

static void do_inquiries(CK_SESSION_HANDLE s, struct oracle_random *r)
{
    CK_INFO info;
    CK_SLOT_INFO slot;
    CK_TOKEN_INFO token;
    CK_MECHANISM_INFO mechanism;
    CK_SLOT_ID event;
    CK_ULONG n = 0;
    uint8_t random[40];
    size_t i = oracle_below(r, n_slots);
    struct template none = {.n = 0};
    CK_RV rv;
    expect_ok(f->C_GetInfo(&info));
    expect_ok(f->C_GetSlotList(CK_TRUE, NULL, &n));
    expect_ok(f->C_GetSlotInfo(slots[i], &slot));
    expect_ok(f->C_GetTokenInfo(slots[i], &token));
    expect_ok(f->C_GetMechanismList(slots[i], NULL, &n));
    expect_ok(f->C_GetMechanismInfo(slots[i], CKM_SHA256_HMAC, &mechanism));
    expect_ok(f->C_GenerateRandom(s, random, sizeof random));
    expect_rv_in(f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &event, NULL), CKR_NO_EVENT, CKR_OK);
    expect(object_search(s, &none, NULL, 0, &rv) >= 5 && rv == CKR_OK, "%s", rv_name(rv));
    expect_rv_in(f->C_Login(s, CKU_USER, (CK_UTF8CHAR_PTR)(uintptr_t) "1234", 4), CKR_OK, CKR_PIN_INCORRECT,
                 CKR_USER_PIN_NOT_INITIALIZED, CKR_USER_ALREADY_LOGGED_IN);
    expect_rv_in(f->C_Logout(s), CKR_OK, CKR_USER_NOT_LOGGED_IN);
    expect_rv(CKR_CRYPTOKI_ALREADY_INITIALIZED, f->C_Initialize(NULL));
}

/* A session key that goes out under a card's key, which comes in again. */
static void do_wrap(CK_SESSION_HANDLE s, struct oracle_random *r)
{
    CK_OBJECT_HANDLE base = 0, key = 0, kek = 0, back = 0;
    uint8_t value[32], ppk[64], want[32], got[64], wrapped[64];
    CK_ULONG n = sizeof wrapped;
    CK_RV rv;
    struct template t = {.n = 0}, aes;
    oracle_fill(r, value, sizeof value);
    template_text(&t, CKA_ID, MANUAL_1_ID);
    expect(object_search(s, &t, &base, 1, &rv) == 1, "manual PPK: %s", rv_name(rv));
    oracle_prf_plus(&oracle_prfs[1], ppk, oracle_unhex(MANUAL_1_HEX, ppk, sizeof ppk), SEED_32, 32, want, 32);
    memset(&t, 0, sizeof t);
    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    template_number(&t, CKA_VALUE_LEN, 32);
    template_bool(&t, CKA_SENSITIVE, true);
    template_bool(&t, CKA_EXTRACTABLE, true);
    rv = derive_prf_plus(s, false, &oracle_prfs[1], base, 0, SEED_32, 32, &t, &key);
    guard_release();
    kek = kwp_import(s, value, sizeof value, (CK_ATTRIBUTE_TYPE[]){CKA_WRAP, CKA_UNWRAP, 0});
    if (!expect_ok(rv) || !expect_ok(f->C_WrapKey(s, &kwp, kek, key, wrapped, &n)))
        return;
    expect(kwp_open(value, sizeof value, wrapped, n, got) == 32 && memcmp(got, want, 32) == 0,
           "another key goes out");
    template_secret(&aes);
    template_entry(&aes, CKA_KEY_TYPE)->pValue = &(CK_KEY_TYPE){CKK_AES};
    expect_ok(f->C_UnwrapKey(s, &kwp, kek, wrapped, n, aes.a, aes.n, &back));
    expect_ok(f->C_DestroyObject(s, back));
    expect_ok(f->C_DestroyObject(s, kek));
    expect_ok(f->C_DestroyObject(s, key));
}

/* A copy, a MAC that is checked in parts, an operation that is given up, and all sessions of a slot closed */
static void do_rest(CK_SESSION_HANDLE s, struct oracle_random *r)
{
    uint8_t value[32], mac[32], seed[4] = {1};
    CK_OBJECT_HANDLE o = 0, copy = 0;
    CK_SESSION_HANDLE own = 0;
    CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
    CK_ULONG size = 0;
    struct template t;
    oracle_fill(r, value, sizeof value);
    oracle_hmac(&oracle_prfs[1], value, sizeof value, "text", 4, mac);
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, value, sizeof value);
    template_bool(&t, CKA_VERIFY, true);
    if (!expect_ok(f->C_CreateObject(s, t.a, t.n, &o)) || !expect_ok(f->C_CopyObject(s, o, NULL, 0, &copy)))
        return;
    expect_rv_in(f->C_GetObjectSize(s, copy, &size), CKR_OK, CKR_INFORMATION_SENSITIVE);
    expect_ok(f->C_VerifyInit(s, &m, copy));
    expect_ok(f->C_VerifyUpdate(s, (CK_BYTE_PTR)(uintptr_t) "te", 2));
    expect_ok(f->C_VerifyUpdate(s, (CK_BYTE_PTR)(uintptr_t) "xt", 2));
    expect_ok(f->C_VerifyFinal(s, mac, 32));
    expect_ok(f->C_VerifyInit(s, &m, copy));
    expect_ok(list_3_0->C_SessionCancel(s, CKF_VERIFY));
    expect_ok(f->C_DestroyObject(s, copy));
    expect_ok(f->C_DestroyObject(s, o));
    expect_rv_in(f->C_SeedRandom(s, seed, sizeof seed), CKR_OK, CKR_RANDOM_SEED_NOT_SUPPORTED);
    if (oracle_below(r, 4) == 0)
        expect_ok(f->C_CloseAllSessions(slots[1]));
    expect_ok(f->C_OpenSession(slots[1], CKF_SERIAL_SESSION, NULL, NULL, &own));
    expect_rv_in(f->C_CloseSession(own), CKR_OK, GONE);
}

/* Every function there is, with a session that others close, and nothing else: no argument is good. */
static void do_every(CK_SESSION_HANDLE s, struct oracle_random *r)
{
    const CK_ULONG arguments[10] = {atomic_load(&shared_sessions[oracle_below(r, SHARED)])};
    (void)s;
    for (size_t i = 0; i < EVERY_3_0; i++) {
        const char *name = every_name[i];
        if (every_needs_no_init(i) || strcmp(name, "C_Finalize") == 0 ||
            strcmp(name, "C_GetInfo") == 0 /* has a pointer first */ ||
            strcmp(name, "C_WaitForSlotEvent") == 0 /* would wait */ ||
            strcmp(name, "C_CloseAllSessions") == 0 || strcmp(name, "C_Logout") == 0)
            continue;
        (void)every_call(list_3_0, i, arguments);
    }
}

static void (*const jobs[])(CK_SESSION_HANDLE, struct oracle_random *) = {
    do_manual,  do_import,    do_derive, do_shared_key, do_shared_session,
    do_dynamic, do_inquiries, do_wrap,   do_rest,       do_every};

static void *work(void *argument)
{
    struct oracle_random r = {(uint64_t)(uintptr_t)argument};
    CK_SESSION_HANDLE s = 0;
    if (!expect_ok(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s)))
        return NULL;
    for (int round = 0; round < ROUNDS; round++) {
        jobs[oracle_below(&r, sizeof jobs / sizeof *jobs)](s, &r);
        atomic_fetch_add(&operations, 1);
    }
    expect_ok(f->C_CloseSession(s));
    guard_end();
    return NULL;
}

static void start(void)
{
    source_reset(source);
    harness_conf(CONF_MANUAL CONF_DYNAMIC CONF_PSK " timeout 20000\n", source->port);
    require_ok(f->C_Initialize(NULL));
    n_slots = 8;
    require_ok(f->C_GetSlotList(CK_TRUE, slots, &n_slots));
    require(n_slots == 3, "%lu slots", n_slots);
}

static void test_everything_at_once(void **state)
{
    (void)state;
    pthread_t t[THREADS];
    start();
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    print_message("stress: %lu operations by %d threads\n", atomic_load(&operations), THREADS);
    expect(atomic_load(&operations) == (unsigned long)THREADS * ROUNDS, "%lu operations",
           atomic_load(&operations));
}

/* The same while the token is finalized and initialized again under everybody's hands. */
static atomic_bool done;
static void *work_on_sand(void *argument)
{
    struct oracle_random r = {(uint64_t)(uintptr_t)argument};
    while (!atomic_load(&done)) {
        CK_SESSION_HANDLE s = 0;
        CK_SLOT_ID slot;
        CK_ULONG n = 1, len = 64;
        CK_OBJECT_HANDLE o = 0, derived;
        uint8_t mac[64];
        CK_MECHANISM m = {CKM_SHA256_HMAC, NULL, 0};
        struct template t = {.n = 0};
        CK_RV rv = f->C_GetSlotList(CK_TRUE, NULL, &n);
        if (rv == CKR_OK && n > 0) {
            CK_SLOT_ID all[8];
            n = 8;
            rv = f->C_GetSlotList(CK_TRUE, all, &n);
            slot = all[oracle_below(&r, 2) ? 0 : 2];
            if (rv == CKR_OK)
                rv = f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &s);
        }
        if (rv == CKR_OK) {
            if (oracle_below(&r, 2))
                template_text(&t, CKA_ID, MANUAL_1_ID);
            else
                template_text(&t, CKA_LABEL, "peer1");
            object_search(s, &t, &o, 1, &rv);
        }
        if (rv == CKR_OK && o) {
            rv = f->C_SignInit(s, &m, o);
            if (rv == CKR_OK)
                rv = f->C_Sign(s, mac, 5, mac, &len);
            derive_template(&t, 32);
            if (rv == CKR_OK)
                rv = derive_prf_plus(s, false, &oracle_prfs[1], o, 0, "x", 1, &t, &derived);
            guard_release();
        }
        expect_rv_in(rv, CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_KEY_FUNCTION_NOT_PERMITTED,
                     CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED, CKR_SLOT_ID_INVALID, GONE);
    }
    guard_end();
    return NULL;
}

static void test_finalize_under_load(void **state)
{
    (void)state;
    pthread_t t[THREADS];
    struct oracle_random r = {99};
    start();
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, work_on_sand, (void *)(i + 1));
    for (int i = 0; i < 25; i++) {
        struct timespec pause = {0, (long)oracle_below(&r, 40) * 1000000};
        nanosleep(&pause, NULL);
        uint64_t before = harness_ms();
        expect_ok(f->C_Finalize(NULL));
        expect(harness_ms() - before < 5000, "C_Finalize took %lu ms",
               (unsigned long)(harness_ms() - before));
        expect_ok(f->C_Initialize(NULL));
    }
    atomic_store(&done, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    expect_ok(f->C_Finalize(NULL));
    expect(strstr(harness_log(), "does not return") == NULL, "C_Finalize gave up a call");
}

/* Gives the key that comes next a label as soon as it is there: a handle can be guessed. */
static _Atomic CK_OBJECT_HANDLE coming;
static atomic_ulong named;
static void *name_it(void *session)
{
    CK_ATTRIBUTE label = {CKA_LABEL, (void *)(uintptr_t) "named", 5};
    CK_OBJECT_HANDLE last = 0, o;
    while ((o = atomic_load(&coming)) != ~0UL)
        if (o != last &&
            f->C_SetAttributeValue((CK_SESSION_HANDLE)(uintptr_t)session, o, &label, 1) == CKR_OK) {
            last = o;
            atomic_fetch_add(&named, 1);
        }
    return NULL;
}

static void test_named_while_made(void **state)
{
    (void)state;
    static uint8_t id[60000];
    CK_ATTRIBUTE label = {CKA_LABEL, (void *)(uintptr_t) "named", 5};
    pthread_t t;
    start();
    CK_SESSION_HANDLE s = harness_session_rw("main"), other = harness_session_rw("main");
    pthread_create(&t, NULL, name_it, (void *)(uintptr_t)other);
    for (int i = 0; i < (HARNESS_TSAN || HARNESS_ASAN ? 1000 : 6000); i++) {
        struct template key = {.n = 0};
        template_secret(&key);
        template_bytes(&key, CKA_VALUE, shared_value, sizeof shared_value);
        template_bytes(&key, CKA_ID, id, sizeof id); /* which takes some time to be indexed */
        template_bytes(&key, CKA_LABEL, "old", 3);
        CK_OBJECT_HANDLE o = 0, found[4];
        CK_ULONG n = 0;
        expect_ok(f->C_CreateObject(s, key.a, key.n, &o));
        expect_ok(f->C_DestroyObject(s, o));
        atomic_store(&coming, o + (1UL << 24));
        if (i % 200 != 0)
            continue;
        expect_ok(f->C_FindObjectsInit(s, &label, 1));
        expect_ok(f->C_FindObjects(s, found, 4, &n));
        expect_ok(f->C_FindObjectsFinal(s));
        expect(n == 0, "a destroyed key is found");
    }
    atomic_store(&coming, ~0UL);
    pthread_join(t, NULL);
    print_message("stress: %lu keys named while they were made\n", atomic_load(&named));
    expect(atomic_load(&named) > 0, "no key was named in time");
    expect_ok(f->C_Finalize(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_everything_at_once),
                                       TOKEN_TEST(test_finalize_under_load),
                                       TOKEN_TEST(test_named_while_made)};
    CK_C_GetInterface get = NULL;
    CK_INTERFACE *interface = NULL;
    *(void **)&get = dlsym(harness_load(), "C_GetInterface");
    if (get == NULL ||
        get((CK_UTF8CHAR_PTR)(uintptr_t) "PKCS 11", &(CK_VERSION){3, 0}, &interface, 0) != CKR_OK)
        return 1;
    list_3_0 = interface->pFunctionList;
    source = source_start(harness_directory());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    source_stop(source);
    return failed;
}
