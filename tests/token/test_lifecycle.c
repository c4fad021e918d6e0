/* SPDX-License-Identifier: BSD-2-Clause */
/* PKCS#11 2.40/3.0, "General-purpose functions", and DESIGN: initialization, function lists, C_Finalize,
 * slot events, configuration, cold start. */
#include "conf.h"
#include "every.h"
#include "harness.h"
#include "works.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct interface {
    CK_UTF8CHAR *name;
    struct every_list *list;
    CK_FLAGS flags;
};

static void *module;
static CK_RV (*get_interface)(CK_UTF8CHAR *, CK_VERSION *, struct interface **, CK_FLAGS);
static CK_RV (*get_interface_list)(struct interface *, CK_ULONG *);

static const CK_ULONG zeros[10];
/* ---- function lists ---- */

static void test_function_list(void **state)
{
    (void)state;
    const struct every_list *list = (const void *)f;
    expect(f->version.major == 2 && f->version.minor == 40, "version %d.%d", f->version.major,
           f->version.minor);
    for (size_t i = 0; i < EVERY_2_40; i++) {
        expect_case("%s", every_name[i]);
        expect(list->functions[i] != NULL, "is NULL");
        expect(dlsym(module, every_name[i]) == NULL || dlsym(module, every_name[i]) == list->functions[i],
               "the exported function is another one");
    }
    expect_case("%s", "");
    expect_rv(CKR_ARGUMENTS_BAD, f->C_GetFunctionList(NULL));
    CK_FUNCTION_LIST *again = NULL;
    expect_ok(f->C_GetFunctionList(&again));
    expect(again == f, "another list");
    /* All of them are exported, so that nobody finds another library's (aws-kms-pkcs11#49). */
    static const char *const exported[] = {"C_GetFunctionList", "C_GetInterfaceList", "C_GetInterface"};
    for (size_t i = 0; i < 3; i++)
        expect(dlsym(module, exported[i]) != NULL, "%s is not exported", exported[i]);
}

static void test_interfaces(void **state)
{
    (void)state;
    static CK_UTF8CHAR name[] = "PKCS 11", vendor_name[] = "Vendor Other", prefix[] = "PKCS";
    struct interface list[8], *i = NULL;
    CK_ULONG n = 0;
    require(get_interface && get_interface_list, "not exported");
    expect_rv(CKR_ARGUMENTS_BAD, get_interface_list(NULL, NULL));
    expect_rv(CKR_ARGUMENTS_BAD, get_interface_list(list, NULL));
    expect_ok(get_interface_list(NULL, &n));
    require(n >= 2 && n <= 8, "%lu interfaces", n);
    CK_ULONG few = 1;
    memset(list, 0, sizeof list);
    expect_rv(CKR_BUFFER_TOO_SMALL, get_interface_list(list, &few));
    expect(few == n && list[0].name == NULL, "count %lu", few);
    CK_ULONG many = 8;
    expect_ok(get_interface_list(list, &many));
    expect(many == n, "%lu, then %lu", n, many);
    bool v2 = false, v3 = false;
    for (CK_ULONG k = 0; k < n; k++) {
        expect(strcmp((char *)list[k].name, "PKCS 11") == 0, "the name is \"%s\"", (char *)list[k].name);
        /* Fork safe, as 3.0 defines it, is what keeps sessions in the child: ours has to initialize again. */
        expect(list[k].flags == 0, "flags 0x%lx", list[k].flags);
        v2 |= list[k].list->version.major == 2 && list[k].list->version.minor == 40;
        if (list[k].list->version.major == 3) {
            v3 = true;
            for (size_t x = 0; x < EVERY_3_0; x++)
                expect(list[k].list->functions[x] != NULL, "3.0: %s is NULL", every_name[x]);
        }
    }
    expect(v2 && v3, "2.40: %d, 3.x: %d", v2, v3);

    CK_VERSION two = {2, 40}, three = {3, 0}, nine = {9, 9}, twenty = {2, 20};
    expect_rv(CKR_ARGUMENTS_BAD, get_interface(NULL, NULL, NULL, 0));
    expect_rv(CKR_ARGUMENTS_BAD, get_interface(name, &three, NULL, 0));
    const struct {
        CK_UTF8CHAR *name;
        CK_VERSION *version;
        CK_FLAGS flags;
        int major; /* 0: none matches */
        int minor;
    } cases[] = {
        {NULL, NULL, 0, 3, 0},        {name, NULL, 0, 3, 0},          {NULL, &three, 0, 3, 0},
        {name, &three, 0, 3, 0},      {NULL, &two, 0, 2, 40},         {name, &two, 0, 2, 40},
        {NULL, &nine, 0, 0, 0},       {name, &nine, 0, 0, 0},         {name, &twenty, 0, 0, 0},
        {vendor_name, NULL, 0, 0, 0}, {vendor_name, &three, 0, 0, 0}, {prefix, NULL, 0, 0, 0},
        {NULL, NULL, 1, 0, 0},        {name, &three, 1, 0, 0},        {name, NULL, 1UL << 63, 0, 0},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        expect_case("C_GetInterface case %zu", k);
        i = NULL;
        CK_RV rv = get_interface(cases[k].name, cases[k].version, &i, cases[k].flags);
        if (!cases[k].major) {
            expect_rv_in(rv, CKR_FUNCTION_FAILED, CKR_ARGUMENTS_BAD);
            continue;
        }
        if (expect_rv(CKR_OK, rv) && expect(i != NULL, "no interface"))
            expect(i->list->version.major == cases[k].major && i->list->version.minor == cases[k].minor,
                   "version %d.%d", i->list->version.major, i->list->version.minor);
    }
}

static void test_exports(void **state)
{
    (void)state;
    char command[400], line[400];
    if (HARNESS_ASAN || HARNESS_TSAN)
        skip();
    snprintf(command, sizeof command, "nm -D --defined-only '%s'", harness_module());
    FILE *in = popen(command, "r");
    assert_non_null(in);
    int n = 0;
    while (fgets(line, sizeof line, in)) {
        char symbol[300] = "";
        sscanf(line, "%*s %*s %299s", symbol);
        expect(strncmp(symbol, "C_", 2) == 0, "%s is exported", symbol);
        n++;
    }
    expect(pclose(in) == 0, "nm failed");
    expect(n >= 3, "only %d symbols", n);
}

/* ---- before and after ---- */

static void expect_not_initialized(const void *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!every_needs_no_init(i)) {
            expect_case("%s", every_name[i]);
            expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, every_call(list, i, zeros));
        }
}

static struct every_list *list_3_0(void)
{
    static CK_UTF8CHAR name[] = "PKCS 11";
    CK_VERSION three = {3, 0};
    struct interface *i = NULL;
    require(get_interface && get_interface(name, &three, &i, 0) == CKR_OK, "no 3.0");
    return i->list;
}

static void test_not_initialized(void **state)
{
    (void)state;
    expect_not_initialized(f, EVERY_2_40);
    expect_not_initialized(list_3_0(), EVERY_3_0);
    expect_ok(f->C_Initialize(NULL));
    expect_ok(f->C_Finalize(NULL));
    expect_not_initialized(f, EVERY_2_40);
    expect_not_initialized(list_3_0(), EVERY_3_0);
}

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

/* ---- hostile arguments to everything ---- */

static bool begins_with_pointer(size_t i)
{
    return strcmp(every_name[i], "C_GetInfo") == 0 || every_needs_no_init(i);
}

static void test_zero_arguments(void **state)
{
    (void)state;
    CK_SESSION_HANDLE s;
    struct every_list *list = list_3_0();
    expect_ok(f->C_Initialize(NULL));
    static const CK_SESSION_HANDLE wrong[] = {0, 1UL << 40, ~0UL};
    for (size_t i = 0; i < EVERY_3_0; i++) {
        static const char *const skipped[] = {"C_Initialize", "C_Finalize", "C_WaitForSlotEvent",
                                              "C_CloseAllSessions"};
        bool skip_it = false;
        for (size_t k = 0; k < 4; k++)
            skip_it |= strcmp(every_name[i], skipped[k]) == 0;
        if (skip_it)
            continue;
        expect_case("%s", every_name[i]);
        CK_RV rv = every_call(list, i, zeros);
        expect(rv != CKR_OK, "CKR_OK for zeros");
        for (size_t k = 0; k < 3 && !begins_with_pointer(i); k++) {
            CK_ULONG a[10] = {wrong[k]};
            rv = every_call(list, i, a);
            expect(rv != CKR_OK && rv != CKR_CRYPTOKI_NOT_INITIALIZED, "session 0x%lx: %s", wrong[k],
                   rv_name(rv));
        }
    }
    expect_case("a good session, nothing else");
    s = harness_session_rw("main");
    for (size_t i = 0; i < EVERY_3_0; i++) {
        static const char *const fine[] = {"C_Initialize",       "C_Finalize",       "C_CloseSession",
                                           "C_CloseAllSessions", "C_GetSlotList",    "C_WaitForSlotEvent",
                                           "C_SeedRandom",       "C_GenerateRandom", "C_SessionCancel"};
        bool skip_it = false;
        for (size_t k = 0; k < sizeof fine / sizeof *fine; k++)
            skip_it |= strcmp(every_name[i], fine[k]) == 0;
        if (skip_it || begins_with_pointer(i))
            continue;
        expect_case("%s", every_name[i]);
        CK_ULONG a[10] = {s};
        CK_RV rv = every_call(list, i, a);
        if (strcmp(every_name[i], "C_FindObjectsInit") == 0) {
            expect_rv(CKR_OK, rv); /* no attributes: all objects */
            expect_ok(f->C_FindObjectsFinal(s));
        } else if (strstr(every_name[i], "AttributeValue")) {
            expect_rv_in(rv, CKR_OBJECT_HANDLE_INVALID, CKR_ARGUMENTS_BAD);
        } else if (strcmp(every_name[i], "C_SignInit") == 0 || strcmp(every_name[i], "C_VerifyInit") == 0) {
            /* 3.0: no mechanism ends an operation. There is none. */
            expect_rv_in(rv, CKR_OK, CKR_ARGUMENTS_BAD, CKR_OPERATION_NOT_INITIALIZED);
        } else {
            expect(rv != CKR_OK, "CKR_OK");
        }
    }
    expect_ok(f->C_Finalize(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_cold_start),           TOKEN_TEST(test_function_list),
        TOKEN_TEST(test_interfaces),           TOKEN_TEST(test_exports),
        TOKEN_TEST(test_not_initialized),      TOKEN_TEST(test_initialize_arguments),
        TOKEN_TEST(test_initialize_reserved),  TOKEN_TEST(test_initialize_twice),
        TOKEN_TEST(test_initialize_recursive), TOKEN_TEST(test_initialize_race),
        TOKEN_TEST(test_finalize_in_flight),   TOKEN_TEST(test_wait_for_slot_event),
        TOKEN_TEST(test_wrong_configuration),  TOKEN_TEST(test_zero_arguments),
    };
    works_prepare();
    module = harness_load();
    harness_conf("%s", CONF_MANUAL);
    *(void **)&get_interface = dlsym(module, "C_GetInterface");
    *(void **)&get_interface_list = dlsym(module, "C_GetInterfaceList");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
