/* SPDX-License-Identifier: BSD-2-Clause */
/* Secret memory. Every secret of the process lives in one arena: guarded by inaccessible pages, mlock()ed,
 * left out of core dumps (MADV_DONTDUMP), wiped in a forked child (MADV_WIPEONFORK) and when it is given
 * back.
 *
 * Two things are offered: *working memory* (secmem_*), small, always locked, for keys under construction and
 * for few long-lived ones; and *secrets* (struct secret), for any number of values: those that the lock limit
 * does not hold are kept sealed (AES-256-GCM) under a key that is locked, and are opened only for the moment
 * of use. */
#ifndef PPK_BASE_SECRET_H
#define PPK_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest secret value, in bytes. */
#define SECRET_MAX 4096

/* `size` bytes (1 to 64 KiB) of zeroed working memory, aligned to 16 bytes, or NULL if the locked memory is
 * exhausted. Where the system lets nothing be locked (RLIMIT_MEMLOCK of 0, or used up by the host), 256 KiB
 * may be unlocked, which a warning in the log says once; everything else holds for it. Thread-safe. */
void *secmem_alloc(size_t size);

/* Wipes and gives back what secmem_alloc() returned; NULL is allowed. */
void secmem_free(void *p);

/* A value of fixed length; immutable, so that it may be opened by any number of threads at once. */
struct secret;

/* Copies `len` bytes (0 to SECRET_MAX) into the arena. The caller owns the result and gives it back with
 * secret_free(). NULL: no memory, or `len` out of range. The caller still has to wipe his own copy. */
struct secret *secret_new(const void *value, size_t len);

/* A secret that is still being computed, so that it needs no copy. */
struct secret_draft {
    uint8_t *data; /* zeros at first, in the arena */
    size_t len;
    struct secret *made; /* private */
};

/* Begins one of `len` bytes. False, and a draft of zeros: as secret_new(). */
bool secret_draft_begin(struct secret_draft *d, size_t len);

/* Ends it; the caller owns the result. NULL: no memory. In both cases the draft is zeros afterwards. */
struct secret *secret_draft_finish(struct secret_draft *d);

/* Wipes and gives it up. Allowed on a draft of zeros. */
void secret_draft_drop(struct secret_draft *d);

/* Wipes and gives back; NULL is allowed. No view of it may be open. */
void secret_free(struct secret *s);

/* The value's length in bytes. */
size_t secret_len(const struct secret *s);

/* An opened secret: `data` is valid until secret_close(). */
struct secret_view {
    const uint8_t *data;
    size_t len;
    void *scratch; /* private */
};

/* Opens a secret for reading: in place if it is locked (no lock is taken, no memory needed), else unsealed
 * into working memory. False, and a view of zeros: no working memory left, or the secret is from before a
 * fork. */
bool secret_open(const struct secret *s, struct secret_view *view);

/* Ends the reading, wiping whatever was unsealed. Allowed on a view of zeros. */
void secret_close(struct secret_view *view);

/* Equal length and bytes, compared in constant time. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* What the arena holds now; for status, tests and the benchmark. */
struct secret_stats {
    size_t locked_bytes;   /* mlock()ed in all */
    size_t unlocked_bytes; /* of working memory that could not be locked */
    size_t secrets;        /* struct secret alive */
    size_t sealed;         /* those of them that are sealed */
    size_t working_bytes;  /* handed out by secmem_alloc() */
};
void secret_stats_read(struct secret_stats *stats);

/* To be called first in a child that was forked and wants to go on, while it has one thread (the arena's
 * content is gone there: all values read as zeros, secret_open() fails). Forgets everything; giving back
 * pointers from before does nothing. */
void secret_after_fork(void);

#endif
