/* SPDX-License-Identifier: BSD-2-Clause */
/* The trace of PKCS#11 calls (log level trace): names, not numbers, and how long it took. Never the value of
 * an attribute that could be a key's, nor what is signed, a PIN, or the content of a mechanism's parameter.
 */
#ifndef PPK_P11_TRACE_H
#define PPK_P11_TRACE_H

#include "p11/returns.h"

#include "base/clock.h"
#include "base/log.h"

/* When a call began; 0: it is not traced. */
static inline uint64_t trace_begin(void)
{
    return log_wanted(LOG_LEVEL_TRACE) ? clock_us() | 1 : 0;
}

/* Writes the line of a call that has ended. `arguments` says what follows, a letter each:
 *   s session  S slot  o object  f flags  u kind of user  y mechanism type  n bytes (CK_ULONG each)
 *   O object given back  P session given back  N number given back (pointers; read on CKR_OK only)
 *   m mechanism (pointer)  t template (pointer, number)  v the same, of values that were read
 * What the call did not get as far as to look at is not looked at here, either. */
void trace_end(uint64_t began, enum function function, CK_RV rv, const char *arguments, ...);

#endif
