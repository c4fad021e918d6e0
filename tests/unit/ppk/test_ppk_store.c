/* SPDX-License-Identifier: BSD-2-Clause */
/* What is held: shown, found by either form of its ID, used, expired, destroyed; what the token is told; what
 * it all costs. */
#include "double.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_A "00112233445566778899aabbccddeeff"
static const uint8_t RAW_A[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

static struct world w;

static void begin(size_t n_profiles, size_t n_peers)
{
    world_make(&w, n_profiles, n_peers);
    assert_true(world_store(&w));
}

static struct ppk *next(size_t peer)
{
    struct fault fault = {""};
    struct ppk *ppk;

    assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[peer], NULL, &ppk, &fault), PPK_OK);
    assert_non_null(ppk);
    return ppk;
}

static struct ppk *find(const char *id)
{
    struct fault fault = {""};
    struct ppk *ppk;

    assert_int_equal(ppk_store_find(w.store, span_of(id), &w.keyring.peers[0], NULL, &ppk, &fault), PPK_OK);
    return ppk;
}

static struct ppk_store_counts counts(void)
{
    struct ppk_store_counts c;

    ppk_store_counts(w.store, &c);
    return c;
}

static void assert_held(struct span id, struct ppk *expected)
{
    struct ppk *ppk = ppk_store_held(w.store, id);

    assert_ptr_equal(ppk, expected);
    ppk_release(ppk);
}

static void test_either_form_of_an_id(void **state)
{
    (void)state;
    begin(1, 1);
    double_key(&w.sources[0], "00112233445566778899AABBCCDDEEFF", 7, NULL);
    double_key(&w.sources[0], "31323334", 8, NULL);
    double_key(&w.sources[0], "vendor's key 9", 9, NULL);

    struct ppk *a = find(ID_A);
    assert_true(span_equal(ppk_id(a), (struct span){RAW_A, 16}));
    assert_true(a->by_id);
    assert_held((struct span){RAW_A, 16}, a);
    assert_held(span_of(ID_A), a);
    assert_held(span_of("00112233445566778899AABBCCDDEEFF"), a);
    assert_held(span_of("00112233445566778899aabbccddeef"), NULL);
    assert_int_equal(double_id_asked(&w.sources[0]), 1);
    struct secret_view view;
    assert_true(secret_open(a->value, &view));
    assert_int_equal(view.len, 32);
    assert_int_equal(view.data[31], 7);
    secret_close(&view);

    struct ppk *four = find("1234"); /* reads as hex, and is not */
    assert_true(span_equal(ppk_id(four), span_of("1234")));
    assert_held(span_of("1234"), four);
    assert_held(span_of("31323334"), four);
    struct ppk *text = find("vendor's key 9");
    assert_held(span_of("vendor's key 9"), text);
    ppk_release(a);
    ppk_release(four);
    ppk_release(text);
    world_end(&w);
}

static void test_text_format(void **state)
{
    (void)state;
    world_make(&w, 1, 1);
    w.profiles[0].id_format = PPK_ID_TEXT;
    assert_true(world_store(&w));
    double_key(&w.sources[0], "00112233445566778899AAbbccddeeff", 7, NULL);
    struct fault fault;
    struct ppk *a;
    assert_int_equal(ppk_store_find(w.store, (struct span){RAW_A, 16}, &w.keyring.peers[0], NULL, &a, &fault),
                     PPK_OK);
    assert_string_equal(w.sources[0].asked[0], ID_A);
    assert_true(span_equal(ppk_id(a), span_of("00112233445566778899AAbbccddeeff"))); /* verbatim */
    assert_held((struct span){RAW_A, 16}, a);
    assert_held(span_of(ID_A), a);
    ppk_release(a);
    world_end(&w);
}

static void test_next_stays_until_used(void **state)
{
    (void)state;
    begin(1, 2);
    struct ppk *a = next(0), *b = next(0);
    assert_ptr_equal(a, b);
    assert_false(a->by_id);
    assert_int_equal(double_new_asked(&w.sources[0]), 1);
    struct ppk *other = next(1);
    assert_ptr_not_equal(other, a);
    ppk_store_use(w.store, a);
    ppk_store_use(w.store, a);
    assert_true(a->used);
    struct ppk *c = next(0);
    assert_ptr_not_equal(c, a);
    assert_held(ppk_id(a), a); /* in its grace */
    struct ppk_store_counts n = counts();
    assert_int_equal(n.held, 3);
    assert_int_equal(n.unused, 2);
    assert_int_equal(n.used, 1);
    assert_int_equal(n.fetched, 3);
    double_clock_forward(PPK_USED_GRACE_S * 1000 + 10);
    assert_held(ppk_id(a), NULL);
    assert_held(ppk_id(c), c);
    assert_int_equal(counts().expired, 1);
    assert_int_equal(w.removed, 1);
    assert_int_equal(secret_len(a->value), 32); /* while a reference is held */
    ppk_release(a);
    ppk_release(b);
    ppk_release(c);
    ppk_release(other);
    world_end(&w);
}

static void test_expiry(void **state)
{
    (void)state;
    world_make(&w, 2, 2);
    w.profiles[0].lifetime_s = 10;
    w.profiles[1].lifetime_s = 20;
    assert_true(world_store(&w));
    struct ppk *late = next(1), *early = next(0), *used;
    assert_int_equal(ppk_store_take(w.store, &w.keyring.peers[0], NULL, 0, &used, NULL), PPK_OK);
    uint64_t before = used->expires_ms;
    ppk_store_use(w.store, used); /* the grace does not prolong a life */
    assert_int_equal(used->expires_ms, before);
    double_clock_forward(10010);
    assert_held(ppk_id(early), NULL);
    assert_held(ppk_id(used), NULL);
    assert_held(ppk_id(late), late);
    struct ppk *again = next(0);
    assert_ptr_not_equal(again, early);
    double_clock_forward(10010);
    ppk_store_expire(w.store);
    assert_int_equal(counts().held, 0);
    assert_int_equal(counts().unused, 0);
    assert_int_equal(counts().expired, 4);
    ppk_release(late);
    ppk_release(early);
    ppk_release(used);
    ppk_release(again);
    world_end(&w);
}

static void test_expiry_in_any_order(void **state)
{
    (void)state;
    enum { N = 500 };
    static struct ppk *all[N];
    world_make(&w, 4, 4);
    for (unsigned i = 0; i < 4; i++)
        w.profiles[i].lifetime_s = 100 * (i + 1);
    assert_true(world_store(&w));
    srand(7);
    for (int i = 0; i < N; i++) {
        assert_int_equal(ppk_store_take(w.store, &w.keyring.peers[rand() % 4], NULL, 0, &all[i], NULL),
                         PPK_OK);
        double_clock_forward((uint64_t)(rand() % 100));
    }
    for (int i = 0; i < N; i += 3)
        ppk_store_destroy(w.store, all[i]);
    for (int i = 1; i < N; i += 3)
        ppk_store_use(w.store, all[i]);
    for (int step = 0; step < 50; step++) {
        uint64_t left = 0;
        double_clock_forward(10000);
        ppk_store_expire(w.store);
        for (int i = 0; i < N; i++) {
            struct ppk *held = ppk_store_held(w.store, ppk_id(all[i]));
            if (i % 3 == 0)
                assert_null(held);
            left += held != NULL;
            ppk_release(held);
        }
        assert_int_equal(counts().held, left);
    }
    assert_int_equal(counts().held, 0);
    assert_int_equal(counts().destroyed + counts().expired, N);
    for (int i = 0; i < N; i++)
        ppk_release(all[i]);
    world_end(&w);
}

static void test_never_expires(void **state)
{
    (void)state;
    world_make(&w, 1, 1);
    w.profiles[0].lifetime_s = 0;
    assert_true(world_store(&w));
    struct ppk *a = next(0);
    assert_true(a->expires_ms == UINT64_MAX);
    double_clock_forward(UINT64_C(1000) * 3600 * 24 * 365);
    assert_held(ppk_id(a), a);
    ppk_store_use(w.store, a);
    double_clock_forward(PPK_USED_GRACE_S * 1000 + 10);
    assert_held(ppk_id(a), NULL);
    ppk_release(a);
    world_end(&w);
}

static void test_destroy(void **state)
{
    (void)state;
    begin(1, 1);
    struct ppk *a = next(0);
    ppk_store_destroy(w.store, a);
    assert_held(ppk_id(a), NULL);
    assert_int_equal(w.removed, 1);
    ppk_store_destroy(w.store, a); /* by a second handle: nothing more happens */
    ppk_store_use(w.store, a);
    assert_int_equal(w.removed, 1);
    assert_int_equal(counts().destroyed, 1);
    assert_int_equal(counts().held, 0);
    struct ppk *b = next(0);
    assert_ptr_not_equal(a, b);
    ppk_release(a);
    ppk_release(b);
    world_end(&w);
}

static void hidden_while_added(struct world *in, struct ppk *ppk)
{
    assert_held(ppk_id(ppk), NULL);
    struct ppk_store_counts n;
    ppk_store_counts(in->store, &n); /* no lock is held */
    assert_int_equal(n.held, 0);
}

static void gone_when_removed(struct world *in, struct ppk *ppk)
{
    (void)in;
    assert_held(ppk_id(ppk), NULL);
    assert_int_equal(secret_len(ppk->value), 32); /* not wiped yet */
}

static void test_events_order(void **state)
{
    (void)state;
    begin(1, 1);
    w.on_added = hidden_while_added;
    w.on_removed = gone_when_removed;
    struct ppk *a = next(0);
    assert_int_equal(a->handle, 1);
    ppk_store_destroy(w.store, a);
    assert_int_equal(w.removed, 1);
    ppk_release(a);
    w.on_removed = NULL;
    world_end(&w);
}

static void test_take_is_always_another(void **state)
{
    (void)state;
    begin(1, 1);
    struct ppk *a, *b;
    struct fault fault;
    assert_int_equal(ppk_store_take(w.store, &w.keyring.peers[0], NULL, 0, &a, &fault), PPK_OK);
    assert_int_equal(ppk_store_take(w.store, &w.keyring.peers[0], NULL, 512, &b, &fault), PPK_OK);
    assert_ptr_not_equal(a, b);
    assert_int_equal(w.sources[0].key_bytes, 512);
    struct ppk *c = next(0); /* an unused one is held: no request */
    assert_ptr_equal(c, a);
    assert_int_equal(double_new_asked(&w.sources[0]), 2);
    ppk_release(a);
    ppk_release(b);
    ppk_release(c);
    world_end(&w);
}

static void test_other_remote_system(void **state)
{
    (void)state;
    world_make(&w, 1, 1);
    w.keyring.peers[0].remote_system_id = (char *)(size_t) "Bob";
    assert_true(world_store(&w));
    struct ppk *configured = next(0), *other, *same, *again;
    struct fault fault;
    assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[0], "Carol", &other, &fault), PPK_OK);
    assert_ptr_not_equal(other, configured);
    assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[0], "Bob", &same, &fault), PPK_OK);
    assert_ptr_equal(same, configured);
    assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[0], "Carol", &again, &fault), PPK_OK);
    assert_ptr_equal(again, other);
    assert_int_equal(double_new_asked(&w.sources[0]), 2);
    assert_string_equal(w.sources[0].remotes[0], "Bob");
    assert_string_equal(w.sources[0].remotes[1], "Carol");
    ppk_release(configured);
    ppk_release(other);
    ppk_release(same);
    ppk_release(again);
    /* An IKE peer may claim to be any: what is remembered of that is bounded. */
    for (int i = 0; i < 300; i++) {
        char name[24];
        snprintf(name, sizeof name, "mallory%d", i);
        assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[0], name, &other, &fault), PPK_OK);
        ppk_store_use(w.store, other);
        ppk_release(other);
    }
    same = next(0);
    assert_ptr_equal(same, configured);
    ppk_release(same);
    /* And it is forgotten with their last PPK. */
    double_clock_forward((PPK_USED_GRACE_S + 1) * 1000);
    for (int i = 0; i < 300; i++) {
        char name[24];
        snprintf(name, sizeof name, "trudy%d", i);
        assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[0], name, &other, &fault), PPK_OK);
        assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[0], name, &again, &fault), PPK_OK);
        assert_ptr_equal(again, other);
        ppk_store_destroy(w.store, other);
        ppk_release(other);
        ppk_release(again);
    }
    world_end(&w);
}

/* What a key source refuses takes no room. */
static void test_refused_remote_systems(void **state)
{
    (void)state;
    begin(1, 1);
    struct ppk *a, *b;
    struct fault fault;
    double_result(&w.sources[0], SKIP_REFUSED);
    for (int i = 0; i < 300; i++) {
        char name[24];
        snprintf(name, sizeof name, "mallory%d", i);
        assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[0], name, &a, &fault), PPK_REFUSED);
        assert_int_equal(ppk_store_take(w.store, &w.keyring.peers[0], name, 0, &a, &fault), PPK_REFUSED);
    }
    double_result(&w.sources[0], SKIP_OK);
    unsigned asked = double_new_asked(&w.sources[0]);
    assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[0], "Carol", &a, &fault), PPK_OK);
    assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[0], "Carol", &b, &fault), PPK_OK);
    assert_ptr_equal(a, b);
    assert_int_equal(double_new_asked(&w.sources[0]), asked + 1);
    ppk_release(a);
    ppk_release(b);
    world_end(&w);
}

/* Another configuration, in which the peer has another key source. */
static struct keyring ring_after;
static struct peer peer_after;
static bool rebinds;

static void rebind(struct world *of, struct ppk *ppk)
{
    const struct ppk_source source = {
        .configuration = &of->configuration, .keyring = &ring_after, .profiles = of->running};
    struct ppk_binding *b;

    (void)ppk;
    if (!rebinds)
        return;
    rebinds = false;
    b = ppk_store_prepare(of->store, &source);
    assert_non_null(b);
    ppk_store_rebind(of->store, b);
}

/* The old key source's PPK is not the next any more, also if the token was just being told of it. */
static void test_rebind_while_it_is_added(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        begin(2, 1);
        struct fault fault = {""};
        struct ppk *old, *new, *same;
        peer_after = w.keyring.peers[0];
        peer_after.keyring = &ring_after;
        peer_after.dynamic = &w.profiles[1];
        ring_after = (struct keyring){.name = w.keyring.name, .peers = &peer_after, .n_peers = 1};
        w.on_added = rebind;
        rebinds = round == 0;
        old = next(0);
        rebinds = round == 1;
        rebind(&w, old);
        assert_held(ppk_id(old), old);
        assert_int_equal(ppk_store_next(w.store, &peer_after, NULL, &new, &fault), PPK_OK);
        assert_ptr_not_equal(new, old);
        assert_int_equal(double_new_asked(&w.sources[1]), 1);
        assert_int_equal(ppk_store_next(w.store, &peer_after, NULL, &same, &fault), PPK_OK);
        assert_ptr_equal(same, new);
        ppk_release(old);
        ppk_release(new);
        ppk_release(same);
        world_end(&w);
    }
}

static void test_duplicates(void **state)
{
    (void)state;
    begin(2, 2);
    struct ppk *a, *b = NULL;
    struct fault fault = {""};
    w.sources[0].next_id = ID_A;
    w.sources[0].next_value = 5;
    a = next(0);
    /* another value under the same ID, in whatever case */
    w.sources[0].next_id = "00112233445566778899AABBCCDDEEFF";
    w.sources[0].next_value = 6;
    assert_int_equal(ppk_store_take(w.store, &w.keyring.peers[0], NULL, 0, &b, &fault), PPK_DUPLICATE);
    assert_null(b);
    assert_non_null(strstr(fault.text, "00112233445566778899AABBCCDDEEFF"));
    assert_non_null(strstr(fault.text, "ks0"));
    /* the same key again as a new one: it is not new */
    w.sources[0].next_id = ID_A;
    w.sources[0].next_value = 5;
    assert_int_equal(ppk_store_take(w.store, &w.keyring.peers[0], NULL, 0, &b, &fault), PPK_DUPLICATE);
    assert_null(b);
    assert_held(ppk_id(a), a);
    assert_int_equal(counts().held, 1);
    assert_int_equal(counts().failures, 2);
    /* both ends in one process: fetched by ID first, then the same as the new key of the other end */
    double_key(&w.sources[0], "beef", 9, NULL);
    struct ppk *beef = find("beef");
    w.sources[1].next_id = "beef";
    w.sources[1].next_value = 9;
    assert_int_equal(ppk_store_take(w.store, &w.keyring.peers[1], NULL, 0, &b, &fault), PPK_OK);
    assert_ptr_equal(b, beef);
    ppk_release(a);
    ppk_release(b);
    ppk_release(beef);
    world_end(&w);
}

struct seen {
    struct ppk *ppk[16];
    size_t n, stop;
};

static bool see(void *context, struct ppk *ppk)
{
    struct seen *s = context;

    s->ppk[s->n++] = ppk;
    ppk_store_counts(w.store, &(struct ppk_store_counts){0}); /* no lock is held */
    return s->n != s->stop;
}

static void test_each(void **state)
{
    (void)state;
    begin(1, 3);
    double_key(&w.sources[0], ID_A, 3, NULL);
    struct ppk *by_id = find(ID_A), *used = next(0);
    ppk_store_use(w.store, used);
    struct ppk *unused = next(0), *other = next(2);
    struct seen seen = {.n = 0};
    assert_true(ppk_store_each(w.store, &w.keyring.peers[0], see, &seen));
    assert_int_equal(seen.n, 3);
    assert_ptr_equal(seen.ppk[0], unused);
    seen.n = 0;
    assert_true(ppk_store_each(w.store, &w.keyring.peers[1], see, &seen));
    assert_int_equal(seen.n, 0);
    assert_true(ppk_store_each(w.store, NULL, see, &seen));
    assert_int_equal(seen.n, 4);
    assert_true((seen.ppk[0] == unused && seen.ppk[1] == other) ||
                (seen.ppk[0] == other && seen.ppk[1] == unused));
    seen = (struct seen){.stop = 2};
    assert_true(ppk_store_each(w.store, NULL, see, &seen));
    assert_int_equal(seen.n, 2);
    ppk_release(by_id);
    ppk_release(used);
    ppk_release(unused);
    ppk_release(other);
    world_end(&w);
}

static void test_failures_are_counted(void **state)
{
    (void)state;
    world_make(&w, 1, 3);
    w.keyring.peers[1].dynamic_required = true;
    w.keyring.peers[2].dynamic = NULL;
    assert_true(world_store(&w));
    static const struct {
        enum skip_result skip;
        enum ppk_result ppk;
    } cases[] = {{SKIP_REFUSED, PPK_REFUSED},
                 {SKIP_UNREACHABLE, PPK_UNREACHABLE},
                 {SKIP_NO_TRANSPORT, PPK_UNREACHABLE},
                 {SKIP_NO_MEMORY, PPK_NO_MEMORY}};
    struct ppk *ppk;
    struct fault fault;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double_result(&w.sources[0], cases[i].skip);
        assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[0], NULL, &ppk, &fault), cases[i].ppk);
        assert_null(ppk);
        assert_non_null(strstr(fault.text, "peer0"));
        assert_non_null(strstr(fault.text, "ks0"));
        assert_int_equal(ppk_store_find(w.store, span_of(ID_A), &w.keyring.peers[1], NULL, &ppk, &fault),
                         cases[i].ppk);
        assert_null(ppk);
        assert_non_null(strstr(fault.text, "peer1"));
    }
    assert_int_equal(counts().failures, 8);
    assert_int_equal(counts().failures_required, 4);
    double_result(&w.sources[0], SKIP_OK);
    assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[2], NULL, &ppk, NULL), PPK_NOT_FOUND);
    assert_int_equal(ppk_store_find(w.store, span_of(ID_A), &w.keyring.peers[2], NULL, &ppk, NULL),
                     PPK_NOT_FOUND);
    assert_int_equal(ppk_store_find(w.store, (struct span){NULL, 0}, NULL, NULL, &ppk, NULL), PPK_NOT_FOUND);
    assert_int_equal(counts().held, 0);
    world_end(&w);
}

/* A key source whose keyId is none. */
static void test_bad_key_ids(void **state)
{
    (void)state;
    begin(1, 1);
    struct ppk *ppk;
    struct fault fault = {""};
    w.sources[0].next_id = "";
    assert_int_equal(ppk_store_next(w.store, &w.keyring.peers[0], NULL, &ppk, &fault), PPK_UNREACHABLE);
    assert_null(ppk);
    assert_non_null(strstr(fault.text, "key ID"));
    world_end(&w);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MANY = 2000, MEASURED = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { MANY = 2000, MEASURED = 0 };
#else
enum { MANY = 100000, MEASURED = 1 };
#endif
#else
enum { MANY = 100000, MEASURED = 1 };
#endif

static void test_many(void **state)
{
    (void)state;
    static struct ppk *all[MANY];
    begin(1, 1);
    struct ppk *first = next(0); /* what every store has once is there now */
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(ppk_store_take(w.store, &w.keyring.peers[0], NULL, 0, &all[i], NULL), PPK_OK);
    size_t each = (mallinfo2().uordblks + mallinfo2().hblkhd - before) / MANY;
    print_message("%zu bytes of heap for each PPK\n", each);
    if (MEASURED)
        assert_true(each <= 200);
    assert_int_equal(counts().held, MANY + 1);
    for (size_t i = 0; i < MANY; i++)
        assert_held(ppk_id(all[i]), all[i]);
    for (size_t i = 0; i < MANY; i++) {
        ppk_store_destroy(w.store, all[i]);
        assert_held(ppk_id(all[i]), NULL);
        ppk_release(all[i]);
    }
    assert_held(ppk_id(first), first);
    ppk_release(first);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_either_form_of_an_id),
        cmocka_unit_test(test_text_format),
        cmocka_unit_test(test_next_stays_until_used),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_expiry_in_any_order),
        cmocka_unit_test(test_never_expires),
        cmocka_unit_test(test_destroy),
        cmocka_unit_test(test_events_order),
        cmocka_unit_test(test_take_is_always_another),
        cmocka_unit_test(test_other_remote_system),
        cmocka_unit_test(test_refused_remote_systems),
        cmocka_unit_test(test_rebind_while_it_is_added),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_failures_are_counted),
        cmocka_unit_test(test_bad_key_ids),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
