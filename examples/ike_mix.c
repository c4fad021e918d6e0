/* SPDX-License-Identifier: BSD-2-Clause */
/* How an IKE stack uses the token: RFC 7296's schedule and RFC 8784's mixing, for one end of one IKE SA.
 *
 *   ike-mix MODULE TOKEN PEER           the initiator: takes a new PPK for PEER and prints its ID
 *   ike-mix MODULE TOKEN PEER ID-HEX    the responder: finds the PPK by the ID that came in PPK_IDENTITY
 *
 * Standard input gives, as lines of hex, what both ends have from IKE_SA_INIT: the shared secret g^ir, the
 * nonces Ni and Nr, the SPIs SPIi and SPIr. Printed are HMACs over a fixed text with the mixed keys, so that
 * two ends can be compared without a key being seen. */
#include <p11-kit/pkcs11.h>

#include "ppk/pkcs11-3.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRF_LEN 32 /* PRF_HMAC_SHA2_256 */

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE session;

/* Ends the program: an example has nobody to report to. */
static void check(const char *what, CK_RV rv)
{
    if (rv != CKR_OK) {
        fprintf(stderr, "%s: 0x%lx\n", what, rv);
        exit(1);
    }
}

struct octets {
    unsigned char bytes[512];
    size_t len;
};

static bool octets_from_hex(struct octets *o, const char *hex)
{
    size_t digits = strspn(hex, "0123456789abcdefABCDEF");
    o->len = 0;
    if (digits % 2 != 0 || digits / 2 > sizeof o->bytes || (hex[digits] != '\0' && hex[digits] != '\n'))
        return false;
    for (; o->len < digits / 2; o->len++) {
        unsigned octet = 0;
        if (sscanf(hex + 2 * o->len, "%2x", &octet) != 1)
            return false;
        o->bytes[o->len] = (unsigned char)octet;
    }
    return digits > 0;
}

static void octets_read(struct octets *o, const char *name)
{
    char line[1100];
    if (fgets(line, sizeof line, stdin) == NULL || !octets_from_hex(o, line)) {
        fprintf(stderr, "standard input: a line of hex expected for %s\n", name);
        exit(1);
    }
}

static void octets_append(struct octets *to, const struct octets *from)
{
    if (from->len > sizeof to->bytes - to->len)
        exit(1);
    memcpy(to->bytes + to->len, from->bytes, from->len);
    to->len += from->len;
}

static void octets_print(const char *name, const unsigned char *bytes, size_t len)
{
    printf("%s ", name);
    for (size_t i = 0; i < len; i++)
        printf("%02x", bytes[i]);
    printf("\n");
}

/* Loads the module and opens a session with the token (keyring) of this name. */
static void open_token(const char *module, const char *token)
{
    CK_SLOT_ID slots[64];
    CK_ULONG n = 64;
    CK_C_GetFunctionList get_list = NULL;
    void *so = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    if (so != NULL)
        *(void **)&get_list = dlsym(so, "C_GetFunctionList");
    if (get_list == NULL) {
        fprintf(stderr, "%s: %s\n", module, dlerror());
        exit(1);
    }
    check("C_GetFunctionList", get_list(&p11));
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    check("C_Initialize", p11->C_Initialize(&args));
    check("C_GetSlotList", p11->C_GetSlotList(CK_TRUE, slots, &n));
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO info;
        unsigned char label[sizeof info.label];
        memset(label, ' ', sizeof label);
        memcpy(label, token, strlen(token) < sizeof label ? strlen(token) : sizeof label);
        check("C_GetTokenInfo", p11->C_GetTokenInfo(slots[i], &info));
        if (memcmp(label, info.label, sizeof label) == 0) {
            check("C_OpenSession",
                  p11->C_OpenSession(slots[i], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
            return;
        }
    }
    fprintf(stderr, "no token \"%s\"\n", token);
    exit(1);
}

/* The initiator's PPK: a new one, of its own. */
static CK_OBJECT_HANDLE new_ppk(const char *peer)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE template[] = {
        {CKA_LABEL, (void *)(size_t)peer, strlen(peer)},
        {CKA_TOKEN, &yes, sizeof yes},
    };
    check("C_GenerateKey", p11->C_GenerateKey(session, &mechanism, template, 2, &key));
    return key;
}

/* The responder's PPK: the one that the initiator named. */
static CK_OBJECT_HANDLE find_ppk(const char *peer, struct octets *id)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ULONG n = 0;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class},
        {CKA_LABEL, (void *)(size_t)peer, strlen(peer)},
        {CKA_ID, id->bytes, id->len},
    };
    check("C_FindObjectsInit", p11->C_FindObjectsInit(session, template, 3));
    CK_RV rv = p11->C_FindObjects(session, &key, 1, &n);
    check("C_FindObjectsFinal", p11->C_FindObjectsFinal(session));
    check("C_FindObjects", rv);
    if (n == 0) {
        fprintf(stderr, "no PPK of this ID\n");
        exit(1);
    }
    return key;
}

static CK_OBJECT_HANDLE derive(const char *what, CK_OBJECT_HANDLE base, CK_MECHANISM_TYPE type,
                               void *parameter, CK_ULONG parameter_len, CK_ULONG len)
{
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE key_type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_MECHANISM mechanism = {type, parameter, parameter_len};
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &key_type, sizeof key_type},
        {CKA_VALUE_LEN, &len, sizeof len}, {CKA_TOKEN, &no, sizeof no},
        {CKA_SENSITIVE, &yes, sizeof yes}, {CKA_EXTRACTABLE, &no, sizeof no},
        {CKA_DERIVE, &yes, sizeof yes},    {CKA_SIGN, &yes, sizeof yes},
    };
    check(what, p11->C_DeriveKey(session, &mechanism, base, template, 8, &key));
    return key;
}

/* prf+(key, seed), or prf+(key, value of seed_key) if there is one: `len` bytes */
static CK_OBJECT_HANDLE prf_plus(const char *what, CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE seed_key,
                                 struct octets *seed, CK_ULONG len)
{
    CK_IKE2_PRF_PLUS_DERIVE_PARAMS params = {
        .prfMechanism = CKM_SHA256_HMAC,
        .bHasSeedKey = seed_key != CK_INVALID_HANDLE,
        .hSeedKey = seed_key,
        .pSeedData = seed != NULL ? seed->bytes : NULL,
        .ulSeedDataLen = seed != NULL ? seed->len : 0,
    };
    return derive(what, key, CKM_IKE2_PRF_PLUS_DERIVE, &params, sizeof params, len);
}

/* SK_d', SK_pi', SK_pr' of RFC 7296, 2.14: cut out of prf+(SKEYSEED, Ni | Nr | SPIi | SPIr). The SA of this
 * example uses AES-256-GCM: no SK_a*. */
static void schedule(CK_OBJECT_HANDLE sk[3])
{
    struct octets g_ir;
    struct octets ni;
    struct octets nr;
    struct octets spi;
    struct octets seed = {.len = 0};
    octets_read(&g_ir, "g^ir");
    octets_read(&ni, "Ni");
    octets_read(&nr, "Nr");
    octets_append(&seed, &ni);
    octets_append(&seed, &nr);
    octets_read(&spi, "SPIi");
    octets_append(&seed, &spi);
    octets_read(&spi, "SPIr");
    octets_append(&seed, &spi);

    CK_OBJECT_HANDLE shared = CK_INVALID_HANDLE;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE key_type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &key_type, sizeof key_type},
        {CKA_TOKEN, &no, sizeof no},       {CKA_SENSITIVE, &yes, sizeof yes},
        {CKA_EXTRACTABLE, &no, sizeof no}, {CKA_DERIVE, &yes, sizeof yes},
        {CKA_VALUE, g_ir.bytes, g_ir.len},
    };
    check("C_CreateObject", p11->C_CreateObject(session, template, 7, &shared));

    CK_IKE_PRF_DERIVE_PARAMS prf = {
        .prfMechanism = CKM_SHA256_HMAC,
        .bDataAsKey = CK_TRUE,
        .pNi = ni.bytes,
        .ulNiLen = ni.len,
        .pNr = nr.bytes,
        .ulNrLen = nr.len,
    };
    CK_OBJECT_HANDLE skeyseed = derive("SKEYSEED", shared, CKM_IKE_PRF_DERIVE, &prf, sizeof prf, PRF_LEN);
    /* SK_d | SK_ei | SK_er (32 bytes and 4 of salt each) | SK_pi | SK_pr */
    CK_OBJECT_HANDLE keys = prf_plus("SK_*", skeyseed, CK_INVALID_HANDLE, &seed, 3 * PRF_LEN + 2 * 36);
    static const CK_ULONG offsets[3] = {0, PRF_LEN + 72, PRF_LEN + 72 + PRF_LEN};
    for (int i = 0; i < 3; i++) {
        CK_ULONG bit = offsets[i] * 8;
        sk[i] = derive("EXTRACT_KEY_FROM_KEY", keys, CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit, PRF_LEN);
    }
}

static void print_mac(const char *name, CK_OBJECT_HANDLE key)
{
    static unsigned char text[] = "both ends have this key";
    unsigned char mac[32];
    CK_ULONG len = sizeof mac;
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    check("C_SignInit", p11->C_SignInit(session, &mechanism, key));
    check("C_Sign", p11->C_Sign(session, text, sizeof text - 1, mac, &len));
    octets_print(name, mac, len);
}

int main(int argc, char **argv)
{
    static const char *const names[3] = {"SK_d", "SK_pi", "SK_pr"};
    struct octets id;
    CK_OBJECT_HANDLE sk[3];
    if (argc < 4 || argc > 5 || (argc == 5 && !octets_from_hex(&id, argv[4]))) {
        fprintf(stderr, "usage: ike-mix MODULE TOKEN PEER [PPK-ID-IN-HEX]\n");
        return 2;
    }
    open_token(argv[1], argv[2]);
    CK_OBJECT_HANDLE ppk = argc == 5 ? find_ppk(argv[3], &id) : new_ppk(argv[3]);

    CK_ATTRIBUTE attribute = {CKA_ID, id.bytes, sizeof id.bytes};
    check("CKA_ID", p11->C_GetAttributeValue(session, ppk, &attribute, 1));
    octets_print("PPK_ID", id.bytes, attribute.ulValueLen);
    unsigned char value[512];
    CK_ATTRIBUTE secret = {CKA_VALUE, value, sizeof value};
    CK_RV rv = p11->C_GetAttributeValue(session, ppk, &secret, 1);
    printf("CKA_VALUE %s\n",
           rv == CKR_ATTRIBUTE_SENSITIVE ? "refused: CKR_ATTRIBUTE_SENSITIVE" : "NOT REFUSED");

    schedule(sk);
    for (int i = 0; i < 3; i++) /* RFC 8784, 3: SK_x = prf+(PPK, SK_x') */
        print_mac(names[i], prf_plus(names[i], ppk, sk[i], NULL, PRF_LEN));

    /* A PPK is for one IKE SA: it goes as soon as it is mixed in. */
    check("C_DestroyObject", p11->C_DestroyObject(session, ppk));
    check("C_Finalize", p11->C_Finalize(NULL));
    return rv == CKR_ATTRIBUTE_SENSITIVE ? 0 : 1;
}
