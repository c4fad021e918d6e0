/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_notify.h"

#include "ppk_cfg.h"

#include <encoding/payloads/id_payload.h>
#include <encoding/payloads/notify_payload.h>

#define PPK_ID_OPAQUE 1
#define PPK_ID_FIXED  2

/* A system ID is a name. It arrives unauthenticated, and goes into requests and logs. */
static bool is_system_id(chunk_t data)
{
    if (!data.len || data.len >= PPK_NAME_MAX)
        return false;
    for (size_t i = 0; i < data.len; i++) {
        if (data.ptr[i] <= ' ' || data.ptr[i] == 0x7f)
            return false;
    }
    return true;
}

void ppk_notify_init_received(struct ppk_sa *sa, message_t *message, bool accept)
{
    notify_payload_t *notify = message->get_notify(message, USE_PPK);
    chunk_t data;

    sa->peer_offers = notify != NULL;
    sa->remote_system_id[0] = '\0';
    if (!notify || !accept)
        return;
    data = notify->get_notification_data(notify);
    if (is_system_id(data)) {
        memcpy(sa->remote_system_id, data.ptr, data.len);
        sa->remote_system_id[data.len] = '\0';
        DBG1(DBG_CFG, "ppk: the peer's SKIP system ID is '%s'", sa->remote_system_id);
    } else if (data.len) {
        DBG1(DBG_CFG,
             "ppk: warning: ignoring the %zu bytes in the peer's USE_PPK, which are no SKIP system ID",
             data.len);
    }
}

void ppk_notify_init_sent(struct ppk_sa *sa, message_t *message)
{
    notify_payload_t *notify = message->get_notify(message, USE_PPK);
    const struct ppk_peer *peer;

    if (!notify)
        return;
    peer = ppk_sa_peer(sa);
    if (peer->local_system_id[0])
        notify->set_notification_data(notify, chunk_from_str((char *)peer->local_system_id));
}

static void ppk_id_take(struct ppk_sa *sa, notify_payload_t *notify)
{
    chunk_t data = notify->get_notification_data(notify);

    chunk_free(&sa->wire_id);
    if (data.len < 2)
        DBG1(DBG_CFG, "ppk: warning: the peer's PPK_IDENTITY has no PPK ID (%zu bytes)", data.len);
    else if (data.ptr[0] == PPK_ID_OPAQUE)
        DBG1(DBG_CFG, "ppk: warning: the peer's PPK_IDENTITY is of type OPAQUE, which is not supported");
    else if (data.ptr[0] != PPK_ID_FIXED)
        DBG1(DBG_CFG, "ppk: warning: the peer's PPK_IDENTITY is of the unknown type %u", data.ptr[0]);
    else
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the entry owns it */
        sa->wire_id = chunk_create_clone(malloc(data.len - 1), chunk_skip(data, 1));
}

bool ppk_notify_identity_received(struct ppk_sa *sa, message_t *message, payload_type_t type)
{
    id_payload_t *payload = (id_payload_t *)message->get_payload(message, type);
    identification_t *id;

    if (!payload)
        return false;
    id = payload->get_identification(payload);
    ppk_identity_text(id, sa->identity);
    id->destroy(id);
    return sa->identity[0] != '\0';
}

bool ppk_notify_auth_received(struct ppk_sa *sa, message_t *message)
{
    notify_payload_t *notify = message->get_notify(message, PPK_IDENTITY);

    if (notify)
        ppk_id_take(sa, notify);
    return ppk_notify_identity_received(sa, message, PLV2_ID_INITIATOR);
}
