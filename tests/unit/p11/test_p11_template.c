/* SPDX-License-Identifier: BSD-2-Clause */
/* Templates: every attribute of the table with every length and use, hostile pointers, the order of the
 * table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "p11/template.h"

#include "base/log.h"
#include "base/secret.h"

#include <stdlib.h>
#include <string.h>

static const enum template_use uses[] = {USE_CREATE, USE_GENERATE, USE_DERIVE, USE_COPY, USE_SET};
#define USES (sizeof uses / sizeof uses[0])

static CK_RV read_one(enum template_use use, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len,
                      struct template *t)
{
    const CK_ATTRIBUTE a = {type, (void *)value, len};

    return template_read(t, use, &a, 1);
}

/* A buffer of exactly `len` bytes, so that a sanitizer sees one byte too many; not aligned. */
static uint8_t *exact(size_t len, uint8_t fill)
{
    uint8_t *b = malloc(len + 1);

    assert_non_null(b);
    memset(b, fill, len + 1);
    return b;
}

/* Every type up to the vendor's, in all uses, with every small length: an answer, and nothing read beyond. */
static void test_all_types_and_lengths(void **state)
{
    static const CK_ATTRIBUTE_TYPE from[] = {0, CKA_ALLOWED_MECHANISMS - 2, CKA_PPK_VENDOR - 1, ~0UL - 2};
    static const CK_ATTRIBUTE_TYPE to[] = {0x700, CKA_ALLOWED_MECHANISMS + 2, CKA_PPK_VENDOR + 32, ~0UL - 1};
    size_t known = 0;
    (void)state;

    for (size_t range = 0; range < 4; range++)
        for (CK_ATTRIBUTE_TYPE type = from[range]; type <= to[range]; type++) {
            const struct attribute_row *row = attribute_row(type);
            known += row != NULL;
            for (size_t u = 0; u < USES; u++)
                for (CK_ULONG len = 0; len < 20; len++) {
                    uint8_t *value = exact(len, 1);
                    struct template t;
                    CK_RV rv = read_one(uses[u], type, value + 1, len, &t);
                    if (row == NULL)
                        assert_int_equal(rv, CKR_ATTRIBUTE_TYPE_INVALID);
                    else if ((row->uses & uses[u]) == 0)
                        assert_true(rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_READ_ONLY);
                    else if (row->form == FORM_BOOL)
                        assert_int_equal(rv, len == 1 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID);
                    else if (row->form == FORM_ULONG)
                        assert_int_equal(rv, len == 8 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID);
                    else if (row->form == FORM_ADDRESS)
                        assert_int_equal(rv, len == 4 || len == 16 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID);
                    else if (row->form == FORM_DATE) /* 0x01 is no digit */
                        assert_int_equal(rv, len == 0 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID);
                    else if (row->form == FORM_MECHANISMS)
                        assert_int_equal(rv, len % 8 == 0 ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID);
                    else
                        assert_int_equal(rv, CKR_OK);
                    free(value);
                }
        }
    assert_true(known > 35); /* attributes that every range has found by the table's binary search */
}

static void test_hostile(void **state)
{
    struct template t;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE twice[] = {{CKA_SIGN, &yes, 1}, {CKA_SIGN, &yes, 1}};
    CK_ATTRIBUTE ids[] = {{CKA_ID, "a", 1}, {CKA_ID, "a", 1}};
    CK_BBOOL two = 2;
    (void)state;

    assert_int_equal(template_read(&t, USE_CREATE, NULL, 0), CKR_OK);
    assert_int_equal(template_read(&t, USE_CREATE, NULL, 1), CKR_ARGUMENTS_BAD);
    assert_int_equal(template_read(&t, USE_CREATE, twice, ~0UL), CKR_ARGUMENTS_BAD);
    assert_int_equal(template_read(&t, USE_CREATE, twice, 2), CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(template_read(&t, USE_CREATE, ids, 2), CKR_TEMPLATE_INCONSISTENT);
    assert_int_equal(read_one(USE_CREATE, CKA_SIGN, &two, 1, &t), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(read_one(USE_CREATE, CKA_SIGN, NULL, 1, &t), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(read_one(USE_CREATE, CKA_ID, NULL, 5, &t), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(read_one(USE_CREATE, CKA_ID, NULL, 0, &t), CKR_OK);
    assert_int_equal(read_one(USE_CREATE, CKA_ID, "x", ~0UL, &t), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(read_one(USE_CREATE, CKA_LABEL, "x", TEMPLATE_BYTES + 1, &t),
                     CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(read_one(USE_CREATE, CKA_VALUE, "x", SECRET_MAX + 1, &t), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(read_one(USE_CREATE, CKA_START_DATE, "2026010x", 8, &t), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_int_equal(read_one(USE_CREATE, CKA_START_DATE, "20260101", 8, &t), CKR_OK);
}

/* What only the token may say. */
static void test_read_only(void **state)
{
    static const CK_ATTRIBUTE_TYPE flags[] = {CKA_LOCAL,   CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE,
                                              CKA_TRUSTED, CKA_PPK_USED,         CKA_PPK_REQUIRED};
    const CK_BBOOL yes = CK_TRUE;
    struct template t;
    (void)state;

    for (size_t u = 0; u < USES; u++)
        for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
            assert_int_equal(read_one(uses[u], flags[i], &yes, 1, &t), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(read_one(USE_GENERATE, CKA_VALUE, "x", 1, &t), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(read_one(USE_DERIVE, CKA_VALUE, "x", 1, &t), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(read_one(USE_SET, CKA_CLASS, "12345678", 8, &t), CKR_ATTRIBUTE_READ_ONLY);
    assert_int_equal(read_one(USE_COPY, CKA_KEY_TYPE, "12345678", 8, &t), CKR_ATTRIBUTE_READ_ONLY);
}

static void test_values(void **state)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ULONG len = 32;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE a[] = {
        {CKA_CLASS, &class, sizeof class},
        {CKA_VALUE_LEN, &len, sizeof len},
        {CKA_SENSITIVE, &yes, 1},
        {CKA_EXTRACTABLE, &no, 1},
        {CKA_ID, "\0\1", 2},
        {CKA_LABEL, "", 0},
    };
    struct template t;
    (void)state;

    assert_int_equal(template_read(&t, USE_DERIVE, a, sizeof a / sizeof a[0]), CKR_OK);
    assert_true(template_has(&t, FIELD_CLASS));
    assert_int_equal(t.number[FIELD_CLASS], CKO_SECRET_KEY);
    assert_int_equal(t.number[FIELD_VALUE_LEN], 32);
    assert_false(template_has(&t, FIELD_KEY_TYPE));
    assert_true(template_flag(&t, FLAG_SENSITIVE, false));
    assert_false(template_flag(&t, FLAG_EXTRACTABLE, true));
    assert_true(template_flag(&t, FLAG_DERIVE, true));
    assert_false(template_flag(&t, FLAG_DERIVE, false));
    assert_int_equal(t.bytes[FIELD_ID].len, 2);
    assert_memory_equal(t.bytes[FIELD_ID].data, "\0\1", 2);
    assert_true(template_has(&t, FIELD_LABEL));
    assert_int_equal(t.bytes[FIELD_LABEL].len, 0);
}

static int no_log(void **state)
{
    (void)state;
    log_open("test", "none");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_types_and_lengths),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_values),
    };

    return cmocka_run_group_tests(tests, no_log, NULL);
}
