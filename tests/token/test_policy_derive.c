/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys never leave: a configured key as the base key, the second key or both of prf+ and prf, which it may
 * serve: mechanism × kind of key × role × length × template. */
#include "guard.h"
#include "policy.h"

static const uint8_t ni[24] = "nonce of the initiator", nr[24] = "nonce of the responder";

enum role { BASE, SEED_OR_NEW, BOTH };

static void test_prf_plus(void **state)
{
    (void)state;
    static uint8_t want[20000], seed[200];
    policy_start();
    for (size_t i = 0; i < n_kinds; i++) {
        struct kind *k = &kinds[i];
        CK_OBJECT_HANDLE caller = object_import(k->s, known, sizeof known);
        for (int nss = 0; nss < 2; nss++)
            for (int role = BASE; role <= BOTH; role++)
                for (int with_seed = 0; with_seed < 2; with_seed++)
                    for (size_t p = 0; p < 4; p++)
                        for (size_t l = 0; l < 8; l++)
                            for (unsigned v = 0; v < (nss ? 9 : VARIATIONS); v++) {
                                const struct oracle_prf *prf = &oracle_prfs[p];
                                const CK_ULONG len = (CK_ULONG[]){0,
                                                                  1,
                                                                  16,
                                                                  prf->size - 1,
                                                                  prf->size,
                                                                  prf->size + 1,
                                                                  3 * prf->size,
                                                                  255 * prf->size + 1}[l];
                                CK_OBJECT_HANDLE o = 0;
                                struct template t;
                                size_t n = 0;
                                if (role != BASE) {
                                    memcpy(seed, k->value, k->len);
                                    n = k->len;
                                }
                                if (with_seed) {
                                    memcpy(seed + n, ni, sizeof ni);
                                    n += sizeof ni;
                                }
                                template_vary(&t, v, len);
                                expect_case("%s, prf+ %s, role %d, seed %d, %lu bytes, variation %u, NSS's "
                                            "number: %d",
                                            k->name, prf->name, role, with_seed, len, v, nss);
                                CK_RV rv = derive_prf_plus(
                                    k->s, nss, prf, role == SEED_OR_NEW ? caller : k->key,
                                    role == BASE ? 0 : k->key, with_seed ? ni : NULL, sizeof ni, &t, &o);
                                cases++;
                                if (rv != CKR_OK) {
                                    /* what RFC 8784 needs has to work */
                                    if (role == BASE && with_seed && len == prf->size && !k->strict &&
                                        !k->kek && template_entry(&t, CKA_KEY_TYPE) == NULL && !k->psk)
                                        expect_rv(CKR_OK, rv);
                                    if (len == 0)
                                        expect_rv_in(rv, CKR_TEMPLATE_INCOMPLETE,
                                                     CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_MECHANISM_INVALID,
                                                     CKR_MECHANISM_PARAM_INVALID);
                                    guard_release();
                                    continue;
                                }
                                expect(len > 0 && len <= 255 * prf->size, "worked");
                                if (role == SEED_OR_NEW)
                                    oracle_prf_plus(prf, known, sizeof known, seed, n, want, len);
                                else
                                    oracle_prf_plus(prf, k->value, k->len, seed, n, want, len);
                                check_output(k, o, &t, want, len);
                            }
    }
}

static void test_prf(void **state)
{
    (void)state;
    uint8_t want[64], message[200];
    policy_start();
    for (size_t i = 0; i < n_kinds; i++) {
        struct kind *k = &kinds[i];
        CK_OBJECT_HANDLE caller = object_import(k->s, known, sizeof known);
        for (int nss = 0; nss < 2; nss++)
            for (int form = 0; form < 3; form++)
                for (int role = BASE; role <= (form == DERIVE_REKEY ? BOTH : BASE); role++)
                    for (int nonces = 0; nonces < 3; nonces++)
                        for (size_t p = 0; p < 4; p++)
                            for (size_t l = 0; l < 5; l++)
                                for (unsigned v = 0; v < (nss ? 9 : VARIATIONS); v++) {
                                    const struct oracle_prf *prf = &oracle_prfs[p];
                                    const CK_ULONG len =
                                        (CK_ULONG[]){0, 1, prf->size - 1, prf->size, prf->size + 1}[l];
                                    const uint8_t *new_key = role == BASE ? known : k->value,
                                                  *base = role == SEED_OR_NEW ? known : k->value;
                                    size_t new_len = role == BASE ? sizeof known : k->len,
                                           base_len = role == SEED_OR_NEW ? sizeof known : k->len, n = 0;
                                    CK_OBJECT_HANDLE o = 0;
                                    struct template t;
                                    if (form == DERIVE_REKEY)
                                        memcpy(message, new_key, new_len), n += new_len;
                                    if (nonces > 0)
                                        memcpy(message + n, ni, sizeof ni), n += sizeof ni;
                                    if (nonces > 1)
                                        memcpy(message + n, nr, sizeof nr), n += sizeof nr;
                                    template_vary(&t, v, len);
                                    expect_case(
                                        "%s, prf %s, form %d, role %d, %d nonces, %lu bytes, variation %u",
                                        k->name, prf->name, form, role, nonces, len, v);
                                    CK_RV rv = derive_prf(k->s, nss, prf, (enum derive_kind)form,
                                                          role == SEED_OR_NEW ? caller : k->key,
                                                          form != DERIVE_REKEY ? 0
                                                          : role == BASE       ? caller
                                                                               : k->key,
                                                          nonces > 0 ? ni : NULL, sizeof ni,
                                                          nonces > 1 ? nr : NULL, sizeof nr, &t, &o);
                                    cases++;
                                    if (rv != CKR_OK) {
                                        guard_release();
                                        continue;
                                    }
                                    expect(len == 0 || len == prf->size, "worked");
                                    if (form == DERIVE_DATA_AS_KEY)
                                        oracle_hmac(prf, message, n, base, base_len, want);
                                    else
                                        oracle_hmac(prf, base, base_len, message, n, want);
                                    check_output(k, o, &t, want, prf->size);
                                }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_prf_plus), TOKEN_TEST(test_prf)};
    return policy_main("derivations", 200000, tests, sizeof tests / sizeof *tests);
}
