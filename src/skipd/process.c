/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/process.h"

#include <event2/event.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* What libevent frees may have been a key: nothing goes back to the heap unwiped. */
static void wiping_free(void *p)
{
    if (p != NULL)
        OPENSSL_cleanse(p, malloc_usable_size(p));
    free(p);
}

static void *wiping_realloc(void *p, size_t size)
{
    void *q = NULL;
    size_t have = p != NULL ? malloc_usable_size(p) : 0;

    if (size == 0) {
        wiping_free(p);
        return NULL;
    }
    q = malloc(size);
    if (q == NULL || p == NULL)
        return q;
    memcpy(q, p, have < size ? have : size);
    wiping_free(p);
    return q;
}

void process_harden(void)
{
    const struct rlimit none = {0, 0};

    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on files is to be an error of the store like a full disk */
    event_set_mem_functions(malloc, wiping_realloc, wiping_free);
}
