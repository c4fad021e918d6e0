/* SPDX-License-Identifier: BSD-2-Clause */
/* The gate between the application and the token: is the library initialized, in this process (and not only
 * in the parent that forked it), and who is inside? C_Finalize closes it and waits until the last call has
 * left. An entry costs two atomic additions on a cache line of the thread's own, and no system call.
 *
 * Calls are counted by *epochs*, so that what is replaced while the token runs can be given back once the
 * last call has left that may have seen it: who replaces it makes the new one known, turns the epoch, and
 * looks now and then whether the epoch before is over. */
#ifndef PPK_P11_GATE_H
#define PPK_P11_GATE_H

#include "p11/cryptoki.h"

#include <stdbool.h>
#include <stdint.h>

/* Counts the calling thread in. CKR_OK, or CKR_CRYPTOKI_NOT_INITIALIZED (and then it is not counted). */
CK_RV gate_enter(void);
void gate_leave(void);

/* C_Initialize: may this thread initialize? CKR_OK: it has to, and then calls gate_opened(). While another
 * thread does it or finalizes, waits for that, at most a second; a second entry by the same thread (a library
 * that we initialize has come back to us) is answered at once. Else CKR_CRYPTOKI_ALREADY_INITIALIZED or
 * CKR_FUNCTION_FAILED. `*forked`: this is the first call in a forked child; what the parent had is to be
 * forgotten. */
CK_RV gate_open(bool *forked);
void gate_opened(bool success);

/* C_Finalize: closes the gate and wakes gate_wait(). CKR_OK, and then the caller calls gate_drain()
 * and gate_closed(), or CKR_CRYPTOKI_NOT_INITIALIZED. */
CK_RV gate_close(void);

/* Waits at most `wait_ms` until everybody has left. False: somebody has not. */
bool gate_drain(uint64_t wait_ms);
void gate_closed(void);

/* Something has happened that gate_wait() waits for; and how often it has. */
void gate_event(void);
uint64_t gate_events(void);

/* For a thread inside: returns true when more events have happened than `seen`, or after `ms` milliseconds;
 * false when the gate is being closed. Meanwhile the thread belongs to no epoch: what it knew from before may
 * be gone. */
bool gate_wait(uint64_t seen, unsigned ms);

/* For a thread inside: a new epoch begins, and the thread is in it, unless it is in a call within a call. Not
 * by two threads at once, and only when the epoch before is over. */
void gate_turn(void);

/* Has everybody left who came in before the last gate_turn()? */
bool gate_turned(void);

#endif
