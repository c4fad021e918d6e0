/* SPDX-License-Identifier: BSD-2-Clause */
#include "skip/loader.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static bool is_mapped(const char *what)
{
    bool found = false;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps))
        found = found || strstr(line, what);
    fclose(maps);
    return found;
}

/* Nothing of it is there before the first need, not even for a profile. */
static void not_loaded_early(void **state)
{
    struct kme_server server = {.kind = KME_IPV4, .host = (char *)"127.0.0.1", .port = 1};
    struct sks_profile conf = {.name = (char *)"qkd", .servers = &server, .n_servers = 1, .timeout_ms = 100};
    (void)state;
    struct skip_profile *p = skip_profile_new(&conf);
    assert_non_null(p);
    assert_null(skip_loader_loaded());
    assert_false(is_mapped("libcurl"));
    assert_false(is_mapped("ppk-skip.so"));
    skip_profile_free(p);
    skip_shutdown();
}

static void *load(void *context)
{
    struct fault fault = {""};
    (void)context;
    return (void *)(uintptr_t)skip_loader_transport(&fault);
}

static void loaded_once(void **state)
{
    pthread_t threads[16];
    void *got[16];
    (void)state;
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load, NULL), 0);
    for (size_t i = 0; i < 16; i++) {
        pthread_join(threads[i], &got[i]);
        assert_non_null(got[i]);
        assert_ptr_equal(got[i], got[0]);
    }
    assert_ptr_equal(skip_loader_loaded(), got[0]);
    assert_true(is_mapped("libcurl"));
}

/* It exports its table and nothing else: no second arena that somebody could bind to. */
static void exports(void **state)
{
    (void)state;
    void *object = dlopen(PPK_BUILD_DIR "/lib/ppk-skip.so", RTLD_NOW | RTLD_LOCAL);
    assert_non_null(object);
    assert_non_null(dlsym(object, SKIP_TRANSPORT_SYMBOL));
    FILE *nm = popen("nm -D --defined-only " PPK_BUILD_DIR
                     "/lib/ppk-skip.so | grep -v ' [wV] ' | grep -v __asan | grep -v __odr | wc -l",
                     "r");
    int symbols = 0;
    assert_non_null(nm);
    assert_int_equal(fscanf(nm, "%d", &symbols), 1);
    pclose(nm);
    assert_int_equal(symbols, 1);
    assert_int_not_equal(system("nm " PPK_BUILD_DIR "/lib/ppk-skip.so | grep -qw secmem_alloc"), 0);
    dlclose(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_loaded_early),
        cmocka_unit_test(loaded_once),
        cmocka_unit_test(exports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
