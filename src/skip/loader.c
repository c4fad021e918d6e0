/* SPDX-License-Identifier: BSD-2-Clause */
#include "skip/loader.h"

#include "base/crypto.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool loading_here;
static const struct skip_transport *_Atomic transport_loaded;
static const struct skip_transport *_Atomic transport_override;

const struct skip_host *skip_loader_host(void)
{
    static const struct skip_host host = {
        .secmem_alloc = secmem_alloc,
        .secmem_free = secmem_free,
        .secret_new = secret_new,
        .secret_free = secret_free,
        .secret_len = secret_len,
        .secret_open = secret_open,
        .secret_close = secret_close,
        .crypto_context = crypto_context,
        .crypto_alive = crypto_alive,
    };
    return &host;
}

/* The folder of the object that this function is in (the token, or a program), with its slash, at `out`.
 * dladdr() gives a program's argv[0], and a module's path as it was asked for: only absolute paths are to be
 * trusted after a chdir(). */
static bool own_folder(char out[PATH_MAX])
{
    Dl_info info;
    /* POSIX makes a function's address and an object pointer interchangeable for dladdr(); ISO C does not. */
    void *here = NULL;
    const struct skip_transport *(*function)(struct fault *) = skip_loader_transport;
    memcpy(&here, &function, sizeof here);
    if (dladdr(here, &info) && info.dli_fname && info.dli_fname[0] == '/' &&
        strlen(info.dli_fname) < PATH_MAX) {
        memcpy(out, info.dli_fname, strlen(info.dli_fname) + 1);
    } else {
        FILE *maps = fopen("/proc/self/maps", "re");
        if (!maps)
            return false;
        char line[PATH_MAX + 128];
        bool found = false;
        while (!found && fgets(line, sizeof line, maps)) {
            char *end = NULL;
            unsigned long from = strtoul(line, &end, 16);
            unsigned long to = *end == '-' ? strtoul(end + 1, NULL, 16) : 0;
            const char *path = strchr(line, '/');
            if ((uintptr_t)here >= from && (uintptr_t)here < to && path && strlen(path) < PATH_MAX) {
                memcpy(out, path, strlen(path) + 1);
                found = true;
            }
        }
        fclose(maps);
        if (!found)
            return false;
    }
    char *slash = strrchr(out, '/');
    if (!slash)
        return false;
    slash[1] = 0;
    return true;
}

/* Opens one candidate; NULL with the reason appended to `reasons` unless there is no such file. */
static const struct skip_transport *open_at(const char *path, struct text *reasons)
{
    if (access(path, F_OK) != 0) {
        text_printf(reasons, "%s%s: not there", reasons->len ? "; " : "", path);
        return NULL;
    }
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        const char *error = dlerror();
        text_printf(reasons, "%s%s", reasons->len ? "; " : "", error ? error : path);
        return NULL;
    }
    const struct skip_transport *t = dlsym(object, SKIP_TRANSPORT_SYMBOL);
    struct fault fault = {""};
    if (!t)
        text_printf(reasons, "%s%s: is not a SKIP transport", reasons->len ? "; " : "", path);
    else if (t->version != SKIP_TRANSPORT_VERSION)
        text_printf(reasons, "%s%s: is of another version (%u, not %u)", reasons->len ? "; " : "", path,
                    t->version, SKIP_TRANSPORT_VERSION);
    else if (!t->start(skip_loader_host(), &fault))
        text_printf(reasons, "%s%s: %s", reasons->len ? "; " : "", path, fault.text);
    else
        return t;
    dlclose(object);
    return NULL;
}

/* Beside this object; in ../lib of it (a program in a build tree, or of an installation elsewhere); where it
 * is installed. */
static const struct skip_transport *load(struct fault *fault)
{
    const struct skip_transport *t = NULL;
    struct text reasons = {0};
    char folder[PATH_MAX], path[PATH_MAX + 32];
    if (own_folder(folder)) {
        static const char *const places[] = {"ppk-skip.so", "../lib/ppk-skip.so"};
        for (size_t i = 0; !t && i < sizeof places / sizeof places[0]; i++) {
            snprintf(path, sizeof path, "%s%s", folder, places[i]);
            t = open_at(path, &reasons);
        }
    }
    if (!t)
        t = open_at(PPK_SKIP_PATH, &reasons);
    if (!t)
        fault_set(fault, "the SKIP transport cannot be loaded: %s", reasons.s ? reasons.s : "no memory");
    text_free(&reasons);
    return t;
}

const struct skip_transport *skip_loader_loaded(void)
{
    const struct skip_transport *t = atomic_load_explicit(&transport_override, memory_order_acquire);
    return t ? t : atomic_load_explicit(&transport_loaded, memory_order_acquire);
}

const struct skip_transport *skip_loader_transport(struct fault *fault)
{
    const struct skip_transport *t = skip_loader_loaded();
    if (t)
        return t;
    if (loading_here) {
        fault_set(fault, "the SKIP transport is just being loaded by this very thread");
        return NULL;
    }
    pthread_mutex_lock(&loading);
    t = atomic_load_explicit(&transport_loaded, memory_order_acquire);
    if (!t) {
        loading_here = true;
        t = load(fault);
        loading_here = false;
        atomic_store_explicit(&transport_loaded, t, memory_order_release);
    }
    pthread_mutex_unlock(&loading);
    return t;
}

void skip_loader_use(const struct skip_transport *transport)
{
    atomic_store_explicit(&transport_override, transport, memory_order_release);
}

void skip_loader_after_fork(void)
{
    static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    memcpy(&loading, &fresh, sizeof loading);
    loading_here = false;
}
