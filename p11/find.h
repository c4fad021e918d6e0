/* SPDX-License-Identifier: BSD-2-Clause */
/* Searches, and the fetching of PPKs that some of them mean. */
#ifndef PPK_P11_FIND_H
#define PPK_P11_FIND_H

#include "p11/library.h"
#include "p11/session.h"

CK_RV find_init(CK_SESSION_HANDLE session, const CK_ATTRIBUTE *attributes, CK_ULONG n);
CK_RV find_next(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *handles, CK_ULONG max, CK_ULONG *count);
CK_RV find_final(CK_SESSION_HANDLE session);

/* Ends the search of a session that the caller has locked; false: there is none. */
bool search_end(struct session *s);
void search_free(struct search *q); /* NULL is allowed */

/* The peer that attributes name, as C_GenerateKey and searches have it; each may be empty. `*unknown`: one
 * names nobody, or they name different peers. NULL: none is named. */
const struct slot_peer *peer_named(const struct slot *s, struct span label, struct span name,
                                   struct span address, bool *unknown);

/* The outcome of a fetch, as the standard has it; logs the reason. */
CK_RV fetch_rv(const struct slot *s, const char *function, enum ppk_result result, const struct fault *fault);

#endif
