/* SPDX-License-Identifier: BSD-2-Clause */
/* Finding peers: by name, by system ID, by longest prefix; against a plain search over all. */
#include "keyring/keyring.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static struct configuration *parsed(const char *input, size_t len)
{
    struct text errors = {0};
    struct configuration *c = configuration_parse("t", input, len, &errors);

    if (c == NULL)
        fail_msg("%s", errors.s);
    return c;
}

static const char *found(const struct keyring *k, const char *address)
{
    uint8_t bytes[16];
    size_t len = inet_pton(AF_INET, address, bytes) == 1 ? 4 : 16;
    const struct peer *p;

    if (len == 16)
        assert_int_equal(inet_pton(AF_INET6, address, bytes), 1);
    p = keyring_peer_by_address(k, bytes, len);
    return p != NULL ? p->name : "none";
}

static void test_longest_prefix(void **state)
{
    static const char input[] = "keyring k\n"
                                " peer any\n  address 0.0.0.0/0\n  address ::/0\n"
                                " peer ten\n  address 10.0.0.1 255.0.0.0\n"
                                " peer net\n  address 10.1.0.0/16\n  address 2001:db8::/32\n"
                                " peer host\n  address 10.1.2.3\n  address 2001:db8::1\n"
                                " peer mapped\n  address ::ffff:172.16.0.0/108\n"
                                "keyring l\n peer v6\n  address ::/0\n"
                                "keyring empty\n";
    static const struct {
        const char *address, *peer;
    } cases[] = {
        {"10.1.2.3", "host"},        {"10.1.2.4", "net"},        {"10.2.0.0", "ten"},
        {"10.255.255.255", "ten"},   {"11.0.0.0", "any"},        {"9.255.255.255", "any"},
        {"::ffff:10.1.2.3", "host"}, {"::ffff:11.0.0.0", "any"}, {"2001:db8::1", "host"},
        {"2001:db8::2", "net"},      {"2001:db9::1", "any"},     {"::", "any"},
        {"172.16.255.1", "mapped"},  {"172.32.0.0", "any"},      {"::ffff:172.31.0.1", "mapped"},
    };
    struct configuration *c = parsed(input, strlen(input));
    uint8_t bytes[16] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(found(&c->keyrings[0], cases[i].address), cases[i].peer);
    assert_string_equal(found(&c->keyrings[1], "10.0.0.1"), "none");
    assert_string_equal(found(&c->keyrings[1], "::ffff:10.0.0.1"), "none"); /* is IPv4 */
    assert_string_equal(found(&c->keyrings[1], "fe80::1"), "v6");
    assert_string_equal(found(&c->keyrings[2], "10.0.0.1"), "none");
    assert_null(keyring_peer_by_address(&c->keyrings[0], bytes, 0));
    assert_null(keyring_peer_by_address(&c->keyrings[0], bytes, 5));
    assert_null(keyring_peer_by_name(&c->keyrings[2], "any", 3));
    configuration_free(c);
}

static void test_system_ids(void **state)
{
    static const char input[] = "keyring k\n"
                                " peer a\n  remote-system-id X\n peer b\n  remote-system-id Y\n peer c\n"
                                " peer d\n  remote-system-id X\n peer e\n  remote-system-id X\n";
    struct configuration *c = parsed(input, strlen(input));
    const struct keyring *k = &c->keyrings[0];
    size_t cursor = 0;

    (void)state;
    assert_ptr_equal(keyring_peer_by_system_id(k, "X", 1, &cursor), &k->peers[0]);
    assert_ptr_equal(keyring_peer_by_system_id(k, "X", 1, &cursor), &k->peers[3]);
    assert_ptr_equal(keyring_peer_by_system_id(k, "X", 1, &cursor), &k->peers[4]);
    assert_null(keyring_peer_by_system_id(k, "X", 1, &cursor));
    assert_null(keyring_peer_by_system_id(k, "X", 1, &cursor));
    cursor = 0;
    assert_ptr_equal(keyring_peer_by_system_id(k, "Y", 1, &cursor), &k->peers[1]);
    assert_null(keyring_peer_by_system_id(k, "Y", 1, &cursor));
    cursor = 0;
    assert_null(keyring_peer_by_system_id(k, "Z", 1, &cursor));
    assert_null(keyring_peer_by_system_id(k, "Z", 1, &cursor));
    configuration_free(c);
}

/* The plain search that the index has to agree with. */
static const struct peer *plain_search(const struct keyring *k, const uint8_t *address, size_t len)
{
    const struct peer *best = NULL;
    int longest = -1;

    for (size_t i = 0; i < k->n_peers; i++) {
        for (size_t j = 0; j < k->peers[i].n_groups; j++) {
            const struct address_group *g = &k->peers[i].groups[j];
            bool inside = g->len == len;

            for (unsigned bit = 0; inside && bit < g->prefix; bit++)
                inside = ((g->bytes[bit / 8] ^ address[bit / 8]) >> (7 - bit % 8) & 1) == 0;
            if (inside && g->prefix > longest) {
                longest = g->prefix;
                best = &k->peers[i];
            }
        }
    }
    return best;
}

static uint32_t random_state = 2463534242;

static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

/* Groups in a narrow space, so that they overlap much. */
static void test_against_plain_search(void **state)
{
    static bool taken[25][4096], taken6[9][256];
    struct text input = {0};
    struct configuration *c;

    (void)state;
    text_printf(&input, "keyring k\n");
    for (int i = 0; i < 300; i++) {
        unsigned bits = next_random() % 13, value = next_random() & 0xfff & ~(0xfffU >> bits);
        unsigned bits6 = next_random() % 9, value6 = next_random() & 0xff & ~(0xffU >> bits6);

        text_printf(&input, " peer p%d\n", i);
        if (!taken[bits][value])
            text_printf(&input, "  address 10.%u.%u.77/%u\n", value >> 4, (value & 15) << 4, 8 + bits);
        if (!taken6[bits6][value6])
            text_printf(&input, "  address 20%02x::5/%u\n", value6, 8 + bits6);
        taken[bits][value] = true;
        taken6[bits6][value6] = true;
    }
    c = parsed(input.s, input.len);
    for (int i = 0; i < 4096; i++) {
        uint8_t address[16] = {10, (uint8_t)(i >> 4), (uint8_t)(i << 4), (uint8_t)next_random()};

        assert_ptr_equal(keyring_peer_by_address(&c->keyrings[0], address, 4),
                         plain_search(&c->keyrings[0], address, 4));
        address[0] = 0x20;
        address[1] = (uint8_t)i;
        assert_ptr_equal(keyring_peer_by_address(&c->keyrings[0], address, 16),
                         plain_search(&c->keyrings[0], address, 16));
    }
    configuration_free(c);
    text_free(&input);
}

/* Ten thousand peers: every one is found by name, address and ID; ctest's limit of time would not let a
 * quadratic load or search pass. */
static void test_many(void **state)
{
    enum { PEERS = 10000 };
    struct text input = {0};
    struct configuration *c;

    (void)state;
    text_printf(&input, "keyring k\n");
    for (int i = 0; i < PEERS; i++)
        text_printf(&input,
                    " peer gateway-%d\n  address 10.%d.%d.1\n  remote-system-id id-%d\n"
                    "  ppk manual id ppk-%d key 0123456789abcdef0123456789abcdef\n  pre-shared-key psk-%d\n",
                    i, i / 256, i % 256, i, i, i);
    c = parsed(input.s, input.len);
    assert_int_equal(c->keyrings[0].n_peers, PEERS);
    for (int i = 0; i < PEERS; i++) {
        const uint8_t address[4] = {10, (uint8_t)(i / 256), (uint8_t)(i % 256), 1};
        struct peer *p = &c->keyrings[0].peers[i];
        size_t cursor = 0;

        assert_ptr_equal(keyring_peer_by_name(&c->keyrings[0], p->name, strlen(p->name)), p);
        assert_ptr_equal(keyring_peer_by_address(&c->keyrings[0], address, 4), p);
        assert_ptr_equal(keyring_peer_by_system_id(&c->keyrings[0], p->remote_system_id,
                                                   strlen(p->remote_system_id), &cursor),
                         p);
        assert_non_null(p->psk.value);
    }
    configuration_free(c);
    text_free(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_longest_prefix),
        cmocka_unit_test(test_system_ids),
        cmocka_unit_test(test_against_plain_search),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
