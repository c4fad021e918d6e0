/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_kdf.h"

#include "ppk_ref.h"

struct ppk_kdf {
    kdf_t public;
    kdf_t *software; /* the next best implementation */
    pseudo_random_function_t prf;
    bool in_token; /* the key is a reference */
    chunk_t reference, salt;
};

/* The prfs that a PPK may be used with. Those of 128 bits (AES-XCBC, AES-CMAC) would take away what the PPK
 * is for. */
static const struct {
    pseudo_random_function_t prf;
    CK_MECHANISM_TYPE mechanism;
    size_t len;
} prfs[] = {
    {PRF_HMAC_SHA1, CKM_SHA_1_HMAC, 20},
    {PRF_HMAC_SHA2_256, CKM_SHA256_HMAC, 32},
    {PRF_HMAC_SHA2_384, CKM_SHA384_HMAC, 48},
    {PRF_HMAC_SHA2_512, CKM_SHA512_HMAC, 64},
};

static bool derive_in_token(struct ppk_kdf *self, size_t len, chunk_t *out)
{
    struct ppk_sa *sa = ppk_ref_resolve(self->reference);

    if (!sa) {
        DBG1(DBG_CFG, "ppk: error: a PPK reference that is not this IKE_SA's, or no longer");
        return FALSE;
    }
    for (size_t i = 0; i < countof(prfs); i++) {
        if (prfs[i].prf == self->prf)
            return ppk_sa_derive(sa, prfs[i].mechanism, prfs[i].len, self->salt, len, out);
    }
    DBG1(DBG_CFG, "ppk: error: a PPK is not used with %N: propose an HMAC of SHA-2 as prf",
         pseudo_random_function_names, self->prf);
    return FALSE;
}

static key_derivation_function_t get_type(kdf_t *public)
{
    (void)public;
    return KDF_PRF_PLUS;
}

static size_t get_length(kdf_t *public)
{
    (void)public;
    return SIZE_MAX;
}

static bool get_bytes(kdf_t *public, size_t len, uint8_t *buffer)
{
    struct ppk_kdf *self = (struct ppk_kdf *)public;
    chunk_t out;

    if (!self->in_token)
        return self->software->get_bytes(self->software, len, buffer);
    if (!derive_in_token(self, len, &out))
        return FALSE;
    memcpy(buffer, out.ptr, len);
    chunk_clear(&out);
    return TRUE;
}

static bool allocate_bytes(kdf_t *public, size_t len, chunk_t *chunk)
{
    struct ppk_kdf *self = (struct ppk_kdf *)public;

    if (!self->in_token)
        return self->software->allocate_bytes(self->software, len, chunk);
    return derive_in_token(self, len, chunk);
}

static bool set_param(kdf_t *public, kdf_param_t param, ...)
{
    struct ppk_kdf *self = (struct ppk_kdf *)public;
    chunk_t chunk;

    VA_ARGS_GET(param, chunk);
    switch (param) {
    case KDF_PARAM_KEY:
        self->in_token = ppk_ref_is(chunk);
        if (self->in_token) {
            chunk_free(&self->reference);
            self->reference = chunk_clone(chunk);
            return TRUE;
        }
        break;
    case KDF_PARAM_SALT:
        chunk_clear(&self->salt);
        self->salt = chunk_clone(chunk);
        break;
    default:
        return FALSE;
    }
    return self->software->set_param(self->software, param, chunk);
}

static void destroy(kdf_t *public)
{
    struct ppk_kdf *self = (struct ppk_kdf *)public;

    self->software->destroy(self->software);
    chunk_free(&self->reference);
    chunk_clear(&self->salt);
    free(self);
}

bool ppk_kdf_is(const kdf_t *kdf)
{
    return kdf->destroy == destroy;
}

kdf_t *ppk_kdf_create(key_derivation_function_t type, va_list args)
{
    static __thread bool looking; /* for the next implementation: the factory then asks us again, first */
    pseudo_random_function_t prf;
    struct ppk_kdf *self;
    kdf_t *software;
    va_list copy;

    if (type != KDF_PRF_PLUS || looking)
        return NULL;
    va_copy(copy, args);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): the caller started what was copied */
    prf = va_arg(copy, pseudo_random_function_t);
    va_end(copy);
    looking = true;
    software = lib->crypto->create_kdf(lib->crypto, KDF_PRF_PLUS, prf);
    looking = false;
    if (!software)
        return NULL;
    self = calloc(1, sizeof *self);
    self->public.get_type = get_type;
    self->public.get_length = get_length;
    self->public.get_bytes = get_bytes;
    self->public.allocate_bytes = allocate_bytes;
    self->public.set_param = set_param;
    self->public.destroy = destroy;
    self->software = software;
    self->prf = prf;
    return &self->public;
}
