/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
static CK_BYTE bytes[64] = "what is mixed into the keys of an IKE SA, or is to be signed....";

static CK_RV create(struct subject *s, CK_SESSION_HANDLE session, CK_BYTE *id, CK_ULONG len,
                    CK_OBJECT_HANDLE *key)
{
    CK_BYTE value[32];

    memcpy(value, bytes, sizeof value);
    memcpy(value, id, len < sizeof value ? len : sizeof value);
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &secret_key, sizeof secret_key},
        {CKA_KEY_TYPE, &generic, sizeof generic},
        {CKA_TOKEN, &no, sizeof no},
        {CKA_PRIVATE, &no, sizeof no},
        {CKA_SENSITIVE, &yes, sizeof yes},
        {CKA_EXTRACTABLE, &no, sizeof no},
        {CKA_DERIVE, &yes, sizeof yes},
        {CKA_SIGN, &yes, sizeof yes},
        {CKA_ID, id, len},
        {CKA_VALUE, value, sizeof value},
    };

    return s->f->C_CreateObject(session, template, sizeof template / sizeof *template, key);
}

/* A new PPK; source.c gives the IDs in the same order as they are taken elsewhere. */
static CK_RV take(struct subject *s, CK_OBJECT_HANDLE *key)
{
    static char peer[] = "nobody";
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template = {CKA_LABEL, peer, sizeof peer - 1};

    return s->f->C_GenerateKey(s->holder, &mechanism, &template, 1, key);
}

bool objects_grow(struct subject *s, size_t n, CK_RV *rv)
{
    CK_BYTE id[ID_LEN];

    if (n <= s->n_objects)
        return true;
    CK_OBJECT_HANDLE *more = realloc(s->objects, n * sizeof *more);
    if (!more) {
        *rv = CKR_HOST_MEMORY;
        return false;
    }
    s->objects = more;
    while (s->n_objects < n) {
        object_id(s->n_objects, id);
        *rv = s->held ? take(s, &s->objects[s->n_objects])
                      : create(s, s->holder, id, ID_LEN, &s->objects[s->n_objects]);
        if (*rv != CKR_OK)
            return false;
        s->n_objects++;
    }
    return true;
}

static bool keep(struct worker *w, CK_RV rv)
{
    if (rv != CKR_OK)
        w->rv = rv;
    return rv == CKR_OK;
}

static bool open_session(struct worker *w)
{
    struct subject *s = w->subject;

    return keep(w,
                s->f->C_OpenSession(s->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &w->session));
}

static void close_session(struct worker *w)
{
    if (w->session)
        (void)w->subject->f->C_CloseSession(w->session);
    w->session = 0;
}

static bool prepare_mac(struct worker *w)
{
    char digest[16];
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    (void)snprintf(digest, sizeof digest, "%s", w->op->digest);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    w->mac = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    return (w->mac && EVP_MAC_init(w->mac, bytes, 32, params) == 1) || keep(w, CKR_HOST_MEMORY);
}

static void finish(struct worker *w)
{
    EVP_MAC_CTX_free(w->mac);
    w->mac = NULL;
    if (!w->subject->bare)
        close_session(w); /* and with it, its objects */
}

/* A session with a base key, and a second key as the seed. */
static bool prepare_key(struct worker *w)
{
    CK_BYTE base[] = "base", seed[] = "seed";

    if (w->subject->bare)
        return prepare_mac(w);
    return open_session(w) && keep(w, create(w->subject, w->session, base, 4, &w->key)) &&
           keep(w, create(w->subject, w->session, seed, 4, &w->seed_key));
}

/* The base key is the manual PPK of the benchmark's configuration. */
static bool prepare_ppk(struct worker *w)
{
    CK_BYTE id[] = "bench";
    CK_ATTRIBUTE wanted = {CKA_ID, id, sizeof id - 1};
    CK_ULONG n = 0;

    if (w->subject->bare)
        return prepare_mac(w);
    if (!open_session(w) || !keep(w, w->subject->f->C_FindObjectsInit(w->session, &wanted, 1)) ||
        !keep(w, w->subject->f->C_FindObjects(w->session, &w->key, 1, &n)) ||
        !keep(w, w->subject->f->C_FindObjectsFinal(w->session)))
        return false;
    return n == 1 || keep(w, CKR_KEY_HANDLE_INVALID);
}

/* prf+ of as many blocks as are asked for, each with init(key), as a caller without a prepared key would. */
static bool derive_bare(struct worker *w)
{
    CK_ULONG size = w->op->mechanism == CKM_SHA512_HMAC ? 64 : 32;
    unsigned char out[128];
    size_t len = 0;

    for (CK_ULONG done = 0; done < w->op->out; done += size) {
        unsigned char n = (unsigned char)(done / size + 1);
        if (EVP_MAC_init(w->mac, done ? NULL : bytes, done ? 0 : 32, NULL) != 1)
            return keep(w, CKR_GENERAL_ERROR);
        if (done && EVP_MAC_update(w->mac, out + done - size, size) != 1)
            return keep(w, CKR_GENERAL_ERROR);
        if (EVP_MAC_update(w->mac, bytes, w->op->seed) != 1 || EVP_MAC_update(w->mac, &n, 1) != 1 ||
            EVP_MAC_final(w->mac, out + done, &len, size) != 1)
            return keep(w, CKR_GENERAL_ERROR);
    }
    return true;
}

static bool derive(struct worker *w, bool seed_is_key)
{
    struct subject *s = w->subject;
    CK_ULONG len = w->op->out;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &secret_key, sizeof secret_key}, {CKA_KEY_TYPE, &generic, sizeof generic},
        {CKA_SENSITIVE, &yes, sizeof yes},           {CKA_EXTRACTABLE, &no, sizeof no},
        {CKA_VALUE_LEN, &len, sizeof len},
    };
    CK_IKE2_PRF_PLUS_DERIVE_PARAMS params = {.prfMechanism = w->op->mechanism};
    CK_MECHANISM mechanism = {s->prf_plus, &params, sizeof params};
    CK_OBJECT_HANDLE derived = 0;

    if (seed_is_key) {
        params.bHasSeedKey = CK_TRUE;
        params.hSeedKey = w->seed_key;
    } else {
        params.pSeedData = bytes;
        params.ulSeedDataLen = w->op->seed;
    }
    return keep(w, s->f->C_DeriveKey(w->session, &mechanism, w->key, template,
                                     sizeof template / sizeof *template, &derived)) &&
           keep(w, s->f->C_DestroyObject(w->session, derived));
}

static bool derive_data(struct worker *w)
{
    return w->subject->bare ? derive_bare(w) : derive(w, false);
}

static bool derive_key(struct worker *w)
{
    return derive(w, true);
}

static bool sign(struct worker *w)
{
    CK_MECHANISM mechanism = {w->op->mechanism, NULL, 0};
    CK_BYTE out[64];
    CK_ULONG len = sizeof out;
    size_t n = 0;

    if (w->subject->bare)
        return (EVP_MAC_init(w->mac, bytes, 32, NULL) == 1 &&
                EVP_MAC_update(w->mac, bytes, w->op->seed) == 1 &&
                EVP_MAC_final(w->mac, out, &n, sizeof out) == 1) ||
               keep(w, CKR_GENERAL_ERROR);
    return keep(w, w->subject->f->C_SignInit(w->session, &mechanism, w->key)) &&
           keep(w, w->subject->f->C_Sign(w->session, bytes, w->op->seed, out, &len));
}

static bool create_destroy(struct worker *w)
{
    CK_BYTE id[] = "made and destroyed";
    CK_OBJECT_HANDLE key = 0;

    return keep(w, create(w->subject, w->session, id, sizeof id - 1, &key)) &&
           keep(w, w->subject->f->C_DestroyObject(w->session, key));
}

static bool read_attributes(struct worker *w)
{
    CK_BYTE id[32];
    CK_KEY_TYPE type = 0;
    CK_ATTRIBUTE template[] = {{CKA_ID, id, sizeof id}, {CKA_KEY_TYPE, &type, sizeof type}};

    return keep(w, w->subject->f->C_GetAttributeValue(w->session, w->key, template, 2));
}

static bool session_once(struct worker *w)
{
    CK_SESSION_HANDLE session = 0;

    return keep(w, w->subject->f->C_OpenSession(w->subject->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
                                                NULL, &session)) &&
           keep(w, w->subject->f->C_CloseSession(session));
}

static bool find(struct worker *w, uint64_t from, CK_ULONG expected)
{
    CK_FUNCTION_LIST_PTR f = w->subject->f;
    CK_BYTE id[ID_LEN];
    CK_ATTRIBUTE wanted = {CKA_ID, id, sizeof id};
    CK_OBJECT_HANDLE found = 0;
    CK_ULONG n = 0;

    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    object_id(from + (w->random >> 33) % w->subject->n_objects, id);
    if (!keep(w, f->C_FindObjectsInit(w->session, &wanted, 1)) ||
        !keep(w, f->C_FindObjects(w->session, &found, 1, &n)) || !keep(w, f->C_FindObjectsFinal(w->session)))
        return false;
    return n == expected || keep(w, CKR_FUNCTION_FAILED);
}

static bool find_hit(struct worker *w)
{
    return find(w, 0, 1);
}

static bool find_miss(struct worker *w)
{
    return find(w, UINT64_C(1) << 40, 0);
}

/* ---- the machine's memory ---- */

/* As much as a million PPKs take; each line says which one is read next, in one circle of all. */
enum { LINE = 64, LINES = 2 << 20 };

static uint32_t *lines;

static void lines_make(void)
{
    uint32_t *order = malloc(LINES * sizeof *order);
    uint64_t random = 1;

    lines = aligned_alloc(LINE, (size_t)LINES * LINE);
    for (uint32_t i = 0; order && lines && i < LINES; i++) { /* shuffled while it grows */
        random = random * 6364136223846793005u + 1442695040888963407u;
        const uint32_t at = (uint32_t)((random >> 32) % (i + 1));
        order[i] = order[at];
        order[at] = i;
    }
    for (uint32_t i = 0; order && lines && i < LINES; i++)
        lines[(size_t)order[i] * (LINE / sizeof *lines)] = order[(i + 1) % LINES];
    free(order);
}

static bool prepare_read(struct worker *w)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static _Atomic uint32_t next;

    (void)pthread_once(&once, lines_make);
    if (lines) /* another place for each thread */
        w->place = &lines[(size_t)(next++ * 0x9e3779b9u % LINES) * (LINE / sizeof *lines)];
    return lines || keep(w, CKR_HOST_MEMORY);
}

static bool read_once(struct worker *w)
{
    w->place = &lines[(size_t)*w->place * (LINE / sizeof *lines)];
    return true;
}

static void finish_read(struct worker *w)
{
    w->place = NULL;
}

const struct operation operations[] = {
    {.name = "derive-sha256-32",
     .text = "prf+ SHA-256, seed 32, out 32; destroy",
     .bare = true,
     .needs_prf = true,
     .mechanism = CKM_SHA256_HMAC,
     .digest = "SHA2-256",
     .seed = 32,
     .out = 32,
     .prepare = prepare_key,
     .once = derive_data,
     .finish = finish},
    {.name = "derive-ppk",
     .text = "prf+ SHA-256 of a PPK, out 32; destroy",
     .bare = true,
     .ours = true,
     .mechanism = CKM_SHA256_HMAC,
     .digest = "SHA2-256",
     .seed = 32,
     .out = 32,
     .prepare = prepare_ppk,
     .once = derive_data,
     .finish = finish},
    {.name = "derive-sha256-64",
     .text = "prf+ SHA-256, seed 64, out 64; destroy",
     .bare = true,
     .needs_prf = true,
     .mechanism = CKM_SHA256_HMAC,
     .digest = "SHA2-256",
     .seed = 64,
     .out = 64,
     .prepare = prepare_key,
     .once = derive_data,
     .finish = finish},
    {.name = "derive-sha512-64",
     .text = "prf+ SHA-512, seed 64, out 64; destroy",
     .bare = true,
     .needs_prf = true,
     .mechanism = CKM_SHA512_HMAC,
     .digest = "SHA2-512",
     .seed = 64,
     .out = 64,
     .prepare = prepare_key,
     .once = derive_data,
     .finish = finish},
    {.name = "derive-seed-key",
     .text = "prf+ SHA-256, seed a key, out 32; destroy",
     .needs_prf = true,
     .mechanism = CKM_SHA256_HMAC,
     .seed = 32,
     .out = 32,
     .prepare = prepare_key,
     .once = derive_key,
     .finish = finish},
    {.name = "sign-sha256",
     .text = "HMAC-SHA256 sign, 32 bytes",
     .bare = true,
     .mechanism = CKM_SHA256_HMAC,
     .digest = "SHA2-256",
     .seed = 32,
     .prepare = prepare_key,
     .once = sign,
     .finish = finish},
    {.name = "create",
     .text = "create and destroy",
     .prepare = prepare_key,
     .once = create_destroy,
     .finish = finish},
    {.name = "attributes",
     .text = "read CKA_ID, CKA_KEY_TYPE",
     .prepare = prepare_key,
     .once = read_attributes,
     .finish = finish},
    {.name = "session",
     .text = "open and close a session",
     .prepare = prepare_key,
     .once = session_once,
     .finish = finish},
    {.name = "read-memory",
     .text = "one read from memory, among 128 MiB",
     .machine = true,
     .prepare = prepare_read,
     .once = read_once,
     .finish = finish_read},
    {.name = "find-hit",
     .text = "find by CKA_ID, hit",
     .finds = true,
     .prepare = prepare_key,
     .once = find_hit,
     .finish = finish},
    {.name = "find-miss",
     .text = "find by CKA_ID, miss",
     .finds = true,
     .prepare = prepare_key,
     .once = find_miss,
     .finish = finish},
    {.name = "find-ppk",
     .text = "find a held PPK by CKA_ID",
     .finds = true,
     .held = true,
     .prepare = open_session,
     .once = find_hit,
     .finish = finish},
};
const size_t n_operations = sizeof operations / sizeof *operations;
