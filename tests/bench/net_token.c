/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_token.h"
#include "net_threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool net_token_start(struct net_token *t)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_RV rv = t->f->C_Initialize(&args);

    if (rv != CKR_OK)
        (void)fprintf(stderr, "ppk-bench-net: C_Initialize: 0x%lx\n", rv);
    return rv == CKR_OK;
}

CK_SESSION_HANDLE net_token_open(struct net_token *t, const char *keyring)
{
    CK_SLOT_ID slots[16];
    CK_ULONG n = sizeof slots / sizeof *slots;
    CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
    CK_TOKEN_INFO info;
    size_t len = strlen(keyring);

    if (t->f->C_GetSlotList(CK_TRUE, slots, &n) != CKR_OK)
        n = 0;
    for (CK_ULONG i = 0; i < n; i++) {
        if (t->f->C_GetTokenInfo(slots[i], &info) != CKR_OK || memcmp(info.label, keyring, len) != 0 ||
            info.label[len] != ' ')
            continue;
        (void)t->f->C_OpenSession(slots[i], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session);
        break;
    }
    if (session == CK_INVALID_HANDLE)
        (void)fprintf(stderr, "ppk-bench-net: no session with keyring %s\n", keyring);
    return session;
}

uint64_t net_token_new_key(struct net_token *t, CK_SESSION_HANDLE session)
{
    static char peer[] = "peer";
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ATTRIBUTE template = {CKA_LABEL, peer, sizeof peer - 1};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    uint64_t before = now_ns();
    CK_RV rv = t->f->C_GenerateKey(session, &mechanism, &template, 1, &key);
    uint64_t took = now_ns() - before;

    if (rv != CKR_OK)
        (void)fprintf(stderr, "ppk-bench-net: C_GenerateKey: 0x%lx\n", rv);
    return rv == CKR_OK ? took : 0;
}

uint64_t net_token_by_id(struct net_token *t, CK_SESSION_HANDLE session, const char *id)
{
    CK_BYTE raw[NET_ID_MAX / 2];
    CK_ATTRIBUTE template = {CKA_ID, raw, strlen(id) / 2};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ULONG n = 0;

    if (!hex_decode(raw, id, strlen(id)))
        return 0;
    uint64_t before = now_ns();
    CK_RV rv = t->f->C_FindObjectsInit(session, &template, 1);
    if (rv == CKR_OK)
        rv = t->f->C_FindObjects(session, &key, 1, &n);
    (void)t->f->C_FindObjectsFinal(session);
    uint64_t took = now_ns() - before;
    if (rv != CKR_OK || n != 1)
        (void)fprintf(stderr, "ppk-bench-net: C_FindObjects: 0x%lx, %lu found\n", rv, n);
    return rv == CKR_OK && n == 1 ? took : 0;
}

struct crowd {
    struct net_token *token;
    const char (*ids)[NET_ID_MAX + 1];
    CK_SESSION_HANDLE sessions[NET_THREADS_MAX];
};

static bool crowd_one(void *context, unsigned thread, size_t i)
{
    struct crowd *c = context;
    CK_SESSION_HANDLE session = c->sessions[thread];

    return (c->ids ? net_token_by_id(c->token, session, c->ids[i]) : net_token_new_key(c->token, session)) !=
           0;
}

uint64_t net_token_crowd(struct net_token *t, const char *keyring, unsigned threads, size_t n,
                         const char (*ids)[NET_ID_MAX + 1])
{
    struct crowd c = {.token = t, .ids = ids};
    bool good = true;

    for (unsigned i = 0; i < threads; i++) {
        c.sessions[i] = net_token_open(t, keyring);
        good = good && c.sessions[i] != CK_INVALID_HANDLE;
    }
    uint64_t took = good ? net_threads(threads, n, crowd_one, &c) : 0;
    for (unsigned i = 0; i < threads; i++)
        (void)t->f->C_CloseSession(c.sessions[i]);
    return took;
}
