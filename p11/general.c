/* SPDX-License-Identifier: BSD-2-Clause */
/* General-purpose functions: beginning, end, and what the library is. */
#include "p11/generation.h"

#include "base/hash.h"
#include "base/log.h"
#include "ike/prf.h"
#include "p11/gate.h"
#include "p11/reload.h"
#include "p11/session.h"
#include "skip/skip.h"
#include "status/publisher.h"

#include <stdlib.h>
#include <string.h>

#define RESERVED_MAX    4096  /* bytes of C_Initialize's pReserved string that are read */
#define LOG_LINES       20    /* of one kind, */
#define LOG_INTERVAL_MS 10000 /* in such a time */
#define CLOSE_MARGIN_MS 3000  /* what C_Finalize waits for calls beyond the longest bound of a key source */

static struct library *library;
/* What a forked child has from its parent, and what a call did not return from in time: not to be touched,
 * but not lost either for who looks for leaks. */
static struct library *forgotten;
/* What the thread's present call works on: a call that outlives C_Finalize's patience must not find the next
 * library instead. */
static _Thread_local struct library *library_mine __attribute__((tls_model("initial-exec")));

void library_use(void)
{
    library_mine = library;
}

struct library *library_now(void)
{
    return library_mine;
}

struct slot *library_slot(CK_SLOT_ID id)
{
    return id < atomic_load(&library_mine->n_slots) ? atomic_load(&library_mine->slots[id]) : NULL;
}

static void library_forget(void)
{
    if (library != NULL) {
        library->forgotten = forgotten;
        forgotten = library;
    }
    library = NULL;
}

static void object_release(struct object *o)
{
    if (o->kind == OBJECT_KEY)
        key_release(o->of);
    else if (o->kind == OBJECT_PPK)
        ppk_release(o->of);
    else if (o->kind == OBJECT_PEER)
        slot_peer_release(o->of);
    else
        slot_key_release(o->of);
}

/* The end of a word of pReserved: blanks, semicolons and commas separate, quotes keep together. */
static const char *word_end(const char *s)
{
    char quote = '\0';

    for (; *s != '\0'; s++) {
        if (quote != '\0') {
            if (*s == quote)
                quote = '\0';
        } else if (*s == '"' || *s == '\'') {
            quote = *s;
        } else if (strchr(" \t\n;,", *s) != NULL) {
            break;
        }
    }
    return s;
}

static char *unquoted(const char *s, size_t len)
{
    if (len >= 2 && (*s == '"' || *s == '\'') && s[len - 1] == *s)
        return strndup(s + 1, len - 2);
    return strndup(s, len);
}

/* PATH of "config=PATH" among the words of pReserved (p11-kit: x-init-reserved); other words are left alone.
 * CKR_ARGUMENTS_BAD: there is text, but none of this. */
static CK_RV path_of_reserved(const char *reserved, char **path)
{
    static const char name[] = "config=";
    char *words = strndup(reserved, RESERVED_MAX);
    CK_RV rv = words == NULL ? CKR_HOST_MEMORY : CKR_ARGUMENTS_BAD;

    for (const char *at = words; at != NULL && *at != '\0' && *path == NULL;) {
        const char *end = word_end(at);
        if (strncmp(at, name, sizeof name - 1) == 0) {
            *path = unquoted(at + sizeof name - 1, (size_t)(end - at) - (sizeof name - 1));
            rv = *path == NULL ? CKR_HOST_MEMORY : CKR_OK;
        }
        at = *end == '\0' ? end : end + 1;
    }
    free(words);
    if (rv == CKR_ARGUMENTS_BAD)
        log_write(LOG_LEVEL_ERROR, "C_Initialize: pReserved has no config=PATH");
    return rv;
}

/* Which file? PPK_CONF, else what pReserved says, else the default. The caller frees it. */
static CK_RV path_find(const char *reserved, char **path, bool *by_default)
{
    const char *environment = secure_getenv("PPK_CONF");

    *by_default = false;
    if (environment != NULL && environment[0] != '\0') {
        *path = strdup(environment);
    } else if (reserved != NULL && reserved[0] != '\0') {
        return path_of_reserved(reserved, path);
    } else {
        *by_default = true;
        *path = strdup(PPK_CONF_DEFAULT);
    }
    return *path == NULL ? CKR_HOST_MEMORY : CKR_OK;
}

static void library_free(struct library *l)
{
    struct generation *before = atomic_load(&l->before), *now = atomic_load(&l->now);
    const size_t n = atomic_load(&l->n_slots);

    struct status_process last = {0};

    /* it looks at all of this */
    status_publisher_stop(l->publisher,
                          status_publisher_publishes(l->publisher) && status_last(l, &last) ? &last : NULL);
    status_clear(&last);
    if (l->sessions != NULL)
        sessions_free(l->sessions);
    for (size_t i = 0; i < n; i++) {
        struct slot *s = atomic_load(&l->slots[i]);
        ppk_store_free(s->store);
        s->store = NULL;
    }
    objects_free(l->objects);
    keys_free(l->keys);
    if (before != NULL)
        generation_retire(before);
    if (now != NULL)
        generation_retire(now);
    for (size_t i = 0; i < n; i++)
        slot_free(atomic_load(&l->slots[i]));
    free((void *)l->slots);
    status_publisher_free(l->publisher); /* stores tell it their news */
    skip_shutdown();
    secret_free(l->master_key);
    pthread_mutex_destroy(&l->unlock);
    pthread_mutex_destroy(&l->generations_lock);
    pthread_mutex_destroy(&l->reload.lock);
    free(l->reload.told);
    free(l->path);
    free(l);
}

static CK_RV library_make(const CK_C_INITIALIZE_ARGS *arguments)
{
    const bool no_threads = arguments != NULL && (arguments->flags & CKF_LIBRARY_CANT_CREATE_OS_THREADS) != 0;
    struct library *l = calloc(1, sizeof *l);
    struct hash_key serial;
    CK_RV rv = CKR_HOST_MEMORY;

    if (l == NULL)
        return rv;
    library = l;
    library_use();
    pthread_mutex_init(&l->unlock, NULL);
    pthread_mutex_init(&l->generations_lock, NULL);
    pthread_mutex_init(&l->reload.lock, NULL);
    hash_key_make(&serial);
    l->serial = serial.half[0];
    l->objects = objects_new(object_release);
    l->keys = keys_new();
    l->sessions = sessions_new();
    /* calloc: pages that are never touched cost nothing */
    l->slots = calloc((size_t)UINT16_MAX + 1, sizeof *l->slots);
    l->no_threads = no_threads;
    if (l->objects != NULL && l->keys != NULL && l->sessions != NULL && l->slots != NULL)
        rv = path_find(arguments == NULL ? NULL : arguments->pReserved, &l->path, &l->path_default);
    if (rv == CKR_OK)
        rv = reload_first(l);
    if (rv == CKR_OK && !status_make(l, !no_threads))
        rv = CKR_HOST_MEMORY;
    if (rv != CKR_OK) {
        library_free(l);
        library = NULL;
    }
    return rv;
}

/* We lock with the system's own mutexes; those of the application are not needed, but given they must be all
 * four. */
static bool arguments_good(const CK_C_INITIALIZE_ARGS *a)
{
    const int given = (a->CreateMutex != NULL) + (a->DestroyMutex != NULL) + (a->LockMutex != NULL) +
                      (a->UnlockMutex != NULL);

    return given == 0 || given == 4;
}

CK_RV general_initialize(const CK_C_INITIALIZE_ARGS *arguments)
{
    bool forked;
    CK_RV rv = gate_open(&forked);

    if (rv != CKR_OK)
        return rv;
    if (forked) {
        /* The parent's secrets are not here any more, its locks may be held and its connections are its own:
         * forget it all. */
        secret_after_fork();
        prf_after_fork();
        skip_after_fork();
        library_forget();
    }
    log_limit(LOG_LINES, LOG_INTERVAL_MS);
    log_open(LIBRARY_LOG_NAME, NULL);
    if (arguments != NULL && !arguments_good(arguments)) {
        log_write(LOG_LEVEL_ERROR, "C_Initialize: some mutex functions are given, and some are not");
        rv = CKR_ARGUMENTS_BAD;
    } else {
        rv = library_make(arguments);
    }
    gate_opened(rv == CKR_OK);
    return rv;
}

CK_RV general_finalize(const void *reserved)
{
    CK_RV rv;

    if (reserved != NULL) {
        rv = gate_enter();
        if (rv == CKR_OK)
            gate_leave();
        return rv == CKR_OK ? CKR_ARGUMENTS_BAD : rv;
    }
    rv = gate_close();
    if (rv != CKR_OK)
        return rv;
    library_use();
    generations_interrupt(library);
    /* Who does not return in time keeps what he uses: it is lost, but nothing is freed under his feet. */
    if (gate_drain(generations_timeout_ms(library) + CLOSE_MARGIN_MS)) {
        library_free(library);
        library = NULL;
    } else {
        status_publisher_stop(library->publisher, NULL);
        log_write(LOG_LEVEL_ERROR, "C_Finalize: a call does not return; its memory is not given back");
        library_forget();
    }
    log_flush();
    gate_closed();
    return CKR_OK;
}

CK_RV general_info(CK_INFO *info, CK_BYTE major, CK_BYTE minor)
{
    if (info == NULL)
        return CKR_ARGUMENTS_BAD;
    memset(info, 0, sizeof *info);
    info->cryptokiVersion = (CK_VERSION){major, minor};
    pad_blank(info->manufacturerID, sizeof info->manufacturerID, "ppk-pkcs11");
    pad_blank(info->libraryDescription, sizeof info->libraryDescription, "IKEv2 postquantum preshared keys");
    info->libraryVersion = (CK_VERSION){PPK_VERSION_MAJOR, PPK_VERSION_MINOR};
    return CKR_OK;
}
