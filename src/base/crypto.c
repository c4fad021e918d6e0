/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/crypto.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <sys/random.h>

static _Atomic(OSSL_LIB_CTX *) context;

/* A context with the default provider and nothing else: no configuration file is read, so nothing of the
 * host's (engines, PKCS#11 providers, which would lead back to us) is loaded. */
static OSSL_LIB_CTX *context_new(OSSL_PROVIDER **provider)
{
    OSSL_LIB_CTX *made = NULL;

    ERR_set_mark(); /* the error queue is the host's */
    made = OSSL_LIB_CTX_new();
    *provider = made ? OSSL_PROVIDER_load(made, "default") : NULL;
    if (made && !*provider) {
        OSSL_LIB_CTX_free(made);
        made = NULL;
    }
    ERR_pop_to_mark();
    return made;
}

OSSL_LIB_CTX *crypto_context(void)
{
    OSSL_LIB_CTX *now = atomic_load_explicit(&context, memory_order_acquire);

    if (!crypto_alive())
        return NULL;
    if (now)
        return now;
    /* No lock: a host's thread may come back to us from within. Whoever is second throws his own away. */
    OSSL_PROVIDER *provider = NULL;
    OSSL_LIB_CTX *made = context_new(&provider);
    if (!made)
        return NULL;
    if (atomic_compare_exchange_strong(&context, &now, made))
        return made;
    OSSL_PROVIDER_unload(provider);
    OSSL_LIB_CTX_free(made);
    return now;
}

void crypto_after_fork(void)
{
    static OSSL_LIB_CTX *left_behind; /* to free it could mean to wait for its locks */
    OSSL_LIB_CTX *old = atomic_exchange(&context, NULL);

    if (old)
        left_behind = old;
    (void)left_behind;
}

bool crypto_alive(void)
{
    return OPENSSL_init_crypto(0, NULL) == 1;
}

/* The thread's own generator of our context, asked directly: RAND_bytes_ex() would first ask for a
 * RAND_METHOD that the host may have set, under a lock of the whole process, which a forked child may find
 * held for ever. */
static bool random_bytes(EVP_RAND_CTX *generator(OSSL_LIB_CTX *), void *out, size_t len)
{
    OSSL_LIB_CTX *c = crypto_context();

    if (!c)
        return false;
    ERR_set_mark();
    EVP_RAND_CTX *g = generator(c);
    bool ok = g && EVP_RAND_generate(g, out, len, 0, 0, NULL, 0) == 1;
    ERR_pop_to_mark();
    return ok;
}

/* From the kernel: it need not be set up, which costs OpenSSL's generator a good part of a millisecond, and
 * makes it load the configuration of the host's default context. */
bool crypto_random(void *out, size_t len)
{
    uint8_t *at = out;

    while (len > 0) {
        ssize_t n = getrandom(at, len, GRND_NONBLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) /* too early in a boot, or forbidden */
            return random_bytes(RAND_get0_public, at, len);
        at += n;
        len -= (size_t)n;
    }
    return true;
}

bool crypto_random_private(void *out, size_t len)
{
    return random_bytes(RAND_get0_private, out, len);
}
