/* SPDX-License-Identifier: BSD-2-Clause */
/* NSS's softoken as an independent oracle: the same random inputs through its CKM_NSS_IKE_PRF_PLUS_DERIVE and
 * CKM_NSS_IKE_PRF_DERIVE and through the token's must give the same keys. Skipped where libsoftokn3.so is not
 * installed. */
#include "conf.h"
#include "derive.h"
#include "guard.h"

#include <dlfcn.h>
#include <stdlib.h>

/* NSS's own layout: one member more than the standard's */
struct nss_initialize_args {
    void *create, *destroy, *lock, *unlock;
    CK_FLAGS flags;
    const char *parameters;
    void *reserved;
};

static CK_FUNCTION_LIST *nss;
static CK_SESSION_HANDLE nss_session, s;

#if HARNESS_ASAN
/* NSS leaks what it initialized; that is not what is looked for here. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libsoftokn3\nleak:libnspr4\nleak:libnssutil3\nleak:libfreebl\n";
}
#endif

static bool nss_open(void)
{
    void *dl = dlopen("libsoftokn3.so", RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(CK_FUNCTION_LIST **) = NULL;
    if (dl)
        *(void **)&get = dlsym(dl, "NSC_GetFunctionList");
    if (!get || get(&nss) != CKR_OK)
        return false;
    struct nss_initialize_args a = {.flags = CKF_OS_LOCKING_OK,
                                    .parameters = "configdir='' certPrefix='' keyPrefix='' secmod='' "
                                                  "flags=readOnly,noCertDB,noModDB,forceOpen,optimizeSpace"};
    CK_SLOT_ID slots[8];
    CK_ULONG n = 8;
    return nss->C_Initialize(&a) == CKR_OK && nss->C_GetSlotList(CK_FALSE, slots, &n) == CKR_OK && n > 0 &&
           nss->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &nss_session) == CKR_OK;
}

static CK_OBJECT_HANDLE nss_import(const uint8_t *value, size_t len)
{
    CK_OBJECT_HANDLE o = 0;
    struct template t;
    template_secret(&t);
    template_bytes(&t, CKA_VALUE, value, len);
    template_bool(&t, CKA_DERIVE, true);
    assert_int_equal(nss->C_CreateObject(nss_session, t.a, t.n, &o), CKR_OK);
    return o;
}

struct inputs {
    const struct oracle_prf *prf;
    bool plus;
    enum derive_kind kind;
    bool with_other;
    uint8_t base[200], other[200], ni[600], nr[600];
    size_t base_len, other_len, ni_len, nr_len, out_len;
};

static void inputs_fill(struct inputs *in, struct oracle_random *r, int round)
{
    in->prf = &oracle_prfs[round % 4];
    in->plus = oracle_below(r, 3) != 0;
    in->kind = (enum derive_kind)oracle_below(r, 3);
    in->with_other = in->plus ? oracle_below(r, 2) : in->kind == DERIVE_REKEY;
    in->base_len = 1 + oracle_below(r, sizeof in->base);
    in->other_len = 1 + oracle_below(r, sizeof in->other);
    in->ni_len = 1 + oracle_below(r, sizeof in->ni);
    in->nr_len = oracle_below(r, sizeof in->nr + 1);
    in->out_len = in->plus ? 1 + oracle_below(r, 500) : in->prf->size;
    oracle_fill(r, in->base, in->base_len);
    oracle_fill(r, in->other, in->other_len);
    oracle_fill(r, in->ni, in->ni_len);
    oracle_fill(r, in->nr, in->nr_len);
}

static size_t nss_compute(struct inputs *in, uint8_t *out, size_t room)
{
    CK_OBJECT_HANDLE base = nss_import(in->base, in->base_len),
                     other = in->with_other ? nss_import(in->other, in->other_len) : 0, o = 0;
    CK_IKE2_PRF_PLUS_DERIVE_PARAMS p = {in->prf->hmac, in->with_other, other, in->ni, in->ni_len};
    CK_IKE_PRF_DERIVE_PARAMS q = {in->prf->hmac,
                                  in->kind == DERIVE_DATA_AS_KEY,
                                  in->kind == DERIVE_REKEY,
                                  in->ni,
                                  in->ni_len,
                                  in->nr_len ? in->nr : NULL,
                                  in->nr_len,
                                  other};
    CK_MECHANISM m = in->plus ? (CK_MECHANISM){CKM_NSS_IKE_PRF_PLUS_DERIVE, &p, sizeof p}
                              : (CK_MECHANISM){CKM_NSS_IKE_PRF_DERIVE, &q, sizeof q};
    struct template t;
    derive_template(&t, in->out_len);
    CK_RV rv = nss->C_DeriveKey(nss_session, &m, base, t.a, t.n, &o);
    if (!expect(rv == CKR_OK, "NSS's C_DeriveKey: %s", rv_name(rv)))
        return 0;
    CK_ATTRIBUTE a = {CKA_VALUE, out, room};
    assert_int_equal(nss->C_GetAttributeValue(nss_session, o, &a, 1), CKR_OK);
    nss->C_DestroyObject(nss_session, o);
    nss->C_DestroyObject(nss_session, base);
    if (other)
        nss->C_DestroyObject(nss_session, other);
    return a.ulValueLen;
}

static void test_same_as_nss(void **state)
{
    (void)state;
    struct oracle_random r = {0xCE534372};
    static struct inputs in;
    unsigned plus = 0;
    s = harness_start(CONF_MANUAL);
    for (int round = 0; round < 2000; round++) {
        uint8_t want[600];
        inputs_fill(&in, &r, round);
        expect_case("round %d: %s, prf+ %d, kind %d, other %d", round, in.prf->name, in.plus, in.kind,
                    in.with_other);
        size_t n = nss_compute(&in, want, sizeof want);
        expect(n == in.out_len, "NSS gave %zu bytes", n);
        CK_OBJECT_HANDLE base = object_import(s, in.base, in.base_len),
                         other = in.with_other ? object_import(s, in.other, in.other_len) : 0, o = 0;
        struct template t;
        derive_template(&t, in.out_len);
        bool by_nss_number = round & 4;
        CK_RV rv = in.plus ? derive_prf_plus(s, by_nss_number, in.prf, base, other, in.ni, in.ni_len, &t, &o)
                           : derive_prf(s, by_nss_number, in.prf, in.kind, base, other, in.ni, in.ni_len,
                                        in.nr_len ? in.nr : NULL, in.nr_len, &t, &o);
        plus += in.plus;
        if (expect_rv(CKR_OK, rv)) {
            expect_key(s, o, want, n);
            expect_ok(f->C_DestroyObject(s, o));
        }
        expect_ok(f->C_DestroyObject(s, base));
        if (other)
            expect_ok(f->C_DestroyObject(s, other));
        guard_release();
    }
    print_message("compared with NSS: %u prf+, %u prf\n", plus, 2000 - plus);
}

/* NSS knows the manual PPK's value; the token has it from its configuration. Seed as handle and as bytes. */
static void test_ppk_same_as_nss(void **state)
{
    (void)state;
    struct oracle_random r = {8784};
    static struct inputs in;
    s = harness_start(CONF_MANUAL);
    CK_OBJECT_HANDLE ppk = object_by_id(s, MANUAL_1_ID, strlen(MANUAL_1_ID));
    for (int round = 0; round < 400; round++) {
        uint8_t want[600], bytes[64];
        bool as_key = round & 4;
        in.prf = &oracle_prfs[round % 4];
        in.plus = true;
        in.base_len = oracle_unhex(MANUAL_1_HEX, in.base, sizeof in.base);
        oracle_fill(&r, bytes, in.prf->size);
        memcpy(in.ni, bytes, in.ni_len = in.prf->size);
        in.with_other = false;
        in.out_len = in.prf->size;
        expect_case("round %d", round);
        size_t n = nss_compute(&in, want, sizeof want);
        CK_OBJECT_HANDLE seed = as_key ? object_import(s, bytes, in.prf->size) : 0, o = 0;
        struct template t;
        derive_template(&t, in.prf->size);
        if (expect_ok(derive_prf_plus(s, round & 8, in.prf, ppk, seed, as_key ? NULL : bytes, in.prf->size,
                                      &t, &o)))
            expect_key(s, o, want, n);
        guard_release();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TOKEN_TEST(test_same_as_nss), TOKEN_TEST(test_ppk_same_as_nss)};
    if (!nss_open()) {
        fprintf(stderr, "NSS's softoken is not installed: skipped\n");
        return 77;
    }
    harness_load();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
