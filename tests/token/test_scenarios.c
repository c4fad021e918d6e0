/* SPDX-License-Identifier: BSD-2-Clause */
/* What may end the process, or must not write to its output: exit, fork, dlclose. Each scenario runs in a
 * process of its own: `token_scenarios SCENARIO`. */
#include "conf.h"
#include "every.h"
#include "harness.h"
#include "works.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *module;
static const CK_ULONG zeros[10];

/* ---- scenarios: each returns with expectations counted ---- */

static void scenario_quiet(void)
{
    expect_ok(f->C_Initialize(NULL));
    token_works();
    expect_ok(f->C_Finalize(NULL));
    harness_conf("keyring\nnonsense here\n");
    expect_error(f->C_Initialize(NULL));
    unlink(harness_conf_path());
    expect_error(f->C_Initialize(NULL));
}

/* Without PPK_LOG nothing goes to the output either. */
static void scenario_quiet_by_default(void)
{
    unsetenv("PPK_LOG");
    scenario_quiet();
}

static void scenario_exit_without_finalize(void)
{
    expect_ok(f->C_Initialize(NULL));
    token_works();
}

static void scenario_exit_without_finalize_openssl_host(void)
{
    uint8_t out[32];
    unsigned n;
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);
    EVP_Digest("x", 1, out, &n, md, NULL);
    expect_ok(f->C_Initialize(NULL));
    token_works();
    EVP_MD_free(md);
    OPENSSL_cleanup();
}

static void scenario_exit_with_waiting_thread(void)
{
    pthread_t t;
    static CK_RV rv;
    expect_ok(f->C_Initialize(NULL));
    pthread_create(&t, NULL, wait_for_event, &rv);
    pthread_detach(t);
    token_works();
    usleep(20000);
}

static void finalize(void)
{
    if (f->C_Finalize(NULL) != CKR_OK)
        _exit(3);
}

/* As many hosts do, in a handler that runs after or before OpenSSL's own */
static void scenario_finalize_at_exit(void)
{
    atexit(finalize);
    expect_ok(f->C_Initialize(NULL));
    token_works();
}

static void scenario_finalize_at_exit_late(void)
{
    expect_ok(f->C_Initialize(NULL));
    token_works();
    atexit(finalize);
}

static void scenario_dlclose(void)
{
    expect_ok(f->C_Initialize(NULL));
    token_works();
    expect_ok(f->C_Finalize(NULL));
    dlclose(module);
    module = dlopen(harness_module(), RTLD_NOW | RTLD_LOCAL);
    expect(module != NULL, "%s", dlerror());
    expect_ok(f->C_Initialize(NULL)); /* -z nodelete: the code is where it was */
    token_works();
    expect_ok(f->C_Finalize(NULL));
    dlclose(module);
}

static void scenario_dlclose_with_threads(void)
{
    pthread_t t;
    CK_RV rv = 0;
    expect_ok(f->C_Initialize(NULL));
    pthread_create(&t, NULL, wait_for_event, &rv);
    usleep(20000);
    dlclose(module);
    token_works();
    expect_ok(f->C_Finalize(NULL));
    pthread_join(t, NULL);
    expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, rv);
}

/* In a forked child; ends it. */
_Noreturn static void child_of_fork(CK_SESSION_HANDLE parents_session, bool finalize_first, bool by_exit)
{
    static CK_SESSION_INFO info;
    alarm(30);
    for (size_t i = 0; i < EVERY_2_40; i++)
        if (!every_needs_no_init(i)) {
            expect_case("after fork, %s", every_name[i]);
            expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, every_call(f, i, zeros));
        }
    expect_case("after fork");
    if (finalize_first)
        expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_Finalize(NULL));
    expect_ok(f->C_Initialize(NULL));
    token_works();
    expect_rv(CKR_SESSION_HANDLE_INVALID, f->C_GetSessionInfo(parents_session, &info));
    expect_rv(CKR_CRYPTOKI_ALREADY_INITIALIZED, f->C_Initialize(NULL));
    expect_ok(f->C_Finalize(NULL));
    expect_ok(f->C_Initialize(NULL));
    token_works();
    expect_ok(f->C_Finalize(NULL));
    expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, f->C_Finalize(NULL));
    if (by_exit)
        exit(expect_failures() ? 1 : 0);
    _exit(expect_failures() ? 1 : 0);
}

static void expect_child_well(pid_t child)
{
    int status = 0;
    expect(child > 0, "fork failed");
    waitpid(child, &status, 0);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status 0x%x",
           (unsigned)status);
}

static void fork_and_check(bool with_thread)
{
    static CK_SESSION_INFO info;
    static CK_RV waited;
    pthread_t t;
    CK_SESSION_HANDLE s = 0;
    CK_SLOT_ID slots[8];
    CK_ULONG n = 8;
    expect_ok(f->C_Initialize(NULL));
    token_works();
    expect_ok(f->C_GetSlotList(CK_TRUE, slots, &n));
    expect_ok(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &s));
    if (with_thread) {
        pthread_create(&t, NULL, wait_for_event, &waited);
        usleep(20000);
    }
    for (int kind = 0; kind < 4; kind++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0)
            child_of_fork(s, kind & 1, kind & 2);
        expect_child_well(child);
        expect_case("the parent");
        expect_ok(f->C_GetSessionInfo(s, &info));
        token_works();
    }
    expect_ok(f->C_Finalize(NULL));
    if (with_thread) {
        pthread_join(t, NULL);
        expect_rv(CKR_CRYPTOKI_NOT_INITIALIZED, waited);
    }
}

static void scenario_fork(void)
{
    fork_and_check(false);
}

static void scenario_fork_with_threads(void)
{
    fork_and_check(true);
}

/* Forked while other threads are inside of calls, so that locks may be held at that moment */
static atomic_bool stop;
static void *busy(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop))
        token_works();
    return NULL;
}

static void scenario_fork_while_busy(void)
{
    pthread_t t[2];
    expect_ok(f->C_Initialize(NULL));
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, busy, NULL);
    for (int i = 0; i < 20; i++) {
        usleep(1000);
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            CK_INFO info;
            bool well =
                f->C_GetInfo(&info) == CKR_CRYPTOKI_NOT_INITIALIZED && f->C_Initialize(NULL) == CKR_OK;
            if (well)
                token_works();
            _exit(well && expect_failures() == 0 && f->C_Finalize(NULL) == CKR_OK ? 0 : 1);
        }
        expect_child_well(child);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    expect_ok(f->C_Finalize(NULL));
}

/* A child that was forked before C_Initialize is no child of the token's. */
static void scenario_fork_before(void)
{
    pid_t child = fork();
    if (child == 0) {
        expect_ok(f->C_Initialize(NULL));
        token_works();
        _exit(expect_failures() ? 1 : 0);
    }
    expect_child_well(child);
    expect_ok(f->C_Initialize(NULL));
    token_works();
    expect_ok(f->C_Finalize(NULL));
}

static const struct {
    const char *name;
    void (*run)(void);
    bool forks_threads; /* forks a process with threads: TSan cannot follow */
} scenarios[] = {
    {"quiet", scenario_quiet, false},
    {"quiet_by_default", scenario_quiet_by_default, false},
    {"exit_without_finalize", scenario_exit_without_finalize, false},
    {"exit_without_finalize_openssl_host", scenario_exit_without_finalize_openssl_host, false},
    {"exit_with_waiting_thread", scenario_exit_with_waiting_thread, false},
    {"finalize_at_exit", scenario_finalize_at_exit, false},
    {"finalize_at_exit_late", scenario_finalize_at_exit_late, false},
    {"dlclose", scenario_dlclose, false},
    {"dlclose_with_threads", scenario_dlclose_with_threads, false},
    {"fork", scenario_fork, false},
    {"fork_with_threads", scenario_fork_with_threads, true},
    {"fork_while_busy", scenario_fork_while_busy, true},
    {"fork_before", scenario_fork_before, false},
};

static int scenario_main(const char *name)
{
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (strcmp(scenarios[i].name, name) == 0) {
            alarm(60);
            module = harness_load();
            harness_conf("%s", CONF_MANUAL);
            scenarios[i].run();
            return expect_failures() ? 1 : 0;
        }
    fprintf(stderr, "no scenario %s\n", name);
    return 2;
}

static void test_scenarios(void **state)
{
    (void)state;
    char self[256], output_path[256];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    snprintf(output_path, sizeof output_path, "%s/output", harness_directory());
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (HARNESS_TSAN && scenarios[i].forks_threads)
            continue;
        /* ASan's own allocator is not fork-safe: a child may find its locks held. */
        if (HARNESS_ASAN && scenarios[i].run == scenario_fork_while_busy)
            continue;
        expect_case("scenario %s", scenarios[i].name);
        pid_t child = fork();
        if (child == 0) {
            int fd = open(output_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
            dup2(fd, 1);
            dup2(fd, 2);
            /* A child forgets what was its parent's, by intention. */
            if (strstr(scenarios[i].name, "fork"))
                setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
            execl(self, self, scenarios[i].name, (char *)NULL);
            _exit(127);
        }
        int status = 0;
        waitpid(child, &status, 0);
        char output[4000] = "";
        FILE *in = fopen(output_path, "r");
        assert_non_null(in);
        (void)!fread(output, 1, sizeof output - 1, in);
        fclose(in);
        expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x", (unsigned)status);
        expect(*output == '\0', "wrote: %s", output);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_scenarios)};
    works_prepare();
    if (argc == 2)
        return scenario_main(argv[1]);
    module = harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
