/* SPDX-License-Identifier: BSD-2-Clause */
/* What conf_language.c (commands) and conf.c (the whole) share. */
#ifndef PPK_SKIPD_CONF_PRIVATE_H
#define PPK_SKIPD_CONF_PRIVATE_H

#include "skipd/conf.h"

/* Appends a zeroed element to an array. Allocation failures end the program, as kill -9 would at any time. */
void *conf_grow(void *list, size_t *n, size_t size);

/* A copy of a text; as well. */
char *conf_copy(const char *s);

#endif
