/* SPDX-License-Identifier: BSD-2-Clause */
/* A search at work: what its template says, and what of the slot's objects it finds. For find.c (which runs
 * it, and fetches) and search.c (which looks) only. */
#ifndef PPK_P11_SEARCH_H
#define PPK_P11_SEARCH_H

#include "p11/library.h"

#define SEARCH_ATTRIBUTES_INLINE 12
#define SEARCH_BYTES_INLINE      512
#define SEARCH_HANDLES_INLINE    8
#define SEARCH_ID_MAX            512 /* bytes of a CKA_ID that may be asked for at a key source */
#define SEARCH_SYSTEM_ID_MAX     255

/* A search. It copies the caller's template, runs when C_FindObjects is first called, and then holds the
 * handles. */
struct search {
    bool active, ran;
    CK_RV rv; /* of running it: an error stays the answer */
    struct slot *slot;

    CK_ATTRIBUTE *attributes; /* `attributes_inline`, or allocated together with the values */
    CK_ULONG n_attributes;

    /* what the template says, as far as it decides whom to ask; NULL: it does not say */
    const CK_ATTRIBUTE *id, *label, *peer, *address, *remote;
    const struct slot_peer *who; /* the peer that it names by label, name or address */
    bool nobody;                 /* it names one that does not exist, or two */
    uint64_t expected;           /* ppk_store_expect() */
    CK_OBJECT_HANDLE
    fetched; /* the PPK that was got for this search under the remote system ID that it says */

    CK_OBJECT_HANDLE *handles;
    size_t n_handles, room, next;

    CK_OBJECT_HANDLE handles_inline[SEARCH_HANDLES_INLINE];
    CK_ATTRIBUTE attributes_inline[SEARCH_ATTRIBUTES_INLINE];
    uint8_t bytes_inline[SEARCH_BYTES_INLINE];
    char remote_text[SEARCH_SYSTEM_ID_MAX + 1]; /* of `remote`, or "" */
};

/* A template's value; empty, if it does not say. */
static inline struct span search_span(const CK_ATTRIBUTE *a)
{
    return a == NULL ? (struct span){NULL, 0} : (struct span){a->pValue, a->ulValueLen};
}

/* Looks as far as that is possible without a key source. True: the search is complete; false: a PPK has to be
 * fetched first. */
bool search_local(struct search *q);

/* Completes a search by ID, or without one, once what had to be fetched is here (q->fetched). */
void search_complete_by_id(struct search *q);
void search_complete(struct search *q);

/* The remote system ID that the template says, or NULL. */
const char *search_remote(const struct search *q);

/* A peer that is named by nothing but its remote system ID: the first with dynamic PPKs. */
const struct slot_peer *search_peer_by_remote(const struct search *q);

/* Is a manual PPK among what was found? */
bool search_has_manual(const struct search *q);

#endif
