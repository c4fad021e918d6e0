/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/hash.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

void hash_key_make(struct hash_key *key)
{
    if (getrandom(key->half, sizeof key->half, GRND_NONBLOCK) == (ssize_t)sizeof key->half)
        return;
    struct timespec now; /* so early in a boot: better than a constant */
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    key->half[0] = (uint64_t)(uintptr_t)key ^ (uint64_t)now.tv_nsec << 20;
    key->half[1] = (uint64_t)(uintptr_t)&now ^ (uint64_t)now.tv_sec << 32;
}

static inline uint64_t rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

__attribute__((always_inline)) static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

uint64_t hash_bytes(const struct hash_key *key, struct span s)
{
    uint64_t v[4] = {key->half[0] ^ 0x736f6d6570736575u, key->half[1] ^ 0x646f72616e646f6du,
                     key->half[0] ^ 0x6c7967656e657261u, key->half[1] ^ 0x7465646279746573u};
    uint64_t last = (uint64_t)s.len << 56;
    size_t i = 0;

    for (; i + 8 <= s.len; i += 8) {
        uint64_t m;
        memcpy(&m, s.data + i, 8);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    for (unsigned shift = 0; i < s.len; i++, shift += 8)
        last |= (uint64_t)s.data[i] << shift;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int n = 0; n < 3; n++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
