/* SPDX-License-Identifier: BSD-2-Clause */
/* ppk-bench-cold MODULE [LABEL | --sign | --sign-warm]: loads a module, searches once for what is not there,
 * ends. Linked with nothing but the C library, so that what the process costs is the module's. Prints the
 * nanoseconds of C_Initialize, of a search for LABEL, of the first C_SignInit (--sign-warm: after OpenSSL has
 * computed an HMAC for somebody else in the process), and whether libcurl was loaded. */
#include "bench.h"

#include <dlfcn.h>

/* HMAC(), as a host might have called it. */
static bool warm_openssl(void)
{
    typedef const void *sha256_function(void);
    typedef unsigned char *hmac_function(const void *md, const void *key, int key_len, const unsigned char *d,
                                         size_t n, unsigned char *out, unsigned *out_len);
    void *library = dlopen("libcrypto.so.3", RTLD_NOW);
    sha256_function *sha256 = NULL;
    hmac_function *hmac = NULL;
    unsigned char out[64];
    unsigned len = 0;

    if (!library)
        return false;
    *(void **)&sha256 = dlsym(library, "EVP_sha256");
    *(void **)&hmac = dlsym(library, "HMAC");
    return sha256 && hmac && hmac(sha256(), "key", 3, (const unsigned char *)"data", 4, out, &len);
}

static bool is_loaded(const char *library)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[1024];
    bool found = false;

    while (maps && !found && fgets(line, sizeof line, maps))
        found = strstr(line, library) != NULL;
    if (maps)
        (void)fclose(maps);
    return found;
}

int main(int argc, char **argv)
{
    struct subject s = {.bare = false};
    const char *what = argc == 3 ? argv[2] : "";
    char why[256] = "usage: ppk-bench-cold MODULE [LABEL | --sign | --sign-warm]";
    uint64_t find = 0, sign = 0;
    bool good = true;

    if (argc < 2 || argc > 3 || !module_load(&s, argv[1], why, sizeof why) ||
        !module_first_search(&s, why, sizeof why)) {
        (void)fprintf(stderr, "ppk-bench-cold: %s\n", why);
        return 1;
    }
    if (strncmp(what, "--sign", 6) == 0) {
        good = strcmp(what, "--sign") == 0 || warm_openssl();
        sign = good ? module_first_sign(&s) : 0;
        good = sign != 0;
    } else if (what[0]) {
        find = module_find_label(&s, argv[2]);
        good = find != 0;
    }
    (void)printf("%llu %llu %llu %d\n", (unsigned long long)s.init_ns, (unsigned long long)find,
                 (unsigned long long)sign, what[0] ? is_loaded("libcurl") : 0);
    return !good;
}
