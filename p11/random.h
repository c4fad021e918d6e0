/* SPDX-License-Identifier: BSD-2-Clause */
/* Random numbers: OpenSSL's generator, and mixed into it what a key source's /entropy and C_SeedRandom gave.
 */
#ifndef PPK_P11_RANDOM_H
#define PPK_P11_RANDOM_H

#include "p11/cryptoki.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A slot's own pool. Its output is combined with the generator's by exclusive or, so that it can only add. */
struct random_pool {
    pthread_mutex_t lock;
    uint8_t *state;  /* 64 bytes of working memory; NULL as long as nothing was mixed in */
    uint64_t count;  /* of outputs */
    uint64_t ask_at; /* clock_ms() time from which on the key source is asked again */
    bool asking;     /* a thread does */
};

void random_pool_init(struct random_pool *p);
void random_pool_clear(struct random_pool *p);

CK_RV random_generate(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG len);
CK_RV random_seed(CK_SESSION_HANDLE session, const CK_BYTE *seed, CK_ULONG len);

/* `len` bytes for a new key in a slot, without asking a key source. False: no randomness. */
struct slot;
bool random_bytes(struct slot *s, uint8_t *out, size_t len);

#endif
