/* SPDX-License-Identifier: BSD-2-Clause */
/* A PKCS#11 module as ppkctl uses it: loaded, a session with the token of a keyring, attributes. */
#ifndef PPK_PPKCTL_TOKEN_H
#define PPK_PPKCTL_TOKEN_H

#include "base/bytes.h"
#include "base/secret.h"

#include <p11-kit/pkcs11.h>

struct token {
    void *library;
    CK_FUNCTION_LIST_PTR p11; /* NULL: not initialized */
    CK_SESSION_HANDLE session;
    char label[33]; /* the keyring's name */
};

/* Loads and initializes the module `path` (NULL: the one that belongs to this ppkctl), with its configuration
 * `config` (NULL: as it finds it). False: told. In any case token_close() follows. */
bool token_load(struct token *t, const char *path, const char *config);

/* Opens a session with the token that has the peer: the keyring's, or, if it is NULL, the only one. False:
 * told. */
bool token_open_peer(struct token *t, const char *keyring, const char *peer);

/* Logs in with the master key, if it is not NULL. False: told. */
bool token_login(struct token *t, const struct secret *master_key);

void token_close(struct token *t);

/* An attribute of an object: false if it has none of at most `room` bytes; *len are the bytes that came. */
bool token_attribute(const struct token *t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *out,
                     size_t room, size_t *len);

/* Says that `call` failed. */
void token_say(const char *call, CK_RV rv);

#endif
