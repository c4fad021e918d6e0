/* SPDX-License-Identifier: BSD-2-Clause */
/* Key sources and a clock that do what a test says, in place of the SKIP client and of base/clock. */
#ifndef PPK_TEST_DOUBLE_H
#define PPK_TEST_DOUBLE_H

#include "ppk/ppk_store.h"

#include <pthread.h>

enum { DOUBLE_KEYS = 64, DOUBLE_ASKED = 256, DOUBLE_ID_ROOM = 128 };

/* The doubles' own: a key source of one profile. All under `lock`. */
struct skip_profile {
    const struct sks_profile *conf;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum skip_result result; /* SKIP_OK: as the keys below say; else of every request */
    const char *next_id;     /* of the next new key, or NULL: a fresh one */
    uint8_t next_value;      /* of the new key: 32 times this byte; 0: the request's number */
    struct {
        char id[DOUBLE_ID_ROOM];
        uint8_t value;
        char remote[32]; /* "" for any */
    } keys[DOUBLE_KEYS]; /* that can be asked for, by ID, any number of times: the store is who asks once */
    size_t n_keys;
    const char *bad_remote; /* requests for new keys of this remote system fail; NULL: none */
    bool closed;            /* requests wait for double_open() */
    unsigned inside;        /* so many are waiting */
    unsigned new_asked, id_asked, key_bytes;
    char asked[DOUBLE_ASKED][DOUBLE_ID_ROOM]; /* keyIds, in the order of the requests */
    char remotes[DOUBLE_ASKED][32];
};

void double_init(struct skip_profile *p, const struct sks_profile *conf);
void double_destroy(struct skip_profile *p);

/* The key source has this key for this remote system (NULL: any). */
void double_key(struct skip_profile *p, const char *id, uint8_t value, const char *remote);

/* Holds requests back; waits until `n` are held back; lets them go. */
void double_close(struct skip_profile *p);
void double_wait_inside(struct skip_profile *p, unsigned n);
void double_open(struct skip_profile *p);
void double_result(struct skip_profile *p, enum skip_result r);

unsigned double_new_asked(struct skip_profile *p);
unsigned double_id_asked(struct skip_profile *p);

/* Waits until so many new keys were asked for; fails after 10 s. */
void double_wait_new(struct skip_profile *p, unsigned n);

/* The clock goes on as the real one does, plus what it was put forward. */
void double_clock_forward(uint64_t ms);

/* A configuration of `n` peers "peer0"…, profile i % n_profiles; wiped by double_world_end(). */
struct world {
    struct configuration configuration;
    struct keyring keyring;
    struct sks_profile profiles[4];
    struct skip_profile sources[4];
    struct skip_profile *running[4];
    struct ppk_store *store;
    _Atomic unsigned added, removed;
    void (*on_added)(struct world *w, struct ppk *ppk);
    void (*on_removed)(struct world *w, struct ppk *ppk);
    pthread_mutex_t lock;
};
void world_make(struct world *w, size_t n_profiles, size_t n_peers);
bool world_store(struct world *w); /* after the profiles and peers were set */
void world_end(struct world *w);

struct span span_of(const char *text);

#endif
