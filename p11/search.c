/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/search.h"

#include "p11/attribute.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static bool add(void *context, CK_OBJECT_HANDLE handle)
{
    struct search *q = context;

    if (handle == CK_INVALID_HANDLE)
        return true;
    if (q->n_handles == q->room) {
        const bool inside = q->handles == q->handles_inline;
        const size_t room = q->room < SEARCH_HANDLES_INLINE ? SEARCH_HANDLES_INLINE : q->room * 2;
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
    uint8_t bytes[2][SEARCH_ID_MAX];
    const struct span both[2] = {a, b};
    struct span raw[2];

    if (span_equal(a, b))
        return true;
    for (int i = 0; i < 2; i++) {
        raw[i] = both[i];
        if (a.len != b.len && both[i].len < both[1 - i].len)
            continue; /* the shorter one can only be the bytes */
        if (both[i].len / 2 > SEARCH_ID_MAX || !hex_is((const char *)both[i].data, both[i].len) ||
            !hex_decode(bytes[i], (const char *)both[i].data, both[i].len))
            return false;
        raw[i] = (struct span){bytes[i], both[i].len / 2};
    }
    return span_equal(raw[0], raw[1]);
}

/* Is it of the peer that the address names? (q->who is NULL where a label beside it is no peer's: a
 * pre-shared key's.) */
static bool address_matches(const struct search *q, const struct object *o, struct span address)
{
    const struct peer *named = keyring_peer_by_address(slot_keyring(q->slot), address.data, address.len);

    return named != NULL && object_peer(o) == slot_peer_of(q->slot, named);
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
        return address_matches(q, o, search_span(a));
    if (a->type == CKA_PPK_REMOTE_SYSTEM_ID && o->of != NULL && q->fetched == object_handle(o))
        return true;
    if (attribute_value(q->slot, o, row, &v) != CKR_OK)
        return false;
    if (a->type == CKA_ID && configured)
        same = id_same((struct span){v.data, v.len}, search_span(a));
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
    const struct object_future future = {{.kind = OBJECT_PPK, .slot = q->slot->id}, who};

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
            if (!value_matches(q, &future.object, a))
                return false;
        }
    }
    return true;
}

const char *search_remote(const struct search *q)
{
    return q->remote_text[0] == '\0' ? NULL : q->remote_text;
}

/* A peer that is named by nothing but its remote system ID: the first with dynamic PPKs. */
const struct slot_peer *search_peer_by_remote(const struct search *q)
{
    const struct keyring *k = slot_keyring(q->slot);
    const struct peer *p;
    size_t cursor = 0;

    while ((p = keyring_peer_by_system_id(k, q->remote_text, strlen(q->remote_text), &cursor)) != NULL)
        if (p->dynamic != NULL)
            break;
    return slot_peer_of(q->slot, p);
}

static void add_psk(struct search *q, const struct slot_peer *who)
{
    const struct slot_keys *keys = atomic_load(&who->keys);

    if (keys->psk != NULL)
        add(q, keys->psk->handle);
}

static void add_peer(struct search *q, const struct slot_peer *who)
{
    const struct slot_keys *keys = atomic_load(&who->keys);

    ppk_store_each(q->slot->store, who->peer, add_ppk, q);
    for (size_t i = 0; i < keys->n_manual; i++)
        add(q, keys->manual[i]->handle);
    add_psk(q, who);
    add(q, who->data);
}

static void add_peers_by_remote(struct search *q)
{
    const struct keyring *k = slot_keyring(q->slot);
    const struct slot_peer *who;
    const struct peer *p;
    size_t cursor = 0;

    while ((p = keyring_peer_by_system_id(k, q->remote_text, strlen(q->remote_text), &cursor)) != NULL) {
        who = slot_peer_of(q->slot, p);
        if (who != NULL)
            add_peer(q, who);
    }
}

/* Those of this ID, and those whose ID is hex text of these bytes. */
static void add_manual(struct search *q, struct span id)
{
    const struct slot_view *v = slot_view(q->slot);
    const struct slot_key *m;
    const struct manual_hex *h;

    if ((v->manual_lengths >> id.len % 64 & 1) == 0)
        return;
    m = table_get(v->manual_by_id, id);
    if (m != NULL)
        add(q, m->handle);
    for (h = table_get(v->manual_by_bytes, id); h != NULL; h = h->next)
        add(q, h->key->handle);
}

/* Manual PPKs of this ID, or of another way to write it. */
static void add_manuals(struct search *q, struct span id)
{
    uint8_t bytes[SEARCH_ID_MAX];
    size_t kept = 0;

    if (id.len > SEARCH_ID_MAX)
        return;
    add_manual(q, id);
    if (hex_is((const char *)id.data, id.len) && hex_decode(bytes, (const char *)id.data, id.len))
        add_manual(q, (struct span){bytes, id.len / 2});
    for (size_t i = 0; i < q->n_handles; i++) { /* each once */
        size_t k = 0;
        while (k < kept && q->handles[k] != q->handles[i])
            k++;
        if (k == kept)
            q->handles[kept++] = q->handles[i];
    }
    q->n_handles = kept;
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
    const struct slot_peer *who;

    if (len <= n || memcmp((const char *)q->label->pValue + len - n, suffix, n) != 0)
        return;
    who = slot_peer_of(q->slot, keyring_peer_by_name(slot_keyring(q->slot), q->label->pValue, len - n));
    if (who != NULL)
        add_psk(q, who);
}

static void add_kek_of_label(struct search *q)
{
    const struct slot_view *v = slot_view(q->slot);
    const struct kek *kek = keyring_kek_by_name(v->keyring, q->label->pValue, q->label->ulValueLen);

    if (kek != NULL)
        add(q, v->keks[kek - v->keyring->keks]->handle);
}

/* What a search without ID finds, once what it had to fetch is here (q->fetched). */
void search_complete(struct search *q)
{
    const struct span label = search_span(q->label);

    if (label.len == 0 && q->who == NULL && search_remote(q) == NULL) {
        add_all(q);
        return;
    }
    add(q, q->fetched);
    if (q->who != NULL)
        add_peer(q, q->who);
    else if (!q->nobody && search_remote(q) != NULL)
        add_peers_by_remote(q);
    if (label.len > 0) {
        keys_each(q->slot->library->keys, q->slot->id, KEY_BY_LABEL, label, add, q);
        add_psk_of_label(q);
        add_kek_of_label(q);
    }
    keep_matching(q);
}

/* Does a PPK match that is held (q->fetched)? Its entry in the table of objects is left alone: among a
 * million it would have to come from memory. */
static bool held_matches(const struct search *q, struct ppk *held)
{
    const struct object o = object_shadow(q->fetched, OBJECT_PPK, q->slot->id, held);

    return slot_shows(q->slot, &o) && matches(q, &o);
}

/* What is here of an ID. True: a PPK of this ID is among it, whether it matches or not, so that there is
 * nothing to ask for. */
static bool collect_by_id(struct search *q)
{
    const struct span id = search_span(q->id);
    struct ppk *held = NULL;
    bool here;

    add_manuals(q, id);
    here = q->n_handles > 0;
    keys_each(q->slot->library->keys, q->slot->id, KEY_BY_ID, id, add, q);
    if (slot_view(q->slot)->any_dynamic)
        held = ppk_store_held(q->slot->store, id);
    keep_matching(q);
    if (held != NULL) {
        q->fetched = atomic_load(&held->handle);
        if (q->fetched != CK_INVALID_HANDLE && held_matches(q, held))
            add(q, q->fetched);
        ppk_release(held);
        here = true;
    }
    return here || q->n_handles > 0;
}

/* Runs as far as that is possible without a key source. True: it is done. */
bool search_local(struct search *q)
{
    const struct slot_peer *who = q->who;

    if (q->id != NULL && q->id->ulValueLen > 0) {
        if (collect_by_id(q) || !slot_view(q->slot)->any_dynamic || q->id->ulValueLen > SEARCH_ID_MAX ||
            !admits_ppk(q, who))
            return true;
        return who != NULL && who->peer->dynamic == NULL;
    }
    if (who == NULL && !q->nobody && q->label == NULL && search_remote(q) != NULL)
        who = search_peer_by_remote(q);
    if (q->id == NULL && who != NULL && who->peer->dynamic != NULL && admits_ppk(q, who))
        return false;
    search_complete(q);
    return true;
}

bool search_has_manual(const struct search *q)
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

void search_complete_by_id(struct search *q)
{
    q->n_handles = 0;
    add(q, q->fetched);
    keep_matching(q);
}
