/* SPDX-License-Identifier: BSD-2-Clause */
/* ppk-bench-net MODULE FOLDER ALICE-PORT BOB-PORT [--quick]: see net.py, which starts the key sources and
 * writes the configuration into FOLDER. The keyrings there: alice asks the key source Alice for new keys and
 * bob Bob for those keys by their IDs; pool has prefetched ones; healthy, refused and hung ask Alice alone,
 * or after a server that refuses connections or never answers. */
#include "memory.h"
#include "net_token.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    SEQUENCE = 8000, /* requests by ID one after the other, of each side; a quarter of it: new ones */
    PARALLEL = 64,
    EACH = 40, /* requests of each of those in a pass */
    PASSES = 5,
    POOL_TAKEN = 400,
    POOL_WAIT_S = 3,
    FAILOVERS = 15,
    LOAD = 5000, /* keys for the key sources' rates, each turn */
    LOAD_TURNS = 3,
    WARM_EACH = 40,
    HELD_EACH = 600,
    HELD_THREADS = 32,
    QUICK = 20, /* what of that is done to see that it works */
};

static unsigned divisor = 1;

/* How often, of the `full` number. */
static size_t times_of(size_t full)
{
    return full / divisor > 0 ? full / divisor : 1;
}

struct bench {
    struct net_token token;
    struct net_source alice, bob;
    struct net_ids ids;
    size_t used; /* of the IDs */
};

/* A line for ppk-bench. */
static void row(const char *name, double value, const char *unit, const char *text)
{
    (void)printf("%s\t%.3f\t%s\t%s\n", name, value, unit, text);
    (void)fflush(stdout);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Of sorted figures. */
static double percentile(const uint64_t *sorted, size_t n, unsigned percent)
{
    size_t at = n * percent / 100;

    return (double)sorted[at];
}

/* `name` and `what` begin the names and texts of the figures. */
static void report_pair(const char *name, const char *what, uint64_t *ours, uint64_t *bare, size_t n)
{
    static const unsigned percents[] = {50, 90, 99};
    const struct {
        const char *name, *text;
        const uint64_t *times;
    } sides[] = {{"token", "the token", ours}, {"curl", "bare libcurl", bare}};
    char full[48], text[80];

    qsort(ours, n, sizeof *ours, ascending);
    qsort(bare, n, sizeof *bare, ascending);
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++)
        for (size_t side = 0; side < 2; side++) {
            (void)snprintf(full, sizeof full, "%s-p%u-%s", name, percents[i], sides[side].name);
            (void)snprintf(text, sizeof text, "%s, p%u: %s", what, percents[i], sides[side].text);
            row(full, percentile(sides[side].times, n, percents[i]) / 1e3, "us", text);
        }
}

static const char (*take_ids(struct bench *b, size_t n))[NET_ID_MAX + 1]
{
    const char(*from)[NET_ID_MAX + 1] = (const char(*)[NET_ID_MAX + 1])(b->ids.all + b->used);

    if (b->ids.n - b->used < n) {
        (void)fprintf(stderr, "ppk-bench-net: not enough keys\n");
        exit(1);
    }
    b->used += n;
    return from;
}

static bool make_ids(struct bench *b, size_t n)
{
    struct net_crowd *c = net_crowd_new(&b->alice, PARALLEL);
    bool good = c && net_crowd_new_keys(c, n, &b->ids) != 0;

    net_crowd_free(c);
    return good;
}

/* One after the other, over connections that are kept alive; the token and libcurl in turn. */
static bool sequential(struct bench *b, bool by_id)
{
    static uint64_t ours[SEQUENCE], bare[SEQUENCE];
    struct net_client *c = net_client_new(by_id ? &b->bob : &b->alice);
    CK_SESSION_HANDLE session = net_token_open(&b->token, by_id ? "bob" : "alice");
    enum { WARM = 20 };
    const int n = (int)times_of(by_id ? SEQUENCE : SEQUENCE / 4);
    bool good = c && session && (!by_id || make_ids(b, 2 * (size_t)(n + WARM)));

    for (int i = -WARM; i < n && good; i++) {
        const char(*id)[NET_ID_MAX + 1] = by_id ? take_ids(b, 2) : NULL;
        uint64_t took[2] = {0, 0};
        for (int turn = 0; turn < 2; turn++) { /* who is first changes */
            const int side = (turn ^ i) & 1;
            if (side == 0)
                took[0] = by_id ? net_token_by_id(&b->token, session, id[0])
                                : net_token_new_key(&b->token, session);
            else
                took[1] = by_id ? net_client_by_id(c, id[1]) : net_client_new_key(c, NULL);
        }
        good = took[0] && took[1];
        if (i >= 0) {
            ours[i] = took[0];
            bare[i] = took[1];
        }
    }
    net_client_free(c);
    if (good)
        report_pair(by_id ? "fetch-id" : "fetch-new", by_id ? "fetch by ID" : "fetch new", ours, bare,
                    (size_t)n);
    return good;
}

static double own_cpu(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* One turn of it: `n` keys. What the best turn took, and the processor time of who asks there. */
struct rate {
    double took, mine;
};

static bool rate_note(struct rate *best, uint64_t took, double mine, size_t n)
{
    const double each = (double)took / (double)n;

    if (took && (best->took <= 0 || each < best->took))
        *best = (struct rate){each, mine / (double)n * 1e6};
    return took != 0;
}

/* 64 at once, for different IDs: by the token, by curl-multi, and by libcurl in as many threads as the
 * token's callers have, which tells what the threads take, and what the token. */
static bool parallel(struct bench *b)
{
    const size_t n = PARALLEL * times_of(EACH);
    struct rate token = {0, 0}, curl = {0, 0}, threads = {0, 0};
    struct net_crowd *c = net_crowd_new(&b->bob, PARALLEL);
    struct net_client *clients[PARALLEL];
    bool good = c && make_ids(b, 3 * n * (PASSES + 1));

    for (unsigned i = 0; i < PARALLEL; i++) {
        clients[i] = net_client_new(&b->bob);
        good = good && clients[i];
    }
    for (int p = -1; p < PASSES && good; p++) { /* the first makes the connections */
        if (p == 0)
            token = curl = threads = (struct rate){0, 0};
        double cpu = own_cpu();
        uint64_t took = net_token_crowd(&b->token, "bob", PARALLEL, n, take_ids(b, n));
        good = rate_note(&token, took, own_cpu() - cpu, n);
        cpu = own_cpu();
        took = good ? net_crowd_by_id(c, n, take_ids(b, n)) : 0;
        good = rate_note(&curl, took, own_cpu() - cpu, n);
        cpu = own_cpu();
        took = good ? net_clients_by_id(clients, PARALLEL, n, take_ids(b, n)) : 0;
        good = rate_note(&threads, took, own_cpu() - cpu, n);
    }
    for (unsigned i = 0; i < PARALLEL; i++)
        net_client_free(clients[i]);
    net_crowd_free(c);
    if (!good)
        return false;
    row("parallel-token", 1e9 / token.took, "/s", "64 searches at once for different IDs: the token");
    row("parallel-token-client", token.mine, "us",
        "64 searches at once: processor time of who asks, per key");
    row("parallel-curl", 1e9 / curl.took, "/s", "64 requests at once by ID: curl-multi");
    row("parallel-curl-client", curl.mine, "us", "64 requests at once: processor time of who asks, per key");
    row("parallel-threads", 1e9 / threads.took, "/s", "64 requests at once by ID: libcurl in 64 threads");
    row("parallel-threads-client", threads.mine, "us", "64 threads: processor time of who asks, per key");
    return true;
}

static bool pool(struct bench *b)
{
    static uint64_t times[POOL_TAKEN];
    const size_t n = times_of(POOL_TAKEN);
    CK_SESSION_HANDLE session = net_token_open(&b->token, "pool");

    if (!session || !net_token_new_key(&b->token, session)) /* from now on, it is kept filled */
        return false;
    (void)sleep(POOL_WAIT_S);
    for (size_t i = 0; i < n; i++) {
        times[i] = net_token_new_key(&b->token, session);
        if (!times[i])
            return false;
    }
    qsort(times, n, sizeof *times, ascending);
    row("pool-p50", percentile(times, n, 50) / 1e3, "us", "fetch from a filled pool, p50");
    row("pool-p99", percentile(times, n, 99) / 1e3, "us", "fetch from a filled pool, p99");
    return true;
}

/* The first fetch after C_Initialize, so that the broken server is not known as such yet. */
static bool failover(struct bench *b)
{
    static const char *const keyrings[] = {"healthy", "refused", "hung"};
    uint64_t times[3][FAILOVERS];
    const size_t n = times_of(FAILOVERS);

    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++) {
            (void)b->token.f->C_Finalize(NULL);
            if (!net_token_start(&b->token))
                return false;
            times[k][i] = net_token_new_key(&b->token, net_token_open(&b->token, keyrings[k]));
            if (!times[k][i])
                return false;
        }
    for (int k = 0; k < 3; k++)
        qsort(times[k], n, sizeof times[k][0], ascending);
    double healthy = percentile(times[0], n, 50) / 1e6;
    row("failover-none", healthy, "ms", "first fetch after C_Initialize, one server");
    row("failover-refused", percentile(times[1], n, 50) / 1e6 - healthy, "ms",
        "the first of two servers refuses: more than that");
    row("failover-hung", percentile(times[2], n, 50) / 1e6 - healthy, "ms",
        "the first of two servers hangs, hedge 100 ms: more");
    return true;
}

/* What the key sources deliver; the processor time is shared with the one who asks, whose part is told. */
static bool rates(struct bench *b)
{
    struct net_crowd *new_keys = net_crowd_new(&b->alice, PARALLEL),
                     *by_id = net_crowd_new(&b->bob, PARALLEL);
    struct rate rate_new = {0}, rate_id = {0};
    bool good = new_keys && by_id;

    for (int turn = -1; turn < LOAD_TURNS && good; turn++) { /* the first makes the connections */
        const size_t n = turn < 0 ? (size_t)2 * PARALLEL : times_of(LOAD);
        if (turn <= 0)
            rate_new = rate_id = (struct rate){0, 0};
        double cpu = own_cpu();
        uint64_t took = net_crowd_new_keys(new_keys, n, &b->ids);
        good = rate_note(&rate_new, took, own_cpu() - cpu, n);
        cpu = own_cpu();
        took = good ? net_crowd_by_id(by_id, n, take_ids(b, n)) : 0;
        good = rate_note(&rate_id, took, own_cpu() - cpu, n);
    }
    net_crowd_free(new_keys);
    net_crowd_free(by_id);
    if (!good)
        return false;
    row("skipd-new", 1e9 / rate_new.took, "/s", "skipd: new keys, synchronized on disk at both ends");
    row("skipd-new-client", rate_new.mine, "us", "skipd: new keys: processor time of who asks, per key");
    row("skipd-id", 1e9 / rate_id.took, "/s", "skipd: keys by ID");
    row("skipd-id-client", rate_id.mine, "us", "skipd: keys by ID: processor time of who asks, per key");
    return true;
}

/* What the process grows by for each PPK, in all. */
static bool memory(struct bench *b)
{
    (void)b->token.f->C_Finalize(NULL);
    if (!net_token_start(&b->token) ||
        !net_token_crowd(&b->token, "alice", HELD_THREADS, (size_t)HELD_THREADS * WARM_EACH,
                         NULL)) /* connections, threads */
        return false;
    (void)malloc_trim(0); /* what is free does not hide what is taken */
    double before = resident_bytes();
    if (!net_token_crowd(&b->token, "alice", HELD_THREADS, HELD_THREADS * times_of(HELD_EACH), NULL))
        return false;
    (void)malloc_trim(0);
    row("memory-fetched", (resident_bytes() - before) / (double)(HELD_THREADS * times_of(HELD_EACH)), "bytes",
        "memory per PPK that was fetched and is held");
    return true;
}

static bool token_load(struct bench *b, const char *module)
{
    CK_C_GetFunctionList get = NULL;
    void *dl = dlopen(module, RTLD_NOW | RTLD_LOCAL);

    if (dl)
        *(void **)&get = dlsym(dl, "C_GetFunctionList");
    if (!get || get(&b->token.f) != CKR_OK) {
        (void)fprintf(stderr, "ppk-bench-net: %s cannot be loaded\n", module);
        return false;
    }
    return net_token_start(&b->token);
}

int main(int argc, char **argv)
{
    static struct bench b;
    static char files[6][512], bases[2][64];

    if (argc != 5 && (argc != 6 || strcmp(argv[5], "--quick") != 0)) {
        (void)fprintf(stderr, "usage: ppk-bench-net MODULE FOLDER ALICE-PORT BOB-PORT [--quick]\n");
        return 2;
    }
    divisor = argc == 6 ? QUICK : 1;
    static const char *const names[] = {"enc-a.pem", "enc-a.key", "enc-b.pem",
                                        "enc-b.key", "ca.pem",    "ppk.conf"};
    for (size_t i = 0; i < 6; i++)
        (void)snprintf(files[i], sizeof files[i], "%s/%s", argv[2], names[i]);
    for (size_t i = 0; i < 2; i++)
        (void)snprintf(bases[i], sizeof bases[i], "https://127.0.0.1:%s", argv[3 + i]);
    b.alice = (struct net_source){bases[0], "Bob", files[4], files[0], files[1]};
    b.bob = (struct net_source){bases[1], "Alice", files[4], files[2], files[3]};
    if (setenv("PPK_CONF", files[5], 1) != 0)
        return 1;
    return token_load(&b, argv[1]) && sequential(&b, false) && sequential(&b, true) && parallel(&b) &&
                   pool(&b) && rates(&b) && failover(&b) && memory(&b)
               ? 0
               : 1;
}
