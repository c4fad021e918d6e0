/* SPDX-License-Identifier: BSD-2-Clause */
/* ppk-bench-net: the token and bare libcurl at the same two key sources. */
#ifndef PPK_BENCH_NET_H
#define PPK_BENCH_NET_H

#include "bench.h"

/* --- bare libcurl (net_curl.c) --- */

enum { NET_ID_MAX = 64, NET_URL_MAX = 256 };

/* Where to ask, and as whom: PEM files. */
struct net_source {
    const char *base; /* https://HOST:PORT */
    const char *remote;
    const char *ca, *certificate, *key;
};

/* IDs of keys, in hex. */
struct net_ids {
    char (*all)[NET_ID_MAX + 1];
    size_t n, room;
};

struct net_client;

/* One connection, kept alive, TLS 1.3. NULL: no memory. */
struct net_client *net_client_new(const struct net_source *s);
void net_client_free(struct net_client *c);

/* A new key; its ID goes into `ids` (NULL: nowhere). The nanoseconds it took, or 0: it failed. */
uint64_t net_client_new_key(struct net_client *c, struct net_ids *ids);
uint64_t net_client_by_id(struct net_client *c, const char *id);

/* Those of n IDs by some threads with such a client each. The nanoseconds in all, or 0: one failed. */
uint64_t net_clients_by_id(struct net_client *const *clients, unsigned threads, size_t n,
                           const char (*ids)[NET_ID_MAX + 1]);

/* `n` requests by curl-multi over `parallel` connections, which stay for the next call: new keys whose IDs go
 * into `ids`, or (`by_id`) those of n IDs. The nanoseconds in all, or 0: one failed. */
struct net_crowd;
struct net_crowd *net_crowd_new(const struct net_source *s, unsigned parallel);
void net_crowd_free(struct net_crowd *c);
uint64_t net_crowd_new_keys(struct net_crowd *c, size_t n, struct net_ids *ids);
uint64_t net_crowd_by_id(struct net_crowd *c, size_t n, const char (*ids)[NET_ID_MAX + 1]);

#endif
