/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_cfg.h"

#include <ppk/ppk.h>

/* All connections share charon's functions; they go on working when the plugin has ended. */
static identification_t *(*original_get_ppk_id)(peer_cfg_t *);
static bool (*original_ppk_required)(peer_cfg_t *);
static identification_t *placeholder;

static bool is_initiator(ike_sa_t *ike_sa)
{
    ike_sa_id_t *id = ike_sa->get_id(ike_sa);

    return id->is_initiator(id);
}

/* The PPK ID that swanctl.conf asks for by name; NULL also for a wildcard, which as initiator names none. */
static identification_t *configured_id(peer_cfg_t *cfg, bool wildcards)
{
    identification_t *id = original_get_ppk_id(cfg);

    if (id && !wildcards && (id->get_type(id) == ID_ANY || id->contains_wildcards(id)))
        return NULL;
    return id;
}

static identification_t *get_ppk_id(peer_cfg_t *cfg)
{
    ike_sa_t *ike_sa = ppk_sa_thread();
    const struct ppk_peer *peer;
    identification_t *id;
    struct ppk_sa *sa;

    if (!placeholder || !ike_sa || !is_initiator(ike_sa) || ike_sa->get_peer_cfg(ike_sa) != cfg)
        return configured_id(cfg, true);
    id = configured_id(cfg, false);
    sa = ppk_sa_get(ike_sa, false);
    if (id || !sa)
        return id;
    peer = ppk_sa_peer(sa);
    if (peer->kind != PPK_KIND_DYNAMIC && peer->kind != PPK_KIND_MANUAL)
        return NULL;
    return sa->peer_offers ? ppk_sa_new_key(sa) : placeholder;
}

static bool ppk_required(peer_cfg_t *cfg)
{
    struct ppk_sa *sa;

    if (original_ppk_required(cfg))
        return true;
    sa = ppk_sa_get(ppk_sa_thread(), false);
    return sa && ppk_sa_required(sa);
}

void ppk_cfg_adopt(peer_cfg_t *cfg)
{
    if (cfg->get_ppk_id == get_ppk_id)
        return;
    if (!original_get_ppk_id) {
        original_get_ppk_id = cfg->get_ppk_id;
        original_ppk_required = cfg->ppk_required;
    }
    if (cfg->get_ppk_id != original_get_ppk_id || cfg->ppk_required != original_ppk_required) {
        DBG1(DBG_CFG,
             "ppk: warning: connection '%s' is of a kind that is not known: the keyring does not apply",
             cfg->get_name(cfg));
        return;
    }
    /* Other threads may be calling: each finds the old function or the new one. */
    __atomic_store_n(&cfg->ppk_required, ppk_required, __ATOMIC_RELEASE);
    __atomic_store_n(&cfg->get_ppk_id, get_ppk_id, __ATOMIC_RELEASE);
}

void ppk_identity_text(identification_t *id, char identity[static PPK_NAME_MAX])
{
    chunk_t encoding;

    identity[0] = '\0';
    if (!id || id->get_type(id) == ID_ANY || id->contains_wildcards(id))
        return;
    encoding = id->get_encoding(id);
    switch (id->get_type(id)) {
    case ID_FQDN:
    case ID_RFC822_ADDR:
    case ID_KEY_ID:
        if (encoding.len >= PPK_NAME_MAX || memchr(encoding.ptr, '\0', encoding.len))
            return;
        memcpy(identity, encoding.ptr, encoding.len);
        identity[encoding.len] = '\0';
        break;
    default:
        if (snprintf(identity, PPK_NAME_MAX, "%Y", id) >= PPK_NAME_MAX)
            identity[0] = '\0';
        break;
    }
}

void ppk_cfg_identity(peer_cfg_t *cfg, char identity[static PPK_NAME_MAX])
{
    enumerator_t *all = cfg->create_auth_cfg_enumerator(cfg, FALSE);
    auth_cfg_t *auth;

    identity[0] = '\0';
    if (all->enumerate(all, &auth))
        ppk_identity_text(auth->get(auth, AUTH_RULE_IDENTITY), identity);
    all->destroy(all);
}

void ppk_cfg_create(void)
{
    placeholder = identification_create_from_encoding(ID_KEY_ID, chunk_from_str("ppk"));
}

void ppk_cfg_destroy(void)
{
    DESTROY_IF(placeholder);
    placeholder = NULL;
}
