/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_creds.h"

#include "ppk_ref.h"

struct single {
    enumerator_t public;
    shared_key_t *key;
    bool given;
};

static bool single_enumerate(enumerator_t *public, va_list args)
{
    struct single *self = (struct single *)public;
    id_match_t *me, *other;
    shared_key_t **key;

    VA_ARGS_VGET(args, key, me, other);
    if (self->given)
        return FALSE;
    self->given = TRUE;
    *key = self->key;
    if (me)
        *me = ID_MATCH_PERFECT;
    if (other)
        *other = ID_MATCH_PERFECT;
    return TRUE;
}

static void single_destroy(enumerator_t *public)
{
    struct single *self = (struct single *)public;

    self->key->destroy(self->key);
    free(self);
}

static enumerator_t *single_create(chunk_t reference)
{
    struct single *self = calloc(1, sizeof *self);

    self->public.enumerate = enumerator_enumerate_default;
    self->public.venumerate = single_enumerate;
    self->public.destroy = single_destroy;
    self->key = shared_key_create(SHARED_PPK, reference);
    return &self->public;
}

/* charon looks credentials up before it authorizes the peer, and holds no lock of its bus then: the place to
 * wait for the lookup of the peer, so that the authorization hook need not. */
static void settle(void)
{
    struct ppk_sa *sa = ppk_sa_get(ppk_sa_thread(), false);

    if (sa)
        ppk_sa_peer(sa);
}

/* With an ID: the PPK of the IKE_SA that this thread works for. Without: charon asks whether to offer PPKs at
 * all, and does not look at the key. */
static enumerator_t *create_shared(credential_set_t *set, shared_key_type_t type, identification_t *me,
                                   identification_t *other)
{
    struct ppk_sa *sa;
    chunk_t id;

    (void)set;
    (void)other;
    if (type != SHARED_PPK) {
        settle();
        return NULL;
    }
    sa = ppk_sa_current();
    if (!sa)
        return NULL;
    if (!me)
        return ppk_sa_any_key(sa) ? single_create(ppk_ref_create(sa)) : NULL;
    /* charon reads a received PPK ID as if somebody had typed it; the token is asked for what was really
     * sent. */
    id = sa->wire_id.len ? sa->wire_id : me->get_encoding(me);
    return ppk_sa_find_key(sa, id) ? single_create(ppk_ref_create(sa)) : NULL;
}

static enumerator_t *no_private(credential_set_t *set, key_type_t type, identification_t *id)
{
    (void)set;
    (void)type;
    (void)id;
    settle();
    return NULL;
}

static enumerator_t *no_cert(credential_set_t *set, certificate_type_t cert, key_type_t key,
                             identification_t *id, bool trusted)
{
    (void)set;
    (void)cert;
    (void)key;
    (void)id;
    (void)trusted;
    return NULL;
}

static enumerator_t *no_cdp(credential_set_t *set, certificate_type_t type, identification_t *id)
{
    (void)set;
    (void)type;
    (void)id;
    return NULL;
}

static void no_cache(credential_set_t *set, certificate_t *cert)
{
    (void)set;
    (void)cert;
}

credential_set_t ppk_creds = {
    .create_private_enumerator = no_private,
    .create_cert_enumerator = no_cert,
    .create_shared_enumerator = create_shared,
    .create_cdp_enumerator = no_cdp,
    .cache_cert = no_cache,
};
