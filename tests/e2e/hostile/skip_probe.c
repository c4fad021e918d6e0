/* SPDX-License-Identifier: BSD-2-Clause */
/* Drives the SKIP client (src/skip/skip.h) from a script:
 *
 *   skip_probe OPTION... COMMAND...
 *
 * Options: --server KIND:PORT:HOST (again for more), --ca FILE, --cert FILE, --key FILE, --psk ID:HEX,
 * --psk-hash NAME,
 * --type remote|etsi014, --timeout MS, --hedge MS, --size BITS, --local ID, --remote ID, --threads N,
 * --sealed. Commands: key, id:KEYID, caps[:SERVER], entropy:BITS, wait:MS, counts, status, fork (a key
 * before, in, and after a child), sleep-interrupt:MS (interrupts the next command after that time). Each
 * prints one line: result, milliseconds, and server, key ID and the key's SHA-256; or the reason. */
#include "base/clock.h"
#include "base/log.h"
#include "skip/loader.h"

#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const results[] = {"OK",          "NO_SUCH_KEY", "REFUSED",
                                      "UNREACHABLE", "NO_MEMORY",   "NO_TRANSPORT"};
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static struct sks_profile conf = {.name = (char *)"probe",
                                  .timeout_ms = 2000,
                                  .key_size = 256,
                                  .psk_hash = PSK_SHA384,
                                  .lookups = SKS_LOOKUPS};
static const char *remote;

static void print_key(const struct skip_key *k)
{
    struct secret_view v;
    uint8_t hash[SHA256_DIGEST_LENGTH];
    char hex[2 * sizeof hash + 1] = {0};
    if (!secret_open(k->value, &v))
        abort();
    SHA256(v.data, v.len, hash);
    size_t bits = v.len * 8;
    secret_close(&v);
    hex_encode(hex, hash, sizeof hash);
    printf(" server=%s bits=%zu sha256=%s id=%s\n", k->server, bits, hex, k->key_id);
}

static void print_capabilities(const struct skip_capabilities *c)
{
    printf(" server=%s entropy=%d key=%d algorithm=%s local=%s remote=", c->server, c->entropy, c->key,
           c->algorithm, c->local_system_id);
    for (char **r = c->remote_system_ids; *r; r++)
        printf("%s%s", r == c->remote_system_ids ? "" : ",", *r);
    printf("\n");
}

static void run(struct skip_profile *p, const char *command)
{
    struct skip_key key = {0};
    struct skip_capabilities *caps = NULL;
    struct secret *random = NULL;
    struct fault fault = {""};
    uint64_t start = clock_ms(), deadline = start + 600000;
    enum skip_result result;
    if (strcmp(command, "key") == 0)
        result = skip_key_new(p, remote, 0, deadline, &key, &fault);
    else if (strncmp(command, "id:", 3) == 0)
        result = skip_key_by_id(p, command + 3, remote, deadline, &key, &fault);
    else if (strncmp(command, "caps", 4) == 0)
        result = skip_capabilities_get(p, command[4] ? (size_t)atoi(command + 5) : 0, remote, deadline, &caps,
                                       &fault);
    else if (strncmp(command, "entropy:", 8) == 0)
        result = skip_entropy(p, (uint32_t)atoi(command + 8), deadline, &random, &fault);
    else
        abort();
    pthread_mutex_lock(&output);
    printf("%s ms=%llu", results[result], (unsigned long long)(clock_ms() - start));
    if (result != SKIP_OK)
        printf(" fault=%s\n", fault.text);
    else if (key.value)
        print_key(&key);
    else if (caps)
        print_capabilities(caps);
    else
        printf(" bits=%zu\n", secret_len(random) * 8);
    fflush(stdout);
    pthread_mutex_unlock(&output);
    skip_key_clear(&key);
    skip_capabilities_free(caps);
    secret_free(random);
}

struct work {
    struct skip_profile *profile;
    const char *command;
};

static void *work_run(void *context)
{
    struct work *w = context;
    if (strncmp(w->command, "sleep-interrupt:", 16) == 0) {
        usleep((useconds_t)atoi(w->command + 16) * 1000);
        skip_profile_interrupt(w->profile);
    } else {
        run(w->profile, w->command);
    }
    return NULL;
}

static void forked(struct skip_profile *p)
{
    int status = 0;
    run(p, "key");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        secret_after_fork();
        skip_after_fork();
        struct skip_profile *own = skip_profile_new(&conf);
        if (!own)
            abort();
        run(own, "key");
        skip_profile_free(own);
        fflush(stdout);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        printf("child failed\n");
    run(p, "key");
}

static void counts(struct skip_profile *p)
{
    static const char *const names[] = {"capabilities", "key", "key-by-id", "entropy"};
    struct skip_counts c;
    skip_profile_counts(p, &c);
    for (size_t i = 0; i < SKIP_REQUESTS; i++)
        printf("%s%s=%llu/%llu/%llu", i ? " " : "", names[i], (unsigned long long)c.total[i],
               (unsigned long long)c.passed[i], (unsigned long long)c.failed[i]);
    printf("\n");
}

static void status(struct skip_profile *p)
{
    for (size_t i = 0; i < conf.n_servers; i++) {
        struct skip_server_status s;
        skip_profile_status(p, i, &s);
        printf("%s failures=%u aside=%llu reason=%s\n", s.server, s.failures, (unsigned long long)s.aside_ms,
               s.reason.text);
    }
}

static void add_server(char *text)
{
    char *port = strchr(text, ':'), *host = port ? strchr(port + 1, ':') : NULL;
    if (!host)
        abort();
    *port++ = *host++ = 0;
    conf.servers = realloc(conf.servers, (conf.n_servers + 1) * sizeof conf.servers[0]);
    if (!conf.servers)
        abort();
    conf.servers[conf.n_servers++] = (struct kme_server){.kind = strcmp(text, "ipv4") == 0   ? KME_IPV4
                                                                 : strcmp(text, "ipv6") == 0 ? KME_IPV6
                                                                                             : KME_HOSTNAME,
                                                         .host = host,
                                                         .port = (uint16_t)atoi(port)};
}

static void set_psk(char *text)
{
    char *hex = strchr(text, ':');
    if (!hex)
        abort();
    *hex++ = 0;
    size_t len = strlen(hex) / 2;
    uint8_t *value = secmem_alloc(len);
    if (!value || !hex_decode(value, hex, 2 * len))
        abort();
    conf.psk_id = text;
    conf.psk.value = secret_new(value, len);
    secmem_free(value);
}

int main(int argc, char **argv)
{
    int threads = 1, i = 1;
    log_open("skip_probe", "none");
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        const char *name = argv[i] + 2;
        char *value = argv[i + 1];
        if (strcmp(name, "server") == 0)
            add_server(value);
        else if (strcmp(name, "ca") == 0)
            conf.trustpoint = value;
        else if (strcmp(name, "cert") == 0)
            conf.certificate = value;
        else if (strcmp(name, "key") == 0)
            conf.key = value;
        else if (strcmp(name, "type") == 0)
            conf.type = strcmp(value, "etsi014") == 0 ? SKS_ETSI014 : SKS_REMOTE;
        else if (strcmp(name, "psk") == 0)
            set_psk(value);
        else if (strcmp(name, "sealed-psk") == 0)
            conf.psk_id = value;
        else if (strcmp(name, "psk-hash") == 0)
            conf.psk_hash = strcmp(value, "sha256") == 0 ? PSK_SHA256 : PSK_SHA384;
        else if (strcmp(name, "timeout") == 0)
            conf.timeout_ms = (uint32_t)atoi(value);
        else if (strcmp(name, "hedge") == 0)
            conf.hedge_ms = (uint32_t)atoi(value);
        else if (strcmp(name, "size") == 0)
            conf.key_size = (uint32_t)atoi(value);
        else if (strcmp(name, "local") == 0)
            conf.local_system_id = value;
        else if (strcmp(name, "remote") == 0)
            remote = value;
        else if (strcmp(name, "threads") == 0)
            threads = atoi(value);
        else
            abort();
    }
    struct skip_profile *p = skip_profile_new(&conf);
    pthread_t *ids = calloc((size_t)threads + 1, sizeof *ids);
    if (!p || !ids)
        abort();
    bool interrupting = false;
    pthread_t interrupter;
    struct work interruption;
    for (; i < argc; i++) {
        struct work w = {p, argv[i]};
        if (strncmp(argv[i], "wait:", 5) == 0) {
            usleep((useconds_t)atoi(argv[i] + 5) * 1000);
        } else if (strcmp(argv[i], "counts") == 0) {
            counts(p);
        } else if (strcmp(argv[i], "status") == 0) {
            status(p);
        } else if (strcmp(argv[i], "fork") == 0) {
            forked(p);
        } else if (strncmp(argv[i], "sleep-interrupt:", 16) == 0) {
            interruption = w;
            interrupting = pthread_create(&interrupter, NULL, work_run, &interruption) == 0;
        } else {
            for (int t = 0; t < threads; t++) {
                if (pthread_create(&ids[t], NULL, work_run, &w) != 0)
                    abort();
            }
            for (int t = 0; t < threads; t++)
                pthread_join(ids[t], NULL);
        }
    }
    if (interrupting)
        pthread_join(interrupter, NULL);
    skip_profile_free(p);
    skip_shutdown();
    secret_free(conf.psk.value);
    free(conf.servers);
    free(ids);
    return 0;
}
