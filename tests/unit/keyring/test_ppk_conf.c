/* SPDX-License-Identifier: BSD-2-Clause */
/* Every command of ppk.conf: what it configures, and how it is printed. */
#include "config/config.h"
#include "keyring/keyring.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEX32  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define TEXT32 "0123456789abcdef0123456789ABCDEF"

static struct configuration *parsed(const char *input)
{
    struct text errors = {0};
    struct configuration *c = configuration_parse("t", input, strlen(input), &errors);

    if (c == NULL)
        fail_msg("%s\n%s", input, errors.s != NULL ? errors.s : "no text");
    assert_int_equal(errors.len, 0);
    return c;
}

static void assert_secret(const struct config_secret *s, const char *value, size_t len)
{
    struct secret_view view;

    assert_non_null(s->value);
    assert_true(secret_open(s->value, &view));
    assert_int_equal(view.len, len);
    assert_memory_equal(view.data, value, len);
    secret_close(&view);
}

static void assert_printed(const struct configuration *c, const char *command, const char *name,
                           const char *expected)
{
    struct text out = {0};

    configuration_print(c, command, name, &out);
    assert_string_equal(out.s != NULL ? out.s : "", expected);
    text_free(&out);
}

/* The example of Cisco's IOS XR guide, as it stands there, prompts included. */
static const char guide[] =
    "RP/0/RP0/CPU0:ios#configure terminal\n"
    "RP/0/RP0/CPU0:ios(config)#keyring dynamic\n"
    "RP/0/RP0/CPU0:ios(config-ikev2-keyring)#peer peer1\n"
    "RP/0/RP0/CPU0:ios(config-ikev2-keyring-peer)#ppk dynamic qkd required\n"
    "RP/0/RP0/CPU0:ios(config-ikev2-keyring-peer)#pre-shared-key cisco123!cisco123\n"
    "RP/0/RP0/CPU0:ios(config-ikev2-keyring-peer)#address 10.0.0.1 255.0.0.0\n"
    "RP/0/1/CPU0:ios(config)#ikev2 profile test\n"
    "RP/0/1/CPU0:ios(config-ikev2-profile-test)#keyring dynamic\n"
    "RP/0/1/CPU0:ios(config-ikev2-profile-test)#keyring ppk dynamic\n"
    "RP/0/1/CPU0:ios(config-ikev2-profile-name)#match address 10.0.0.1 255.255.255.0\n"
    "RP/0/1/CPU0:ios(config)#sks profile qkd type remote\n"
    "RP/0/1/CPU0:ios(config-sks-profile)#kme server ipv4 192.0.2.34 port 10001\n"
    "RP/0/RP0/CPU0:ios(config-ikev2-keyring-peer)#exit\n"
    "RP/0/RP0/CPU0:ios(config)#exit\n";

static void assert_guide(const char *input)
{
    struct configuration *c = parsed(input);
    const struct peer *p;

    assert_int_equal(c->n_keyrings, 1);
    assert_string_equal(c->keyrings[0].name, "dynamic");
    assert_int_equal(c->keyrings[0].n_peers, 1);
    p = &c->keyrings[0].peers[0];
    assert_string_equal(p->name, "peer1");
    assert_ptr_equal(p->keyring, &c->keyrings[0]);
    assert_ptr_equal(p->dynamic, &c->profiles[0]);
    assert_true(p->dynamic_required);
    assert_true(peer_ppk_required(p));
    assert_secret(&p->psk, "cisco123!cisco123", 17);
    assert_int_equal(p->n_groups, 1);
    assert_int_equal(p->groups[0].prefix, 8);
    assert_memory_equal(p->groups[0].bytes, "\x0a\x00\x00\x01", 4);
    assert_int_equal(c->n_ikev2, 1);
    assert_string_equal(c->ikev2[0].name, "test");
    assert_ptr_equal(c->ikev2[0].keyring, &c->keyrings[0]);
    assert_ptr_equal(c->ikev2[0].keyring_ppk, &c->keyrings[0]);
    assert_int_equal(c->ikev2[0].n_matches, 1);
    assert_int_equal(c->ikev2[0].matches[0].prefix, 24);
    assert_int_equal(c->n_profiles, 1);
    assert_string_equal(c->profiles[0].name, "qkd");
    assert_int_equal(c->profiles[0].type, SKS_REMOTE);
    assert_int_equal(c->profiles[0].n_servers, 1);
    assert_int_equal(c->profiles[0].servers[0].kind, KME_IPV4);
    assert_string_equal(c->profiles[0].servers[0].host, "192.0.2.34");
    assert_int_equal(c->profiles[0].servers[0].port, 10001);
    assert_printed(
        c, NULL, NULL,
        "keyring dynamic\n peer peer1\n  address 10.0.0.1 255.0.0.0\n  ppk dynamic qkd required\n"
        "  pre-shared-key <removed>\n!\n"
        "sks profile qkd type remote\n kme server ipv4 192.0.2.34 port 10001\n!\n"
        "ikev2 profile test\n match identity remote address 10.0.0.1 255.255.255.0\n keyring dynamic\n"
        " keyring ppk dynamic\n!\n");
    configuration_free(c);
}

static void test_guide(void **state)
{
    (void)state;
    assert_guide(guide);
}

/* The same with the guide's other spelling and with exits, as a router would print it, and shortened. */
static void test_guide_variants(void **state)
{
    (void)state;
    assert_guide(
        "keyring dynamic\n peer peer1\n  ppk dynamic qkd required\n  pre-shared-key cisco123!cisco123\n"
        "  address 10.0.0.1 255.0.0.0\n exit\nexit\n!\n"
        "ikev2 profile test\n match identity remote address 10.0.0.1 255.255.255.0\n keyring ppk dynamic\n"
        " keyring dynamic\nexit\n!\nsks profile qkd type remote\n kme server ipv4 192.0.2.34 port "
        "10001\n!\nend\n");
    assert_guide("sks p qkd t r\nkm s ipv4 192.0.2.34 p 10001\nend\n"
                 "key dynamic\np peer1\npp d qkd r\npre cisco123!cisco123\na 10.0.0.1/8\n"
                 "ik p test\nm i r a 10.0.0.1/24\nk dynamic\nk ppk dynamic\n");
}

static void test_defaults(void **state)
{
    struct configuration *c = parsed("sks profile s type remote\n kme server ipv6 2001:db8::1 port 443\n");
    const struct sks_profile *p = &c->profiles[0];

    (void)state;
    assert_int_equal(p->timeout_ms, 2000);
    assert_int_equal(p->hedge_ms, 0);
    assert_int_equal(p->key_size, 256);
    assert_int_equal(p->prefetch, 0);
    assert_int_equal(p->lifetime_s, 3600);
    assert_int_equal(p->lookups, 64);
    assert_int_equal(p->lookups_s, 2000);
    assert_int_equal(p->id_format, PPK_ID_RAW);
    assert_int_equal(p->psk_hash, PSK_SHA384);
    assert_false(p->entropy);
    assert_null(p->local_system_id);
    assert_null(p->trustpoint);
    assert_null(p->certificate);
    assert_null(p->key);
    assert_null(p->psk_id);
    assert_false(c->sealed);
    assert_int_equal(p->servers[0].kind, KME_IPV6);
    configuration_free(c);
}

#define S1 " kme server ipv4 192.0.2.1 port 1\n"
#define S2 " kme server ipv4 192.0.2.2 port 2\n"
#define S3 " kme server ipv4 192.0.2.3 port 3\n"

static void test_hedge(void **state)
{
    static const struct {
        const char *lines;
        uint32_t hedge_ms;
        const char *printed;
    } cases[] = {
        {S1, 0, S1}, /* nobody else to ask */
        {S1 S2, 500, S1 S2},
        {S1 S2 S3, 333, S1 S2 S3},
        {S1 S2 " timeout 100\n", 25, S1 S2 " timeout 100\n"},
        {S1 S2 " hedge 0\n", 0, S1 S2 " hedge 0\n"},
        {S1 S2 " hedge 500\n", 500, S1 S2},
        {" hedge 7\n" S1 S2, 7, S1 S2 " hedge 7\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512], printed[512];
        (void)snprintf(text, sizeof text, "sks profile s type remote\n%s", cases[i].lines);
        (void)snprintf(printed, sizeof printed, "sks profile s type remote\n%s!\n", cases[i].printed);
        struct configuration *c = parsed(text);
        assert_int_equal(c->profiles[0].hedge_ms, cases[i].hedge_ms);
        assert_printed(c, "sks", "s", printed);
        configuration_free(c);
    }
}

static void test_sks_profile(void **state)
{
    static const char input[] = "sks profile s type remote\n"
                                " kme server hostname kme.example.com port 1\n"
                                " kme server ipv4 192.0.2.1 port 65535\n"
                                " kme server ipv6 2001:db8::1 port 443\n"
                                " local-system-id Alice\n"
                                " tls psk id \"me and you\" key hex " HEX32 " hash sha256\n"
                                " timeout 1500\n hedge 200\n key-size 512\n prefetch 4\n lifetime 60\n "
                                "max-lookups 8 per-second 90\n ppk-id format text\n entropy\n";
    struct configuration *c = parsed(input);
    const struct sks_profile *p = &c->profiles[0];

    (void)state;
    assert_int_equal(p->n_servers, 3);
    assert_string_equal(p->servers[0].host, "kme.example.com");
    assert_int_equal(p->servers[0].kind, KME_HOSTNAME);
    assert_int_equal(p->servers[1].port, 65535);
    assert_string_equal(p->local_system_id, "Alice");
    assert_string_equal(p->psk_id, "me and you");
    assert_int_equal(p->psk_hash, PSK_SHA256);
    assert_int_equal(secret_len(p->psk.value), 32);
    assert_int_equal(p->timeout_ms, 1500);
    assert_int_equal(p->hedge_ms, 200);
    assert_int_equal(p->key_size, 512);
    assert_int_equal(p->prefetch, 4);
    assert_int_equal(p->lifetime_s, 60);
    assert_int_equal(p->lookups, 8);
    assert_int_equal(p->lookups_s, 90);
    assert_int_equal(p->id_format, PPK_ID_TEXT);
    assert_true(p->entropy);
    assert_printed(c, "sks", "s",
                   "sks profile s type remote\n"
                   " kme server hostname kme.example.com port 1\n"
                   " kme server ipv4 192.0.2.1 port 65535\n"
                   " kme server ipv6 2001:db8::1 port 443\n"
                   " local-system-id Alice\n"
                   " tls psk id \"me and you\" key <removed> hash sha256\n"
                   " timeout 1500\n hedge 200\n key-size 512\n prefetch 4\n lifetime 60\n "
                   "max-lookups 8 per-second 90\n ppk-id format text\n entropy\n!\n");
    assert_ptr_equal(configuration_profile(c, "s", 1), p);
    assert_null(configuration_profile(c, "S", 1));
    configuration_free(c);
}

static void test_peer(void **state)
{
    static const char input[] =
        "keyring k\n derived-keys sensitive\n"
        " peer a\n"
        "  ppk manual id one key " TEXT32 "\n"
        "  ppk manual id two key 0 " TEXT32 " required\n"
        "  ppk manual id \"th ree\" key hex " HEX32 "\n"
        "  address 2001:db8::1\n  address 10.0.0.0/8\n"
        "  remote-system-id Bob\n"
        "  pre-shared-key hex 00ff\n"
        " peer b\n"
        "keyring l\n derived-keys extractable\n peer a\n  ppk manual id one key " TEXT32
        "\n  address 10.0.0.0/8\n";
    struct configuration *c = parsed(input);
    const struct peer *p = &c->keyrings[0].peers[0];

    (void)state;
    assert_int_equal(c->n_keyrings, 2);
    assert_true(c->keyrings[0].derived_sensitive);
    assert_false(c->keyrings[1].derived_sensitive);
    assert_int_equal(p->n_manual, 3);
    assert_secret(&p->manual[0].key, TEXT32, 32);
    assert_secret(&p->manual[1].key, TEXT32, 32);
    assert_int_equal(p->manual[2].id.len, 6);
    assert_memory_equal(p->manual[2].id.data, "th ree", 6);
    assert_false(p->manual[0].required);
    assert_true(p->manual[1].required);
    assert_true(peer_ppk_required(p));
    assert_false(peer_ppk_required(&c->keyrings[0].peers[1]));
    assert_secret(&p->psk, "\x00\xff", 2);
    assert_int_equal(p->n_groups, 2);
    assert_string_equal(p->remote_system_id, "Bob");
    assert_null(p->dynamic);
    assert_null(c->keyrings[0].peers[1].psk.value);
    assert_null(c->keyrings[0].peers[1].psk.sealed);
    assert_printed(c, "keyring", "k",
                   "keyring k\n derived-keys sensitive\n peer a\n"
                   "  address 2001:db8::1/128\n  address 10.0.0.0 255.0.0.0\n"
                   "  remote-system-id Bob\n"
                   "  ppk manual id one key <removed>\n"
                   "  ppk manual id two key <removed> required\n"
                   "  ppk manual id \"th ree\" key <removed>\n"
                   "  pre-shared-key <removed>\n"
                   " peer b\n!\n");
    assert_printed(c, "keyring", "x", "");
    assert_printed(c, "sks", NULL, "");
    assert_ptr_equal(configuration_keyring(c, "l", 1), &c->keyrings[1]);
    assert_null(configuration_keyring(c, "x", 1));
    configuration_free(c);
}

static void test_keks(void **state)
{
    static const char input[] = "keyring k\n key-encryption-key card1 key hex " HEX32 "\n"
                                " peer a\n"
                                " key-encryption-key \"card 2\" key 0123456789abcdef\n"
                                " key-encryption-key card3 key 0 0123456789abcdef01234567\n"
                                "keyring l\n key-encryption-key card1 key " TEXT32 "\n"
                                "keyring m\n";
    struct configuration *c = parsed(input);
    const struct keyring *k = &c->keyrings[0];

    (void)state;
    assert_int_equal(k->n_keks, 3);
    assert_int_equal(k->n_peers, 1);
    assert_int_equal(c->keyrings[2].n_keks, 0);
    assert_int_equal(secret_len(k->keks[0].key.value), 32);
    assert_secret(&k->keks[1].key, "0123456789abcdef", 16);
    assert_secret(&k->keks[2].key, "0123456789abcdef01234567", 24);
    assert_secret(&c->keyrings[1].keks[0].key, TEXT32, 32);
    assert_ptr_equal(keyring_kek_by_name(k, "card 2", 6), &k->keks[1]);
    assert_ptr_equal(keyring_kek_by_name(&c->keyrings[1], "card1", 5), &c->keyrings[1].keks[0]);
    assert_null(keyring_kek_by_name(k, "card", 4));
    assert_null(keyring_kek_by_name(&c->keyrings[2], "card1", 5));
    assert_printed(c, "keyring", "k",
                   "keyring k\n key-encryption-key card1 key <removed>\n"
                   " key-encryption-key \"card 2\" key <removed>\n"
                   " key-encryption-key card3 key <removed>\n peer a\n!\n");
    configuration_free(c);
}

/* What is printed of Type 6 secrets loads again, and prints the same. */
static void test_print_and_parse_again(void **state)
{
    static const char input[] =
        "keyring k\n key-encryption-key card key 6 "
        "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhsCpX34FEI02Cxpdjuk2e8r0EFnB48nHWK9Zo_bxQRGAw\n"
        " peer \"a b\"\n  address 10.1.2.3 255.255.0.0\n  ppk dynamic s required\n"
        "  ppk manual id \"!x\" key 6 "
        "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhsCpX34FEI02Cxpdjuk2e8r0EFnB48nHWK9Zo_"
        "bxQRGAdwAAAAAAAAAAAAAAAAAAAA"
        " required\n"
        "  pre-shared-key 6 "
        "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhsCpX34FEI02Cxpdjuk2e8r0EFnB48nHWK9Zo_bxQRGAdw\n"
        "!\nsks profile s type remote\n kme server ipv4 127.0.0.1 port 1\n"
        " tls psk id i key 6 "
        "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhsCpX34FEI02Cxpdjuk2e8r0EFnB48nHWK9Zo_bxQRGAdw\n"
        " entropy\n!\nikev2 profile p\n match identity remote address ::/0\n keyring k\n!\n";
    struct configuration *c = parsed(input);
    struct text out = {0};

    (void)state;
    assert_true(c->sealed);
    configuration_print(c, NULL, NULL, &out);
    assert_string_equal(out.s, input);
    text_free(&out);
    configuration_free(c);
}

static void test_files(void **state)
{
    char directory[] = "/tmp/ppk-conf-XXXXXX", path[64], expected[512];
    struct configuration *c;
    struct text errors = {0};
    int fd;

    (void)state;
    assert_non_null(mkdtemp(directory));
    for (int i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s.pem", directory, ((const char *[]){"ca", "cert", "key"})[i]);
        fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "x", 1), 1);
        (void)close(fd);
    }
    (void)snprintf(path, sizeof path, "%s/ppk.conf", directory);
    (void)snprintf(expected, sizeof expected,
                   "master-key file %s/key.pem\n"
                   "sks profile s type remote\n kme server ipv4 127.0.0.1 port 1\n"
                   " tls trustpoint ca.pem\n tls certificate %s/cert.pem key key.pem\n",
                   directory, directory);
    fd = open(path, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, expected, strlen(expected)), strlen(expected));
    (void)close(fd);
    c = configuration_load(path, &errors);
    if (c == NULL)
        fail_msg("%s", errors.s);
    (void)snprintf(expected, sizeof expected, "%s/cert.pem", directory);
    assert_string_equal(c->profiles[0].certificate, expected);
    (void)snprintf(
        expected, sizeof expected,
        "master-key file %s/key.pem\nsks profile s type remote\n kme server ipv4 127.0.0.1 port 1\n"
        " tls trustpoint %s/ca.pem\n tls certificate %s/cert.pem key %s/key.pem\n!\n",
        directory, directory, directory, directory);
    assert_printed(c, NULL, NULL, expected);
    configuration_free(c);

    /* the key must not be for others to read */
    (void)snprintf(expected, sizeof expected, "%s/key.pem", directory);
    assert_int_equal(chmod(expected, 0644), 0);
    assert_null(configuration_load(path, &errors));
    assert_non_null(strstr(errors.s, "ppk.conf:1: "));
    assert_non_null(strstr(errors.s, "ppk.conf:5: "));
    assert_non_null(strstr(errors.s, "others can read it (mode 0644)"));
    text_free(&errors);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", directory,
                       ((const char *[]){"ca.pem", "cert.pem", "key.pem", "ppk.conf"})[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(directory), 0);
}

static void test_sample(void **state)
{
    struct text errors = {0}, content = {0};
    char chunk[4096];
    size_t n;
    FILE *f = fopen(PPK_SOURCE_DIR "/conf/ppk.conf", "re");

    (void)state;
    assert_non_null(f);
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        text_append(&content, chunk, n);
    (void)fclose(f);
    struct configuration *c = configuration_parse("conf/ppk.conf", content.s, content.len, &errors);
    if (c == NULL)
        fail_msg("%s", errors.s);
    assert_int_equal(c->n_keyrings, 1);
    configuration_free(c);
    text_free(&content);
}

static void test_language(void **state)
{
    struct fault fault = {""};

    (void)state;
    if (!config_language_check(configuration_language(), &fault))
        fail_msg("%s", fault.text);
}

static void test_empty(void **state)
{
    struct configuration *c = parsed("");

    (void)state;
    assert_int_equal(c->n_keyrings, 0);
    assert_null(configuration_keyring(c, "", 0));
    assert_printed(c, NULL, NULL, "");
    configuration_free(c);
    configuration_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guide),       cmocka_unit_test(test_guide_variants),
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_hedge),
        cmocka_unit_test(test_sks_profile), cmocka_unit_test(test_peer),
        cmocka_unit_test(test_keks),        cmocka_unit_test(test_print_and_parse_again),
        cmocka_unit_test(test_files),       cmocka_unit_test(test_sample),
        cmocka_unit_test(test_language),    cmocka_unit_test(test_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
