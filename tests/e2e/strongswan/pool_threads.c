/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plugin's worker pool without charon: many threads that ask, wait, derive and go away early, on a real
 * module (its path and the token's label are the arguments) that faulty-pkcs11 makes fail and hang in
 * between. For TSan and ASan. */
#include "charon/ppk_worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS  8
#define BOUND_MS 1000

static struct ppk_pool *pool;
static const char *manual_id;
static atomic_bool over;
static atomic_uint found, derived, failed, broken;
static unsigned char expected[32];
static pthread_mutex_t expected_lock = PTHREAD_MUTEX_INITIALIZER;
static bool expected_known;

/* prf+ of the same seed is the same for all threads. */
static void compare(const struct ppk_answer *answer)
{
    pthread_mutex_lock(&expected_lock);
    if (!expected_known)
        memcpy(expected, answer->out, sizeof expected);
    expected_known = true;
    if (answer->out_len != sizeof expected || memcmp(expected, answer->out, sizeof expected) != 0)
        atomic_fetch_add(&broken, 1);
    pthread_mutex_unlock(&expected_lock);
}

static void derive(struct ppk_key key)
{
    static const unsigned char seed[] = "SK_d' of all threads";
    struct ppk_ask ask = {
        .op = PPK_OP_DERIVE, .key = key, .prf = CKM_SHA256_HMAC, .prf_len = 32, .out_len = 32};
    struct ppk_job *job;
    struct ppk_answer *answer;

    if (!ppk_ask_set_seed(&ask, seed, sizeof seed) || !(job = ppk_job_submit(pool, &ask)))
        abort();
    answer = ppk_job_wait(job);
    if (answer->fact == PPK_YES) {
        compare(answer);
        atomic_fetch_add(&derived, 1);
    } else {
        atomic_fetch_add(&failed, 1);
    }
    ppk_job_release(job);
}

static void *caller(void *argument)
{
    (void)argument;
    for (int i = 0; !atomic_load(&over); i++) {
        struct ppk_ask ask = {.op = i % 5 == 4 ? PPK_OP_ANY : PPK_OP_FIND};
        struct ppk_job *job;
        struct ppk_answer *answer;

        if (!ppk_ask_set_id(&ask, (const unsigned char *)manual_id, strlen(manual_id)) ||
            !(job = ppk_job_submit(pool, &ask)))
            abort();
        if (i % 7 == 6) { /* not waited for */
            ppk_job_release(job);
            continue;
        }
        answer = ppk_job_wait(job);
        if (answer->fact == PPK_YES && answer->id_len) {
            atomic_fetch_add(&found, 1);
            derive(answer->key);
        } else if (answer->fact == PPK_FAILED) {
            atomic_fetch_add(&failed, 1);
            usleep(5000);
        }
        ppk_job_release(job);
    }
    return NULL;
}

static void control(const char *text)
{
    const char *path = getenv("FAULTY_CONTROL");
    FILE *file = path ? fopen(path, "we") : NULL;

    if (!file)
        abort();
    fputs(text, file);
    fclose(file);
}

/* One wave of callers, with the fault in the middle of it. */
static void wave(const char *fault)
{
    pthread_t threads[THREADS];

    atomic_store(&over, false);
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, caller, NULL) != 0)
            abort();
    }
    usleep(20000);
    control(fault);
    usleep(200000);
    control("");
    usleep(100000);
    atomic_store(&over, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%-28s found %u derived %u failed %u broken %u\n", fault, found, derived, failed, broken);
}

/* While more fetches wait for a key source than there are workers, what the token knows by itself is
 * answered. */
static bool fetches_leave_room(void)
{
    struct ppk_job *fetches[2 * THREADS], *quick;
    struct ppk_ask ask;
    bool answered;

    control("hang C_GenerateKey");
    for (size_t i = 0; i < 2 * THREADS; i++) {
        ask = (struct ppk_ask){.op = PPK_OP_GENERATE};
        if (!(fetches[i] = ppk_job_submit(pool, &ask)))
            abort();
    }
    usleep(BOUND_MS * 1000 / 4);
    ask = (struct ppk_ask){.op = PPK_OP_ANY};
    if (!(quick = ppk_job_submit(pool, &ask)))
        abort();
    answered = ppk_job_wait(quick)->fact == PPK_YES;
    ppk_job_release(quick);
    for (size_t i = 0; i < 2 * THREADS; i++)
        ppk_job_release(fetches[i]);
    control("");
    printf("beside %d fetches: %s\n", 2 * THREADS, answered ? "answered" : "not answered");
    return answered;
}

int main(int argc, char **argv)
{
    bool room;

    struct ppk_module_config config = {.path = argc > 1 ? argv[1] : NULL, .token = argc > 2 ? argv[2] : NULL};

    if (argc != 4)
        return 2;
    manual_id = argv[3];
    control("");
    pool = ppk_pool_create(&config, THREADS, BOUND_MS);
    if (!pool)
        return 1;
    wave("");
    wave("C_FindObjectsInit 0xB3");
    wave("C_OpenSession 0x30");
    wave("C_DeriveKey 0x60");
    wave("hang C_FindObjects");
    room = fetches_leave_room();
    ppk_pool_destroy(pool);
    return room && found > THREADS && derived > THREADS && failed > 0 && !broken ? 0 : 1;
}
