/* SPDX-License-Identifier: BSD-2-Clause */
/* What is left of a key on its way through TLS, HTTP and JSON: fetches keys and then scans the whole process
 * for their bytes and their hex.
 *
 *   residue PORT HOW COUNT SCENARIO...     HOW: ca=FILE, or psk=ID:HEX
 *
 * For each scenario (a remoteSystemID of hostile_server.py) COUNT keys are fetched, if it gives any. There
 * must be exactly one copy of each, in the arena, and none once it was given back; of a TLS PSK, exactly the
 * one of the configuration.
 *
 * What is looked for is kept masked, so that the scan does not find itself. A key is the SHA-256 of its ID.
 */
#include "base/clock.h"
#include "skip/loader.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MASK   0x5a
#define NEEDLE 32u
#define WINDOW (1u << 20)
#define KEYS   64

struct needle {
    uint8_t bytes[NEEDLE];                        /* masked */
    uint8_t lower[2 * NEEDLE], upper[2 * NEEDLE]; /* masked */
    unsigned found_bytes, found_hex;
    char where[1024];
};

static void needle_make(struct needle *n, const uint8_t *value)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    memset(n, 0, sizeof *n);
    for (size_t i = 0; i < NEEDLE; i++) {
        n->bytes[i] = value[i] ^ MASK;
        for (size_t j = 0; j < 2; j++) {
            unsigned digit = (value[i] >> (j ? 0 : 4)) & 15;
            n->lower[2 * i + j] = (uint8_t)digits[digit] ^ MASK;
            n->upper[2 * i + j] = (uint8_t)digits[16 + digit] ^ MASK;
        }
    }
}

static bool masked_equal(const uint8_t *memory, const uint8_t *masked, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((memory[i] ^ MASK) != masked[i])
            return false;
    }
    return true;
}

/* Half of a key is bad enough: the first and the second half are looked for each, so a copy that was cut
 * counts too. */
static void window_scan(const uint8_t *memory, size_t len, struct needle *needles, size_t count,
                        const char *where)
{
    /* Pairs of bytes (masked) that a half begins with: most of memory is none of them. */
    static bool first[256][256];
    memset(first, 0, sizeof first);
    for (size_t k = 0; k < count; k++) {
        for (size_t half = 0; half < 2; half++) {
            const uint8_t *bytes = needles[k].bytes + half * NEEDLE / 2,
                          *lower = needles[k].lower + half * NEEDLE,
                          *upper = needles[k].upper + half * NEEDLE;
            first[bytes[0]][bytes[1]] = first[lower[0]][lower[1]] = first[upper[0]][upper[1]] = true;
        }
    }
    for (size_t i = 0; i + 1 < len; i++) {
        for (size_t k = 0; first[memory[i] ^ MASK][memory[i + 1] ^ MASK] && k < count; k++) {
            struct needle *n = &needles[k];
            uint8_t c = memory[i] ^ MASK;
            bool bytes = false, hex = false;
            for (size_t half = 0; half < 2; half++) {
                size_t at = half * NEEDLE / 2, hex_at = half * NEEDLE;
                bytes = bytes || (c == n->bytes[at] && len - i >= NEEDLE / 2 &&
                                  masked_equal(memory + i, n->bytes + at, NEEDLE / 2));
                hex = hex || (c == n->lower[hex_at] && len - i >= NEEDLE &&
                              masked_equal(memory + i, n->lower + hex_at, NEEDLE));
                hex = hex || (c == n->upper[hex_at] && len - i >= NEEDLE &&
                              masked_equal(memory + i, n->upper + hex_at, NEEDLE));
            }
            n->found_bytes += bytes;
            n->found_hex += hex;
            if (bytes || hex)
                snprintf(n->where + strlen(n->where), sizeof n->where - strlen(n->where), "%s\n", where);
        }
    }
}

/* Counts halves: 2 for each whole copy. */
static void process_scan(struct needle *needles, size_t count)
{
    static uint8_t *window;
    if (!window)
        window = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    if (window == MAP_FAILED || memory < 0 || !maps)
        abort();
    for (size_t k = 0; k < count; k++)
        needles[k].found_bytes = needles[k].found_hex = 0, needles[k].where[0] = 0;
    while (fgets(line, sizeof line, maps)) {
        char *end;
        unsigned long from = strtoul(line, &end, 16), to = strtoul(end + 1, NULL, 16);
        line[strcspn(line, "\n")] = 0;
        /* What is read into the window is wiped again, so it may be in the middle of a mapping. */
        if (end[0] != '-' || !strchr(line, 'r') || strstr(line, "[vvar]"))
            continue;
        for (unsigned long at = from; at < to;) {
            size_t len = to - at < WINDOW ? to - at : WINDOW;
            ssize_t got = pread(memory, window, len, (off_t)at);
            if (got <= 0)
                break;
            if ((uintptr_t)window < at || (uintptr_t)window >= at + (size_t)got)
                window_scan(window, (size_t)got, needles, count, line);
            memset(window, 0, (size_t)got);
            if ((size_t)got == to - at)
                break;
            at += (size_t)got > 2 * NEEDLE ? (size_t)got - 2 * NEEDLE : (size_t)got;
        }
    }
    fclose(maps);
    close(memory);
}

static int failures;

static void expect(struct needle *needles, size_t count, unsigned copies, const char *what)
{
    process_scan(needles, count);
    unsigned wrong = 0;
    for (size_t k = 0; k < count; k++) {
        if (needles[k].found_bytes != 2 * copies || needles[k].found_hex != 0) {
            printf("%s, key %zu: %u halves in bytes, %u in hex; in\n%s\n", what, k, needles[k].found_bytes,
                   needles[k].found_hex, needles[k].where);
            wrong++;
        }
    }
    printf("%s: %zu keys, %u with another number of copies than %u\n", what, count, wrong, copies);
    failures += wrong != 0;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    struct kme_server server = {
        .kind = KME_IPV4, .host = (char *)"127.0.0.1", .port = (uint16_t)atoi(argv[1])};
    struct sks_profile conf = {.name = (char *)"residue",
                               .servers = &server,
                               .n_servers = 1,
                               .timeout_ms = 5000,
                               .key_size = 256,
                               .psk_hash = PSK_SHA384,
                               .lookups = SKS_LOOKUPS};
    static struct needle psk, needles[KEYS];
    static struct skip_key keys[KEYS];
    int count = atoi(argv[3]), fetched = 0;
    char *hex = strchr(argv[2], ':');
    if (strncmp(argv[2], "ca=", 3) == 0) {
        conf.trustpoint = argv[2] + 3;
    } else if (strncmp(argv[2], "psk=", 4) == 0 && hex && strlen(hex + 1) == 2 * NEEDLE) {
        *hex = 0;
        uint8_t *value = secmem_alloc(NEEDLE);
        if (!value || !hex_decode(value, hex + 1, 2 * NEEDLE))
            return 2;
        OPENSSL_cleanse(hex + 1, 2 * NEEDLE);
        conf.psk_id = argv[2] + 4;
        conf.psk.value = secret_new(value, NEEDLE);
        needle_make(&psk, value);
        secmem_free(value);
        expect(&psk, 1, 1, "PSK before");
    } else {
        return 2;
    }
    struct skip_profile *p = skip_profile_new(&conf);
    for (int s = 4; s < argc; s++) {
        for (int i = 0; i < count && fetched < KEYS; i++) {
            struct fault fault = {""};
            struct skip_key *k = &keys[fetched];
            uint64_t deadline = clock_ms() + 5000;
            char id[33];
            snprintf(id, sizeof id, "%08x%08x%08x%08x", (unsigned)s, (unsigned)i, 77u, (unsigned)getpid());
            enum skip_result result = skip_key_by_id(p, id, argv[s], deadline, k, &fault);
            uint8_t raw[16], hash[SHA256_DIGEST_LENGTH];
            if (!hex_decode(raw, id, 32))
                return 2;
            SHA256(raw, sizeof raw, hash);
            struct needle n;
            needle_make(&n, hash);
            OPENSSL_cleanse(hash, sizeof hash);
            if (result == SKIP_OK) {
                needles[fetched++] = n;
            } else {
                printf("%s: %s\n", argv[s], fault.text);
                expect(&n, 1, 0, "refused");
                break;
            }
        }
    }
    expect(needles, (size_t)fetched, 1, "held");
    if (conf.psk_id)
        expect(&psk, 1, 1, "PSK, connected");
    for (int i = 0; i < fetched; i++)
        skip_key_clear(&keys[i]);
    expect(needles, (size_t)fetched, 0, "given back");
    skip_profile_free(p);
    expect(needles, (size_t)fetched, 0, "disconnected");
    if (conf.psk_id)
        expect(&psk, 1, 1, "PSK, disconnected");
    secret_free(conf.psk.value);
    if (conf.psk_id)
        expect(&psk, 1, 0, "PSK given back");
    skip_shutdown();
    printf(failures ? "FAILED\n" : "passed\n");
    return failures != 0;
}
