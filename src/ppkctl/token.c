/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppkctl/token.h"

#include "ppk/ppk.h"
#include "ppkctl/ppkctl.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    CK_RV rv;
    const char *text;
} returns[] = {
    {CKR_ARGUMENTS_BAD, "CKR_ARGUMENTS_BAD"},
    {CKR_ATTRIBUTE_VALUE_INVALID, "CKR_ATTRIBUTE_VALUE_INVALID"},
    {CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR (no key source could be asked)"},
    {CKR_DEVICE_MEMORY, "CKR_DEVICE_MEMORY"},
    {CKR_FUNCTION_FAILED, "CKR_FUNCTION_FAILED"},
    {CKR_FUNCTION_REJECTED, "CKR_FUNCTION_REJECTED (a key source refused)"},
    {CKR_GENERAL_ERROR, "CKR_GENERAL_ERROR (its configuration is wrong?)"},
    {CKR_HOST_MEMORY, "CKR_HOST_MEMORY"},
    {CKR_KEY_SIZE_RANGE, "CKR_KEY_SIZE_RANGE"},
    {CKR_PIN_INCORRECT, "CKR_PIN_INCORRECT (another master key)"},
    {CKR_PIN_LEN_RANGE, "CKR_PIN_LEN_RANGE"},
    {CKR_TEMPLATE_INCONSISTENT, "CKR_TEMPLATE_INCONSISTENT"},
    {CKR_TEMPLATE_INCOMPLETE, "CKR_TEMPLATE_INCOMPLETE"},
    {CKR_TOKEN_NOT_PRESENT, "CKR_TOKEN_NOT_PRESENT"},
    {CKR_USER_NOT_LOGGED_IN, "CKR_USER_NOT_LOGGED_IN (secrets are of type 6: give --master-key-file)"},
};

void token_say(const char *call, CK_RV rv)
{
    for (size_t i = 0; i < sizeof returns / sizeof returns[0]; i++) {
        if (returns[i].rv == rv) {
            say("%s: %s", call, returns[i].text);
            return;
        }
    }
    say("%s: return value 0x%lx", call, rv);
}

/* The module beside this program in its build tree, or else the installed one. */
static void module_default(char *path, size_t room)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    if (n > 0) {
        self[n] = '\0';
        slash = strrchr(self, '/');
        if (slash != NULL) {
            *slash = '\0';
            n = snprintf(path, room, "%s/../lib/ppk-pkcs11.so", self);
            if (n > 0 && (size_t)n < room && access(path, R_OK) == 0)
                return;
        }
    }
    (void)snprintf(path, room, "%s", PPK_MODULE_PATH);
}

bool token_load(struct token *t, const char *path, const char *config)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_C_GetFunctionList get;
    char beside[PATH_MAX], *reserved = NULL;
    void *symbol;
    CK_RV rv;

    memset(t, 0, sizeof *t);
    if (path == NULL) {
        module_default(beside, sizeof beside);
        path = beside;
    }
    t->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    symbol = t->library != NULL ? dlsym(t->library, "C_GetFunctionList") : NULL;
    if (symbol == NULL) {
        say("%s", dlerror());
        return false;
    }
    memcpy(&get, &symbol, sizeof get);
    /* PPK_CONF would go before the argument of C_Initialize */
    if (config != NULL &&
        (setenv("PPK_CONF", config, 1) != 0 || asprintf(&reserved, "config=%s", config) < 0)) {
        say("no memory left");
        return false;
    }
    args.pReserved = reserved;
    rv = get(&t->p11);
    if (rv == CKR_OK)
        rv = t->p11->C_Initialize(&args);
    free(reserved);
    if (rv != CKR_OK) {
        t->p11 = NULL;
        token_say("C_Initialize", rv);
        return false;
    }
    return true;
}

/* Opens a session with the slot's token and finds out whether the peer is there. */
static bool slot_try(struct token *t, CK_SLOT_ID slot, const char *keyring, const char *peer,
                     CK_SESSION_HANDLE *session, char label[static 33])
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class},
        {CKA_APPLICATION, (void *)PPK_PEER_APPLICATION, strlen(PPK_PEER_APPLICATION)},
        {CKA_LABEL, (void *)peer, strlen(peer)},
    };
    CK_OBJECT_HANDLE object;
    CK_TOKEN_INFO info;
    CK_ULONG n = 0;

    *session = 0;
    if (t->p11->C_GetTokenInfo(slot, &info) != CKR_OK)
        return false;
    memcpy(label, info.label, 32);
    label[32] = '\0';
    for (size_t i = 32; i > 0 && label[i - 1] == ' '; i--)
        label[i - 1] = '\0';
    if (keyring != NULL && strcmp(keyring, label) != 0)
        return false;
    if (t->p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, session) != CKR_OK)
        return false;
    if (t->p11->C_FindObjectsInit(*session, template, 3) == CKR_OK) {
        if (t->p11->C_FindObjects(*session, &object, 1, &n) != CKR_OK)
            n = 0;
        (void)t->p11->C_FindObjectsFinal(*session);
    }
    if (n == 1)
        return true;
    (void)t->p11->C_CloseSession(*session);
    return false;
}

bool token_open_peer(struct token *t, const char *keyring, const char *peer)
{
    CK_SLOT_ID *slots = NULL;
    CK_ULONG n = 0;
    bool good = false;
    CK_RV rv = t->p11->C_GetSlotList(CK_TRUE, NULL, &n);

    if (rv == CKR_OK) {
        slots = calloc(n + 1, sizeof *slots);
        rv = slots != NULL ? t->p11->C_GetSlotList(CK_TRUE, slots, &n) : CKR_HOST_MEMORY;
    }
    if (rv != CKR_OK) {
        token_say("C_GetSlotList", rv);
        goto out;
    }
    for (CK_ULONG i = 0; i < n; i++) {
        CK_SESSION_HANDLE session;
        char label[33];

        if (!slot_try(t, slots[i], keyring, peer, &session, label))
            continue;
        if (good) {
            say("peer \"%s\" is in keyring \"%s\" and in \"%s\": say which one with --keyring", peer,
                t->label, label);
            good = false;
            goto out;
        }
        good = true;
        t->session = session;
        memcpy(t->label, label, sizeof label);
    }
    if (!good && keyring != NULL)
        say("there is no peer \"%s\" in keyring \"%s\"", peer, keyring);
    else if (!good)
        say("no keyring has a peer \"%s\"", peer);
out:
    free(slots);
    return good;
}

bool token_login(struct token *t, const struct secret *master_key)
{
    struct secret_view view = {0};
    CK_RV rv = CKR_HOST_MEMORY;

    if (master_key == NULL)
        return true;
    if (secret_open(master_key, &view))
        rv = t->p11->C_Login(t->session, CKU_USER, (CK_BYTE_PTR)view.data, view.len);
    secret_close(&view);
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
        return true;
    token_say("C_Login", rv);
    return false;
}

void token_close(struct token *t)
{
    if (t->p11 != NULL)
        (void)t->p11->C_Finalize(NULL);
    if (t->library != NULL)
        (void)dlclose(t->library);
    memset(t, 0, sizeof *t);
}

bool token_attribute(const struct token *t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *out,
                     size_t room, size_t *len)
{
    CK_ATTRIBUTE a = {type, out, room};

    if (t->p11->C_GetAttributeValue(t->session, object, &a, 1) != CKR_OK || a.ulValueLen > room)
        return false;
    *len = a.ulValueLen;
    return true;
}
