/* SPDX-License-Identifier: BSD-2-Clause */
/* What is wrong in a ppk.conf: every text, with its line; never a secret. */
#include "keyring/keyring.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

#define K        "keyring k\n peer p\n"
#define S        "sks profile s type remote\n kme server ipv4 127.0.0.1 port 1\n"
#define NAME32   "12345678901234567890123456789012"
#define SECRET   "sEcReT"
#define SECRET32 SECRET "-7890123456789012345678901"

static const struct {
    const char *input;
    const char *errors;
} cases[] = {
    /* names */
    {"keyring " NAME32 "\n", ""},
    {"keyring " NAME32 "x\n", "t:1: NAME has 33 bytes; 1 to 32 are allowed\n"},
    {"keyring k\nkeyring k\n", "t:2: keyring \"k\" is already defined in line 1\n"},
    {K " peer p\n", "t:3: peer \"p\" is already defined in line 2\n"},
    {K "keyring l\n peer p\n", ""},
    {S "sks profile s type remote\n kme server ipv4 127.0.0.1 port 1\n",
     "t:3: sks profile \"s\" is already defined in line 1\n"},
    {"ikev2 profile i\nikev2 profile i\n", "t:2: ikev2 profile \"i\" is already defined in line 1\n"},
    {"keyring k\n peer p/psk\n",
     "t:2: a peer's name must not end with /psk, as the labels of pre-shared keys do\n"},
    /* references */
    {K "  ppk dynamic s\n", "t:3: there is no sks profile \"s\"\n"},
    {S K "  ppk dynamic s\n", ""},
    {K "  ppk dynamic s\n" S, ""},
    {"ikev2 profile i\n keyring k\n keyring ppk l\n",
     "t:2: there is no keyring \"k\"\nt:3: there is no keyring \"l\"\n"},
    {"ikev2 profile i\n keyring k\nexit\nkeyring k\n", ""},
    {"keyring k\nikev2 profile i\n keyring k\nkeyring l\n",
     "t:4: \"keyring\" is already given in line 3; to begin another \"keyring NAME\", leave this level with "
     "exit first\n"},
    {S K "  ppk dynamic s\n  ppk dynamic s required\n", "t:6: \"ppk dynamic\" is already given in line 5\n"},
    /* addresses */
    {K "  address 10.0.0.1 255.0.255.0\n",
     "t:3: '255.0.255.0' is not a netmask (ones, then zeros, as 255.255.255.0)\n"},
    {K "  address 10.0.0.1 255.0.0.0\n peer q\n  address 10.9.9.9/8\n",
     "t:5: this address group is already the one of peer \"p\" (line 3)\n"},
    {K "  address 10.0.0.1\n  address ::ffff:10.0.0.1/128\n",
     "t:4: this address group is already the one of peer \"p\" (line 3)\n"},
    {K "  address 10.0.0.1 255.0.0.0\nkeyring l\n peer q\n  address 10.9.9.9/8\n", ""},
    {K "  address 0.0.0.0/0\n  address ::/0\n peer q\n address 10.0.0.0/9\n", ""},
    {"ikev2 profile i\n match address 10.0.0.0/40\n match identity remote address x\n",
     "t:2: '10.0.0.0/40' has no prefix length of 0 to 32\nt:3: 'x' is not an IPv4 or IPv6 address\n"},
    /* key-encryption keys */
    {"keyring k\n key-encryption-key c key hex 000102030405060708090a0b0c0d0e0f\n", ""},
    {"keyring k\n key-encryption-key c key " SECRET32 "\n", ""},
    {"keyring k\n key-encryption-key c key " SECRET "\n",
     "t:2: the key-encryption key has 6 bytes; 16 to 32 are allowed\n"},
    {"keyring k\n key-encryption-key c key " SECRET32 "x\n",
     "t:2: the key-encryption key has 33 bytes; 16 to 32 are allowed\n"},
    {"keyring k\n key-encryption-key c key " SECRET "-7890123456\n",
     "t:2: the key-encryption key has 17 bytes; an AES key has 16, 24 or 32\n"},
    {"keyring k\n key-encryption-key c key hex 000102030405060708090a0b0c0d0e0f10\n",
     "t:2: the key-encryption key has 17 bytes; an AES key has 16, 24 or 32\n"},
    {"keyring k\n key-encryption-key c key 6 "
     "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhsCpX34FEI02Cxpdjuk2e8r0EFnB48nHWK9Zo_bxQRGAdwA\n",
     "t:2: the key-encryption key has 18 bytes; an AES key has 16, 24 or 32\n"},
    {"keyring k\n key-encryption-key c key 6 " SECRET32 "\n",
     "t:2: the key-encryption key is not a Type 6 text (\"ppkctl encrypt\" makes one)\n"},
    {"keyring k\n key-encryption-key c key <removed>\n",
     "t:2: the key-encryption key was removed from here by \"ppkctl show\"\n"},
    {"keyring k\n key-encryption-key c key " SECRET32 "\n key-encryption-key c key " SECRET32 "\n",
     "t:3: key-encryption-key \"c\" is already defined in line 2\n"},
    {"keyring k\n key-encryption-key c key " SECRET32 "\nkeyring l\n key-encryption-key c key " SECRET32 "\n",
     ""},
    {"keyring k\n key-encryption-key c key " SECRET32 "\n peer c\n",
     "t:2: key-encryption-key \"c\" has the name of a peer (line 3)\n"},
    {"keyring k\n key-encryption-key c/psk key " SECRET32 "\n",
     "t:2: a key-encryption key's name must not end with /psk, as the labels of pre-shared keys do\n"},
    {"key-encryption-key c key " SECRET32 "\n",
     "t:1: 'key-encryption-key' belongs in a \"keyring NAME\", and this is the top level\n"},
    /* PPKs */
    {K "  ppk manual id x key " SECRET "\n", "t:3: the PPK has 6 bytes; 32 to 4096 are allowed\n"},
    {K "  ppk manual id x key hex 000102\n", "t:3: the PPK has 3 bytes; 32 to 4096 are allowed\n"},
    {K "  ppk manual id x key hex " SECRET "\n",
     "t:3: the PPK is not an even number of hexadecimal digits\n"},
    {K "  ppk manual id x key 6 "
       "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhsCpX34FEI02Cxpdjuk2e8r0EFnB48nHWK9Zo_bxQRGAdw\n",
     "t:3: the PPK has 17 bytes; 32 to 4096 are allowed\n"},
    {K "  ppk manual id x key 6 " SECRET32 "\n",
     "t:3: the PPK is not a Type 6 text (\"ppkctl encrypt\" makes one)\n"},
    {K "  ppk manual id x key " SECRET32 "\n  ppk manual id x key " SECRET32 "\n",
     "t:4: this PPK ID is already used in line 3 of keyring \"k\"\n"},
    {K "  ppk manual id x key " SECRET32 "\n peer q\n  ppk manual id x key " SECRET32 "\n",
     "t:5: this PPK ID is already used in line 3 of keyring \"k\"\n"},
    {K "  ppk manual id x key " SECRET32 " optional\n",
     "t:3: word 7 is too much; the command is \"ppk manual id ID key [0|6|hex] KEY [required]\" (a secret "
     "with blanks has to be in "
     "quotes)\n"},
    {K "  ppk manual id x " SECRET32 "\n", "t:3: 'key' is expected as word 5\n"},
    {K "  ppk manual x key " SECRET32 "\n", "t:3: word 3 has to be one of: id\n"},
    {K "  ppk manual\n", "t:3: word 3 has to be one of: id\n"},
    {K "  ppk manual id x key\n",
     "t:3: KEY is missing; the command is \"ppk manual id ID key [0|6|hex] KEY [required]\"\n"},
    {K "  ppk " SECRET "\n", "t:3: word 2 has to be one of: dynamic, manual\n"},
    {K "  " SECRET "\n",
     "t:3: unknown command; in peer NAME there are: address, remote-system-id, ppk, pre-shared-key\n"},
    /* pre-shared keys */
    {K "  pre-shared-key " SECRET "\n  pre-shared-key " SECRET "\n",
     "t:4: \"pre-shared-key\" is already given in line 3\n"},
    {K "  pre-shared-key <removed>\n", "t:3: the pre-shared key was removed from here by \"ppkctl show\"\n"},

    /* sks profiles */
    {"sks profile s type remote\n", "t:1: sks profile \"s\" has no kme server\n"},
    {"sks profile s type etsi014\n kme server ipv4 127.0.0.1 port 1\n",
     "t:1: sks profile \"s\" is of type etsi014, and has no tls certificate\n"},
    {"sks profile s type etsi014\n kme server ipv4 127.0.0.1 port 1\n tls psk id i key " SECRET32 "\n",
     "t:3: sks profile \"s\" is of type etsi014, which uses certificates, no PSK\n"},
    {"sks profile s type etsi014\n kme server ipv4 127.0.0.1 port 1\n entropy\n",
     "t:1: sks profile \"s\" is of type etsi014, and has no tls certificate\n"
     "t:3: sks profile \"s\" is of type etsi014, which gives no entropy\n"},
    {"keyring k\n peer p\n  ppk dynamic s\nsks profile s type etsi014\n kme server ipv4 127.0.0.1 port 1\n",
     "t:3: peer \"p\" needs a remote-system-id: sks profile \"s\" is of type etsi014\n"
     "t:4: sks profile \"s\" is of type etsi014, and has no tls certificate\n"},
    {"sks profile s type bogus\n kme server ipv4 x port y\n",
     "t:1: one of {remote|etsi014} is expected as word 5\n"
     "t:2: 'y' is not a number; N is a number of 1 to 65535\n"},
    {"sks profile s\n", "t:1: type is missing; the command is \"sks profile NAME type {remote|etsi014}\"\n"},
    {S " kme server ipv4 127.0.0.1 port 1\n", "t:3: sks profile \"s\" already has server 127.0.0.1 port 1\n"},
    {S " kme server ipv4 127.0.0.1 port 0\n", "t:3: '0' is out of range; N is a number of 1 to 65535\n"},
    {S " kme server ipv4 127.0.0.1\n",
     "t:3: port is missing; the command is \"kme server {ipv4|ipv6|hostname} HOST port N\"\n"},
    {S " kme server ipv4 ::1 port 1\n", "t:3: '::1' is not an IPv4 address\n"},
    {S " kme server ipv6 127.0.0.1 port 2\n", "t:3: '127.0.0.1' is not an IPv6 address\n"},
    {S " kme server ipv6 [::1] port 1\n", "t:3: '[::1]' is not an IPv6 address\n"},
    {S " kme server hostname 127.0.0.1 port 2\n", "t:3: '127.0.0.1' is not a host name\n"},
    {S " kme server ip 127.0.0.1 port 1\n", "t:3: one of {ipv4|ipv6|hostname} is expected as word 3\n"},
    {S " timeout 100\n hedge 101\n", "t:1: sks profile \"s\": hedge 101 is longer than timeout 100\n"},
    {S " timeout 0\n", "t:3: '0' is out of range; MS is a number of 10 to 600000\n"},
    {S " key-size 128\n", "t:3: '128' is out of range; BITS is a number of 256 to 32768\n"},
    {S " key-size 257\n", "t:3: key-size 257 is not a multiple of 8 bits\n"},
    {S " prefetch 1001\n", "t:3: '1001' is out of range; N is a number of 0 to 1000\n"},
    {S " lifetime 0\n", "t:3: '0' is out of range; SECONDS is a number of 1 to 31536000\n"},
    {S " ppk-id format hex\n", "t:3: one of {raw|text} is expected as word 3\n"},
    {S " entropy yes\n", "t:3: word 2 is too much; the command is \"entropy\"\n"},
    {S " timeout 100\n timeout 200\n", "t:4: \"timeout\" is already given in line 3\n"},
    /* TLS */
    {S " tls trustpoint /nonexistent/ca\n", "t:3: /nonexistent/ca: No such file or directory\n"},
    {S " tls certificate /dev/null\n",
     "t:3: key is missing; the command is \"tls certificate FILE key KEYFILE\"\n"},
    {S " tls certificate /dev/null key /\n",
     "t:3: /dev/null: is not a regular file\nt:3: /: is not a regular file\n"},
    {S " tls psk id i key " SECRET32 "\n tls certificate / key /\n",
     "t:4: sks profile \"s\" has both \"tls psk\" and \"tls certificate\": it is the one or the other\n"
     "t:4: /: is not a regular file\nt:4: /: is not a regular file\n"},
    {S " tls trustpoint /etc/passwd\n tls psk id i key " SECRET32 "\n",
     "t:4: sks profile \"s\" has both \"tls psk\" and \"tls trustpoint\": it is the one or the other\n"},
    {S " tls psk id i key " SECRET "\n", "t:3: the TLS PSK has 6 bytes; 16 to 512 are allowed\n"},
    {S " tls psk id i key " SECRET32 " hash md5\n", "t:3: one of {sha256|sha384} is expected as word 8\n"},
    {S " tls psk id i key 0 " SECRET32 " hash\n", "t:3: sha256|sha384 is missing; the command is \"tls psk "
                                                  "id ID key [0|6|hex] KEY [hash {sha256|sha384}]\"\n"},
    {"master-key file /nonexistent/key\n", "t:1: /nonexistent/key: No such file or directory\n"},
    {"master-key file /\nmaster-key file /\n",
     "t:1: /: is not a regular file\nt:2: \"master-key file\" is already given in line 1\n"},
    {"peer p\n", "t:1: 'peer' belongs in a \"keyring NAME\", and this is the top level\n"},
    {"keyring k\n derived-keys secret\n", "t:2: one of {extractable|sensitive} is expected as word 2\n"},
    {"keyring k\n tls psk\n",
     "t:2: 'tls' belongs in a \"sks profile NAME\", and this is a \"keyring NAME\"\n"},
    /* all at once, in the order of the lines */
    {"sks profile s type remote\n" K
     "  ppk dynamic nix\n  bogus\n  address x\nikev2 profile i\n keyring nix\n",
     "t:1: sks profile \"s\" has no kme server\n"
     "t:4: there is no sks profile \"nix\"\n"
     "t:5: unknown command; in peer NAME there are: address, remote-system-id, ppk, pre-shared-key\n"
     "t:6: 'x' is not an IPv4 or IPv6 address\n"
     "t:8: there is no keyring \"nix\"\n"},
};

static void check(const char *input, size_t len, const char *expected)
{
    struct text errors = {0};
    struct configuration *c = configuration_parse("t", input, len, &errors);
    const char *got = errors.s != NULL ? errors.s : "";

    assert_null(strstr(got, SECRET));
    if (strcmp(got, expected) != 0)
        fail_msg("%s\ngives:\n%sinstead of:\n%s", input, got, expected);
    assert_int_equal(c != NULL, expected[0] == '\0');
    configuration_free(c);
    text_free(&errors);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check(cases[i].input, strlen(cases[i].input), cases[i].errors);
}

/* Every file cut anywhere must end in errors or a configuration, and cost nothing else (a job for the
 * sanitizers). */
static void test_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t len = 0; len <= strlen(cases[i].input); len++) {
            struct text errors = {0};
            struct configuration *c = configuration_parse("t", cases[i].input, len, &errors);

            assert_int_equal(c == NULL, errors.len > 0);
            configuration_free(c);
            text_free(&errors);
        }
    }
}

/* The longest names and secrets, and one byte more. */
static void check_length(const char *before, const char *repeat, size_t n, const char *after,
                         const char *expected)
{
    struct text input = {0};

    text_printf(&input, "%s", before);
    for (size_t i = 0; i < n; i++)
        text_append(&input, repeat, strlen(repeat));
    text_printf(&input, "%s", after);
    check(input.s, input.len, expected);
    text_free(&input);
}

static void test_lengths(void **state)
{
    (void)state;
    check_length(K "  ppk manual id ", "i", 256, " key " SECRET32 "\n", "");
    check_length(K "  ppk manual id ", "i", 257, " key " SECRET32 "\n",
                 "t:3: ID has 257 bytes; 1 to 256 are allowed\n");
    check_length(K "  ppk manual id x key ", "k", 4096, "\n", "");
    check_length(K "  ppk manual id x key ", "k", 4097, "\n",
                 "t:3: the PPK has 4097 bytes; 32 to 4096 are allowed\n");
    check_length(K "  ppk manual id x key hex ", "0f", 4096, "\n", "");
    check_length(K "  ppk manual id x key hex ", "0f", 4097, "\n",
                 "t:3: the PPK has 4097 bytes; 32 to 4096 are allowed\n");
    check_length(S " tls psk id ", "i", 256, " key " SECRET32 "\n", "");
    check_length(S " tls psk id ", "i", 257, " key " SECRET32 "\n",
                 "t:3: ID has 257 bytes; 1 to 256 are allowed\n");
    check_length(S " tls psk id i key ", "k", 512, "\n", "");
    check_length(S " tls psk id i key ", "k", 513, "\n",
                 "t:3: the TLS PSK has 513 bytes; 16 to 512 are allowed\n");
    check_length(K "  pre-shared-key ", "k", 1024, "\n", "");
    check_length(K "  pre-shared-key ", "k", 1025, "\n",
                 "t:3: the pre-shared key has 1025 bytes; 1 to 1024 are allowed\n");
    check_length("sks profile ", "n", 127, " type remote\n kme server ipv4 127.0.0.1 port 1\n", "");
    check_length("sks profile ", "n", 128, " type remote\n",
                 "t:1: NAME has 128 bytes; 1 to 127 are allowed\n");
}

static void test_servers(void **state)
{
    struct text input = {0};

    (void)state;
    text_printf(&input, "sks profile s type remote\n");
    for (int i = 0; i < 16; i++)
        text_printf(&input, "kme server ipv4 127.0.0.1 port %d\n", i + 1);
    check(input.s, input.len, "");
    text_printf(&input, "kme server ipv4 127.0.0.1 port 17\n");
    check(input.s, input.len, "t:18: more than 16 servers in sks profile \"s\"\n");
    text_free(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_servers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
