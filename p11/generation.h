/* SPDX-License-Identifier: BSD-2-Clause */
/* One reading of the configuration, at work: its profiles, and the slots' views of it. */
#ifndef PPK_P11_GENERATION_H
#define PPK_P11_GENERATION_H

#include "p11/library.h"

struct generation {
    _Atomic size_t refs; /* the library's, stores' and those of keys that only it has */
    uint64_t serial;
    struct library *library;
    struct configuration *configuration;
    struct skip_profile **profiles; /* in the configuration's order */
    uint64_t *stamps;               /* of the files that each names */
    bool *sealed;                   /* of each keyring: secrets were sealed when it was read */
    struct slot_view *views;        /* by slot */
    size_t n_views;
    struct generation *previous, *next; /* library->generations */
};

/* Makes a generation of a configuration, which it takes over in any case, and the slots that it needs and
 * that do not exist yet; nobody sees any of it. NULL: no memory, too many keyrings, or (with the reason in
 * `fault`) a secret that the known master key does not open. l->unlock is held, here and in the next. */
struct generation *generation_make(struct library *l, struct configuration *c, struct fault *fault);

/* Puts it in the place of the present one, which becomes l->before; there must be none. Cannot fail. */
void generation_install(struct library *l, struct generation *g);

/* Gives back the views of a generation that no call can see any more, and the library's reference. */
void generation_retire(struct generation *g);

void generation_ref(struct generation *g);
void generation_release(struct generation *g);

void slot_key_release(struct slot_key *k);
void slot_peer_release(struct slot_peer *p);

/* Ends requests under way, of all that are left. */
void generations_interrupt(struct library *l);

/* The longest bound of a request. */
uint64_t generations_timeout_ms(struct library *l);

#endif
