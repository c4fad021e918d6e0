/* SPDX-License-Identifier: BSD-2-Clause */
/* A profile at work, over a transport that is made up: each server does what the test says, and all requests
 * are recorded. */
#ifndef UNIT_SKIP_MADE_UP_H
#define UNIT_SKIP_MADE_UP_H

#include "skip/profile.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVERS 3u
#define NEVER   UINT32_MAX

/* What a server does with a request. */
struct behaviour {
    enum skip_result result;
    uint32_t delay_ms; /* NEVER: no answer */
    bool untouched;    /* it fails before the request went out */
    long status;
    uint32_t retry_after_s;
    const char *text; /* of the fault; NULL: "made up" */
};

extern struct fake {
    pthread_mutex_t lock;
    struct behaviour key[SERVERS], capabilities[SERVERS];
    const char *remotes[4]; /* of all capabilities */
    char log[4096];         /* "0c 0k 1i ": server and kind of each request */
    unsigned live, wires;
} fake;

/* The profile of the test that runs, its configuration, and what came of the last get(). */
extern struct sks_profile conf;
extern struct skip_profile *profile;
extern struct fault fault;
extern const char *last_server;

int setup(void **state);
int teardown(void **state);

/* A key by its ID, or (NULL) a new one. */
enum skip_result get(const char *key_id, const char *remote);

void assert_counts(enum skip_request r, uint64_t total, uint64_t passed, uint64_t failed);

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
