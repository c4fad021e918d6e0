/* SPDX-License-Identifier: BSD-2-Clause */
/* ppk-bench MODULE...: see usage(). */
#include "bench.h"

#include <ftw.h>
#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

struct options options = {
    .passes = 7, .pass_ms = 40, .threads = {1, 2}, .n_threads = 2, .objects = 10000, .objects_ours = 1000000};

static char directory[] = "/tmp/ppk-bench.XXXXXX";

static void usage(FILE *to)
{
    (void)fputs("usage: ppk-bench [OPTION]... MODULE...\n"
                "Runs the same operations on PKCS#11 modules, pass by pass in turn, and prints the\n"
                "times side by side.\n"
                "\n"
                "MODULE is the path of any PKCS#11 module (its first slot with a token is used, without\n"
                "a login, and nothing is stored in it), or one of:\n"
                "  nss        NSS's softoken\n"
                "  softhsm2   SoftHSM2 with a token of its own\n"
                "  openssl    OpenSSL's EVP_MAC without PKCS#11: the limit\n"
                "  held       ppk-pkcs11 with PPKs from a key source inside the process (build folder)\n"
                "The first is what the others are compared with.\n"
                "\n"
                "What is measured:\n"
                "  -a, --all            everything that the project has goals for: ppk-pkcs11 of the\n"
                "                       build folder, nss, softhsm2, openssl; growth, network, goals\n"
                "  -o, --only TEXT      only operations whose name (as in --json) contains TEXT\n"
                "  -w, --network        fetches from two skipds on loopback beside bare libcurl,\n"
                "                       failover, what the key sources deliver (build folder; no MODULE)\n"
                "  -i, --ike-sa ROUNDS  the set-up of IKE_SAs with PPKs from the token and with a static\n"
                "                       PPK, between strongSwan daemons in network namespaces (as root;\n"
                "                       build folder; no MODULE)\n"
                "  -s, --constant-time  whether decoding and comparing secrets takes the same time\n"
                "                       whatever they are (no MODULE)\n"
                "How:\n"
                "  -p, --passes N       passes per operation (default 7)\n"
                "  -m, --pass-ms MS     length of a pass in milliseconds (default 40)\n"
                "  -t, --threads N,...  numbers of threads (default 1,2)\n"
                "  -n, --objects N      the most objects to be searched (default 1000000 for ppk-pkcs11,\n"
                "                       10000 for others)\n"
                "  -c, --cpu            processor time over the number of threads, for a machine that is\n"
                "                       busy otherwise; shows what threads cost each other in work, but\n"
                "                       not in waiting\n"
                "What is written besides the table of times (best and median of the passes):\n"
                "  -g, --goals          a table of the project's goals, with what was measured\n"
                "  -j, --json FILE      all of it as JSON (\"-\": standard output, instead of the table)\n"
                "  -v, --svg PREFIX     charts: PREFIX-objects.svg, PREFIX-threads.svg (1 to 16 threads),\n"
                "                       PREFIX-peers.svg (1 to 10000)\n",
                to);
}

bool wanted(const char *name)
{
    return !options.only || strstr(name, options.only) != NULL;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static unsigned long number(const char *s, unsigned long most)
{
    char *end = NULL;
    unsigned long n = strtoul(s, &end, 10);

    if (end == s || (*end && *end != ',') || n == 0 || n > most) {
        (void)fprintf(stderr, "ppk-bench: not a number from 1 to %lu: %s\n", most, s);
        exit(2);
    }
    return n;
}

static void take_threads(const char *s)
{
    options.n_threads = 0;
    for (const char *at = s; at && options.n_threads < 5; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        options.threads[options.n_threads++] = (unsigned)number(at, THREADS_MAX);
}

static void take_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"passes", required_argument, NULL, 'p'},
        {"pass-ms", required_argument, NULL, 'm'},
        {"threads", required_argument, NULL, 't'},
        {"objects", required_argument, NULL, 'n'},
        {"only", required_argument, NULL, 'o'},
        {"json", required_argument, NULL, 'j'},
        {"svg", required_argument, NULL, 'v'},
        {"goals", no_argument, NULL, 'g'},
        {"ike-sa", required_argument, NULL, 'i'},
        {"cpu", no_argument, NULL, 'c'},
        {"constant-time", no_argument, NULL, 's'},
        {"network", no_argument, NULL, 'w'},
        {"all", no_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };

    for (int c = 0; (c = getopt_long(argc, argv, "p:m:t:n:o:j:v:i:cswgah", names, NULL)) != -1;) {
        switch (c) {
        case 'p':
            options.passes = (unsigned)number(optarg, PASSES_MAX);
            break;
        case 'm':
            options.pass_ms = (unsigned)number(optarg, 10000);
            break;
        case 't':
            take_threads(optarg);
            break;
        case 'n':
            options.objects = options.objects_ours = number(optarg, 1000000);
            break;
        case 'o':
            options.only = optarg;
            break;
        case 'j':
            options.json = optarg;
            break;
        case 'v':
            options.svg = optarg;
            break;
        case 's':
            options.constant = true;
            break;
        case 'i':
            options.ike_sa = optarg;
            break;
        case 'c':
            options.cpu = true;
            break;
        case 'w':
            options.network = true;
            break;
        case 'a':
            options.all = options.network = options.goals = true;
            break;
        case 'g':
            options.goals = true;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
    if ((optind >= argc && !options.constant && !options.ike_sa && !options.network) ||
        argc - optind > SUBJECTS_MAX) {
        usage(stderr);
        exit(2);
    }
}

/* The daemons and their namespaces are the end-to-end tests' own. */
static bool measure_ike_sa(struct results *r)
{
    char rounds[12];

    (void)snprintf(rounds, sizeof rounds, "%u", (unsigned)number(options.ike_sa, 1000));
    return measure_script(r, PPK_IKE_SA_SCRIPT, rounds);
}

static bool open_subjects(struct results *r, int n, char **modules)
{
    static char ours[] = PPK_BUILD_FOLDER "/lib/ppk-pkcs11.so", nss[] = "nss", softhsm[] = "softhsm2",
                openssl[] = "openssl";
    char *const all[] = {ours, nss, softhsm, openssl};

    if (options.all && n == 0) {
        modules = (char **)all;
        n = sizeof all / sizeof *all;
    }
    for (int i = 0; i < n; i++) {
        char why[300] = "";
        if (!subject_open(&r->subjects[r->n_subjects], modules[i], directory, why, sizeof why)) {
            (void)fprintf(stderr, "ppk-bench: %s: %s\n", modules[i], why);
            return false;
        }
        r->n_subjects++;
    }
    return true;
}

static void measure_modules(struct results *r)
{
    measure_operations(r);
    if (wanted("cold"))
        measure_cold(r, options.passes);
    measure_finds(r);
    if (wanted("find-ppk"))
        measure_held(r, directory);
    if (wanted("peers"))
        measure_peers(r, options.passes, directory);
    (void)fprintf(stderr, "\n");
    if (!options.json || strcmp(options.json, "-") != 0)
        report_table(r);
}

int main(int argc, char **argv)
{
    static struct results results;
    bool good = true;

    take_options(argc, argv);
    if (!mkdtemp(directory)) {
        perror("ppk-bench");
        return 1;
    }
    (void)umask(077);
    if (!open_subjects(&results, argc - optind, argv + optind)) {
        good = false;
        goto out;
    }
    if (results.n_subjects > 0)
        measure_modules(&results);
    if (options.network)
        good = measure_script(&results, PPK_NETWORK_SCRIPT, PPK_BUILD_FOLDER);
    if (options.ike_sa)
        good = measure_ike_sa(&results) && good;
    if (options.constant)
        good = report_constant_time() && good;
    if (options.goals)
        report_goals(&results);
    if (options.svg && results.n_subjects > 0)
        good = report_charts(&results, options.svg) && good;
    if (options.json)
        good = report_json(&results, options.json) && good;
out:
    for (size_t i = 0; i < results.n_subjects; i++)
        subject_close(&results.subjects[i]);
    free(results.all);
    (void)nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return good ? 0 : 1;
}
