/* SPDX-License-Identifier: BSD-2-Clause */
/* Expectations on return codes. Unlike cmocka's assertions, expect_*() go on after a failure, so that a table
 * of cases shows all that is wrong in one run, and they may be used in any thread. A test's teardown
 * (TOKEN_TEST) fails if any of them did. */
#ifndef TOKEN_EXPECT_H
#define TOKEN_EXPECT_H

#include "ppk/pkcs11-3.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What 2.40's header lacks or names otherwise */
#ifndef CKR_ACTION_PROHIBITED
#define CKR_ACTION_PROHIBITED 0x1bUL
#endif
#ifndef CKA_DESTROYABLE
#define CKA_DESTROYABLE 0x172UL
#endif
#ifndef CKA_COPYABLE
#define CKA_COPYABLE 0x171UL
#endif
#ifndef CKA_UNIQUE_ID
#define CKA_UNIQUE_ID 0x4UL
#endif
#ifndef CKA_DERIVE_TEMPLATE
#define CKA_DERIVE_TEMPLATE 0x40000213UL
#endif

/* The name of a return code, for messages; static text. */
const char *rv_name(CK_RV rv);

/* Is `rv` one of the `n` allowed ones? If not, says so on stderr with what was called, and counts a failure.
 */
bool expect_rv_at(CK_RV rv, const CK_RV *allowed, size_t n, const char *call, const char *file, int line);

/* expect_rv(CKR_OK, f->C_Xyz(…)); expect_rv_in(f->C_Xyz(…), CKR_A, CKR_B) */
#define expect_rv(expected, call)                                                                            \
    expect_rv_at((call), (const CK_RV[]){(expected)}, 1, #call, __FILE__, __LINE__)
#define expect_rv_in(call, ...)                                                                              \
    expect_rv_at((call), (const CK_RV[]){__VA_ARGS__}, sizeof(CK_RV[]){__VA_ARGS__} / sizeof(CK_RV), #call,  \
                 __FILE__, __LINE__)
#define expect_ok(call) expect_rv(CKR_OK, call)

/* The call must fail, whatever the code. */
bool expect_error_at(CK_RV rv, const char *call, const char *file, int line);
#define expect_error(call) expect_error_at((call), #call, __FILE__, __LINE__)

/* A condition; the rest is a printf format that says what was seen. */
__attribute__((format(printf, 5, 6))) bool expect_at(bool condition, const char *text, const char *file,
                                                     int line, const char *format, ...);
#define expect(condition, ...) expect_at((condition), #condition, __FILE__, __LINE__, __VA_ARGS__)

/* The same as a cmocka assertion: ends the test. For what the rest of a test stands on. Main thread only. */
#define require_rv(expected, call)                                                                           \
    do {                                                                                                     \
        if (!expect_rv(expected, call))                                                                      \
            fail();                                                                                          \
    } while (0)
#define require_ok(call) require_rv(CKR_OK, call)
#define require(condition, ...)                                                                              \
    do {                                                                                                     \
        if (!expect(condition, __VA_ARGS__))                                                                 \
            fail();                                                                                          \
    } while (0)

/* A text in front of further messages, for the case at hand in a table ("" for none); per thread. */
__attribute__((format(printf, 1, 2))) void expect_case(const char *format, ...);

/* How many expectations were checked and failed since the program began. */
unsigned long expect_checked(void);
unsigned long expect_failures(void);

/* Called after each test, whether it failed or not; or NULL. */
extern void (*expect_clean)(void);

/* cmocka's setup and teardown around each test: the teardown fails if an expectation of the test did. */
int expect_begin(void **state);
int expect_end(void **state);
#define TOKEN_TEST(function) cmocka_unit_test_setup_teardown(function, expect_begin, expect_end)

#endif
