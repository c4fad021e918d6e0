/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/secret.h"
#include "skipd/frames.h"
#include "skipd/sync_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

static const uint8_t KEY[SYNC_KEY_MAX] = {1, 2, 3, 4};

static struct sync_message put_message(size_t id_len, size_t key_len)
{
    struct sync_message m = {.type = SYNC_PUT};

    m.put.number = 0x0102030405060708;
    m.put.ttl_s = 3600;
    m.put.id_len = id_len;
    memset(m.put.id, 0xab, id_len < KEY_ID_MAX ? id_len : KEY_ID_MAX);
    strcpy(m.put.initiator, "Alice");
    strcpy(m.put.responder, "Bob");
    m.put.key = (struct span){KEY, key_len};
    return m;
}

static void messages_survive(void **state)
{
    const struct sync_message messages[] = {
        {.type = SYNC_HELLO, .hello = {"Alice"}},
        {.type = SYNC_ACK, .ack = {UINT64_MAX, SYNC_FAILED}},
        {.type = SYNC_PING, .ping = {42}},
        {.type = SYNC_PONG, .ping = {43}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        uint8_t frame[SYNC_FRAME_MAX];
        struct sync_message m = {0};
        size_t len = sync_encode(&messages[i], frame);

        assert_true(len > SYNC_HEADER_LEN);
        assert_int_equal(sync_frame_len(frame), len);
        assert_true(sync_decode(&m, frame, len));
        assert_int_equal(m.type, messages[i].type);
        if (m.type == SYNC_HELLO)
            assert_string_equal(m.hello.system_id, "Alice");
        if (m.type == SYNC_ACK)
            assert_true(m.ack.number == UINT64_MAX && m.ack.result == SYNC_FAILED);
        if (m.type == SYNC_PING)
            assert_int_equal(m.ping.number, 42);
    }
}

static void puts_survive(void **state)
{
    const size_t sizes[][2] = {{16, 32}, {1, 1}, {KEY_ID_MAX, SYNC_KEY_MAX}};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const struct sync_message in = put_message(sizes[i][0], sizes[i][1]);
        uint8_t frame[SYNC_FRAME_MAX];
        struct sync_message out = {0};
        size_t len = sync_encode(&in, frame);

        assert_true(len > 0 && sync_decode(&out, frame, len));
        assert_true(out.put.number == in.put.number && out.put.ttl_s == 3600);
        assert_true(out.put.id_len == in.put.id_len && memcmp(out.put.id, in.put.id, in.put.id_len) == 0);
        assert_string_equal(out.put.initiator, "Alice");
        assert_string_equal(out.put.responder, "Bob");
        assert_true(span_equal(out.put.key, in.put.key));
    }
}

static void bounds_are_kept(void **state)
{
    uint8_t frame[SYNC_FRAME_MAX];
    struct sync_message m;

    (void)state;
    m = put_message(0, 32);
    assert_int_equal(sync_encode(&m, frame), 0);
    m = put_message(KEY_ID_MAX + 1, 32);
    assert_int_equal(sync_encode(&m, frame), 0);
    m = put_message(16, 0);
    assert_int_equal(sync_encode(&m, frame), 0);
    m = put_message(16, SYNC_KEY_MAX + 1);
    assert_int_equal(sync_encode(&m, frame), 0);
    m = put_message(16, 32);
    m.put.ttl_s = 0;
    assert_int_equal(sync_encode(&m, frame), 0);
    m.put.ttl_s = SYNC_TTL_MAX + 1;
    assert_int_equal(sync_encode(&m, frame), 0);
    m.put.ttl_s = SYNC_TTL_MAX;
    m.put.initiator[0] = '\0';
    assert_int_equal(sync_encode(&m, frame), 0);
    m.type = 99;
    assert_int_equal(sync_encode(&m, frame), 0);
}

/* Every shortening, every longer frame, and every single changed octet either fails or gives a message within
 * bounds; ASan watches. */
static void damage_is_noticed(void **state)
{
    struct sync_message in = put_message(16, 32), out;
    uint8_t frame[SYNC_FRAME_MAX];
    size_t len = sync_encode(&in, frame);

    (void)state;
    for (size_t cut = SYNC_HEADER_LEN; cut < len; cut++) {
        uint8_t *exact = malloc(cut);

        memcpy(exact, frame, cut);
        assert_false(sync_decode(&out, exact, cut));
        exact[0] = (uint8_t)((cut - SYNC_HEADER_LEN) >> 8);
        exact[1] = (uint8_t)(cut - SYNC_HEADER_LEN);
        assert_false(sync_decode(&out, exact, cut)); /* also when the header agrees */
        free(exact);
    }
    for (size_t i = 0; i < len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t *exact = malloc(len);

            memcpy(exact, frame, len);
            exact[i] ^= (uint8_t)(1U << bit);
            if (sync_decode(&out, exact, len) && out.type == SYNC_PUT) {
                assert_in_range(out.put.id_len, 1, KEY_ID_MAX);
                assert_in_range(out.put.key.len, 1, SYNC_KEY_MAX);
                assert_in_range(out.put.ttl_s, 1, SYNC_TTL_MAX);
                assert_true(system_id_is_concrete(out.put.initiator) &&
                            system_id_is_concrete(out.put.responder));
            }
            free(exact);
        }
    frame[len] = 0;
    frame[1]++;
    assert_false(sync_decode(&out, frame, len + 1)); /* something behind the last member */
}

static void headers_are_checked(void **state)
{
    const uint8_t other_version[] = {0, 8, SYNC_PING, 2}, too_long[] = {0xff, 0xff, SYNC_PUT, 1},
                  good[] = {0, 8, SYNC_PING, 1};

    (void)state;
    assert_int_equal(sync_frame_len(other_version), 0);
    assert_int_equal(sync_frame_len(too_long), 0);
    assert_int_equal(sync_frame_len(good), 12);
}

static void system_ids_are_concrete(void **state)
{
    /* HELLO with "A*", and with a NUL inside */
    const uint8_t glob[] = {0, 3, SYNC_HELLO, 1, 2, 'A', '*'}, nul[] = {0, 3, SYNC_HELLO, 1, 2, 'A', 0},
                  empty[] = {0, 1, SYNC_HELLO, 1, 0}, good[] = {0, 3, SYNC_HELLO, 1, 2, 'A', 'b'};
    struct sync_message m;

    (void)state;
    assert_false(sync_decode(&m, glob, sizeof glob));
    assert_false(sync_decode(&m, nul, sizeof nul));
    assert_false(sync_decode(&m, empty, sizeof empty));
    assert_true(sync_decode(&m, good, sizeof good));
}

struct seen {
    unsigned count, stop_after;
    uint64_t last;
};

static bool see(void *context, const struct sync_message *m)
{
    struct seen *s = context;

    s->last = m->type == SYNC_PUT ? m->put.number : m->ping.number;
    return ++s->count != s->stop_after;
}

static void frames_come_in_pieces(void **state)
{
    struct evbuffer *out = evbuffer_new(), *in = evbuffer_new();
    struct sync_message put = put_message(16, 32), ping = {.type = SYNC_PING, .ping = {5}};
    struct seen seen = {0};
    uint8_t octet = 0;

    (void)state;
    assert_true(frames_send(out, &put));
    assert_true(frames_send(out, &ping));
    assert_true(frames_send(out, &put));
    while (evbuffer_remove(out, &octet, 1) == 1) {
        evbuffer_add(in, &octet, 1);
        assert_int_equal(frames_receive(in, see, &seen), FRAMES_ALL);
    }
    assert_int_equal(seen.count, 3);
    assert_int_equal(evbuffer_get_length(in), 0);

    /* all at once, and the handler stops after the second */
    seen = (struct seen){.stop_after = 2};
    for (int i = 0; i < 3; i++)
        frames_send(in, &ping);
    assert_int_equal(frames_receive(in, see, &seen), FRAMES_STOPPED);
    assert_int_equal(seen.count, 2);
    assert_int_equal(evbuffer_get_length(in), 12);

    evbuffer_drain(in, 12);
    evbuffer_add(in, "GET / HTTP/1.1\r\n", 16);
    assert_int_equal(frames_receive(in, see, &seen), FRAMES_MALFORMED);
    evbuffer_free(in);
    evbuffer_free(out);
}

static void frames_take_what_they_need(void **state)
{
    struct evbuffer *out = evbuffer_new();
    struct sync_message put = put_message(16, 32);
    struct secret_stats before, after;

    (void)state;
    secret_stats_read(&before);
    for (int i = 0; i < 100; i++)
        assert_true(frames_send(out, &put));
    secret_stats_read(&after);
    assert_true(after.working_bytes - before.working_bytes < 2 * evbuffer_get_length(out));
    evbuffer_free(out);
    secret_stats_read(&after);
    assert_int_equal(after.working_bytes, before.working_bytes);
}

/* All of the working memory, in a list; all_free() gives it back. */
static void **all_take(void)
{
    void **first = NULL, **p = NULL;

    for (size_t size = 65536; size >= sizeof p; size /= 2)
        while ((p = secmem_alloc(size)) != NULL) {
            *p = (void *)first;
            first = p;
        }
    return first;
}

static void all_free(void **first)
{
    for (void **next = NULL; first != NULL; first = next) {
        next = *first;
        secmem_free((void *)first);
    }
}

static void frames_without_memory(void **state)
{
    struct evbuffer *in = evbuffer_new(), *out = evbuffer_new();
    struct sync_message put = put_message(16, 32), ping = {.type = SYNC_PING, .ping = {7}};
    struct seen seen = {0};
    void **all = NULL;

    (void)state;
    assert_true(frames_send(in, &ping) && frames_send(in, &put));
    all = all_take();
    /* what holds no key needs none; a key waits, and is not taken for nonsense */
    assert_int_equal(frames_receive(in, see, &seen), FRAMES_NO_MEMORY);
    assert_true(seen.count == 1 && seen.last == 7);
    assert_true(frames_send(out, &ping));
    assert_false(frames_send(out, &put));
    assert_int_equal(evbuffer_get_length(out), 12);
    all_free(all);
    assert_int_equal(frames_receive(in, see, &seen), FRAMES_ALL);
    assert_true(seen.count == 2 && seen.last == put.put.number);
    evbuffer_free(in);
    evbuffer_free(out);
}

int main(void)
{
    const struct rlimit lock = {1 << 20, 1 << 20};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_survive),      cmocka_unit_test(puts_survive),
        cmocka_unit_test(bounds_are_kept),       cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(headers_are_checked),   cmocka_unit_test(system_ids_are_concrete),
        cmocka_unit_test(frames_come_in_pieces), cmocka_unit_test(frames_take_what_they_need),
        cmocka_unit_test(frames_without_memory),
    };

    setrlimit(RLIMIT_MEMLOCK, &lock);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
