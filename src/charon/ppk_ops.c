/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_ops.h"

#include "ppk_derive.h"
#include "ppk_find.h"

#include <ppk/ppk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A new PPK by the token's key source. The token decides its size and its policy. */
static CK_RV generate_dynamic(struct ppk_session *session, const struct ppk_ask *ask,
                              struct ppk_answer *answer)
{
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_BBOOL yes = CK_TRUE;
    struct ppk_peer peer = ask->peer;
    char remote[PPK_NAME_MAX];
    CK_ATTRIBUTE template[4] = {
        {CKA_CLASS, &class, sizeof class},
        {CKA_TOKEN, &yes, sizeof yes},
        {CKA_LABEL, peer.name, strlen(peer.name)},
    };
    CK_ULONG entries = 3;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    CK_RV rv;

    memcpy(remote, ask->remote_system_id, sizeof remote);
    if (remote[0])
        template[entries++] = (CK_ATTRIBUTE){CKA_PPK_REMOTE_SYSTEM_ID, remote, strlen(remote)};
    rv = session->p11->C_GenerateKey(session->handle, &mechanism, template, entries, &handle);
    if (rv != CKR_OK)
        return ppk_rv_text(answer->text, "C_GenerateKey", rv);
    rv = ppk_find_describe(session, handle, answer);
    answer->key.dynamic = true;
    if (rv != CKR_OK)
        session->p11->C_DestroyObject(session->handle, handle);
    return rv;
}

static CK_RV done(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer)
{
    CK_BBOOL up = ask->outcome == PPK_OUTCOME_UP ? CK_TRUE : CK_FALSE;
    CK_ATTRIBUTE outcome = {CKA_PPK_OUTCOME, &up, sizeof up};
    CK_RV rv = CKR_OK;

    answer->fact = PPK_YES;
    if (ask->key.generation != session->generation)
        return CKR_OK;
    /* An older token does not know it: then it is not counted. */
    if (ask->outcome != PPK_OUTCOME_NONE)
        (void)session->p11->C_SetAttributeValue(session->handle, ask->key.handle, &outcome, 1);
    if (ask->key.dynamic)
        rv = session->p11->C_DestroyObject(session->handle, ask->key.handle);
    /* Gone already, expired for instance: that is what was wanted. */
    if (rv == CKR_OK || rv == CKR_OBJECT_HANDLE_INVALID)
        return CKR_OK;
    return ppk_rv_text(answer->text, "C_DestroyObject", rv);
}

static CK_RV run_once(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer)
{
    CK_RV rv = ppk_session_enter(session, answer->text);

    if (rv == CKR_OK) {
        switch (ask->op) {
        case PPK_OP_OPEN:
            rv = ppk_find_keyring(session, answer);
            break;
        case PPK_OP_PEER:
            rv = ppk_find_peer(session, ask, answer);
            break;
        case PPK_OP_ANY:
            rv = ppk_find_any(session, answer);
            break;
        case PPK_OP_FIND:
            rv = ppk_find_by_id(session, ask, answer);
            break;
        case PPK_OP_GENERATE:
            rv = ask->peer.kind == PPK_KIND_MANUAL ? ppk_find_manual(session, ask, answer)
                                                   : generate_dynamic(session, ask, answer);
            break;
        case PPK_OP_DERIVE:
            rv = ppk_derive(session, ask, answer);
            break;
        case PPK_OP_DONE:
            rv = done(session, ask, answer);
            break;
        }
        if (ppk_rv_lost(rv))
            ppk_session_drop(session);
    }
    ppk_session_leave(session);
    if (rv != CKR_OK)
        answer->fact = PPK_FAILED;
    return rv;
}

/* May it be repeated in a new session: after some codes the call was not executed, and some questions never
 * reach a key source, so that a lost module (p11-kit's server was restarted) is all that can be behind their
 * failure. */
static bool may_repeat(enum ppk_op op, CK_RV rv)
{
    if (rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED || rv == CKR_CRYPTOKI_NOT_INITIALIZED ||
        rv == CKR_USER_NOT_LOGGED_IN)
        return true;
    return ppk_rv_lost(rv) && (op == PPK_OP_PEER || op == PPK_OP_ANY || op == PPK_OP_OPEN);
}

void ppk_ask_run(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer)
{
    bool was_open = session->generation != 0;
    CK_RV rv = run_once(session, ask, answer);

    if (was_open && may_repeat(ask->op, rv)) {
        ppk_answer_clear(answer);
        memset(answer, 0, sizeof *answer);
        run_once(session, ask, answer);
    }
}

static unsigned char *copy_of(const unsigned char *bytes, size_t len)
{
    unsigned char *copy = malloc(len + 1);

    if (copy && len)
        memcpy(copy, bytes, len);
    return copy;
}

bool ppk_ask_set_id(struct ppk_ask *ask, const unsigned char *id, size_t len)
{
    ask->id = copy_of(id, len);
    ask->id_len = len;
    return ask->id != NULL;
}

bool ppk_ask_set_seed(struct ppk_ask *ask, const unsigned char *seed, size_t len)
{
    ask->seed = copy_of(seed, len);
    ask->seed_len = len;
    return ask->seed != NULL;
}

static void free_wiped(unsigned char *bytes, size_t len)
{
    if (bytes)
        explicit_bzero(bytes, len);
    free(bytes);
}

void ppk_ask_clear(struct ppk_ask *ask)
{
    free(ask->id);
    free_wiped(ask->seed, ask->seed_len);
    ask->id = ask->seed = NULL;
}

void ppk_answer_clear(struct ppk_answer *answer)
{
    free(answer->id);
    free_wiped(answer->out, answer->out_len);
    answer->id = answer->out = NULL;
}
