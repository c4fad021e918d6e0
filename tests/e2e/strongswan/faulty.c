/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PKCS#11 module that does wrong on demand: all calls go to the module named by FAULTY_MODULE, except what
 * the file named by FAULTY_CONTROL says, one line, read at each call: "hang CALL" (until the file changes),
 * "CALL 0xCODE" (the return code instead of the call). */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CK_FUNCTION_LIST *real, ours;

static int control_is(const char *call, CK_RV *rv)
{
    const char *path = getenv("FAULTY_CONTROL");
    FILE *file = path ? fopen(path, "re") : NULL;
    char line[128] = "", verb[64] = "", argument[64] = "";

    if (!file)
        return 0;
    if (!fgets(line, sizeof line, file))
        line[0] = '\0';
    fclose(file);
    if (sscanf(line, "%63s %63s", verb, argument) != 2)
        return 0;
    *rv = strtoul(argument, NULL, 0);
    if (strcmp(verb, "hang") == 0 && strcmp(argument, call) == 0)
        return 'h';
    return strcmp(verb, call) == 0 ? 'e' : 0;
}

static int fault(const char *call, CK_RV *rv)
{
    int what = control_is(call, rv);

    while (what == 'h') {
        usleep(20000);
        what = control_is(call, rv);
    }
    return what == 'e';
}

#define FAULTY(name, declaration, arguments)                                                                 \
    static CK_RV my_##name declaration                                                                       \
    {                                                                                                        \
        CK_RV rv;                                                                                            \
                                                                                                             \
        return fault(#name, &rv) ? rv : real->name arguments;                                                \
    }

FAULTY(C_Initialize, (void *args), (args))
FAULTY(C_OpenSession,
       (CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify, CK_SESSION_HANDLE *session),
       (slot, flags, app, notify, session))
FAULTY(C_Login, (CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, CK_ULONG len),
       (session, user, pin, len))
FAULTY(C_FindObjectsInit, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count),
       (session, template, count))
FAULTY(C_FindObjects, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count),
       (session, objects, max, count))
FAULTY(C_DeriveKey,
       (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base, CK_ATTRIBUTE *template,
        CK_ULONG count, CK_OBJECT_HANDLE *key),
       (session, mechanism, base, template, count, key))
FAULTY(C_GenerateKey,
       (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *template, CK_ULONG count,
        CK_OBJECT_HANDLE *key),
       (session, mechanism, template, count, key))
FAULTY(C_SignInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
       (session, mechanism, key))

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    const char *path = getenv("FAULTY_MODULE");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    void *symbol = library ? dlsym(library, "C_GetFunctionList") : NULL;
    CK_C_GetFunctionList get;

    if (!symbol)
        return CKR_GENERAL_ERROR;
    memcpy(&get, &symbol, sizeof get);
    if (get(&real) != CKR_OK)
        return CKR_GENERAL_ERROR;
    ours = *real;
    ours.C_Initialize = my_C_Initialize;
    ours.C_OpenSession = my_C_OpenSession;
    ours.C_Login = my_C_Login;
    ours.C_FindObjectsInit = my_C_FindObjectsInit;
    ours.C_FindObjects = my_C_FindObjects;
    ours.C_DeriveKey = my_C_DeriveKey;
    ours.C_GenerateKey = my_C_GenerateKey;
    ours.C_SignInit = my_C_SignInit;
    *list = &ours;
    return CKR_OK;
}
