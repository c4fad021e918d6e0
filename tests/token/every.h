/* SPDX-License-Identifier: BSD-2-Clause */
/* Every function of Cryptoki by name and by its place in the function lists, for tests that call all of them.
 */
#ifndef TOKEN_EVERY_H
#define TOKEN_EVERY_H

#include "expect.h"

/* The function lists as the standard lays them out: a version, then these functions in this order. */
#define EVERY_2_40 68 /* C_Initialize to C_WaitForSlotEvent */
#define EVERY_3_0  92 /* and C_GetInterfaceList to C_MessageVerifyFinal */
extern const char *const every_name[EVERY_3_0];

struct every_list {
    CK_VERSION version;
    void *functions[EVERY_3_0]; /* of a 2.40 list only the first EVERY_2_40 may be looked at */
};

/* Calls function `i` of a list with up to ten arguments, all integers and pointers. Stays within the calling
 * conventions of the ABIs that we build for, where surplus arguments are ignored. */
CK_RV every_call(const void *list, size_t i, const CK_ULONG arguments[10]);

/* The number of a function by its name; aborts if there is none. */
size_t every_find(const char *name);

/* Does the function answer without C_Initialize? */
bool every_needs_no_init(size_t i);

#endif
