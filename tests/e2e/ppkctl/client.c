/* SPDX-License-Identifier: BSD-2-Clause */
/* A process that uses the token as it is told on standard input, for the tests of the status: one command a
 * line, each answered with "ok" or with what failed. */
#include <dlfcn.h>
#include <ppk/ppk.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static CK_FUNCTION_LIST_PTR p11;
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE key;

static bool open_session(CK_FLAGS flags)
{
    CK_C_INITIALIZE_ARGS arguments = {.flags = flags};
    CK_SLOT_ID slots[16];
    CK_ULONG n = 16;

    return p11->C_Initialize(&arguments) == CKR_OK && p11->C_GetSlotList(CK_TRUE, slots, &n) == CKR_OK &&
           n > 0 &&
           p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) == CKR_OK;
}

/* Always a new PPK of the peer. */
static bool generate(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *out)
{
    char label[] = "gateway";
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template[] = {{CKA_LABEL, label, strlen(label)}};

    return p11->C_GenerateKey(s, &mechanism, template, 1, out) == CKR_OK;
}

static bool use(void)
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE data[] = "data", mac[32];
    CK_ULONG len = sizeof mac;

    return p11->C_SignInit(session, &mechanism, key) == CKR_OK &&
           p11->C_Sign(session, data, sizeof data, mac, &len) == CKR_OK;
}

/* As an IKE stack tells it. */
static bool outcome(CK_BBOOL good)
{
    CK_ATTRIBUTE a = {CKA_PPK_OUTCOME, &good, sizeof good};

    return p11->C_SetAttributeValue(session, key, &a, 1) == CKR_OK;
}

static bool find_by_id(char *id)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_ID, id, strlen(id)}};
    CK_OBJECT_HANDLE found;
    CK_ULONG n = 0;
    bool good = p11->C_FindObjectsInit(session, template, 2) == CKR_OK &&
                p11->C_FindObjects(session, &found, 1, &n) == CKR_OK;

    (void)p11->C_FindObjectsFinal(session);
    return good && n == 0;
}

static void *thread_main(void *context)
{
    CK_OBJECT_HANDLE one;
    bool *good = context;

    *good = true;
    for (int i = 0; i < 5; i++)
        *good = generate(session, &one) && *good;
    return NULL;
}

static bool threads(void)
{
    pthread_t all[4];
    bool good[4], every = true;

    for (int i = 0; i < 4; i++)
        if (pthread_create(&all[i], NULL, thread_main, &good[i]) != 0)
            return false;
    for (int i = 0; i < 4; i++) {
        (void)pthread_join(all[i], NULL);
        every = every && good[i];
    }
    return every;
}

/* The child gets a PPK of its own, says so, and stays until it is killed, or this process ends. */
static bool fork_child(void)
{
    pid_t child = fork();

    if (child != 0)
        return child > 0;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool good = open_session(CKF_OS_LOCKING_OK) && generate(session, &key);
    (void)printf("child %s %ld\n", good ? "ok" : "failed", (long)getpid());
    (void)fflush(stdout);
    for (;;)
        (void)pause();
}

static bool command_run(char *line)
{
    if (strcmp(line, "open") == 0)
        return open_session(CKF_OS_LOCKING_OK);
    if (strcmp(line, "open without threads") == 0)
        return open_session(CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS);
    if (strcmp(line, "generate") == 0)
        return generate(session, &key);
    if (strcmp(line, "use") == 0)
        return use();
    if (strcmp(line, "up") == 0 || strcmp(line, "not authenticated") == 0)
        return outcome(line[0] == 'u');
    if (strcmp(line, "threads") == 0)
        return threads();
    if (strcmp(line, "fork") == 0)
        return fork_child();
    if (strcmp(line, "finalize") == 0)
        return p11->C_Finalize(NULL) == CKR_OK;
    if (strncmp(line, "find ", 5) == 0)
        return find_by_id(line + 5);
    return false;
}

int main(int argc, char **argv)
{
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    void *symbol = library != NULL ? dlsym(library, "C_GetFunctionList") : NULL;
    CK_C_GetFunctionList get;
    char line[512];

    if (symbol == NULL)
        return 1;
    memcpy(&get, &symbol, sizeof get);
    if (get(&p11) != CKR_OK)
        return 1;
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        (void)printf("%s %s\n", line, command_run(line) ? "ok" : "failed");
        (void)fflush(stdout);
    }
    return 0;
}
