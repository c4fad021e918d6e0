/* SPDX-License-Identifier: BSD-2-Clause */
/* Slot events: there are none, since every token stays in its slot. */
#include "p11/gate.h"
#include "p11/library.h"

CK_RV wait_for_slot_event(CK_FLAGS flags, CK_SLOT_ID *slot, const void *reserved)
{
    if (reserved != NULL || slot == NULL)
        return CKR_ARGUMENTS_BAD;
    if ((flags & CKF_DONT_BLOCK) != 0)
        return CKR_NO_EVENT;
    gate_wait_closing();
    return CKR_CRYPTOKI_NOT_INITIALIZED;
}
