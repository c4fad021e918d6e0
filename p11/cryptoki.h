/* SPDX-License-Identifier: BSD-2-Clause */
/* The types of the standard, for the token's own files. The names are those of the OASIS headers. */
#ifndef PPK_P11_CRYPTOKI_H
#define PPK_P11_CRYPTOKI_H

#include "ppk/pkcs11-3.h"
#include "ppk/ppk.h"

_Static_assert(sizeof(CK_ULONG) == 8, "handles hold an index and a generation: CK_ULONG has 64 bits");

#endif
