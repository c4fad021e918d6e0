/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/session.h"

#include "base/log.h"
#include "p11/find.h"
#include "p11/generation.h"
#include "status/publisher.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

/* A handle: generation << 20 | index; generations begin at 1. */
#define INDEX_BITS 20
#define INDEX_MASK ((1UL << INDEX_BITS) - 1)
#define CHUNK      64U
#define CHUNKS     ((1U << INDEX_BITS) / CHUNK)

#define PIN_MAX 512 /* a master key's length, config/type6.h */

struct sessions {
    _Atomic(struct session *) *chunks;
    pthread_mutex_t lock; /* of what follows */
    uint32_t n_chunks;
    struct session *free;
};

struct sessions *sessions_new(void)
{
    struct sessions *ss = calloc(1, sizeof *ss);

    if (ss == NULL)
        return NULL;
    ss->chunks = calloc(CHUNKS, sizeof *ss->chunks);
    if (ss->chunks == NULL) {
        free(ss);
        return NULL;
    }
    pthread_mutex_init(&ss->lock, NULL);
    return ss;
}

static struct session *session_at(uint64_t index)
{
    struct session *chunk =
        atomic_load_explicit(&library_now()->sessions->chunks[index / CHUNK], memory_order_acquire);

    return chunk == NULL ? NULL : &chunk[index % CHUNK];
}

CK_RV session_peek(CK_SESSION_HANDLE handle, struct slot **slot, bool *rw)
{
    struct session *s = session_at(handle & INDEX_MASK);

    if (s == NULL || handle == 0 || atomic_load_explicit(&s->handle, memory_order_acquire) != handle)
        return CKR_SESSION_HANDLE_INVALID;
    *slot = atomic_load_explicit(&s->slot, memory_order_relaxed);
    if (rw != NULL)
        *rw = atomic_load_explicit(&s->rw, memory_order_relaxed);
    return CKR_OK;
}

struct session *session_lock_any(CK_SESSION_HANDLE handle)
{
    struct session *s = session_at(handle & INDEX_MASK);

    pthread_mutex_lock(&s->lock);
    return s;
}

CK_RV session_lock(CK_SESSION_HANDLE handle, struct session **out)
{
    struct session *s = session_at(handle & INDEX_MASK);

    if (s == NULL || handle == 0)
        return CKR_SESSION_HANDLE_INVALID;
    pthread_mutex_lock(&s->lock);
    if (atomic_load_explicit(&s->handle, memory_order_relaxed) != handle) {
        pthread_mutex_unlock(&s->lock);
        return CKR_SESSION_HANDLE_INVALID;
    }
    *out = s;
    return CKR_OK;
}

void session_unlock(struct session *s)
{
    pthread_mutex_unlock(&s->lock);
}

/* Under ss->lock. */
static bool grow(struct sessions *ss)
{
    struct session *chunk =
        ss->n_chunks < CHUNKS ? aligned_alloc(_Alignof(struct session), CHUNK * sizeof *chunk) : NULL;

    if (chunk == NULL)
        return false;
    memset(chunk, 0, CHUNK * sizeof *chunk);
    for (uint32_t i = CHUNK; i-- > 0;) {
        pthread_mutex_init(&chunk[i].lock, NULL);
        chunk[i].index = ss->n_chunks * CHUNK + i;
        chunk[i].next_free = ss->free;
        ss->free = &chunk[i];
    }
    atomic_store_explicit(&ss->chunks[ss->n_chunks], chunk, memory_order_release);
    ss->n_chunks++;
    return true;
}

static struct session *session_take(struct sessions *ss)
{
    struct session *s = NULL;

    pthread_mutex_lock(&ss->lock);
    if (ss->free != NULL || grow(ss)) {
        s = ss->free;
        ss->free = s->next_free;
    }
    pthread_mutex_unlock(&ss->lock);
    return s;
}

CK_RV session_open(CK_SLOT_ID id, CK_FLAGS flags, CK_SESSION_HANDLE *handle)
{
    struct slot *slot = library_slot(id);
    const bool rw = (flags & CKF_RW_SESSION) != 0;
    struct session *s;

    if (handle == NULL)
        return CKR_ARGUMENTS_BAD;
    if (slot == NULL)
        return CKR_SLOT_ID_INVALID;
    if (!slot_view(slot)->present)
        return CKR_TOKEN_NOT_PRESENT;
    if ((flags & CKF_SERIAL_SESSION) == 0)
        return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
    if ((flags & ~(CKF_SERIAL_SESSION | CKF_RW_SESSION)) != 0)
        return CKR_ARGUMENTS_BAD;
    s = session_take(library_now()->sessions);
    if (s == NULL)
        return CKR_HOST_MEMORY;
    pthread_mutex_lock(&slot->lock);
    slot->sessions++;
    slot->rw_sessions += rw ? 1 : 0;
    pthread_mutex_unlock(&slot->lock);
    pthread_mutex_lock(&s->lock);
    s->generation++;
    atomic_store(&s->slot, slot);
    atomic_store(&s->rw, rw);
    *handle = (CK_SESSION_HANDLE)s->generation << INDEX_BITS | s->index;
    atomic_store(&s->handle, *handle);
    pthread_mutex_unlock(&s->lock);
    atomic_thread_fence(memory_order_seq_cst);
    if (!slot_view(slot)->present) { /* it went meanwhile, and who closes its sessions may not have seen us */
        (void)session_close(*handle);
        return CKR_TOKEN_NOT_PRESENT;
    }
    status_publisher_begin(library_now()->publisher);
    return CKR_OK;
}

/* Ends what the session owns; it is locked. */
static void session_end(struct session *s)
{
    atomic_store(&s->handle, 0);
    mac_end(&s->sign);
    mac_end(&s->verify);
    search_free(s->search);
    s->search = NULL;
    s->search_away = false;
    keys_end_session(s);
}

static void slot_logout(struct slot *slot);

CK_RV session_close(CK_SESSION_HANDLE handle)
{
    struct sessions *ss = library_now()->sessions;
    struct session *s;
    struct slot *slot;
    CK_RV rv = session_lock(handle, &s);
    bool rw;

    if (rv != CKR_OK)
        return rv;
    slot = atomic_load(&s->slot);
    rw = atomic_load(&s->rw);
    session_end(s);
    session_unlock(s);
    pthread_mutex_lock(&slot->lock);
    slot->sessions--;
    slot->rw_sessions -= rw ? 1 : 0;
    if (slot->sessions == 0 && atomic_load(&slot->logged_in))
        slot_logout(slot);
    pthread_mutex_unlock(&slot->lock);
    pthread_mutex_lock(&ss->lock);
    s->next_free = ss->free;
    ss->free = s;
    pthread_mutex_unlock(&ss->lock);
    return CKR_OK;
}

static void close_where(const struct slot *slot)
{
    struct sessions *ss = library_now()->sessions;
    uint32_t n;

    pthread_mutex_lock(&ss->lock);
    n = ss->n_chunks * CHUNK;
    pthread_mutex_unlock(&ss->lock);
    for (uint32_t i = 0; i < n; i++) {
        struct session *s = session_at(i);
        CK_SESSION_HANDLE handle = atomic_load(&s->handle);
        if (handle != 0 && (slot == NULL || atomic_load(&s->slot) == slot))
            session_close(handle); /* it may have been closed meanwhile */
    }
}

CK_RV session_close_all(CK_SLOT_ID id)
{
    struct slot *slot = library_slot(id);

    if (slot == NULL)
        return CKR_SLOT_ID_INVALID;
    close_where(slot);
    return CKR_OK;
}

void session_close_slot(const struct slot *slot)
{
    close_where(slot);
}

void sessions_free(struct sessions *ss)
{
    if (ss == NULL)
        return;
    close_where(NULL);
    for (uint32_t c = 0; c < ss->n_chunks; c++) {
        struct session *chunk = atomic_load(&ss->chunks[c]);
        for (uint32_t i = 0; i < CHUNK; i++)
            pthread_mutex_destroy(&chunk[i].lock);
        free(chunk);
    }
    pthread_mutex_destroy(&ss->lock);
    free((void *)ss->chunks);
    free(ss);
}

CK_RV session_info(CK_SESSION_HANDLE handle, CK_SESSION_INFO *info)
{
    struct slot *slot;
    bool rw, user;
    CK_RV rv = session_peek(handle, &slot, &rw);

    if (rv != CKR_OK)
        return rv;
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    user = atomic_load(&slot->logged_in);
    info->slotID = slot->id;
    info->state = rw ? (user ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION)
                     : (user ? CKS_RO_USER_FUNCTIONS : CKS_RO_PUBLIC_SESSION);
    info->flags = CKF_SERIAL_SESSION | (rw ? CKF_RW_SESSION : 0);
    info->ulDeviceError = 0;
    return CKR_OK;
}

CK_RV session_cancel(CK_SESSION_HANDLE handle, CK_FLAGS flags)
{
    struct session *s;
    CK_RV rv = session_lock(handle, &s);

    if (rv != CKR_OK)
        return rv;
    if ((flags & CKF_SIGN) != 0)
        mac_end(&s->sign);
    if ((flags & CKF_VERIFY) != 0)
        mac_end(&s->verify);
    if ((flags & CKF_FIND_OBJECTS) != 0)
        search_end(s);
    session_unlock(s);
    return CKR_OK;
}

/* Keeps the master key: what a later configuration has of Type 6 is opened with it, without another login. */
static CK_RV pin_remember(struct library *l, const CK_UTF8CHAR *pin, CK_ULONG len)
{
    l->master_key = secret_new(pin, len);
    return l->master_key == NULL ? CKR_HOST_MEMORY : CKR_OK;
}

static CK_RV pin_verify(const struct library *l, const CK_UTF8CHAR *pin, CK_ULONG len)
{
    struct secret_view view;
    CK_RV rv;

    if (!secret_open(l->master_key, &view))
        return CKR_HOST_MEMORY;
    rv = view.len == len && CRYPTO_memcmp(view.data, pin, len) == 0 ? CKR_OK : CKR_PIN_INCORRECT;
    secret_close(&view);
    return rv;
}

/* Opens the configuration's secrets with the master key, or compares it with the one that did. */
static CK_RV unlock(struct library *l, const CK_UTF8CHAR *pin, CK_ULONG len)
{
    struct fault fault = {0};
    CK_RV rv = CKR_PIN_INCORRECT;

    if (len == 0 || len > PIN_MAX)
        return rv;
    pthread_mutex_lock(&l->unlock);
    if (l->master_key != NULL)
        rv = pin_verify(l, pin, len);
    else if (configuration_unlock(atomic_load(&l->now)->configuration, pin, len, &fault))
        rv = pin_remember(l, pin, len);
    else
        log_write(LOG_LEVEL_WARNING, "C_Login: %s", fault.text);
    pthread_mutex_unlock(&l->unlock);
    return rv;
}

CK_RV session_login(CK_SESSION_HANDLE handle, CK_USER_TYPE user, const CK_UTF8CHAR *pin, CK_ULONG len)
{
    struct slot *slot;
    CK_RV rv = session_peek(handle, &slot, NULL);

    if (rv != CKR_OK)
        return rv;
    if (user == CKU_CONTEXT_SPECIFIC)
        return CKR_OPERATION_NOT_INITIALIZED;
    if (user != CKU_USER)
        return CKR_USER_TYPE_INVALID;
    if (!slot_view(slot)->login_required)
        return CKR_USER_PIN_NOT_INITIALIZED;
    if (pin == NULL)
        return CKR_ARGUMENTS_BAD;
    pthread_mutex_lock(&slot->lock);
    if (atomic_load(&slot->logged_in)) {
        rv = CKR_USER_ALREADY_LOGGED_IN;
    } else {
        rv = unlock(slot->library, pin, len);
        if (rv == CKR_OK) {
            atomic_store(&slot->logged_in, true);
            slot->failed_logins = 0;
        } else if (rv == CKR_PIN_INCORRECT) {
            slot->failed_logins++;
            log_write(LOG_LEVEL_WARNING, "C_Login: keyring %s: wrong master key (%lu in a row)", slot->name,
                      slot->failed_logins);
        }
    }
    pthread_mutex_unlock(&slot->lock);
    return rv;
}

/* Ends the private session keys and hides the private objects; slot->lock is held. */
static void slot_logout(struct slot *slot)
{
    struct library *l = slot->library;
    struct object *o;
    uint32_t cursor = 0;

    atomic_store(&slot->logged_in, false);
    while ((o = objects_next(l->objects, &cursor)) != NULL) {
        if (o->slot == slot->id && o->kind == OBJECT_KEY && slot_object_private(slot, o))
            key_destroy(o);
        object_put(l->objects, o);
    }
}

CK_RV session_logout(CK_SESSION_HANDLE handle)
{
    struct slot *slot;
    CK_RV rv = session_peek(handle, &slot, NULL);

    if (rv != CKR_OK)
        return rv;
    pthread_mutex_lock(&slot->lock);
    if (atomic_load(&slot->logged_in))
        slot_logout(slot);
    else
        rv = CKR_USER_NOT_LOGGED_IN;
    pthread_mutex_unlock(&slot->lock);
    return rv;
}
