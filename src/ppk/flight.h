/* SPDX-License-Identifier: BSD-2-Clause */
/* One request at a time: a key can be fetched only once (draft-cisco-skip: it is zeroized after delivery), so
 * who wants what another thread is asking for joins that thread's *flight*, and gets what it gets. */
#ifndef PPK_PPK_FLIGHT_H
#define PPK_PPK_FLIGHT_H

#include "ppk/store_private.h"

struct flight {
    struct span key;
    unsigned refs; /* who is on board */
    bool done;
    enum ppk_result result;
    struct ppk *ppk; /* a reference, if PPK_OK */
    struct fault fault;
    uint64_t profile;   /* its state's serial */
    const char *remote; /* or NULL */
    pthread_cond_t ended;
    uint8_t bytes[]; /* of key and remote */
};

/* Adds a flight for `key` (there is none yet) that the caller is to end. NULL: no memory. */
struct flight *flight_begin_inlock(struct ppk_store *s, struct span key, uint64_t profile,
                                   const char *remote);

/* The flight of this key, or NULL. */
struct flight *flight_find_inlock(const struct ppk_store *s, struct span key);

/* Goes along until the end. False: not within the time. In either case the caller leaves. */
bool flight_join_inlock(struct ppk_store *s, struct flight *f, uint64_t deadline);
void flight_leave_inlock(struct flight *f);

/* The flight has come to its end: those on board get the result, with a reference of `ppk` (NULL: none) each.
 */
void flight_end_inlock(struct ppk_store *s, struct flight *f, enum ppk_result result, struct ppk *ppk,
                       const struct fault *fault);

#endif
