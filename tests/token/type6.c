/* SPDX-License-Identifier: BSD-2-Clause */
#include "type6.h"

#include "harness.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

void type6_make(const char *master, const char *secret, char *out, size_t room)
{
    uint8_t blob[29 + 256 + 16], key[32];
    size_t len = strlen(secret);
    int n;
    blob[0] = 1;
    RAND_bytes(blob + 1, 28);
    assert_int_equal(EVP_PBE_scrypt(master, strlen(master), blob + 1, 16, 16384, 8, 1, 64 << 20, key, 32), 1);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, blob + 17);
    EVP_EncryptUpdate(c, NULL, &n, blob, 29);
    EVP_EncryptUpdate(c, blob + 29, &n, (const unsigned char *)secret, (int)len);
    EVP_EncryptFinal_ex(c, blob + 29 + n, &n);
    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, blob + 29 + len);
    EVP_CIPHER_CTX_free(c);
    char base64[600];
    n = EVP_EncodeBlock((unsigned char *)base64, blob, (int)(29 + len + 16));
    while (n > 0 && base64[n - 1] == '=')
        base64[--n] = '\0';
    for (int i = 0; i < n; i++)
        base64[i] = base64[i] == '+' ? '-' : base64[i] == '/' ? '_' : base64[i];
    snprintf(out, room, "%s", base64);
}
