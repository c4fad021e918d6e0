/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_listener.h"

#include "ppk_cfg.h"
#include "ppk_notify.h"
#include "ppk_peers.h"

static bool send_system_id, accept_system_id;

void ppk_listener_configure(bool send, bool accept)
{
    send_system_id = send;
    accept_system_id = accept;
}

static bool is_initiator(ike_sa_t *ike_sa)
{
    ike_sa_id_t *id = ike_sa->get_id(ike_sa);

    return id->is_initiator(id);
}

static void initiating(ike_sa_t *ike_sa)
{
    struct ppk_sa *sa = ppk_sa_get(ike_sa, true);
    peer_cfg_t *cfg = ike_sa->get_peer_cfg(ike_sa);

    if (!sa || !cfg)
        return;
    ppk_sa_thread_initiates(ike_sa);
    ppk_cfg_adopt(cfg);
    ppk_cfg_identity(cfg, sa->identity);
    if (!sa->peer.known && !sa->lookups[0])
        ppk_sa_lookup(sa, ike_sa->get_other_host(ike_sa));
}

static bool ike_state_change(listener_t *listener, ike_sa_t *ike_sa, ike_sa_state_t state)
{
    struct ppk_sa *sa;

    (void)listener;
    switch (state) {
    case IKE_CREATED:
        sa = ppk_sa_get(ike_sa, false);
        if (sa)
            ppk_sa_reset(sa);
        break;
    case IKE_CONNECTING:
        if (is_initiator(ike_sa))
            initiating(ike_sa);
        break;
    case IKE_ESTABLISHED:
        sa = ppk_sa_get(ike_sa, false);
        if (!sa)
            break;
        if (ike_sa->has_condition(ike_sa, COND_PPK))
            sa->outcome = PPK_OUTCOME_UP;
        ppk_sa_key_done(sa);
        break;
    case IKE_DESTROYING:
        ppk_sa_remove(ike_sa);
        break;
    default:
        break;
    }
    return TRUE;
}

/* As responder: the peer is looked up by its address as soon as it knocks, and again once it has said who it
 * is. */
static void request_received(struct ppk_sa *sa, message_t *message)
{
    peer_cfg_t *cfg;

    if (message->get_exchange_type(message) == IKE_SA_INIT || ppk_notify_auth_received(sa, message))
        ppk_sa_lookup(sa, message->get_source(message));
    cfg = sa->ike_sa->get_peer_cfg(sa->ike_sa);
    if (cfg)
        ppk_cfg_adopt(cfg);
}

/* As initiator: the connection may not say who the peer has to be; now he has. */
static void response_received(struct ppk_sa *sa, message_t *message)
{
    char before[PPK_NAME_MAX];

    memcpy(before, sa->identity, sizeof before);
    if (ppk_notify_identity_received(sa, message, PLV2_ID_RESPONDER) && strcmp(before, sa->identity) != 0)
        ppk_sa_lookup(sa, message->get_source(message));
}

/* The same for IKEv1, which knows no PPKs: whether the peer may come without one. */
static void ikev1_received(struct ppk_sa *sa, message_t *message)
{
    if (ppk_notify_identity_received(sa, message, PLV1_ID) ||
        (!is_initiator(sa->ike_sa) && !sa->peer.known && !sa->lookups[0]))
        ppk_sa_lookup(sa, message->get_source(message));
}

static bool message_hook(listener_t *listener, ike_sa_t *ike_sa, message_t *message, bool incoming,
                         bool plain)
{
    exchange_type_t type = message->get_exchange_type(message);
    bool ikev1 = type == ID_PROT || type == AGGRESSIVE;
    struct ppk_sa *sa;

    (void)listener;
    (void)ike_sa;
    if (!plain)
        return TRUE;
    sa = type == IKE_SA_INIT || type == IKE_AUTH || ikev1 ? ppk_sa_current() : NULL;
    ppk_sa_thread_initiates(NULL);
    if (!sa)
        return TRUE;
    if (ikev1) {
        if (incoming)
            ikev1_received(sa, message);
        return TRUE;
    }
    if (incoming && message->get_request(message))
        request_received(sa, message);
    else if (incoming)
        response_received(sa, message);
    if (incoming && type == IKE_SA_INIT)
        ppk_notify_init_received(sa, message, accept_system_id);
    if (!incoming && type == IKE_SA_INIT && send_system_id)
        ppk_notify_init_sent(sa, message);
    return TRUE;
}

/* charon compares identities without case, where their kind allows it: the keyring may know the peer by the
 * name that the connection has for it. (This waits under charon's bus lock, but only where the two differ.)
 */
static void expected_identity_look(struct ppk_sa *sa, ike_sa_t *ike_sa)
{
    peer_cfg_t *cfg = ike_sa->get_peer_cfg(ike_sa);
    char said[PPK_NAME_MAX];

    memcpy(said, sa->identity, sizeof said);
    if (cfg)
        ppk_cfg_identity(cfg, sa->identity);
    if (cfg && sa->identity[0] && strcmp(said, sa->identity) != 0)
        ppk_sa_lookup(sa, ike_sa->get_other_host(ike_sa));
    memcpy(sa->identity, said, sizeof said);
}

/* The last word on "required": whatever the connection says, and however the SA came to be without a PPK. */
static bool authorize(listener_t *listener, ike_sa_t *ike_sa, bool final, bool *success)
{
    struct ppk_sa *sa = ppk_sa_get(ike_sa, false);

    (void)listener;
    if (!final || ike_sa->has_condition(ike_sa, COND_PPK))
        return TRUE;
    if (sa)
        expected_identity_look(sa, ike_sa);
    if (sa ? ppk_sa_required(sa) : ppk_peers_keyring()) {
        DBG1(DBG_CFG,
             "ppk: error: the keyring %s a PPK with peer '%s', and the peers agreed on none: refused",
             sa && sa->peer.required ? "requires" : "may require",
             sa && sa->peer.known ? sa->peer.name
             : sa                 ? sa->identity
                                  : "");
        *success = FALSE;
    }
    return TRUE;
}

/* Whichever end finds out: its own AUTH or the peer's was not what a PPK of both would make it. */
static bool alert(listener_t *listener, ike_sa_t *ike_sa, alert_t kind, va_list args)
{
    struct ppk_sa *sa;

    (void)listener;
    (void)args;
    if (kind != ALERT_LOCAL_AUTH_FAILED && kind != ALERT_PEER_AUTH_FAILED)
        return TRUE;
    sa = ppk_sa_get(ike_sa, false);
    if (sa && sa->mixed)
        sa->outcome = PPK_OUTCOME_AUTH_FAILED;
    return TRUE;
}

listener_t ppk_listener = {
    .alert = alert,
    .ike_state_change = ike_state_change,
    .message = message_hook,
    .authorize = authorize,
};
