/* SPDX-License-Identifier: BSD-2-Clause */
#include "module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __clang__
#define NOT_INSTRUMENTED __attribute__((no_sanitize("coverage")))
#else
#define NOT_INSTRUMENTED
#endif

const CK_FUNCTION_LIST_3_0 *f;

static const char configuration[] =
    "keyring main\n"
    " peer alpha\n"
    "  ppk manual id one key hex " KEY_MARK_HEX "0102030405060708090a0b0c0d0e0f1011121314 required\n"
    "  pre-shared-key hex " KEY_MARK_HEX "aabbccdd\n"
    "  address 10.1.0.0 255.255.0.0\n"
    " peer beta\n"
    "  ppk manual id two key hex " KEY_MARK_HEX "2102030405060708090a0b0c0d0e0f1011121314\n"
    "keyring strict\n"
    " derived-keys sensitive\n"
    " key-encryption-key card key hex " KEY_MARK_HEX "5102030405060708090a0b0c0d0e0f1011121314\n"
    " peer gamma\n"
    "  ppk manual id three key hex " KEY_MARK_HEX "3102030405060708090a0b0c0d0e0f1011121314\n"
    "  pre-shared-key hex " KEY_MARK_HEX "11223344\n"
    "keyring dynamic\n"
    " peer p1\n"
    "  ppk dynamic s required\n"
    "  remote-system-id Bob\n"
    "  address 10.0.0.1 255.0.0.0\n"
    " peer p2\n"
    "  ppk dynamic s\n"
    "  remote-system-id Carol\n"
    "sks profile s type remote\n"
    " kme server ipv4 127.0.0.1 port 1\n"
    " tls psk id fuzz key hex " KEY_MARK_HEX "4102030405060708090a0b0c0d0e0f1011121314\n"
    " timeout 1000\n";

static char conf_path[] = "/tmp/ppk-fuzz-XXXXXX";

static void conf_remove(void)
{
    (void)unlink(conf_path);
}

static void conf_write(void)
{
    int fd = mkstemp(conf_path);

    if (fd < 0 || write(fd, configuration, strlen(configuration)) != (ssize_t)strlen(configuration)) {
        perror(conf_path);
        exit(1);
    }
    (void)close(fd);
    (void)atexit(conf_remove);
    (void)setenv("PPK_CONF", conf_path, 1);
}

void module_load(void)
{
    CK_RV (*get)(CK_UTF8CHAR *, CK_VERSION *, CK_INTERFACE **, CK_FLAGS) = NULL;
    CK_INTERFACE *interface = NULL;
    CK_VERSION version = {3, 0};
    CK_RV rv = CKR_OK;
    void *dl;

    if (f != NULL)
        return;
    (void)setenv("PPK_LOG", "none", 0);
    conf_write();
    dl = dlopen(FUZZ_MODULE, RTLD_NOW | RTLD_LOCAL);
    if (dl != NULL)
        *(void **)&get = dlsym(dl, "C_GetInterface");
    if (get == NULL || get((CK_UTF8CHAR *)"PKCS 11", &version, &interface, 0) != CKR_OK) {
        (void)fprintf(stderr, "cannot load %s: %s\n", FUZZ_MODULE, dlerror());
        exit(1);
    }
    f = interface->pFunctionList;
    rv = f->C_Initialize(NULL);
    if (rv != CKR_OK) {
        (void)fprintf(stderr, "C_Initialize: 0x%lx\n", rv);
        exit(1);
    }
}

void module_must(bool holds, const char *what, const char *file, int line)
{
    if (holds)
        return;
    (void)fprintf(stderr, "%s:%d: %s\n", file, line, what);
    abort();
}

/* Not instrumented, and without memcmp(): the fuzzer would learn the mark, and put it into its inputs. */
NOT_INSTRUMENTED void module_no_key(const void *data, size_t len)
{
    static const volatile uint8_t mark[KEY_MARK_LEN] = KEY_MARK;
    const uint8_t *p = data;

    for (size_t i = 0; p != NULL && i + KEY_MARK_LEN <= len; i++) {
        size_t same = 0;
        while (same < KEY_MARK_LEN && p[i + same] == mark[same])
            same++;
        must(same < KEY_MARK_LEN);
    }
}
