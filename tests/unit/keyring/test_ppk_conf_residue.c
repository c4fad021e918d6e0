/* SPDX-License-Identifier: BSD-2-Clause */
/* No secret of a configuration stays in memory outside the arena: the own process is searched for it. */
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
#include <unistd.h>

#define SECRET_LEN 40

/* The i-th byte of secret `which`, so that no whole secret is in this program. */
static char secret_byte(unsigned which, unsigned i)
{
    return (char)('0' + (i * 37 + which * 11 + i * i * 5) % 43);
}

/* Are 16 bytes from its middle here, or 16 hexadecimal digits of them? */
static bool is_secret(const unsigned char *at, unsigned which)
{
    bool raw = true, hex = true;

    for (unsigned i = 0; i < 16 && (raw || hex); i++) {
        unsigned char byte = (unsigned char)secret_byte(which, 8 + i);
        unsigned char half = (unsigned char)secret_byte(which, 8 + i / 2);

        raw = raw && at[i] == byte;
        hex = hex && at[i] == (unsigned char)"0123456789abcdef"[i % 2 == 0 ? half >> 4 : half & 15];
    }
    return raw || hex;
}

/* How often 16 bytes of a secret are in writable memory: in mappings that core dumps leave out, and in
 * others. */
static void memory_search(unsigned which, unsigned *guarded, unsigned *open_memory)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    unsigned long from = 0, to = 0, at_from = 0, at_to = 0;
    static char line[512];

    assert_non_null(maps);
    *guarded = *open_memory = 0;
    while (fgets(line, sizeof line, maps) != NULL) {
        char mode[5];

        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3) {
            at_from = at_to = 0;
            if (mode[0] == 'r' && mode[1] == 'w') {
                at_from = from;
                at_to = to;
            }
        } else if (strncmp(line, "VmFlags:", 8) == 0 && at_from != 0) {
            unsigned *count = strstr(line, " dd") != NULL ? guarded : open_memory;

            for (const unsigned char *p = (const unsigned char *)at_from;
                 p + 16 <= (const unsigned char *)at_to; p++)
                *count += is_secret(p, which);
        }
    }
    (void)fclose(maps);
}

static void put_text(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void put_secret(int fd, unsigned which, bool hex)
{
    for (unsigned i = 0; i < SECRET_LEN; i++) {
        char c[3] = {secret_byte(which, i)};

        if (hex)
            (void)snprintf(c, sizeof c, "%02x", (unsigned char)c[0]);
        put_text(fd, c);
    }
}

static void test_residue(void **state)
{
    char path[] = "/tmp/ppk-residue-XXXXXX";
    int fd = mkstemp(path);
    struct text errors = {0};
    struct configuration *c;

    (void)state;
    assert_true(fd >= 0);
    put_text(fd, "keyring k\n peer p\n  ppk manual id a key ");
    put_secret(fd, 0, false);
    put_text(fd, "\n  ppk manual id b key hex ");
    put_secret(fd, 1, true);
    put_text(fd, "\n  pre-shared-key \"");
    put_secret(fd, 2, false);
    put_text(fd, "\"\nsks profile s type remote\n kme server ipv4 127.0.0.1 port 1\n tls psk id i key ");
    put_secret(fd, 3, false);
    put_text(fd, "\n");
    (void)close(fd);
    for (int round = 0; round < 2; round++) {
        c = configuration_load(path, &errors);
        if (c == NULL)
            fail_msg("%s", errors.s);
        for (unsigned which = 0; which < 4; which++) {
            unsigned guarded, open_memory;

            memory_search(which, &guarded, &open_memory);
            assert_int_equal(guarded, 1); /* where it belongs */
            assert_int_equal(open_memory, 0);
        }
        configuration_free(c);
        for (unsigned which = 0; which < 4; which++) {
            unsigned guarded, open_memory;

            memory_search(which, &guarded, &open_memory);
            assert_int_equal(guarded, 0);
            assert_int_equal(open_memory, 0);
        }
    }
    /* a file that is refused: its secrets go as well */
    fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_true(fd >= 0);
    put_text(fd, " nonsense\nkeyring k\n peer p\n  ppk manual id a kez ");
    put_secret(fd, 4, false);
    put_text(fd, "\n  pre-shared-key \"");
    put_secret(fd, 5, false);
    (void)close(fd);
    assert_null(configuration_load(path, &errors));
    for (unsigned which = 0; which < 6; which++) {
        unsigned guarded, open_memory;

        memory_search(which, &guarded, &open_memory);
        assert_int_equal(guarded + open_memory, 0);
    }
    text_free(&errors);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_residue)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
