/* SPDX-License-Identifier: BSD-2-Clause */
/* PKCS#11 2.40/3.0, "General-purpose functions", and DESIGN: initialization, C_Finalize, slot
 * events, configuration, cold start. */
#include "conf.h"
#include "harness.h"
#include "works.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- C_Initialize ---- */

static CK_RV mutex_new(void **m)
{
    *m = malloc(sizeof(pthread_mutex_t));
    pthread_mutex_init(*m, NULL);
    return CKR_OK;
}
static CK_RV mutex_free(void *m)
{
    pthread_mutex_destroy(m);
    free(m);
    return CKR_OK;
}
static CK_RV mutex_lock(void *m)
{
    pthread_mutex_lock(m);
    return CKR_OK;
}
static CK_RV mutex_unlock(void *m)
{
    pthread_mutex_unlock(m);
    return CKR_OK;
}

static void test_initialize_arguments(void **state)
{
    (void)state;
    /* All subsets of the four callbacks, with and without CKF_OS_LOCKING_OK: all or none, else
     * CKR_ARGUMENTS_BAD */
    for (unsigned subset = 0; subset < 16; subset++)
        for (unsigned os = 0; os < 2; os++) {
            expect_case("callbacks %x, OS locking %u", subset, os);
            CK_C_INITIALIZE_ARGS a = {
                .CreateMutex = subset & 1 ? mutex_new : NULL,
                .DestroyMutex = subset & 2 ? mutex_free : NULL,
                .LockMutex = subset & 4 ? mutex_lock : NULL,
                .UnlockMutex = subset & 8 ? mutex_unlock : NULL,
                .flags = os ? CKF_OS_LOCKING_OK : 0,
            };
            if (subset == 0 || subset == 15) {
                if (!expect_ok(f->C_Initialize(&a)))
                    continue;
                token_works();
                expect_rv(CKR_CRYPTOKI_ALREADY_INITIALIZED, f->C_Initialize(&a));
                expect_ok(f->C_Finalize(NULL));
            } else {
                expect_rv(CKR_ARGUMENTS_BAD, f->C_Initialize(&a));
                expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_Finalize(NULL));
            }
        }
    expect_case("may not create threads");
    CK_C_INITIALIZE_ARGS a = {.flags = CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS};
    /* Nothing in this configuration needs a thread (no prefetch). */
    if (expect_rv_in(f->C_Initialize(&a), CKR_OK, CKR_NEED_TO_CREATE_THREADS))
        if (f->C_Finalize(NULL) == CKR_OK)
            expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_Finalize(NULL));
}

static void test_initialize_reserved(void **state)
{
    (void)state;
    char text[600];
    CK_C_INITIALIZE_ARGS a = {.flags = CKF_OS_LOCKING_OK, .pReserved = text};
    unsetenv("PPK_CONF");
    snprintf(text, sizeof text, "config=%s", harness_conf_path());
    expect_case("%s", "config=PATH");
    if (expect_ok(f->C_Initialize(&a))) {
        token_works();
        expect_ok(f->C_Finalize(NULL));
    }
    static const char *const quoted[] = {"config=\"%s\"", "config='%s'", " config=%s ", "config=%s other=1"};
    for (size_t i = 0; i < sizeof quoted / sizeof *quoted; i++) {
        const char *place = strstr(quoted[i], "%s");
        snprintf(text, sizeof text, "%.*s%s%s", (int)(place - quoted[i]), quoted[i], harness_conf_path(),
                 place + 2);
        expect_case("pReserved \"%s\"", text);
        CK_RV rv = f->C_Initialize(&a);
        if (i < 3)
            expect_rv(CKR_OK, rv);
        else
            expect_rv_in(rv, CKR_OK, CKR_ARGUMENTS_BAD);
        if (rv == CKR_OK) {
            token_works();
            expect_ok(f->C_Finalize(NULL));
        }
    }
    static const char *const wrong[] = {
        "nonsense", "config", "config=", "=", "konfig=/dev/null", "config=/nonexistent/ppk.conf", " "};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(text, sizeof text, "%s", wrong[i]);
        expect_case("pReserved \"%s\"", wrong[i]);
        harness_log_clear();
        expect_error(f->C_Initialize(&a));
        expect(*harness_log() != '\0', "nothing is in the log");
        expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_Finalize(NULL));
    }
    expect_case("a long pReserved");
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    expect_error(f->C_Initialize(&a));
    memcpy(text, "config=/", 8);
    expect_error(f->C_Initialize(&a));
    expect_case("an empty pReserved");
    *text = '\0';
    setenv("PPK_CONF", harness_conf_path(), 1);
    if (expect_ok(f->C_Initialize(&a)))
        expect_ok(f->C_Finalize(NULL));
}

static void test_initialize_twice(void **state)
{
    (void)state;
    expect_ok(f->C_Initialize(NULL));
    for (int i = 0; i < 3; i++)
        expect_rv(CKR_CRYPTOKI_ALREADY_INITIALIZED, f->C_Initialize(NULL));
    token_works();
    int some = 0;
    expect_rv(CKR_ARGUMENTS_BAD, f->C_Finalize(&some));
    token_works();
    expect_ok(f->C_Finalize(NULL));
    expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_Finalize(NULL));
    for (int i = 0; i < 50; i++) {
        expect_ok(f->C_Initialize(NULL));
        expect_ok(f->C_Finalize(NULL));
    }
    expect_ok(f->C_Initialize(NULL));
    token_works();
    expect_ok(f->C_Finalize(NULL));
}

/* A callback that initializes again, as libraries do that load all tokens: it gets an answer, and nobody
 * waits for himself. */
static unsigned recursions;
static CK_RV mutex_new_recursive(void **m)
{
    if (recursions++ == 0)
        expect_rv_in(f->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED, CKR_FUNCTION_FAILED,
                     CKR_GENERAL_ERROR);
    return mutex_new(m);
}

static void test_initialize_recursive(void **state)
{
    (void)state;
    CK_C_INITIALIZE_ARGS a = {.CreateMutex = mutex_new_recursive,
                              .DestroyMutex = mutex_free,
                              .LockMutex = mutex_lock,
                              .UnlockMutex = mutex_unlock};
    alarm(20);
    if (expect_ok(f->C_Initialize(&a))) {
        token_works();
        expect_ok(f->C_Finalize(NULL));
    }
    alarm(0);
}

#define RACERS 8
static pthread_barrier_t line;
static void *race(void *result)
{
    CK_ULONG n = 0;
    pthread_barrier_wait(&line);
    *(CK_RV *)result = f->C_Initialize(NULL);
    /* Whoever is told that it is initialized may rely on it at once. */
    expect_ok(f->C_GetSlotList(CK_TRUE, NULL, &n));
    expect(n == 2, "%lu slots", n);
    return NULL;
}

static void test_initialize_race(void **state)
{
    (void)state;
    pthread_barrier_init(&line, NULL, RACERS);
    for (int round = 0; round < 30; round++) {
        pthread_t t[RACERS];
        CK_RV rv[RACERS];
        int won = 0, lost = 0;
        for (int i = 0; i < RACERS; i++)
            pthread_create(&t[i], NULL, race, &rv[i]);
        for (int i = 0; i < RACERS; i++) {
            pthread_join(t[i], NULL);
            won += rv[i] == CKR_OK;
            lost += rv[i] == CKR_CRYPTOKI_ALREADY_INITIALIZED;
        }
        expect(won == 1 && lost == RACERS - 1, "%d won, %d lost", won, lost);
        expect_ok(f->C_Finalize(NULL));
    }
    pthread_barrier_destroy(&line);
}

/* Threads that are inside of calls when C_Finalize comes: each call ends, with its result or with what is
 * said about an end. */
static atomic_bool ended;
static void *call_until_finalized(void *unused)
{
    (void)unused;
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    CK_ATTRIBUTE id = {CKA_ID, (void *)(uintptr_t)MANUAL_1_ID, sizeof MANUAL_1_ID - 1};
    while (!atomic_load(&ended)) {
        CK_SLOT_ID slots[8];
        CK_ULONG n = 8, len = 64;
        CK_SESSION_HANDLE s = 0;
        CK_OBJECT_HANDLE o = 0;
        uint8_t mac[64], data[100] = {0};
        CK_RV rv = f->C_GetSlotList(CK_TRUE, slots, &n);
        if (rv == CKR_OK)
            rv = f->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &s);
        if (rv == CKR_OK)
            rv = f->C_FindObjectsInit(s, &id, 1);
        if (rv == CKR_OK)
            rv = f->C_FindObjects(s, &o, 1, &n);
        if (rv == CKR_OK)
            rv = f->C_FindObjectsFinal(s);
        if (rv == CKR_OK)
            rv = f->C_SignInit(s, &hmac, o);
        if (rv == CKR_OK)
            rv = f->C_Sign(s, data, sizeof data, mac, &len);
        if (rv == CKR_OK)
            rv = f->C_CloseSession(s);
        /* Finalized and initialized again in the middle: the handle is of another life. */
        expect_rv_in(rv, CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SESSION_HANDLE_INVALID);
    }
    return NULL;
}

static void test_finalize_in_flight(void **state)
{
    (void)state;
    pthread_t t[4];
    atomic_store(&ended, false);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, call_until_finalized, NULL);
    for (int round = 0; round < 30; round++) {
        expect_ok(f->C_Initialize(NULL));
        usleep(3000);
        uint64_t start = harness_ms();
        expect_ok(f->C_Finalize(NULL));
        expect(harness_ms() - start < 5000, "C_Finalize took %lu ms", (unsigned long)(harness_ms() - start));
    }
    atomic_store(&ended, true);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

static void test_wait_for_slot_event(void **state)
{
    (void)state;
    CK_SLOT_ID slot = 77;
    CK_RV rv[3] = {0};
    pthread_t t[3];
    expect_ok(f->C_Initialize(NULL));
    expect_rv(CKR_NO_EVENT, f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, NULL));
    expect(slot == 77, "the slot was written");
    expect_rv(CKR_ARGUMENTS_BAD, f->C_WaitForSlotEvent(CKF_DONT_BLOCK, NULL, NULL));
    expect_rv(CKR_ARGUMENTS_BAD, f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, &slot));
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, wait_for_event, &rv[i]);
    usleep(50000);
    token_works(); /* no lock is held by those who wait */
    for (int i = 0; i < 3; i++)
        expect_rv(CKR_OK, rv[i]); /* still unset: they wait */
    alarm(20);
    expect_ok(f->C_Finalize(NULL));
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
        expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, rv[i]);
    }
    alarm(0);
}

/* ---- configuration ---- */

static void expect_refused(const char *text, mode_t mode, const char *const *in_log)
{
    harness_conf("%s", text);
    chmod(harness_conf_path(), mode);
    harness_log_clear();
    expect_rv_in(f->C_Initialize(NULL), CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_DEVICE_ERROR,
                 CKR_ARGUMENTS_BAD);
    const char *log = harness_log();
    for (; *in_log; in_log++)
        expect(strstr(log, *in_log) != NULL, "\"%s\" is not in the log: %s", *in_log, log);
    expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_Finalize(NULL));
}

static void test_wrong_configuration(void **state)
{
    (void)state;
    expect_case("an unknown command");
    expect_refused("keyring a\n peer b\n  nonsense\n", 0600, (const char *const[]){"ppk.conf:3: ", NULL});
    expect_case("several mistakes");
    expect_refused("keyring a\n peer b\n  address 10.0.0.0.0 255.0.0.0\n  ppk dynamic nowhere\n  ppk manual "
                   "id x key hex 0g\n",
                   0600, (const char *const[]){"ppk.conf:3: ", "ppk.conf:4: ", "ppk.conf:5: ", NULL});
    expect_case("a PPK of 31 bytes");
    expect_refused("keyring a\n peer b\n  ppk manual id x key hex "
                   "00112233445566778899aabbccddeeff00112233445566778899aabbccddee\n",
                   0600, (const char *const[]){"ppk.conf:3: ", NULL});
    expect_case("others may write it");
    expect_refused(CONF_MANUAL, 0602, (const char *const[]){"ppk.conf", NULL});
    expect_refused(CONF_MANUAL, 0620, (const char *const[]){"ppk.conf", NULL});
    expect_case("others may read its secrets");
    expect_refused(CONF_MANUAL, 0604, (const char *const[]){"ppk.conf", NULL});
    expect_case("the secret is not in the log");
    expect(strstr(harness_log(), MANUAL_1_HEX) == NULL && strstr(harness_log(), PSK_ALPHA) == NULL, "it is");
    expect_refused("keyring a\n peer b\n  pre-shared-key 9 " PSK_ALPHA " x\n", 0600,
                   (const char *const[]){"ppk.conf:3: ", NULL});
    expect(strstr(harness_log(), PSK_ALPHA) == NULL, "it is: %s", harness_log());

    expect_case("no file");
    unlink(harness_conf_path());
    harness_log_clear();
    expect_error(f->C_Initialize(NULL));
    expect(strstr(harness_log(), "ppk.conf") != NULL, "the log does not name it: %s", harness_log());
    expect_case("a directory");
    setenv("PPK_CONF", "/", 1);
    expect_error(f->C_Initialize(NULL));
    expect_case("a device without end");
    setenv("PPK_CONF", "/dev/zero", 1);
    expect_error(f->C_Initialize(NULL));
    setenv("PPK_CONF", harness_conf_path(), 1);

    expect_case("then a good one");
    harness_conf("%s", CONF_MANUAL);
    expect_ok(f->C_Initialize(NULL));
    token_works();
    expect_ok(f->C_Finalize(NULL));
}

static bool mapped(const char *what)
{
    char line_text[600];
    bool found = false;
    FILE *in = fopen("/proc/self/maps", "r");
    assert_non_null(in);
    while (fgets(line_text, sizeof line_text, in))
        found |= strstr(line_text, what) != NULL;
    fclose(in);
    return found;
}

/* Load, C_Initialize, open, empty search: no transport yet, with dynamic peers configured. First test of all.
 */
static void test_cold_start(void **state)
{
    (void)state;
    harness_conf(CONF_MANUAL CONF_DYNAMIC CONF_PSK, 1U);
    expect_ok(f->C_Initialize(NULL));
    CK_SESSION_HANDLE s = harness_session("dynamic");
    struct template none = {.n = 0};
    object_search(s, &none, NULL, 0, NULL);
    expect(mapped("ppk-pkcs11"), "this test cannot see the module itself");
    static const char *const not [] = {"libcurl", "ppk-skip", "jansson", "nghttp2", "libssh"};
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
        expect(!mapped(not [i]), "%s is loaded", not [i]);
    expect_ok(f->C_Finalize(NULL));
    harness_conf("%s", CONF_MANUAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_cold_start),           TOKEN_TEST(test_initialize_arguments),
        TOKEN_TEST(test_initialize_reserved),  TOKEN_TEST(test_initialize_twice),
        TOKEN_TEST(test_initialize_recursive), TOKEN_TEST(test_initialize_race),
        TOKEN_TEST(test_finalize_in_flight),   TOKEN_TEST(test_wait_for_slot_event),
        TOKEN_TEST(test_wrong_configuration),
    };
    works_prepare();
    (void)harness_load();
    harness_conf("%s", CONF_MANUAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
