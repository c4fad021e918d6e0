/* SPDX-License-Identifier: BSD-2-Clause */
#include "skip/sockets.h"

#include <limits.h>
#include <stdatomic.h>
#include <unistd.h>

/* Descriptors above that (a host with a huge limit) are not closed in a child, which does no harm but to the
 * number of its descriptors. */
#define SOCKETS_MAX 65536

static _Atomic unsigned long bits[SOCKETS_MAX / (sizeof(unsigned long) * CHAR_BIT)];

static unsigned long bit_of(int fd, _Atomic unsigned long **word)
{
    const unsigned width = sizeof(unsigned long) * CHAR_BIT;
    *word = &bits[(unsigned)fd / width];
    return 1UL << ((unsigned)fd % width);
}

void sockets_add(int fd)
{
    _Atomic unsigned long *word;
    if (fd >= 0 && fd < SOCKETS_MAX) {
        unsigned long bit = bit_of(fd, &word);
        atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
    }
}

void sockets_remove(int fd)
{
    _Atomic unsigned long *word;
    if (fd >= 0 && fd < SOCKETS_MAX) {
        unsigned long bit = bit_of(fd, &word);
        atomic_fetch_and_explicit(word, ~bit, memory_order_relaxed);
    }
}

void sockets_close_all(void)
{
    const unsigned width = sizeof(unsigned long) * CHAR_BIT;
    for (unsigned i = 0; i < SOCKETS_MAX / width; i++) {
        unsigned long word = atomic_exchange_explicit(&bits[i], 0, memory_order_relaxed);
        for (unsigned j = 0; word != 0; j++, word >>= 1) {
            if (word & 1)
                close((int)(i * width + j));
        }
    }
}
