/* SPDX-License-Identifier: BSD-2-Clause */
/* The token's side of ppk-bench-net. What fails says why on standard error. */
#ifndef PPK_BENCH_NET_TOKEN_H
#define PPK_BENCH_NET_TOKEN_H

#include "base/bytes.h"
#include "net.h"

struct net_token {
    CK_FUNCTION_LIST_PTR f;
};

bool net_token_start(struct net_token *t);

/* A session with the token of this name, or CK_INVALID_HANDLE. */
CK_SESSION_HANDLE net_token_open(struct net_token *t, const char *keyring);

/* A new PPK of the peer "peer", or the one of an ID (hex): nanoseconds, or 0. */
uint64_t net_token_new_key(struct net_token *t, CK_SESSION_HANDLE session);
uint64_t net_token_by_id(struct net_token *t, CK_SESSION_HANDLE session, const char *id);

/* `n` PPKs by some threads with a session each: new ones, or those of n IDs. The nanoseconds in all, or 0. */
uint64_t net_token_crowd(struct net_token *t, const char *keyring, unsigned threads, size_t n,
                         const char (*ids)[NET_ID_MAX + 1]);

#endif
