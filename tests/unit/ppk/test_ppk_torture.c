/* SPDX-License-Identifier: BSD-2-Clause */
/* Each allocation fails in turn, through the store's main flows: no crash, no leak (LeakSanitizer), a clear
 * result, and the same call works afterwards. */
#include "double.h"
#include "failing.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static struct world w;

#define ID_A "00112233445566778899aabbccddeeff"

static bool visit(void *context, struct ppk *ppk)
{
    (void)ppk;
    ++*(unsigned *)context;
    return true;
}

/* The flows. True: nothing failed. */
static bool flow(void)
{
    struct ppk *ppk[4] = {NULL};
    struct fault fault = {""};
    unsigned visited = 0;
    bool ok = false;
    enum ppk_result r;

    if (!world_store(&w))
        goto out;
    if ((r = ppk_store_next(w.store, &w.keyring.peers[0], "Zoe", &ppk[0], &fault)) != PPK_OK)
        goto out;
    if ((r = ppk_store_find(w.store, span_of(ID_A), NULL, NULL, &ppk[1], &fault)) != PPK_OK)
        goto out;
    if ((r = ppk_store_take(w.store, &w.keyring.peers[1], NULL, 0, &ppk[2], &fault)) != PPK_OK)
        goto out;
    ppk_store_use(w.store, ppk[2]);
    ppk_store_destroy(w.store, ppk[0]);
    r = ppk_store_find(w.store, span_of("ffffffffffffffffffffffffffffffff"), NULL, NULL, &ppk[3], &fault);
    if (r != PPK_NOT_FOUND)
        goto out;
    ok = ppk_store_each(w.store, NULL, visit, &visited);
    if (ok)
        assert_int_equal(visited, 2);
out:
    failing_after = -1;
    for (size_t i = 0; i < 4; i++)
        ppk_release(ppk[i]);
    if (w.store && !ok) { /* what failed for want of memory works once there is some */
        double_clock_forward(2000);
        assert_int_equal(ppk_store_find(w.store, span_of(ID_A), NULL, NULL, &ppk[1], &fault), PPK_OK);
        ppk_release(ppk[1]);
    }
    return ok;
}

static void test_each_allocation_fails(void **state)
{
    (void)state;
    bool ok = false;
    long n = 0;

    for (; !ok && n < 1000; n++) {
        world_make(&w, 2, 2);
        double_key(&w.sources[1], ID_A, 7, NULL);
        failing_after = n;
        ok = flow();
        ok = !failing_end() && ok;
        world_end(&w);
    }
    print_message("%ld allocations failed in turn\n", n - 1);
    assert_true(ok);
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_allocation_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
