/* SPDX-License-Identifier: BSD-2-Clause */
/* Secrets of Type 6 (src/config/type6.h), made independently of the project's own code. */
#ifndef TOKEN_TYPE6_H
#define TOKEN_TYPE6_H

#include <stddef.h>

/* The Type 6 text of a secret of at most 256 bytes under this master key, terminated. */
void type6_make(const char *master, const char *secret, char *out, size_t room);

#endif
