/* SPDX-License-Identifier: BSD-2-Clause */
/* What several programs need to see: whether the token of CONF_MANUAL works. */
#ifndef TOKEN_WORKS_H
#define TOKEN_WORKS_H

/* Computes what the token should say; before there are threads, since OpenSSL itself may not be used in the
 * child of a process with threads. */
void works_prepare(void);

/* The token at work: an HMAC by a manual PPK against an independent one. Expectations only, for threads and
 * children, too. */
void token_works(void);

/* For pthread_create(): blocks in C_WaitForSlotEvent, and leaves its CK_RV in *(CK_RV *)result. */
void *wait_for_event(void *result);

#endif
