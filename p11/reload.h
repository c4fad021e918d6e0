/* SPDX-License-Identifier: BSD-2-Clause */
/* Following the configuration: a change of its files takes effect at the next search. */
#ifndef PPK_P11_RELOAD_H
#define PPK_P11_RELOAD_H

#include "p11/library.h"

/* The first reading, for C_Initialize. CKR_OK also if there is no configuration and nobody named one. */
CK_RV reload_first(struct library *l);

/* For an entry, before it does anything: looks after the files, at most once a second, and if they have
 * changed, reads them. If they are wrong, that is logged, and all stays as it is. */
void reload_look(void);

#endif
