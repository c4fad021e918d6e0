/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions. Each owns its keys and its operations: one search, one MAC being made, one being verified. A
 * session's memory is never given back before C_Finalize, so that a handle is looked up without a lock; what
 * it owns is guarded by its own. */
#ifndef PPK_P11_SESSION_H
#define PPK_P11_SESSION_H

#include "base/thread.h"
#include "p11/key.h"
#include "p11/sign.h"

#include <pthread.h>

struct search;

struct session {
    _Alignas(THREAD_LINE) pthread_mutex_t lock;
    _Atomic CK_SESSION_HANDLE handle; /* 0: closed */
    _Atomic(struct slot *) slot;
    _Atomic bool rw;
    uint32_t index, generation;
    struct session *next_free;
    struct key *keys;
    struct search *search; /* C_FindObjects; kept for the next one once it is done */
    bool search_away;      /* a thread has taken it out, to run it while the session is not locked */
    uint64_t search_turn;  /* counts that, so that such a thread sees whether it is still wanted */
    struct mac sign, verify;
};

struct sessions;

struct sessions *sessions_new(void);
void sessions_free(struct sessions *ss); /* closes all; NULL is allowed */

/* Finds the session without locking it. CKR_OK or CKR_SESSION_HANDLE_INVALID; its slot stays valid anyway. */
CK_RV session_peek(CK_SESSION_HANDLE handle, struct slot **slot, bool *rw);

/* Finds and locks it. */
CK_RV session_lock(CK_SESSION_HANDLE handle, struct session **out);
void session_unlock(struct session *s);

/* Locks the memory of a session that may be closed by now. */
struct session *session_lock_any(CK_SESSION_HANDLE handle);

CK_RV session_open(CK_SLOT_ID slot, CK_FLAGS flags, CK_SESSION_HANDLE *handle);
CK_RV session_close(CK_SESSION_HANDLE handle);
CK_RV session_close_all(CK_SLOT_ID slot);
void session_close_slot(const struct slot *slot);
CK_RV session_info(CK_SESSION_HANDLE handle, CK_SESSION_INFO *info);
CK_RV session_cancel(CK_SESSION_HANDLE handle, CK_FLAGS flags);
CK_RV session_login(CK_SESSION_HANDLE handle, CK_USER_TYPE user, const CK_UTF8CHAR *pin, CK_ULONG len);
CK_RV session_logout(CK_SESSION_HANDLE handle);

#endif
