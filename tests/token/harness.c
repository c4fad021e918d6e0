/* SPDX-License-Identifier: BSD-2-Clause */
#include "harness.h"

#include "guard.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

CK_FUNCTION_LIST *f;

static char directory[128], conf_path[160], log_path[160];
static pid_t owner;

const char *harness_module(void)
{
    const char *path = getenv("PPK_TEST_MODULE");
    return path ? path : PPK_BUILD_DIR "/lib/ppk-pkcs11.so";
}

static void directory_remove(void)
{
    if (getpid() != owner)
        return;
    DIR *d = opendir(directory);
    for (struct dirent *e; d && (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(directory);
}

static void directory_make(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/ppk-token-XXXXXX", base && strlen(base) < 64 ? base : "/tmp");
    if (!mkdtemp(directory)) {
        perror(directory);
        exit(1);
    }
    owner = getpid();
    atexit(directory_remove);
    snprintf(conf_path, sizeof conf_path, "%s/ppk.conf", directory);
    snprintf(log_path, sizeof log_path, "%s/log", directory);
}

/* A test that failed half way must not spoil the next one. */
static void clean(void)
{
    f->C_Finalize(NULL);
    guard_release();
}

void *harness_load(void)
{
    char log[200];
    directory_make();
    snprintf(log, sizeof log, "file=%s:debug", log_path);
    setenv("PPK_CONF", conf_path, 1);
    setenv("PPK_LOG", log, 1);
    void *dl = dlopen(harness_module(), RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(CK_FUNCTION_LIST **) = NULL;
    if (dl)
        *(void **)&get = dlsym(dl, "C_GetFunctionList");
    if (!get || get(&f) != CKR_OK || !f) {
        fprintf(stderr, "cannot load %s: %s\n", harness_module(), dlerror());
        exit(1);
    }
    expect_clean = clean;
    return dl;
}

const char *harness_directory(void)
{
    return directory;
}

const char *harness_conf_path(void)
{
    return conf_path;
}

void harness_conf(const char *format, ...)
{
    va_list ap;
    unlink(conf_path);
    FILE *out = fopen(conf_path, "w");
    if (!out || fchmod(fileno(out), 0600) != 0) {
        perror(conf_path);
        exit(1);
    }
    va_start(ap, format);
    vfprintf(out, format, ap);
    va_end(ap);
    fclose(out);
}

const char *harness_log(void)
{
    static char *text;
    static size_t room;
    FILE *in = fopen(log_path, "r");
    size_t n = 0;
    do { /* all of it: a token that is used without a pause logs a megabyte in a second */
        if (n + 1 >= room) {
            room = room ? 2 * room : 1 << 16;
            char *more = realloc(text, room);
            require(more != NULL, "no memory");
            text = more;
        }
        n += in ? fread(text + n, 1, room - 1 - n, in) : 0;
    } while (n == room - 1);
    text[n] = '\0';
    if (in)
        fclose(in);
    return text;
}

void harness_log_clear(void)
{
    /* The module may hold the file open, for appending. */
    (void)!truncate(log_path, 0);
}

CK_SLOT_ID harness_slot(const char *label)
{
    CK_SLOT_ID slots[64];
    CK_ULONG n = 64;
    char padded[33];
    snprintf(padded, sizeof padded, "%-32s", label);
    require_ok(f->C_GetSlotList(CK_TRUE, slots, &n));
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO info;
        require_ok(f->C_GetTokenInfo(slots[i], &info));
        if (memcmp(info.label, padded, 32) == 0)
            return slots[i];
    }
    fprintf(stderr, "no token \"%s\" among %lu\n", label, n);
    fail();
    return 0;
}

static CK_SESSION_HANDLE session_open(const char *label, CK_FLAGS flags)
{
    CK_SESSION_HANDLE s = CK_INVALID_HANDLE;
    require_ok(f->C_OpenSession(harness_slot(label), CKF_SERIAL_SESSION | flags, NULL, NULL, &s));
    return s;
}

CK_SESSION_HANDLE harness_session(const char *label)
{
    return session_open(label, 0);
}

CK_SESSION_HANDLE harness_session_rw(const char *label)
{
    return session_open(label, CKF_RW_SESSION);
}

CK_SESSION_HANDLE harness_start(const char *conf)
{
    harness_conf("%s", conf);
    require_ok(f->C_Initialize(NULL));
    return harness_session("main");
}

uint64_t harness_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- templates ---- */

void template_bytes(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    if (t->n == sizeof t->a / sizeof *t->a)
        abort();
    t->a[t->n++] = (CK_ATTRIBUTE){type, (void *)(uintptr_t)value, len};
}

void template_number(struct template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    t->numbers[t->n] = value;
    template_bytes(t, type, &t->numbers[t->n], sizeof value);
}

void template_bool(struct template *t, CK_ATTRIBUTE_TYPE type, bool value)
{
    t->bools[t->n] = value;
    template_bytes(t, type, &t->bools[t->n], sizeof(CK_BBOOL));
}

void template_text(struct template *t, CK_ATTRIBUTE_TYPE type, const char *text)
{
    template_bytes(t, type, text, strlen(text));
}

void template_secret(struct template *t)
{
    memset(t, 0, sizeof *t);
    template_number(t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(t, CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    template_bool(t, CKA_TOKEN, false);
}

CK_ATTRIBUTE *template_entry(struct template *t, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < t->n; i++)
        if (t->a[i].type == type)
            return &t->a[i];
    return NULL;
}

/* ---- objects ---- */

size_t object_search(CK_SESSION_HANDLE s, struct template *t, CK_OBJECT_HANDLE *out, size_t room, CK_RV *rv)
{
    CK_OBJECT_HANDLE some[8];
    CK_ULONG n = 0;
    size_t total = 0;
    CK_RV result = f->C_FindObjectsInit(s, t->a, t->n);
    if (result == CKR_OK) {
        while ((result = f->C_FindObjects(s, some, 8, &n)) == CKR_OK && n > 0)
            for (CK_ULONG i = 0; i < n; i++, total++)
                if (out && total < room)
                    out[total] = some[i];
        CK_RV last = f->C_FindObjectsFinal(s);
        if (result == CKR_OK)
            result = last;
    }
    if (rv)
        *rv = result;
    else
        expect_rv(CKR_OK, result);
    return total;
}

CK_OBJECT_HANDLE object_only(CK_SESSION_HANDLE s, struct template *t)
{
    CK_OBJECT_HANDLE found = CK_INVALID_HANDLE;
    size_t n = object_search(s, t, &found, 1, NULL);
    require(n == 1, "found %zu objects", n);
    require(found != CK_INVALID_HANDLE, "the handle is 0");
    return found;
}

CK_OBJECT_HANDLE object_by_id(CK_SESSION_HANDLE s, const void *id, size_t len)
{
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_bytes(&t, CKA_ID, id, len);
    return object_only(s, &t);
}

CK_OBJECT_HANDLE object_by_label(CK_SESSION_HANDLE s, const char *label)
{
    struct template t = {.n = 0};
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_text(&t, CKA_LABEL, label);
    return object_only(s, &t);
}

CK_ULONG object_number(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type)
{
    CK_ULONG value = CK_UNAVAILABLE_INFORMATION;
    CK_ATTRIBUTE a = {type, &value, sizeof value};
    return f->C_GetAttributeValue(s, o, &a, 1) == CKR_OK && a.ulValueLen == sizeof value
               ? value
               : CK_UNAVAILABLE_INFORMATION;
}

int object_bool(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL value = 7;
    CK_ATTRIBUTE a = {type, &value, sizeof value};
    if (f->C_GetAttributeValue(s, o, &a, 1) != CKR_OK || a.ulValueLen != sizeof value || value > 1)
        return -1;
    return value;
}

size_t object_bytes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type, void *out, size_t room)
{
    CK_ATTRIBUTE a = {type, out, room};
    return f->C_GetAttributeValue(s, o, &a, 1) == CKR_OK ? a.ulValueLen : (size_t)-1;
}

CK_OBJECT_HANDLE object_import(CK_SESSION_HANDLE s, const void *value, size_t len)
{
    struct template t;
    CK_OBJECT_HANDLE o = CK_INVALID_HANDLE;
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, value, len);
    template_bool(&t, CKA_DERIVE, true);
    template_bool(&t, CKA_SIGN, true);
    template_bool(&t, CKA_VERIFY, true);
    template_bool(&t, CKA_SENSITIVE, false);
    template_bool(&t, CKA_EXTRACTABLE, true);
    require_ok(f->C_CreateObject(s, t.a, t.n, &o));
    return o;
}
