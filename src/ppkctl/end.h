/* SPDX-License-Identifier: BSD-2-Clause */
/* One end of a tunnel, as `ppkctl test` goes through it: its configuration, the peer in it, its key sources,
 * and a key from one of them. Each function shows its steps; they are called in this order, and each needs
 * the one before to have been good. */
#ifndef PPK_PPKCTL_END_H
#define PPK_PPKCTL_END_H

#include "ppkctl/ppkctl.h"
#include "ppkctl/screen.h"
#include "skip/transport.h"

/* What failed; exit codes of `ppkctl test`, beside PPKCTL_USAGE. */
enum test_code {
    TEST_OK = 0,
    TEST_CONFIGURATION = 1, /* configuration, permissions, secrets, token */
    TEST_CONNECT = 3,       /* name, address, port */
    TEST_TLS = 4,
    TEST_CAPABILITIES = 5, /* the key source does not serve us, or not this remote system */
    TEST_KEY = 6,          /* no key, or no entropy */
    TEST_OTHER_END = 7,    /* the other end does not fit, or has another key */
};

struct end {
    struct screen *screen;
    struct configuration *conf;
    const struct peer *peer;
    struct skip_wire *wire;
    size_t server;                          /* of the profile, the first that is good */
    struct skip_capabilities *capabilities; /* its; NULL: it does not tell them */
    struct skip_answer key;                 /* the one that this end got */
};

/* Reads the configuration and opens its secrets with the master key (NULL: with what it names). */
enum test_code end_open(struct end *e, const char *path, const struct secret *master_key);

/* Finds the peer `name` (in the keyring, or NULL: the only one that has it). */
enum test_code end_peer(struct end *e, const char *keyring, const char *name);

/* Asks each server of the peer's sks profile for its capabilities, and checks them. The result is the first
 * failure's; `e->wire` is set if one server at least is good. */
enum test_code end_connect(struct end *e);

/* The steps of end_connect(), of one server. */
extern const char *const end_steps[];
#define END_STEPS 4

/* Gets entropy, where the profile uses it. */
enum test_code end_entropy(struct end *e);

/* Gets a new key, or the one of an ID. */
enum test_code end_key_new(struct end *e);
enum test_code end_key_by_id(struct end *e, const char *key_id);

/* The key source's name for this end and for the other one; NULL: not known (yet). */
const char *end_local_id(const struct end *e);
const char *end_remote_id(const struct end *e);

void end_close(struct end *e);

#endif
