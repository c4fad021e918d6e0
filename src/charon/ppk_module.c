/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_module.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A module that cannot be initialized is not tried again for so long, so that a broken one costs little. */
#define RESTART_SECONDS 2
#define SLOTS_MAX       256

struct ppk_module {
    struct ppk_module_config config;
    pthread_rwlock_t
        life;             /* read: somebody is inside the module; write: it is loaded, started or restarted */
    pthread_mutex_t lock; /* over the fields below */
    CK_FUNCTION_LIST *p11;
    void *library;
    bool ours;           /* C_Initialize was ours, so C_Finalize is too */
    bool lost;           /* sessions can no longer be opened: start over */
    bool pin_refused;    /* never try a refused PIN again: the token would lock it */
    uint64_t generation; /* 0: not initialized */
    CK_SLOT_ID slot;
    CK_MECHANISM_TYPE prf_plus;
    struct timespec tried;
    CK_RV tried_rv; /* how the last start went, and its text */
    char tried_text[PPK_TEXT_MAX];
};

struct ppk_module *ppk_module_create(const struct ppk_module_config *config)
{
    struct ppk_module *module = calloc(1, sizeof *module);

    if (!module)
        return NULL;
    module->config = *config;
    pthread_rwlock_init(&module->life, NULL);
    pthread_mutex_init(&module->lock, NULL);
    return module;
}

static CK_RV module_load(struct ppk_module *module, char text[static PPK_TEXT_MAX])
{
    const char *path = module->config.path;
    CK_C_GetFunctionList get_list;
    void *symbol;
    CK_RV rv;

    if (module->p11)
        return CKR_OK;
    if (!path || !*path) {
        snprintf(text, PPK_TEXT_MAX, "no PKCS#11 module is configured (plugins.ppk.module)");
        return CKR_ARGUMENTS_BAD;
    }
    /* libp11-kit itself exports the entry points of the proxy module. */
    if (strcmp(path, "p11-kit") == 0)
        path = "libp11-kit.so.0";
    if (!module->library)
        module->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module->library) {
        snprintf(text, PPK_TEXT_MAX, "cannot load the PKCS#11 module: %s", dlerror());
        return CKR_GENERAL_ERROR;
    }
    symbol = dlsym(module->library, "C_GetFunctionList");
    if (!symbol) {
        snprintf(text, PPK_TEXT_MAX, "%s is not a PKCS#11 module: it has no C_GetFunctionList", path);
        return CKR_GENERAL_ERROR;
    }
    memcpy(&get_list, &symbol, sizeof get_list);
    rv = get_list(&module->p11);
    if (rv == CKR_OK && (!module->p11 || module->p11->version.major != 2)) {
        module->p11 = NULL;
        rv = CKR_GENERAL_ERROR;
    }
    return rv == CKR_OK ? rv : ppk_rv_text(text, "C_GetFunctionList", rv);
}

static bool label_equals(const CK_TOKEN_INFO *info, const char *label)
{
    size_t len = strlen(label);

    if (len > sizeof info->label || memcmp(info->label, label, len) != 0)
        return false;
    for (size_t i = len; i < sizeof info->label; i++) {
        if (info->label[i] != ' ' && info->label[i] != '\0')
            return false;
    }
    return true;
}

/* Without the blanks that fill it up. */
static int label_len(const CK_TOKEN_INFO *info)
{
    int len = (int)sizeof info->label;

    while (len > 0 && (info->label[len - 1] == ' ' || info->label[len - 1] == '\0'))
        len--;
    return len;
}

/* The slot whose token has the configured label; without one, the only initialized token. */
static CK_RV slot_find(struct ppk_module *module, char text[static PPK_TEXT_MAX])
{
    const char *label = module->config.token;
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX, found = 0, seen = 0;
    size_t used;
    CK_RV rv = module->p11->C_GetSlotList(CK_TRUE, slots, &count);

    if (rv != CKR_OK)
        return ppk_rv_text(text, "C_GetSlotList", rv);
    used =
        (size_t)snprintf(text, PPK_TEXT_MAX, "no token '%s' in the module; it has", label ? label : "(any)");
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;

        memset(&info, 0, sizeof info);
        if (module->p11->C_GetTokenInfo(slots[i], &info) != CKR_OK || !(info.flags & CKF_TOKEN_INITIALIZED))
            continue;
        seen++;
        if (used < PPK_TEXT_MAX)
            used += (size_t)snprintf(text + used, PPK_TEXT_MAX - used, " '%.*s'", label_len(&info),
                                     (const char *)info.label);
        if (label ? label_equals(&info, label) : true) {
            module->slot = slots[i];
            found++;
        }
    }
    if (found == 1)
        return CKR_OK;
    if (!seen)
        snprintf(text, PPK_TEXT_MAX, "no token '%s' in the module, and no other one either",
                 label ? label : "(any)");
    if (found > 1)
        snprintf(text, PPK_TEXT_MAX, "%lu tokens fit '%s': name one by plugins.ppk.token", found,
                 label ? label : "");
    return CKR_TOKEN_NOT_PRESENT;
}

static void mechanism_find(struct ppk_module *module)
{
    static const CK_MECHANISM_TYPE known[] = {CKM_IKE2_PRF_PLUS_DERIVE, CKM_NSS_IKE_PRF_PLUS_DERIVE};
    CK_MECHANISM_INFO info;

    module->prf_plus = CK_UNAVAILABLE_INFORMATION;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        memset(&info, 0, sizeof info);
        if (module->p11->C_GetMechanismInfo(module->slot, known[i], &info) == CKR_OK &&
            info.flags & CKF_DERIVE) {
            module->prf_plus = known[i];
            return;
        }
    }
}

static CK_RV module_start(struct ppk_module *module, char text[static PPK_TEXT_MAX])
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK, .pReserved = NULL};
    char *init = module->config.init ? strdup(module->config.init) : NULL;
    CK_RV rv = module_load(module, text);

    if (rv != CKR_OK || !module->p11)
        goto out;
    if (module->generation && module->ours && module->lost)
        module->p11->C_Finalize(NULL);
    args.pReserved = init;
    rv = module->p11->C_Initialize(&args);
    module->ours = rv == CKR_OK;
    if (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED)
        rv = CKR_OK;
    if (rv != CKR_OK) {
        ppk_rv_text(text, "C_Initialize", rv);
        goto out;
    }
    rv = slot_find(module, text);
    if (rv != CKR_OK) {
        /* a later start may find the token: let the module read its configuration anew */
        module->lost = true;
        module->generation++;
        goto out;
    }
    mechanism_find(module);
    module->lost = false;
    module->generation++;
out:
    free(init);
    return rv;
}

static bool start_is_needed(const struct ppk_module *module)
{
    return !module->generation || module->lost;
}

/* Starts the module if it is not running. Called without the life lock. */
static CK_RV module_ready(struct ppk_module *module, char text[static PPK_TEXT_MAX])
{
    struct timespec now, until;
    CK_RV rv = CKR_OK;
    bool needed;

    pthread_mutex_lock(&module->lock);
    needed = start_is_needed(module);
    pthread_mutex_unlock(&module->lock);
    if (!needed)
        return CKR_OK;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RESTART_SECONDS;
    if (pthread_rwlock_timedwrlock(&module->life, &until) != 0) {
        snprintf(text, PPK_TEXT_MAX, "the PKCS#11 module is lost, and a call in it does not return");
        return CKR_DEVICE_ERROR;
    }
    pthread_mutex_lock(&module->lock);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!start_is_needed(module)) {
        rv = CKR_OK;
    } else if (module->tried_rv != CKR_OK && now.tv_sec - module->tried.tv_sec < RESTART_SECONDS) {
        rv = module->tried_rv;
        memcpy(text, module->tried_text, PPK_TEXT_MAX);
    } else {
        rv = module_start(module, text);
        clock_gettime(CLOCK_MONOTONIC, &module->tried);
        module->tried_rv = rv;
        memcpy(module->tried_text, text, PPK_TEXT_MAX);
    }
    pthread_mutex_unlock(&module->lock);
    pthread_rwlock_unlock(&module->life);
    return rv;
}

/* Logs in, at most once with a PIN that the token refuses. */
static CK_RV session_login(struct ppk_module *module, CK_SESSION_HANDLE handle,
                           char text[static PPK_TEXT_MAX])
{
    const char *pin = module->config.pin;
    CK_UTF8CHAR *copy;
    size_t len;
    CK_RV rv;

    if (!pin)
        return CKR_OK;
    pthread_mutex_lock(&module->lock);
    if (module->pin_refused) {
        pthread_mutex_unlock(&module->lock);
        snprintf(
            text, PPK_TEXT_MAX,
            "C_Login: the token refused the PIN before; it is not tried again until charon is restarted");
        return CKR_PIN_INCORRECT;
    }
    len = strlen(pin);
    copy = (CK_UTF8CHAR *)strdup(pin);
    rv = copy ? module->p11->C_Login(handle, CKU_USER, copy, len) : CKR_HOST_MEMORY;
    if (copy)
        explicit_bzero(copy, len);
    free(copy);
    if (rv == CKR_USER_ALREADY_LOGGED_IN)
        rv = CKR_OK;
    switch (rv) {
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
    case CKR_PIN_EXPIRED:
    case CKR_PIN_LOCKED:
        module->pin_refused = true;
        break;
    default:
        break;
    }
    pthread_mutex_unlock(&module->lock);
    return rv == CKR_OK ? rv : ppk_rv_text(text, "C_Login", rv);
}

static CK_RV session_open(struct ppk_session *session, char text[static PPK_TEXT_MAX])
{
    struct ppk_module *module = session->module;
    CK_RV rv = module->p11->C_OpenSession(module->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                          &session->handle);

    if (rv == CKR_TOKEN_WRITE_PROTECTED)
        rv = module->p11->C_OpenSession(module->slot, CKF_SERIAL_SESSION, NULL, NULL, &session->handle);
    if (rv != CKR_OK) {
        if (ppk_rv_lost(rv)) {
            pthread_mutex_lock(&module->lock);
            module->lost = true;
            pthread_mutex_unlock(&module->lock);
        }
        return ppk_rv_text(text, "C_OpenSession", rv);
    }
    rv = session_login(module, session->handle, text);
    if (rv != CKR_OK) {
        module->p11->C_CloseSession(session->handle);
        return rv;
    }
    session->p11 = module->p11;
    session->generation = module->generation;
    session->prf_plus = module->prf_plus;
    return CKR_OK;
}

CK_RV ppk_session_enter(struct ppk_session *session, char text[static PPK_TEXT_MAX])
{
    struct ppk_module *module = session->module;
    CK_RV rv = CKR_GENERAL_ERROR;

    /* Twice: the first attempt may find out that the module has to be started over. */
    for (int attempt = 0; attempt < 2; attempt++) {
        if (attempt > 0)
            pthread_rwlock_unlock(&module->life);
        rv = module_ready(module, text);
        pthread_rwlock_rdlock(&module->life);
        if (rv != CKR_OK)
            return rv;
        if (session->generation && session->generation == module->generation)
            return CKR_OK;
        session->generation = 0;
        rv = session_open(session, text);
        if (!ppk_rv_lost(rv))
            return rv;
    }
    return rv;
}

void ppk_session_leave(struct ppk_session *session)
{
    pthread_rwlock_unlock(&session->module->life);
}

void ppk_session_drop(struct ppk_session *session)
{
    if (session->generation && session->generation == session->module->generation)
        session->p11->C_CloseSession(session->handle);
    session->generation = 0;
}

void ppk_module_destroy(struct ppk_module *module)
{
    if (!module)
        return;
    if (module->p11 && module->ours && module->generation)
        module->p11->C_Finalize(NULL);
    if (module->library)
        dlclose(module->library);
    pthread_rwlock_destroy(&module->life);
    pthread_mutex_destroy(&module->lock);
    free(module);
}
