/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots and tokens: a keyring is a slot, and its token is in it as long as it is configured. */
#include "p11/generation.h"

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

/* The configuration's secret behind an object, or NULL. */
static const struct config_secret *config_secret_of(const struct object *o)
{
    return o->kind == OBJECT_PSK || o->kind == OBJECT_MANUAL || o->kind == OBJECT_KEK
               ? atomic_load(&((const struct slot_key *)o->of)->secret)
               : NULL;
}

bool slot_object_private(const struct slot *s, const struct object *o)
{
    const struct config_secret *secret = config_secret_of(o);

    if (o->kind == OBJECT_KEY)
        return (atomic_load_explicit(&((const struct key *)o->of)->flags, memory_order_relaxed) &
                FLAG_PRIVATE) != 0;
    return secret != NULL && secret->sealed != NULL && slot_view(s)->login_required;
}

bool slot_shows(const struct slot *s, const struct object *o)
{
    const struct config_secret *secret = config_secret_of(o);

    if (secret != NULL && atomic_load(&secret->value) == NULL)
        return false;
    return !slot_view(s)->login_required || atomic_load(&s->logged_in) || !slot_object_private(s, o);
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
    object_publish(o, OBJECT_PPK, s->id, ppk);
    status_publisher_nudge(s->library->publisher);
}

static void ppk_removed(void *context, struct ppk *ppk)
{
    struct slot *s = context;

    object_remove(s->library->objects, atomic_load(&ppk->handle));
}

static void peer_known(void *tag)
{
    atomic_fetch_add(&((struct slot_peer *)tag)->refs, 1);
}

static void peer_forgotten(void *tag)
{
    slot_peer_release(tag);
}

struct slot *slot_new(struct library *l, uint16_t id, const char *name)
{
    static const struct configuration none;
    struct slot *s = calloc(1, sizeof *s);
    const struct ppk_events events = {ppk_added, ppk_removed, peer_known, peer_forgotten, s};

    if (s == NULL)
        return NULL;
    const struct ppk_source nothing = {.configuration = &none, .keyring = &s->absent};
    s->id = id;
    s->library = l;
    s->name = strdup(name);
    s->absent.name = s->name;
    s->absent.derived_sensitive = true; /* it may have been: a call may still be under way */
    pthread_mutex_init(&s->lock, NULL);
    random_pool_init(&s->random);
    s->store = ppk_store_new(&nothing, &events);
    if (s->name != NULL && s->store != NULL)
        return s;
    slot_free(s);
    return NULL;
}

void slot_free(struct slot *s)
{
    if (s == NULL)
        return;
    ppk_store_free(s->store);
    random_pool_clear(&s->random);
    pthread_mutex_destroy(&s->lock);
    free(s->name);
    free(s);
}

const struct slot_peer *slot_peer_of(const struct slot *s, const struct peer *p)
{
    const struct slot_view *v = slot_view(s);

    if (p != NULL && p->keyring != v->keyring)
        p = keyring_peer_by_name(v->keyring, p->name, strlen(p->name));
    return p == NULL ? NULL : v->peers[p - v->keyring->peers];
}

/* What an application asks for the length of the list, the slots are counted; what is new until then is told
 * the next time (PKCS#11 3.1, 5.5.1). */
CK_RV slot_list(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *count)
{
    struct library *l = library_now();
    CK_ULONG n = 0, room;
    size_t n_slots;

    if (count == NULL)
        return CKR_ARGUMENTS_BAD;
    if (list == NULL)
        atomic_store(&l->n_told, atomic_load(&l->n_slots));
    n_slots = atomic_load(&l->n_told);
    room = *count;
    for (CK_SLOT_ID i = 0; i < n_slots; i++) {
        if (present != CK_FALSE && !slot_view(library_slot(i))->present)
            continue;
        if (list != NULL && n < room)
            list[n] = i;
        n++;
    }
    *count = n;
    return list != NULL && n > room ? CKR_BUFFER_TOO_SMALL : CKR_OK;
}

CK_RV slot_info(CK_SLOT_ID id, CK_SLOT_INFO *info)
{
    const struct slot *s = library_slot(id);
    struct text description = {0};

    if (s == NULL)
        return CKR_SLOT_ID_INVALID;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    text_printf(&description, "PPK keyring %s", s->name);
    if (description.failed) {
        text_free(&description);
        return CKR_HOST_MEMORY;
    }
    memset(info, 0, sizeof *info);
    pad_blank(info->slotDescription, sizeof info->slotDescription, description.s);
    pad_blank(info->manufacturerID, sizeof info->manufacturerID, MANUFACTURER);
    info->flags = CKF_REMOVABLE_DEVICE | (slot_view(s)->present ? CKF_TOKEN_PRESENT : 0);
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
    const struct slot_view *v;

    if (s == NULL)
        return CKR_SLOT_ID_INVALID;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    v = slot_view(s);
    if (!v->present)
        return CKR_TOKEN_NOT_PRESENT;
    memset(info, 0, sizeof *info);
    pad_blank(info->label, sizeof info->label, s->name);
    pad_blank(info->manufacturerID, sizeof info->manufacturerID, MANUFACTURER);
    pad_blank(info->model, sizeof info->model, "RFC 8784 PPKs");
    serial(info->serialNumber, s->name);
    info->flags = CKF_RNG | CKF_TOKEN_INITIALIZED;
    info->ulMaxSessionCount = CK_EFFECTIVELY_INFINITE;
    info->ulMaxRwSessionCount = CK_EFFECTIVELY_INFINITE;
    pthread_mutex_lock(&s->lock);
    info->ulSessionCount = s->sessions;
    info->ulRwSessionCount = s->rw_sessions;
    if (v->login_required)
        info->flags |= CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED |
                       (s->failed_logins > 0 ? CKF_USER_PIN_COUNT_LOW : 0);
    pthread_mutex_unlock(&s->lock);
    info->ulMaxPinLen = v->login_required ? PIN_LEN_MAX : 0;
    info->ulMinPinLen = v->login_required ? PIN_LEN_MIN : 0;
    info->ulTotalPublicMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulTotalPrivateMemory = CK_UNAVAILABLE_INFORMATION;
    info->ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
    info->firmwareVersion = (CK_VERSION){PPK_VERSION_MAJOR, PPK_VERSION_MINOR};
    memset(info->utcTime, ' ', sizeof info->utcTime);
    return CKR_OK;
}

static CK_RV token_check(CK_SLOT_ID id)
{
    const struct slot *s = library_slot(id);

    return s == NULL ? CKR_SLOT_ID_INVALID : slot_view(s)->present ? CKR_OK : CKR_TOKEN_NOT_PRESENT;
}

CK_RV slot_mechanism_list(CK_SLOT_ID id, CK_MECHANISM_TYPE *list, CK_ULONG *count)
{
    size_t n;
    const struct mechanism *all = mechanism_all(&n);
    CK_RV rv = token_check(id);

    if (rv != CKR_OK)
        return rv;
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
    CK_RV rv = token_check(id);

    if (rv != CKR_OK)
        return rv;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    if (m == NULL)
        return CKR_MECHANISM_INVALID;
    info->ulMinKeySize = m->min;
    info->ulMaxKeySize = m->max;
    info->flags = m->flags;
    return CKR_OK;
}
