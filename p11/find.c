/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/find.h"

#include "base/log.h"
#include "p11/attribute.h"
#include "p11/library.h"
#include "p11/search.h"
#include "status/publisher.h"

#include <stdlib.h>
#include <string.h>

/* The fields of a search that are reset; what is inline needs no zeros. */
#define SEARCH_HEAD offsetof(struct search, handles_inline)

static void search_clear(struct search *q)
{
    if (q->attributes != q->attributes_inline)
        free(q->attributes);
    if (q->handles != q->handles_inline)
        free(q->handles);
    memset(q, 0, SEARCH_HEAD);
    q->remote_text[0] = '\0';
    q->attributes = q->attributes_inline;
    q->handles = q->handles_inline;
    q->room = SEARCH_HANDLES_INLINE;
}

void search_free(struct search *q)
{
    if (q == NULL)
        return;
    search_clear(q);
    free(q);
}

bool search_end(struct session *s)
{
    if (s->search_away) { /* its thread will see that it is not wanted any more */
        s->search_away = false;
        return true;
    }
    if (s->search == NULL || !s->search->active)
        return false;
    search_clear(s->search);
    return true;
}

static CK_RV attribute_check(const CK_ATTRIBUTE *a)
{
    const struct attribute_row *row = attribute_row(a->type);

    if (a->ulValueLen > TEMPLATE_BYTES || (a->pValue == NULL && a->ulValueLen > 0))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    if (row == NULL)
        return CKR_OK; /* no object of ours has it: the search finds nothing */
    if ((row->form == FORM_BOOL && a->ulValueLen != sizeof(CK_BBOOL)) ||
        (row->form == FORM_ULONG && a->ulValueLen != sizeof(CK_ULONG)) ||
        (row->form == FORM_ADDRESS && a->ulValueLen != 4 && a->ulValueLen != 16) ||
        (row->type == CKA_PPK_REMOTE_SYSTEM_ID &&
         (a->ulValueLen > SEARCH_SYSTEM_ID_MAX ||
          (a->ulValueLen > 0 && memchr(a->pValue, '\0', a->ulValueLen) != NULL))))
        return CKR_ATTRIBUTE_VALUE_INVALID;
    return CKR_OK;
}

/* Copies the template: the caller may reuse his memory as soon as C_FindObjectsInit returns. */
static CK_RV template_copy(struct search *q, const CK_ATTRIBUTE *attributes, CK_ULONG n)
{
    size_t bytes = 0;
    uint8_t *to = q->bytes_inline;

    if ((attributes == NULL && n > 0) || n > TEMPLATE_MAX)
        return CKR_ARGUMENTS_BAD;
    for (CK_ULONG i = 0; i < n; i++) {
        CK_RV rv = attribute_check(&attributes[i]);
        if (rv != CKR_OK)
            return rv;
        bytes += attributes[i].ulValueLen;
    }
    if (n > SEARCH_ATTRIBUTES_INLINE || bytes > SEARCH_BYTES_INLINE) {
        q->attributes = malloc(n * sizeof *attributes + bytes);
        if (q->attributes == NULL) {
            q->attributes = q->attributes_inline;
            return CKR_HOST_MEMORY;
        }
        to = (uint8_t *)&q->attributes[n];
    }
    for (CK_ULONG i = 0; i < n; i++) {
        size_t len = attributes[i].ulValueLen;
        if (len > bytes) /* it grew since it was checked */
            return CKR_ARGUMENTS_BAD;
        bytes -= len;
        q->attributes[i] = (CK_ATTRIBUTE){attributes[i].type, to, len};
        if (len > 0)
            memcpy(to, attributes[i].pValue, len);
        to += len;
    }
    q->n_attributes = n;
    return CKR_OK;
}

const struct slot_peer *peer_named(const struct slot *s, struct span label, struct span name,
                                   struct span address, bool *unknown)
{
    const struct keyring *k = slot_keyring(s);
    const struct peer *named[3];
    const struct peer *who = NULL;
    size_t n = 0;

    if (label.len > 0)
        named[n++] = keyring_peer_by_name(k, (const char *)label.data, label.len);
    if (name.len > 0)
        named[n++] = keyring_peer_by_name(k, (const char *)name.data, name.len);
    if (address.len > 0)
        named[n++] = keyring_peer_by_address(k, address.data, address.len);
    *unknown = false;
    for (size_t i = 0; i < n; i++) {
        if (named[i] == NULL || (who != NULL && who != named[i]))
            *unknown = true;
        who = named[i];
    }
    return *unknown ? NULL : slot_peer_of(s, who);
}

/* Most searches are by ID: where the PPK would be begins to come from memory while we are back with the
 * caller. */
static void search_expect(struct search *q)
{
    if (!slot_view(q->slot)->any_dynamic)
        return;
    for (CK_ULONG i = 0; i < q->n_attributes && q->expected == 0; i++)
        if (q->attributes[i].type == CKA_ID)
            q->expected = ppk_store_expect(q->slot->store, search_span(&q->attributes[i]));
}

/* Finds what the template says of ID and peer. */
static void search_understand(struct search *q)
{
    const struct {
        CK_ATTRIBUTE_TYPE type;
        const CK_ATTRIBUTE **to;
    } known[] = {
        {CKA_ID, &q->id},
        {CKA_LABEL, &q->label},
        {CKA_PPK_PEER, &q->peer},
        {CKA_PPK_PEER_ADDRESS, &q->address},
        {CKA_PPK_REMOTE_SYSTEM_ID, &q->remote},
    };

    for (CK_ULONG i = 0; i < q->n_attributes; i++)
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            if (q->attributes[i].type == known[k].type)
                *known[k].to = &q->attributes[i];
    q->who =
        peer_named(q->slot, search_span(q->label), search_span(q->peer), search_span(q->address), &q->nobody);
    if (q->remote != NULL && q->remote->ulValueLen > 0) {
        memcpy(q->remote_text, q->remote->pValue, q->remote->ulValueLen);
        q->remote_text[q->remote->ulValueLen] = '\0';
    }
}

CK_RV find_init(CK_SESSION_HANDLE session, const CK_ATTRIBUTE *attributes, CK_ULONG n)
{
    struct session *s;
    struct search *q;
    CK_RV rv = session_lock(session, &s);

    if (rv != CKR_OK)
        return rv;
    if (s->search_away || (s->search != NULL && s->search->active)) {
        rv = CKR_OPERATION_ACTIVE;
        goto out;
    }
    if (s->search == NULL) {
        s->search = malloc(sizeof *s->search);
        if (s->search == NULL) {
            rv = CKR_HOST_MEMORY;
            goto out;
        }
        s->search->attributes = s->search->attributes_inline;
        s->search->handles = s->search->handles_inline;
        search_clear(s->search);
    }
    q = s->search;
    rv = template_copy(q, attributes, n);
    if (rv != CKR_OK) {
        search_clear(q);
        goto out;
    }
    q->slot = atomic_load(&s->slot);
    q->active = true;
    search_expect(q);
out:
    session_unlock(s);
    return rv;
}

CK_RV fetch_rv(const struct slot *s, const char *function, enum ppk_result result, const struct fault *fault)
{
    status_publisher_nudge(s->library->publisher);
    switch (result) {
    case PPK_OK:
        return CKR_OK;
    case PPK_NO_MEMORY:
        log_write(LOG_LEVEL_ERROR, "%s: keyring %s: no memory", function, s->name);
        return CKR_HOST_MEMORY;
    case PPK_NOT_FOUND:
    case PPK_REFUSED:
    case PPK_UNREACHABLE:
    case PPK_DUPLICATE:
        break;
    }
    log_write(LOG_LEVEL_WARNING, "%s: keyring %s: %s", function, s->name,
              fault->text[0] != '\0' ? fault->text : "no key source has this PPK");
    return CKR_DEVICE_ERROR;
}

/* Asks for the ID under a remote system ID that several peers may have: each of their profiles once. */
static enum ppk_result fetch_by_remote(struct search *q, struct ppk **out, struct fault *fault)
{
    const struct keyring *k = slot_keyring(q->slot);
    const struct peer *asked[16];
    const struct peer *p;
    enum ppk_result result = PPK_NOT_FOUND, last;
    size_t cursor = 0, n = 0;

    while (n < sizeof asked / sizeof asked[0] &&
           (p = keyring_peer_by_system_id(k, q->remote_text, strlen(q->remote_text), &cursor)) != NULL) {
        bool again = p->dynamic == NULL;
        for (size_t i = 0; i < n; i++)
            again |= asked[i]->dynamic == p->dynamic;
        if (again)
            continue;
        asked[n++] = p;
        last = ppk_store_find(q->slot->store, search_span(q->id), p, q->remote_text, out, fault);
        if (last == PPK_OK)
            return last;
        if (last != PPK_NOT_FOUND)
            result = last;
    }
    if (n == 0)
        return ppk_store_find(q->slot->store, search_span(q->id), NULL, q->remote_text, out, fault);
    return result;
}

static void note_fetched(struct search *q, struct ppk *ppk)
{
    if (ppk == NULL)
        return;
    q->fetched = atomic_load(&ppk->handle);
    if (q->fetched == CK_INVALID_HANDLE)
        q->rv = CKR_HOST_MEMORY; /* there was no room for the object */
    ppk_release(ppk);
}

/* Asks the key sources, without a lock, and completes the search. */
static void run_fetch(struct search *q)
{
    const bool by_id = q->id != NULL;
    const struct slot_peer *who = by_id || q->who != NULL ? q->who : search_peer_by_remote(q);
    struct fault fault = {0};
    struct ppk *ppk = NULL;
    enum ppk_result result;

    if (!by_id && who == NULL)
        return; /* its peer went in this moment */
    if (!by_id)
        result = ppk_store_next(q->slot->store, who->peer, search_remote(q), &ppk, &fault);
    else if (q->who == NULL && search_remote(q) != NULL)
        result = fetch_by_remote(q, &ppk, &fault);
    else
        result = ppk_store_find(q->slot->store, search_span(q->id), who == NULL ? NULL : who->peer,
                                search_remote(q), &ppk, &fault);
    note_fetched(q, result == PPK_OK ? ppk : NULL);
    if (by_id) {
        search_complete_by_id(q);
        if (result != PPK_OK && result != PPK_NOT_FOUND)
            q->rv = fetch_rv(q->slot, "C_FindObjects", result, &fault);
        return;
    }
    search_complete(q);
    /* A peer whose key source fails still has its manual PPKs; an old dynamic PPK is no substitute for a new
     * one. */
    if (result != PPK_OK) {
        CK_RV rv = fetch_rv(q->slot, "C_FindObjects", result, &fault);
        if (!search_has_manual(q))
            q->rv = rv;
    }
}

/* Runs the search of a session, unlocked for the time of the fetch. Ends with the session locked again, or
 * with an error and *s = NULL. */
static CK_RV run(CK_SESSION_HANDLE session, struct session **s)
{
    struct search *q = (*s)->search;
    uint64_t turn;
    CK_RV rv;

    q->ran = true;
    ppk_store_expect_more(q->slot->store, q->expected);
    search_understand(q);
    if (search_local(q))
        return CKR_OK;
    turn = ++(*s)->search_turn;
    (*s)->search = NULL;
    (*s)->search_away = true;
    session_unlock(*s);
    run_fetch(q);
    rv = session_lock(session, s) == CKR_OK ? CKR_OK : CKR_SESSION_CLOSED;
    if (rv == CKR_OK && (!(*s)->search_away || (*s)->search_turn != turn)) {
        session_unlock(*s);
        rv = CKR_OPERATION_NOT_INITIALIZED; /* ended meanwhile by another thread */
    }
    if (rv != CKR_OK) {
        *s = NULL;
        search_free(q);
        return rv;
    }
    search_free((*s)->search);
    (*s)->search = q;
    (*s)->search_away = false;
    return CKR_OK;
}

CK_RV find_next(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *handles, CK_ULONG max, CK_ULONG *count)
{
    struct session *s;
    struct search *q;
    CK_RV rv = session_lock(session, &s);
    CK_ULONG n = 0;

    if (rv != CKR_OK)
        return rv;
    if (s->search_away || s->search == NULL || !s->search->active) {
        rv = CKR_OPERATION_NOT_INITIALIZED;
        goto out;
    }
    if ((handles == NULL && max > 0) || count == NULL) {
        rv = CKR_ARGUMENTS_BAD;
        goto out;
    }
    if (!s->search->ran && max > 0) {
        rv = run(session, &s);
        if (rv != CKR_OK)
            goto out;
    }
    q = s->search;
    rv = q->rv;
    while (rv == CKR_OK && n < max && q->next < q->n_handles)
        handles[n++] = q->handles[q->next++];
    if (rv == CKR_OK)
        *count = n;
out:
    if (s != NULL)
        session_unlock(s);
    return rv;
}

CK_RV find_final(CK_SESSION_HANDLE session)
{
    struct session *s;
    CK_RV rv = session_lock(session, &s);

    if (rv != CKR_OK)
        return rv;
    if (!search_end(s))
        rv = CKR_OPERATION_NOT_INITIALIZED;
    session_unlock(s);
    return rv;
}
