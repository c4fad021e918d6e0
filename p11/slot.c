/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots and tokens: a keyring is a slot, and its token is always in it. */
#include "p11/library.h"

#include "base/log.h"
#include "p11/mechanism.h"
#include "status/publisher.h"

#include <stdlib.h>
#include <string.h>

#define MANUFACTURER "ppk-pkcs11"
#define PIN_LEN_MIN  1
#define PIN_LEN_MAX  512

void pad_blank(CK_UTF8CHAR *field, size_t size, const char *text)
{
    size_t len = strlen(text);

    if (len > size) {
        len = size;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    memset(field, ' ', size);
    memcpy(field, text, len); /* NOLINT(bugprone-not-null-terminated-result): as the standard wants it */
}

static bool secret_sealed(const struct config_secret *s)
{
    return s->sealed != NULL && atomic_load(&s->value) == NULL;
}

/* Does anything of this keyring, or of the profiles that it uses, need the master key? */
static bool keyring_sealed(const struct keyring *k)
{
    for (size_t i = 0; i < k->n_keks; i++)
        if (secret_sealed(&k->keks[i].key))
            return true;
    for (size_t i = 0; i < k->n_peers; i++) {
        const struct peer *p = &k->peers[i];
        if (secret_sealed(&p->psk) || (p->dynamic != NULL && secret_sealed(&p->dynamic->psk)))
            return true;
        for (size_t m = 0; m < p->n_manual; m++)
            if (secret_sealed(&p->manual[m].key))
                return true;
    }
    return false;
}

/* The configuration's secret behind an object, or NULL. */
static const struct config_secret *config_secret_of(const struct object *o)
{
    if (o->kind == OBJECT_PSK)
        return &((const struct slot_peer *)o->of)->peer->psk;
    if (o->kind == OBJECT_MANUAL)
        return &((const struct manual_ppk *)o->of)->key;
    if (o->kind == OBJECT_KEK)
        return &((const struct kek *)o->of)->key;
    return NULL;
}

bool slot_object_private(const struct slot *s, const struct object *o)
{
    const struct config_secret *secret = config_secret_of(o);

    if (o->kind == OBJECT_KEY)
        return (atomic_load_explicit(&((const struct key *)o->of)->flags, memory_order_relaxed) &
                FLAG_PRIVATE) != 0;
    return secret != NULL && secret->sealed != NULL && s->login_required;
}

bool slot_shows(const struct slot *s, const struct object *o)
{
    const struct config_secret *secret = config_secret_of(o);

    if (secret != NULL && atomic_load(&secret->value) == NULL)
        return false;
    return !s->login_required || atomic_load(&s->logged_in) || !slot_object_private(s, o);
}

/* The store tells what comes and goes. */
static void ppk_added(void *context, struct ppk *ppk)
{
    struct slot *s = context;
    struct object *o = object_reserve(s->library->objects);

    if (o == NULL)
        return; /* who asked for it finds that it has no handle */
    ppk_ref(ppk);
    atomic_store(&ppk->handle, object_handle(o));
    object_publish(o, OBJECT_PPK, s->id, ppk, &s->peers[ppk->peer - s->keyring->peers]);
    status_publisher_nudge(s->library->publisher);
}

static void ppk_removed(void *context, struct ppk *ppk)
{
    struct slot *s = context;

    object_remove(s->library->objects, atomic_load(&ppk->handle));
}

static char *psk_label(const char *name)
{
    struct text t = {0};

    text_printf(&t, "%s/psk", name);
    if (t.failed) {
        text_free(&t);
        return NULL;
    }
    return t.s;
}

/* A peer's objects: its description, its pre-shared key, its manual PPKs. */
static bool peer_make(struct slot *s, struct slot_peer *sp, struct manual_handle *manual)
{
    const struct peer *p = sp->peer;
    struct objects *objects = s->library->objects;

    sp->psk_label = psk_label(p->name);
    sp->manual = p->n_manual == 0 ? NULL : calloc(p->n_manual, sizeof *sp->manual);
    sp->data = object_add(objects, OBJECT_PEER, s->id, sp, sp);
    if (sp->psk_label == NULL || (sp->manual == NULL && p->n_manual > 0) || sp->data == CK_INVALID_HANDLE)
        return false;
    if (p->psk.sealed != NULL || atomic_load(&p->psk.value) != NULL) {
        sp->psk = object_add(objects, OBJECT_PSK, s->id, sp, sp);
        if (sp->psk == CK_INVALID_HANDLE)
            return false;
    }
    for (size_t i = 0; i < p->n_manual; i++) {
        sp->manual[i] = object_add(objects, OBJECT_MANUAL, s->id, &p->manual[i], sp);
        manual[i].handle = sp->manual[i];
        if (sp->manual[i] == CK_INVALID_HANDLE || !table_add(s->manual_by_id, p->manual[i].id, &manual[i]))
            return false;
    }
    return true;
}

static bool keks_make(struct slot *s)
{
    const struct keyring *k = s->keyring;

    s->keks = calloc(k->n_keks + 1, sizeof *s->keks);
    for (size_t i = 0; s->keks != NULL && i < k->n_keks; i++) {
        s->keks[i] = object_add(s->library->objects, OBJECT_KEK, s->id, &k->keks[i], NULL);
        if (s->keks[i] == CK_INVALID_HANDLE)
            return false;
    }
    return s->keks != NULL;
}

static bool slot_make(struct slot *s, struct manual_handle **manual)
{
    const struct ppk_events events = {ppk_added, ppk_removed, s};
    const struct keyring *k = s->keyring;

    s->login_required = keyring_sealed(k);
    s->peers = calloc(k->n_peers == 0 ? 1 : k->n_peers, sizeof *s->peers);
    s->manual_by_id = table_new();
    if (s->peers == NULL || s->manual_by_id == NULL || !keks_make(s))
        return false;
    for (size_t i = 0; i < k->n_peers; i++) {
        s->peers[i].peer = &k->peers[i];
        s->any_dynamic |= k->peers[i].dynamic != NULL;
        if (!peer_make(s, &s->peers[i], *manual))
            return false;
        *manual += k->peers[i].n_manual;
    }
    s->store = ppk_store_new(s->library->configuration, k, s->library->profiles, &events);
    return s->store != NULL;
}

bool slots_make(struct library *l)
{
    const struct configuration *c = l->configuration;
    struct manual_handle *manual;
    size_t n_manual = 0;

    l->slots = calloc(c->n_keyrings == 0 ? 1 : c->n_keyrings, sizeof *l->slots);
    for (size_t i = 0; i < c->n_keyrings; i++)
        for (size_t p = 0; p < c->keyrings[i].n_peers; p++)
            n_manual += c->keyrings[i].peers[p].n_manual;
    l->manual_handles = calloc(n_manual + 1, sizeof *l->manual_handles);
    if (l->slots == NULL || l->manual_handles == NULL || c->n_keyrings > UINT16_MAX)
        return false;
    manual = l->manual_handles;
    for (size_t i = 0; i < c->n_keyrings; i++) {
        struct slot *s = &l->slots[i];
        s->id = (uint16_t)i;
        s->library = l;
        s->keyring = &c->keyrings[i];
        pthread_mutex_init(&s->lock, NULL);
        random_pool_init(&s->random);
        l->n_slots++;
        if (!slot_make(s, &manual))
            return false;
    }
    return true;
}

void slots_free(struct library *l)
{
    for (size_t i = 0; i < l->n_slots; i++)
        ppk_store_free(l->slots[i].store);
    objects_free(l->objects);
    l->objects = NULL;
    for (size_t i = 0; i < l->n_slots; i++) {
        struct slot *s = &l->slots[i];
        for (size_t p = 0; s->peers != NULL && p < s->keyring->n_peers; p++) {
            free(s->peers[p].psk_label);
            free(s->peers[p].manual);
        }
        free(s->peers);
        free(s->keks);
        table_free(s->manual_by_id);
        random_pool_clear(&s->random);
        pthread_mutex_destroy(&s->lock);
    }
    free(l->slots);
    free(l->manual_handles);
}

CK_RV slot_list(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *count)
{
    const struct library *l = library_now();
    CK_RV rv = CKR_OK;

    (void)present; /* a token is in every slot */
    if (count == NULL)
        return CKR_ARGUMENTS_BAD;
    if (list != NULL && *count < l->n_slots)
        rv = CKR_BUFFER_TOO_SMALL;
    for (size_t i = 0; list != NULL && rv == CKR_OK && i < l->n_slots; i++)
        list[i] = i;
    *count = l->n_slots;
    return rv;
}

CK_RV slot_info(CK_SLOT_ID id, CK_SLOT_INFO *info)
{
    const struct slot *s = library_slot(id);
    struct text description = {0};

    if (s == NULL)
        return CKR_SLOT_ID_INVALID;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    text_printf(&description, "PPK keyring %s", s->keyring->name);
    if (description.failed) {
        text_free(&description);
        return CKR_HOST_MEMORY;
    }
    memset(info, 0, sizeof *info);
    pad_blank(info->slotDescription, sizeof info->slotDescription, description.s);
    pad_blank(info->manufacturerID, sizeof info->manufacturerID, MANUFACTURER);
    info->flags = CKF_TOKEN_PRESENT;
    info->firmwareVersion = (CK_VERSION){PPK_VERSION_MAJOR, PPK_VERSION_MINOR};
    text_free(&description);
    return CKR_OK;
}

/* A number that stays the same for a keyring of this name: FNV-1a, in 16 hex digits. */
static void serial(CK_CHAR out[static 16], const char *name)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t h = 0xcbf29ce484222325UL;

    for (const char *c = name; *c != '\0'; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3UL;
    for (int i = 0; i < 16; i++)
        out[i] = (CK_CHAR)digits[h >> (60 - 4 * i) & 0xf];
}

CK_RV slot_token_info(CK_SLOT_ID id, CK_TOKEN_INFO *info)
{
    struct slot *s = library_slot(id);

    if (s == NULL)
        return CKR_SLOT_ID_INVALID;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    memset(info, 0, sizeof *info);
    pad_blank(info->label, sizeof info->label, s->keyring->name);
    pad_blank(info->manufacturerID, sizeof info->manufacturerID, MANUFACTURER);
    pad_blank(info->model, sizeof info->model, "RFC 8784 PPKs");
    serial(info->serialNumber, s->keyring->name);
    info->flags = CKF_RNG | CKF_TOKEN_INITIALIZED;
    info->ulMaxSessionCount = CK_EFFECTIVELY_INFINITE;
    info->ulMaxRwSessionCount = CK_EFFECTIVELY_INFINITE;
    pthread_mutex_lock(&s->lock);
    info->ulSessionCount = s->sessions;
    info->ulRwSessionCount = s->rw_sessions;
    if (s->login_required)
        info->flags |= CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED |
                       (s->failed_logins > 0 ? CKF_USER_PIN_COUNT_LOW : 0);
    pthread_mutex_unlock(&s->lock);
    info->ulMaxPinLen = s->login_required ? PIN_LEN_MAX : 0;
    info->ulMinPinLen = s->login_required ? PIN_LEN_MIN : 0;
    info->ulTotalPublicMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulTotalPrivateMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
    info->firmwareVersion = (CK_VERSION){PPK_VERSION_MAJOR, PPK_VERSION_MINOR};
    memset(info->utcTime, ' ', sizeof info->utcTime);
    return CKR_OK;
}

CK_RV slot_mechanism_list(CK_SLOT_ID id, CK_MECHANISM_TYPE *list, CK_ULONG *count)
{
    size_t n;
    const struct mechanism *all = mechanism_all(&n);
    CK_RV rv = CKR_OK;

    if (library_slot(id) == NULL)
        return CKR_SLOT_ID_INVALID;
    if (count == NULL)
        return CKR_ARGUMENTS_BAD;
    if (list != NULL && *count < n)
        rv = CKR_BUFFER_TOO_SMALL;
    for (size_t i = 0; list != NULL && rv == CKR_OK && i < n; i++)
        list[i] = all[i].type;
    *count = n;
    return rv;
}

CK_RV slot_mechanism_info(CK_SLOT_ID id, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
    const struct mechanism *m = mechanism_find(type);

    if (library_slot(id) == NULL)
        return CKR_SLOT_ID_INVALID;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    if (m == NULL)
        return CKR_MECHANISM_INVALID;
    info->ulMinKeySize = m->min;
    info->ulMaxKeySize = m->max;
    info->flags = m->flags;
    return CKR_OK;
}
