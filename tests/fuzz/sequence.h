/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the target p11_sequence share: the model of the legal state, and the calls that are made
 * and checked against it. */
#ifndef FUZZ_SEQUENCE_H
#define FUZZ_SEQUENCE_H

#include "module.h"

#define SESSIONS 6
#define OBJECTS  40

/* No number that the token gives: not to be had. */
#define NONE (~0UL)

struct model_mac {
    bool active, parts;
    size_t size;
};

extern struct model_session {
    CK_SESSION_HANDLE handle; /* 0: never opened */
    CK_SLOT_ID slot;
    bool open, rw, searching;
    struct model_mac sign, verify;
} sessions[SESSIONS];

extern struct model_object {
    CK_OBJECT_HANDLE handle;
    CK_SLOT_ID slot;
    bool alive;
    bool key;     /* a session key, of `owner`; else one of the configuration, or a PPK */
    size_t owner; /* in sessions[] */
    bool ppk, data;
    bool sign, verify, derive, modifiable, copyable, destroyable, readable;
    CK_KEY_TYPE type;
} objects[OBJECTS];
extern size_t n_objects;
extern bool initialized, finalized; /* the latter: by this input */

/* Any of them, as the input says; where there is no object, one that is nowhere. */
struct model_session *session_pick(struct input *in);
struct model_object *object_pick(struct input *in);

/* What a call with this session answers before all else; CKR_OK: it goes on. */
CK_RV session_state(const struct model_session *s);

/* Is there such an object for this session? */
bool usable(const struct model_session *s, const struct model_object *o);

/* May a MAC be refused for what it is of? In the strict token's sessions. */
bool input_matters(const struct model_session *s);

/* The model's object of a handle, or NULL. */
struct model_object *object_known(CK_OBJECT_HANDLE handle);

/* A handle that the model has not seen before, of a living session; `owner` NULL: not a session key. */
void object_new(const struct model_session *s, CK_OBJECT_HANDLE handle, const struct model_session *owner);

/* Asks the token anew what the object is. */
void object_describe(const struct model_session *s, struct model_object *o);

/* What is gone. */
void session_died(size_t i);
void all_died(void);

/* Each makes one call or a few, with what the input says, and checks what comes of it. */
void call_initialize(struct input *in);
void call_finalize(struct input *in);
void call_open(struct input *in);
void call_close(struct input *in);
void call_close_all(struct input *in);
void call_info(struct input *in);
void call_login(struct input *in);
void call_cancel(struct input *in);
void call_create(struct input *in);
void call_destroy(struct input *in);
void call_copy(struct input *in);
void call_set(struct input *in);
void call_get(struct input *in);
void call_derive(struct input *in);
void call_generate(struct input *in);
void call_find_init(struct input *in);
void call_find(struct input *in);
void call_find_final(struct input *in);
void call_mac_init(struct input *in);
void call_mac_update(struct input *in);
void call_sign_end(struct input *in);
void call_verify_end(struct input *in);
void call_round(struct input *in);

#endif
