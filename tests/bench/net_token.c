/* SPDX-License-Identifier: BSD-2-Clause */
#include "net_token.h"

#include <stdatomic.h>
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

/* Threads with a session each, which begin at once and take turn by turn what is to be done next. */
struct crowd {
    struct net_token *token;
    const char (*ids)[NET_ID_MAX + 1];
    size_t n;
    _Atomic size_t next;
    _Atomic bool failed;
    pthread_barrier_t start;
};

struct member {
    struct crowd *crowd;
    CK_SESSION_HANDLE session;
    pthread_t thread;
};

static void *work(void *context)
{
    const struct member *m = context;
    struct crowd *c = m->crowd;
    size_t i;

    (void)pthread_barrier_wait(&c->start);
    while ((i = c->next++) < c->n && !c->failed)
        if (!(c->ids ? net_token_by_id(c->token, m->session, c->ids[i])
                     : net_token_new_key(c->token, m->session)))
            c->failed = true;
    return NULL;
}

uint64_t net_token_crowd(struct net_token *t, const char *keyring, unsigned threads, size_t n,
                         const char (*ids)[NET_ID_MAX + 1])
{
    struct member members[NET_THREADS_MAX];
    struct crowd c = {.token = t, .ids = ids, .n = n};

    (void)pthread_barrier_init(&c.start, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++) {
        members[i] = (struct member){.crowd = &c, .session = net_token_open(t, keyring)};
        c.failed = c.failed || members[i].session == CK_INVALID_HANDLE;
        if (pthread_create(&members[i].thread, NULL, work, &members[i]) != 0) {
            perror("ppk-bench-net");
            exit(1);
        }
    }
    uint64_t before = now_ns();
    (void)pthread_barrier_wait(&c.start);
    for (unsigned i = 0; i < threads; i++)
        (void)pthread_join(members[i].thread, NULL);
    uint64_t took = now_ns() - before;
    for (unsigned i = 0; i < threads; i++)
        (void)t->f->C_CloseSession(members[i].session);
    (void)pthread_barrier_destroy(&c.start);
    return c.failed ? 0 : took;
}
