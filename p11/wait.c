/* SPDX-License-Identifier: BSD-2-Clause */
/* Slot events: a keyring comes into the configuration, or goes. */
#include "p11/gate.h"
#include "p11/library.h"
#include "p11/reload.h"

#define LOOK_MS 1000 /* so often a thread that waits looks after the configuration: nobody else may call */

/* Tells of one slot whose event nobody has been told of. */
static bool event_take(CK_SLOT_ID *slot)
{
    const struct library *l = library_now();
    const size_t n = atomic_load(&l->n_slots);

    for (size_t i = 0; i < n; i++) {
        if (!atomic_exchange(&atomic_load(&l->slots[i])->event, false))
            continue;
        *slot = i;
        return true;
    }
    return false;
}

CK_RV wait_for_slot_event(CK_FLAGS flags, CK_SLOT_ID *slot, const void *reserved)
{
    uint64_t seen;

    if (reserved != NULL || slot == NULL)
        return CKR_ARGUMENTS_BAD;
    do {
        reload_look();
        seen = gate_events();
        if (event_take(slot))
            return CKR_OK;
        if ((flags & CKF_DONT_BLOCK) != 0)
            return CKR_NO_EVENT;
    } while (gate_wait(seen, LOOK_MS));
    return CKR_CRYPTOKI_NOT_INITIALIZED;
}
