/* SPDX-License-Identifier: BSD-2-Clause */
/* The module under test, seen from outside: loaded by path, driven through its function lists, with a
 * configuration and a log file in a directory of its own. */
#ifndef TOKEN_HARNESS_H
#define TOKEN_HARNESS_H

#include "expect.h"
#include "ppk/ppk.h"

#include <stdio.h>
#include <string.h>

/* The function list 2.40 of the module: set by harness_load(). */
extern CK_FUNCTION_LIST *f;

/* Its path: PPK_TEST_MODULE in the environment, or the built one. */
const char *harness_module(void);

/* Makes the temporary directory, sets PPK_CONF and PPK_LOG (debug level, to a file in it), loads the module.
 * Ends the program with a message if that fails. Returns dlopen()'s handle. */
void *harness_load(void);

/* The directory; it is removed when the process that made it ends. */
const char *harness_directory(void);

/* Writes the configuration (mode 0600). */
__attribute__((format(printf, 1, 2))) void harness_conf(const char *format, ...);
const char *harness_conf_path(void);

/* What is in the log since the last harness_log_clear(); until the next call. */
const char *harness_log(void);
void harness_log_clear(void);

/* The slot whose token has this label; fails the test if there is none. */
CK_SLOT_ID harness_slot(const char *label);

/* A new session on it: read only, or read-write. */
CK_SESSION_HANDLE harness_session(const char *label);
CK_SESSION_HANDLE harness_session_rw(const char *label);

/* C_Initialize with this configuration, and a session on its keyring "main". */
CK_SESSION_HANDLE harness_start(const char *conf);

/* Milliseconds of the monotonic clock. */
uint64_t harness_ms(void);

/* Are these sanitizers at work? Some things (timing, dlclose, memory maps) look different then. */
#if defined(__SANITIZE_ADDRESS__)
#define HARNESS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HARNESS_ASAN 1
#endif
#endif
#ifndef HARNESS_ASAN
#define HARNESS_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__)
#define HARNESS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HARNESS_TSAN 1
#endif
#endif
#ifndef HARNESS_TSAN
#define HARNESS_TSAN 0
#endif

/* ---- templates ---- */

/* Attributes with room for their small values, which they point at: not to be copied. Start from zeros. */
struct template
{
    CK_ATTRIBUTE a[24];
    CK_ULONG n;
    CK_ULONG numbers[24];
    CK_BBOOL bools[24];
};
void template_number(struct template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG value);
void template_bool(struct template *t, CK_ATTRIBUTE_TYPE type, bool value);
void template_bytes(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value,
                    size_t len);                                                  /* keeps the pointer */
void template_text(struct template *t, CK_ATTRIBUTE_TYPE type, const char *text); /* keeps the pointer */

/* Starts anew with CKO_SECRET_KEY, CKK_GENERIC_SECRET, CKA_TOKEN = FALSE. */
void template_secret(struct template *t);

/* The entry of this type, or NULL. */
CK_ATTRIBUTE *template_entry(struct template *t, CK_ATTRIBUTE_TYPE type);

/* ---- objects ---- */

/* Searches; up to `room` handles to `out` (or NULL), returns how many were found in all. The search's CK_RV
 * (of the first call that failed) goes to `rv`, or, if that is NULL, must be CKR_OK. */
size_t object_search(CK_SESSION_HANDLE s, struct template *t, CK_OBJECT_HANDLE *out, size_t room, CK_RV *rv);

/* The only object that matches; fails the test if it is not just one. */
CK_OBJECT_HANDLE object_only(CK_SESSION_HANDLE s, struct template *t);

/* The secret key of this ID, or of this label (which is a peer's name, or NAME/psk). */
CK_OBJECT_HANDLE object_by_id(CK_SESSION_HANDLE s, const void *id, size_t len);
CK_OBJECT_HANDLE object_by_label(CK_SESSION_HANDLE s, const char *label);

/* One attribute. number: CK_UNAVAILABLE_INFORMATION if it is not to be had; bool: -1. bytes: the length, or
 * (size_t)-1. */
CK_ULONG object_number(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type);
int object_bool(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type);
size_t object_bytes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_TYPE type, void *out, size_t room);

/* A session key of these bytes: generic secret, may derive, sign and verify, not sensitive, extractable.
 * Fails the test if refused. */
CK_OBJECT_HANDLE object_import(CK_SESSION_HANDLE s, const void *value, size_t len);

#endif
