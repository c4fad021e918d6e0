/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/find.h"

#include "base/log.h"
#include "p11/attribute.h"
#include "p11/library.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define ATTRIBUTES_INLINE 12
#define BYTES_INLINE      512
#define HANDLES_INLINE    8
#define ID_MAX            512 /* bytes of a CKA_ID that may be asked for at a key source */
#define SYSTEM_ID_MAX     255

/* A search. It copies the caller's template, runs when C_FindObjects is first called, and then holds the
 * handles. */
struct search {
    bool active, ran;
    CK_RV rv; /* of running it: an error stays the answer */
    struct slot *slot;

    CK_ATTRIBUTE *attributes; /* `attributes_inline`, or allocated together with the values */
    CK_ULONG n_attributes;

    /* what the template says, as far as it decides whom to ask; NULL: it does not say */
    const CK_ATTRIBUTE *id, *label, *peer, *address, *remote;
    const struct slot_peer *who; /* the peer that it names by label, name or address */
    bool nobody;                 /* it names one that does not exist, or two */
    char remote_text[SYSTEM_ID_MAX + 1];
    CK_OBJECT_HANDLE
    fetched; /* the PPK that was got for this search under the remote system ID that it says */

    CK_OBJECT_HANDLE *handles;
    size_t n_handles, room, next;

    CK_OBJECT_HANDLE handles_inline[HANDLES_INLINE];
    CK_ATTRIBUTE attributes_inline[ATTRIBUTES_INLINE];
    uint8_t bytes_inline[BYTES_INLINE];
};

/* The fields of a search that are reset; what is inline needs no zeros. */
#define SEARCH_HEAD offsetof(struct search, handles_inline)

static void search_clear(struct search *q)
{
    if (q->attributes != q->attributes_inline)
        free(q->attributes);
    if (q->handles != q->handles_inline)
        free(q->handles);
    memset(q, 0, SEARCH_HEAD);
    q->attributes = q->attributes_inline;
    q->handles = q->handles_inline;
    q->room = HANDLES_INLINE;
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
        (row->type == CKA_PPK_REMOTE_SYSTEM_ID && a->ulValueLen > SYSTEM_ID_MAX))
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
    if (n > ATTRIBUTES_INLINE || bytes > BYTES_INLINE) {
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

static struct span span_of(const CK_ATTRIBUTE *a)
{
    return a == NULL ? (struct span){NULL, 0} : (struct span){a->pValue, a->ulValueLen};
}

static const struct slot_peer *slot_peer_of(const struct slot *s, const struct peer *p)
{
    return p == NULL ? NULL : &s->peers[p - s->keyring->peers];
}

const struct slot_peer *peer_named(const struct slot *s, struct span label, struct span name,
                                   struct span address, bool *unknown)
{
    const struct peer *named[3];
    const struct peer *who = NULL;
    size_t n = 0;

    if (label.len > 0)
        named[n++] = keyring_peer_by_name(s->keyring, (const char *)label.data, label.len);
    if (name.len > 0)
        named[n++] = keyring_peer_by_name(s->keyring, (const char *)name.data, name.len);
    if (address.len > 0)
        named[n++] = keyring_peer_by_address(s->keyring, address.data, address.len);
    *unknown = false;
    for (size_t i = 0; i < n; i++) {
        if (named[i] == NULL || (who != NULL && who != named[i]))
            *unknown = true;
        who = named[i];
    }
    return *unknown ? NULL : slot_peer_of(s, who);
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
    q->who = peer_named(q->slot, span_of(q->label), span_of(q->peer), span_of(q->address), &q->nobody);
    if (q->remote != NULL && q->remote->ulValueLen > 0)
        memcpy(q->remote_text, q->remote->pValue, q->remote->ulValueLen);
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
    search_understand(q);
out:
    session_unlock(s);
    return rv;
}

static bool add(void *context, CK_OBJECT_HANDLE handle)
{
    struct search *q = context;

    if (handle == CK_INVALID_HANDLE)
        return true;
    if (q->n_handles == q->room) {
        const bool inside = q->handles == q->handles_inline;
        const size_t room = q->room < HANDLES_INLINE ? HANDLES_INLINE : q->room * 2;
        CK_OBJECT_HANDLE *more = realloc(inside ? NULL : q->handles, room * sizeof *more);
        if (more == NULL) {
            q->rv = CKR_HOST_MEMORY;
            return false;
        }
        if (inside)
            memcpy(more, q->handles_inline, sizeof q->handles_inline);
        q->handles = more;
        q->room = room;
    }
    q->handles[q->n_handles++] = handle;
    return true;
}

static bool add_ppk(void *context, struct ppk *ppk)
{
    const struct search *q = context;
    const CK_OBJECT_HANDLE handle = atomic_load(&ppk->handle);

    return handle == q->fetched || add(context, handle); /* what was fetched is in already */
}

/* The same ID, as bytes or as the hex digits of them? */
static bool id_same(struct span a, struct span b)
{
    uint8_t bytes[2][ID_MAX];
    const struct span both[2] = {a, b};
    struct span raw[2];

    if (span_equal(a, b))
        return true;
    for (int i = 0; i < 2; i++) {
        raw[i] = both[i];
        if (a.len != b.len && both[i].len < both[1 - i].len)
            continue; /* the shorter one can only be the bytes */
        if (both[i].len / 2 > ID_MAX || !hex_is((const char *)both[i].data, both[i].len) ||
            !hex_decode(bytes[i], (const char *)both[i].data, both[i].len))
            return false;
        raw[i] = (struct span){bytes[i], both[i].len / 2};
    }
    return span_equal(raw[0], raw[1]);
}

static bool value_matches(const struct search *q, const struct object *o, const CK_ATTRIBUTE *a)
{
    const struct attribute_row *row = attribute_row(a->type);
    const bool configured = o->kind == OBJECT_PPK || o->kind == OBJECT_MANUAL;
    struct attribute_value v;
    bool same;

    if (row == NULL)
        return false;
    if (a->type == CKA_PPK_PEER_ADDRESS)
        return q->who != NULL && object_peer(o) == q->who;
    if (a->type == CKA_PPK_REMOTE_SYSTEM_ID && o->of != NULL && q->fetched == object_handle(o))
        return true;
    if (attribute_value(q->slot, o, row, &v) != CKR_OK)
        return false;
    if (a->type == CKA_ID && configured)
        same = id_same((struct span){v.data, v.len}, span_of(a));
    else
        same = v.len == a->ulValueLen && (v.len == 0 || CRYPTO_memcmp(v.data, a->pValue, v.len) == 0);
    attribute_clear(&v);
    return same;
}

static bool matches(const struct search *q, const struct object *o)
{
    bool all = true;

    attribute_lock(o);
    for (CK_ULONG i = 0; i < q->n_attributes && all; i++)
        all = value_matches(q, o, &q->attributes[i]);
    attribute_unlock(o);
    return all;
}

/* Keeps those of the handles whose objects the session may see, and that match. */
static void keep_matching(struct search *q)
{
    struct objects *objects = q->slot->library->objects;
    size_t kept = 0;

    for (size_t i = 0; i < q->n_handles; i++) {
        struct object *o = object_get(objects, q->handles[i]);
        if (o != NULL && o->slot == q->slot->id && slot_shows(q->slot, o) && matches(q, o))
            q->handles[kept++] = q->handles[i];
        object_put(objects, o);
    }
    q->n_handles = kept;
}

/* Could a PPK that is yet to be fetched, of this peer (NULL: of any), match? What is not known before it is
 * here does not speak against it. */
static bool admits_ppk(const struct search *q, const struct slot_peer *who)
{
    const struct object future = {.kind = OBJECT_PPK, .slot = q->slot->id, .peer = who};

    if (q->nobody)
        return false;
    for (CK_ULONG i = 0; i < q->n_attributes; i++) {
        const CK_ATTRIBUTE *a = &q->attributes[i];
        switch (a->type) {
        case CKA_ID:
        case CKA_LABEL:
        case CKA_PPK_PEER:
        case CKA_PPK_PEER_ADDRESS:
        case CKA_PPK_REMOTE_SYSTEM_ID:
        case CKA_VALUE_LEN:
        case CKA_PPK_SECONDS_LEFT:
            break;
        case CKA_UNIQUE_ID:
            return false;
        case CKA_PPK_SKS_PROFILE:
        case CKA_PPK_LOCAL_SYSTEM_ID:
        case CKA_PPK_REQUIRED:
            if (who == NULL)
                break;
            /* fall through */
        default:
            if (!value_matches(q, &future, a))
                return false;
        }
    }
    return true;
}

static const char *remote_of(const struct search *q)
{
    return q->remote_text[0] == '\0' ? NULL : q->remote_text;
}

/* A peer that is named by nothing but its remote system ID: the first with dynamic PPKs. */
static const struct slot_peer *peer_by_remote(const struct search *q)
{
    const struct peer *p;
    size_t cursor = 0;

    while ((p = keyring_peer_by_system_id(q->slot->keyring, q->remote_text, strlen(q->remote_text),
                                          &cursor)) != NULL)
        if (p->dynamic != NULL)
            break;
    return slot_peer_of(q->slot, p);
}

static void add_peer(struct search *q, const struct slot_peer *who)
{
    ppk_store_each(q->slot->store, who->peer, add_ppk, q);
    for (size_t i = 0; i < who->peer->n_manual; i++)
        add(q, who->manual[i]);
    add(q, who->psk);
    add(q, who->data);
}

static void add_peers_by_remote(struct search *q)
{
    const struct peer *p;
    size_t cursor = 0;

    while ((p = keyring_peer_by_system_id(q->slot->keyring, q->remote_text, strlen(q->remote_text),
                                          &cursor)) != NULL)
        add_peer(q, slot_peer_of(q->slot, p));
}

static void add_manual(struct search *q, struct span id)
{
    const struct manual_handle *m = table_get(q->slot->manual_by_id, id);

    if (m != NULL)
        add(q, m->handle);
}

/* Manual PPKs of this ID, or of the other way to write it. */
static void add_manuals(struct search *q, struct span id)
{
    char text[2 * ID_MAX];
    uint8_t bytes[ID_MAX];

    if (table_count(q->slot->manual_by_id) == 0 || id.len > ID_MAX)
        return;
    add_manual(q, id);
    if (hex_is((const char *)id.data, id.len) && hex_decode(bytes, (const char *)id.data, id.len))
        add_manual(q, (struct span){bytes, id.len / 2});
    hex_encode(text, id.data, id.len);
    add_manual(q, (struct span){(const uint8_t *)text, 2 * id.len});
    for (size_t i = 0; i < 2 * id.len; i++)
        text[i] = (char)toupper((unsigned char)text[i]); /* hex digits: the same in every locale */
    add_manual(q, (struct span){(const uint8_t *)text, 2 * id.len});
    /* An ID without letters is the same in both cases. */
    for (size_t i = 1; i < q->n_handles; i++)
        if (q->handles[i] == q->handles[i - 1])
            q->handles[i] = CK_INVALID_HANDLE;
}

/* All objects of the slot. */
static void add_all(struct search *q)
{
    struct objects *objects = q->slot->library->objects;
    struct object *o;
    uint32_t cursor = 0;
    bool more = true;

    ppk_store_expire(q->slot->store);
    while (more && (o = objects_next(objects, &cursor)) != NULL) {
        if (o->slot == q->slot->id && slot_shows(q->slot, o) && matches(q, o))
            more = add(q, object_handle(o));
        object_put(objects, o);
    }
}

static void add_psk_of_label(struct search *q)
{
    static const char suffix[] = "/psk";
    const size_t n = sizeof suffix - 1, len = q->label->ulValueLen;
    const struct peer *p;

    if (len <= n || memcmp((const char *)q->label->pValue + len - n, suffix, n) != 0)
        return;
    p = keyring_peer_by_name(q->slot->keyring, q->label->pValue, len - n);
    if (p != NULL)
        add(q, slot_peer_of(q->slot, p)->psk);
}

/* What a search without ID finds, once what it had to fetch is here (q->fetched). */
static void collect(struct search *q)
{
    const struct span label = span_of(q->label);

    if (label.len == 0 && q->who == NULL && remote_of(q) == NULL) {
        add_all(q);
        return;
    }
    add(q, q->fetched);
    if (q->who != NULL)
        add_peer(q, q->who);
    else if (!q->nobody && remote_of(q) != NULL)
        add_peers_by_remote(q);
    if (label.len > 0) {
        keys_each(q->slot->library->keys, q->slot->id, KEY_BY_LABEL, label, add, q);
        add_psk_of_label(q);
    }
    keep_matching(q);
}

/* What is here of an ID. True: a PPK of this ID is among it, whether it matches or not, so that there is
 * nothing to ask for. */
static bool collect_by_id(struct search *q)
{
    const struct span id = span_of(q->id);
    struct ppk *held = NULL;
    bool here;

    add_manuals(q, id);
    here = q->n_handles > 0;
    keys_each(q->slot->library->keys, q->slot->id, KEY_BY_ID, id, add, q);
    if (q->slot->any_dynamic)
        held = ppk_store_held(q->slot->store, id);
    if (held != NULL) {
        q->fetched = atomic_load(&held->handle);
        add(q, q->fetched);
        ppk_release(held);
        here = true;
    }
    keep_matching(q);
    return here || q->n_handles > 0;
}

/* Runs as far as that is possible without a key source. True: it is done. */
static bool run_local(struct search *q)
{
    const struct slot_peer *who = q->who;

    if (q->id != NULL && q->id->ulValueLen > 0) {
        if (collect_by_id(q) || !q->slot->any_dynamic || q->id->ulValueLen > ID_MAX || !admits_ppk(q, who))
            return true;
        return who != NULL && who->peer->dynamic == NULL;
    }
    if (who == NULL && !q->nobody && q->label == NULL && remote_of(q) != NULL)
        who = peer_by_remote(q);
    if (q->id == NULL && who != NULL && who->peer->dynamic != NULL && admits_ppk(q, who))
        return false;
    collect(q);
    return true;
}

CK_RV fetch_rv(const struct slot *s, const char *function, enum ppk_result result, const struct fault *fault)
{
    switch (result) {
    case PPK_OK:
        return CKR_OK;
    case PPK_NO_MEMORY:
        log_write(LOG_LEVEL_ERROR, "%s: keyring %s: no memory", function, s->keyring->name);
        return CKR_HOST_MEMORY;
    case PPK_NOT_FOUND:
    case PPK_REFUSED:
    case PPK_UNREACHABLE:
    case PPK_DUPLICATE:
        break;
    }
    log_write(LOG_LEVEL_WARNING, "%s: keyring %s: %s", function, s->keyring->name,
              fault->text[0] != '\0' ? fault->text : "no key source has this PPK");
    return CKR_DEVICE_ERROR;
}

/* Asks for the ID under a remote system ID that several peers may have: each of their profiles once. */
static enum ppk_result fetch_by_remote(struct search *q, struct ppk **out, struct fault *fault)
{
    const struct peer *asked[16];
    const struct peer *p;
    enum ppk_result result = PPK_NOT_FOUND, last;
    size_t cursor = 0, n = 0;

    while (n < sizeof asked / sizeof asked[0] &&
           (p = keyring_peer_by_system_id(q->slot->keyring, q->remote_text, strlen(q->remote_text),
                                          &cursor)) != NULL) {
        bool again = p->dynamic == NULL;
        for (size_t i = 0; i < n; i++)
            again |= asked[i]->dynamic == p->dynamic;
        if (again)
            continue;
        asked[n++] = p;
        last = ppk_store_find(q->slot->store, span_of(q->id), p, q->remote_text, out, fault);
        if (last == PPK_OK)
            return last;
        if (last != PPK_NOT_FOUND)
            result = last;
    }
    if (n == 0)
        return ppk_store_find(q->slot->store, span_of(q->id), NULL, q->remote_text, out, fault);
    return result;
}

static bool any_manual(const struct search *q)
{
    struct objects *objects = q->slot->library->objects;
    bool any = false;

    for (size_t i = 0; i < q->n_handles && !any; i++) {
        struct object *o = object_get(objects, q->handles[i]);
        any = o != NULL && o->kind == OBJECT_MANUAL;
        object_put(objects, o);
    }
    return any;
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
    struct fault fault = {0};
    struct ppk *ppk = NULL;
    enum ppk_result result;

    if (!by_id)
        result = ppk_store_next(q->slot->store, (q->who != NULL ? q->who : peer_by_remote(q))->peer,
                                remote_of(q), &ppk, &fault);
    else if (q->who == NULL && remote_of(q) != NULL)
        result = fetch_by_remote(q, &ppk, &fault);
    else
        result = ppk_store_find(q->slot->store, span_of(q->id), q->who == NULL ? NULL : q->who->peer,
                                remote_of(q), &ppk, &fault);
    note_fetched(q, result == PPK_OK ? ppk : NULL);
    if (by_id) {
        q->n_handles = 0;
        add(q, q->fetched);
        keep_matching(q);
        if (result != PPK_OK && result != PPK_NOT_FOUND)
            q->rv = fetch_rv(q->slot, "C_FindObjects", result, &fault);
        return;
    }
    collect(q);
    /* A peer whose key source fails still has its manual PPKs; an old dynamic PPK is no substitute for a new
     * one. */
    if (result != PPK_OK) {
        CK_RV rv = fetch_rv(q->slot, "C_FindObjects", result, &fault);
        if (!any_manual(q))
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
    if (run_local(q))
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
