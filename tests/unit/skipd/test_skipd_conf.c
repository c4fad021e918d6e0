/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/conf.h"

#include "config/config.h"
#include "config/type6.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/skipd-conf-XXXXXX";
static char path[64], master_path[64];

static void file_write(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    assert_int_equal(fchmod(fileno(f), 0600), 0);
    fputs(text, f);
    fclose(f);
}

static int begin(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/skipd.conf", directory);
    snprintf(master_path, sizeof master_path, "%s/master", directory);
    file_write(master_path, "master key\n");
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(path);
    unlink(master_path);
    return rmdir(directory);
}

#define BASIS  "system-id Alice\nlisten ipv4 127.0.0.1 port 0\nstore sqlite keys.db\nmaster-key file master\n"
#define CLIENT "client c\n tls psk id c key hex 00112233445566778899aabbccddeeff\n"

static struct skipd_conf *load(const char *text)
{
    struct text errors = {0};
    struct skipd_conf *c = NULL;

    file_write(path, text);
    c = skipd_conf_load(path, &errors);
    if (c == NULL)
        fail_msg("%s", errors.s);
    text_free(&errors);
    return c;
}

/* The text has a mistake that is told in these words, with this line. */
static void wrong(const char *text, unsigned line, const char *words)
{
    struct text errors = {0};
    char place[100];

    file_write(path, text);
    assert_null(skipd_conf_load(path, &errors));
    if (line > 0)
        snprintf(place, sizeof place, "%s:%u: ", path, line);
    else
        snprintf(place, sizeof place, "%s: ", path);
    if (strstr(errors.s, place) == NULL || strstr(errors.s, words) == NULL)
        fail_msg("expected '%s' ... '%s' in:\n%s", place, words, errors.s);
    text_free(&errors);
}

static void the_table_is_right(void **state)
{
    struct fault fault = {0};

    (void)state;
    if (!config_language_check(&skipd_language, &fault))
        fail_msg("%s", fault.text);
}

static void the_least_that_is_needed(void **state)
{
    struct skipd_conf *c = load(BASIS CLIENT);

    (void)state;
    assert_string_equal(c->system_id, "Alice");
    assert_int_equal(c->n_listens, 1);
    assert_int_equal(c->listens[0].kind, LISTEN_SKIP);
    assert_string_equal(c->store_kind, "sqlite");
    assert_non_null(strstr(c->store_where, "/keys.db"));
    assert_int_equal(c->lifetime_s, 3600);
    assert_int_equal(c->key_size, 256);
    assert_int_equal(c->n_clients, 1);
    assert_string_equal(c->clients[0].system_id, "Alice");
    assert_int_equal(c->clients[0].permissions, PERMIT_ALL);
    assert_int_equal(secret_len(c->clients[0].identity.psk), 16);
    assert_int_equal(c->clients[0].identity.psk_hash, PSK_HASH_ANY);
    skipd_conf_free(c);
}

static void everything(void **state)
{
    struct skipd_conf *c = load(
        BASIS
        "listen ipv6 ::1 port 8443\nlisten peers ipv4 127.0.0.1 port 1\n"
        "listen peers ipv6 ::1 port 2\nlisten etsi014 ipv4 127.0.0.1 port 3\n"
        "listen etsi014 ipv6 ::1 port 4\ntls certificate c.pem key c.key\n"
        "tls trustpoint ca.pem\nmax-keys 10\nlifetime 60\n"
        "key-size 384 minimum 256 maximum 512\nsync-timeout 500\n"
        "max-connections 9 per-client 3\nmax-requests 5 per-second 6\nhandshake-timeout 2\nidle-timeout 7\n"
        "client c\n system-id Alice-2\n permit key\n permit entropy\n"
        " remote-system-id Bob*\n certificate subject \"CN=c,O=x\"\n certificate san c.example\n"
        " tls psk id c key 0 sixteen-letters! hash sha384\n"
        "peer Bob\n address hostname bob.example port 5\n address ipv4 10.0.0.2 port 6\n "
        "remote-system-id Bob\n"
        " remote-system-id Bob-*\n tls psk id l key 0 sixteen-letters! hash sha256\n");
    const struct skipd_client *client = &c->clients[0];

    (void)state;
    assert_int_equal(c->n_listens, 6);
    assert_true(c->listens[3].kind == LISTEN_PEERS && c->listens[3].address.ss_family == AF_INET6);
    assert_true(c->listens[4].kind == LISTEN_ETSI014 && c->listens[4].address.ss_family == AF_INET);
    assert_true(c->listens[5].kind == LISTEN_ETSI014 && c->listens[5].address.ss_family == AF_INET6);
    assert_int_equal(c->max_keys, 10);
    assert_int_equal(c->lifetime_s, 60);
    assert_true(c->key_size == 384 && c->key_size_min == 256 && c->key_size_max == 512);
    assert_int_equal(c->sync_timeout_ms, 500);
    assert_true(c->max_connections == 9 && c->max_connections_per_client == 3);
    assert_true(c->limit.in_flight == 5 && c->limit.per_second == 6);
    assert_true(client->limit.in_flight == 5 && client->limit.per_second == 6);
    assert_true(c->handshake_timeout_s == 2 && c->idle_timeout_s == 7);
    assert_string_equal(client->system_id, "Alice-2");
    assert_int_equal(client->permissions, PERMIT_KEY | PERMIT_ENTROPY);
    assert_int_equal(client->identity.n_names, 2);
    assert_int_equal(client->identity.psk_hash, PSK_HASH_SHA384);
    assert_true(c->peers[0].n_addresses == 2 && c->peers[0].addresses[0].kind == PEER_HOSTNAME &&
                c->peers[0].addresses[0].port == 5 && c->peers[0].addresses[1].port == 6);
    assert_int_equal(c->peers[0].identity.psk_hash, PSK_HASH_SHA256);
    assert_true(skipd_conf_is_local(c, "Alice") && skipd_conf_is_local(c, "Alice-2"));
    assert_false(skipd_conf_is_local(c, "Bob"));
    skipd_conf_free(c);
}

static void exact_ids_win_over_globs(void **state)
{
    struct skipd_conf *c =
        load(BASIS CLIENT "peer any\n remote-system-id *\n tls psk id 1 key 0 sixteen-letters!\n"
                          "peer sites\n remote-system-id Site-[0-9]\n tls psk id 2 key 0 sixteen-letters!\n"
                          "peer one\n remote-system-id Site-1\n tls psk id 3 key 0 sixteen-letters!\n"
                          "peer named\n tls psk id 4 key 0 sixteen-letters!\n");

    (void)state;
    assert_string_equal(skipd_conf_peer_for(c, "Site-1")->name, "one");
    assert_string_equal(skipd_conf_peer_for(c, "named")->name, "named");
    assert_string_equal(skipd_conf_peer_for(c, "Site-2")->name, "any"); /* the first in the file */
    skipd_conf_free(c);
}

static void type6_secrets_open(void **state)
{
    struct type6 *type6 = type6_new("master key", 10);
    struct text sealed = {0}, text = {0};
    struct fault fault = {0};
    struct skipd_conf *c = NULL;
    struct secret_view view = {0};

    (void)state;
    assert_true(type6_seal(type6, "a psk of 16 byte", 16, &sealed, &fault));
    text_printf(&text, BASIS "client c\n tls psk id c key 6 %s\n", sealed.s);
    c = load(text.s);
    assert_true(secret_open(c->clients[0].identity.psk, &view));
    assert_int_equal(view.len, 16);
    assert_memory_equal(view.data, "a psk of 16 byte", 16);
    secret_close(&view);
    skipd_conf_free(c);

    file_write(master_path, "another master key\n");
    wrong(text.s, 6, "");
    file_write(master_path, "master key\n");

    text_free(&sealed);
    assert_true(type6_seal(type6, "too short", 9, &sealed, &fault));
    text_free(&text);
    text_printf(&text, BASIS "client c\n tls psk id c key 6 %s\n", sealed.s);
    wrong(text.s, 6, "16 to 256");
    text_free(&sealed);
    text_free(&text);
    type6_free(type6);
}

static void mistakes_are_told(void **state)
{
    (void)state;
    wrong("", 0, "no system-id");
    wrong("", 0, "no store");
    wrong("", 0, "no 'listen' for clients");
    wrong("", 0, "no client");
    wrong("", 0, "no master-key file");
    wrong("system-id a*\n", 1, "system ID");
    wrong(BASIS "client c\n", 5, "neither 'tls psk' nor 'certificate'");
    wrong(BASIS CLIENT CLIENT, 7, "already");
    wrong(BASIS CLIENT "client d\n tls psk id c key 0 sixteen-letters!\n", 8, "same PSK identity");
    wrong(BASIS "client c\n certificate san c\n", 5, "no 'tls trustpoint'");
    wrong(BASIS "client c\n certificate san c\n", 5, "no 'tls certificate'");
    wrong(BASIS "client c\n certificate fingerprint 00\n", 6, "64 hex digits");
    wrong(BASIS "client c\n tls psk id c key 0 short\n", 6, "");
    wrong(BASIS CLIENT "peer p\n", 7, "neither 'tls psk' nor 'certificate'");
    wrong(BASIS CLIENT "peer p\n remote-system-id Alice\n tls psk id l key 0 sixteen-letters!\n", 7,
          "our own system ID");
    wrong(BASIS CLIENT "key-size 100\n", 7, "multiples of 8");
    wrong(BASIS CLIENT "key-size 256 minimum 512\n", 7, "not between");
    wrong(BASIS CLIENT "lifetime 0\n", 7, "");
    wrong(BASIS "client a\n tls server-auth-only\nclient b\n tls server-auth-only\n", 7, "only one client");
    unlink(master_path);
    wrong(BASIS CLIENT, 0, "master");
    file_write(master_path, "master key\n");
}

static void no_secret_in_a_mistake(void **state)
{
    struct text errors = {0};

    (void)state;
    file_write(path, BASIS "client c\n tls psk id c key 0 letmein\nclient d\n tls psk id d key hex 5ec2e7zz\n"
                           "client e\n tls psk id e key 6 notype6letmein\n");
    assert_null(skipd_conf_load(path, &errors));
    assert_null(strstr(errors.s, "letmein"));
    assert_null(strstr(errors.s, "5ec2e7"));
    text_free(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_right),
        cmocka_unit_test(the_least_that_is_needed),
        cmocka_unit_test(everything),
        cmocka_unit_test(exact_ids_win_over_globs),
        cmocka_unit_test(type6_secrets_open),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(no_secret_in_a_mistake),
    };

    unsetenv("CREDENTIALS_DIRECTORY");
    return cmocka_run_group_tests(tests, begin, end);
}
