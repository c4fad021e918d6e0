/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of objects: handles that never mean another object, references, and threads that destroy the same
 * object. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "p11/object.h"

#include <pthread.h>
#include <stdlib.h>

#define MANY    100000
#define THREADS 4
#define ROUNDS  20000

static _Atomic unsigned long released;

static void count_release(struct object *o)
{
    atomic_fetch_add(&released, 1);
    if (o->of != NULL)
        atomic_fetch_add((_Atomic unsigned *)o->of, 1);
}

static void test_handles(void **state)
{
    struct objects *t = objects_new(count_release);
    CK_OBJECT_HANDLE *handles = calloc(MANY, sizeof *handles);
    (void)state;

    assert_non_null(t);
    assert_non_null(handles);
    atomic_store(&released, 0);
    assert_null(object_get(t, CK_INVALID_HANDLE));
    assert_null(object_get(t, ~0UL));
    assert_null(object_get(t, 1UL << 24));
    for (size_t i = 0; i < MANY; i++) {
        handles[i] = object_add(t, OBJECT_PEER, (uint16_t)(i % 7), NULL);
        assert_int_not_equal(handles[i], CK_INVALID_HANDLE);
    }
    for (size_t i = 0; i < MANY; i++) {
        struct object *o = object_get(t, handles[i]);
        assert_non_null(o);
        assert_int_equal(o->slot, i % 7);
        assert_int_equal(object_handle(o), handles[i]);
        object_put(t, o);
    }
    assert_int_equal(atomic_load(&released), 0);
    objects_free(t);
    assert_int_equal(atomic_load(&released), MANY);
    free(handles);
}

/* An object that is gone keeps what is behind it as long as somebody refers to it, and its handle stays dead
 * for ever. */
static void test_removed(void **state)
{
    struct objects *t = objects_new(count_release);
    CK_OBJECT_HANDLE first = object_add(t, OBJECT_KEY, 0, NULL), next;
    struct object *o = object_get(t, first);
    (void)state;

    atomic_store(&released, 0);
    assert_non_null(o);
    assert_true(object_alive(o));
    assert_true(object_remove(t, first));
    assert_false(object_remove(t, first));
    assert_false(object_alive(o));
    assert_null(object_get(t, first));
    assert_int_equal(atomic_load(&released), 0);
    object_put(t, o);
    assert_int_equal(atomic_load(&released), 1);
    for (int i = 0; i < 1000; i++) {
        next = object_add(t, OBJECT_KEY, 0, NULL);
        assert_int_not_equal(next, first);
        assert_null(object_get(t, first));
        assert_false(object_remove(t, first));
        assert_true(object_remove(t, next));
    }
    objects_free(t);
}

static void test_reserve(void **state)
{
    struct objects *t = objects_new(count_release);
    struct object *o = object_reserve(t);
    _Atomic unsigned behind = 0;
    struct object shadow;
    CK_OBJECT_HANDLE handle;
    uint32_t cursor = 0;
    (void)state;

    assert_non_null(o);
    handle = object_handle(o);
    assert_null(object_get(t, handle));
    assert_null(objects_next(t, &cursor));
    object_publish(o, OBJECT_PPK, 3, &behind);
    o = object_get(t, handle);
    assert_non_null(o);
    assert_int_equal(o->kind, OBJECT_PPK);
    assert_ptr_equal(o->of, &behind);
    shadow = object_shadow(handle, OBJECT_PPK, 3, &behind);
    assert_int_equal(object_handle(&shadow), handle);
    assert_true(object_alive(&shadow));
    assert_int_equal(shadow.index, o->index);
    assert_int_equal(shadow.slot, o->slot);
    assert_int_equal(shadow.kind, o->kind);
    assert_ptr_equal(shadow.of, o->of);
    object_put(t, o);
    o = object_reserve(t);
    object_unreserve(t, o);
    assert_ptr_equal(object_reserve(t), o);
    objects_free(t);
    assert_int_equal(behind, 1);
}

static void test_walk(void **state)
{
    struct objects *t = objects_new(count_release);
    CK_OBJECT_HANDLE handles[1000];
    struct object *o;
    uint32_t cursor = 0;
    size_t n = 0;
    (void)state;

    for (size_t i = 0; i < 1000; i++)
        handles[i] = object_add(t, OBJECT_KEY, 0, NULL);
    for (size_t i = 0; i < 1000; i += 2)
        assert_true(object_remove(t, handles[i]));
    while ((o = objects_next(t, &cursor)) != NULL) {
        assert_int_equal(object_handle(o), handles[2 * n + 1]);
        n++;
        object_put(t, o);
    }
    assert_int_equal(n, 500);
    objects_free(t);
}

static struct objects *shared;
static _Atomic CK_OBJECT_HANDLE place[8];
static _Atomic unsigned removed_twice;

/* All threads make, look up and remove objects in the same few places. */
static void *churn(void *seed)
{
    unsigned r = *(const unsigned *)seed;

    for (int i = 0; i < ROUNDS; i++) {
        r = r * 1103515245 + 12345;
        _Atomic CK_OBJECT_HANDLE *at = &place[r >> 16 & 7];
        _Atomic unsigned *mine = calloc(1, sizeof *mine);
        CK_OBJECT_HANDLE handle = object_add(shared, OBJECT_KEY, 0, (void *)mine);
        CK_OBJECT_HANDLE old = atomic_exchange(at, handle);
        struct object *o = object_get(shared, old);
        _Atomic unsigned *theirs = o == NULL ? NULL : o->of;
        if (theirs != NULL && atomic_load(theirs) != 0)
            atomic_fetch_add(&removed_twice, 1); /* released though we refer to it */
        if (old != CK_INVALID_HANDLE && !object_remove(shared, old))
            atomic_fetch_add(&removed_twice, 1); /* only we had taken it from its place */
        object_put(shared, o);
        if (theirs != NULL && atomic_load(theirs) != 1)
            atomic_fetch_add(&removed_twice, 1);
        free((void *)theirs);
    }
    return NULL;
}

static void test_threads(void **state)
{
    static unsigned seeds[THREADS] = {1, 2, 3, 4};
    pthread_t threads[THREADS];
    (void)state;

    atomic_store(&released, 0);
    shared = objects_new(count_release);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &seeds[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&removed_twice), 0);
    for (int i = 0; i < 8; i++) {
        struct object *o = object_get(shared, atomic_load(&place[i]));
        assert_non_null(o);
        void *of = o->of;
        assert_true(object_remove(shared, atomic_load(&place[i])));
        object_put(shared, o);
        free(of);
    }
    assert_int_equal(atomic_load(&released), THREADS * ROUNDS);
    objects_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handles), cmocka_unit_test(test_removed), cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_walk),    cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
