/* SPDX-License-Identifier: BSD-2-Clause */
/* prf and prf+ against the published vectors (tests/vectors), and the key schedule of RFC 7296 and RFC 8784
 * made of them. */
#define OPENSSL_SUPPRESS_DEPRECATED 1 /* SHA256_CTX, for nothing_left() */
#include "base/crypto.h"
#include "ike/prf.h"

#include <fcntl.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define VECTORS PPK_SOURCE_DIR "/tests/vectors/"

/* A hex member of an object, decoded; an absent one is empty. The caller frees. */
static struct span member(const json_t *object, const char *name)
{
    const char *hex = json_string_value(json_object_get(object, name));
    size_t len = hex ? strlen(hex) : 0;
    uint8_t *bytes = malloc(len / 2 + 1);

    assert_non_null(bytes);
    assert_true(hex_decode(bytes, hex ? hex : "", len));
    return (struct span){bytes, len / 2};
}

static void release(struct span s)
{
    free((void *)(uintptr_t)s.data); /* NOLINT(performance-no-int-to-ptr) */
}

static enum prf prf_by_name(const char *name)
{
    static const char *const names[] = {"sha1", "sha256", "sha384", "sha512"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0)
            return (enum prf)i;
    }
    fail_msg("no such prf: %s", name);
    return PRF_HMAC_SHA1;
}

static void check_case(const json_t *c)
{
    const char *op = json_string_value(json_object_get(c, "op"));
    enum prf prf = prf_by_name(json_string_value(json_object_get(c, "prf")));
    struct span base = member(c, "base"), ni = member(c, "ni"), nr = member(c, "nr");
    struct span newkey = member(c, "newkey"), seedkey = member(c, "seedkey"), seed = member(c, "seed");
    struct span expected = member(c, "out");
    uint8_t out[PRF_MAX * 255];

    if (strcmp(op, "prf_plus") == 0) {
        assert_true(prf_plus(prf, base, (struct span[]){seedkey, seed}, 2, out, expected.len));
    } else {
        assert_int_equal(expected.len, prf_size(prf));
        if (strcmp(op, "prf_data_as_key") == 0) {
            uint8_t nonces[1024];
            memcpy(nonces, ni.data, ni.len);
            memcpy(nonces + ni.len, nr.data, nr.len);
            assert_true(prf_compute(prf, (struct span){nonces, ni.len + nr.len}, &base, 1, out));
        } else if (strcmp(op, "prf_rekey") == 0) {
            assert_true(prf_compute(prf, base, (struct span[]){newkey, ni, nr}, 3, out));
        } else {
            fail_msg("no such op: %s", op);
        }
    }
    assert_memory_equal(out, expected.data, expected.len);
    struct span all[] = {base, ni, nr, newkey, seedkey, seed, expected};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
}

static void vectors(void **state)
{
    json_t *file = json_load_file(VECTORS "ikev2-kdf.json", 0, NULL);
    json_t *cases = json_object_get(file, "cases");

    (void)state;
    assert_true(json_array_size(cases) >= 20);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(json_array_get(cases, i));
    json_decref(file);
}

/* The whole chain of RFC 7296, 2.14, 2.17 and 2.18: SKEYSEED, SK_*, KEYMAT of a child SA (with a new key
 * exchange too), rekeying. */
static void chain(void **state)
{
    json_t *file = json_load_file(VECTORS "ikev2-chain-sha1.json", 0, NULL);
    const json_t *input = json_object_get(file, "input"), *expected = json_object_get(file, "expected");
    struct span ni = member(input, "nInit"), nr = member(input, "nResp"), gir = member(input, "gir"),
                gir_new = member(input, "girNew"), spi_i = member(input, "spiInit"),
                spi_r = member(input, "spiResp");
    struct span want[] = {member(expected, "sKeySeed"), member(expected, "derivedKeyingMaterial"),
                          member(expected, "derivedKeyingMaterialChild"),
                          member(expected, "derivedKeyingMaterialDh"), member(expected, "sKeySeedReKey")};
    uint8_t nonces[64], seed[20], keys[512], out[512];

    (void)state;
    memcpy(nonces, ni.data, ni.len);
    memcpy(nonces + ni.len, nr.data, nr.len);
    assert_true(prf_compute(PRF_HMAC_SHA1, (struct span){nonces, ni.len + nr.len}, &gir, 1, seed));
    assert_memory_equal(seed, want[0].data, 20);
    assert_true(prf_plus(PRF_HMAC_SHA1, (struct span){seed, 20}, (struct span[]){ni, nr, spi_i, spi_r}, 4,
                         keys, want[1].len));
    assert_memory_equal(keys, want[1].data, want[1].len);
    struct span sk_d = {keys, 20};
    assert_true(prf_plus(PRF_HMAC_SHA1, sk_d, (struct span[]){ni, nr}, 2, out, want[2].len));
    assert_memory_equal(out, want[2].data, want[2].len);
    assert_true(prf_plus(PRF_HMAC_SHA1, sk_d, (struct span[]){gir_new, ni, nr}, 3, out, want[3].len));
    assert_memory_equal(out, want[3].data, want[3].len);
    assert_true(prf_compute(PRF_HMAC_SHA1, sk_d, (struct span[]){gir_new, ni, nr}, 3, out));
    assert_memory_equal(out, want[4].data, want[4].len);

    struct span all[] = {ni, nr, gir, gir_new, spi_i, spi_r, want[0], want[1], want[2], want[3], want[4]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
    json_decref(file);
}

/* RFC 8784, 3: SK_d = prf+(PPK, SK_d'), and so on; each is one block, so it is also prf(PPK, SK' | 0x01). */
static void rfc8784(void **state)
{
    static const uint8_t one = 1;
    uint8_t ppk[32], sk[PRF_MAX], by_plus[PRF_MAX], by_prf[PRF_MAX];

    (void)state;
    memset(ppk, 0x5a, sizeof ppk);
    memset(sk, 0xc3, sizeof sk);
    for (enum prf prf = PRF_HMAC_SHA1; prf <= PRF_HMAC_SHA2_512; prf++) {
        struct span parts[] = {{sk, prf_size(prf)}, {&one, 1}};
        struct span key = {ppk, sizeof ppk};
        assert_true(prf_plus(prf, key, parts, 1, by_plus, prf_size(prf)));
        assert_true(prf_compute(prf, key, parts, 2, by_prf));
        assert_memory_equal(by_plus, by_prf, prf_size(prf));
    }
}

/* RFC 4231, test case 2, in one piece and in several; and a context that was used before gives no trace of
 * it. */
static void parts(void **state)
{
    static const char expected[] = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    static const uint8_t message[] = "what do ya want for nothing?";
    uint8_t want[32], out[PRF_MAX];
    struct span key = {(const uint8_t *)"Jefe", 4};

    (void)state;
    assert_true(hex_decode(want, expected, 64));
    for (size_t cut = 0; cut < sizeof message; cut++) {
        struct prf_state *s = prf_begin(PRF_HMAC_SHA2_256, key);
        assert_non_null(s);
        assert_true(prf_update(s, (struct span){message, cut}));
        assert_true(prf_update(s, (struct span){NULL, 0}));
        assert_true(prf_update(s, (struct span){message + cut, sizeof message - 1 - cut}));
        assert_true(prf_finish(s, out));
        prf_free(s);
        assert_memory_equal(out, want, 32);
    }
    prf_free(prf_begin(PRF_HMAC_SHA2_256, key)); /* abandoned */
    prf_free(NULL);
    assert_true(prf_compute(PRF_HMAC_SHA2_256, key, &(struct span){message, sizeof message - 1}, 1, out));
    assert_memory_equal(out, want, 32);
}

/* Keys of every length, also none and longer than a block; RFC 4231, test case 6. */
static void key_lengths(void **state)
{
    static const char expected[] = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
    static const char empty[] =
        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"; /* HMAC-SHA256("", "") */
    static const char message[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    uint8_t want[32], out[PRF_MAX], key[131];

    (void)state;
    memset(key, 0xaa, sizeof key);
    assert_true(hex_decode(want, expected, 64));
    assert_true(prf_compute(PRF_HMAC_SHA2_256, (struct span){key, sizeof key},
                            &(struct span){(const uint8_t *)message, strlen(message)}, 1, out));
    assert_memory_equal(out, want, 32);
    assert_true(hex_decode(want, empty, 64));
    assert_true(prf_compute(PRF_HMAC_SHA2_256, (struct span){NULL, 0}, NULL, 0, out));
    assert_memory_equal(out, want, 32);
}

static void limits(void **state)
{
    static uint8_t out[255 * 32 + 1], again[255 * 32];
    struct span key = {(const uint8_t *)"key", 3}, seed = {(const uint8_t *)"seed", 4};

    (void)state;
    assert_true(prf_plus(PRF_HMAC_SHA2_256, key, &seed, 1, out, (size_t)255 * 32));
    assert_true(prf_plus(PRF_HMAC_SHA2_256, key, &seed, 1, again, 100)); /* a shorter one is its beginning */
    assert_memory_equal(out, again, 100);
    memset(out, 1, sizeof out);
    assert_false(prf_plus(PRF_HMAC_SHA2_256, key, &seed, 1, out, sizeof out));
    for (size_t i = 0; i < sizeof out; i++)
        assert_int_equal(out[i], 0);
    assert_true(prf_plus(PRF_HMAC_SHA2_256, key, &seed, 1, out, 0));
}

static void *worker(void *arg)
{
    uint8_t first[PRF_MAX * 2], out[PRF_MAX * 2], key[32];
    bool *ok = arg;

    *ok = crypto_random(key, sizeof key);
    for (int i = 0; i < 2000 && *ok; i++) {
        enum prf prf = (enum prf)(i % 4);
        struct span k = {key, sizeof key}, seed = {(const uint8_t *)&i, 0};
        *ok = prf_plus(prf, k, &seed, 1, out, prf_size(prf) * 2);
        if (i < 4)
            memcpy(first, out, sizeof first);
        if (i >= 3 && prf == PRF_HMAC_SHA2_512)
            *ok = *ok && memcmp(first, out, sizeof out) == 0;
    }
    return NULL;
}

static void threads(void **state)
{
    pthread_t ids[20]; /* more than the pool has places */
    bool ok[20];

    (void)state;
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, worker, &ok[i]), 0);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(pthread_join(ids[i], NULL), 0);
        assert_true(ok[i]);
    }
}

/* The same answers for owners as without, whoever used a context before, with another prf or another key. */
static void owners(void **state)
{
    uint8_t keys[3][40], expected[PRF_MAX * 2], out[PRF_MAX * 2];
    const char owner[600] = {0}; /* more than there are places: some share one */
    const struct span seed = {(const uint8_t *)"seed", 4};

    (void)state;
    assert_true(crypto_random(keys, sizeof keys));
    for (size_t i = 0; i < 3 * sizeof owner; i++) {
        enum prf prf = (enum prf)(i / 7 % 4);
        const char *mine = &owner[i % sizeof owner];
        struct span key = {keys[(size_t)(mine - owner) % 3], sizeof keys[0]};
        size_t len = prf_size(prf) * 2 - i % 5;
        assert_true(prf_plus(prf, key, &seed, 1, expected, len));
        assert_true(prf_plus_for(mine, prf, key, &seed, 1, out, len));
        assert_memory_equal(out, expected, len);
        assert_true(prf_compute(prf, key, &seed, 1, expected));
        assert_true(prf_compute_for(mine, prf, key, &seed, 1, out));
        assert_memory_equal(out, expected, prf_size(prf));
        if (i % 3 == 0)
            prf_forget(mine);
    }
    for (size_t i = 0; i < sizeof owner; i++)
        prf_forget(&owner[i]);
}

static const char strangers[2][300]; /* more than there are places: each shares one with one of the others */
static atomic_bool forgotten;

static void *forget(void *arg)
{
    (void)arg;
    for (size_t i = 0; !atomic_load(&forgotten); i++)
        prf_forget(&strangers[1][i % sizeof strangers[1]]);
    return NULL;
}

/* An owner is forgotten while another thread forgets one that has the same place: who comes after him at the
 * same address does not get his context. */
static void forgotten_together(void **state)
{
    const struct span seed = {(const uint8_t *)"seed", 4};
    uint8_t keys[2][32], expected[2][PRF_MAX], out[PRF_MAX];
    pthread_t id;

    (void)state;
    assert_true(crypto_random(keys, sizeof keys));
    for (size_t k = 0; k < 2; k++)
        assert_true(
            prf_compute(PRF_HMAC_SHA2_256, (struct span){keys[k], sizeof keys[k]}, &seed, 1, expected[k]));
    assert_int_equal(pthread_create(&id, NULL, forget, NULL), 0);
    size_t wrong = 0;
    for (size_t i = 0; i < 600000; i++) {
        const char *mine = &strangers[0][i / 2 % sizeof strangers[0]];
        const struct span key = {keys[i % 2], sizeof keys[0]};
        assert_true(prf_compute_for(mine, PRF_HMAC_SHA2_256, key, &seed, 1, out));
        wrong += memcmp(out, expected[i % 2], 32) != 0;
        prf_forget(mine);
    }
    atomic_store(&forgotten, true);
    assert_int_equal(pthread_join(id, NULL), 0);
    assert_int_equal(wrong, 0);
}

/* How often the process's memory holds these bytes. `inverted` is not found itself. */
static size_t residue(const uint8_t inverted[32])
{
    static uint8_t page[4096 + 32];
    FILE *maps = fopen("/proc/self/maps", "re");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    char line[512];
    size_t found = 0;

    assert_non_null(maps);
    assert_true(memory >= 0);
    while (fgets(line, sizeof line, maps)) {
        char *end = NULL;
        unsigned long from = strtoul(line, &end, 16), to = strtoul(end + 1, &end, 16);
        if (strncmp(end, " rw", 3) != 0 || to - from > 1UL << 28)
            continue;
        for (unsigned long at = from; at < to; at += 4096) {
            ssize_t got = pread(memory, page, sizeof page, (off_t)at);
            if (at + 4096 > (uintptr_t)page && at < (uintptr_t)page + sizeof page)
                continue;
            for (ssize_t i = 0; i + 32 <= got; i += 4) {
                size_t n = 0;
                while (n < 32 && (page[i + (ssize_t)n] ^ inverted[n]) == 0xff)
                    n++;
                found += n == 32 && i < 4096;
            }
        }
    }
    (void)close(memory);
    (void)fclose(maps);
    return found;
}

/* The hash states that HMAC-SHA256 makes of a key are as good as the key: none is left behind a call, unless
 * for an owner, until he is forgotten. */
static void nothing_left(void **state)
{
    struct states {
        SHA256_CTX sha;
        uint8_t block[64];
    } * s;
    uint8_t key[32], out[PRF_MAX], inverted[2][32];
    const struct span seed = {(const uint8_t *)"seed", 4};

    (void)state;
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
    skip(); /* they map so much memory that looking through it takes long */
#endif
    s = malloc(sizeof *s);
    assert_non_null(s);
    assert_true(crypto_random(key, sizeof key));
    for (int outer = 0; outer < 2; outer++) {
        memset(s->block, outer ? 0x5c : 0x36, sizeof s->block);
        for (size_t i = 0; i < sizeof key; i++)
            s->block[i] ^= key[i];
        SHA256_Init(&s->sha);
        SHA256_Update(&s->sha, s->block, sizeof s->block);
        for (size_t i = 0; i < 32; i++)
            inverted[outer][i] = (uint8_t) ~((const uint8_t *)s->sha.h)[i];
    }
    OPENSSL_cleanse(s, sizeof *s);
    free(s);
    const struct span k = {key, sizeof key};
    for (int turn = 0; turn < 2; turn++) {
        assert_true(prf_compute(PRF_HMAC_SHA2_256, k, &seed, 1, out));
        assert_int_equal(residue(inverted[0]) + residue(inverted[1]), 0);
        assert_true(prf_plus(PRF_HMAC_SHA2_256, k, &seed, 1, out, sizeof out));
        assert_int_equal(residue(inverted[0]) + residue(inverted[1]), 0);
        struct prf_state *parts = prf_begin(PRF_HMAC_SHA2_256, k);
        assert_true(residue(inverted[0]) > 0); /* while it is at work, it is there: so it would be seen */
        prf_free(parts);
        assert_int_equal(residue(inverted[0]) + residue(inverted[1]), 0);
        assert_true(prf_plus_for(&turn, PRF_HMAC_SHA2_256, k, &seed, 1, out, sizeof out));
        assert_true(residue(inverted[1]) > 0);
        prf_forget(&turn);
        assert_int_equal(residue(inverted[0]) + residue(inverted[1]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),      cmocka_unit_test(chain),  cmocka_unit_test(rfc8784),
        cmocka_unit_test(parts),        cmocka_unit_test(limits), cmocka_unit_test(key_lengths),
        cmocka_unit_test(threads),      cmocka_unit_test(owners), cmocka_unit_test(forgotten_together),
        cmocka_unit_test(nothing_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
