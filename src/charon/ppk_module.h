/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One PKCS#11 module with one token: loading, initializing, sessions, and starting over when it was lost.
 * Knows nothing of charon, because it runs on threads of its own (ppk_worker.h). */
#ifndef PPK_CHARON_MODULE_H
#define PPK_CHARON_MODULE_H

#include <ppk/pkcs11-3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PPK_TEXT_MAX 320

struct ppk_module;

/* What the operator configured. The strings belong to the caller and must outlive the module. */
struct ppk_module_config {
    const char *path;  /* file of the module; "p11-kit" is p11-kit's proxy of all configured modules */
    const char *init;  /* C_Initialize's pReserved string, or NULL */
    const char *token; /* token label; NULL: the only token there is */
    const char *pin;   /* user PIN, or NULL: no login */
};

/* A session of one worker. generation 0: not open. */
struct ppk_session {
    struct ppk_module *module;
    CK_FUNCTION_LIST *p11;
    CK_SESSION_HANDLE handle;
    uint64_t generation; /* of the module's life in which handles of this session mean something */
    CK_MECHANISM_TYPE
    prf_plus; /* the prf+ mechanism of this token, or CK_UNAVAILABLE_INFORMATION: none, use HMAC */
};

/* Makes the object; loads nothing yet. NULL: out of memory. */
struct ppk_module *ppk_module_create(const struct ppk_module_config *config);

/* Opens the session if it is not open, or if the module was restarted since; loads and initializes the module
 * at the first need. On failure text says which call failed and how. Holds the module against restarts until
 * ppk_session_leave(), whatever it returned. */
CK_RV ppk_session_enter(struct ppk_session *session, char text[static PPK_TEXT_MAX]);
void ppk_session_leave(struct ppk_session *session);

/* Forgets the session; the next ppk_session_enter() opens a new one. To be called where ppk_rv_lost(). */
void ppk_session_drop(struct ppk_session *session);

/* Ends the module (C_Finalize, if we initialized it). Only when no worker is inside. */
void ppk_module_destroy(struct ppk_module *module);

/* After such a code the session, or what is behind it, may be gone. */
bool ppk_rv_lost(CK_RV rv);

/* "C_Login: CKR_PIN_LOCKED" into text; returns rv. */
CK_RV ppk_rv_text(char text[static PPK_TEXT_MAX], const char *call, CK_RV rv);

#endif
