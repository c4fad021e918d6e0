/* SPDX-License-Identifier: BSD-2-Clause */
/* Buffers that end right in front of an inaccessible page, so that a read or write past the given length ends
 * the program. */
#ifndef TOKEN_GUARD_H
#define TOKEN_GUARD_H

#include <stddef.h>

/* `len` bytes (also 0: then the address itself is inaccessible), filled with 0xA5. Lives until
 * guard_release(). */
void *guard_buffer(size_t len);

/* The same with a copy of `data`; guard_frozen() moreover cannot be written to. */
void *guard_copy(const void *data, size_t len);
void *guard_frozen(const void *data, size_t len);

/* Gives back all buffers of this thread. */
void guard_release(void);

/* The same at a thread's end, and what was kept for its next ones. */
void guard_end(void);

#endif
