/* SPDX-License-Identifier: BSD-2-Clause */
/* A process with the token in it, for tests that look at the process from outside, or that put it into an
 * unkind place. It does its words in turn, and prints each with the CK_RV that it got:
 *
 *   host MODULE WORD...
 *
 *   init            C_Initialize, and a session on the first slot
 *   find=HEX        searches for the key of this CKA_ID (the bytes), which all later words are about
 *   manual=TEXT     the same for an ID of text
 *   derive          prf+ of the key, as RFC 8784 has it, and the derived key away again
 *   sign            HMAC-SHA-256 of the key
 *   random          C_GenerateRandom
 *   wrap=LABEL      wraps the same prf+ of the key under the key-encryption key of this label; and under one
 *                   of its own, under which it unwraps it again, and keeps what comes out
 *   objects         a key of the host's own: made, copied, changed, and both destroyed
 *   reload          adds a comment to the configuration, and waits until the token would see it
 *   destroy         C_DestroyObject
 *   list            a search that fetches nothing
 *   finalize        C_Finalize
 *   no-sockets      from now on socket() and connect() fail (EPERM)
 *   killed-sockets  from now on whoever calls them is killed
 *   digest          the host's own use of OpenSSL, in its default context: SHA-256, if it can be had there
 *   marker=TEXT     keeps the text, turned round, in the heap: what a scan must be able to find
 *   fork            a child that waits as `wait` does, and ends; the parent waits for it
 *   wait            prints "wait PID" and reads a line
 *   abort           as assert() does, with a core dump if the limit allows it
 */
#include "ppk/pkcs11-3.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static CK_FUNCTION_LIST *f;
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE key;
static char *marker;

static CK_RV initialize(void)
{
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    CK_SLOT_ID slots[4];
    CK_ULONG n = 4;
    CK_RV rv = f->C_Initialize(&arguments);

    if (rv == CKR_OK)
        rv = f->C_GetSlotList(CK_TRUE, slots, &n);
    if (rv == CKR_OK)
        rv = n > 0 ? f->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session)
                   : CKR_GENERAL_ERROR;
    return rv;
}

/* How many were found goes to the output, too. */
static CK_RV search(CK_ATTRIBUTE *template, CK_ULONG n)
{
    CK_OBJECT_HANDLE found[16];
    CK_ULONG count = 0;
    CK_RV rv = f->C_FindObjectsInit(session, template, n);

    if (rv != CKR_OK)
        return rv;
    rv = f->C_FindObjects(session, found, 16, &count);
    f->C_FindObjectsFinal(session);
    if (template != NULL)
        key = rv == CKR_OK && count > 0 ? found[0] : CK_INVALID_HANDLE;
    printf("%lu ", count);
    return rv;
}

static CK_RV find(uint8_t *id, size_t len)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_ID, id, len}};

    return search(template, 2);
}

static CK_RV find_hex(const char *hex)
{
    uint8_t id[64];
    size_t len = strlen(hex) / 2;

    if (len > sizeof id)
        return CKR_ARGUMENTS_BAD;
    for (size_t i = 0; i < len; i++) {
        const char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        id[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return find(id, len);
}

/* prf+ of the key, 32 bytes */
static CK_RV prf_plus(CK_ATTRIBUTE *template, CK_ULONG n, CK_OBJECT_HANDLE *derived)
{
    uint8_t seed[32] = {1};
    CK_IKE2_PRF_PLUS_DERIVE_PARAMS prf = {
        .prfMechanism = CKM_SHA256_HMAC, .pSeedData = seed, .ulSeedDataLen = sizeof seed};
    CK_MECHANISM mechanism = {CKM_IKE2_PRF_PLUS_DERIVE, &prf, sizeof prf};

    return f->C_DeriveKey(session, &mechanism, key, template, n, derived);
}

static CK_RV derive(void)
{
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &len, sizeof len}};
    CK_OBJECT_HANDLE derived = CK_INVALID_HANDLE;
    CK_RV rv = prf_plus(template, 1, &derived);

    return rv == CKR_OK ? f->C_DestroyObject(session, derived) : rv;
}

static CK_RV wrap(char *label)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE aes = CKK_AES;
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG len = 32, n = 40;
    CK_BYTE own_value[32] = "the host's own key, that it has", wrapped[40];
    CK_ATTRIBUTE session_key[] = {{CKA_KEY_TYPE, &aes, sizeof aes},
                                  {CKA_VALUE_LEN, &len, sizeof len},
                                  {CKA_SENSITIVE, &yes, 1},
                                  {CKA_EXTRACTABLE, &yes, 1}},
                 card[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, label, strlen(label)}},
                 own[] = {{CKA_CLASS, &class, sizeof class},
                          {CKA_KEY_TYPE, &aes, sizeof aes},
                          {CKA_VALUE, own_value, sizeof own_value},
                          {CKA_WRAP, &yes, 1},
                          {CKA_UNWRAP, &yes, 1}};
    CK_MECHANISM kwp = {CKM_AES_KEY_WRAP_KWP, NULL, 0};
    CK_OBJECT_HANDLE derived = CK_INVALID_HANDLE, mine = CK_INVALID_HANDLE, back = CK_INVALID_HANDLE;
    CK_RV rv = prf_plus(session_key, 4, &derived);

    if (rv == CKR_OK)
        rv = search(card, 2);
    if (rv == CKR_OK)
        rv = f->C_WrapKey(session, &kwp, key, derived, wrapped, &n);
    if (rv == CKR_OK)
        rv = f->C_CreateObject(session, own, 5, &mine);
    if (rv == CKR_OK)
        rv = f->C_WrapKey(session, &kwp, mine, derived, wrapped, &n);
    if (rv == CKR_OK)
        rv = f->C_UnwrapKey(session, &kwp, mine, wrapped, n, own, 2, &back);
    return rv == CKR_OK ? f->C_DestroyObject(session, derived) : rv;
}

static CK_RV sign(void)
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_BYTE text[] = "to be signed", mac[64];
    CK_ULONG len = sizeof mac;
    CK_RV rv = f->C_SignInit(session, &mechanism, key);

    return rv == CKR_OK ? f->C_Sign(session, text, sizeof text, mac, &len) : rv;
}

static CK_RV random_get(void)
{
    CK_BYTE bytes[32];

    return f->C_GenerateRandom(session, bytes, sizeof bytes);
}

static CK_RV objects_handle(void)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
    CK_MECHANISM_TYPE allowed[] = {CKM_SHA256_HMAC, CKM_SHA384_HMAC};
    CK_BYTE value[32] = "the host's own", id[] = {1, 2, 3};
    CK_UTF8CHAR label[] = "mine", other[] = "another label, which is longer than the one before";
    CK_DATE start = {{'2', '0', '2', '6'}, {'0', '1'}, {'0', '2'}},
            end = {{'2', '0', '3', '6'}, {'0', '1'}, {'0', '2'}};
    CK_ATTRIBUTE key_template[] = {{CKA_CLASS, &class, sizeof class},
                                   {CKA_KEY_TYPE, &generic, sizeof generic},
                                   {CKA_VALUE, value, sizeof value},
                                   {CKA_ID, id, sizeof id},
                                   {CKA_LABEL, label, sizeof label - 1},
                                   {CKA_START_DATE, &start, sizeof start},
                                   {CKA_END_DATE, &end, sizeof end},
                                   {CKA_ALLOWED_MECHANISMS, allowed, sizeof allowed}},
                 change[] = {{CKA_LABEL, other, sizeof other - 1},
                             {CKA_ID, other, sizeof other - 1},
                             {CKA_END_DATE, &start, sizeof start}},
                 got = {CKA_END_DATE, &end, sizeof end};
    CK_OBJECT_HANDLE mine = CK_INVALID_HANDLE, copy = CK_INVALID_HANDLE;
    CK_RV rv = f->C_CreateObject(session, key_template, 8, &mine), last = CKR_OK;

    if (rv == CKR_OK)
        rv = f->C_CopyObject(session, mine, NULL, 0, &copy);
    if (rv == CKR_OK)
        rv = f->C_GetAttributeValue(session, copy, &got, 1);
    if (rv == CKR_OK && memcmp(&end, "20360102", sizeof end) != 0)
        rv = CKR_VENDOR_DEFINED;
    if (rv == CKR_OK)
        rv = f->C_SetAttributeValue(session, copy, change, 3);
    if (mine != CK_INVALID_HANDLE)
        last = f->C_DestroyObject(session, mine);
    if (copy != CK_INVALID_HANDLE && last == CKR_OK)
        last = f->C_DestroyObject(session, copy);
    return rv == CKR_OK ? last : rv;
}

static CK_RV configuration_touch(void)
{
    FILE *conf = fopen(getenv("PPK_CONF"), "ae");

    if (conf == NULL || fputs("! a comment\n", conf) < 0 || fclose(conf) != 0)
        return CKR_FUNCTION_FAILED;
    usleep(1100000);
    return CKR_OK;
}

static CK_RV sockets_forbid(uint32_t action)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return CKR_FUNCTION_FAILED;
    return CKR_OK;
}

/* OK is also that the host's own configuration does not let it. */
static CK_RV host_digest(void)
{
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    bool good = EVP_Digest("x", 1, out, &len, EVP_sha256(), NULL) == 1;

    printf("%s ", good ? "good" : "refused");
    return CKR_OK;
}

static CK_RV marker_keep(const char *text)
{
    size_t len = strlen(text);

    marker = malloc(len + 1);
    if (marker == NULL)
        return CKR_HOST_MEMORY;
    for (size_t i = 0; i < len; i++)
        marker[i] = text[len - 1 - i];
    marker[len] = '\0';
    return CKR_OK;
}

static CK_RV line_await(void)
{
    char line[16];

    printf("wait %ld\n", (long)getpid());
    fflush(stdout);
    return fgets(line, sizeof line, stdin) != NULL ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV child_await(void)
{
    int status = -1;
    pid_t child = 0;

    fflush(stdout);
    child = fork();
    if (child == 0)
        _exit(line_await() == CKR_OK ? 0 : 1);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? CKR_OK : CKR_FUNCTION_FAILED;
}

static CK_RV word_do(char *word)
{
    char *value = strchr(word, '=');

    if (value != NULL)
        *value++ = '\0';
    else
        value = word + strlen(word);
    printf("%s ", word);
    if (strcmp(word, "init") == 0)
        return initialize();
    if (strcmp(word, "find") == 0)
        return find_hex(value);
    if (strcmp(word, "manual") == 0)
        return find((uint8_t *)value, strlen(value));
    if (strcmp(word, "derive") == 0)
        return derive();
    if (strcmp(word, "sign") == 0)
        return sign();
    if (strcmp(word, "random") == 0)
        return random_get();
    if (strcmp(word, "objects") == 0)
        return objects_handle();
    if (strcmp(word, "reload") == 0)
        return configuration_touch();
    if (strcmp(word, "wrap") == 0)
        return wrap(value);
    if (strcmp(word, "destroy") == 0)
        return f->C_DestroyObject(session, key);
    if (strcmp(word, "list") == 0)
        return search(NULL, 0);
    if (strcmp(word, "finalize") == 0)
        return f->C_Finalize(NULL);
    if (strcmp(word, "no-sockets") == 0)
        return sockets_forbid(SECCOMP_RET_ERRNO | EPERM);
    if (strcmp(word, "killed-sockets") == 0)
        return sockets_forbid(SECCOMP_RET_KILL_PROCESS);
    if (strcmp(word, "digest") == 0)
        return host_digest();
    if (strcmp(word, "marker") == 0)
        return marker_keep(value);
    if (strcmp(word, "fork") == 0)
        return child_await();
    if (strcmp(word, "wait") == 0)
        return line_await();
    if (strcmp(word, "abort") == 0)
        abort();
    return CKR_ARGUMENTS_BAD;
}

int main(int argc, char **argv)
{
    void *module = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    CK_C_GetFunctionList list = NULL;

    if (module != NULL)
        *(void **)&list = dlsym(module, "C_GetFunctionList");
    if (list == NULL || list(&f) != CKR_OK) {
        fprintf(stderr, "host: %s\n", argc > 1 ? dlerror() : "MODULE WORD...");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        printf("0x%lx\n", word_do(argv[i]));
        fflush(stdout);
    }
    return 0;
}
