/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_peers.h"

#include <library.h>
#include <threading/mutex.h>

#define PLACES 2048

/* Where two questions meet in a place, the later one stays: who asks for many peers makes others forgotten,
 * which refuses more and not less. */
struct place {
    unsigned char address[16];
    size_t address_len;
    char identity[PPK_NAME_MAX];
    struct ppk_peer peer;
};

static struct {
    mutex_t *mutex;
    struct place *places[PLACES];
    bool keyring;
} memory;

bool ppk_peers_create(void)
{
    memory.mutex = mutex_create(MUTEX_TYPE_DEFAULT);
    return memory.mutex != NULL;
}

void ppk_peers_destroy(void)
{
    for (size_t i = 0; i < PLACES; i++) {
        free(memory.places[i]);
        memory.places[i] = NULL;
    }
    DESTROY_IF(memory.mutex);
    memory.mutex = NULL;
    memory.keyring = false;
}

/* chunk_hash() is keyed at random in each process. */
static struct place **place_of(const struct ppk_ask *ask)
{
    chunk_t address = chunk_create((unsigned char *)ask->address, ask->address_len);
    chunk_t identity = chunk_from_str((char *)ask->identity);

    return &memory.places[chunk_hash_inc(identity, chunk_hash(address)) % PLACES];
}

static bool is_place_of(const struct place *place, const struct ppk_ask *ask)
{
    return place->address_len == ask->address_len &&
           memcmp(place->address, ask->address, ask->address_len) == 0 &&
           strcmp(place->identity, ask->identity) == 0;
}

void ppk_peers_note(const struct ppk_ask *ask, const struct ppk_peer *peer)
{
    struct place **place = place_of(ask);

    memory.mutex->lock(memory.mutex);
    if (!*place)
        *place = malloc(sizeof **place);
    if (*place) {
        **place = (struct place){.address_len = ask->address_len, .peer = *peer};
        memcpy((*place)->address, ask->address, sizeof ask->address);
        memcpy((*place)->identity, ask->identity, sizeof ask->identity);
    }
    memory.mutex->unlock(memory.mutex);
}

bool ppk_peers_last(const struct ppk_ask *ask, struct ppk_peer *peer)
{
    struct place **place = place_of(ask);
    bool found;

    memory.mutex->lock(memory.mutex);
    found = *place && is_place_of(*place, ask);
    if (found)
        *peer = (*place)->peer;
    memory.mutex->unlock(memory.mutex);
    return found;
}

void ppk_peers_keyring_seen(void)
{
    memory.mutex->lock(memory.mutex);
    memory.keyring = true;
    memory.mutex->unlock(memory.mutex);
}

bool ppk_peers_keyring(void)
{
    bool keyring;

    memory.mutex->lock(memory.mutex);
    keyring = memory.keyring;
    memory.mutex->unlock(memory.mutex);
    return keyring;
}
