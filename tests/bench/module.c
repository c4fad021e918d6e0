/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

#include <dlfcn.h>
#include <stdlib.h>

/* NSS's softoken takes its parameters in a field of its own, where others have pReserved. */
struct init_args {
    CK_C_INITIALIZE_ARGS standard;
    void *reserved;
};

static char nss_parameters[] =
    "configdir='' certPrefix='' keyPrefix='' secmod='' flags=noModDB,readOnly,noCertDB";

static bool is_nss(const char *path)
{
    return strstr(path, "softokn") != NULL;
}

static bool failed(char *why, size_t size, const char *call, CK_RV rv)
{
    (void)snprintf(why, size, "%s: 0x%lx", call, rv);
    return false;
}

/* The slot for the work: the first with a token. */
static bool choose_slot(struct subject *s, char *why, size_t size)
{
    CK_ULONG n = 1;
    CK_RV rv = s->f->C_GetSlotList(CK_TRUE, &s->slot, &n);

    if (rv == CKR_BUFFER_TOO_SMALL) {
        CK_SLOT_ID slots[64];
        n = 64;
        rv = s->f->C_GetSlotList(CK_TRUE, slots, &n);
        s->slot = slots[0];
    }
    if (rv != CKR_OK || n == 0)
        return failed(why, size, "C_GetSlotList", rv);
    return true;
}

/* Its name and version: what C_GetInfo says, without the blanks. */
static void note_version(struct subject *s)
{
    CK_INFO info;

    if (s->f->C_GetInfo(&info) != CKR_OK)
        return;
    (void)snprintf(s->version, sizeof s->version, "%u.%u", info.libraryVersion.major,
                   info.libraryVersion.minor);
    s->ours = memcmp(info.manufacturerID, "ppk-pkcs11", 10) == 0;
}

bool module_load(struct subject *s, const char *path, char *why, size_t why_size)
{
    struct init_args args = {.standard = {.flags = CKF_OS_LOCKING_OK}};
    CK_C_GetFunctionList get = NULL;
    CK_RV rv = CKR_OK;
    void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!dl) {
        (void)snprintf(why, why_size, "%s", dlerror());
        return false;
    }
    *(void **)&get = dlsym(dl, is_nss(path) ? "NSC_GetFunctionList" : "C_GetFunctionList");
    if (!get) {
        (void)snprintf(why, why_size, "no C_GetFunctionList");
        return false;
    }
    rv = get(&s->f);
    if (rv != CKR_OK)
        return failed(why, why_size, "C_GetFunctionList", rv);
    if (is_nss(path))
        args.standard.pReserved = nss_parameters;
    uint64_t before = now_ns();
    rv = s->f->C_Initialize(&args);
    s->init_ns = now_ns() - before;
    if (rv != CKR_OK)
        return failed(why, why_size, "C_Initialize", rv);
    return true;
}

bool module_first_search(struct subject *s, char *why, size_t why_size)
{
    CK_BYTE id[] = "ppk-bench: no such object";
    CK_ATTRIBUTE wanted = {CKA_ID, id, sizeof id - 1};
    CK_SESSION_HANDLE session = 0;
    CK_OBJECT_HANDLE found = 0;
    CK_ULONG n = 0;

    if (!choose_slot(s, why, why_size))
        return false;
    CK_RV rv = s->f->C_OpenSession(s->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session);
    if (rv != CKR_OK)
        return failed(why, why_size, "C_OpenSession", rv);
    rv = s->f->C_FindObjectsInit(session, &wanted, 1);
    if (rv == CKR_OK)
        rv = s->f->C_FindObjects(session, &found, 1, &n);
    if (rv != CKR_OK || n != 0)
        return failed(why, why_size, "C_FindObjects", rv);
    (void)s->f->C_FindObjectsFinal(session);
    (void)s->f->C_CloseSession(session);
    return true;
}

uint64_t module_find_label(struct subject *s, char *label)
{
    CK_ATTRIBUTE wanted = {CKA_LABEL, label, strlen(label)};
    CK_SESSION_HANDLE session = 0;
    CK_OBJECT_HANDLE found = 0;
    uint64_t best = UINT64_MAX;
    CK_ULONG n = 1;

    if (s->f->C_OpenSession(s->slot, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
        return 0;
    for (int i = 0; i < 2000 && n == 1; i++) {
        uint64_t before = now_ns();
        if (s->f->C_FindObjectsInit(session, &wanted, 1) != CKR_OK ||
            s->f->C_FindObjects(session, &found, 1, &n) != CKR_OK ||
            s->f->C_FindObjectsFinal(session) != CKR_OK)
            n = 0;
        uint64_t took = now_ns() - before;
        best = took < best ? took : best;
    }
    return n == 1 ? best : 0;
}

uint64_t module_first_sign(struct subject *s)
{
    static CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    static CK_BBOOL yes = CK_TRUE;
    CK_BYTE value[32] = "a key for ppk-bench's first HMAC";
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class},
                               {CKA_KEY_TYPE, &type, sizeof type},
                               {CKA_SIGN, &yes, sizeof yes},
                               {CKA_VALUE, value, sizeof value}};
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_SESSION_HANDLE session = 0;
    CK_OBJECT_HANDLE key = 0;

    if (s->f->C_OpenSession(s->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) != CKR_OK ||
        s->f->C_CreateObject(session, template, sizeof template / sizeof *template, &key) != CKR_OK)
        return 0;
    uint64_t before = now_ns();
    return s->f->C_SignInit(session, &mechanism, key) == CKR_OK ? now_ns() - before : 0;
}

static bool has_mechanism(struct subject *s, CK_MECHANISM_TYPE m)
{
    CK_MECHANISM_INFO info;

    return s->f->C_GetMechanismInfo(s->slot, m, &info) == CKR_OK;
}

static bool write_file(const char *directory, const char *name, const char *text)
{
    char path[600];

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "we");
    if (!f)
        return false;
    bool ok = fputs(text, f) >= 0;
    return fclose(f) == 0 && ok;
}

/* A SoftHSM of its own, with one token. */
static bool softhsm_configure(const char *conf)
{
    char path[600], text[700];

    (void)snprintf(text, sizeof text,
                   "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", conf);
    (void)snprintf(path, sizeof path, "%s/softhsm2.conf", conf);
    return write_file(conf, "softhsm2.conf", text) && setenv("SOFTHSM2_CONF", path, 1) == 0;
}

static bool softhsm_initialize(struct subject *s)
{
    CK_BYTE pin[] = "1234", label[] = "bench                           ";
    CK_SLOT_ID slot = 0;
    CK_ULONG n = 1;

    return s->f->C_GetSlotList(CK_FALSE, &slot, &n) == CKR_OK && n == 1 &&
           s->f->C_InitToken(slot, pin, sizeof pin - 1, label) == CKR_OK;
}

/* A configuration with a keyring whose PPKs come from source.c, which takes the place of all key sources. */
static bool held_configure(const char *conf)
{
    static const char text[] = "keyring held\n peer nobody\n  ppk dynamic source\n  remote-system-id nobody\n"
                               "sks profile source type remote\n kme server ipv4 127.0.0.1 port 1\n";
    char path[600];

    (void)snprintf(path, sizeof path, "%s/held.conf", conf);
    return write_file(conf, "held.conf", text) && setenv("PPK_CONF", path, 1) == 0;
}

/* A configuration with a keyring, for our own module, unless the user has one. */
static bool ppk_configure(const char *conf)
{
    static const char text[] = "keyring bench\n peer nobody\n  ppk manual id bench key hex "
                               "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    char path[600];

    if (getenv("PPK_CONF"))
        return true;
    (void)snprintf(path, sizeof path, "%s/ppk.conf", conf);
    return write_file(conf, "ppk.conf", text) && setenv("PPK_CONF", path, 1) == 0;
}

/* The file's, or the keyword that it was asked for by. */
static void name_of(struct subject *s, const char *keyword)
{
    const char *slash = strrchr(s->path, '/');

    (void)snprintf(s->name, sizeof s->name, "%.60s", keyword ? keyword : slash ? slash + 1 : s->path);
    char *dot = strstr(s->name, ".so");
    if (dot)
        *dot = '\0';
    for (char *c = s->name; *c; c++) { /* it goes into tables and markup */
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *c))
            *c = '_';
    }
}

bool subject_open(struct subject *s, const char *what, const char *conf, char *why, size_t why_size)
{
    const bool softhsm = strcmp(what, "softhsm2") == 0 || strstr(what, "libsofthsm2") != NULL;
    const bool held = strcmp(what, "held") == 0;

    *s = (struct subject){.bare = strcmp(what, "openssl") == 0};
    const char *const keyword = strchr(what, '/') == NULL ? what : NULL;
    if (s->bare) {
        (void)snprintf(s->name, sizeof s->name, "%s", what);
        return true;
    }
    if (strcmp(what, "nss") == 0)
        what = "libsoftokn3.so";
    else if (strcmp(what, "softhsm2") == 0)
        what = "/usr/lib/softhsm/libsofthsm2.so";
    else if (held)
        what = PPK_HELD_MODULE;
    (void)snprintf(s->path, sizeof s->path, "%s", what);
    name_of(s, keyword);
    s->held = held;
    if ((softhsm && !softhsm_configure(conf)) || !(held ? held_configure(conf) : ppk_configure(conf))) {
        (void)snprintf(why, why_size, "cannot write its configuration");
        return false;
    }
    if (!module_load(s, what, why, why_size))
        return false;
    if (softhsm && !softhsm_initialize(s)) {
        (void)snprintf(why, why_size, "cannot make a token");
        return false;
    }
    if (!choose_slot(s, why, why_size))
        return false;
    note_version(s);
    if (has_mechanism(s, CKM_IKE2_PRF_PLUS_DERIVE))
        s->prf_plus = CKM_IKE2_PRF_PLUS_DERIVE;
    else if (has_mechanism(s, CKM_NSS_IKE_PRF_PLUS_DERIVE))
        s->prf_plus = CKM_NSS_IKE_PRF_PLUS_DERIVE;
    CK_RV rv = s->f->C_OpenSession(s->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s->holder);
    return rv == CKR_OK || failed(why, why_size, "C_OpenSession", rv);
}

void subject_close(struct subject *s)
{
    free(s->objects);
    if (s->f)
        (void)s->f->C_Finalize(NULL);
}
