/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of dynamic PPKs share: token "dynamic" of CONF_DYNAMIC with the tests' own key source. */
#ifndef TOKEN_DYNAMIC_H
#define TOKEN_DYNAMIC_H

#include "harness.h"
#include "source.h"

extern struct source *source;
extern CK_SESSION_HANDLE s; /* read-write, on "dynamic" */

/* Initializes the token; `more`: further lines of the profile, or of the file. */
void dynamic_start(const char *more);

/* The number of requests for keys since then. */
#define expect_requests(n)                                                                                   \
    expect(source_key_requests(source) == (n), "%u requests for keys, expected %u",                          \
           source_key_requests(source), (unsigned)(n))

/* Secret keys with this label; and the only one that there is. */
void peer_template(struct template *t, const char *peer);
CK_OBJECT_HANDLE peer_key(CK_SESSION_HANDLE session, const char *peer);

/* Its CKA_ID. */
size_t id_of(CK_OBJECT_HANDLE o, uint8_t *id, size_t room);

/* The PPK's value, by its MAC, is what the source has for its ID. */
void expect_ppk_of_source(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE o, size_t key_len);

/* A search for a generic secret of this ID, and label, if not NULL; as object_search(). */
size_t search_id(const void *id, size_t len, const char *label, CK_OBJECT_HANDLE *o, CK_RV *rv);

/* Upper-case digits, terminated. */
void to_hex(const uint8_t *bytes, size_t n, char *out);

#endif
