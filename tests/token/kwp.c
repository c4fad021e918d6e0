/* SPDX-License-Identifier: BSD-2-Clause */
#include "kwp.h"

#include <openssl/evp.h>

CK_MECHANISM kwp = {CKM_AES_KEY_WRAP_KWP, NULL, 0};

CK_OBJECT_HANDLE kwp_import(CK_SESSION_HANDLE s, const void *value, size_t len, const CK_ATTRIBUTE_TYPE *may)
{
    struct template t = {.n = 0};
    CK_OBJECT_HANDLE o = 0;

    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_number(&t, CKA_KEY_TYPE, CKK_AES);
    template_bytes(&t, CKA_VALUE, value, len);
    for (; may != NULL && *may != 0; may++)
        template_bool(&t, *may, true);
    require_ok(f->C_CreateObject(s, t.a, t.n, &o));
    return o;
}

static size_t run(int seal, const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t len, uint8_t *out)
{
    const EVP_CIPHER *cipher = kek_len == 16   ? EVP_aes_128_wrap_pad()
                               : kek_len == 24 ? EVP_aes_192_wrap_pad()
                                               : EVP_aes_256_wrap_pad();
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0;

    EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_CipherInit_ex(c, cipher, NULL, kek, NULL, seal) != 1 ||
        EVP_CipherUpdate(c, out, &n, in, (int)len) != 1)
        n = 0;
    EVP_CIPHER_CTX_free(c);
    return n < 0 ? 0 : (size_t)n;
}

size_t kwp_open(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t len, uint8_t out[static 64])
{
    return len > 64 ? 0 : run(0, kek, kek_len, in, len, out);
}

size_t kwp_seal(const uint8_t *kek, size_t kek_len, const uint8_t *in, size_t len, uint8_t *out)
{
    return run(1, kek, kek_len, in, len, out);
}
