/* SPDX-License-Identifier: BSD-2-Clause */
/* rooms FLOW [ARGUMENT]: what single rooms do, twice, for the tests that let calls fail in it. Whatever
 * fails, a function either does not succeed, or what it gives is right. Prints for each time "all", or how
 * many calls did not succeed; ends with 1 and a line "WRONG" if anything was wrong.
 *
 *   secret          secrets in the arena, most of them sealed, since little may be locked
 *   prf             each prf and prf+, against values that were computed elsewhere
 *   type6           secrets of a configuration, sealed and opened
 *   store WHERE     skipd's store: SQLite in the file WHERE, or PostgreSQL by the connection string WHERE
 */
#include "base/crypto.h"
#include "base/secret.h"
#include "config/type6.h"
#include "ike/prf.h"
#include "skipd/seal.h"
#include "skipd/store.h"

#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned refused;

/* Counts what did not succeed. */
static bool went(bool good)
{
    refused += !good;
    return good;
}

static void right(bool good, const char *what)
{
    if (good)
        return;
    printf("WRONG %s\n", what);
    exit(1);
}

/* Also root's locked memory has the limit then. */
static void memory_limit(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    const struct rlimit limit = {16384, 16384};

    right(syscall(SYS_setrlimit, RLIMIT_MEMLOCK, &limit) == 0 && syscall(SYS_capset, &header, none) == 0,
          "the limit");
}

static void secret_flow(const char *unused)
{
    enum { SECRETS = 600, LEN = 32 };
    static struct secret *s[SECRETS];
    uint8_t value[LEN];
    struct secret_view view;
    struct secret_draft draft;

    (void)unused;
    for (unsigned i = 0; i < SECRETS; i++) {
        memset(value, (int)i, LEN);
        memcpy(value, &i, sizeof i);
        if (i % 2 == 0) {
            s[i] = secret_new(value, LEN);
        } else if (went(secret_draft_begin(&draft, LEN))) {
            memcpy(draft.data, value, LEN);
            s[i] = secret_draft_finish(&draft);
        }
        (void)went(s[i] != NULL);
    }
    for (unsigned i = 0; i < SECRETS; i++) {
        memset(value, (int)i, LEN);
        memcpy(value, &i, sizeof i);
        if (s[i] == NULL)
            continue;
        if (went(secret_open(s[i], &view))) {
            right(view.len == LEN && memcmp(view.data, value, LEN) == 0, "another secret");
            secret_close(&view);
        }
        if (i > 0 && s[i - 1] != NULL)
            right(!secret_equal(s[i], s[i - 1]), "two secrets are one");
    }
    for (unsigned i = 0; i < SECRETS; i++) {
        secret_free(s[i]);
        s[i] = NULL;
    }
    struct secret_stats stats;
    secret_stats_read(&stats);
    right(stats.secrets == 0, "a secret is left");
    if (went(secret_draft_begin(&draft, LEN)))
        secret_draft_drop(&draft);
}

/* prf+(key, "seed") of 100 bytes; its first block is prf(key, "seed" | 1) */
static void prf_flow(const char *unused)
{
    static const char *const expected[] = {
#include "rooms_prf.h"
    };
    static const uint8_t key[32] = "the key of these values, 32 byte";
    const struct span seed[2] = {{(const uint8_t *)"se", 2}, {(const uint8_t *)"ed", 2}},
                      block[2] = {{(const uint8_t *)"seed", 4}, {(const uint8_t *)"\1", 1}},
                      base = {key, sizeof key};
    uint8_t want[100], out[100];
    size_t len = 0;

    (void)unused;
    for (enum prf prf = PRF_HMAC_SHA1; prf <= PRF_HMAC_SHA2_512; prf++) {
        size_t size = prf_size(prf);
        right(hex_decode(want, expected[prf], 2 * sizeof want), "the test's own value");
        for (int owned = 0; owned < 2; owned++) {
            for (int again = 0; again < 2; again++) {
                if (went(owned ? prf_plus_for(&len, prf, base, seed, 2, out, sizeof out)
                               : prf_plus(prf, base, seed, 2, out, sizeof out)))
                    right(memcmp(out, want, sizeof out) == 0, "prf+");
                if (went(owned ? prf_compute_for(&len, prf, base, block, 2, out)
                               : prf_compute(prf, base, block, 2, out)))
                    right(memcmp(out, want, size) == 0, "prf");
            }
        }
        struct prf_state *s = prf_begin(prf, base);
        if (went(s != NULL) && went(prf_update(s, block[0]) && prf_update(s, block[1]) && prf_finish(s, out)))
            right(memcmp(out, want, size) == 0, "prf in parts");
        prf_free(s);
        prf_forget(&len);
    }
}

static void type6_flow(const char *unused)
{
    static const char value[] = "a pre-shared key";
    struct type6 *t = type6_new("master", 6), *other = type6_new("another", 7);
    struct text text = {0};
    struct fault fault = {""};
    struct secret_view view;

    (void)unused;
    if (went(t != NULL) && went(type6_seal(t, value, sizeof value, &text, &fault)) && went(!text.failed)) {
        struct secret *s = type6_open(t, text.s, &fault);
        if (went(s != NULL) && went(secret_open(s, &view))) {
            right(view.len == sizeof value && memcmp(view.data, value, sizeof value) == 0, "another value");
            secret_close(&view);
        }
        secret_free(s);
        right(other == NULL || type6_open(other, text.s, &fault) == NULL, "opened under another master key");
    }
    text_free(&text);
    type6_free(t);
    type6_free(other);
}

static bool put(const struct store_kind *kind, struct store *store, const struct seal *seal,
                const struct seal_label *label, struct span value)
{
    struct store_row row = {.id_len = label->id.len, .ttl_ms = 60000, .limit = 1000, .limit_rows = 1000};
    struct fault fault = {""};

    memcpy(row.id, label->id.data, label->id.len);
    snprintf(row.initiator, sizeof row.initiator, "%s", label->initiator);
    snprintf(row.responder, sizeof row.responder, "%s", label->responder);
    row.sealed_len = value.len + SEAL_OVERHEAD;
    if (!went(seal_close(seal, label, value, row.sealed)) || !went(kind->begin(store, &fault)))
        return false;
    if (!went(kind->put(store, &row, &fault) == STORE_OK)) {
        kind->rollback(store);
        return false;
    }
    return went(kind->commit(store, &fault));
}

static void take(const struct store_kind *kind, struct store *store, const struct seal *seal,
                 const struct seal_label *label, struct span value, bool there)
{
    struct store_row row = {.id_len = label->id.len};
    struct fault fault = {""};
    uint8_t out[64];
    bool more = false;

    memcpy(row.id, label->id.data, label->id.len);
    snprintf(row.initiator, sizeof row.initiator, "%s", label->initiator);
    snprintf(row.responder, sizeof row.responder, "%s", label->responder);
    if (!went(kind->begin(store, &fault)))
        return;
    enum store_result result = kind->take(store, &row, &fault);
    if (result != STORE_OK) {
        right(!there || result == STORE_FAILED, "a key is gone");
        refused++;
        kind->rollback(store);
        return;
    }
    right(row.found_len == value.len + SEAL_OVERHEAD, "another length");
    if (went(seal_open(seal, label, (struct span){row.found, row.found_len}, out) == SEAL_OPENED))
        right(memcmp(out, value.data, value.len) == 0, "another key");
    row.sealed_len = row.found_len;
    memcpy(row.sealed, row.found, row.found_len);
    if (went(kind->restore(store, &row, &fault) == STORE_OK &&
             kind->expire(store, &more, &fault) == STORE_OK))
        (void)went(kind->commit(store, &fault));
    else
        kind->rollback(store);
}

static void store_flow(const char *where)
{
    const struct store_kind *kind = where[0] == '/' ? &store_sqlite : &store_postgresql;
    static uint8_t id[16] = "an ID of a test";
    static const uint8_t key[32] = "the key of a test, thirty-two by";
    const struct span value = {key, sizeof key};
    struct seal_label label = {{id, sizeof id}, "Alice", "Bob"};
    struct secret *master = secret_new("master", 6);
    struct fault fault = {""};
    struct store *store = NULL;
    struct seal *seal = NULL;

    right(crypto_random(id, sizeof id) || !went(false), "random");
    if (!went(master != NULL))
        return;
    store = kind->open(where, &fault);
    if (went(store != NULL))
        seal = seal_for_store(kind, store, master, &fault);
    else
        right(fault.text[0] != '\0', "a fault without a text");
    if (store != NULL && went(seal != NULL)) {
        for (int i = 0; i < 3; i++) {
            id[0]++;
            bool there = put(kind, store, seal, &label, value);
            take(kind, store, seal, &label, value, there);
        }
        (void)kind->waiting(store);
    }
    seal_free(seal);
    if (store != NULL)
        kind->close(store);
    secret_free(master);
}

static const struct {
    const char *name;
    void (*run)(const char *argument);
} flows[] = {{"secret", secret_flow}, {"prf", prf_flow}, {"type6", type6_flow}, {"store", store_flow}};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof flows / sizeof flows[0]; i++) {
        if (strcmp(argv[1], flows[i].name) != 0)
            continue;
        if (flows[i].run == secret_flow)
            memory_limit();
        for (int time = 0; time < 2; time++) {
            refused = 0;
            flows[i].run(argc > 2 ? argv[2] : "");
            if (refused == 0)
                puts("all");
            else
                printf("%u\n", refused);
            fflush(stdout);
        }
        return 0;
    }
    return 2;
}
